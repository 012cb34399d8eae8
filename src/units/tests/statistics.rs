//! Correlations, histograms, and what must not change them.

use proptest::prelude::*;

use super::*;

/// Pearson's correlation by its definition, in two passes.
fn pearson(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let mean_x = pairs.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = pairs.iter().map(|(_, y)| y).sum::<f64>() / n;
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        pairs.iter().map(|(x, y)| of(x - mean_x, y - mean_y)).sum()
    };
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

/// What each of [`ACTIVATIONS`] is of one text alone: `[unit]`.
fn activations(model: &Model, ids: &[i64], at: usize) -> [Vec<f64>; 4] {
    let trace = &traces(model, ids)[at];
    let (hidden, cell) = (rows(&trace.h), rows(&trace.c));
    let is_backward = model.config().bidirectional && at % 2 == 1;
    let last = if is_backward { 0 } else { ids.len() - 1 };
    let columns = |fold: &dyn Fn(&mut dyn Iterator<Item = f64>) -> f64| -> Vec<f64> {
        let units = 0..hidden[0].len();
        units
            .map(|unit| fold(&mut hidden.iter().map(|step| step[unit])))
            .collect()
    };
    [
        hidden[last].clone(),
        cell[last].clone(),
        columns(&|steps| steps.sum::<f64>() / ids.len() as f64),
        columns(&|steps| steps.fold(f64::NEG_INFINITY, f64::max)),
    ]
}

fn expect_direct(model: &Model, ids: &[Vec<i64>], classes: &[u32]) {
    let found = look(
        model,
        &Texts {
            ids,
            classes: Some(classes),
        },
        |settings| settings.limit = Limit::Sentences(6),
    );
    for (at, layer) in found.layers.iter().enumerate() {
        let of_texts: Vec<_> = ids.iter().map(|ids| activations(model, ids, at)).collect();
        for (which, activation) in ACTIVATIONS.into_iter().enumerate() {
            let correlations = layer.correlations(activation);
            assert_eq!(correlations.len(), of_texts[0][which].len());
            for (unit, correlation) in correlations.into_iter().enumerate() {
                let values = of_texts.iter().map(|of_text| of_text[which][unit]);
                let pairs: Vec<(f64, f64)> = values
                    .zip(classes.iter().map(|&class| f64::from(class)))
                    .collect();
                close(correlation.unwrap(), pearson(&pairs));
            }
        }
    }
}

#[test]
fn correlations_are_those_of_the_definition() {
    let ids = texts((0..30).map(|n| 1 + n % 7));
    let layers = |config: &mut ModelConfig| {
        config.num_layers = 2;
        config.bidirectional = true;
    };
    expect_direct(&random(2, layers), &ids, &classes(30, 2));
    let model = random(5, |config| {
        layers(config);
        config.proj_size = 3;
    });
    expect_direct(&model, &ids, &classes(30, 5));
}

#[test]
fn two_classes_by_hand() {
    let mut covariance = covariance::Covariance::default();
    assert_eq!(covariance.correlation(), None);
    // Means 2.5 and 0.5; products 1.5·0.5 + 0.5·0.5 - 0.5·0.5 + 1.5·0.5 = 1.5 of
    // sqrt(5 · 1).
    for (x, class) in [(1.0, 0.0), (2.0, 1.0), (3.0, 0.0), (4.0, 1.0)] {
        covariance.add(x + 1e6, class);
    }
    close(covariance.correlation().unwrap(), 1.0 / 5f64.sqrt());
}

#[test]
fn what_never_changes_has_no_correlation() {
    let model = random(2, |_| {});
    let ids = texts([2, 3, 1]);
    let one_class = Texts {
        ids: &ids,
        classes: Some(&[1, 1, 1]),
    };
    let found = look(&model, &one_class, |_| {});
    assert!(found.sentiment_units.is_empty());
    assert_eq!(
        found.layers[0].units[0].correlation,
        Correlations::default()
    );
    assert_eq!(found.class_counts, Some(vec![0, 3]));
    let same = vec![vec![3, 4]; 4];
    let same_texts = Texts {
        ids: &same,
        classes: Some(&[0, 1, 1, 0]),
    };
    let found = look(&model, &same_texts, |_| {});
    assert!(found.sentiment_units.is_empty());
}

