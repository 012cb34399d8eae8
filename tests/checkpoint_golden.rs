//! Every kind of checkpoint that torch writes, made by torch itself and read
//! back without it: `scripts/reference/golden.py` says what is in the matrix, and what its
//! manifest looks like.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use cellway::checkpoint::{Checkpoint, CheckpointExt, TensorInfo, kind_of};
use cellway::import::{GateOrder, Recurrent, RecurrentExt};
use cellway::lstm::{Call, Engine, Lstm};
use common::tolerance::share_of_tolerance;
use serde::Deserialize;
use tch::{Kind, Tensor};

#[derive(Deserialize)]
struct Manifest {
    files: Vec<File>,
    skipped: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct File {
    file: String,
    tensors: Vec<Named>,
    refused: BTreeSet<String>,
    recurrent: Vec<Module>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    storage: Option<usize>,
    #[serde(flatten)]
    answer: Answer,
}

/// A tensor as torch has it; its bytes are `place[1]` at `place[0]`.
#[derive(Deserialize)]
struct Answer {
    dtype: String,
    shape: Vec<i64>,
    place: [usize; 2],
}

#[derive(Deserialize)]
struct Module {
    name: String,
    kind: String,
    input_size: i64,
    hidden_size: i64,
    num_layers: i64,
    bidirectional: bool,
    proj_size: i64,
    bias: bool,
    order: Option<String>,
    #[serde(flatten)]
    run: Option<Run>,
}

/// A run from a zero state, time first.
#[derive(Deserialize)]
struct Run {
    x: Answer,
    y: Answer,
    h_n: Answer,
    c_n: Answer,
}

struct Values(Vec<u8>);

impl Values {
    fn bytes(&self, answer: &Answer) -> &[u8] {
        &self.0[answer.place[0]..answer.place[0] + answer.place[1]]
    }

    fn tensor(&self, answer: &Answer) -> Tensor {
        let kind = match answer.dtype.as_str() {
            "float32" => Kind::Float,
            "float64" => Kind::Double,
            other => panic!("a run in {other}"),
        };
        Tensor::from_data_size(self.bytes(answer), &answer.shape, kind)
    }
}

/// The elements in row-major order, whatever the strides.
fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let dense = tensor.contiguous();
    let mut bytes = vec![0; dense.numel() * dense.kind().elt_size_in_bytes()];
    if !bytes.is_empty() {
        dense.copy_data_u8(&mut bytes, dense.numel());
    }
    bytes
}

/// Two lists of groups that have to be the same, whatever the groups are called.
fn same_groups<A: Ord + Copy, B: Ord + Copy>(pairs: &[(A, B)]) -> bool {
    let firsts: BTreeSet<A> = pairs.iter().map(|pair| pair.0).collect();
    let seconds: BTreeSet<B> = pairs.iter().map(|pair| pair.1).collect();
    let both: BTreeSet<(A, B)> = pairs.iter().copied().collect();
    firsts.len() == both.len() && seconds.len() == both.len()
}

/// What went wrong with a file, a line each. All are listed before the test
/// fails: one cause shows in many files.
struct Checks<'a> {
    values: &'a Values,
    wrong: Vec<String>,
    worst: f64,
}

