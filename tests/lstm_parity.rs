//! The LSTM against `torch.nn.LSTM` in Python and `tch::nn::lstm`: outputs,
//! final states, and the gradients of the input, the initial state and every
//! parameter, over random configurations; how the errors are spread is printed.
//!
//! `CELLWAY_PARITY_CASES=10000 cargo test --test lstm_parity -- --nocapture`
//! runs more of them; `3405..3406` one of them again.

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use cellway::checkpoint::safetensors::{self, Tensors};
use cellway::lstm::{Call, Engine, Lstm, LstmConfig, Mode, State};
use cellway::random::Stream;
use cellway::report::Table;
use common::errors::Errors;
use common::tolerance::tolerance;
use tch::nn::RNN;
use tch::{Kind, Tensor};

/// Cases in one exchange with Python.
const CHUNK: u64 = 250;

/// A configuration, its input and its weights, all in f64.
struct Case {
    name: String,
    config: LstmConfig,
    lengths: Option<Vec<i64>>,
    time: i64,
    batch: i64,
    /// x, h0, c0, wy, wh, wc and every parameter.
    tensors: Tensors,
}

impl Case {
    fn random(number: u64) -> Case {
        let stream = Stream::new(20_240_229, "parity").at(number);
        let draw = |what: &str, low: i64, high: i64| {
            let uniform = Stream::new(stream.seed(), what).uniform(0);
            low + (uniform * (high - low + 1) as f64) as i64
        };
        // A fifth of the cases at each lower edge.
        let size = |what: &str, high: i64| match draw(&format!("{what} edge"), 0, 4) {
            0 => 1,
            _ => draw(what, 1, high),
        };
        let hidden = size("hidden", 64);
        let project = hidden > 1 && draw("project", 0, 3) == 0;
        let config = LstmConfig {
            num_layers: draw("layers", 1, 4),
            bias: draw("bias", 0, 3) > 0,
            batch_first: draw("batch first", 0, 1) == 0,
            bidirectional: draw("bidirectional", 0, 1) == 0,
            proj_size: if project {
                draw("proj", 1, hidden - 1)
            } else {
                0
            },
            ..LstmConfig::new(size("input", 64), hidden)
        };
        let (time, batch) = (size("time", 40), size("batch", 8));
        let ragged = draw("ragged", 0, 3) > 0;
        let lengths = ragged.then(|| {
            (0..batch)
                .map(|text| match draw(&format!("empty {text}"), 0, 7) {
                    0 => 0,
                    _ => draw(&format!("length {text}"), 1, time),
                })
                .collect()
        });
        let mut case = Case {
            name: format!("{number}"),
            config,
            lengths,
            time,
            batch,
            tensors: Tensors::new(),
        };
        case.fill(stream);
        case
    }

    /// Weights of PyTorch's scale, inputs of the size of word vectors, states
    /// that are zero in a third of the cases.
    fn fill(&mut self, stream: Stream) {
        let config = &self.config;
        let (rows, width) = (
            config.num_layers * config.directions(),
            config.output_size(),
        );
        let shaped = |features| match config.batch_first {
            true => [self.batch, self.time, features],
            false => [self.time, self.batch, features],
        };
        let state_scale = if stream.uniform(0) < 1.0 / 3.0 {
            0.0
        } else {
            0.5
        };
        let both = config.directions() * width;
        let mut tensors = Tensors::new();
        let mut add = |name: &str, shape: &[i64], scale: f64| {
            let named = Stream::new(stream.seed(), name);
            let values: Vec<f64> = (0..shape.iter().product::<i64>() as u64)
                .map(|k| scale * named.normal(k))
                .collect();
            // Rounded to f32, so that both dtypes start from the same numbers.
            let tensor = Tensor::from_slice(&values).view(shape);
            tensors.insert(
                name.into(),
                tensor.to_kind(Kind::Float).to_kind(Kind::Double),
            );
        };
        add("x", &shaped(config.input_size), 1.0);
        add("h0", &[rows, self.batch, width], state_scale);
        add("c0", &[rows, self.batch, config.hidden_size], state_scale);
        add("wy", &shaped(both), 1.0);
        add("wh", &[rows, self.batch, width], 1.0);
        add("wc", &[rows, self.batch, config.hidden_size], 1.0);
        let parameter_scale = 0.6 / (config.hidden_size as f64).sqrt();
        for (name, shape) in parameter_shapes(config) {
            add(&name, &shape, parameter_scale);
        }
        self.tensors = tensors;
    }

