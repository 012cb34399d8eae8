//! The palette of every picture and page: named colors, which a page replaces by those of
//! its theme, and the color scales of heat maps.

/// A color as red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

/// What a shape is painted with.
///
/// The hues are those of M. Okabe and K. Ito, "Color universal design" (2008),
/// <https://jfly.uni-koeln.de/color/>, which people with any color vision can tell apart.
/// A page has a variable of CSS for each, `--blue` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// The background.
    Paper,
    /// Text and axes.
    Ink,
    /// Secondary text, ticks and reference lines.
    Soft,
    /// Grid lines.
    Rule,
    /// The first hue.
    Blue,
    /// The second hue.
    Vermillion,
    /// The third hue.
    Green,
    /// The fourth hue.
    Purple,
    /// The fifth hue.
    Orange,
    /// The sixth hue.
    Sky,
    /// A hue for what is neither.
    Grey,
    /// A color of a scale, which is the same in every theme.
    Mixed(Rgb),
}

impl Paint {
    /// The color on white paper.
    pub(super) fn rgb(self) -> Rgb {
        match self {
            Paint::Paper => Rgb(255, 255, 255),
            Paint::Ink => Rgb(31, 35, 40),
            Paint::Soft => Rgb(89, 99, 110),
            Paint::Rule => Rgb(225, 228, 232),
            Paint::Blue => Rgb(0, 114, 178),
            Paint::Vermillion => Rgb(213, 94, 0),
            Paint::Green => Rgb(0, 158, 115),
            Paint::Purple => Rgb(204, 121, 167),
            Paint::Orange => Rgb(230, 159, 0),
            Paint::Sky => Rgb(86, 180, 233),
            Paint::Grey => Rgb(128, 128, 128),
            Paint::Mixed(rgb) => rgb,
        }
    }

    /// The variable of a page, where there is one.
    fn variable(self) -> Option<&'static str> {
        Some(match self {
            Paint::Paper => "--paper",
            Paint::Ink => "--ink",
            Paint::Soft => "--soft",
            Paint::Rule => "--rule",
            Paint::Blue => "--blue",
            Paint::Vermillion => "--vermillion",
            Paint::Green => "--green",
            Paint::Purple => "--purple",
            Paint::Orange => "--orange",
            Paint::Sky => "--sky",
            Paint::Grey => "--grey",
            Paint::Mixed(_) => return None,
        })
    }

    /// The color as an attribute of a file: `#0072b2`.
    pub(super) fn fixed(self) -> String {
        let Rgb(red, green, blue) = self.rgb();
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// The color as an attribute on a page: `var(--blue)`.
    pub(super) fn themed(self) -> String {
        match self.variable() {
            Some(name) => format!("var({name})"),
            None => self.fixed(),
        }
    }
}

/// The color of a share of 0 and of 1: one hue, from light to dark.
const LIGHT: Rgb = Rgb(240, 245, 250);
const DARK: Rgb = Rgb(8, 64, 120);

/// The color of a share from 0 to 1.
pub fn sequential(share: f64) -> Rgb {
    mix(LIGHT, DARK, share.clamp(0.0, 1.0))
}

/// The color of a share from -1 (blue) over 0 (white) to 1 (vermillion).
pub fn diverging(share: f64) -> Rgb {
    let end = if share < 0.0 {
        Paint::Blue
    } else {
        Paint::Vermillion
    };
    mix(Paint::Paper.rgb(), end.rgb(), share.abs().min(1.0))
}

fn mix(from: Rgb, to: Rgb, share: f64) -> Rgb {
    let mix = |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
    Rgb(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// Black or white, whichever has the larger contrast ratio on `ground`:
/// <https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio>.
pub fn readable(ground: Rgb) -> Rgb {
    const BLACK: Rgb = Rgb(0, 0, 0);
    const WHITE: Rgb = Rgb(255, 255, 255);
    if contrast(ground, BLACK) >= contrast(ground, WHITE) {
        BLACK
    } else {
        WHITE
    }
}

/// The contrast ratio of two colors, from 1 to 21.
fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// The relative luminance of an sRGB color, from 0 to 1:
/// <https://www.w3.org/TR/WCAG21/#dfn-relative-luminance>.
fn luminance(color: Rgb) -> f64 {
    let linear = |channel: u8| {
        let value = f64::from(channel) / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * linear(color.0) + 0.7152 * linear(color.1) + 0.0722 * linear(color.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG asks for 4.5 in texts of ordinary size.
    #[test]
    fn text_is_legible_on_every_shade() {
        for percent in -100..=100 {
            let share = f64::from(percent) / 100.0;
            for ground in [sequential(share), diverging(share)] {
                let ratio = contrast(ground, readable(ground));
                assert!(ratio >= 4.5, "{ratio} at {percent} %");
            }
        }
        assert_eq!((sequential(0.0), sequential(1.0)), (LIGHT, DARK));
        let ends = contrast(Rgb(0, 0, 0), Rgb(255, 255, 255));
        assert!((ends - 21.0).abs() < 1e-9);
    }

    #[test]
    fn colors_say_the_sign() {
        assert_eq!(diverging(0.0), Paint::Paper.rgb());
        assert_eq!(diverging(1.0), Paint::Vermillion.rgb());
        assert_eq!(diverging(-3.0), Paint::Blue.rgb());
    }

    #[test]
    fn a_page_replaces_named_colors() {
        assert_eq!(Paint::Blue.fixed(), "#0072b2");
        assert_eq!(Paint::Blue.themed(), "var(--blue)");
        assert_eq!(Paint::Mixed(Rgb(1, 2, 3)).themed(), "#010203");
    }

    #[test]
    fn every_color_is_in_both_themes_of_the_page() {
        let style = include_str!("../page/page.css");
        for paint in [
            Paint::Paper,
            Paint::Ink,
            Paint::Soft,
            Paint::Rule,
            Paint::Blue,
            Paint::Vermillion,
            Paint::Green,
            Paint::Purple,
            Paint::Orange,
            Paint::Sky,
            Paint::Grey,
        ] {
            let variable = format!("{}: #", paint.variable().unwrap());
            assert_eq!(style.matches(&variable).count(), 2, "{variable}");
            let light = format!("{variable}{}", &paint.fixed()[1..]);
            assert!(style.contains(&light), "{light}");
        }
    }
}
