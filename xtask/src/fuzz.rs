//! `cargo xtask fuzz`: campaigns and replays. Targets, seeds and canaries live in `fuzz/`; this starts them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::shell;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Lists the targets and the states each one must reach.
    List,
    /// Runs a campaign, then fails unless the corpus reaches every canary of the target.
    Run {
        /// The target, as `list` names it.
        target: String,
        /// How long, in seconds.
        #[arg(long, default_value_t = 60)]
        time: u64,
        /// Seed of libFuzzer's random choices; printed by it when not given.
        #[arg(long)]
        seed: Option<u32>,
    },
    /// Runs one input, and prints it as a program with the reference's answers.
    Replay {
        /// The target.
        target: String,
        /// The input.
        file: PathBuf,
    },
}

pub(crate) fn run(verb: &Verb) -> Result<()> {
    match verb {
        Verb::List => fuzzer(&["list"]),
        Verb::Run { target, time, seed } => campaign(target, *time, *seed),
        Verb::Replay { target, file } => {
            let file = std::env::current_dir().context("find the current folder")?.join(file);
            fuzzer(&["replay", target, &file.to_string_lossy()])
        }
    }
}

/// A short campaign for every target.
pub(crate) fn smoke() -> Result<()> {
    for target in targets()? {
        campaign(&target, SMOKE_SECONDS, Some(1))?;
    }
    Ok(())
}

/// libFuzzer without a sanitizer runs on stable; the canaries are counted by replaying what it kept.
fn campaign(target: &str, time_seconds: u64, seed: Option<u32>) -> Result<()> {
    let known = targets()?;
    if !known.iter().any(|name| name == target) {
        bail!("no fuzz target '{target}'; there are: {}", known.join(", "));
    }
    if shell::first_line("cargo", &["fuzz", "--version"]).is_none() {
        bail!("cargo-fuzz is not installed; `cargo xtask setup --install` gets it");
    }
    let work = shell::target().join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&work).with_context(|| format!("create {}", work.display()))?;
    let mut command = shell::cargo(&["fuzz", "run", "--sanitizer", "none", "--features", "libfuzzer", target]);
    command.arg(&work).arg(shell::root().join("fuzz/corpus").join(target));
    command.args([
        "--",
        &format!("-max_total_time={time_seconds}"),
        "-print_final_stats=1",
        "-max_len=1024",
    ]);
    command.args(seed.map(|seed| format!("-seed={seed}")));
    let start = std::time::Instant::now();
    shell::succeed(&mut command)?;
    eprintln!(
        "campaign of {target} ended after {:.0} s",
        start.elapsed().as_secs_f32()
    );
    fuzzer(&["canaries", target, &work.to_string_lossy()])
}

fn targets() -> Result<Vec<String>> {
    let mut command = shell::cargo(&[
        "run",
        "--quiet",
        "--package",
        "fuzz",
        "--bin",
        "fuzzer",
        "--",
        "list",
        "--names",
    ]);
    let output = command
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
    let build = ["run", "--quiet", "--package", "fuzz", "--bin", "fuzzer", "--"];
    shell::succeed(shell::cargo(&build).args(arguments))
}

const SMOKE_SECONDS: u64 = 10;