    fn to_json(&self, dtype: &str) -> serde_json::Value {
        let config = &self.config;
        serde_json::json!({
            "name": format!("{}-{dtype}", self.name),
            "tensors": self.name,
            "dtype": dtype,
            "lengths": self.lengths,
            "config": {
                "input_size": config.input_size, "hidden_size": config.hidden_size,
                "num_layers": config.num_layers, "bias": config.bias,
                "batch_first": config.batch_first, "dropout": 0.0,
                "bidirectional": config.bidirectional, "proj_size": config.proj_size,
            },
        })
    }

    fn leaf(&self, name: &str, kind: Kind) -> Tensor {
        // `copy` makes it ours even where the dtype is already right.
        self.tensors[name]
            .to_kind(kind)
            .copy()
            .detach()
            .set_requires_grad(true)
    }

    /// What our engine computes, under the names of the Python script.
    fn run(&self, engine: Engine, kind: Kind) -> Tensors {
        let mut leaves = BTreeMap::new();
        for (name, _) in parameter_shapes(&self.config) {
            leaves.insert(name.clone(), self.leaf(&name, kind));
        }
        let lstm = Lstm::from_tensors(self.config.clone(), |name| Ok(leaves[name].shallow_clone()))
            .expect("the shapes fit");
        for name in ["x", "h0", "c0"] {
            leaves.insert(name.into(), self.leaf(name, kind));
        }
        let start = State {
            h: leaves["h0"].shallow_clone(),
            c: leaves["c0"].shallow_clone(),
        };
        let call = Call {
            lengths: self.lengths.as_deref(),
            state: Some(&start),
            engine,
            mode: Mode::Eval,
            ..Call::default()
        };
        let out = lstm.forward(&leaves["x"], &call).expect("a valid call");
        self.finish(&out.output, &out.state.h, &out.state.c, &leaves)
    }

    /// The same through `tch::nn::lstm`, each text by itself at its own length;
    /// it has no projections.
    fn run_tch(&self, kind: Kind) -> Option<Tensors> {
        if self.config.proj_size > 0 {
            return None;
        }
        let mut store = tch::nn::VarStore::new(tch::Device::Cpu);
        let config = tch::nn::RNNConfig {
            has_biases: self.config.bias,
            num_layers: self.config.num_layers,
            dropout: 0.0,
            train: true,
            bidirectional: self.config.bidirectional,
            batch_first: self.config.batch_first,
            ..Default::default()
        };
        let (input, hidden) = (self.config.input_size, self.config.hidden_size);
        let lstm = tch::nn::lstm(store.root(), input, hidden, config);
        if kind == Kind::Double {
            store.double();
        }
        let mut leaves = BTreeMap::new();
        for (stored, mut variable) in store.variables() {
            // "weight_ih_l0" after the separators that tch puts into names.
            let name = stored.replace(['.', '|'], "");
            tch::no_grad(|| variable.copy_(&self.tensors[&name]));
            leaves.insert(name, variable);
        }
        assert_eq!(leaves.len(), parameter_shapes(&self.config).len());
        for name in ["x", "h0", "c0"] {
            leaves.insert(name.into(), self.leaf(name, kind));
        }
        let (batch_dim, time_dim) = if self.config.batch_first {
            (0, 1)
        } else {
            (1, 0)
        };
        let (mut outputs, mut hs, mut cs) = (Vec::new(), Vec::new(), Vec::new());
        for text in 0..self.batch {
            let one = |name: &str, dim| leaves[name].narrow(dim, text, 1);
            let (h0, c0) = (one("h0", 1).contiguous(), one("c0", 1).contiguous());
            let length = self
                .lengths
                .as_ref()
                .map_or(self.time, |all| all[text as usize]);
            let x = one("x", batch_dim);
            let width = self.config.directions() * hidden;
            let mut size = [self.time - length; 3];
            size[batch_dim as usize] = 1;
            size[2] = width;
            let padding = Tensor::zeros(size, (kind, tch::Device::Cpu));
            if length == 0 {
                outputs.push(padding);
                hs.push(h0);
                cs.push(c0);
                continue;
            }
            let state = tch::nn::LSTMState((h0, c0));
            let (output, end) = lstm.seq_init(&x.narrow(time_dim, 0, length), &state);
            outputs.push(Tensor::cat(&[output, padding], time_dim));
            hs.push(end.h());
            cs.push(end.c());
        }
        let output = Tensor::cat(&outputs, batch_dim);
        Some(self.finish(&output, &Tensor::cat(&hs, 1), &Tensor::cat(&cs, 1), &leaves))
    }

