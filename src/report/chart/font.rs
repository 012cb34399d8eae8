//! The font of every picture: how wide a text is, and how it is cut.

use std::sync::LazyLock;

use skrifa::charmap::Charmap;
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use skrifa::{FontRef, GlyphId, MetadataProvider};

/// An SVG names fonts and does not hold them: the rest of this CSS list is
/// for viewers without DejaVu Sans.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// Characters and the widths of their glyphs, in font units of which 2048 are an em.
static SANS: LazyLock<(Charmap<'static>, GlyphMetrics<'static>)> = LazyLock::new(|| {
    let font = FontRef::new(dejavu::sans::regular()).expect("DejaVu Sans is a font");
    let location = LocationRef::default();
    (
        font.charmap(),
        font.glyph_metrics(Size::unscaled(), location),
    )
});

/// The width of `text` in pixels, at `em` pixels an em, without kerning, which makes it
/// a little narrower.
pub fn width(text: &str, em: f64) -> f64 {
    let (characters, metrics) = &*SANS;
    let units = text.chars().map(|c| {
        let glyph = characters.map(c).unwrap_or(GlyphId::NOTDEF);
        f64::from(metrics.advance_width(glyph).unwrap_or(0.0))
    });
    units.sum::<f64>() * em / 2048.0
}

/// `text`, or its beginning and an ellipsis where it is wider than `limit`
/// pixels at `em` pixels an em.
pub fn fit(text: &str, em: f64, limit: f64) -> String {
    // Control characters have no glyph, and XML refuses most of them.
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let text: String = text.chars().map(visible).collect();
    if width(&text, em) <= limit {
        return text;
    }
    let mut short = String::new();
    let mut used = width("…", em);
    for c in text.chars() {
        used += width(c.encode_utf8(&mut [0; 4]), em);
        if used > limit {
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

    /// In DejaVu Sans every digit is 1303 of 2048 units wide.
    #[test]
    fn sizes_are_the_fonts() {
        let expected = 10.0 * 1303.0 / 2048.0 * 20.0;
        assert!((width("0123456789", 20.0) - expected).abs() < 0.01);
        assert_eq!(width("", 20.0), 0.0);
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
