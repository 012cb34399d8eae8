//! How a text is read, as a picture: tokens, the path of the probability, and gates
//! and states of some units as heat maps.

use std::path::Path;

use super::confusion::{readable, shade};
use super::font;
use super::picture::{Anchor, Colour, Label, Picture};
use crate::error::{Error, Result};

const INK: Colour = Colour(40, 40, 40);
const GREY: Colour = Colour(110, 110, 110);
const GRID: Colour = Colour(222, 222, 222);
const WHITE: Colour = Colour(255, 255, 255);
// Of the palette of Okabe and Ito, as in the other pictures.
const LESS: Colour = Colour(0, 114, 178);
const MORE: Colour = Colour(213, 94, 0);

/// The room for the cells of all steps, at the least and at the most of a step.
const ACROSS: f64 = 1280.0;
const CELL: (f64, f64) = (30.0, 120.0);
const LEFT: f64 = 200.0;
const ROW: f64 = 34.0;
const PATH: f64 = 170.0;
const TEXT: f64 = 19.0;
/// More steps would be a picture that nobody reads.
const MOST: usize = 120;

/// A row of cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// In front of it.
    pub name: String,
    /// Whether the numbers have signs; else they are from 0 to 1.
    pub signed: bool,
    /// One for each step.
    pub values: Vec<f64>,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Above everything.
    pub title: String,
    /// Of each step.
    pub tokens: Vec<String>,
    /// What the probability is called, and what it is before the first and after each
    /// step.
    pub path: Option<(String, f64, Vec<f64>)>,
    /// Strips with a line above each group.
    pub groups: Vec<(String, Vec<Strip>)>,
}

/// Draws it into `path` (`.png` or `.svg`).
///
/// # Errors
/// There is no step or more than 120, the extension is another one, or the file cannot
/// be written.
pub fn reading(path: &Path, reading: &Reading) -> Result<()> {
    if !(1..=MOST).contains(&reading.tokens.len()) {
        let message = format!(
            "a picture has 1 to {MOST} steps, not {}",
            reading.tokens.len()
        );
        return Err(Error::file(path, message));
    }
    picture(reading).save(path)
}

fn picture(reading: &Reading) -> Picture {
    let steps = reading.tokens.len() as f64;
    let cell = (ACROSS / steps).clamp(CELL.0, CELL.1).floor();
    let widest = reading.tokens.iter().map(|token| font::width(token, TEXT));
    let widest = widest.fold(0.0, f64::max).min(220.0);
    let upwards = widest > cell - 10.0;
    let tall = if upwards { widest + 24.0 } else { ROW + 8.0 };
    let rows: usize = reading.groups.iter().map(|(_, strips)| strips.len()).sum();
    let path = if reading.path.is_some() {
        PATH + 50.0
    } else {
        20.0
    };
    let height = 74.0 + tall + path + rows as f64 * ROW + reading.groups.len() as f64 * 58.0 + 20.0;
    let width = (LEFT + cell * steps + 40.0).max(760.0);
    let mut picture = Picture::new(width.ceil() as u32, height.ceil() as u32);
    let title = font::fit(&reading.title, 24.0, width - 60.0);
    write(&mut picture, title, (30.0, 46.0), 24.0, Anchor::Start, INK);
    let mut top = 74.0;

    let moves = moves(reading);
    for (n, token) in reading.tokens.iter().enumerate() {
        let corner = (LEFT + n as f64 * cell, top);
        let ground = diverging(moves.get(n).copied().unwrap_or(0.0));
        picture.rectangle((corner.0 + 1.0, top), (cell - 2.0, tall), ground);
        let ink = readable(ground);
        let (middle, room) = (
            corner.0 + cell / 2.0,
            if upwards { tall - 16.0 } else { cell - 8.0 },
        );
        picture.label(Label {
            text: font::fit(token, TEXT, room),
            at: match upwards {
                true => (middle + 0.36 * TEXT, top + tall - 8.0),
                false => (middle, top + tall / 2.0 + 0.36 * TEXT),
            },
            em: TEXT,
            anchor: if upwards {
                Anchor::Start
            } else {
                Anchor::Middle
            },
            upwards,
            colour: ink,
        });
    }
    top += tall + 20.0;
    if let Some((name, start, values)) = &reading.path {
        line(&mut picture, top, cell, name, *start, values);
        top += PATH + 30.0;
    }
    for (name, strips) in &reading.groups {
        top += 40.0;
        write(
            &mut picture,
            name.clone(),
            (30.0, top),
            TEXT,
            Anchor::Start,
            INK,
        );
        top += 18.0;
        for strip in strips {
            draw_strip(&mut picture, top, cell, strip);
            top += ROW;
        }
    }
    picture
}

