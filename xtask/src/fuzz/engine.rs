//! libFuzzer: built by cargo-fuzz, started, watched and measured.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::shell;

/// What watches memory while a target runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sanitizer {
    /// Nothing: stable Rust.
    None,
    /// AddressSanitizer: a nightly.
    Address,
}

impl Sanitizer {
    /// As cargo-fuzz names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Sanitizer::None => "none",
            Sanitizer::Address => "address",
        }
    }

    /// Why it cannot be had here, if so.
    pub(super) fn missing(self) -> Option<&'static str> {
        match self {
            Sanitizer::None => None,
            Sanitizer::Address => nightly()
                .is_none()
                .then_some("AddressSanitizer needs a nightly toolchain; `rustup toolchain install nightly` gets one"),
        }
    }

    /// Each has a folder of its own to build into, as they share no object.
    fn target_dir(self) -> PathBuf {
        match self {
            Sanitizer::None => shell::target(),
            Sanitizer::Address => shell::target().join("address"),
        }
    }

    fn cargo(self) -> Command {
        match self {
            Sanitizer::None => shell::cargo(&[]),
            // What cargo told this process about itself is about another toolchain.
            Sanitizer::Address => {
                let mut command = shell::program("rustup", &["run", "nightly", "cargo"]);
                command
                    .env_remove("CARGO")
                    .env_remove("RUSTC")
                    .env_remove("RUSTUP_TOOLCHAIN");
                command
            }
        }
    }
}

/// The version of the nightly toolchain, if there is one.
pub(crate) fn nightly() -> Option<String> {
    shell::first_line("rustup", &["run", "nightly", "rustc", "--version"])
}

/// One run of a target.
pub(super) struct Engine<'a> {
    /// The binary.
    pub binary: PathBuf,
    /// Folders of inputs; new ones go to the first.
    pub folders: Vec<&'a Path>,
    /// Where what ends the run is kept.
    pub artifacts: &'a Path,
    /// Everything that was printed.
    pub log: &'a Path,
    /// Words that inputs are made of.
    pub dictionary: Option<PathBuf>,
    /// Longest input.
    pub length_max: u64,
    /// Ends the run after so many seconds.
    pub time_seconds: u64,
    /// Ends the run after so many executions.
    pub runs: Option<u64>,
    /// Processes at a time.
    pub jobs: u32,
    /// libFuzzer's random choices.
    pub seed: Option<u32>,
    /// The planted bug of the run.
    pub planted: Option<&'a str>,
}

impl Engine<'_> {
    /// Runs libFuzzer to its end: everything it prints goes to the log, and on a terminal its progress is shown.
    pub(super) fn run(&self) -> Result<Outcome> {
        fs::create_dir_all(self.artifacts).with_context(|| format!("create {}", self.artifacts.display()))?;
        let mut command = self.command();
        let begin = Instant::now();
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", shell::line(&command)))?;
        let stderr = child.stderr.take().context("libFuzzer's output")?;
        let mut log = File::create(self.log).with_context(|| format!("create {}", self.log.display()))?;
        let show = std::io::stderr().is_terminal();
        let mut outcome = Outcome::default();
        for line in BufReader::new(stderr).split(b'\n') {
            // The program under test may print what it likes.
            let line = String::from_utf8_lossy(&line.context("read libFuzzer's output")?).into_owned();
            writeln!(log, "{line}").with_context(|| format!("write {}", self.log.display()))?;
            outcome.read(&line);
            if show && line.contains("exec/s: ") {
                let shown: String = line.replace('\t', " ").chars().take(100).collect();
                eprint!("\r\x1b[K{shown}");
            }
        }
        if show {
            eprint!("\r\x1b[K");
        }
        outcome.seconds = begin.elapsed().as_secs_f64();
        outcome.processor_seconds = processor_seconds(child.id());
        outcome.success = child.wait().context("wait for libFuzzer")?.success();
        Ok(outcome)
    }

    fn command(&self) -> Command {
        let mut command = shell::program(&self.binary, &[]);
        command.args(&self.folders).args([
            format!("-artifact_prefix={}/", self.artifacts.display()),
            format!("-max_total_time={}", self.time_seconds),
            format!("-max_len={}", self.length_max),
            format!("-timeout={HANG_SECONDS}"),
            "-print_final_stats=1".to_owned(),
        ]);
        command.args(self.dictionary.iter().map(|path| format!("-dict={}", path.display())));
        command.args(self.runs.map(|runs| format!("-runs={runs}")));
        command.args((1 < self.jobs).then(|| format!("-fork={}", self.jobs)));
        command.args(self.seed.map(|seed| format!("-seed={seed}")));
        // One definition in two objects is how Rust's generics are; cargo-fuzz says the same.
        command.env("ASAN_OPTIONS", "detect_odr_violation=0");
        if let Some(name) = self.planted {
            command.env(PLANTED, name);
        }
        command
    }
}

