//! `cargo xtask fuzz`: campaigns and replays. Targets, seeds and canaries live in `fuzz/`; this starts them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::{guest_images, shell};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Lists the targets and the states each one must reach.
    List,
    /// Runs a campaign, then fails unless what it made reaches every canary of the target.
    Run {
        /// The target, as `list` names it, or `all`.
        target: String,
        /// How long, in seconds, each.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
        time: u64,
        /// Seed of libFuzzer's random choices; printed when not given.
        #[arg(long)]
        seed: Option<u32>,
        /// Goes on from the corpus of the last campaign instead of the seeds alone.
        #[arg(long)]
        resume: bool,
    },
    /// Runs one input, and prints it as a program with the reference's answers.
    Replay {
        /// The target.
        target: String,
        /// The input: bytes, or a program as text in a file `*.txt`.
        file: PathBuf,
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
    /// Keeps an input as a seed: a program in `fuzz/seeds/TARGET/NAME.txt`, for the tests and every later campaign.
    Promote {
        /// The target.
        target: String,
        /// The input.
        file: PathBuf,
        /// What the program is about, in lower-case words joined by `-`.
        name: String,
    },
}

pub(crate) fn run(verb: &Verb) -> Result<()> {
    match verb {
        Verb::List => fuzzer(&["list"]),
        Verb::Run {
            target,
            time,
            seed,
            resume,
        } if target == "all" => campaigns(*time, *seed, *resume),
        Verb::Run {
            target,
            time,
            seed,
            resume,
        } => campaign(target, *time, *seed, *resume),
        Verb::Replay { target, file } => fuzzer(&["replay", target, &absolute(file)?]),
        Verb::Show { target, file } => fuzzer(&["show", target, &absolute(file)?]),
        Verb::Min { target, file } => fuzzer(&["min", target, &absolute(file)?]),
        Verb::Guest { arguments } => guest(arguments),
        Verb::Promote { target, file, name } => promote(target, file, name),
    }
}

/// A short campaign for every target.
pub(crate) fn smoke() -> Result<()> {
    campaigns(SMOKE_SECONDS, Some(1), false)
}

/// A campaign for every target; one that fails keeps none of the others from running.
fn campaigns(time_seconds: u64, seed: Option<u32>, resume: bool) -> Result<()> {
    let mut failed = Vec::new();
    for target in targets()? {
        if let Err(error) = campaign(&target, time_seconds, seed, resume) {
            println!("{target}: {error:#}");
            failed.push(target);
        }
    }
    if !failed.is_empty() {
        bail!("campaigns that failed: {}", failed.join(", "));
    }
    Ok(())
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

/// libFuzzer without a sanitizer runs on stable; the canaries are counted by replaying what it kept.
fn campaign(target: &str, time_seconds: u64, seed: Option<u32>, resume: bool) -> Result<()> {
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

fn promote(target: &str, file: &Path, name: &str) -> Result<()> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(is_word) {
        bail!("seed name '{name}': wants lower-case words joined by '-'");
    }
    let mut command = fuzzer_command();
    let output = command
        .args(["show", target, &absolute(file)?])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", shell::line(&command), output.status);
    }
    let path = shell::root()
        .join("fuzz/seeds")
        .join(target)
        .join(format!("{name}.txt"));
    let mut seed = File::create_new(&path).with_context(|| format!("create {}", path.display()))?;
    seed.write_all(&output.stdout)
        .with_context(|| format!("write {}", path.display()))?;
    println!("{}: say in its first line what it is about", path.display());
    Ok(())
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

fn cargo_fuzz(verb: &str, target: &str) -> std::process::Command {
    shell::cargo(&["fuzz", verb, "--sanitizer", "none", "--features", "libfuzzer", target])
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
