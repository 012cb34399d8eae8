//! Checkpoints of torch that were changed at random, and recurrent modules looked for
//! in everything that the soak of `cellway-checkpoint` reads: within its bounds of
//! time and memory.
//!
//! `CELLWAY_SOAK=1000000 cargo test --release --test checkpoint_soak --
//! --nocapture` runs so many changed files of each kind; `3405..3406` one of
//! them again. A file that fails is kept in the temporary folder of the target.

#[path = "../crates/checkpoint/tests/soak/changes.rs"]
mod changes;
#[path = "../crates/checkpoint/tests/common/mod.rs"]
mod common;
#[path = "../crates/checkpoint/tests/soak/extremes.rs"]
mod extremes;
#[path = "../crates/checkpoint/tests/soak/measure.rs"]
mod measure;
#[path = "common/mod.rs"]
mod torch;

use std::path::Path;

use cellway::checkpoint::Checkpoint;
use cellway::import::RecurrentExt;

use changes::{Random, change};
use common::bytes::*;
use extremes::{float_tensor, module, pickled};
use measure::{alone, extreme, soak};

/// What is asked of every file that can be opened, inside the bounds.
fn look(checkpoint: &Checkpoint) {
    drop((checkpoint.values(), checkpoint.recurrent()));
}

/// Files to start from: whole, and the members of the archives.
struct Seeds {
    files: Vec<Vec<u8>>,
    members: Vec<Vec<(String, Vec<u8>)>>,
}

impl Seeds {
    /// `folder/NAME` and, unpacked, `folder/NAME.members/...`.
    fn load(folder: &Path) -> Seeds {
        let mut seeds = Seeds {
            files: Vec::new(),
            members: Vec::new(),
        };
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .expect("the seeds")
            .map(|entry| entry.expect("a seed").path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_file() {
                seeds.files.push(std::fs::read(path).expect("a seed"));
                continue;
            }
            let mut members = Vec::new();
            for entry in std::fs::read_dir(path).expect("members") {
                let path = entry.expect("a member").path();
                let name = path.file_name().expect("its name").to_string_lossy();
                let bytes = std::fs::read(&path).expect("a member");
                members.push((name.replace('+', "/"), bytes));
            }
            members.sort();
            seeds.members.push(members);
        }
        assert!(!seeds.files.is_empty(), "{}", folder.display());
        seeds
    }

    /// A file with bytes changed, or with bytes changed in one member of a
    /// sound archive.
    fn changed(&self, random: &mut Random, wanted: &[&str]) -> Vec<u8> {
        if self.members.is_empty() || random.below(3) == 0 {
            let mut file = random.pick(&self.files).clone();
            change(random, &mut file, &self.files);
            return file;
        }
        let members = random.pick(&self.members);
        let matches = |name: &str| wanted.iter().any(|end| name.ends_with(end));
        let others: Vec<Vec<u8>> = self
            .members
            .iter()
            .flatten()
            .filter(|(name, _)| matches(name))
            .map(|(_, bytes)| bytes.clone())
            .collect();
        let targets: Vec<&String> = members
            .iter()
            .map(|(name, _)| name)
            .filter(|name| matches(name))
            .collect();
        let target = *random.pick(&targets);
        let members: Vec<Member> = members
            .iter()
            .map(|(name, bytes)| {
                let mut bytes = bytes.clone();
                if name == target {
                    change(random, &mut bytes, &others);
                }
                Member::new(name, bytes)
            })
            .collect();
        zip(&members)
    }
}

const SEEDS: &str = "
import io, os, sys, warnings, zipfile
import numpy, torch
warnings.simplefilter('ignore')
torch.manual_seed(1)
folder = sys.argv[1]
lstm = torch.nn.LSTM(1, 1, num_layers=2, bidirectional=True)
base = torch.arange(16.0)
values = {
    'views': {'a': base[2:6], 'b': base.view(4, 4).t(), 'c': torch.ones(1).expand(9)},
    'module': lstm,
    'training': {
        'model': torch.nn.LSTM(1, 2).state_dict(), 'epoch': 3, 'big': 1 << 70,
        'vocabulary': {'<pad>': 0, 'good': 1}, 'set': {1, 2}, 'tuple': (None, True, b'x'),
        'optimizer': torch.optim.Adam(lstm.parameters()).state_dict(),
    },
    'odd': {
        'sparse': torch.eye(2).to_sparse(), 'conj': torch.ones(2, dtype=torch.complex64).conj(),
        'quantized': torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        'half': torch.ones(2, dtype=torch.bfloat16), 'wide': torch.ones(2, dtype=torch.uint16),
        'parameter': torch.nn.Parameter(torch.ones(2)),
    },
}

