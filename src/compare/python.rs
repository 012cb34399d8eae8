//! Reference torch in a Python on this machine: `scripts/reference.py`, which
//! comes with the program.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// The script, fed to Python's standard input: the program needs no folder of
/// its own.
const SCRIPT: &str = include_str!("../../scripts/reference.py");

/// The Python to ask where none is named: that of the project's `.venv` (in this
/// folder, or above the program), of the active environment, or `python3`.
pub fn find() -> PathBuf {
    let inside = |folder: &Path| folder.join(".venv/bin/python");
    let here = Some(inside(Path::new("")));
    let program = std::env::current_exe().ok();
    let above = program
        .iter()
        .flat_map(|path| path.ancestors().skip(1))
        .map(inside);
    let active =
        std::env::var_os("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
    here.into_iter()
        .chain(above)
        .chain(active)
        .find(|python| python.is_file())
        .unwrap_or_else(|| "python3".into())
}

/// Runs the script; it writes the file that its `--out` names.
///
/// Errors with what Python said.
pub fn run(python: &Path, arguments: &[OsString]) -> Result<()> {
    let mut child = Command::new(python)
        .arg("-")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            let message = format!("cannot be started ({error}); name a Python that has torch with `python`, or take a file that scripts/reference.py wrote elsewhere with `reference`");
            Error::file(python, message)
        })?;
    if let Some(mut input) = child.stdin.take() {
        // A Python that ends early says why on its standard error.
        let _ = input.write_all(SCRIPT.as_bytes());
    }
    let output = child.wait_with_output().map_err(Error::io(python))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // The last line is the error; warnings and tracebacks stand above.
    let line = said.lines().rev().find(|line| !line.trim().is_empty());
    let line = line.map_or_else(|| output.status.to_string(), str::to_owned);
    Err(Error::file(
        python,
        line.trim_start_matches("reference.py: ").to_owned(),
    ))
}
