//! Shapes on a sheet. Later shapes cover earlier ones; all lengths are pixels from the
//! upper left corner.

use super::font;
use super::paint::Paint;

/// The type scale: ems of titles, of labels and of numbers at ticks, and the line
/// height over the em.
pub const TITLE: f64 = 14.0;
/// The em of labels.
pub const TEXT: f64 = 12.5;
/// The em of numbers at ticks and of notes.
pub const SMALL: f64 = 11.5;
/// How far below the middle of a line of text its baseline is, over the em.
pub const DROP: f64 = 0.36;

/// Where a text's point stands in it, along the line of writing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Anchor {
    /// At its beginning.
    Start,
    /// In its middle.
    Middle,
    /// At its end.
    End,
}

/// A line of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// What it says.
    pub text: String,
    /// A point of the baseline.
    pub at: (f64, f64),
    /// Pixels an em.
    pub em: f64,
    /// Where the point stands in the text.
    pub anchor: Anchor,
    /// Turned a quarter to the left: it reads upwards.
    pub upwards: bool,
    /// Its color.
    pub paint: Paint,
}

/// How a line is broken up, so that lines differ without color too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineStyle {
    /// Not at all.
    Solid,
    /// Into dashes.
    Dashed,
    /// Into dots.
    Dotted,
    /// Into dashes and dots.
    DashDot,
    /// Into long dashes.
    LongDash,
}

impl LineStyle {
    /// The lengths of strokes and gaps.
    pub(super) fn lengths(self) -> Option<&'static str> {
        match self {
            LineStyle::Solid => None,
            LineStyle::Dashed => Some("6 4"),
            LineStyle::Dotted => Some("1.5 3.5"),
            LineStyle::DashDot => Some("7 3 1.5 3"),
            LineStyle::LongDash => Some("11 4"),
        }
    }
}

/// The mark of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    /// A filled circle.
    Disc,
    /// A filled square.
    Square,
    /// A filled diamond.
    Diamond,
    /// A filled triangle on its base.
    TriangleUp,
    /// A filled triangle on its tip.
    TriangleDown,
    /// Two upright strokes.
    Plus,
    /// Two slanted strokes.
    Cross,
    /// The outline of a circle.
    Ring,
    /// The outline of a square.
    OpenSquare,
    /// The outline of a diamond.
    OpenDiamond,
}

/// What can be drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A filled rectangle.
    Rectangle {
        /// The upper left corner.
        corner: (f64, f64),
        /// Width and height.
        size: (f64, f64),
        /// Its color.
        paint: Paint,
    },
    /// A line through points.
    Line {
        /// The points.
        points: Vec<(f64, f64)>,
        /// How wide it is.
        width: f64,
        /// Its color.
        paint: Paint,
        /// How it is broken up.
        dash: LineStyle,
    },
    /// Filled polygons.
    Area {
        /// The corners of each.
        polygons: Vec<Vec<(f64, f64)>>,
        /// Their color.
        paint: Paint,
        /// From 0 to 1.
        opacity: f64,
    },
    /// Marks of points.
    Marks {
        /// The points.
        points: Vec<(f64, f64)>,
        /// The mark of each.
        symbol: Symbol,
        /// How wide and high it is.
        size: f64,
        /// Its color.
        paint: Paint,
    },
    /// A line of text.
    Label(Label),
    /// Shapes that belong together.
    Group {
        /// The class, and attributes that the script of a page reads; a file has none
        /// of them.
        attributes: Vec<(&'static str, String)>,
        /// Where the group is a window that can be zoomed into: its corner and size.
        window: Option<Frame>,
        /// What belongs together.
        shapes: Vec<Shape>,
    },
}

/// A rectangle of the sheet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// The left end.
    pub left: f64,
    /// The upper end.
    pub top: f64,
    /// From left to right.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

impl Frame {
    /// The right end.
    pub fn right(self) -> f64 {
        self.left + self.width
    }

    /// The lower end.
    pub fn bottom(self) -> f64 {
        self.top + self.height
    }
}

/// A picture in the making.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// The width of the sheet.
    pub width: f64,
    /// The height of the sheet.
    pub height: f64,
    /// What is on it.
    pub shapes: Vec<Shape>,
    /// What the points have in common that stand over each other at this x: the script of
    /// a page says it in front of them.
    pub heads: Vec<(f64, String)>,
}

impl Drawing {
    /// An empty sheet.
    pub fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            shapes: Vec::new(),
            heads: Vec::new(),
        }
    }

    /// Adds a filled rectangle.
    pub fn rectangle(&mut self, corner: (f64, f64), size: (f64, f64), paint: Paint) {
        self.shapes.push(Shape::Rectangle {
            corner,
            size,
            paint,
        });
    }

    /// Adds a solid line.
    pub fn line(&mut self, points: Vec<(f64, f64)>, width: f64, paint: Paint) {
        self.shapes.push(Shape::line(points, width, paint));
    }

    /// Adds the mark of one point.
    pub fn mark(&mut self, at: (f64, f64), symbol: Symbol, size: f64, paint: Paint) {
        self.shapes.push(Shape::Marks {
            points: vec![at],
            symbol,
            size,
            paint,
        });
    }

    /// Adds a line of text, cut to `limit` pixels.
    pub fn text(
        &mut self,
        text: &str,
        at: (f64, f64),
        (em, limit): (f64, f64),
        anchor: Anchor,
        paint: Paint,
    ) {
        self.shapes.push(Shape::Label(Label {
            text: font::fit(text, em, limit),
            at,
            em,
            anchor,
            upwards: false,
            paint,
        }));
    }

    /// Adds a line of text that reads upwards, cut to `limit` pixels.
    pub fn upwards(
        &mut self,
        text: &str,
        at: (f64, f64),
        (em, limit): (f64, f64),
        anchor: Anchor,
        paint: Paint,
    ) {
        self.text(text, at, (em, limit), anchor, paint);
        if let Some(Shape::Label(label)) = self.shapes.last_mut() {
            label.upwards = true;
        }
    }

    /// Adds the mark of what is best: a disc in a ring.
    pub fn target(&mut self, at: (f64, f64), paint: Paint) {
        self.mark(at, Symbol::Disc, 13.0, Paint::Paper);
        self.mark(at, Symbol::Ring, 11.0, paint);
        self.mark(at, Symbol::Disc, 5.5, paint);
    }
}

impl Shape {
    /// A solid line.
    pub fn line(points: Vec<(f64, f64)>, width: f64, paint: Paint) -> Self {
        Shape::Line {
            points,
            width,
            paint,
            dash: LineStyle::Solid,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
