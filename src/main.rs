//! `cellway`: parse, run, print the error, exit code.

use std::any::Any;
use std::io::{self, Write};

use clap::Parser;

use cellway::cli::{Cli, with_flags};
use cellway::runtime::{leave, says_out_of_memory};

/// Done.
const DONE: u8 = 0;
/// Usage or bad input.
const FAILED: u8 = 2;

fn main() {
    // libtorch fails by exceptions, which arrive here as panics: out of memory,
    // above all. They are told below; a backtrace helps nobody.
    std::panic::set_hook(Box::new(|_| {}));
    let code = match std::panic::catch_unwind(|| Cli::parse().run()) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) if is_broken_pipe(&error) => DONE,
        Ok(Err(error)) => {
            tell(&with_flags(&chain(&error)));
            FAILED
        }
        Err(panic) => {
            let line = first_line(panic.as_ref());
            match says_out_of_memory(line) {
                true => tell(
                    "out of memory: the model does not fit; take a smaller one, or fewer texts at once",
                ),
                false => tell(&format!("internal error: {line}")),
            }
            FAILED
        }
    };
    leave(code)
}

/// Writes to standard error what stopped us; where that is closed, nobody reads
/// it. What an input put into a message is cut.
fn tell(message: &str) {
    const LONGEST: usize = 2000;
    let end = message
        .char_indices()
        .nth(LONGEST)
        .map_or(message.len(), |(at, _)| at);
    let more = if end < message.len() { " ..." } else { "" };
    let _ = writeln!(io::stderr(), "cellway: {}{more}", &message[..end]);
}

/// An error with its causes, each said once.
fn chain(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(|cause| cause.to_string()) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// Who reads us has had enough (`cellway ... | head`): no error of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// What a panic says, without the C++ stack behind it (whose line ends are
/// escaped, as `unwrap` prints them).
fn first_line(panic: &(dyn Any + Send)) -> &str {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    let line = message.lines().next().unwrap_or(message);
    line.split("\\n").next().unwrap_or(line)
}
