//! `fuzzer`: what a campaign needs around libFuzzer, without libFuzzer: seeds, canaries, replays.

mod planted_verbs;
mod summary;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use conformance::program::Action;
use fuzz::bench;
use fuzz::canary::{self, Tally};
use fuzz::codec;
use fuzz::differential;
use fuzz::execution::{self, Answer, Finding, Observer};
use fuzz::guest::{self, Campaign};
use fuzz::parser;
use fuzz::program::Program;
use fuzz::promote::{self, Answers, Wish};
use fuzz::reduce;
use fuzz::seeds;
use fuzz::target::Target;
use fuzz::targets;
use indicatif::ProgressBar;
use vmm::machine::Machine;

use crate::summary::Report;

/// Fuzz targets: seeds, canaries and replays.
#[derive(Parser)]
#[command(name = "fuzzer", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists the targets, their set-ups and the states each one must reach.
    List {
        /// Names of the targets only.
        #[arg(long)]
        names: bool,
    },
    /// Writes a target's seeds, encoded, into a folder; it is made when it is not there.
    Seeds {
        /// The target.
        target: String,
        /// The folder.
        folder: PathBuf,
    },
    /// Replays a corpus and counts which states it reaches; fails when one is missed.
    Canaries {
        /// The target.
        target: String,
        /// Folder of inputs.
        folder: PathBuf,
        /// Also writes what was counted as JSON.
        #[arg(long)]
        report: Option<PathBuf>,
        /// What watched memory meanwhile, for the report.
        #[arg(long, default_value = "none")]
        sanitizer: String,
        /// A number for the report, measured by the campaign: `executions_per_second=12345`.
        #[arg(long = "measured", value_parser = measured)]
        measured: Vec<(String, u64)>,
    },
    /// Writes what the reports of campaigns in a folder say as one table, `summary.md`, and prints it.
    Summary {
        /// The folder.
        folder: PathBuf,
    },
    /// Measures how many random inputs a target runs in a second, without an engine.
    Bench {
        /// The target.
        target: String,
        /// Accesses of each input.
        #[arg(long, default_value_t = 32)]
        accesses: usize,
        /// For how long.
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
    /// Runs an input and prints it as a program with the reference's answers.
    Replay {
        /// The target.
        target: String,
        /// The input: bytes, or a program as text in a file `*.txt`.
        file: PathBuf,
        /// Runs it on this machine instead: qemu, or a FILE.toml that speaks qtest.
        #[arg(long)]
        subject: Option<String>,
    },
    /// Runs the same programs on the reference and on QEMU; fails on a difference that is not settled.
    Differential(differential::Arguments),
    /// Prints an input as a program.
    Show {
        /// The target.
        target: String,
        /// The input: bytes, or a program as text in a file `*.txt`.
        file: PathBuf,
    },
    /// Runs random guest programs against `microvm run` on KVM; fails when one harms the VMM.
    Guest(GuestArgs),
    /// Makes a regression case of an input: `golden/regress/NAME.txt`, which the suite takes up at every depth.
    Promote(PromoteArguments),
    /// Leaves out of an input what its finding does not need, and prints the rest as a program.
    Min {
        /// The target.
        target: String,
        /// The input: bytes, or a program as text in a file `*.txt`.
        file: PathBuf,
    },
    /// Planted bugs: their campaigns' seeds, and what showed them.
    #[command(subcommand)]
    Planted(planted_verbs::Verb),
}

#[derive(Args)]
struct PromoteArguments {
    /// The target.
    target: String,
    /// The input: bytes, or a program as text in a file `*.txt`.
    file: PathBuf,
    /// The case's name, in lower-case words joined by `-`.
    name: Option<String>,
    /// One sentence that says what holds.
    #[arg(long)]
    title: Option<String>,
    /// The clause, as `touchstone trace` lists them.
    #[arg(long)]
    clause: Option<String>,
    /// Who is right, and why.
    #[arg(long)]
    reason: Option<String>,
    /// Whose answers are right: `laws` (the machine survives, no more), `reference`, `qemu` or a FILE.toml.
    #[arg(long, default_value = "laws")]
    answers: String,
    /// The folder that the case goes to.
    #[arg(long, default_value = "golden/regress")]
    into: PathBuf,
}

