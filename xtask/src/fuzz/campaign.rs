//! Campaigns: libFuzzer started, watched and measured, then the canaries counted.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::{fuzzer, targets};
use crate::shell;

/// A short campaign for every target.
pub(crate) fn smoke() -> Result<()> {
    all(SMOKE_SECONDS, Some(1), false)
}

/// A campaign for every target; one that fails keeps none of the others from running.
pub(super) fn all(time_seconds: u64, seed: Option<u32>, resume: bool) -> Result<()> {
    let mut failed = Vec::new();
    for target in targets()? {
        if let Err(error) = one(&target, time_seconds, seed, resume) {
            println!("{target}: {error:#}");
            failed.push(target);
        }
    }
    if !failed.is_empty() {
        bail!("campaigns that failed: {}", failed.join(", "));
    }
    Ok(())
}

/// libFuzzer without a sanitizer runs on stable; the canaries are counted by replaying what it kept.
pub(super) fn one(target: &str, time_seconds: u64, seed: Option<u32>, resume: bool) -> Result<()> {
    let known = targets()?;
    if !known.iter().any(|name| name == target) {
        bail!("no fuzz target '{target}'; there are: {}", known.join(", "));
    }
    if shell::first_line("cargo", &["fuzz", "--version"]).is_none() {
        bail!("cargo-fuzz is not installed; `cargo xtask setup --install` gets it");
    }
    let folders = Folders::of(target);
    folders.prepare(resume)?;
    fuzzer(&["seeds", target, &folders.seeds.to_string_lossy()])?;
    build(target, &folders.log)?;
    let outcome = engine(target, time_seconds, seed, &folders)?;
    if let Some(input) = &outcome.artifact {
        report_finding(target, input);
    }
    if !outcome.success {
        bail!(
            "the campaign of {target} ended early; {} tells all",
            folders.log.display()
        );
    }
    println!(
        "{target}: {} executions a second, {} edges, {} features, {} inputs kept, seed {}",
        outcome.measured("executions_per_second"),
        outcome.measured("edges"),
        outcome.measured("features"),
        outcome.measured("inputs_added"),
        outcome.measured("seed"),
    );
    let mut arguments = vec!["canaries".to_owned(), target.to_owned()];
    arguments.push(folders.corpus.to_string_lossy().into_owned());
    arguments.push(format!("--report={}", folders.report.display()));
    let measured = outcome.measured.iter();
    arguments.extend(measured.map(|(name, number)| format!("--measured={name}={number}")));
    arguments.push(format!("--measured=seconds={time_seconds}"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    fuzzer(&arguments)?;
    println!("{}", folders.report.display());
    Ok(())
}

/// Where a campaign keeps what it makes.
struct Folders {
    /// What the engine keeps.
    corpus: PathBuf,
    /// The seeds, encoded.
    seeds: PathBuf,
    /// Everything that was printed.
    log: PathBuf,
    /// The numbers.
    report: PathBuf,
}

impl Folders {
    fn of(target: &str) -> Folders {
        let all = shell::target().join("fuzz");
        Folders {
            corpus: all.join(target).join("corpus"),
            seeds: all.join(target).join("seeds"),
            log: all.join(target).join("log.txt"),
            report: all.join(format!("{target}.json")),
        }
    }

    fn prepare(&self, resume: bool) -> Result<()> {
        let stale = [&self.seeds, &self.corpus];
        for folder in &stale[..if resume { 1 } else { 2 }] {
            if folder.exists() {
                fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
            }
        }
        fs::create_dir_all(&self.corpus).with_context(|| format!("create {}", self.corpus.display()))?;
        // A campaign that fails must not leave the numbers of the one before.
        match fs::remove_file(&self.report) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.report.display()))
            }
            _ => Ok(()),
        }
    }
}

/// What became of libFuzzer.
#[derive(Default)]
struct Outcome {
    success: bool,
    /// The input that ended it.
    artifact: Option<PathBuf>,
    measured: Vec<(&'static str, u64)>,
}

impl Outcome {
    fn measured(&self, name: &str) -> u64 {
        let found = self.measured.iter().find(|(other, _)| *other == name);
        found.map_or(0, |(_, number)| *number)
    }