/// What each step does to the probability, over the most that one does.
fn moves(reading: &Reading) -> Vec<f64> {
    let Some((_, start, values)) = &reading.path else {
        return Vec::new();
    };
    let before = std::iter::once(start).chain(values);
    let moves: Vec<f64> = values
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect();
    let most = moves
        .iter()
        .fold(f64::MIN_POSITIVE, |most, by| most.max(by.abs()));
    moves.iter().map(|by| by / most).collect()
}

fn line(picture: &mut Picture, top: f64, cell: f64, name: &str, start: f64, values: &[f64]) {
    let right = LEFT + cell * values.len() as f64;
    let y = |value: f64| top + PATH * (1.0 - value);
    for value in [0.0, 0.5, 1.0] {
        picture.line(vec![(LEFT, y(value)), (right, y(value))], 1.0, GRID);
        let at = (LEFT - 12.0, y(value) + 0.36 * 16.0);
        write(picture, value.to_string(), at, 16.0, Anchor::End, GREY);
    }
    let name = font::fit(name, TEXT, LEFT - 80.0);
    let at = (30.0, top + PATH / 2.0 + 0.36 * TEXT);
    write(picture, name, at, TEXT, Anchor::Start, INK);
    let mut points = vec![(LEFT, y(start))];
    let steps = values.iter().enumerate();
    points.extend(steps.map(|(n, &value)| (LEFT + (n as f64 + 0.5) * cell, y(value))));
    picture.line(points.clone(), 2.5, LESS);
    for &centre in &points[1..] {
        picture.disc(centre, 5.0, LESS);
    }
}

fn draw_strip(picture: &mut Picture, top: f64, cell: f64, strip: &Strip) {
    let middle = top + ROW / 2.0;
    let at = (LEFT - 14.0, middle + 0.36 * 17.0);
    write(picture, strip.name.clone(), at, 17.0, Anchor::End, INK);
    let most = match strip.signed {
        true => strip
            .values
            .iter()
            .fold(f64::MIN_POSITIVE, |most, by| most.max(by.abs())),
        false => 1.0,
    };
    for (n, &value) in strip.values.iter().enumerate() {
        let left = LEFT + n as f64 * cell;
        let ground = match strip.signed {
            true => diverging(value / most),
            false => shade(value.clamp(0.0, 1.0)),
        };
        picture.rectangle((left + 1.0, top + 1.0), (cell - 2.0, ROW - 2.0), ground);
        let number = match strip.signed {
            true => format!("{value:+.2}"),
            false => format!("{value:.2}"),
        };
        if font::width(&number, 15.0) < cell - 6.0 {
            let at = (left + cell / 2.0, middle + 0.36 * 15.0);
            write(picture, number, at, 15.0, Anchor::Middle, readable(ground));
        }
    }
}

fn write(
    picture: &mut Picture,
    text: String,
    at: (f64, f64),
    em: f64,
    anchor: Anchor,
    colour: Colour,
) {
    picture.label(Label {
        text,
        at,
        em,
        anchor,
        upwards: false,
        colour,
    });
}

/// From -1 (blue) over 0 (white) to 1 (orange).
fn diverging(share: f64) -> Colour {
    let end = if share < 0.0 { LESS } else { MORE };
    let share = share.abs().min(1.0);
    let mix = |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
    Colour(
        mix(WHITE.0, end.0),
        mix(WHITE.1, end.1),
        mix(WHITE.2, end.2),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(steps: usize) -> Reading {
        Reading {
            title: "positive".to_owned(),
            tokens: (0..steps).map(|n| format!("word{n}")).collect(),
            path: Some((
                "p".to_owned(),
                0.5,
                (0..steps).map(|n| n as f64 / steps as f64).collect(),
            )),
            groups: vec![(
                "unit 1".to_owned(),
                vec![Strip {
                    name: "C".to_owned(),
                    signed: true,
                    values: (0..steps).map(|n| n as f64 - 1.0).collect(),
                }],
            )],
        }
    }

    #[test]
    fn everything_is_inside_of_the_sheet() {
        for steps in [1, 7, 40, 120] {
            let reading = example(steps);
            let picture = picture(&reading);
            super::super::picture::tests::assert_tidy(&picture);
        }
    }

    #[test]
    fn what_is_too_long_or_empty_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for steps in [0, 121] {
            let path = folder.path().join("r.png");
            let error = super::reading(&path, &example(steps))
                .unwrap_err()
                .to_string();
            assert!(error.contains("1 to 120"), "{error}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn colours_say_the_sign() {
        assert_eq!(diverging(0.0), WHITE);
        assert_eq!(diverging(1.0), MORE);
        assert_eq!(diverging(-3.0), LESS);
        let reading = example(3);
        let expected = [-1.0, 2.0 / 3.0, 2.0 / 3.0];
        let moves = moves(&reading);
        assert!(
            moves
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
    }
}