/// All numbers of a survey.
fn all_numbers(found: &Survey) -> Vec<f64> {
    let mut all = Vec::new();
    for layer in &found.layers {
        for unit in &layer.units {
            let correlation = unit.correlation;
            all.extend([unit.input, unit.forget, unit.output].map(|gate| gate.left));
            all.extend([unit.input, unit.forget, unit.output].map(|gate| gate.right));
            all.extend([unit.mean_log_forget, unit.half_life.unwrap()]);
            all.extend(ACTIVATIONS.map(|activation| correlation.of(activation).unwrap()));
        }
    }
    all
}

#[test]
fn batches_and_padding_change_nothing() {
    let model = random(2, |config| {
        config.num_layers = 2;
        config.bidirectional = true;
    });
    let ids = texts((0..60).map(|n| 1 + (n * 7) % 23));
    let classes = classes(60, 2);
    let texts = Texts {
        ids: &ids,
        classes: Some(&classes),
    };
    let limits = [
        Limit::Sentences(1),
        Limit::Sentences(7),
        Limit::Tokens(40),
        Limit::Tokens(100_000),
    ];
    let surveys = limits.map(|limit| look(&model, &texts, |settings| settings.limit = limit));
    let [alone, others @ ..] = &surveys;
    let numbers = all_numbers(alone);
    // Gates do saturate here, and not all of the time.
    assert!(numbers.iter().filter(|&&x| x > 0.0 && x < 1.0).count() > 100);
    for other in others {
        assert_eq!(all_numbers(other).len(), numbers.len());
        for (a, b) in numbers.iter().zip(all_numbers(other)) {
            close(*a, b);
        }
        for (a, b) in alone.sentiment_units.iter().zip(&other.sentiment_units) {
            assert_eq!(
                (a.layer, a.direction, a.unit),
                (b.layer, b.direction, b.unit)
            );
            assert_eq!(a.histogram, b.histogram);
        }
    }
}

#[test]
fn the_units_with_the_largest_correlations_come_first_with_their_histograms() {
    let model = random(3, |config| config.bidirectional = true);
    let ids = texts((0..40).map(|n| 1 + n % 5));
    let classes = classes(40, 3);
    for (which, activation) in ACTIVATIONS.into_iter().enumerate() {
        let texts = Texts {
            ids: &ids,
            classes: Some(&classes),
        };
        let found = look(&model, &texts, |settings| {
            (settings.activation, settings.top) = (activation, 5);
        });
        let mut all: Vec<f64> = found
            .layers
            .iter()
            .flat_map(|layer| layer.correlations(activation))
            .map(|correlation| correlation.unwrap().abs())
            .collect();
        all.sort_by(|a, b| b.total_cmp(a));
        let best = found
            .sentiment_units
            .iter()
            .map(|unit| unit.correlation.abs());
        assert_eq!(best.collect::<Vec<_>>(), all[..5]);
        // The second pass that the histogram saves.
        let best = &found.sentiment_units[0];
        let at = usize::from(best.direction == Direction::Backward);
        let edges = best.histogram.edges();
        let mut counts = vec![vec![0; edges.len() - 1]; 3];
        for (ids, &class) in ids.iter().zip(&classes) {
            let value = activations(&model, ids, at)[which][best.unit];
            let bin = edges
                .windows(2)
                .position(|edge| edge[0] <= value && value < edge[1]);
            counts[class as usize][bin.unwrap()] += 1;
        }
        assert_eq!(best.histogram.counts, counts);
    }
}