#[derive(Args)]
struct GuestArgs {
    /// The VMM's binary.
    #[arg(long)]
    microvm: PathBuf,
    /// The image `agent`.
    #[arg(long)]
    agent: PathBuf,
    /// Programs to run.
    #[arg(long, default_value_t = 1000)]
    runs: u64,
    /// What they are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// VMM processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Runs this one program again, after those of its batch that came before it, and prints it.
    #[arg(long)]
    only: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Cli::parse().verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzzer: {error}");
            ExitCode::from(USAGE)
        }
    }
}

/// False when something was found or missed; an error when the question made no sense.
fn run(verb: &Verb) -> Result<bool, String> {
    match verb {
        Verb::List { names: true } => {
            let names = targets::ALL.iter().map(|target| target.name);
            let all = names.chain(parser::ALL.iter().map(|parser| parser.name));
            print(&all.map(|name| format!("{name}\n")).collect::<String>())
        }
        Verb::List { names: false } => print(&list()),
        Verb::Seeds { target, folder } => match parser::by_name(target) {
            Some(parser) => write_files(parser.name, &(parser.seeds)(), folder),
            None => write_seeds(find(target)?, folder),
        },
        Verb::Canaries {
            target,
            folder,
            report,
            sanitizer,
            measured,
        } => {
            let counted = match parser::by_name(target) {
                Some(parser) => parser_canaries(parser, folder)?,
                None => canaries(find(target)?, folder)?,
            };
            conclude(target, &counted, report.as_deref(), sanitizer, measured)
        }
        Verb::Summary { folder } => print(&summary::write(folder)?),
        Verb::Bench {
            target,
            accesses,
            seconds,
        } => {
            let target = find(target)?;
            let speed = bench::executions_per_second(target, *accesses, Duration::from_secs(*seconds))?;
            print(&format!("{}: {speed:.0} executions a second\n", target.name))
        }
        Verb::Differential(arguments) => differential::run(arguments),
        Verb::Replay {
            target,
            file,
            subject: Some(subject),
        } => {
            let target = find(target)?;
            differential::replay_on(subject, target, &read(target, file)?, print)
        }
        Verb::Replay {
            target,
            file,
            subject: None,
        } => {
            if let Some(parser) = parser::by_name(target) {
                let input = fs::read(file).map_err(|error| format!("read {}: {error}", file.display()))?;
                return print(&format!("reaches {}\n", parser::reached(parser, &input).join(", ")));
            }
            let target = find(target)?;
            replay(target, &read(target, file)?)
        }
        Verb::Show { target, file } => {
            let target = find(target)?;
            print(&read(target, file)?.text(target))
        }
        Verb::Guest(arguments) => run_guests(arguments),
        Verb::Planted(verb) => print(&planted_verbs::run(verb)?),
        Verb::Promote(arguments) => promote_input(arguments),
        Verb::Min { target, file } => {
            let target = find(target)?;
            shorten(target, &read(target, file)?)
        }
    }
}

fn list() -> String {
    let mut text = String::new();
    for target in targets::ALL {
        let setups: Vec<&str> = target.setups.iter().map(|setup| setup.name).collect();
        text.push_str(&format!("{}: {}\n", target.name, target.title));
        text.push_str(&format!("  setups: {}\n", setups.join(", ")));
        for canary in target.canaries {
            text.push_str(&format!("  {:<22} {}\n", canary.name, canary.meaning));
        }
    }
    for parser in parser::ALL {
        text.push_str(&format!("{}: {}\n", parser.name, parser.title));
        for canary in parser.canaries {
            text.push_str(&format!("  {:<22} {}\n", canary.name, canary.meaning));
        }
    }
    text
}

fn write_seeds(target: &Target, folder: &Path) -> Result<bool, String> {
    let all = seeds::all(target).map_err(|error| error.to_string())?;
    write_files(target.name, &all, folder)
}

fn write_files(target: &str, all: &[(String, Vec<u8>)], folder: &Path) -> Result<bool, String> {
    fs::create_dir_all(folder).map_err(|error| format!("create {}: {error}", folder.display()))?;
    for (name, bytes) in all {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|error| format!("write {}: {error}", path.display()))?;
    }
    print(&format!("{} seeds of {}\n", all.len(), target))
}

