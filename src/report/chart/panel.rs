//! One set of axes with what is drawn on it.

use super::axis::Axis;
use super::drawing::{Anchor, DROP, Drawing, Frame, LineStyle, SMALL, Shape, Symbol, TEXT, TITLE};
use super::font;
use super::paint::Paint;

/// From the numbers of the vertical axis to the axis.
const GAP: f64 = 8.0;
/// The length of a tick.
const TICK: f64 = 4.0;

/// What a series is drawn as.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// A line through the points, with a mark on every `every`th from the `first` on,
    /// or on none.
    Line {
        /// How wide it is.
        width: f64,
        /// The mark, the first and the distance of marked points.
        marks: Option<(Symbol, usize, usize)>,
    },
    /// A mark for each point.
    Points(Symbol),
    /// A bar from 0 to each point, in the color of the sign: vermillion above, blue
    /// below.
    Bars,
    /// The outline of a histogram; the area below is tinted where it is `filled`.
    Steps {
        /// Whether the area below is tinted.
        filled: bool,
    },
}

/// Points with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What the points are.
    pub name: String,
    /// Their color.
    pub paint: Paint,
    /// How a line is broken up.
    pub dash: LineStyle,
    /// What they are drawn as.
    pub form: Form,
    /// x and y. Those without a place leave a gap.
    pub points: Vec<(f64, f64)>,
    /// How far each y is uncertain up and down; none, or one for each point.
    pub errors: Vec<Option<f64>>,
    /// What the script of a page says of all points, in front of what it says of each.
    pub lead: String,
    /// Words about each point around the values that differ, each of which stands as `{}`;
    /// without such a place, nothing is around them. A tab begins a new line.
    pub template: String,
    /// What it says of each point; a tab begins a new line, or the next value of the template.
    pub says: Vec<String>,
}

impl Series {
    /// Points without errors or words.
    pub fn new(name: impl Into<String>, paint: Paint, form: Form, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            paint,
            dash: LineStyle::Solid,
            form,
            points,
            errors: Vec::new(),
            lead: String::new(),
            template: String::new(),
            says: Vec::new(),
        }
    }
}

/// A line to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Guide {
    /// At this y, over the whole width, with a word at its right end.
    Level(f64, String),
    /// At this x, over the whole height, dotted or dashed.
    Upright(f64, LineStyle),
    /// Between two points.
    Between((f64, f64), (f64, f64)),
}

/// Which points the script of a page shows together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hover {
    /// The one closest to the pointer.
    Point,
    /// All that stand over each other, in every panel of the drawing.
    Column,
    /// All beside each other.
    Row,
}

/// One set of axes with what is drawn on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The horizontal axis; its title stands below.
    pub x: Axis,
    /// The vertical axis; its title stands above, where it is the panel's.
    pub y: Axis,
    /// Lines to compare with.
    pub guides: Vec<Guide>,
    /// What is drawn, later ones above.
    pub series: Vec<Series>,
    /// Which points are shown together.
    pub hover: Hover,
    /// Whether the horizontal axis has its labels above instead of below.
    pub labels_above: bool,
}

