//! The file that a drawing becomes: `.svg`, or `.png` rasterized from the same text.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::drawing::Drawing;
use crate::error::{Error, Result};
use crate::files::write_atomically;

/// Pixels of a `.png` for one of the drawing.
const DENSITY: f32 = 2.0;

/// DejaVu Sans alone: a picture needs no font of the machine that draws it.
static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    Arc::new(fonts)
});

impl Drawing {
    /// Writes the drawing as `path`'s extension says.
    ///
    /// # Errors
    /// The extension is neither `.png` nor `.svg`, or the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let bytes = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("png") => self.png(path)?,
            Some("svg") => self.file_svg().into_bytes(),
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

    fn png(&self, path: &Path) -> Result<Vec<u8>> {
        let refused =
            |reason: String| Error::file(path, format!("the picture could not be drawn: {reason}"));
        let options = Options {
            font_family: "DejaVu Sans".to_owned(),
            fontdb: FONTS.clone(),
            ..Options::default()
        };
        let tree = Tree::from_str(&self.file_svg(), &options)
            .map_err(|error| refused(error.to_string()))?;
        let size = |length: f64| (length * f64::from(DENSITY)).round() as u32;
        let mut pixels = Pixmap::new(size(self.width), size(self.height))
            .ok_or_else(|| refused("its size is not drawable".to_owned()))?;
        let scale = Transform::from_scale(DENSITY, DENSITY);
        resvg::render(&tree, scale, &mut pixels.as_mut());
        pixels
            .encode_png()
            .map_err(|error| refused(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::drawing::{Anchor, Symbol};
    use super::super::paint::{Paint, Rgb};
    use super::*;

    fn drawn(folder: &Path, drawing: &Drawing) -> Pixmap {
        let path = folder.join("shapes.PNG");
        drawing.save(&path).unwrap();
        Pixmap::decode_png(&std::fs::read(&path).unwrap()).unwrap()
    }

    fn pixel(pixels: &Pixmap, x: u32, y: u32) -> [u8; 3] {
        let color = pixels.pixel(x, y).unwrap();
        [color.red(), color.green(), color.blue()]
    }

    #[test]
    fn a_png_has_the_shapes_where_they_were_put() {
        let folder = tempfile::tempdir().unwrap();
        let mut drawing = Drawing::new(60.0, 40.0);
        let paint = |red, green, blue| Paint::Mixed(Rgb(red, green, blue));
        drawing.rectangle((10.0, 5.0), (8.0, 6.0), paint(1, 2, 3));
        drawing.mark((40.0, 20.0), Symbol::Disc, 10.0, paint(4, 5, 6));
        drawing.line(vec![(0.0, 35.0), (60.0, 35.0)], 4.0, paint(7, 8, 9));
        drawing.mark((20.0, 25.0), Symbol::Square, 6.0, paint(10, 11, 12));
        let pixels = drawn(folder.path(), &drawing);
        assert_eq!((pixels.width(), pixels.height()), (120, 80));
        for (x, y, color) in [
            (24, 14, [1, 2, 3]),
            (18, 14, [255; 3]),
            (80, 40, [4, 5, 6]),
            (86, 40, [4, 5, 6]),
            (92, 40, [255; 3]),
            (60, 70, [7, 8, 9]),
            (60, 50, [255; 3]),
            (36, 46, [10, 11, 12]),
            (32, 46, [255; 3]),
        ] {
            assert_eq!(pixel(&pixels, x, y), color, "{x}, {y}");
        }
    }

    /// At 20 pixels an em, DejaVu Sans's H is 14.6 high and 15.04 wide, of which
    /// 1.96 before and after it are empty. Two of them from (20, 64) cover the
    /// columns 22 to 48 and the rows 49.4 to 64; turned, from (50, 40), the
    /// columns 35.4 to 50 and the rows 40 - 28.1 to 40 - 2. A pixel of the drawing
    /// is two of the file.
    #[test]
    fn text_in_a_png_stands_on_its_baseline() {
        let folder = tempfile::tempdir().unwrap();
        for (origin, upwards, columns, rows) in [
            ((20.0, 64.0), false, (22, 47), (49, 63)),
            ((50.0, 40.0), true, (35, 49), (12, 37)),
        ] {
            let mut drawing = Drawing::new(80.0, 80.0);
            let put = match upwards {
                true => Drawing::upwards,
                false => Drawing::text,
            };
            put(
                &mut drawing,
                "HH",
                origin,
                (20.0, 80.0),
                Anchor::Start,
                Paint::Ink,
            );
            let pixels = drawn(folder.path(), &drawing);
            let ink = |index: &u32| pixel(&pixels, index % 160, index / 160)[1] < 128;
            let places = (0..160 * 160)
                .filter(ink)
                .map(|index| (index % 160 / 2, index / 160 / 2));
            let (xs, ys): (Vec<u32>, Vec<u32>) = places.unzip();
            assert_eq!(
                (xs.iter().min(), xs.iter().max()),
                (Some(&columns.0), Some(&columns.1))
            );
            assert_eq!(
                (ys.iter().min(), ys.iter().max()),
                (Some(&rows.0), Some(&rows.1))
            );
        }
    }

    #[test]
    fn other_extensions_are_refused_and_write_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["curve.pdf", "curve", "png"] {
            let path = folder.path().join(name);
            let error = Drawing::new(10.0, 10.0).save(&path).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(name), "{error}");
            assert!(error.contains(".png or .svg"), "{error}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/curve.svg");
        let error = Drawing::new(10.0, 10.0).save(&path).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("none/curve.svg: its folder is not there"),
            "{error}"
        );
    }
}
