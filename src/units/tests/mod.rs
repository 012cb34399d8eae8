//! Statistics against numbers derived by hand and against the plainest way to compute
//! them; matches against a search of everything.

mod gates;
mod matching;
mod statistics;

use tch::{Device, Kind, Tensor};

use super::*;
use crate::lstm::{Call, Init, Mode};
use crate::model::ModelConfig;
use crate::random::Stream;
use crate::text::{Tokenizer, Vocabulary};

const WORDS: [&str; 8] = ["a", "bad", "dull", "film", "good", "great", "is", "really"];

fn tokenizer() -> Tokenizer {
    Tokenizer::basic_english(&Vocabulary::build([WORDS], 1, None)).unwrap()
}

fn labels(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("class {n}")).collect()
}

/// Random and in f64, so that rounding is far below what is compared.
fn random(classes: usize, change: impl Fn(&mut ModelConfig)) -> Model {
    let tokenizer = tokenizer();
    let mut config = ModelConfig::new(tokenizer.vocab_size() as i64, 3, 4, &labels(classes));
    change(&mut config);
    let mut model = Model::new(config, tokenizer, Init::default(), Stream::new(5, "u")).unwrap();
    model.to_kind(Kind::Double);
    // Larger than an initialisation makes them, so that gates move.
    model
        .lstm()
        .parameters()
        .into_iter()
        .for_each(|(_, tensor)| {
            let _ = tch::no_grad(|| tensor.shallow_clone().g_mul_scalar_(4.0));
        });
    model
}

/// Token ids of random texts with these lengths.
fn texts(lengths: impl IntoIterator<Item = usize>) -> Vec<Vec<i64>> {
    let stream = Stream::new(9, "texts");
    let mut nth = 0;
    let mut id = || {
        nth += 1;
        2 + (stream.uniform(nth) * WORDS.len() as f64) as i64
    };
    lengths
        .into_iter()
        .map(|length| (0..length).map(|_| id()).collect())
        .collect()
}

fn classes(texts: usize, classes: u32) -> Vec<u32> {
    let stream = Stream::new(11, "classes");
    (0..texts as u64)
        .map(|text| (stream.uniform(text) * f64::from(classes)) as u32)
        .collect()
}

fn look(model: &Model, texts: &Texts, change: impl Fn(&mut Settings)) -> Survey {
    let mut settings = Settings::new(model);
    change(&mut settings);
    survey(model, texts, &settings, |_| true).unwrap().unwrap()
}

/// One text alone through the plain engine: the traces of all layers and directions.
fn traces(model: &Model, ids: &[i64]) -> Vec<Trace> {
    let batch = model.batch([ids]).unwrap();
    let embedded = model.embed(&batch, Mode::Eval).unwrap();
    model.lstm().trace(&embedded, &Call::default()).unwrap().1
}

/// `[T][W]` of a tensor `[1, T, W]`.
fn rows(tensor: &Tensor) -> Vec<Vec<f64>> {
    Vec::try_from(tensor.to_kind(Kind::Double).squeeze_dim(0)).unwrap()
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0), "{a} is not {b}");
}