    fn finish(
        &self,
        y: &Tensor,
        h: &Tensor,
        c: &Tensor,
        leaves: &BTreeMap<String, Tensor>,
    ) -> Tensors {
        let weighted =
            |name: &str, t: &Tensor| (self.tensors[name].to_kind(t.kind()) * t).sum(t.kind());
        let loss = weighted("wy", y) + weighted("wh", h) + weighted("wc", c);
        loss.backward();
        let mut out = Tensors::new();
        for (name, tensor) in [("y", y), ("h_n", h), ("c_n", c)] {
            out.insert(name.into(), tensor.detach());
        }
        for (name, leaf) in leaves {
            let gradient = leaf.grad();
            let gradient = if gradient.defined() {
                gradient
            } else {
                leaf.zeros_like()
            };
            out.insert(format!("grad/{name}"), gradient);
        }
        out
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Case {
            name,
            config,
            lengths,
            time,
            batch,
            ..
        } = self;
        write!(
            f,
            "case {name}: T {time}, B {batch}, lengths {lengths:?}, {config:?}"
        )
    }
}

fn parameter_shapes(config: &LstmConfig) -> Vec<(String, Vec<i64>)> {
    let (h, p) = (config.hidden_size, config.output_size());
    let mut shapes = Vec::new();
    for layer in 0..config.num_layers {
        for suffix in ["", "_reverse"]
            .into_iter()
            .take(config.directions() as usize)
        {
            let mut add = |role: &str, shape: &[i64]| {
                shapes.push((format!("{role}_l{layer}{suffix}"), shape.to_vec()));
            };
            add("weight_ih", &[4 * h, config.layer_input_size(layer)]);
            add("weight_hh", &[4 * h, p]);
            if config.bias {
                add("bias_ih", &[4 * h]);
                add("bias_hh", &[4 * h]);
            }
            if config.proj_size > 0 {
                add("weight_hr", &[p, h]);
            }
        }
    }
    shapes
}

/// Below this, the bound of a gradient would be less than four epsilons of f32, the
/// size of what rounding leaves in a sum of terms of size 1. A gradient of a few
/// numbers can be that small, since large terms cancel in it; then it is these
/// four epsilons that bound the error. (libtorch's own engines differ by as much
/// there, which [`YARDSTICK`] shows.)
fn small_gradient() -> f64 {
    4.0 * f64::from(f32::EPSILON) / bound(Kind::Float, GRADIENTS)
}

/// libtorch against itself: printed beside our errors, not judged.
const YARDSTICK: &str = "(tch::nn::lstm against torch.nn.LSTM)";

/// Outputs and final states.
const OUTPUTS: &str = "outputs";
const GRADIENTS: &str = "gradients";

/// Notes the largest errors of one case. Outputs and states: the largest error,
/// absolute up to 1 and relative above (a cell state has no bound). f64
/// gradients: the largest absolute error; what enters at the outputs has size 1.
/// f32 gradients: that over the largest absolute value of the tensor, or over
/// [`small_gradient`] where this is larger.
fn note(errors: &mut Errors, who: &str, kind: Kind, case: &Case, ours: &Tensors, theirs: &Tensors) {
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>(),
        "{case}"
    );
    let mut largest: BTreeMap<&'static str, (f64, &str)> = BTreeMap::new();
    for (name, expected) in theirs {
        let (ours, expected) = (
            ours[name].to_kind(Kind::Double),
            expected.to_kind(Kind::Double),
        );
        assert_eq!(ours.size(), expected.size(), "{name} of {case}");
        if ours.numel() == 0 {
            continue;
        }
        let distance = (&ours - &expected).abs();
        let (what, error) = match name.strip_prefix("grad/") {
            None => (OUTPUTS, distance / expected.abs().clamp_min(1.0)),
            Some(_) if kind == Kind::Double => (GRADIENTS, distance),
            Some(_) => {
                let scale = expected.abs().max().double_value(&[]);
                (GRADIENTS, distance / scale.max(small_gradient()))
            }
        };
        let error = error.max().double_value(&[]);
        let entry = largest.entry(what).or_insert((error, name));
        if error.is_nan() || error > entry.0 {
            *entry = (error, name);
        }
    }
    for (what, (error, name)) in largest {
        errors.note(who, what, error, format!("{name} of {case}"));
    }
}

fn bound(kind: Kind, what: &str) -> f64 {
    let tolerance = tolerance(kind);
    match what {
        OUTPUTS => tolerance.value,
        _ => tolerance.gradient,
    }
}

