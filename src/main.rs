//! `cellway`: parse, run, print the error, exit code.

use std::io;
use std::process::ExitCode;

use clap::Parser;

use cellway::cli::Cli;

/// Usage or bad input.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    // libtorch fails by exceptions, which arrive here as panics: out of memory,
    // above all. Their first line says what happened; a backtrace helps nobody.
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("unknown");
        eprintln!(
            "cellway: internal error: {}",
            message.lines().next().unwrap_or(message)
        );
    }));
    match std::panic::catch_unwind(|| Cli::parse().run()) {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(error)) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("cellway: {error:#}");
            ExitCode::from(FAILED)
        }
        Err(_) => ExitCode::from(FAILED),
    }
}

/// Who reads us has had enough (`cellway ... | head`): no error of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