fn canaries(target: &Target, folder: &Path) -> Result<Counted, String> {
    let mut tally = Tally::new(target);
    let mut findings = Vec::new();
    for path in inputs(folder)? {
        if let Err(finding) = tally.add(target, &read(target, &path)?) {
            findings.push(format!("{}: {finding}", path.display()));
        }
    }
    Ok(Counted {
        programs: tally.programs,
        reached: tally.reached,
        findings,
    })
}

fn parser_canaries(parser: &parser::Parser, folder: &Path) -> Result<Counted, String> {
    let mut inputs_read = Vec::new();
    for path in inputs(folder)? {
        inputs_read.push(fs::read(&path).map_err(|error| format!("read {}: {error}", path.display()))?);
    }
    let reached = parser::tally(parser, inputs_read.iter().map(Vec::as_slice));
    Ok(Counted {
        programs: inputs_read.len() as u64,
        reached,
        findings: Vec::new(),
    })
}

/// The files of a corpus, sorted.
fn inputs(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let fail = |error: io::Error| format!("read {}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        paths.push(entry.map_err(fail)?.path());
    }
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// What a corpus reaches.
struct Counted {
    programs: u64,
    reached: BTreeMap<&'static str, u64>,
    findings: Vec<String>,
}

fn conclude(
    target: &str,
    counted: &Counted,
    report: Option<&Path>,
    sanitizer: &str,
    measured: &[(String, u64)],
) -> Result<bool, String> {
    let missing = counted.reached.iter().filter(|(_, count)| **count == 0);
    let missed: Vec<&'static str> = missing.map(|(name, _)| *name).collect();
    let mut text = format!("{target}: {} inputs reach\n", counted.programs);
    for (name, count) in &counted.reached {
        text.push_str(&format!("  {name:<22} {count}\n"));
    }
    print(&text)?;
    if let Some(path) = report {
        let report = Report {
            target: target.to_owned(),
            sanitizer: sanitizer.to_owned(),
            measured: measured.iter().cloned().collect(),
            programs: counted.programs,
            canaries: counted
                .reached
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            missed: missed.iter().map(|name| (*name).to_owned()).collect(),
            findings: counted.findings.clone(),
        };
        let json = serde_json::to_string_pretty(&report).map_err(|error| format!("write the report: {error}"))?;
        fs::write(path, json + "\n").map_err(|error| format!("write {}: {error}", path.display()))?;
    }
    for finding in &counted.findings {
        eprintln!("{finding}");
    }
    if !missed.is_empty() {
        eprintln!(
            "{target}: not reached: {}; run longer, or add a seed",
            missed.join(", ")
        );
    }
    Ok(missed.is_empty() && counted.findings.is_empty())
}

/// Prints every action with its answer as it happens, so that a panic comes after what led to it.
fn replay(target: &Target, program: &Program) -> Result<bool, String> {
    print(&program.heading(target))?;
    let ended = execution::run(target, program, &mut Printer);
    let reached = canary::reached(target, program);
    let reached: Vec<String> = reached.iter().map(|(name, at)| format!("{name} at {at}")).collect();
    print(&format!(
        "# {} actions; reaches {}\n",
        program.actions.len(),
        if reached.is_empty() {
            "no canary".to_owned()
        } else {
            reached.join(", ")
        }
    ))?;
    match ended.and_then(|_| execution::check_program(target, program, true)) {
        Ok(()) => print("# no finding\n"),
        Err(finding) => print(&format!("# finding: {finding}\n")).map(|_| false),
    }
}

fn run_guests(arguments: &GuestArgs) -> Result<bool, String> {
    if let Err(error) = fs::File::options().read(true).write(true).open("/dev/kvm") {
        return print(&format!("skipped: /dev/kvm: {error}\n"));
    }
    let campaign = Campaign {
        microvm: arguments.microvm.clone(),
        agent: arguments.agent.clone(),
        runs: arguments.runs,
        seed: arguments.seed,
        jobs: arguments.jobs,
    };
    let (summary, seconds) = guest::timed(|| match arguments.only {
        Some(index) => {
            let first = guest::first_of_batch(index);
            let setup = guest::setup_of(index);
            print(&format!(
                "# program {index} of seed {}, set-up {}\n",
                campaign.seed, setup.name
            ))?;
            for step in guest::generate::program(setup, campaign.seed, index) {
                print(&format!("{step}\n"))?;
            }
            guest::run_batch(&campaign, first, index + 1, &ProgressBar::hidden())
        }
        None => guest::run(&campaign),
    });
    let summary = summary?;
    print(&summary.text(seconds))?;
    for (index, finding) in &summary.findings {
        let (seed, setup) = (campaign.seed, guest::setup_of(*index).name);
        let again = format!("cargo xtask fuzz guest --seed {seed} --only {index}");
        let finding = finding.trim_end();
        print(&format!(
            "guest: finding in program {index} (set-up {setup}): {finding}\n  see it again: {again}\n"
        ))?;
    }
    Ok(summary.findings.is_empty())
}

fn shorten(target: &Target, program: &Program) -> Result<bool, String> {
    panic::set_hook(Box::new(|_| {}));
    if reduce::failure(target, program).is_none() {
        return Err("nothing to reduce: the input shows no finding".to_owned());
    }
    let shorter = reduce::reduce(target, program);
    let failure = reduce::failure(target, &shorter).unwrap_or_default();
    print(&format!(
        "# {failure}\n# {} of {} actions\n{}",
        shorter.actions.len(),
        program.actions.len(),
        shorter.text(target)
    ))
}

fn promote_input(arguments: &PromoteArguments) -> Result<bool, String> {
    let target = find(&arguments.target)?;
    let program = read(target, &arguments.file)?;
    panic::set_hook(Box::new(|_| {}));
    let name = arguments
        .name
        .clone()
        .unwrap_or_else(|| promote::name_of(target, &program));
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.chars().all(is_word) || name.starts_with('-') || name.ends_with('-') || name.is_empty() {
        return Err(format!("case name '{name}': wants lower-case words joined by '-'"));
    }
    let wish = Wish {
        name: name.clone(),
        title: arguments.title.clone(),
        clause: arguments.clause.clone(),
        reason: arguments.reason.clone(),
        answers: match arguments.answers.as_str() {
            "laws" => Answers::Laws,
            "reference" => Answers::Reference,
            subject => Answers::Subject(subject.to_owned()),
        },
    };
    let text = promote::text(target, &program, &wish)?;
    let path = arguments.into.join(format!("{name}.txt"));
    fs::create_dir_all(&arguments.into).map_err(|error| format!("create {}: {error}", arguments.into.display()))?;
    let file = fs::File::create_new(&path).map_err(|error| format!("create {}: {error}", path.display()));
    let written = file?.write_all(text.as_bytes());
    written.map_err(|error| format!("write {}: {error}", path.display()))?;
    let device = target.name.replace('_', "-");
    print(&format!(
        "{text}{}: a case from now on: cargo xtask conformance --filter regress/{device}/{name}\n",
        path.display()
    ))
}

struct Printer;

impl Observer for Printer {
    fn before(&mut self, _machine: &Machine, action: &Action) {
        let mut out = io::stdout().lock();
        // A reader that went away is no reason to stop.
        let _gone = write!(out, "{action}").and_then(|()| out.flush());
    }

    fn after(&mut self, _machine: &Machine, _number: usize, _action: &Action, answer: &Answer) -> Result<(), Finding> {
        let _gone = writeln!(io::stdout(), "{answer}");
        Ok(())
    }
}

fn find(name: &str) -> Result<&'static Target, String> {
    targets::by_name(name).ok_or_else(|| {
        if parser::by_name(name).is_some() {
            return format!("target '{name}' takes files, not programs; its inputs are read with any editor");
        }
        let names = targets::ALL.map(|target| target.name).join(", ");
        format!("no target '{name}'; there are: {names}")
    })
}

/// An input as bytes, or as text when its name ends in `.txt`.
fn read(target: &Target, file: &Path) -> Result<Program, String> {
    let bytes = fs::read(file).map_err(|error| format!("read {}: {error}", file.display()))?;
    if file.extension().is_none_or(|extension| extension != "txt") {
        return Ok(codec::decode(target, &bytes));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{}: not UTF-8 text", file.display()))?;
    Program::parse(target, &text).map_err(|error| format!("{}: {error}", file.display()))
}

fn print(text: &str) -> Result<bool, String> {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(true),
        // `| head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err(format!("print: {error}")),
    }
}

fn measured(text: &str) -> Result<(String, u64), String> {
    let (name, number) = text.split_once('=').ok_or("wants NAME=NUMBER")?;
    let number = number.parse().map_err(|error| format!("'{number}': {error}"))?;
    Ok((name.to_owned(), number))
}

/// Exit code for a question that made no sense.
const USAGE: u8 = 2;
