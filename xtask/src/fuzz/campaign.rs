//! Campaigns: one run of libFuzzer for a target, then the canaries counted over what it kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::engine::{self, Engine, Outcome, Sanitizer};
use super::{fuzzer, targets};
use crate::shell;

/// What a campaign may be told.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// How long, in seconds, each.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    time: u64,
    /// Ends each after so many executions, when that is sooner.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// Processes at a time that share a corpus.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    jobs: u32,
    /// Seed of libFuzzer's random choices; printed when not given.
    #[arg(long)]
    seed: Option<u32>,
    /// Goes on from the corpus of the last campaign instead of the seeds alone.
    #[arg(long)]
    resume: bool,
    /// What watches memory meanwhile.
    #[arg(long, value_enum, default_value_t = Watch::None)]
    sanitizer: Watch,
}

/// A choice of sanitizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Watch {
    /// Nothing.
    None,
    /// AddressSanitizer; fails without a nightly.
    Address,
    /// One campaign without, and one with AddressSanitizer where a nightly is.
    Both,
}

/// A short campaign for every target.
pub(crate) fn smoke() -> Result<()> {
    run(
        "all",
        &Options {
            time: SMOKE_SECONDS,
            runs: None,
            jobs: 1,
            seed: Some(1),
            resume: false,
            sanitizer: Watch::None,
        },
    )
}

/// Campaigns for a target or for `all`; one that fails keeps none of the others from running.
pub(super) fn run(target: &str, options: &Options) -> Result<()> {
    let known = targets()?;
    let chosen: Vec<&String> = known
        .iter()
        .filter(|name| target == "all" || target == **name)
        .collect();
    if chosen.is_empty() {
        bail!("no fuzz target '{target}'; there are: {}", known.join(", "));
    }
    let mut failed = Vec::new();
    for sanitizer in sanitizers(options.sanitizer)? {
        for target in &chosen {
            if let Err(error) = one(target, options, sanitizer) {
                println!("{target}: {error:#}");
                failed.push(format!("{target} ({})", sanitizer.name()));
            }
        }
    }
    fuzzer(&["summary", &folder().to_string_lossy()])?;
    if !failed.is_empty() {
        bail!("campaigns that failed: {}", failed.join(", "));
    }
    Ok(())
}

fn sanitizers(watch: Watch) -> Result<Vec<Sanitizer>> {
    let missing = Sanitizer::Address.missing();
    match (watch, missing) {
        (Watch::None, _) => Ok(vec![Sanitizer::None]),
        (Watch::Address, None) => Ok(vec![Sanitizer::Address]),
        (Watch::Address, Some(why)) => bail!("{why}"),
        (Watch::Both, None) => Ok(vec![Sanitizer::None, Sanitizer::Address]),
        (Watch::Both, Some(why)) => {
            println!("skipped: {why}");
            Ok(vec![Sanitizer::None])
        }
    }
}

/// The canaries are counted by replaying what libFuzzer kept.
fn one(target: &str, options: &Options, sanitizer: Sanitizer) -> Result<()> {
    let folders = Folders::of(target, sanitizer);
    folders.prepare(options.resume)?;
    fuzzer(&["seeds", target, &folders.seeds.to_string_lossy()])?;
    let binary = engine::build(target, sanitizer, &folders.log)?;
    let engine = Engine {
        binary,
        folders: vec![&folders.corpus, &folders.seeds],
        artifacts: &shell::root().join("fuzz/artifacts").join(target),
        log: &folders.log,
        dictionary: engine::dictionary(target),
        length_max: engine::input_length_max(&folders.seeds)?,
        time_seconds: options.time,
        runs: options.runs,
        jobs: options.jobs,
        seed: options.seed,
        planted: None,
    };
    let outcome = engine.run()?;
    if let Some(input) = &outcome.artifact {
        report_finding(target, input);
    }
    if !outcome.success {
        bail!(
            "the campaign of {target} ended early; {} tells all",
            folders.log.display()
        );
    }
    count_canaries(target, &outcome, sanitizer, &folders)?;
    println!("{}", folders.report.display());
    Ok(())
}

fn count_canaries(target: &str, outcome: &Outcome, sanitizer: Sanitizer, folders: &Folders) -> Result<()> {
    let numbers = outcome.numbers();
    let number = |name| {
        numbers
            .iter()
            .find(|(other, _)| *other == name)
            .map_or(0, |(_, number)| *number)
    };
    println!(
        "{target}: {} executions a second ({} a core's second), {} edges, {} features, seed {}, {}",
        number("executions_per_second"),
        number("executions_per_processor_second"),
        number("edges"),
        number("features"),
        number("seed"),
        match sanitizer {
            Sanitizer::None => "no sanitizer",
            Sanitizer::Address => "AddressSanitizer",
        },
    );
    let mut arguments = vec!["canaries".to_owned(), target.to_owned()];
    arguments.push(folders.corpus.to_string_lossy().into_owned());
    arguments.push(format!("--report={}", folders.report.display()));
    arguments.push(format!("--sanitizer={}", sanitizer.name()));
    let measured = numbers.iter();
    arguments.extend(measured.map(|(name, number)| format!("--measured={name}={number}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    fuzzer(&arguments)
}

/// Where all campaigns keep what they make.
pub(super) fn folder() -> PathBuf {
    shell::target().join("fuzz")
}

/// Where a campaign keeps what it makes.
pub(super) struct Folders {
    /// What the engine keeps.
    pub corpus: PathBuf,
    /// The seeds, encoded.
    pub seeds: PathBuf,
    /// Everything that was printed.
    pub log: PathBuf,
    /// The numbers.
    report: PathBuf,
}

impl Folders {
    pub(super) fn of(target: &str, sanitizer: Sanitizer) -> Folders {
        let (all, suffix) = match sanitizer {
            Sanitizer::None => (folder().join(target), ""),
            Sanitizer::Address => (folder().join("address").join(target), "-address"),
        };
        Folders {
            corpus: all.join("corpus"),
            seeds: all.join("seeds"),
            log: all.join("log.txt"),
            report: folder().join(format!("{target}{suffix}.json")),
        }
    }

    fn prepare(&self, resume: bool) -> Result<()> {
        let stale = [&self.seeds, &self.corpus];
        for folder in &stale[..if resume { 1 } else { 2 }] {
            empty(folder)?;
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

/// Removes a folder that may be there.
pub(super) fn empty(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
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

const SMOKE_SECONDS: u64 = 10;
