//! What several tests need.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod browser;
pub mod errors;
pub mod sandbox;
pub mod tolerance;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The project's Python, with torch: for reference output only.
pub fn python() -> Command {
    let python = root().join(".venv/bin/python");
    assert!(
        python.exists(),
        "{} is not there; run scripts/setup (without --cpu: the tests need torch in Python)",
        python.display()
    );
    Command::new(python)
}

/// The top of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Runs a command that has to succeed, and gives its standard output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8 on standard output")
}

/// Folder of real data; tests that need it are ignored unless it is set.
pub fn shared_data() -> PathBuf {
    std::env::var_os("CELLWAY_SHARED_DATA")
        .expect("set CELLWAY_SHARED_DATA to the folder of the real data")
        .into()
}

/// `toy.csv` and `toy.toml`: "good" is positive, "bad" negative; learnt in a
/// second.
pub fn write_toy(folder: &Path) {
    let mut text = String::from("text,label\n");
    for n in 0..120 {
        let (word, label) = [("good", "pos"), ("bad", "neg")][n % 2];
        let before = ["the film", "a movie", "it all", "well this"][n % 4];
        text += &format!("{before} is {word} {},{label}\n", "so ".repeat(n % 5));
    }
    let config = "
[data]
train = \"toy.csv\"
[read]
format = \"csv\"
[embedding]
size = 8
[lstm]
hidden_size = 8
[train]
epochs = 3
learning_rate = 0.05
batch = { sentences = 8 }
";
    std::fs::write(folder.join("toy.csv"), text).expect("toy.csv");
    std::fs::write(folder.join("toy.toml"), config).expect("toy.toml");
}
