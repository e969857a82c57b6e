//! `cargo xtask fuzz`: campaigns and replays. Targets, seeds and canaries live in `fuzz/`; this starts them.

mod campaign;
mod cover;
mod engine;
mod engines;
mod merge;
mod planted;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

pub(crate) use self::campaign::smoke;
pub(crate) use self::cover::{TOOLS_FROM, Tools};
pub(crate) use self::engine::nightly;
pub(crate) use self::planted::smoke as smoke_planted;
use crate::{guest_images, shell};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Lists the targets and the states each one must reach.
    List,
    /// Runs a campaign, then fails unless what it made reaches every canary of the target.
    Run {
        /// The target, as `list` names it, or `all`.
        target: String,
        #[command(flatten)]
        options: campaign::Options,
    },
    /// Runs one input, and prints it as a program with the reference's answers.
    Replay {
        /// The target.
        target: String,
        /// The input: bytes, or a program as text in a file `*.txt`.
        file: PathBuf,
        /// Runs it on this machine instead of the reference: qemu, or a FILE.toml that speaks qtest.
        #[arg(long)]
        subject: Option<String>,
    },
    /// Prints one input as a program, without running it.
    Show {
        /// The target.
        target: String,
        /// The input.
        file: PathBuf,
    },
    /// Leaves out of an input what its finding does not need, and prints the rest as a program.
    Min {
        /// The target.
        target: String,
        /// The input.
        file: PathBuf,
    },
    /// Runs random guest programs against `microvm run` on KVM; `--runs N`, `--seed N`, `--jobs N`, `--only N`.
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Guest {
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs the same programs on the reference and on QEMU; `[AREA...] [--time S] [--runs N] [--seed N] [--jobs N]
    /// [--corpus DIR] [--replay FILE]`.
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Differential {
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Shows as HTML which lines of the machine a target's seeds and its last campaign's corpus reach.
    Cover {
        /// The target.
        target: String,
    },
    /// Merges folders of inputs, from other machines too, into a target's corpus, which `run --resume` goes on from.
    Merge {
        /// The target.
        target: String,
        /// Folders of inputs.
        folders: Vec<PathBuf>,
    },
    /// Builds all targets as OSS-Fuzz and ClusterFuzzLite do, in a plain environment, and tries each binary.
    Engines {
        /// With AddressSanitizer and a nightly, as those engines do; without it, on stable.
        #[arg(long)]
        address: bool,
    },
    /// Runs a campaign for each planted bug of the suite, and lists which ones fuzzing alone finds.
    Planted(planted::Options),
    /// Makes a regression case of an input; `TARGET FILE [NAME] [--title T] [--clause C] [--reason R] [--answers
    /// laws|reference|qemu]`.
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Promote {
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

pub(crate) fn run(verb: &Verb) -> Result<()> {
    match verb {
        Verb::List => fuzzer(&["list"]),
        Verb::Run { target, options } => campaign::run(target, options),
        Verb::Cover { target } => cover::run(target),
        Verb::Merge { target, folders } => merge::run(target, folders),
        Verb::Engines { address: true } => engines::check(engine::Sanitizer::Address),
        Verb::Engines { address: false } => engines::check(engine::Sanitizer::None),
        Verb::Planted(options) => planted::run(options),
        Verb::Replay { target, file, subject } => {
            let mut arguments = vec!["replay".to_owned(), target.clone(), absolute(file)?];
            arguments.extend(subject.iter().map(|subject| format!("--subject={subject}")));
            shell::succeed(fuzzer_command().args(arguments))
        }
        Verb::Show { target, file } => fuzzer(&["show", target, &absolute(file)?]),
        Verb::Min { target, file } => fuzzer(&["min", target, &absolute(file)?]),
        Verb::Guest { arguments } => guest(arguments),
        Verb::Differential { arguments } => shell::succeed(fuzzer_command().arg("differential").args(arguments)),
        Verb::Promote { arguments } => shell::succeed(fuzzer_command().arg("promote").args(arguments)),
    }
}

/// Guest programs on KVM: the VMM is a process of its own, with the checks of a dev build.
pub(crate) fn guest<S: AsRef<str>>(arguments: &[S]) -> Result<()> {
    let images = guest_images::build()?;
    shell::succeed(&mut shell::cargo(&[
        "build",
        "--quiet",
        "--locked",
        "--package",
        "vmm",
        "--bins",
    ]))?;
    let microvm = shell::target().join("debug").join("microvm");
    let mut command = fuzzer_command();
    command.arg("guest").arg("--microvm").arg(microvm);
    command.arg("--agent").arg(images.join("agent"));
    shell::succeed(command.args(arguments.iter().map(AsRef::as_ref)))
}

fn targets() -> Result<Vec<String>> {
    let mut command = fuzzer_command();
    let output = command
        .args(["list", "--names"])
        .output()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            shell::line(&command),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// The helper program of the fuzz crate, which runs without libFuzzer.
fn fuzzer(arguments: &[&str]) -> Result<()> {
    shell::succeed(fuzzer_command().args(arguments))
}

fn fuzzer_command() -> std::process::Command {
    shell::cargo(&["run", "--quiet", "--package", "fuzz", "--bin", "fuzzer", "--"])
}

/// A path that means the same in the workspace's root.
fn absolute(file: &Path) -> Result<String> {
    let here = std::env::current_dir().context("find the current folder")?;
    Ok(here.join(file).to_string_lossy().into_owned())
}
