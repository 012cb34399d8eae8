//! Matches against a search of everything.

use proptest::prelude::*;

use super::*;
use crate::error::Error;

fn two_way(classes: usize) -> Model {
    random(classes, |config| {
        config.num_layers = 2;
        config.bidirectional = true;
    })
}

fn find(model: &Model, ids: &[Vec<i64>], query: Query, matches: usize, limit: Limit) -> Survey {
    let texts = Texts { ids, classes: None };
    look(model, &texts, |settings| {
        settings.query = Some(query.clone());
        settings.matches = matches;
        settings.limit = limit;
    })
}

#[test]
fn the_sentences_of_a_unit_are_those_of_its_highest_and_lowest_steps() {
    let model = two_way(2);
    let ids = texts((0..25).map(|n| n % 6));
    let hidden = Activation::Hidden;
    let query = Query::unit(&model, hidden, None, Some(Direction::Backward), 2).unwrap();
    assert_eq!(
        query,
        Query::Unit {
            layer: 1,
            direction: Direction::Backward,
            unit: 2
        }
    );
    // Layer 1, backward is the last of four.
    let of_text = |ids: &Vec<i64>| -> Vec<f64> {
        rows(&traces(&model, ids)[3].h)
            .iter()
            .map(|step| step[2])
            .collect()
    };
    let mut all: Vec<(usize, Vec<f64>)> = (0..ids.len())
        .filter(|&text| !ids[text].is_empty())
        .map(|text| (text, of_text(&ids[text])))
        .collect();
    let found = find(&model, &ids, query, 4, Limit::Sentences(3)).matches;
    let names: Vec<&str> = found.iter().map(|list| list.name).collect();
    assert_eq!(names, ["highest", "lowest"]);
    for (list, sign) in found.iter().zip([1.0, -1.0]) {
        let peak = |values: &[f64]| values.iter().map(|x| sign * x).fold(f64::MIN, f64::max);
        all.sort_by(|(_, a), (_, b)| peak(b).total_cmp(&peak(a)));
        assert_eq!(list.found.len(), 4);
        for (found, (text, values)) in list.found.iter().zip(&all) {
            assert_eq!(found.text, *text);
            close(found.score, sign * peak(values));
            assert_eq!(found.activations.len(), values.len());
            found
                .activations
                .iter()
                .zip(values)
                .for_each(|(a, b)| close(*a, *b));
            // All of the run is above half the peak, and it could be no longer; a peak on
            // the other side of 0 is alone.
            let top = peak(values);
            let inside = |at: usize| match top > 0.0 {
                true => sign * values[at] >= RUN * top,
                false => sign * values[at] == top,
            };
            assert!(found.tokens.clone().all(inside), "{found:?}");
            assert!(found.tokens.start == 0 || !inside(found.tokens.start - 1));
            assert!(found.tokens.end == values.len() || !inside(found.tokens.end));
        }
    }
}

#[test]
fn the_sentences_of_a_span_are_those_of_the_largest_cosines() {
    let model = two_way(2);
    let ids = texts((0..30).map(|n| n % 8));
    for (direction, places) in [(None, vec![2, 3]), (Some(Direction::Forward), vec![2])] {
        let hidden = Activation::Hidden;
        let query = Query::span(&model, hidden, None, direction, "really good", None).unwrap();
        let Query::Span { vector, tokens, .. } = &query else {
            panic!("{query:?}");
        };
        assert_eq!(*tokens, 2);
        let mean = |states: &[Vec<f64>]| -> Vec<f64> {
            let columns = 0..states[0].len();
            columns
                .map(|c| states.iter().map(|s| s[c]).sum::<f64>() / 2.0)
                .collect()
        };
        let states = |ids: &[i64]| -> Vec<Vec<f64>> {
            let traces = traces(&model, ids);
            let of = |at: &usize| rows(&traces[*at].h);
            let parts: Vec<_> = places.iter().map(of).collect();
            (0..ids.len())
                .map(|t| parts.iter().flat_map(|part| part[t].clone()).collect())
                .collect()
        };
        let expected = mean(&states(&model.tokenizer().encode("really good").unwrap()));
        assert_eq!(vector.len(), expected.len());
        vector
            .iter()
            .zip(&expected)
            .for_each(|(a, b)| close(*a, *b));
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let cosine = |a: &[f64]| dot(a, vector) / (dot(a, a) * dot(vector, vector)).sqrt();
        let mut all: Vec<(usize, usize, f64)> = Vec::new();
        for (text, ids) in ids.iter().enumerate().filter(|(_, ids)| ids.len() >= 2) {
            let states = states(ids);
            let runs = states.windows(2).map(|run| cosine(&mean(run))).enumerate();
            let (start, best) = runs.max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap();
            all.push((text, start, best));
        }
        all.sort_by(|(_, _, a), (_, _, b)| b.total_cmp(a));
        let found = find(&model, &ids, query.clone(), 30, Limit::Tokens(40)).matches;
        assert_eq!((found.len(), found[0].name), (1, "most similar"));
        assert_eq!(found[0].found.len(), all.len());
        for (found, (text, start, best)) in found[0].found.iter().zip(&all) {
            assert_eq!(
                (found.text, found.tokens.clone()),
                (*text, *start..start + 2)
            );
            close(found.score, *best);
            let states = states(&ids[found.text]);
            found
                .activations
                .iter()
                .zip(&states)
                .for_each(|(a, b)| close(*a, cosine(b)));
        }
    }
}

