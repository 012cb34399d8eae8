//! The terminal that a recording is shown on, and its colors.

/// How much room there is, and whether it has colors.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Characters in a line.
    pub width: usize,
    /// Whether escape codes of 256 colors are understood.
    pub color: bool,
}

/// Colors of the 256 of xterm: background, and text that can be read on it.
#[derive(Clone, Copy)]
pub(super) struct Paint(u8, u8);

/// Text on its background.
pub(super) fn painted(text: &str, Paint(background, ink): Paint) -> String {
    format!("\x1b[48;5;{background}m\x1b[38;5;{ink}m{text}\x1b[0m")
}

/// From 0 to 1: dark to light.
pub(super) fn sequential(share: f64) -> Paint {
    let level = (share.clamp(0.0, 1.0) * 23.0).round() as u8;
    Paint(232 + level, if level < 12 { 255 } else { 16 })
}

/// From -1 to 1: blue, grey, orange, which most of the color-blind tell apart.
pub(super) fn diverging(share: f64) -> Paint {
    const BLUE: [u8; 4] = [236, 24, 31, 39];
    const ORANGE: [u8; 4] = [236, 94, 172, 214];
    let level = (share.abs().min(1.0) * 3.0).round() as usize;
    let ramp = if share < 0.0 { BLUE } else { ORANGE };
    Paint(ramp[level], if level < 2 { 255 } else { 16 })
}
