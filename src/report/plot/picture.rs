//! Shapes on a white sheet, and the file they become.

use std::io::Write;
use std::path::Path;

use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color as _, FontDesc, FontFamily, FontStyle, FontTransform, IntoTextStyle, WHITE,
};

use super::font;
use crate::error::{Error, Result};
use crate::files::write_atomically;

pub(super) use plotters::style::RGBColor as Colour;

/// Pixels are drawn this many times finer in both directions and averaged,
/// for smooth edges and evenly spaced letters.
const FINER: u32 = 3;

/// What plotters says to a shape.
type Drawn<B> = std::result::Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// Where a text's point stands in it, along the line of writing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text. `at` is on the baseline.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label {
    pub text: String,
    pub at: (f64, f64),
    /// Pixels an em.
    pub em: f64,
    pub anchor: Anchor,
    /// Turned a quarter to the left: it reads upwards.
    pub upwards: bool,
    pub colour: Colour,
}

/// What can be drawn. All lengths are pixels from the upper left corner.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Rectangle {
        corner: (f64, f64),
        size: (f64, f64),
        colour: Colour,
    },
    Line {
        points: Vec<(f64, f64)>,
        width: f64,
        colour: Colour,
    },
    Disc {
        centre: (f64, f64),
        radius: f64,
        colour: Colour,
    },
    Label(Label),
}

/// A picture in the making: later shapes cover earlier ones.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    pub width: u32,
    pub height: u32,
    pub shapes: Vec<Shape>,
}

impl Picture {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            shapes: Vec::new(),
        }
    }

    pub(super) fn rectangle(&mut self, corner: (f64, f64), size: (f64, f64), colour: Colour) {
        self.shapes.push(Shape::Rectangle {
            corner,
            size,
            colour,
        });
    }

    pub(super) fn line(&mut self, points: Vec<(f64, f64)>, width: f64, colour: Colour) {
        self.shapes.push(Shape::Line {
            points,
            width,
            colour,
        });
    }

    pub(super) fn disc(&mut self, centre: (f64, f64), radius: f64, colour: Colour) {
        self.shapes.push(Shape::Disc {
            centre,
            radius,
            colour,
        });
    }

    pub(super) fn label(&mut self, label: Label) {
        self.shapes.push(Shape::Label(label));
    }

    /// All of another picture, with its upper left corner there.
    pub(super) fn put(&mut self, corner: (f64, f64), other: Picture) {
        let moved = |at: (f64, f64)| (at.0 + corner.0, at.1 + corner.1);
        self.shapes
            .extend(other.shapes.into_iter().map(|shape| match shape {
                Shape::Rectangle {
                    corner,
                    size,
                    colour,
                } => Shape::Rectangle {
                    corner: moved(corner),
                    size,
                    colour,
                },
                Shape::Line {
                    points,
                    width,
                    colour,
                } => Shape::Line {
                    points: points.into_iter().map(moved).collect(),
                    width,
                    colour,
                },
                Shape::Disc {
                    centre,
                    radius,
                    colour,
                } => Shape::Disc {
                    centre: moved(centre),
                    radius,
                    colour,
                },
                Shape::Label(label) => Shape::Label(Label {
                    at: moved(label.at),
                    ..label
                }),
            }));
    }

    /// Writes the picture as `path`'s extension says.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let bytes = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("png") => self.png(path)?,
            Some("svg") => self.svg(path)?.into_bytes(),
            _ => {
                return Err(Error::file(
                    path,
                    "a picture is written as .png or .svg: give the file one of these extensions",
                ));
            }
        };
        write_atomically(path, |file| file.write_all(&bytes))?;
        Ok(())
    }

    /// As the text of an SVG; `path` is for what is wrong.
    pub(super) fn svg(&self, path: &Path) -> Result<String> {
        let mut text = String::new();
        let area =
            SVGBackend::with_string(&mut text, (self.width, self.height)).into_drawing_area();
        self.draw(&area, Kind::Vector)
            .map_err(|error| refused(path, error))?;
        drop(area);
        Ok(text)
    }

    fn png(&self, path: &Path) -> Result<Vec<u8>> {
        let (width, height) = (self.width * FINER, self.height * FINER);
        let mut fine = vec![0; width as usize * height as usize * 3];
        let area = BitMapBackend::with_buffer(&mut fine, (width, height)).into_drawing_area();
        self.draw(&area, Kind::Bitmap)
            .map_err(|error| refused(path, error))?;
        drop(area);
        let pixels = average(&fine, width as usize, FINER as usize);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| {
                writer.write_image_data(&pixels)?;
                writer.finish()
            })
            .map_err(|error| refused(path, error))?;
        Ok(bytes)
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, kind: Kind) -> Drawn<B> {
        let scale = kind.scale();
        let pixel = |(x, y): (f64, f64)| ((x * scale).round() as i32, (y * scale).round() as i32);
        area.fill(&WHITE)?;
        for shape in &self.shapes {
            match shape {
                Shape::Rectangle {
                    corner,
                    size,
                    colour,
                } => {
                    let opposite = (corner.0 + size.0, corner.1 + size.1);
                    area.draw(&Rectangle::new(
                        [pixel(*corner), pixel(opposite)],
                        colour.filled(),
                    ))?;
                }
                Shape::Line {
                    points,
                    width,
                    colour,
                } => {
                    let points: Vec<_> = points.iter().copied().map(pixel).collect();
                    let width = (width * scale).round().max(1.0) as u32;
                    area.draw(&PathElement::new(points, colour.stroke_width(width)))?;
                }
                Shape::Disc {
                    centre,
                    radius,
                    colour,
                } => {
                    let radius = (radius * scale).round() as i32;
                    area.draw(&Circle::new(pixel(*centre), radius, colour.filled()))?;
                }
                Shape::Label(label) => match kind {
                    Kind::Bitmap => draw_glyphs(area, label, scale)?,
                    Kind::Vector => draw_text(area, label)?,
                },
            }
        }
        area.present()
    }
}