impl Checks<'_> {
    fn wrong(&mut self, message: impl Into<String>) {
        self.wrong.push(message.into());
    }

    fn file(&mut self, folder: &Path, file: &File) {
        let checkpoint = match Checkpoint::open(folder.join(&file.file)) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return self.wrong(error.to_string()),
        };
        self.names(&checkpoint, file);
        let known: Vec<(&Named, &TensorInfo)> = file
            .tensors
            .iter()
            .filter_map(|named| Some((named, checkpoint.find(&named.name).ok()?)))
            .collect();
        for (named, info) in &known {
            self.tensor(&checkpoint, named, info);
        }
        let groups: Vec<(usize, usize)> = known
            .iter()
            .filter_map(|(named, info)| Some((named.storage?, info.storage)))
            .collect();
        if !same_groups(&groups) {
            self.wrong(format!("storages are shared otherwise: {groups:?}"));
        }
        self.load(&checkpoint, &known);
        self.modules(&checkpoint, file);
    }

    fn names(&mut self, checkpoint: &Checkpoint, file: &File) {
        let expected: BTreeSet<&str> = file.tensors.iter().map(|t| t.name.as_str()).collect();
        let ours: BTreeSet<&str> = checkpoint.tensors().iter().map(|t| &t.name[..]).collect();
        let missing: Vec<_> = expected.difference(&ours).collect();
        let more: Vec<_> = ours.difference(&expected).collect();
        if !missing.is_empty() || !more.is_empty() || checkpoint.tensors().len() != ours.len() {
            self.wrong(format!("misses {missing:?}, has besides {more:?}"));
        }
        let refused: BTreeSet<String> = checkpoint
            .refused()
            .iter()
            .map(|refusal| refusal.name.clone())
            .collect();
        if refused != file.refused {
            self.wrong(format!("refuses {refused:?} instead of {:?}", file.refused));
        }
        for name in &refused {
            if checkpoint.bytes(name).is_ok() {
                self.wrong(format!("gives {name:?}, which it refuses"));
            }
        }
    }

    fn tensor(&mut self, checkpoint: &Checkpoint, named: &Named, info: &TensorInfo) {
        let (name, answer) = (&named.name, &named.answer);
        if (info.dtype.name(), &info.shape) != (&answer.dtype, &answer.shape) {
            self.wrong(format!(
                "{name:?} is {} {:?} instead of {} {:?}",
                info.dtype, info.shape, answer.dtype, answer.shape
            ));
        }
        let expected = self.values.bytes(answer);
        match checkpoint.bytes(name) {
            Ok(bytes) if bytes == expected => {}
            Ok(_) => self.wrong(format!("{name:?} has other bytes")),
            Err(error) => self.wrong(format!("{name:?}: {error}")),
        }
        match (checkpoint.tensor(name), kind_of(info.dtype)) {
            (Err(_), None) => {}
            (Ok(tensor), Some(kind)) => {
                if tensor.kind() != kind
                    || tensor.size() != answer.shape
                    || bytes_of(&tensor) != expected
                {
                    self.wrong(format!("tensor({name:?}) is {tensor:?}"));
                }
            }
            (Ok(tensor), None) => self.wrong(format!("tensor({name:?}) is {tensor:?}")),
            (Err(error), Some(_)) => self.wrong(format!("tensor({name:?}): {error}")),
        }
    }

    /// All of them at once, storages shared as torch shares them.
    fn load(&mut self, checkpoint: &Checkpoint, known: &[(&Named, &TensorInfo)]) {
        let whole = checkpoint
            .tensors()
            .iter()
            .all(|t| kind_of(t.dtype).is_some());
        let loaded: BTreeMap<String, Tensor> = match checkpoint.load() {
            Ok(loaded) if whole => loaded.into_iter().collect(),
            Err(_) if !whole => return,
            Ok(_) => return self.wrong("loads a dtype that tch has not"),
            Err(error) => return self.wrong(format!("load(): {error}")),
        };
        let mut starts = Vec::new();
        for (named, info) in known {
            let tensor = &loaded[&named.name];
            if kind_of(info.dtype) != Some(tensor.kind())
                || tensor.size() != named.answer.shape
                || bytes_of(tensor) != self.values.bytes(&named.answer)
            {
                self.wrong(format!("load() has another {:?}", named.name));
            }
            if let (Some(storage), true) = (named.storage, info.numel() > 0) {
                let offset = info.offset as usize * info.dtype.size();
                starts.push((storage, tensor.data_ptr() as usize - offset));
            }
        }
        if !same_groups(&starts) {
            self.wrong("load() shares storages otherwise");
        }
    }

    fn modules(&mut self, checkpoint: &Checkpoint, file: &File) {
        let found = checkpoint.recurrent();
        let names = |names: &mut dyn Iterator<Item = &String>| -> BTreeSet<String> {
            names.cloned().collect()
        };
        let ours = names(&mut found.iter().map(|one| &one.name));
        let expected = names(&mut file.recurrent.iter().map(|one| &one.name));
        if ours != expected || found.len() != expected.len() {
            self.wrong(format!("recurrent modules {ours:?}, not {expected:?}"));
        }
        for module in &file.recurrent {
            let Some(ours) = found.iter().find(|one| one.name == module.name) else {
                continue;
            };
            let same = ours.kind.name() == module.kind
                && ours.input_size == module.input_size
                && ours.hidden_size == module.hidden_size
                && ours.num_layers == module.num_layers
                && ours.bidirectional == module.bidirectional
                && ours.proj_size == module.proj_size
                && ours.bias == module.bias
                && ours.problem.is_none();
            if !same {
                self.wrong(format!("another module: {ours:?}"));
            }
            if let Some(run) = &module.run {
                self.run(checkpoint, ours, module, run);
            } else if checkpoint.lstm(&module.name).is_ok() {
                self.wrong(format!("gives {:?} as an LSTM", module.name));
            }
        }
    }

    fn run(&mut self, checkpoint: &Checkpoint, ours: &Recurrent, module: &Module, run: &Run) {
        let lstm = match &module.order {
            None => checkpoint.lstm(&module.name),
            Some(order) => {
                let order: GateOrder = order.parse().expect("an order of gates");
                ours.lstm(checkpoint, order)
            }
        };
        let lstm = match lstm {
            Ok(lstm) => lstm,
            Err(error) => return self.wrong(format!("lstm: {error}")),
        };
        for engine in [Engine::Plain, Engine::Fused] {
            let share = self.share(&lstm, engine, run);
            self.worst = self.worst.max(share);
            if share > 1.0 {
                let what = format!("{share} of the tolerance");
                self.wrong(format!("{:?} {engine:?}: {what}", module.name));
            }
        }
    }

    /// The largest share of the tolerance that outputs and final states use.
    fn share(&self, lstm: &Lstm, engine: Engine, run: &Run) -> f64 {
        let x = self.values.tensor(&run.x).transpose(0, 1);
        let call = Call {
            engine,
            ..Call::default()
        };
        let out = lstm.forward(&x, &call).expect("a valid call");
        let pairs = [
            (out.output.transpose(0, 1), &run.y),
            (out.state.h, &run.h_n),
            (out.state.c, &run.c_n),
        ];
        let shares = pairs
            .map(|(ours, expected)| share_of_tolerance(lstm, &ours, &self.values.tensor(expected)));
        shares.into_iter().fold(0.0, f64::max)
    }
}

