//! Trouble with the disk: it is full, a file may grow no further, a folder may not
//! be written. A training says which file and why, loses nothing that was whole,
//! and ends with the same bytes when the same command is given again.
//!
//! Some of it needs a mount of its own, or another user; where that is not allowed
//! it is told on standard error and left out.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cellway::model::Model;
use common::sandbox::Sandbox;
use serde_json::Value;
use sha2::{Digest, Sha256};

const OPTIONS: [&str; 8] = [
    "train",
    "toy.toml",
    "--quiet",
    "--set",
    "train.snapshot_steps=5",
    "--set",
    "head.dropout=0.3",
    "--out",
];

/// How a command ended and what it said on standard error.
struct Said {
    code: Option<i32>,
    error: String,
}

/// The training with its folder at `out`, begun by the words of `before`: a shell
/// that sets a limit, another user.
fn train(sandbox: &Sandbox, before: &[&str], out: &Path) -> Said {
    train_until(sandbox, before, out, None)
}

/// The same, ended as if it were killed at that point of its saving.
fn train_until(sandbox: &Sandbox, before: &[&str], out: &Path, crash: Option<u64>) -> Said {
    let binary = assert_cmd::cargo::cargo_bin("cellway");
    let mut words = before.iter().map(PathBuf::from).chain([binary]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(OPTIONS).arg(out);
    command.env_clear().env("OMP_NUM_THREADS", "1");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.current_dir(sandbox.path()).stdout(Stdio::null());
    if let Some(at) = crash {
        command.env("CELLWAY_CRASH_AT", at.to_string());
    }
    let output = command.output().unwrap();
    Said {
        code: output.status.code(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    /// Exit code 2 and one line that names a file at `out`, with the reason.
    fn expect_refused(&self, out: &Path, reasons: &[&str]) {
        let error = &self.error;
        assert_eq!(self.code, Some(2), "{error}");
        assert!(
            !error.contains("panicked") && !error.contains("internal error"),
            "{error}"
        );
        let last = error.lines().last().unwrap_or_default();
        let named = last.strip_prefix(&format!("cellway: {}", out.display()));
        let named = named.unwrap_or_else(|| panic!("names no file of the run: {error}"));
        assert!(named.starts_with([':', '/']), "{error}");
        let named = named.to_lowercase();
        assert!(
            reasons.iter().any(|reason| named.contains(reason)),
            "{error}"
        );
    }

    /// The file of the run that its last line names: `model/model.safetensors`.
    fn file(&self, out: &Path) -> String {
        let last = self.error.lines().last().unwrap_or_default();
        let from = format!("cellway: {}", out.display());
        let rest = last.strip_prefix(&from).unwrap_or_default();
        let file = rest.split(": ").next().unwrap_or_default();
        file.trim_start_matches('/').to_owned()
    }
}

/// The snapshots that are at their places, the oldest first.
fn snapshots(run: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(run.join("snapshots")) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| {
        !path
            .file_name()
            .unwrap()
            .as_encoded_bytes()
            .starts_with(b".")
    });
    found.sort();
    found
}

/// What lies half-written beside the places of files and snapshots.
fn halves(run: &Path) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![run.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            match name.starts_with('.') {
                true => found.push(path),
                false if path.is_dir() => folders.push(path),
                false => {}
            }
        }
    }
    found
}

fn expect_no_halves(run: &Path) {
    let halves = halves(run);
    assert!(halves.is_empty(), "{halves:?}");
}

