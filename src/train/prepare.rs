//! From a configuration to everything that training needs: the texts in their
//! splits, the tokenizer, the model with its word vectors.

use std::path::Path;

use super::{Config, Corpus, TextConfig, batches};
use crate::data::{self, Dataset, ReadOptions, Skipped, stratified};
use crate::error::{Error, Result};
use crate::model::{Model, ModelConfig};
use crate::random::Stream;
use crate::text::{PAD, Rule, Tokenizer, UNK, Vectors, Vocabulary};

/// What [`prepare`] makes.
#[derive(Debug)]
pub struct Prepared {
    /// The model before its first step, on the CPU.
    pub model: Model,
    /// Texts to learn from.
    pub train: Corpus,
    /// Texts that choose the best epoch.
    pub dev: Corpus,
    /// Texts for the last report.
    pub test: Option<Corpus>,
    /// The words that were wanted of the vectors and how many were found.
    pub vectors: Option<(usize, Vectors)>,
    /// Rows that were left out, as `read.skip_bad` allows, by file.
    pub skipped: Vec<(String, Skipped)>,
    /// The texts of the splits that were made here and stand in no file, by
    /// name: `dev`, `test`.
    pub made: Vec<(&'static str, Dataset)>,
}

/// Reads the files and makes the model, as `config` says.
pub fn prepare(config: &Config) -> Result<Prepared> {
    let mut skipped = Vec::new();
    let splits = read_splits(config, &mut skipped)?;
    let tokenizer = tokenizer(config, &splits.train)?;
    let size = tokenizer.vocab_size() as i64;
    let vectors = match &config.embedding.vectors {
        None => None,
        Some(path) => Some(load_vectors(path, &tokenizer)?),
    };
    let embedding_size = match &vectors {
        Some((_, vectors)) => vectors.dimension as i64,
        None => config.embedding.size,
    };
    let model_config = architecture(config, size, embedding_size, &splits.train.labels);
    let stream = Stream::new(config.seed, "initialisation");
    let mut model = Model::new(model_config, tokenizer, config.lstm.init()?, stream)?;
    if let Some((_, vectors)) = &vectors {
        let rows: Vec<i64> = vectors.ids.iter().map(|&id| i64::from(id)).collect();
        // Words without a vector: random, but of the size of those with one.
        model.scale_embedding(deviation(&vectors.values));
        model.set_embedding(&rows, &vectors.values)?;
    }
    if config.embedding.freeze {
        model.freeze_embedding();
    }
    let corpus = |dataset: &Dataset| Corpus::new(dataset, &model);
    let train = corpus(&splits.train)?;
    let dev = match config.train.overfit_batches {
        Some(_) => train.rows(&batches(config, &train.lengths(), 1).concat()),
        None => corpus(&splits.dev)?,
    };
    Ok(Prepared {
        train,
        dev,
        test: splits.test.as_ref().map(corpus).transpose()?,
        model,
        vectors,
        skipped,
        made: splits.made(config),
    })
}

fn architecture(
    config: &Config,
    words: i64,
    embedding_size: i64,
    labels: &[String],
) -> ModelConfig {
    let mut model = ModelConfig::new(words, embedding_size, config.lstm.hidden_size, labels);
    model.num_layers = config.lstm.num_layers;
    model.bidirectional = config.lstm.bidirectional;
    model.proj_size = config.lstm.proj_size;
    model.bias = config.lstm.bias;
    model.dropout = config.lstm.dropout;
    model.regularization = config.lstm.regularization;
    model.word_dropout = config.embedding.word_dropout;
    model.embedding_dropout = config.embedding.dropout;
    model.pooling = config.head.pooling;
    model.head_dropout = config.head.dropout;
    model.max_tokens = config.text.max_tokens;
    model
}

struct Splits {
    train: Dataset,
    dev: Dataset,
    test: Option<Dataset>,
}

impl Splits {
    /// Those that are no file of their own.
    fn made(self, config: &Config) -> Vec<(&'static str, Dataset)> {
        let dev = config.data.dev.is_none().then_some(("dev", self.dev));
        let test = self.test.filter(|_| config.data.test.is_none());
        dev.into_iter()
            .chain(test.map(|test| ("test", test)))
            .collect()
    }
}

fn read_splits(config: &Config, skipped: &mut Vec<(String, Skipped)>) -> Result<Splits> {
    let mut read = |path: &Path, options: &ReadOptions| {
        let (dataset, skips) = data::read(path, options)?;
        if skips.total() > 0 {
            skipped.push((path.display().to_string(), skips));
        }
        Ok::<_, Error>(dataset)
    };
    let all = read(&config.data.train, &config.read)?;
    if all.labels.len() < 2 {
        let message = format!(
            "has {} label; a classifier needs 2 or more",
            all.labels.len()
        );
        return Err(Error::file(&config.data.train, message));
    }
    // The other files have the classes of the training texts, and their
    // sentences are what is reported, whatever is trained on.
    let others = ReadOptions {
        labels: Some(all.labels.clone()),
        phrases: false,
        ..config.read.clone()
    };
    let mut file = |path: &Option<std::path::PathBuf>| {
        path.as_deref().map(|path| read(path, &others)).transpose()
    };
    let (dev, test) = (file(&config.data.dev)?, file(&config.data.test)?);

    let share = |file: &Option<Dataset>, share: f64| if file.is_some() { 0.0 } else { share };
    let dev_share = share(&dev, config.data.dev_share);
    let test_share = share(&test, config.data.test_share);
    if dev.is_none() && dev_share == 0.0 {
        let message =
            "must be above 0 where there is no data.dev: something has to choose the best epoch";
        return Err(Error::config("data.dev_share", message));
    }
    let shares = [dev_share, test_share];
    let mut train = all;
    let mut parts = Vec::new();
    if shares != [0.0; 2] {
        if config.read.phrases {
            let message = "phrases of one sentence would stand on both sides of a split; \
                           give data.dev and data.test, or set data.test_share = 0";
            return Err(Error::config("read.phrases", message));
        }
        let classes: Vec<u32> = train.examples.iter().map(|e| e.label).collect();
        let mut fractions = vec![1.0 - dev_share - test_share];
        fractions.extend(shares.into_iter().filter(|&share| share > 0.0));
        let rows = stratified(&classes, &fractions, config.data.split_seed)?;
        parts = rows.iter().map(|rows| part(&train, rows)).collect();
        train = parts.remove(0);
    }
    let mut parts = parts.into_iter();
    let mut next = |share: f64| if share > 0.0 { parts.next() } else { None };
    let (dev_part, test_part) = (next(dev_share), next(test_share));
    let splits = Splits {
        train,
        dev: dev.or(dev_part).unwrap_or_default(),
        test: test.or(test_part),
    };
    let parts = [
        ("data.train", "train", Some(&splits.train)),
        ("data.dev_share", "dev", Some(&splits.dev)),
        ("data.test_share", "test", splits.test.as_ref()),
    ];
    for (key, name, part) in parts {
        if part.is_some_and(|part| part.examples.is_empty()) {
            let message =
                format!("leaves no text for {name}; there are too few, or the share is too small");
            return Err(Error::config(key, message));
        }
    }
    Ok(splits)
}

fn part(dataset: &Dataset, rows: &[usize]) -> Dataset {
    Dataset {
        labels: dataset.labels.clone(),
        examples: rows
            .iter()
            .map(|&row| dataset.examples[row].clone())
            .collect(),
    }
}

fn tokenizer(config: &Config, train: &Dataset) -> data::Result<Tokenizer> {
    let rule = match config.text.tokenizer.as_str() {
        TextConfig::BASIC_ENGLISH => Rule::BasicEnglish,
        TextConfig::WHITESPACE => Rule::Whitespace { lower: true },
        file => return Tokenizer::load(Path::new(file)),
    };
    let with = |vocabulary: &Vocabulary| {
        let words = vocabulary.iter().map(|(id, word)| (word.to_owned(), id));
        Tokenizer::word_level(&rule, words, UNK)
    };
    let empty = Vocabulary::build(std::iter::empty::<Vec<String>>(), 1, None);
    let splitter = with(&empty)?;
    let texts = train
        .examples
        .iter()
        .map(|example| splitter.tokens(&example.text))
        .collect::<data::Result<Vec<_>>>()?;
    let text = &config.text;
    let vocabulary = Vocabulary::build(texts, text.min_frequency, text.max_vocabulary);
    match &config.embedding.vectors {
        Some(path) if config.embedding.all_words => {
            with(&vocabulary.extended(Vectors::words(path)?))
        }
        _ => with(&vocabulary),
    }
}

fn load_vectors(path: &Path, tokenizer: &Tokenizer) -> Result<(usize, Vectors)> {
    let words: Vec<(u32, String)> = (0..tokenizer.vocab_size() as u32)
        .filter_map(|id| tokenizer.word(id).map(|word| (id, word)))
        .filter(|(_, word)| word != PAD && word != UNK)
        .collect();
    let vectors = Vectors::load(path, words.iter().map(|(id, word)| (*id, word.as_str())))?;
    if vectors.ids.is_empty() {
        let message = format!(
            "has a vector for none of the {} words of the vocabulary",
            words.len()
        );
        return Err(Error::file(path, message));
    }
    if vectors.values.iter().all(|&value| value == 0.0) {
        let message = "has nothing but zeros for the words of the vocabulary";
        return Err(Error::file(path, message));
    }
    Ok((words.len(), vectors))
}

/// The root mean square.
fn deviation(values: &[f32]) -> f64 {
    let squares: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    (squares / values.len().max(1) as f64).sqrt()
}
