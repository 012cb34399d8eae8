use super::*;

/// All shapes, those of groups too, in drawing order.
pub(crate) fn all(drawing: &Drawing) -> Vec<&Shape> {
    fn add<'a>(shapes: &'a [Shape], found: &mut Vec<&'a Shape>) {
        for shape in shapes {
            match shape {
                Shape::Group { shapes, .. } => add(shapes, found),
                shape => found.push(shape),
            }
        }
    }
    let mut found = Vec::new();
    add(&drawing.shapes, &mut found);
    found
}

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
pub(crate) fn assert_tidy(drawing: &Drawing) {
    let labels: Vec<_> = all(drawing)
        .into_iter()
        .filter_map(|shape| match shape {
            Shape::Label(label) => Some((label, bounds(label))),
            _ => None,
        })
        .collect();
    let (width, height) = (drawing.width, drawing.height);
    for (index, (label, [left, top, right, bottom])) in labels.iter().enumerate() {
        assert!(
            *left >= 4.0 && *top >= 4.0 && *right <= width - 4.0 && *bottom <= height - 4.0,
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

/// All labels of a drawing, in drawing order.
pub(crate) fn texts(drawing: &Drawing) -> Vec<&str> {
    all(drawing)
        .into_iter()
        .filter_map(|shape| match shape {
            Shape::Label(label) => Some(label.text.as_str()),
            _ => None,
        })
        .collect()
}

/// How many marks of a color there are.
pub(crate) fn marks(drawing: &Drawing, wanted: Paint) -> usize {
    let marks = all(drawing).into_iter().map(|shape| match shape {
        Shape::Marks { paint, points, .. } if *paint == wanted => points.len(),
        _ => 0,
    });
    marks.sum()
}