/// The snapshots and the model are whole, and can be read.
fn expect_whole(run: &Path) {
    for snapshot in snapshots(run) {
        let manifest: Value = json(&snapshot.join("manifest.json"));
        assert_eq!(manifest.as_object().unwrap().len(), 2);
        for (file, entry) in manifest.as_object().unwrap() {
            let digest = Sha256::digest(fs::read(snapshot.join(file)).unwrap());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(entry["sha256"], digest, "{snapshot:?}");
        }
    }
    let model = run.join("model");
    if model.join("model.safetensors").exists() {
        Model::load(&model).unwrap();
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The model, the last snapshot, and the log; without times, and without the size
/// of the log, which times change.
fn left(run: &Path) -> (Vec<u8>, Vec<u8>, Value, Vec<Value>) {
    let last = snapshots(run).pop().unwrap();
    let mut progress = json(&last.join("progress.json"));
    let fields = progress.as_object_mut().unwrap();
    assert!(fields.remove("metrics_bytes").is_some());
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let epochs = log.lines().map(|line| {
        let mut epoch: Value = serde_json::from_str(line).unwrap();
        let fields = epoch.as_object_mut().unwrap();
        for time in ["texts_per_second", "tokens_per_second"] {
            assert!(fields.remove(time).is_some());
        }
        epoch
    });
    (
        fs::read(run.join("model/model.safetensors")).unwrap(),
        fs::read(last.join("tensors.safetensors")).unwrap(),
        progress,
        epochs.collect(),
    )
}

/// Goes on with the run, or begins it, with nothing in its way.
fn expect_same_end(sandbox: &Sandbox, out: &Path, whole: &Path) {
    let said = train(sandbox, &[], out);
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert_eq!(said.error, "", "{out:?}");
    assert!(left(out) == left(whole), "{out:?}");
}

fn undisturbed(sandbox: &Sandbox) -> PathBuf {
    let whole = sandbox.path().join("whole");
    let said = train(sandbox, &[], &whole);
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert_eq!(snapshots(&whole).len(), 2);
    whole
}

/// Something mounted, until it is dropped.
struct Mount(PathBuf);

impl Mount {
    /// `mount ARGUMENTS FOLDER`; none where that is not allowed.
    fn new(arguments: &[&str], folder: &Path) -> Option<Mount> {
        fs::create_dir_all(folder).unwrap();
        let output = Command::new("mount").args(arguments).arg(folder).output();
        match output {
            Ok(output) if output.status.success() => Some(Mount(folder.to_path_buf())),
            why => {
                eprintln!("NOT RUN: nothing can be mounted here: {why:?}");
                None
            }
        }
    }

    fn change(&self, options: &str) {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{options}")]);
        common::run(command.arg(&self.0));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs that failed, by the file that could not be written.
#[derive(Default)]
struct Failed(std::collections::BTreeMap<String, usize>);

impl Failed {
    fn count(&mut self, said: &Said, out: &Path) {
        let file = said.file(out);
        // Of whichever snapshot.
        let parts: Vec<_> = file.split('/').collect();
        let file = match parts.as_slice() {
            ["snapshots", _, file] => format!("snapshots/*/{file}"),
            _ => file,
        };
        *self.0.entry(file).or_default() += 1;
    }

    fn expect(&self, what: &str, files: &[&str]) {
        eprintln!("{what}: {:?}", self.0);
        for file in files {
            assert!(self.0.contains_key(*file), "never at {file}: {:?}", self.0);
        }
    }
}

#[test]
fn a_disk_that_becomes_full_costs_no_more_than_the_time() {
    let sandbox = Sandbox::new();
    let whole = undisturbed(&sandbox);
    let mut failed = Failed::default();
    // Page by page, until there is room for all of it.
    for pages in 1.. {
        let place = sandbox.path().join(format!("disk-{pages}"));
        let size = format!("size={}k", 4 * pages);
        let Some(disk) = Mount::new(&["-t", "tmpfs", "-o", &size, "tmpfs"], &place) else {
            return;
        };
        let out = place.join("run");
        let said = train(&sandbox, &[], &out);
        if said.code == Some(0) {
            // Pictures and events are told, and no reason to fail.
            assert!(left(&out) == left(&whole));
            if said.error.is_empty() {
                break;
            }
            continue;
        }
        said.expect_refused(&out, &["no space left", "no storage space"]);
        failed.count(&said, &out);
        expect_whole(&out);
        expect_no_halves(&out);
        disk.change("size=64m");
        expect_same_end(&sandbox, &out, &whole);
    }
    failed.expect(
        "a full disk",
        &[
            "model/model.safetensors",
            "snapshots/*/tensors.safetensors",
            "snapshots/*/progress.json",
            "snapshots/*/manifest.json",
        ],
    );
}

/// A shell that lets no file grow beyond so many blocks of 512 bytes: writing more
/// is an error, or ends the process where the signal is not ignored.
fn limited(blocks: u64, ignored: bool) -> [String; 4] {
    let trap = if ignored { "trap '' XFSZ;" } else { "" };
    let script = format!("{trap} ulimit -c 0; ulimit -f {blocks}; exec \"$@\"");
    ["sh", "-c", &script, "sh"].map(str::to_owned)
}

#[test]
fn a_file_that_may_grow_no_further_costs_no_more_than_the_time() {
    let sandbox = Sandbox::new();
    let whole = undisturbed(&sandbox);
    let size = |file: PathBuf| fs::metadata(file).unwrap().len();
    let snapshot = snapshots(&whole).pop().unwrap().join("tensors.safetensors");
    let (model, snapshot) = (size(whole.join("model/model.safetensors")), size(snapshot));
    let mut failed = Failed::default();
    for ignored in [true, false] {
        let blocks = [0, model / 512 - 1, snapshot / 512 - 1];
        for (n, blocks) in blocks.into_iter().enumerate() {
            let out = sandbox.path().join(format!("run-{ignored}-{n}"));
            let shell = limited(blocks, ignored);
            let shell = shell.each_ref().map(String::as_str);
            // From the start, and from a snapshot in its middle.
            for begun in [false, true] {
                let out = out.with_extension(begun.to_string());
                if begun {
                    let said = train_until(&sandbox, &[], &out, Some(60));
                    assert_eq!(said.code, None, "{}", said.error);
                    assert!(!snapshots(&out).is_empty());
                }
                let (before, killed) = (snapshots(&out), halves(&out));
                let said = train(&sandbox, &shell, &out);
                if ignored {
                    said.expect_refused(&out, &["file too large"]);
                    failed.count(&said, &out);
                    expect_whole(&out);
                    // What a killed process left is cleared in its turn.
                    let left = halves(&out);
                    assert!(left.iter().all(|half| killed.contains(half)), "{left:?}");
                } else {
                    assert_eq!(said.code, None, "{}", said.error);
                }
                assert!(before.iter().all(|snapshot| snapshot.is_dir()));
                expect_same_end(&sandbox, &out, &whole);
            }
        }
    }
    failed.expect(
        "a limit of size",
        &[
            "config.toml",
            "model/model.safetensors",
            "snapshots/*/tensors.safetensors",
        ],
    );
}

#[test]
fn a_log_that_may_grow_no_further_is_named_late_in_the_run() {
    let sandbox = Sandbox::new();
    let config = fs::read_to_string(sandbox.path().join("toy.toml")).unwrap();
    sandbox.write("toy.toml", &config.replace("epochs = 3", "epochs = 60"));
    let whole = undisturbed(&sandbox);
    // More than any other file that must be written.
    let size = |file: PathBuf| fs::metadata(file).unwrap().len();
    let snapshot = size(snapshots(&whole).pop().unwrap().join("tensors.safetensors"));
    let log = size(whole.join("metrics.jsonl"));
    assert!(snapshot + 2048 < log, "{snapshot} {log}");
    let shell = limited(snapshot / 512 + 2, true);
    let shell = shell.each_ref().map(String::as_str);
    let out = sandbox.path().join("run");
    let said = train(&sandbox, &shell, &out);
    said.expect_refused(&out, &["file too large"]);
    assert_eq!(said.file(&out), "metrics.jsonl");
    // It ends within a line.
    let log = fs::read(out.join("metrics.jsonl")).unwrap();
    assert_ne!(log.last(), Some(&b'\n'));
    assert_eq!(snapshots(&out).len(), 2);
    expect_no_halves(&out);
    expect_whole(&out);
    expect_same_end(&sandbox, &out, &whole);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let sandbox = Sandbox::new();
    let whole = undisturbed(&sandbox);
    let place = sandbox.path().join("place");
    let (fresh, begun) = (place.join("fresh"), place.join("begun"));
    fs::create_dir(&place).unwrap();
    assert_eq!(train_until(&sandbox, &[], &begun, Some(60)).code, None);
    let expect = |before: &[&str], reason: &str| {
        for out in [&fresh, &begun] {
            train(&sandbox, before, out).expect_refused(out, &[reason]);
        }
        assert!(!fresh.exists());
        assert!(!snapshots(&begun).is_empty());
    };

    let bind = ["--bind", place.to_str().unwrap()];
    if let Some(mount) = Mount::new(&bind, &place) {
        mount.change("bind,ro");
        expect(&[], "read-only file");
    }

    // Root may write everywhere, so that somebody else has to try.
    for folder in [sandbox.path(), &place, &begun] {
        fs::set_permissions(folder, Permissions::from_mode(0o555)).unwrap();
    }
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let before: &[&str] = if is_root { &nobody } else { &[] };
    if is_root && !starts(before) {
        eprintln!("NOT RUN: root cannot start the binary as another user here");
    } else {
        expect(before, "permission denied");
    }
    for folder in [sandbox.path(), &place, &begun] {
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    }
    expect_same_end(&sandbox, &begun, &whole);
}

/// Whether the binary runs when it is begun so.
fn starts(before: &[&str]) -> bool {
    let status = Command::new(before[0])
        .args(&before[1..])
        .arg(assert_cmd::cargo::cargo_bin("cellway"))
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn a_place_that_is_no_folder_is_named() {
    let sandbox = Sandbox::new();
    let under_a_file = sandbox.path().join("toy.csv/run");
    train(&sandbox, &[], &under_a_file).expect_refused(&under_a_file, &["not a directory"]);
    let file = sandbox.path().join("toy.csv");
    train(&sandbox, &[], &file).expect_refused(&file, &["not a directory"]);
    let in_proc = Path::new("/proc/run");
    train(&sandbox, &[], in_proc).expect_refused(in_proc, &["no such file", "permission denied"]);
}