#[test]
fn texts_without_a_token_are_left_out() {
    let model = random(2, |_| {});
    let ids = texts([3, 0, 2, 0, 4]);
    let some: Vec<Vec<i64>> = ids.iter().filter(|ids| !ids.is_empty()).cloned().collect();
    let with = Texts {
        ids: &ids,
        classes: Some(&[0, 1, 1, 1, 0]),
    };
    let without = Texts {
        ids: &some,
        classes: Some(&[0, 1, 0]),
    };
    let (with, without) = (look(&model, &with, |_| {}), look(&model, &without, |_| {}));
    assert_eq!(
        (with.texts, with.texts_without_token, with.tokens),
        (3, 2, 9)
    );
    assert_eq!(with.class_counts, Some(vec![2, 1]));
    assert_eq!(with.layers, without.layers);
    let nothing = Texts {
        ids: &[Vec::new()],
        classes: None,
    };
    let error = survey(&model, &nothing, &Settings::new(&model), |_| true).unwrap_err();
    assert!(
        error.to_string().contains("no text with a token"),
        "{error}"
    );
}

#[test]
fn classes_of_another_model_are_refused() {
    let model = random(2, |_| {});
    let ids = texts([3, 2]);
    for (classes, says) in [(&[0, 2][..], "has 2, but"), (&[0], "1 for 2 texts")] {
        let texts = Texts {
            ids: &ids,
            classes: Some(classes),
        };
        let error = survey(&model, &texts, &Settings::new(&model), |_| true).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn who_says_no_stops_it() {
    let model = random(2, |_| {});
    let ids = texts([1; 10]);
    let texts = Texts {
        ids: &ids,
        classes: None,
    };
    let mut settings = Settings::new(&model);
    settings.limit = Limit::Sentences(2);
    let mut heard = Vec::new();
    let stopped = survey(&model, &texts, &settings, |texts| {
        heard.push(texts);
        heard.len() < 3
    });
    assert!(stopped.unwrap().is_none());
    assert_eq!(heard, [0, 2, 2]);
}

#[test]
fn a_histogram_by_hand() {
    let mut histogram = Histogram::new(2);
    histogram.add(0.3, 0);
    assert_eq!(histogram.half_width, 0.5);
    histogram.add(-1.0, 1);
    histogram.add(-0.001, 1);
    // -1 begins the range of 1, so that it fits; 1 would not.
    assert_eq!(histogram.half_width, 1.0);
    let places = |class: usize| -> Vec<usize> {
        let counts = histogram.counts[class].iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(bin, _)| bin)
            .collect()
    };
    // Bins of 1/16: 0.3 is in [4/16, 5/16), which is the bin 16 + 4.
    assert_eq!(places(0), [20]);
    assert_eq!(places(1), [0, 15]);
    let edges = histogram.edges();
    assert_eq!(
        (edges[0], edges[16], edges[20], edges[32]),
        (-1.0, 0.0, 0.25, 1.0)
    );
}

proptest! {
    #[test]
    fn histograms_do_not_depend_on_the_order(
        values in prop::collection::vec((-3.0..3.0_f64, -70..3_i32), 1..60),
    ) {
        let values: Vec<f64> = values.iter().map(|(x, e)| x * 2f64.powi(*e)).collect();
        let of = |values: &mut dyn Iterator<Item = &f64>| {
            let mut histogram = Histogram::new(1);
            values.for_each(|value| histogram.add(*value, 0));
            histogram
        };
        let found = of(&mut values.iter());
        prop_assert_eq!(&found, &of(&mut values.iter().rev()));
        // Each value between the edges of a bin that has it.
        let edges = found.edges();
        for value in &values {
            let bin = edges.windows(2).position(|edge| edge[0] <= *value && *value < edge[1]);
            prop_assert!(bin.is_some_and(|bin| found.counts[0][bin] > 0), "{}", value);
        }
        prop_assert_eq!(found.counts[0].iter().sum::<u64>(), values.len() as u64);
    }
}
