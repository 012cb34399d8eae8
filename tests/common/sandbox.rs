//! The command line as a person types it, in a folder of its own.

use std::fs;
use std::path::Path;

use assert_cmd::Command;

/// A folder with data, a configuration and a trained model.
pub struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        let sandbox = Sandbox {
            folder: tempfile::tempdir().unwrap(),
        };
        super::write_toy(sandbox.folder.path());
        sandbox
    }

    pub fn trained() -> Sandbox {
        let sandbox = Sandbox::new();
        sandbox
            .cellway(&["train", "toy.toml", "--quiet"])
            .assert()
            .success();
        sandbox
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn cellway(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("cellway").unwrap();
        // A plain environment: no LD_LIBRARY_PATH, nothing of cargo's. One
        // thread, since many of these run at once.
        command.env_clear().env("OMP_NUM_THREADS", "1");
        command.current_dir(self.path()).args(arguments);
        command
    }

    pub fn stdout(&self, arguments: &[&str]) -> String {
        let output = self
            .cellway(arguments)
            .assert()
            .success()
            .get_output()
            .stdout
            .clone();
        String::from_utf8(output).unwrap()
    }

    /// Runs what has to fail with exit code 2 and one line that says all this,
    /// and with no panic and nothing on standard output.
    pub fn fails(&self, arguments: &[&str], says: &[&str]) {
        let assert = self.cellway(arguments).assert().code(2);
        let error = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        for part in says {
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
        assert!(
            !error.contains("panicked") && !error.contains("internal error"),
            "{error}"
        );
        assert!(assert.get_output().stdout.is_empty());
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub const MODEL: &str = "runs/toy/model";