#[test]
fn a_span_is_most_like_itself_where_it_stands() {
    let model = two_way(2);
    let context = "the film is Really good, is it a film";
    let cell = Activation::Cell;
    let query = Query::span(&model, cell, Some(0), None, "Really good", Some(context)).unwrap();
    let mut ids = texts([5, 9, 2, 7]);
    ids.insert(2, model.tokenizer().encode(context).unwrap());
    let texts = Texts {
        ids: &ids,
        classes: None,
    };
    let found = look(&model, &texts, |settings| {
        settings.activation = cell;
        settings.query = Some(query.clone());
    });
    let best = &found.matches[0].found[0];
    assert_eq!((best.text, best.tokens.clone()), (2, 3..5));
    close(best.score, 1.0);
    let sentence = Sentence::new(best, context, Some("x".into()), model.tokenizer()).unwrap();
    let words: Vec<&str> = sentence
        .words
        .iter()
        .map(|word| word.word.as_str())
        .collect();
    assert_eq!(
        words,
        [
            "the", "film", "is", "Really", "good", ",", "is", "it", "a", "film"
        ]
    );
    let matching = sentence.words.iter().filter(|word| word.matches);
    let matching: Vec<&str> = matching.map(|word| word.word.as_str()).collect();
    assert_eq!(matching, ["Really", "good"]);
    // No text is as long as this span.
    let long = "a film a film a film a film a film a film";
    let query = Query::span(&model, Activation::Hidden, None, None, long, None).unwrap();
    let none = find(&model, &ids, query, 3, Limit::Sentences(2));
    assert!(none.matches[0].found.is_empty());
}

#[test]
fn what_is_not_there_is_refused() {
    let model = random(2, |config| config.max_tokens = Some(3));
    let hidden = Activation::Hidden;
    let says = |result: Result<Query, Error>, says: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    let unit = |layer, direction, unit| Query::unit(&model, hidden, layer, direction, unit);
    says(
        unit(None, None, 4),
        "unit: 4 is not there; a layer has the units 0 to 3",
    );
    says(
        unit(Some(1), None, 0),
        "layer: 1 is not there; the model has only layer 0",
    );
    says(
        unit(None, Some(Direction::Backward), 0),
        "direction: backward is not there",
    );
    let deep = two_way(2);
    says(
        Query::unit(&deep, hidden, Some(2), None, 0),
        "the layers 0 to 1",
    );
    let span = |span, context| Query::span(&model, hidden, None, None, span, context);
    says(
        span("xyzzy plugh", None),
        "no word that the vocabulary knows",
    );
    says(span("", None), "has no token");
    says(span("\"", None), "has no token");
    says(
        span("good", Some("a Good film")),
        "does not stand in its context",
    );
    says(
        span("film", Some("a really good film")),
        "stands behind the tokens",
    );
    assert!(span("xyzzy film", None).is_ok());
    // A query for another model.
    let query = Query::unit(&deep, hidden, None, None, 3).unwrap();
    let ids = texts([2]);
    let texts = Texts {
        ids: &ids,
        classes: None,
    };
    let mut settings = Settings::new(&model);
    settings.query = Some(query);
    says(
        survey(&model, &texts, &settings, |_| true).map(|_| unreachable!("a survey")),
        "layer: 1",
    );
    let query = Query::span(
        &deep,
        hidden,
        Some(0),
        Some(Direction::Forward),
        "good",
        None,
    );
    settings.query = Some(query.unwrap());
    settings.activation = Activation::Cell;
    let projected = random(2, |config| config.proj_size = 2);
    settings.activation = Activation::Hidden;
    says(
        survey(&projected, &texts, &settings, |_| true).map(|_| unreachable!("a survey")),
        "its vector is of another model",
    );
}

fn scored(text: usize, score: f64) -> Match {
    Match {
        text,
        score,
        tokens: 0..1,
        activations: Vec::new(),
    }
}

proptest! {
    #[test]
    fn the_best_are_the_first_of_all_sorted(
        scores in prop::collection::vec(-3..4_i32, 0..40),
        most in 0..12_usize,
        seed: u64,
    ) {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        Stream::new(seed, "order").shuffle(&mut order);
        let mut best = best::Best::new(most);
        for text in order {
            let score = f64::from(scores[text]);
            best.offer(score, text, || scored(text, score));
        }
        let found: Vec<usize> = best.finish().iter().map(|found| found.text).collect();
        let mut all: Vec<usize> = (0..scores.len()).collect();
        all.sort_by_key(|&text| std::cmp::Reverse(scores[text]));
        all.truncate(most);
        prop_assert_eq!(found, all);
    }
}