def write(kind, name, content):
    os.makedirs(f'{folder}/{kind}', exist_ok=True)
    with open(f'{folder}/{kind}/{name}', 'wb') as file:
        file.write(content)
    if kind in ('legacy',):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        os.makedirs(f'{folder}/{kind}/{name}.members')
        for member in archive.namelist():
            with open(f'{folder}/{kind}/{name}.members/' + member.replace('/', '+'), 'wb') as file:
                file.write(archive.read(member))

def bytes_of(save):
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()

for name, value in values.items():
    write('zip', name, bytes_of(lambda f: torch.save(value, f)))
    write('legacy', name, bytes_of(lambda f: torch.save(value, f, _use_new_zipfile_serialization=False)))
for module in (torch.nn.LSTM(1, 1), torch.nn.Sequential(torch.nn.Embedding(3, 1), torch.nn.Linear(1, 1))):
    write('script', type(module).__name__, bytes_of(lambda f: torch.jit.save(torch.jit.script(module), f)))
weights = [numpy.ones((1, 4), 'f4'), numpy.ones((1, 4), 'f4'), numpy.ones(4, 'f4')]
write('npz', 'lstm', bytes_of(lambda f: numpy.savez(f, *weights)))
odd = dict(a=numpy.asfortranarray(numpy.ones((2, 3))), b=numpy.ones(2, '>i4'), c=numpy.array({}, object), d=numpy.ones((), '?'))
write('npz', 'odd', bytes_of(lambda f: numpy.savez(f, **odd)))
";

#[test]
fn files_changed_at_random() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    torch::run(torch::python().args(["-c", SEEDS]).arg(folder.path()));
    let load = |kind: &str| Seeds::load(&folder.path().join(kind));
    let seeds = load("zip");
    soak("zip", |random| seeds.changed(random, &["data.pkl"]));
    let seeds = load("script");
    let pickles = ["data.pkl", "constants.pkl"];
    soak("script", |random| seeds.changed(random, &pickles));
    let seeds = load("npz");
    soak("npz", |random| seeds.changed(random, &[".npy"]));
    let seeds = load("legacy");
    soak("legacy", |random| seeds.changed(random, &[]));
}

#[test]
fn recurrent_modules_by_the_thousand() {
    let _alone = alone();
    let one = float_tensor();
    let mut layers = [&b"}("[..], &one, b"q\x000"].concat();
    for n in 0..20_000 {
        for role in ["weight_ih", "weight_hh"] {
            layers.extend([&text(&format!("{role}_l{n}"))[..], b"h\x00"].concat());
        }
    }
    layers.push(b'u');
    let _ = extreme("layers", pickled(&layers));
    let state = dict(&[("weight_ih_l0", b"h\x00"), ("weight_hh_l0", b"h\x00")]);
    let module = [&one[..], b"q\x000", &module(&state)].concat();
    // The tensor has the memo's first place.
    let modules = [&module[..], b"q\x010](", &b"h\x01".repeat(30_000), b"e"].concat();
    let _ = extreme("modules", pickled(&modules));
}

#[test]
fn state_dicts_larger_than_they_come() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.pt");
    let script = "
import sys, torch
weights = {f'model.layers.{n}.attention.weight': torch.zeros(2, 2) for n in range(30_000)}
torch.save(weights, sys.argv[1])
torch.save(weights, sys.argv[1] + '.old', _use_new_zipfile_serialization=False)
";
    torch::run(torch::python().args(["-c", script]).arg(&path));
    for path in [path.clone(), path.with_extension("pt.old")] {
        let file = std::fs::read(&path).unwrap();
        let checkpoint = extreme("state dict", file).unwrap();
        assert_eq!(checkpoint.tensors().len(), 30_000);
    }
}