fn refused(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::file(path, format!("the picture could not be drawn: {error}"))
}

/// The two kinds of files, which hold text differently.
#[derive(Clone, Copy)]
enum Kind {
    Bitmap,
    Vector,
}

impl Kind {
    /// Units of the backend in a pixel of the picture.
    fn scale(self) -> f64 {
        match self {
            Kind::Bitmap => f64::from(FINER),
            Kind::Vector => 1.0,
        }
    }
}

/// Draws a label pixel by pixel: plotters' own text in bitmaps leaves out the
/// space before each letter, and letters end up unevenly apart.
fn draw_glyphs<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    label: &Label,
    scale: f64,
) -> Drawn<B> {
    let em = label.em * scale;
    let before = match label.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => font::width(&label.text, em) / 2.0,
        Anchor::End => font::width(&label.text, em),
    };
    let before = before.round() as i32;
    let origin = (
        (label.at.0 * scale).round() as i32,
        (label.at.1 * scale).round() as i32,
    );
    let mut drawn = Ok(());
    font::rasterise(&label.text, em, |x, y, coverage| {
        let along = x - before;
        let at = if label.upwards {
            (origin.0 + y, origin.1 - along)
        } else {
            (origin.0 + along, origin.1 + y)
        };
        if drawn.is_ok() {
            drawn = area.draw_pixel(at, &label.colour.mix(f64::from(coverage)));
        }
    });
    drawn
}

/// Draws a label as text of an SVG.
fn draw_text<B: DrawingBackend>(area: &DrawingArea<B, Shift>, label: &Label) -> Drawn<B> {
    let anchor = match label.anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    // plotters 0.3 takes an em to be size / 1.24, and puts the baseline
    // 0.76 em below the top of a text.
    let drop = (0.76 * label.em).round() as i32;
    let (x, y) = (label.at.0.round() as i32, label.at.1.round() as i32);
    let (at, turn) = if label.upwards {
        ((x - drop, y), FontTransform::Rotate270)
    } else {
        ((x, y - drop), FontTransform::None)
    };
    let style = FontDesc::new(
        FontFamily::Name(font::FAMILY),
        1.24 * label.em,
        FontStyle::Normal,
    )
    .into_text_style(area)
    .transform(turn)
    .color(&label.colour)
    .pos(Pos::new(anchor, VPos::Top));
    area.draw(&Text::new(label.text.as_str(), at, style))
}

/// The means of `finer` x `finer` squares of RGB pixels, `width` to a row.
fn average(fine: &[u8], width: usize, finer: usize) -> Vec<u8> {
    let samples = (finer * finer) as u32;
    let mut means = Vec::with_capacity(fine.len() / (finer * finer));
    for rows in fine.chunks_exact(width * 3 * finer) {
        for column in 0..width / finer {
            for channel in 0..3 {
                let mut sum = samples / 2;
                for row in rows.chunks_exact(width * 3) {
                    for x in column * finer..(column + 1) * finer {
                        sum += u32::from(row[x * 3 + channel]);
                    }
                }
                means.push((sum / samples) as u8);
            }
        }
    }
    means
}

#[cfg(test)]
pub(super) mod tests;
