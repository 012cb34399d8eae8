//! Digests of outputs, gradients and training steps of the LSTM engines over 200 random
//! configurations, one line each: two builds that compute the same bits print the same
//! lines.
//!
//! `cargo bench --bench digests >before.txt`, then the same with the other build and
//! `diff`. `CELLWAY_ISA`, `ONEDNN_MAX_CPU_ISA` and `ATEN_CPU_CAPABILITY` choose the
//! instruction sets; `THREADS` the number of threads (default 1), on which the native
//! engine's lines do not depend; `ONLY` the engines with this in their names (`Native`, with
//! its other forms in any case).

use cellway::lstm::{
    Call, Engine, Init, Lstm, LstmConfig, Mode, Output, Regularization, State, WeightStorage,
};
use cellway::random::Stream;
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

/// Random configurations.
const CASES: u64 = 200;
/// Steps of gradient descent in every case.
const STEPS: u64 = 50;

/// A random configuration and a batch for it.
struct Case {
    lstm: Lstm,
    kind: Kind,
    input: Tensor,
    lengths: Option<Vec<i64>>,
    state: Option<State>,
    truncate: Option<i64>,
}

impl Case {
    /// The case with this number.
    fn new(number: u64) -> Case {
        let stream = Stream::new(7, "digests").at(number);
        let pick = |counter: u64, from: i64, to: i64| {
            from + (stream.uniform(counter) * (to - from + 1) as f64) as i64
        };
        let chance = |counter: u64, share: f64| stream.uniform(counter) < share;
        // One in eight is large enough for blocks of tokens and several shares.
        let large = chance(0, 0.125);
        let most = if large { 80 } else { 24 };
        let kind = if chance(1, 0.5) {
            Kind::Float
        } else {
            Kind::Double
        };
        let hidden = pick(2, 1, most);
        let config = LstmConfig {
            num_layers: pick(3, 1, 3),
            bias: chance(4, 0.8),
            bidirectional: chance(5, 0.4),
            proj_size: if hidden > 1 && chance(6, 0.25) {
                pick(7, 1, hidden - 1)
            } else {
                0
            },
            dropout: if chance(8, 0.3) { 0.3 } else { 0.0 },
            regularization: match chance(9, 0.3) {
                true => Regularization {
                    recurrent_dropout: 0.2,
                    zoneout_cell: 0.1,
                    zoneout_hidden: 0.15,
                    ..Regularization::default()
                },
                false => Regularization::default(),
            },
            ..LstmConfig::new(pick(10, 1, most), hidden)
        };
        let (batch, time) = match large {
            true => (pick(11, 8, 70), pick(12, 10, 60)),
            false => (pick(11, 1, 6), pick(12, 1, 9)),
        };
        let numbers = |name: &str, shape: &[i64]| {
            let numbers = Stream::new(stream.seed(), name);
            let count = shape.iter().product::<i64>() as u64;
            let values: Vec<f64> = (0..count).map(|k| numbers.normal(k)).collect();
            Tensor::from_slice(&values).view(shape).to_kind(kind)
        };
        let rows = config.num_layers * config.directions();
        let state = chance(13, 0.3).then(|| State {
            h: numbers("h", &[rows, batch, config.output_size()]),
            c: numbers("c", &[rows, batch, config.hidden_size]),
        });
        let lengths =
            chance(14, 0.6).then(|| (0..batch).map(|n| pick(100 + n as u64, 0, time)).collect());
        let made = Lstm::new(
            config.clone(),
            Init::default(),
            Stream::new(stream.seed(), "w"),
        )
        .expect("a valid configuration");
        let lstm = in_kind(&made, kind);
        Case {
            input: numbers("x", &[batch, time, config.input_size]),
            lstm,
            kind,
            lengths,
            state,
            truncate: chance(15, 0.2).then(|| pick(16, 1, 4)),
        }
    }