/// Prints how the errors are spread, and fails if one is outside of its bound.
fn check(all: &[(Kind, Errors)], cases: u64) {
    let headers = [
        "dtype",
        "who against whom",
        "of",
        "cases",
        "median",
        "90 %",
        "99 %",
        "99.9 %",
        "largest",
        "bound",
    ];
    let title = format!("the largest error of a case, over {cases} cases");
    let (mut table, mut worst, mut outside) = (Table::new(title, headers), vec![], vec![]);
    for (kind, errors) in all {
        for (who, what, spread) in errors.rows() {
            let dtype = if *kind == Kind::Double { "f64" } else { "f32" };
            let ((largest, place), bound) = (spread.largest(), bound(*kind, what));
            let judged = who != YARDSTICK;
            let mut row = vec![
                dtype.into(),
                who.into(),
                what.into(),
                spread.count().to_string(),
            ];
            let quantiles = spread.quantiles(&[0.5, 0.9, 0.99, 0.999]);
            row.extend(quantiles.iter().map(|error| format!("{error:.1e}")));
            row.push(format!("{largest:.1e}"));
            row.push(if judged {
                format!("{bound:.0e}")
            } else {
                "-".into()
            });
            table.row(row);
            let line = format!("{dtype} {who}, {what}: {largest:.2e} at {place}");
            if judged && largest > bound {
                outside.push(format!("{line}, above {bound:.0e}"));
            }
            worst.push(line);
        }
    }
    let worst = worst.join("\n");
    // Not with println: this is shown where the test passes, too.
    let _ = writeln!(std::io::stderr(), "{table}\n\nthe worst cases\n{worst}");
    assert!(
        !worst.is_empty() && outside.is_empty(),
        "{}",
        outside.join("\n")
    );
}

/// The numbers of the cases: the first so many, or a range such as `17..18`.
fn case_numbers() -> std::ops::Range<u64> {
    let text = std::env::var("CELLWAY_PARITY_CASES").unwrap_or("300".into());
    let number = |text: &str| text.parse().expect("CELLWAY_PARITY_CASES is N or N..M");
    match text.split_once("..") {
        None => 0..number(&text),
        Some((start, end)) => number(start)..number(end),
    }
}

const KINDS: [(Kind, &str); 2] = [(Kind::Double, "float64"), (Kind::Float, "float32")];

#[test]
fn equals_torch_in_python_and_tch() {
    // Two threads on matrices this small only wait for each other.
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let numbers = case_numbers();
    let mut errors = KINDS.map(|(kind, _)| (kind, Errors::default()));
    for start in numbers.clone().step_by(CHUNK as usize) {
        let cases: Vec<Case> = (start..numbers.end.min(start + CHUNK))
            .map(Case::random)
            .collect();
        let json: Vec<_> = cases
            .iter()
            .flat_map(|case| KINDS.map(|(_, dtype)| case.to_json(dtype)))
            .collect();
        std::fs::write(at("cases.json"), serde_json::to_vec(&json).unwrap()).unwrap();
        let stored: Vec<(String, &Tensor)> = cases
            .iter()
            .flat_map(|case| {
                let named = |(name, tensor)| (format!("{}/{name}", case.name), tensor);
                case.tensors.iter().map(named)
            })
            .collect();
        let stored = stored.iter().map(|(name, tensor)| (name.as_str(), *tensor));
        safetensors::save(&at("cases.safetensors"), stored, &[]).unwrap();
        common::run(
            common::python()
                .arg(common::root().join("scripts/reference/lstm_reference.py"))
                .args([
                    at("cases.json"),
                    at("cases.safetensors"),
                    at("reference.safetensors"),
                ]),
        );
        let mut reference: BTreeMap<String, Tensors> = BTreeMap::new();
        for (name, tensor) in safetensors::load(&at("reference.safetensors")).unwrap() {
            let (case, name) = name.split_once('/').expect("case/name");
            reference
                .entry(case.into())
                .or_default()
                .insert(name.into(), tensor);
        }
        for case in &cases {
            for ((_, dtype), (kind, errors)) in KINDS.into_iter().zip(&mut errors) {
                let kind = *kind;
                let python = &reference[&format!("{}-{dtype}", case.name)];
                let tch = case.run_tch(kind);
                if let Some(tch) = &tch {
                    note(errors, YARDSTICK, kind, case, tch, python);
                }
                let engines = [
                    (Engine::Plain, "plain"),
                    (Engine::Fused, "fused"),
                    (Engine::Native, "native"),
                ];
                for (engine, name) in engines {
                    let ours = case.run(engine, kind);
                    let who = format!("{name} against torch.nn.LSTM");
                    note(errors, &who, kind, case, &ours, python);
                    if let Some(tch) = &tch {
                        let who = format!("{name} against tch::nn::lstm");
                        note(errors, &who, kind, case, &ours, tch);
                    }
                }
            }
        }
    }
    check(&errors, numbers.end - numbers.start);
}
