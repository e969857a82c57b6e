//! `cargo xtask conformance`: builds what the suite needs, then hands over to `touchstone run`.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::lab::beside;
use crate::{guest_images, shell};

/// As the first argument: the planted bugs instead of a run.
const MUTANTS: &str = "--mutants";

/// Anywhere among the arguments: depths cpu and guest run in the lab.
const LAB: &str = "--lab";

/// Exit code for a harness that could not even start, beside the suite's own.
pub(crate) const NOT_STARTED: u8 = 3;
/// A run was not as expected.
pub(crate) const UNEXPECTED: u8 = 1;

/// Builds, runs, and passes the suite's exit code on.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let (lab, arguments): (Vec<String>, Vec<String>) = arguments.iter().cloned().partition(|word| word == LAB);
    exit_code(if lab.is_empty() {
        try_run(&arguments)
    } else {
        beside::run(&arguments)
    })
}

/// A suite's exit code, or that the harness could not start.
pub(crate) fn exit_code(result: Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// The same, with a harness failure as an error.
pub(crate) fn try_run(arguments: &[String]) -> Result<u8> {
    build()?;
    let touchstone = shell::target().join("debug/touchstone");
    // In the caller's folder: that is what the paths among the arguments start from.
    let mut command = Command::new(touchstone);
    if let Some((_, rest)) = arguments.split_first().filter(|(first, _)| *first == MUTANTS) {
        command.args(["mutants", "--run"]).args(rest);
    } else {
        command
            .arg("run")
            .arg("--images")
            .arg(guest_images::build()?)
            .args(arguments);
    }
    let status = command
        .status()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(NOT_STARTED))
}

/// Builds the reference VMM and the suite.
pub(crate) fn build() -> Result<()> {
    shell::succeed(&mut shell::cargo(&[
        "build",
        "--quiet",
        "--package",
        "vmm",
        "--package",
        "conformance",
        "--bins",
    ]))
}