/// Builds a target and returns its binary. Compiling is no part of a campaign's time, and says nothing unless it fails.
pub(super) fn build(target: &str, sanitizer: Sanitizer, log: &Path) -> Result<PathBuf> {
    if shell::first_line("cargo", &["fuzz", "--version"]).is_none() {
        bail!("cargo-fuzz is not installed; `cargo xtask setup --install` gets it");
    }
    let folder = sanitizer.target_dir();
    let mut command = sanitizer.cargo();
    command.args(["fuzz", "build", "--features", "libfuzzer", "--target", TRIPLE]);
    // One unit, cargo-fuzz's default, keeps one core busy for minutes; the targets are hardly slower for it.
    command.args(["--codegen-units", "16", "--sanitizer", sanitizer.name(), "--target-dir"]);
    command.arg(&folder).arg(target);
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
    Ok(folder.join(TRIPLE).join("release").join(target))
}

/// The dictionary of a target, if it has one.
pub(super) fn dictionary(target: &str) -> Option<PathBuf> {
    let path = shell::root().join("fuzz/dictionaries").join(format!("{target}.dict"));
    path.exists().then_some(path)
}

/// As long as programs may be, and as long as the longest seed: libFuzzer cuts what is longer.
pub(super) fn input_length_max(seeds: &Path) -> Result<u64> {
    let mut longest = INPUT_LENGTH_MAX;
    for entry in fs::read_dir(seeds).with_context(|| format!("read {}", seeds.display()))? {
        longest = longest.max(entry?.metadata()?.len());
    }
    Ok(longest)
}

/// Processor time of a child that ended and was not waited for: proc(5), `/proc/PID/stat`, fields 14 to 17, in ticks of
/// 10 ms.
fn processor_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything.
    let fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11).take(4);
    let ticks: u64 = fields.map(|field| field.parse().unwrap_or(0)).sum();
    Some(ticks as f64 / 100.0)
}

/// What became of libFuzzer.
#[derive(Default)]
pub(super) struct Outcome {
    pub success: bool,
    /// The input that ended it.
    pub artifact: Option<PathBuf>,
    /// From start to end.
    pub seconds: f64,
    /// What it used of processors meanwhile, where the host tells.
    pub processor_seconds: Option<f64>,
    measured: Vec<(&'static str, u64)>,
}

impl Outcome {
    pub(super) fn measured(&self, name: &str) -> u64 {
        let found = self.measured.iter().find(|(other, _)| *other == name);
        found.map_or(0, |(_, number)| *number)
    }

    /// All numbers, for a report.
    pub(super) fn numbers(&self) -> Vec<(&'static str, u64)> {
        let mut numbers = self.measured.clone();
        // Processes that are forked print no statistics.
        let executions = self.measured("executions") as f64;
        if self.measured("executions_per_second") == 0 && 0.0 < self.seconds {
            numbers.push(("executions_per_second", (executions / self.seconds) as u64));
        }
        // A busy machine says little about a target; its processor time does.
        if let Some(used) = self.processor_seconds.filter(|used| 0.0 < *used) {
            numbers.push(("executions_per_processor_second", (executions / used) as u64));
        }
        numbers.push(("seconds", self.seconds.round() as u64));
        numbers
    }

    /// Takes what a line of libFuzzer's tells.
    fn read(&mut self, line: &str) {
        if let Some(path) = line.split("Test unit written to ").nth(1) {
            self.artifact = Some(PathBuf::from(path.trim()));
        }
        for (name, before) in NUMBERS {
            let rest = if before == "#" {
                line.strip_prefix(before)
            } else {
                line.split(before).nth(1)
            };
            let Some(rest) = rest else {
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

/// Numbers that libFuzzer prints, and what stands before each; the last one printed counts.
const NUMBERS: [(&str, &str); 7] = [
    ("executions", "#"),
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

/// As `fuzz::planted::VARIABLE`.
const PLANTED: &str = "TOUCHSTONE_PLANTED";

/// The only host there is: the machine is one of its kind.
pub(super) const TRIPLE: &str = "x86_64-unknown-linux-gnu";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_has_the_last_numbers_and_the_input_that_failed() {
        let mut outcome = Outcome::default();
        for line in [
            "INFO: Seed: 4004096838",
            "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 30Mb",
            "    #0 0x55d in frame of a stack trace",
            "#99\tDONE   cov: 1871 ft: 6142 corp: 3/1b lim: 4 exec/s: 7 rss: 34Mb",
            "stat::average_exec_per_sec:     381",
            "artifact_prefix='a/'; Test unit written to a/crash-1",
        ] {
            outcome.read(line);
        }
        let measured = ["seed", "edges", "features", "executions_per_second", "executions"];
        assert_eq!(
            measured.map(|name| outcome.measured(name)),
            [4_004_096_838, 1871, 6142, 381, 99]
        );
        assert_eq!(outcome.artifact, Some(PathBuf::from("a/crash-1")));
    }

    #[test]
    fn forked_processes_are_measured_by_their_count() {
        let mut outcome = Outcome::default();
        outcome.read("#4000: cov: 55 ft: 66 corp: 7 exec/s 99 oom/timeout/crash: 0/0/0 time: 3s job: 4 dft_time: 0");
        outcome.seconds = 2.0;
        outcome.processor_seconds = Some(1.0);
        assert_eq!(
            outcome.numbers()[..],
            [
                ("executions", 4000),
                ("edges", 55),
                ("features", 66),
                ("executions_per_second", 2000),
                ("executions_per_processor_second", 4000),
                ("seconds", 2)
            ]
        );
    }
}