    /// Takes what a line of libFuzzer's tells.
    fn read(&mut self, line: &str) {
        if let Some(path) = line.split("Test unit written to ").nth(1) {
            self.artifact = Some(PathBuf::from(path.trim()));
        }
        for (name, before) in NUMBERS {
            let Some(rest) = line.split(before).nth(1) else {
                continue;
            };
            let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
            if let Ok(number) = digits.parse() {
                self.measured.retain(|(other, _)| *other != name);
                self.measured.push((name, number));
            }
        }
    }
}

/// Compiling is not part of a campaign's time, and says nothing unless it fails.
fn build(target: &str, log: &Path) -> Result<()> {
    let mut command = cargo_fuzz("build", target);
    let output = command
        .output()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    fs::write(log, &output.stderr).with_context(|| format!("write {}", log.display()))?;
    if !output.status.success() {
        bail!(
            "{} failed:\n{}",
            shell::line(&command),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Runs libFuzzer to its end: everything it prints goes to the log, and on a terminal its progress is shown.
fn engine(target: &str, time_seconds: u64, seed: Option<u32>, folders: &Folders) -> Result<Outcome> {
    let mut command = cargo_fuzz("run", target);
    command.arg(&folders.corpus).arg(&folders.seeds).args([
        "--",
        &format!("-max_total_time={time_seconds}"),
        &format!("-max_len={}", input_length_max(&folders.seeds)?),
        &format!("-timeout={HANG_SECONDS}"),
        "-print_final_stats=1",
    ]);
    command.args(seed.map(|seed| format!("-seed={seed}")));
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    let stderr = child.stderr.take().context("libFuzzer's output")?;
    let mut log = File::create(&folders.log).with_context(|| format!("create {}", folders.log.display()))?;
    let show = std::io::stderr().is_terminal();
    let mut outcome = Outcome::default();
    for line in BufReader::new(stderr).split(b'\n') {
        // The program under test may print what it likes.
        let line = String::from_utf8_lossy(&line.context("read libFuzzer's output")?).into_owned();
        writeln!(log, "{line}").with_context(|| format!("write {}", folders.log.display()))?;
        outcome.read(&line);
        if show && line.contains("exec/s: ") {
            eprint!(
                "\r\x1b[K{}",
                line.replace('\t', " ").chars().take(100).collect::<String>()
            );
        }
    }
    if show {
        eprint!("\r\x1b[K");
    }
    outcome.success = child.wait().context("wait for libFuzzer")?.success();
    Ok(outcome)
}

/// As long as programs may be, and as long as the longest seed: libFuzzer cuts what is longer.
fn input_length_max(seeds: &Path) -> Result<u64> {
    let mut longest = INPUT_LENGTH_MAX;
    for entry in fs::read_dir(seeds).with_context(|| format!("read {}", seeds.display()))? {
        longest = longest.max(entry?.metadata()?.len());
    }
    Ok(longest)
}

/// Shows the shortest program that still fails, and how to see it again.
fn report_finding(target: &str, input: &Path) {
    println!("{target}: found {}", input.display());
    // An input that fails only now and then cannot be made shorter; the campaign has failed either way.
    if let Err(error) = fuzzer(&["min", target, &input.to_string_lossy()]) {
        println!("not made shorter: {error:#}");
    }
    println!("see it again: cargo xtask fuzz replay {target} {}", input.display());
}

fn cargo_fuzz(verb: &str, target: &str) -> std::process::Command {
    shell::cargo(&["fuzz", verb, "--sanitizer", "none", "--features", "libfuzzer", target])
}

/// Numbers that libFuzzer prints, and what stands before each; the last one printed counts.
const NUMBERS: [(&str, &str); 6] = [
    ("executions", "stat::number_of_executed_units:"),
    ("executions_per_second", "stat::average_exec_per_sec:"),
    ("inputs_added", "stat::new_units_added:"),
    ("edges", " cov: "),
    ("features", " ft: "),
    ("seed", "INFO: Seed: "),
];

/// An input that runs longer is a finding.
const HANG_SECONDS: u64 = 10;

/// As `fuzz::codec::INPUT_LENGTH_MAX`.
const INPUT_LENGTH_MAX: u64 = 2048;

const SMOKE_SECONDS: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_has_the_last_numbers_and_the_input_that_failed() {
        let mut outcome = Outcome::default();
        for line in [
            "INFO: Seed: 4004096838",
            "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 30Mb",
            "#99\tDONE   cov: 1871 ft: 6142 corp: 3/1b lim: 4 exec/s: 7 rss: 34Mb",
            "stat::average_exec_per_sec:     381",
            "artifact_prefix='a/'; Test unit written to a/crash-1",
        ] {
            outcome.read(line);
        }
        let measured = ["seed", "edges", "features", "executions_per_second", "executions"];
        assert_eq!(
            measured.map(|name| outcome.measured(name)),
            [4_004_096_838, 1871, 6142, 381, 0]
        );
        assert_eq!(outcome.artifact, Some(PathBuf::from("a/crash-1")));
    }
}
