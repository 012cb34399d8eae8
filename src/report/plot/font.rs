//! The font of every picture: how wide a text is, and its pixels.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};

/// An SVG names fonts and does not hold them: the rest of this CSS list is
/// for viewers without DejaVu Sans.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

static SANS: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(dejavu::sans::regular()).expect("DejaVu Sans is a font")
});

/// ab_glyph measures a font by the height of a line.
fn scale(em: f64) -> PxScale {
    let line = SANS.height_unscaled() / SANS.units_per_em().unwrap_or(2048.0);
    PxScale::from(em as f32 * line)
}

/// The width of `text` in pixels, at `em` pixels an em.
pub(super) fn width(text: &str, em: f64) -> f64 {
    place(text, em, |_, _| {})
}

/// Calls `pixel(x, y, coverage)` for the pixels of `text` whose first
/// letter's origin, on the baseline, is at (0, 0); `y` grows downwards.
pub(super) fn rasterise(text: &str, em: f64, mut pixel: impl FnMut(i32, i32, f32)) {
    place(text, em, |c, x| {
        let glyph = SANS
            .glyph_id(c)
            .with_scale_and_position(scale(em), point(x, 0.0));
        if let Some(outline) = SANS.outline_glyph(glyph) {
            let corner = outline.px_bounds().min;
            let (left, top) = (corner.x as i32, corner.y as i32);
            outline.draw(|x, y, coverage| pixel(left + x as i32, top + y as i32, coverage));
        }
    });
}

/// Calls `each` with every character and its place, and returns the width.
fn place(text: &str, em: f64, mut each: impl FnMut(char, f32)) -> f64 {
    let font = SANS.as_scaled(scale(em));
    let mut x = 0.0;
    let mut previous = None;
    for c in text.chars() {
        let id = font.glyph_id(c);
        if let Some(previous) = previous {
            x += font.kern(previous, id);
        }
        each(c, x);
        x += font.h_advance(id);
        previous = Some(id);
    }
    f64::from(x)
}

/// `text`, or its beginning and an ellipsis where it is wider than `limit`
/// pixels at `em` pixels an em.
pub(super) fn fit(text: &str, em: f64, limit: f64) -> String {
    // Control characters have no glyph, and XML refuses most of them.
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let text: String = text.chars().map(visible).collect();
    if width(&text, em) <= limit {
        return text;
    }
    let mut short = String::new();
    for c in text.chars() {
        if width(&format!("{short}{c}…"), em) > limit {
            break;
        }
        short.push(c);
    }
    short.truncate(short.trim_end().len());
    short + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In DejaVu Sans every digit is 1303 of 2048 units wide, and a capital
    /// H 1493 units high.
    #[test]
    fn sizes_are_the_fonts() {
        let expected = 10.0 * 1303.0 / 2048.0 * 20.0;
        assert!((width("0123456789", 20.0) - expected).abs() < 0.01);
        assert_eq!(width("", 20.0), 0.0);
        let mut top = 0;
        let mut bottom = i32::MIN;
        rasterise("H", 2048.0, |_, y, coverage| {
            if coverage > 0.5 {
                top = top.min(y);
                bottom = bottom.max(y + 1);
            }
        });
        assert_eq!((top, bottom), (-1493, 0));
    }

    #[test]
    fn pixels_stay_inside_the_width() {
        for text in ["Hamburgefonstiv", "0.75", "…"] {
            let limit = width(text, 30.0).ceil() as i32;
            let mut ink = 0.0;
            rasterise(text, 30.0, |x, _, coverage| {
                assert!(coverage < 0.01 || (0..=limit).contains(&x), "{text} at {x}");
                ink += coverage;
            });
            assert!(ink > 10.0, "{text}");
        }
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(fit("positive", 20.0, 200.0), "positive");
        let short = fit("a rather long class name", 20.0, 120.0);
        assert!(
            short.starts_with("a rath") && short.ends_with('…'),
            "{short}"
        );
        assert!(width(&short, 20.0) <= 120.0);
        assert_eq!(fit("positive", 20.0, 1.0), "…");
        assert_eq!(fit("a\nb", 20.0, 100.0), "a\u{fffd}b");
    }
}