impl Panel {
    /// Axes without anything on them.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self {
            x,
            y,
            guides: Vec::new(),
            series: Vec::new(),
            hover: Hover::Point,
            labels_above: false,
        }
    }

    /// How much room the numbers of the vertical axis need.
    pub fn left_margin(&self) -> f64 {
        let widths = self
            .y
            .ticks
            .iter()
            .map(|(_, text)| font::width(text, SMALL));
        widths.fold(0.0, f64::max) + GAP
    }

    /// Whether the labels of the horizontal axis have to read upwards, and how much room
    /// they need below an axis of this width.
    pub fn labels_height(&self, width: f64) -> (bool, f64) {
        let widths = self
            .x
            .ticks
            .iter()
            .map(|(_, text)| font::width(text, SMALL));
        let widest = widths.fold(0.0, f64::max);
        let room = width / self.x.ticks.len().max(1) as f64;
        let names = self.x.spacing == super::axis::Spacing::Category;
        match names && widest > room - 6.0 && self.x.ticks.len() > 6 {
            true => (true, widest.min(90.0) + 10.0),
            false => (false, 20.0),
        }
    }

    /// Where a point is in the frame; not finite for one without a place.
    pub fn place(&self, frame: Frame, at: (f64, f64)) -> (f64, f64) {
        (
            frame.left + frame.width * self.x.place(at.0),
            frame.bottom() - frame.height * self.y.place(at.1),
        )
    }

    /// Whether a point has a place.
    pub fn has(&self, at: (f64, f64)) -> bool {
        self.x.has(at.0) && self.y.has(at.1)
    }

    /// Draws the panel with its axes around `frame`, and its titles.
    pub fn draw(&self, drawing: &mut Drawing, frame: Frame) {
        let mut axes = Drawing::new(drawing.width, drawing.height);
        self.draw_y(&mut axes, frame);
        let y_ticks = std::mem::take(&mut axes.shapes);
        self.draw_x(&mut axes, frame);
        let x_ticks = std::mem::take(&mut axes.shapes);
        let group = |class: &str, shapes| Shape::Group {
            attributes: vec![("class", class.to_owned())],
            window: None,
            shapes,
        };
        let hover = match self.hover {
            Hover::Point => "point",
            Hover::Column => "column",
            Hover::Row => "row",
        };
        let mut inside: Vec<Shape> = self
            .guides
            .iter()
            .flat_map(|guide| self.guide(frame, guide))
            .collect();
        let series = self.series.iter().enumerate();
        inside.extend(series.map(|(n, series)| self.group(frame, n, series)));
        let numbers = [frame.left, frame.top, frame.width, frame.height].map(super::svg::short);
        drawing.shapes.push(Shape::Group {
            attributes: vec![
                ("class", "panel".to_owned()),
                ("data-frame", numbers.join(" ")),
                ("data-x", self.x.attribute()),
                ("data-y", self.y.attribute()),
                ("data-hover", hover.to_owned()),
            ],
            window: None,
            shapes: vec![
                group("ticks-y", y_ticks),
                group("ticks-x", x_ticks),
                Shape::Group {
                    attributes: vec![("class", "window".to_owned())],
                    window: Some(frame),
                    shapes: inside,
                },
            ],
        });
        self.titles(drawing, frame);
    }

    fn titles(&self, drawing: &mut Drawing, frame: Frame) {
        if !self.y.title.is_empty() {
            let above = if self.labels_above { 34.0 } else { 14.0 };
            drawing.text(
                &self.y.title,
                (frame.left, frame.top - above),
                (TITLE, frame.width),
                Anchor::Start,
                Paint::Ink,
            );
        }
        if !self.x.title.is_empty() {
            let (_, labels) = self.labels_height(frame.width);
            let at = (
                frame.left + frame.width / 2.0,
                frame.bottom() + labels + 17.0,
            );
            let size = (TEXT, frame.width);
            drawing.text(&self.x.title, at, size, Anchor::Middle, Paint::Soft);
        }
    }

    fn draw_y(&self, axes: &mut Drawing, frame: Frame) {
        for (value, text) in &self.y.ticks {
            let at = frame.bottom() - frame.height * self.y.tick_place(*value);
            axes.line(
                vec![(frame.left, at), (frame.right(), at)],
                1.0,
                Paint::Rule,
            );
            let place = (frame.left - GAP, at + DROP * SMALL);
            let size = (SMALL, frame.left - GAP);
            axes.text(text, place, size, Anchor::End, Paint::Soft);
        }
    }

    fn draw_x(&self, axes: &mut Drawing, frame: Frame) {
        let edge = if self.labels_above {
            frame.top
        } else {
            frame.bottom()
        };
        let (upwards, height) = self.labels_height(frame.width);
        axes.line(
            vec![(frame.left, edge), (frame.right(), edge)],
            1.0,
            Paint::Soft,
        );
        let room = frame.width / self.x.ticks.len().max(1) as f64;
        for (value, text) in &self.x.ticks {
            let at = frame.left + frame.width * self.x.tick_place(*value);
            if self.labels_above {
                axes.line(
                    vec![(at, frame.top), (at, frame.bottom())],
                    1.0,
                    Paint::Rule,
                );
                let size = (SMALL, room.max(60.0));
                let place = (at, edge - 9.0);
                axes.text(text, place, size, Anchor::Middle, Paint::Soft);
                continue;
            }
            axes.line(vec![(at, edge), (at, edge + TICK)], 1.0, Paint::Soft);
            match upwards {
                true => {
                    let place = (at + DROP * SMALL, edge + 8.0);
                    let size = (SMALL, height - 10.0);
                    axes.upwards(text, place, size, Anchor::End, Paint::Soft);
                }
                false => {
                    let size = (SMALL, (room - 4.0).max(2.0 * SMALL));
                    let place = (at, edge + 17.0);
                    axes.text(text, place, size, Anchor::Middle, Paint::Soft);
                }
            }
        }
    }

    fn guide(&self, frame: Frame, guide: &Guide) -> Vec<Shape> {
        let line = |from, to, dash| Shape::Line {
            points: vec![from, to],
            width: 1.2,
            paint: Paint::Soft,
            dash,
        };
        match guide {
            Guide::Level(value, word) => {
                let at = frame.bottom() - frame.height * self.y.place(*value);
                let mut label = Drawing::new(0.0, 0.0);
                if !word.is_empty() {
                    let place = (frame.right() - 2.0, at - 4.0);
                    let size = (SMALL, frame.width);
                    label.text(word, place, size, Anchor::End, Paint::Soft);
                }
                let level = line((frame.left, at), (frame.right(), at), LineStyle::Dashed);
                std::iter::once(level).chain(label.shapes).collect()
            }
            Guide::Upright(value, dash) => {
                let at = frame.left + frame.width * self.x.place(*value);
                vec![line((at, frame.top), (at, frame.bottom()), *dash)]
            }
            Guide::Between(from, to) => vec![line(
                self.place(frame, *from),
                self.place(frame, *to),
                LineStyle::Dashed,
            )],
        }
    }

    /// A series with what the script of a page reads of it.
    fn group(&self, frame: Frame, index: usize, series: &Series) -> Shape {
        let mut attributes = vec![
            ("class", "series".to_owned()),
            ("data-series", index.to_string()),
        ];
        if !series.says.is_empty() {
            let shown = series.points.iter().zip(&series.says);
            let shown = shown.filter(|(at, _)| self.has(**at));
            let says: Vec<&str> = shown.clone().map(|(_, says)| says.as_str()).collect();
            let places = shown.map(|(at, _)| {
                let (x, y) = self.place(frame, *at);
                format!("{} {}", super::svg::short(x), super::svg::short(y))
            });
            attributes.push(("data-at", places.collect::<Vec<_>>().join(" ")));
            attributes.push(("data-lead", series.lead.clone()));
            if !series.template.is_empty() {
                attributes.push(("data-template", series.template.clone()));
            }
            attributes.push(("data-says", says.join("\n")));
        }
        Shape::Group {
            attributes,
            window: None,
            shapes: super::series::shapes(self, frame, series),
        }
    }
}
