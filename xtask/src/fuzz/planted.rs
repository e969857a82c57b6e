//! `cargo xtask fuzz planted`: which of the suite's planted bugs fuzzing finds, each in a campaign of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::engine::{self, Engine, Outcome, Sanitizer};
use super::{campaign, fuzzer_command};
use crate::shell;

/// What may be asked.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// The bugs, as `touchstone mutants` names them; all that a target is about when none is named.
    names: Vec<String>,
    /// Longest campaign for each, in seconds, on one core.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    time: u64,
    /// Seed of libFuzzer's random choices.
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Fails when fewer are found; all that are named when not given.
    #[arg(long)]
    at_least: Option<usize>,
}

/// A few bugs, one of each kind of device, that a campaign finds in seconds.
pub(crate) fn smoke() -> Result<()> {
    run(&Options {
        names: SMOKE.map(str::to_owned).to_vec(),
        time: 20,
        seed: 1,
        at_least: None,
    })
}

/// Runs a campaign for each bug, prints the table and keeps it.
pub(super) fn run(options: &Options) -> Result<()> {
    let known = planted()?;
    for name in &options.names {
        if !known.iter().any(|(other, _)| other == name) {
            bail!("no planted bug '{name}', or no target is about it; `touchstone mutants` lists all");
        }
    }
    let wanted = |name: &String| options.names.is_empty() || options.names.contains(name);
    let chosen: Vec<_> = known.into_iter().filter(|(name, _)| wanted(name)).collect();
    let folder = campaign::folder().join("planted");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let mut table = HEADING.to_owned();
    let mut found = 0;
    for (name, target) in &chosen {
        let row = one(name, target, options, &folder.join(name))?;
        found += usize::from(row.found);
        println!("{}", row.text.trim_end());
        table.push_str(&row.text);
    }
    let least = options
        .at_least
        .unwrap_or(if options.names.is_empty() { 20 } else { chosen.len() });
    let verdict = format!(
        "{found} of {} planted bugs found, each in at most {} s on one core\n",
        chosen.len(),
        options.time
    );
    print!("{verdict}");
    let path = campaign::folder().join("planted.md");
    fs::write(&path, format!("{table}\n{verdict}")).with_context(|| format!("write {}", path.display()))?;
    println!("{}", path.display());
    if found < least {
        bail!("{found} planted bugs were found, fewer than {least}");
    }
    Ok(())
}

/// A line of the table.
struct Row {
    text: String,
    found: bool,
}

fn one(name: &str, target: &str, options: &Options, folder: &Path) -> Result<Row> {
    campaign::empty(folder)?;
    let (corpus, seeds, log) = (folder.join("corpus"), folder.join("seeds"), folder.join("log.txt"));
    fs::create_dir_all(&corpus).with_context(|| format!("create {}", corpus.display()))?;
    let counts = asked(&["planted", "seeds", name, &seeds.to_string_lossy()])?;
    let (kept, shown) = counts.trim().split_once('\t').context("two numbers of seeds")?;
    let binary = engine::build(target, Sanitizer::None, &log)?;
    let engine = Engine {
        binary,
        folders: vec![&corpus, &seeds],
        artifacts: folder,
        log: &log,
        dictionary: None,
        length_max: engine::input_length_max(&seeds)?,
        time_seconds: options.time,
        runs: None,
        jobs: 1,
        seed: Some(options.seed),
        planted: Some(name),
    };
    let outcome = engine.run()?;
    let start = format!("| {name} | {target} | {kept} | {shown} |");
    let Some(input) = &outcome.artifact else {
        if !outcome.success {
            bail!("the campaign of {name} did not run; {} tells why", log.display());
        }
        let text = format!(
            "{start} not found | {} | {} | |\n",
            executions(&outcome),
            seconds(&outcome)
        );
        return Ok(Row { text, found: false });
    };
    let explained = asked(&["planted", "explain", name, &absolute(input).to_string_lossy()])?;
    let program = folder.join("program.txt");
    let (oracle, rest) = explained.split_once('\n').context("the oracle's name")?;
    fs::write(&program, rest).with_context(|| format!("write {}", program.display()))?;
    let actions: Vec<&str> = rest.lines().filter(|line| !line.starts_with(['#', 's'])).collect();
    let shown = match actions.len() {
        0..=ACTIONS_SHOWN_MAX => format!("`{}`", actions.join("; ")),
        count => format!("{count} actions"),
    };
    let text = format!(
        "{start} {oracle} | {} | {} | {shown} |\n",
        executions(&outcome),
        seconds(&outcome)
    );
    Ok(Row { text, found: true })
}

fn executions(outcome: &Outcome) -> u64 {
    outcome.measured("executions")
}

/// Seconds of one core, and from start to end.
fn seconds(outcome: &Outcome) -> String {
    let used = outcome
        .processor_seconds
        .map_or_else(|| "?".to_owned(), |used| format!("{used:.1}"));
    format!("{used} ({:.1})", outcome.seconds)
}

fn absolute(path: &Path) -> PathBuf {
    shell::root().join(path)
}

/// The bugs that a target is about, each with that target's name.
fn planted() -> Result<Vec<(String, String)>> {
    let text = asked(&["planted", "list"])?;
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    Ok(pairs
        .filter(|(_, target)| *target != "-")
        .map(|(name, target)| (name.to_owned(), target.to_owned()))
        .collect())
}

/// What the helper program answers.
fn asked(arguments: &[&str]) -> Result<String> {
    let mut command = fuzzer_command();
    let output = command
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", shell::line(&command), output.status);
    }
    String::from_utf8(output.stdout).context("the helper program answers in UTF-8")
}

const HEADING: &str = "\
| bug | target | seeds | left out | noticed by | executions | a core's seconds (the clock's) | shortest program |
|---|---|---|---|---|---|---|---|
";

/// Longer programs are counted in the table, and kept whole in a file.
const ACTIONS_SHOWN_MAX: usize = 4;

const SMOKE: [&str; 4] = [
    "fw-cfg-unknown-item-reads-ones",
    "ioapic-version-writable",
    "pit-bcd-ignored",
    "virtio-queue-select-unchecked",
];