    fn call(&self, engine: Engine, mode: Mode) -> Call<'_> {
        Call {
            lengths: self.lengths.as_deref(),
            state: self.state.as_ref(),
            engine,
            mode,
            truncate: match mode {
                Mode::Eval => None,
                Mode::Train(_) => self.truncate,
            },
            ..Call::default()
        }
    }

    /// The digest of a forward pass.
    fn forward(&self, engine: Engine) -> String {
        let call = self.call(engine, Mode::Eval);
        let read = tch::no_grad(|| self.lstm.forward(&self.input, &call));
        digest(&results(&read.expect("a valid call")))
    }

    /// The digest of a forward pass through weights that were packed once.
    fn packed(&self, weights: WeightStorage) -> String {
        let packed = self.lstm.pack(weights).expect("f32 or f64 on the CPU");
        let call = self.call(Engine::Native, Mode::Eval);
        let read = tch::no_grad(|| packed.forward(&self.input, &call));
        digest(&results(&read.expect("a valid call")))
    }

    /// The digests of the gradients of the input and all parameters, and of the
    /// parameters after gradient descent; None where the engine lacks something.
    fn train(&self, engine: Engine, recompute: bool) -> Option<(String, String)> {
        let lstm = in_kind(&self.lstm, self.kind);
        let input = self.input.detach().set_requires_grad(true);
        let mut first = None;
        for step in 0..STEPS {
            let mode = Mode::Train(Stream::new(step, "mask"));
            let call = Call {
                recompute,
                ..self.call(engine, mode)
            };
            let read = lstm.forward(&input, &call).ok()?;
            let loss = read.output.square().mean(self.kind)
                + read.state.h.mean(self.kind)
                + read.state.c.square().mean(self.kind);
            loss.backward();
            if first.is_none() {
                let mut gradients = vec![input.grad()];
                gradients.extend(lstm.parameters().iter().map(|(_, tensor)| tensor.grad()));
                first = Some(digest(&gradients));
            }
            tch::no_grad(|| {
                for (_, tensor) in lstm.parameters() {
                    let mut tensor = tensor.shallow_clone();
                    let change = tensor.grad() * 0.1;
                    let _ = tensor.g_sub_(&change);
                    tensor.zero_grad();
                }
            });
        }
        let parameters = lstm.parameters();
        let after: Vec<Tensor> = parameters.iter().map(|(_, t)| t.detach()).collect();
        Some((first?, digest(&after)))
    }
}

/// A copy in this dtype whose parameters are trained.
fn in_kind(lstm: &Lstm, kind: Kind) -> Lstm {
    let parameters = lstm.parameters();
    Lstm::from_tensors(lstm.config().clone(), |name| {
        let found = parameters.iter().find(|(known, _)| known == name);
        let (_, tensor) = found.expect("a parameter of its own");
        Ok(tensor.detach().to_kind(kind).copy().set_requires_grad(true))
    })
    .expect("its own parameters")
}

fn results(read: &Output) -> Vec<Tensor> {
    [&read.output, &read.state.h, &read.state.c]
        .map(Tensor::shallow_clone)
        .into()
}

/// The first 16 digits of the SHA-256 of the bytes of all.
fn digest(tensors: &[Tensor]) -> String {
    let mut hash = Sha256::new();
    for tensor in tensors {
        let tensor = tensor.detach().contiguous();
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        if !bytes.is_empty() {
            tensor.copy_data_u8(&mut bytes, tensor.numel());
        }
        hash.update(&bytes);
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn main() {
    // Cargo asks for a benchmark's tests with this; there are none.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let threads = std::env::var("THREADS")
        .ok()
        .and_then(|text| text.parse().ok());
    tch::set_num_threads(threads.unwrap_or(1));
    let only = std::env::var("ONLY").unwrap_or_default();
    let engines = [Engine::Plain, Engine::Fused, Engine::Native].into_iter();
    let engines: Vec<_> = engines
        .filter(|engine| format!("{engine:?}").contains(&only))
        .collect();
    for number in 0..CASES {
        let case = Case::new(number);
        for &engine in &engines {
            println!("{number:03} {engine:?} forward {}", case.forward(engine));
            if let Some((gradients, trained)) = case.train(engine, false) {
                println!("{number:03} {engine:?} gradients {gradients} trained {trained}");
            }
        }
        if let Some((gradients, trained)) = case.train(Engine::Native, true) {
            println!("{number:03} recompute gradients {gradients} trained {trained}");
        }
        println!("{number:03} packed {}", case.packed(WeightStorage::Same));
        println!("{number:03} bf16 {}", case.packed(WeightStorage::Bf16));
    }
}