#[test]
fn everything_that_torch_saves_is_read_bit_for_bit() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = common::root().join("scripts/reference/golden.py");
    common::run(common::python().arg(script).arg(folder.path()));
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect(name);
    let manifest: Manifest = serde_json::from_slice(&read("manifest.json")).expect("a manifest");
    let values = Values(read("values.bin"));

    let (mut wrong, mut worst, mut tensors, mut runs) = (Vec::new(), 0.0f64, 0, 0);
    for file in &manifest.files {
        let mut checks = Checks {
            values: &values,
            wrong: Vec::new(),
            worst: 0.0,
        };
        checks.file(folder.path(), file);
        worst = worst.max(checks.worst);
        tensors += file.tensors.len();
        runs += file.recurrent.iter().filter(|m| m.run.is_some()).count();
        wrong.extend(
            checks
                .wrong
                .iter()
                .map(|what| format!("{}: {what}", file.file)),
        );
    }
    // Not with println: this is shown where the test passes, too.
    let _ = writeln!(
        std::io::stderr(),
        "{} files, {tensors} tensors, {runs} LSTMs (at most {worst:.3} of the tolerance); torch itself could not write {}:",
        manifest.files.len(),
        manifest.skipped.values().sum::<u64>(),
    );
    for (reason, count) in &manifest.skipped {
        let _ = writeln!(std::io::stderr(), "  {count:3} {reason}");
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(manifest.files.len() >= 500 && runs >= 200);
}
