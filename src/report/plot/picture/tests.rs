use super::*;

const RED: Colour = Colour(255, 0, 0);

/// Left, top, right and bottom of a label, from DejaVu Sans's ascent of a
/// "b" and descent of a "g".
fn bounds(label: &Label) -> [f64; 4] {
    let width = font::width(&label.text, label.em);
    let before = match label.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => width / 2.0,
        Anchor::End => width,
    };
    let (x, y) = label.at;
    let (above, below) = (0.76 * label.em, 0.24 * label.em);
    if label.upwards {
        [x - above, y + before - width, x + below, y + before]
    } else {
        [x - before, y - above, x - before + width, y + below]
    }
}

/// Every text is on the sheet, with a margin, and over no other text.
pub(in crate::report::plot) fn assert_tidy(picture: &Picture) {
    let labels: Vec<_> = picture
        .shapes
        .iter()
        .filter_map(|shape| match shape {
            Shape::Label(label) => Some((label, bounds(label))),
            _ => None,
        })
        .collect();
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    for (index, (label, [left, top, right, bottom])) in labels.iter().enumerate() {
        assert!(
            *left >= 8.0 && *top >= 8.0 && *right <= width - 8.0 && *bottom <= height - 8.0,
            "{label:?} leaves {width} x {height}"
        );
        for (other, [l, t, r, b]) in &labels[index + 1..] {
            assert!(
                left >= r || l >= right || top >= b || t >= bottom,
                "{label:?} is over {other:?}"
            );
        }
    }
}

/// All labels of a picture, in drawing order.
pub(in crate::report::plot) fn texts(picture: &Picture) -> Vec<&str> {
    picture
        .shapes
        .iter()
        .filter_map(|shape| match shape {
            Shape::Label(label) => Some(label.text.as_str()),
            _ => None,
        })
        .collect()
}

fn text(text: &str, at: (f64, f64), upwards: bool) -> Label {
    Label {
        text: text.to_owned(),
        at,
        em: 20.0,
        anchor: Anchor::Start,
        upwards,
        colour: RED,
    }
}

/// The size and the RGB pixels of a PNG file.
fn decode(path: &Path) -> (u32, u32, Vec<u8>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    (info.width, info.height, pixels)
}

#[test]
fn a_png_has_the_shapes_where_they_were_put() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shapes.PNG");
    let mut picture = Picture::new(60, 40);
    picture.rectangle((10.0, 5.0), (8.0, 6.0), Colour(1, 2, 3));
    picture.disc((40.0, 20.0), 5.0, Colour(4, 5, 6));
    picture.line(vec![(0.0, 35.0), (60.0, 35.0)], 4.0, Colour(7, 8, 9));
    picture.save(&path).unwrap();
    let (width, height, pixels) = decode(&path);
    assert_eq!((width, height), (60, 40));
    let pixel = |x: usize, y: usize| &pixels[(y * 60 + x) * 3..][..3];
    assert_eq!(pixel(12, 7), [1, 2, 3]);
    assert_eq!(pixel(9, 7), [255; 3]);
    assert_eq!(pixel(40, 20), [4, 5, 6]);
    assert_eq!(pixel(30, 35), [7, 8, 9]);
    assert_eq!(pixel(30, 25), [255; 3]);
}

/// At 20 pixels an em, DejaVu Sans's H is 14.6 high and 15.04 wide, of which
/// 1.96 before and after it are empty. Two of them from (20, 64) cover the
/// columns 22 to 48 and the rows 49.4 to 64; turned, from (50, 40), the
/// columns 35.4 to 50 and the rows 40 - 28.1 to 40 - 2.
#[test]
fn text_in_a_png_stands_on_its_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.png");
    for (origin, upwards, columns, rows) in [
        ((20.0, 64.0), false, (22, 47), (49, 63)),
        ((50.0, 40.0), true, (35, 49), (12, 37)),
    ] {
        let mut picture = Picture::new(80, 80);
        picture.label(text("HH", origin, upwards));
        picture.save(&path).unwrap();
        let (_, _, pixels) = decode(&path);
        let ink = |index: &usize| pixels[index * 3 + 1] < 128;
        let places = (0..80 * 80)
            .filter(ink)
            .map(|index| (index % 80, index / 80));
        let (xs, ys): (Vec<usize>, Vec<usize>) = places.unzip();
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
fn an_svg_holds_text_as_text_and_escapes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.svg");
    let mut picture = Picture::new(80, 60);
    picture.label(text("a<b & c", (10.0, 40.0), false));
    picture.label(text("up", (30.0, 50.0), true));
    picture.save(&path).unwrap();
    let svg = std::fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg width=\"80\" height=\"60\""), "{svg}");
    assert!(svg.trim_end().ends_with("</svg>"), "{svg}");
    assert!(svg.contains("a&lt;b &amp; c"), "{svg}");
    assert!(svg.contains("font-size=\"20\""), "{svg}");
    assert!(svg.contains("rotate(270, 15, 50)"), "{svg}");
}

#[test]
fn other_extensions_are_refused_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["curve.pdf", "curve", "png"] {
        let path = folder.path().join(name);
        let error = Picture::new(10, 10).save(&path).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert!(error.contains(".png or .svg"), "{error}");
        assert!(!path.exists());
    }
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/curve.svg");
    let error = Picture::new(10, 10).save(&path).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("none/curve.svg: its folder is not there"),
        "{error}"
    );
}

/// Two by two pixels of a 4 x 2 picture: means of 0, 0, 10, 11 (5.25) and of
/// 255, 254, 255, 255 (254.75) in each channel.
#[test]
fn averages_are_rounded_means() {
    let rgb = |values: [u8; 4]| values.into_iter().flat_map(|value| [value; 3]);
    let fine: Vec<u8> = rgb([0, 0, 255, 254])
        .chain(rgb([10, 11, 255, 255]))
        .collect();
    assert_eq!(average(&fine, 4, 2), [5, 5, 5, 255, 255, 255]);
}
