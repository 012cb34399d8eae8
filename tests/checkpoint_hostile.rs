//! Files made to do harm, as tensors, and files of torch that end early. The other
//! hostile files are tests of `cellway-checkpoint`, which needs no torch.

mod common;
#[path = "../crates/checkpoint/tests/common/mod.rs"]
mod files;

use cellway::checkpoint::{Checkpoint, CheckpointExt};
use files::bytes::{one_tensor, torch_zip};
use files::cuts::cut_everywhere;

#[test]
fn an_expanded_tensor_of_a_trillion_elements() {
    let file = torch_zip(&one_tensor(1, 0, &[1 << 40], &[0]), &[("0", &[0; 4])]);
    let checkpoint = Checkpoint::from_bytes(file, "hostile.pt").unwrap();
    let error = checkpoint.tensor("x").unwrap_err();
    assert!(error.to_string().contains("repeats the 4 bytes"), "{error}");
    // As `torch.load` gives it, it takes no more than its storage.
    let loaded = checkpoint.load().unwrap();
    assert_eq!(loaded[0].1.size(), [1 << 40]);
}

#[test]
fn a_damaged_storage() {
    let numbers = [0.0f32, 1.0, 2.0, 3.0].map(f32::to_le_bytes).concat();
    let mut file = torch_zip(&one_tensor(4, 0, &[4], &[1]), &[("0", &numbers)]);
    let at = file.windows(16).position(|bytes| bytes == numbers).unwrap();
    file[at + 5] ^= 1;
    let checkpoint = Checkpoint::from_bytes(file, "hostile.pt").unwrap();
    assert!(checkpoint.tensor("x").is_err() && checkpoint.load().is_err());
}

#[test]
fn files_of_torch_cut_at_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let script = "
import sys, io, torch, numpy
folder = sys.argv[1]
lstm = torch.nn.LSTM(1, 1)
value = {'model': lstm.state_dict(), 'epoch': 3, 'names': ('a', None)}
torch.save(value, folder + '/zip')
torch.save(value, folder + '/legacy', _use_new_zipfile_serialization=False)
torch.jit.script(torch.nn.Linear(1, 1)).save(folder + '/script')
numpy.savez(open(folder + '/npz', 'wb'), *[p.detach().numpy() for p in lstm.parameters()])
";
    common::run(common::python().args(["-c", script]).arg(folder.path()));
    for name in ["zip", "legacy", "script", "npz"] {
        let file = std::fs::read(folder.path().join(name)).unwrap();
        cut_everywhere(name, &file);
    }
}
