//! A drawing as the text of an SVG: for a file with its colors, for a page with variables
//! of CSS and with attributes that the page's script reads.

use std::fmt::Write;

use super::drawing::{Anchor, Drawing, Frame, Label, Shape, Symbol};
use super::font;
use super::paint::Paint;

/// Where the text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    File,
    Page,
}

impl Drawing {
    /// The text of a file: white paper, its own colors and fonts.
    pub(super) fn file_svg(&self) -> String {
        let (width, height) = (short(self.width), short(self.height));
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"{}\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>\n",
            font::FAMILY,
            Paint::Paper.fixed()
        );
        self.write(&mut text, Target::File);
        text.push_str("</svg>\n");
        text
    }

    /// The text of an element of a page, whose colors are the variables of its style.
    pub fn page_svg(&self) -> String {
        let (width, height) = (short(self.width), short(self.height));
        let mut text = format!("<svg class=\"chart\" viewBox=\"0 0 {width} {height}\"");
        if !self.heads.is_empty() {
            let heads = self.heads.iter();
            let heads: Vec<String> = heads
                .map(|(x, head)| format!("{}\t{head}", short(*x)))
                .collect();
            let _ = write!(text, " data-heads=\"{}\"", escape(&heads.join("\n")));
        }
        text.push_str(">\n");
        self.write(&mut text, Target::Page);
        text.push_str("</svg>");
        text
    }

    fn write(&self, text: &mut String, target: Target) {
        for shape in &self.shapes {
            write_shape(text, shape, target);
        }
    }
}

fn write_shape(text: &mut String, shape: &Shape, target: Target) {
    let color = |paint: &Paint| match target {
        Target::File => paint.fixed(),
        Target::Page => paint.themed(),
    };
    let _ = match shape {
        Shape::Rectangle {
            corner,
            size,
            paint,
        } => writeln!(
            text,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"/>",
            short(corner.0),
            short(corner.1),
            short(size.0),
            short(size.1),
            color(paint)
        ),
        Shape::Line {
            points,
            width,
            paint,
            dash,
        } => {
            let dash = match dash.lengths() {
                Some(lengths) => format!(" stroke-dasharray=\"{lengths}\""),
                None => String::new(),
            };
            writeln!(
                text,
                "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}/>",
                path(points),
                color(paint),
                short(*width)
            )
        }
        Shape::Area {
            polygons,
            paint,
            opacity,
        } => {
            let d: String = polygons.iter().map(|points| path(points) + "Z").collect();
            let opacity = match *opacity < 1.0 {
                true => format!(" fill-opacity=\"{opacity}\""),
                false => String::new(),
            };
            writeln!(text, "<path d=\"{d}\" fill=\"{}\"{opacity}/>", color(paint))
        }
        Shape::Marks {
            points,
            symbol,
            size,
            paint,
        } => writeln!(
            text,
            "<path class=\"marks\" d=\"{}\" {}/>",
            marks(points, *symbol, *size),
            look(*symbol, *size, &color(paint))
        ),
        Shape::Label(label) => write_label(text, label, &color(&label.paint)),
        Shape::Group {
            attributes,
            window,
            shapes,
        } => {
            open(text, attributes, *window, target);
            shapes
                .iter()
                .for_each(|shape| write_shape(text, shape, target));
            text.push_str(match (window, target) {
                (Some(_), Target::Page) => "</svg>\n",
                _ => "</g>\n",
            });
            Ok(())
        }
    };
}

fn open(
    text: &mut String,
    attributes: &[(&'static str, String)],
    window: Option<Frame>,
    target: Target,
) {
    text.push_str(match (window, target) {
        (Some(_), Target::Page) => "<svg",
        _ => "<g",
    });
    if target == Target::Page {
        for (name, value) in attributes {
            let _ = write!(text, " {name}=\"{}\"", escape(value));
        }
        if let Some(frame) = window {
            let (x, y) = (short(frame.left), short(frame.top));
            let (width, height) = (short(frame.width), short(frame.height));
            let _ = write!(
                text,
                " x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
                 viewBox=\"{x} {y} {width} {height}\""
            );
        }
    }
    text.push_str(">\n");
}

fn write_label(text: &mut String, label: &Label, color: &str) -> std::fmt::Result {
    let anchor = match label.anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    };
    let (x, y) = (short(label.at.0), short(label.at.1));
    let place = match label.upwards {
        true => format!("transform=\"translate({x} {y}) rotate(-90)\""),
        false => format!("x=\"{x}\" y=\"{y}\""),
    };
    writeln!(
        text,
        "<text {place}{anchor} font-size=\"{}\" fill=\"{color}\">{}</text>",
        short(label.em),
        escape(&label.text)
    )
}

/// A line through points, in absolute coordinates.
fn path(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (n, (x, y)) in points.iter().enumerate() {
        let step = if n == 0 { 'M' } else { 'L' };
        let _ = write!(d, "{step}{} {}", short(*x), short(*y));
    }
    d
}

/// Marks, each an absolute move to its point with relative strokes behind it: so the
/// script of a page moves a mark without changing its shape.
fn marks(points: &[(f64, f64)], symbol: Symbol, size: f64) -> String {
    let r = size / 2.0;
    let (r, minus, d, back) = (short(r), short(-r), short(size), short(-size));
    let strokes = match symbol {
        Symbol::Disc | Symbol::Square => "h.1".to_owned(),
        Symbol::Diamond | Symbol::OpenDiamond => {
            format!("m0 {minus}l{r} {r} {minus} {r} {minus} {minus}z")
        }
        Symbol::TriangleUp => format!("m0 {minus}l{r} {d}h{back}z"),
        Symbol::TriangleDown => format!("m0 {r}l{r} {back}h{back}z"),
        Symbol::Plus => format!("m{minus} 0h{d}m{minus} {minus}v{d}"),
        Symbol::Cross => format!("m{minus} {minus}l{d} {d}m{back} 0l{d} {back}"),
        Symbol::Ring => format!("m{minus} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 {back} 0"),
        Symbol::OpenSquare => format!("m{minus} {minus}h{d}v{d}h{back}z"),
    };
    let mut path = String::new();
    for (x, y) in points {
        let _ = write!(path, "M{} {}{strokes}", short(*x), short(*y));
    }
    path
}

/// How the strokes of a mark are painted.
fn look(symbol: Symbol, size: f64, color: &str) -> String {
    let width = short(size);
    match symbol {
        Symbol::Disc => {
            format!("stroke=\"{color}\" stroke-width=\"{width}\" stroke-linecap=\"round\"")
        }
        Symbol::Square => {
            format!("stroke=\"{color}\" stroke-width=\"{width}\" stroke-linecap=\"square\"")
        }
        Symbol::Diamond | Symbol::TriangleUp | Symbol::TriangleDown => format!("fill=\"{color}\""),
        Symbol::Plus | Symbol::Cross => {
            format!("fill=\"none\" stroke=\"{color}\" stroke-width=\"2.2\"")
        }
        Symbol::Ring | Symbol::OpenSquare | Symbol::OpenDiamond => {
            format!("fill=\"none\" stroke=\"{color}\" stroke-width=\"1.6\"")
        }
    }
}

/// A length with the digits that can be seen.
pub(super) fn short(length: f64) -> String {
    let text = format!("{length:.1}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

/// Text as it may stand in an element or an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::drawing::LineStyle;
    use super::*;

    #[test]
    fn text_is_text_and_is_escaped() {
        let mut drawing = Drawing::new(80.0, 60.0);
        let size = (20.0, 200.0);
        drawing.text("a<b & c", (10.0, 40.0), size, Anchor::Start, Paint::Ink);
        drawing.upwards("up", (30.0, 50.0), size, Anchor::End, Paint::Ink);
        let svg = drawing.file_svg();
        assert!(svg.contains("width=\"80\" height=\"60\""), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("a&lt;b &amp; c"), "{svg}");
        assert!(svg.contains("font-size=\"20\""), "{svg}");
        assert!(svg.contains("translate(30 50) rotate(-90)"), "{svg}");
    }

    #[test]
    fn a_file_has_colors_and_a_page_has_variables_and_attributes() {
        let mut drawing = Drawing::new(80.0, 60.0);
        drawing.heads = vec![(1.0, "a".to_owned()), (2.5, "\"b\"".to_owned())];
        drawing.shapes.push(Shape::Group {
            attributes: vec![("data-x", "<1>".to_owned())],
            window: Some(Frame {
                left: 1.0,
                top: 2.0,
                width: 3.0,
                height: 4.0,
            }),
            shapes: vec![Shape::Line {
                points: vec![(0.0, 1.5), (2.0, 3.0)],
                width: 1.5,
                paint: Paint::Blue,
                dash: LineStyle::Dashed,
            }],
        });
        let (file, page) = (drawing.file_svg(), drawing.page_svg());
        assert!(file.contains("d=\"M0 1.5L2 3\" fill=\"none\" stroke=\"#0072b2\""));
        assert!(!file.contains("data-") && !file.contains("var("));
        assert!(page.contains("stroke=\"var(--blue)\""));
        assert!(page.contains("data-heads=\"1\ta\n2.5\t&#34;b&#34;\""));
        assert!(page.contains("<svg data-x=\"&lt;1&gt;\" x=\"1\" y=\"2\" width=\"3\""));
        assert!(!page.contains("#0072b2"));
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }

    #[test]
    fn lengths_are_short() {
        let lengths = [0.0, -0.001, 12.5, 3.1234, -7.0];
        assert_eq!(lengths.map(short), ["0", "0", "12.5", "3.1", "-7"]);
    }
}
