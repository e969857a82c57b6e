//! `touchstone`: the suite's command line.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

mod benches;
mod mutants;
mod recordings;
mod scale;

use clap::{Args, Parser, Subcommand, ValueEnum};
use conformance::bench::{Bench, Guest};
use conformance::case::Case;
use conformance::catalog;
use conformance::expectation::Expectations;
use conformance::layout::Layout;
use conformance::machine::{Attempt, Depth};
use conformance::report::{Circumstances, Report, capsule, html, junit, markdown, tap, terminal};
use conformance::runner::{self, CaseResult, Options, Plan, Progress, Selection};
use conformance::spec;
use conformance::subject::linux::Form;
use conformance::subject::{Lane, Subject, Wanted, check, profile, remains};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Conformance suite for the microvm machine model.
#[derive(Parser)]
#[command(name = "touchstone", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs cases against subjects and judges.
    ///
    /// Exit codes: 0 as expected, 1 not as expected, 2 wrong usage, 3 a subject did not start, 4 nothing selected.
    Run(Box<RunArguments>),
    /// Lists the cases.
    List(ListArguments),
    /// Shows one case: what it requires, where that comes from, and how to run it.
    Explain {
        /// The case's id.
        id: String,
        /// A report.json of `run --report`, whose results for the case are shown, too.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Holds clauses and cases against each other: neither may stand alone.
    Trace,
    /// Writes the specification as pages, or checks that a folder has them as they are now.
    Spec {
        /// Write the pages into this folder.
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
        /// Fail when a page in this folder is another.
        #[arg(long, value_name = "DIR", conflicts_with = "write")]
        check: Option<PathBuf>,
    },
    /// Prints a subject's expectations as a report has them, for review.
    Expectations(scale::ExpectationsArguments),
    /// Shows, writes or checks the frozen list of Must cases that conformance to a profile means.
    Mustpass(scale::MustpassArguments),
    /// Renders a report again, or merges several.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Report {
        #[command(subcommand)]
        command: Option<scale::ReportCommand>,
        /// A report.json of `run --report`.
        #[arg(required = true)]
        file: Option<PathBuf>,
        /// What to make of it.
        #[arg(long, value_enum, default_value = "md")]
        format: ReportFormat,
    },
    /// Works on subject files.
    Subject {
        #[command(subcommand)]
        command: SubjectCommand,
    },
    /// Lists the planted bugs that `--subject mutant:NAME` has, or counts how many the suite catches.
    Mutants(mutants::MutantsArguments),
    /// Holds a recording of a real machine against a subject, answer by answer.
    Replay(recordings::ReplayArguments),
    /// Runs the cases' programs on a subject and keeps its answers as a recording.
    Record(scale::RecordArguments),
    /// Works on recordings.
    Recording {
        #[command(subcommand)]
        command: recordings::RecordingCommand,
    },
    /// Measures VMMs side by side.
    Bench {
        #[command(subcommand)]
        command: benches::BenchCommand,
    },
    /// Works on goldens.
    Golden {
        #[command(subcommand)]
        command: recordings::GoldenCommand,
    },
    /// Ends what another touchstone leaves behind; it is started by that one.
    #[command(hide = true)]
    Guard,
}

#[derive(Subcommand)]
enum SubjectCommand {
    /// Tries a subject out: does it start, speak and answer at each depth?
    Check {
        /// Name or FILE.toml.
        subject: String,
        /// Folder with the guest images.
        #[arg(long, value_name = "DIR")]
        images: Option<PathBuf>,
    },
}

#[derive(Args)]
struct SelectArguments {
    /// Only cases with this id, prefix (`rtc`, `rtc/register-c`) or glob (`*/read-*`); may be repeated.
    #[arg(long, value_name = "PATTERN")]
    filter: Vec<String>,
    /// Only these depths: bus, wire, cpu, guest.
    #[arg(long, value_delimiter = ',', value_parser = parse_depth)]
    depth: Vec<Depth>,
    /// Only these profiles; the default is the subject's first, and at depth bus all of them.
    #[arg(long, value_delimiter = ',')]
    profile: Vec<String>,
    /// Only the K-th of N parts of the suite; a case is always in the same.
    #[arg(long, value_name = "K/N", value_parser = parse_partition)]
    partition: Option<(usize, usize)>,
}

#[derive(Args)]
struct RunArguments {
    /// Subject: reference, qemu, null, mutant:NAME or FILE.toml; may be repeated.
    #[arg(long, default_value = "reference")]
    subject: Vec<String>,
    #[command(flatten)]
    select: SelectArguments,
    /// Start subjects only this way (the name of a table in the subject file): kvm, tcg, paused, running.
    #[arg(long, value_name = "NAME")]
    accel: Option<String>,
    /// Fail when one of these depths cannot be run here.
    #[arg(long, value_delimiter = ',', value_parser = parse_depth)]
    require: Vec<Depth>,
    /// Fail when more results than this are skipped: not applicable, unsupported, or known deviations.
    #[arg(long, value_name = "N")]
    max_skips: Option<usize>,
    /// List what would run and stop.
    #[arg(long)]
    list: bool,
    /// With --list: text or json.
    #[arg(long, value_enum, default_value = "text")]
    format: ListFormat,
    /// Boot the subjects this many times, in turn, beside the least that runs a guest on KVM; report times and exits.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    boots: Option<u32>,
    /// What --boots boots. Linux needs a KVM that can run it, as the lab has.
    #[arg(long, value_enum, value_name = "GUEST", default_value = "toll", requires = "boots")]
    boots_image: Guest,
    /// Cases at the same time; the default is the number of processors.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Run in another order, from this seed or from one that is printed.
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true)]
    shuffle: Option<Option<u64>>,
    /// Run each case this many times; all must end alike.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Longest run of one case, in milliseconds.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    case_limit_ms: u64,
    /// This host is slow: every limit in time, the one of a case and those of subject files, is N times as long.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    patience: u64,
    /// Folder with the guest images.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Boot this kernel, a vmlinux or a bzImage, in the cases that boot Linux; the default is in the folder of images.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// What is known of the subject; the default is golden/expectations/SUBJECT.toml above the current folder.
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
    /// Judge without expectations.
    #[arg(long, conflicts_with = "expectations")]
    no_expectations: bool,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write it as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write it as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write it as one HTML page that needs nothing beside it.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write it as TAP version 14.
    #[arg(long, value_name = "FILE")]
    tap: Option<PathBuf>,
    /// For each unexpected result write a folder with all that is needed to look into it elsewhere.
    #[arg(long, value_name = "DIR")]
    capsules: Option<PathBuf>,
    /// Let a recorded machine take part, too: a folder of text files or FILE.txt; may be repeated.
    #[arg(long, value_name = "RECORDING")]
    recording: Vec<PathBuf>,
    /// Print the matrix of cases and subjects.
    #[arg(long)]
    matrix: bool,
    /// Keep the transcripts of cases that passed, too.
    #[arg(long)]
    transcripts: bool,
    /// What reports call this host, beside its own facts.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The command that reports give for repeating a case, up to its options.
    #[arg(long, value_name = "WORDS", default_value = "cargo xtask conformance")]
    replay_by: String,
}

#[derive(Args)]
struct ListArguments {
    /// Only cases with this id, prefix or glob; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    filter: Vec<String>,
    /// Text or json.
    #[arg(long, value_enum, default_value = "text")]
    format: ListFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum ListFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum ReportFormat {
    Md,
    Html,
    Junit,
    Tap,
    Matrix,
    Summary,
}

fn main() -> ExitCode {
    let end = match Cli::try_parse() {
        Ok(cli) => execute(cli.command),
        Err(error) => refused_arguments(&error),
    };
    let end = end.and_then(|()| match LOST_OUTPUT.get() {
        Some(problem) => Err(End::new(End::UNEXPECTED, format!("standard output: {problem}"))),
        None => Ok(()),
    });
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(End { code, message }) => {
            if let Some(message) = message {
                complain(&message);
            }
            ExitCode::from(code)
        }
    }
}

fn execute(command: Command) -> Result<(), End> {
    match command {
        Command::Run(arguments) => run(&arguments),
        Command::List(arguments) => list(&arguments),
        Command::Explain { id, report } => explain(&id, report.as_deref()),
        Command::Expectations(arguments) => scale::expectations(&arguments),
        Command::Mustpass(arguments) => scale::mustpass(&arguments),
        Command::Report {
            command: Some(command), ..
        } => scale::report(&command),
        Command::Report { file, format, .. } => report(&file.unwrap_or_default(), format),
        Command::Subject {
            command: SubjectCommand::Check { subject, images },
        } => {
            watch_signals(false)?;
            check_subject(&subject, images.as_deref())
        }
        Command::Replay(arguments) => {
            watch_signals(false)?;
            recordings::replay(&arguments)
        }
        Command::Record(arguments) => {
            watch_signals(false)?;
            scale::record(&arguments)
        }
        Command::Recording { command } => recordings::recording(&command),
        Command::Golden { command } => {
            watch_signals(false)?;
            recordings::golden(&command)
        }
        Command::Bench {
            command: benches::BenchCommand::Boot(arguments),
        } => {
            watch_signals(false)?;
            bench_boot(&arguments)
        }
        Command::Guard => {
            remains::guard(io::stdin().lock());
            Ok(())
        }
        Command::Trace => trace(),
        Command::Spec { write, check } => specification(write.as_deref(), check.as_deref()),
        Command::Mutants(arguments) => mutants::mutants(&arguments),
    }
}

/// Help and version are what was asked for; anything else is one line instead of clap's paragraphs.
fn refused_arguments(error: &clap::Error) -> Result<(), End> {
    let text = error.to_string();
    match error.kind() {
        clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => {
            out(&text);
            return Ok(());
        }
        clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let words = "a command is missing: write touchstone run, list, explain, report, subject check, mutants, \
                         replay, recording import or golden verify; see --help";
            return Err(End::new(End::USAGE, words));
        }
        _ => {}
    }
    let is_wanted = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
    let lines: Vec<&str> = text.lines().take_while(is_wanted).collect();
    let paragraphs = lines.split(|line| line.trim().is_empty());
    let paragraphs = paragraphs.map(|lines| lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" "));
    let paragraphs: Vec<String> = paragraphs.filter(|paragraph| !paragraph.is_empty()).collect();
    let line = paragraphs.join("; ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    Err(End::new(End::USAGE, format!("{line}; see --help")))
}

/// An end that is not success.
struct End {
    code: u8,
    message: Option<String>,
}

impl End {
    const UNEXPECTED: u8 = 1;
    const USAGE: u8 = 2;
    const NOT_STARTED: u8 = 3;
    const NOTHING: u8 = 4;

    fn new(code: u8, message: impl Into<String>) -> End {
        End {
            code,
            message: Some(message.into()),
        }
    }
}

fn run(arguments: &RunArguments) -> Result<(), End> {
    let started = SystemTime::now();
    let begin = Instant::now();
    let images = images(arguments.images.as_deref())?;
    if let Some(kernel) = &arguments.kernel {
        Form::of_file(kernel).map_err(|problem| End::new(End::USAGE, format!("--kernel {problem}")))?;
    }
    let mut wanted = Wanted {
        depths: arguments.select.depth.clone(),
        profiles: Vec::new(),
        way: arguments.accel.clone(),
        images,
        kernel: arguments.kernel.clone(),
        patience: arguments.patience,
    };
    let found = arguments.subject.iter().map(|name| Subject::find(name));
    let found: Vec<Subject> = found
        .collect::<Result<_, _>>()
        .map_err(|error| End::new(End::USAGE, error.to_string()))?;
    for name in &arguments.select.profile {
        wanted.profiles.push(profile_of(name, &found)?);
    }
    let mut subjects = Vec::new();
    let mut lanes = Vec::new();
    for subject in found {
        let taken = |(other, _): &(Subject, _)| other.description.name == subject.description.name;
        if subjects.iter().any(taken) {
            let name = &subject.description.name;
            return Err(End::new(
                End::USAGE,
                format!("--subject: two subjects are named '{name}'; leave one or rename it"),
            ));
        }
        lanes.extend(
            subject
                .lanes(&wanted)
                .map_err(|problem| End::new(End::USAGE, problem))?,
        );
        let expectations = expectations(arguments, &subject)?;
        subjects.push((subject, expectations));
    }
    if let Some(way) = &arguments.accel {
        check_way(way, &subjects)?;
    }
    let selection = Selection {
        filters: arguments.select.filter.clone(),
        partition: arguments.select.partition,
        shuffle_seed: arguments.shuffle.map(|seed| seed.unwrap_or_else(fresh_seed)),
    };
    let plan = Arc::new(Plan::new(lanes, &selection));
    if plan.units.is_empty() {
        return Err(nothing_selected(arguments, &plan));
    }
    if arguments.list {
        list_units(&plan, arguments.format);
        return Ok(());
    }
    let mut options = Options {
        repeat: arguments.repeat,
        case_limit: Duration::from_millis(arguments.case_limit_ms * arguments.patience),
        ..Options::default()
    };
    if let Some(jobs) = arguments.jobs {
        options.jobs = usize::from(jobs);
    }
    // Before the run, so that none is lost to a misspelt path.
    for file in report_files(arguments).into_iter().flatten() {
        try_file(file)?;
    }
    if let Some(folder) = &arguments.capsules {
        capsule::prepare(folder).map_err(|problem| End::new(End::USAGE, format!("--capsules {problem}")))?;
    }
    let stop = watch_signals(true)?;
    let recorded = recordings::voices(&arguments.recording)?;
    let mut bar = Bar::new(plan.units.len());
    let results = runner::run(&plan, &options, &stop, &mut bar);
    bar.clear();
    let circumstances = Circumstances {
        command: std::env::args().collect(),
        seed: selection.shuffle_seed,
        started,
        duration: begin.elapsed(),
        subjects: &subjects,
        transcripts: arguments.transcripts,
        complete: selection.filters.is_empty() && selection.partition.is_none(),
        host: arguments.host.clone(),
        replay_by: &arguments.replay_by,
    };
    let mut report = Report::new(&plan, &results, &circumstances);
    for (recording, problems) in recorded {
        report.recordings.push(recording);
        report.problems.extend(problems);
    }
    report.problems.extend(missing_depths(&arguments.require, &plan));
    report
        .problems
        .extend(scale::too_many_skips(&report, arguments.max_skips));
    if stop.load(Ordering::Relaxed) {
        report.problems.push("the run was interrupted".to_owned());
    } else if let Some(runs) = arguments.boots {
        let subjects: Vec<&Subject> = subjects.iter().map(|(subject, _)| subject).collect();
        match side_by_side(&subjects, arguments.images.as_deref(), arguments.boots_image, runs) {
            Ok(boot) => report.boot = Some(boot),
            Err(problem) => report.problems.push(format!("--boots: {problem}")),
        }
    }
    let unwritten = write_files(arguments, &report);
    let uncapsuled = arguments
        .capsules
        .as_deref()
        .map_or(Ok(()), |folder| scale::write_capsules(folder, &report));
    if arguments.matrix {
        out(&terminal::matrix(&report));
    }
    let unstarted = never_started(&plan, &subjects);
    if let Some((subject, reason)) = &unstarted {
        complain(&format!("subject '{subject}' never started: {reason}"));
    }
    if let Some(boot) = &report.boot {
        out(&benches::table(boot));
        out("");
    }
    out(&terminal::summary(&report));
    unwritten?;
    uncapsuled?;
    match (unstarted, report.totals().failed) {
        (Some(_), _) => Err(End {
            code: End::NOT_STARTED,
            message: None,
        }),
        (None, 0) => Ok(()),
        (None, _) => Err(End {
            code: End::UNEXPECTED,
            message: None,
        }),
    }
}

fn list(arguments: &ListArguments) -> Result<(), End> {
    let selection = Selection {
        filters: arguments.filter.clone(),
        ..Selection::default()
    };
    let cases: Vec<_> = catalog::all().filter(|case| selection.selects(case)).collect();
    if cases.is_empty() {
        return Err(no_such_case(&arguments.filter));
    }
    match arguments.format {
        ListFormat::Text => cases.iter().for_each(|case| out(case.id)),
        ListFormat::Json => out(&catalog::to_json(&cases)),
    }
    Ok(())
}

fn explain(id: &str, report: Option<&Path>) -> Result<(), End> {
    let case: &Case = catalog::by_id(id).ok_or_else(|| no_such_case(&[id.to_owned()]))?;
    let report = report.map(scale::read_report).transpose()?;
    out(&catalog::explain(case));
    if let Some(report) = report {
        out(&terminal::results_of(&report, id));
    }
    Ok(())
}

fn report(file: &Path, format: ReportFormat) -> Result<(), End> {
    let usage = |problem: String| End::new(End::USAGE, format!("{}: {problem}", file.display()));
    let report = scale::read_report(file)?;
    match format {
        ReportFormat::Md => out(&markdown::render(&report)),
        ReportFormat::Html => out(&html::render(&report)),
        ReportFormat::Tap => out(&tap::render(&report)),
        ReportFormat::Junit => out(&junit::render(&report).map_err(usage)?),
        ReportFormat::Matrix => out(&terminal::matrix(&report)),
        ReportFormat::Summary => out(&terminal::summary(&report)),
    }
    Ok(())
}

fn check_subject(name: &str, folder: Option<&Path>) -> Result<(), End> {
    let subject = Subject::find(name).map_err(|error| End::new(End::USAGE, error.to_string()))?;
    let wanted = Wanted {
        images: images(folder)?,
        ..Wanted::default()
    };
    let lanes = subject
        .lanes(&wanted)
        .map_err(|problem| End::new(End::USAGE, problem))?;
    out(&format!("{}: {}", subject.description.name, subject.description.title));
    check::subject(&subject)
        .iter()
        .for_each(|attempt| show_attempt("  ", attempt));
    let mut good = 0;
    let mut bad = 0;
    for check in lanes.iter().flat_map(check::lane) {
        out(&format!("  {}", check.title));
        if let Some(reason) = &check.unavailable {
            out(&format!("    not tried: {reason}"));
        } else if check.is_good() {
            good += 1;
        } else {
            bad += 1;
        }
        check.attempts.iter().for_each(|attempt| show_attempt("    ", attempt));
    }
    match (good, bad) {
        (0, _) => Err(End::new(End::NOT_STARTED, "no way of it works here")),
        (_, 0) => Ok(()),
        (_, bad) => Err(End::new(
            End::UNEXPECTED,
            format!("{good} of its ways work, {bad} do not"),
        )),
    }
}

fn show_attempt(indent: &str, attempt: &Attempt) {
    match &attempt.fix {
        None => out(&format!("{indent}{:8}  {}", attempt.step, attempt.seen)),
        Some(fix) => {
            out(&format!("{indent}{:8}  FAILED: {}", attempt.step, attempt.seen));
            out(&format!("{indent}{:8}  fix: {fix}", ""));
        }
    }
}

fn list_units(plan: &Plan, format: ListFormat) {
    match format {
        ListFormat::Text => {
            for unit in &plan.units {
                out(&format!("{}  {}", plan.lanes[unit.lane].title(), unit.case.id));
            }
        }
        ListFormat::Json => {
            let units = plan.units.iter().map(|unit| (plan.lanes[unit.lane].title(), unit.case));
            out(&catalog::units_to_json(units));
        }
    }
}

fn expectations(arguments: &RunArguments, subject: &Subject) -> Result<Expectations, End> {
    if arguments.no_expectations {
        return Ok(Expectations::default());
    }
    if let Some(own) = subject.own_expectations() {
        return Ok(own);
    }
    let file = match &arguments.expectations {
        Some(file) => file.clone(),
        None => match find_above(&format!("golden/expectations/{}.toml", subject.description.name)) {
            Some(file) => file,
            None => return Ok(Expectations::default()),
        },
    };
    Expectations::read(&file).map_err(|error| End::new(End::USAGE, error.to_string()))
}

/// A file of the project, looked for from the current folder upwards.
fn find_above(name: &str) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let mut candidates = here.ancestors().map(|folder| folder.join(name));
    candidates.find(|path| path.is_file())
}

fn trace() -> Result<(), End> {
    let trace = spec::trace();
    out(&format!("{} clauses, {} cases", trace.clauses, trace.cases));
    let untested = trace
        .untested
        .iter()
        .map(|clause| format!("clause without a case: {clause}"));
    let unfounded = trace
        .unfounded
        .iter()
        .map(|case| format!("case without a clause: {case}"));
    let problems: Vec<String> = untested.chain(unfounded).collect();
    if problems.is_empty() {
        out("every clause has a case, every case has a clause");
        return Ok(());
    }
    Err(End::new(End::UNEXPECTED, problems.join("\n")))
}

fn specification(write: Option<&Path>, check: Option<&Path>) -> Result<(), End> {
    let pages = spec::pages();
    let mut stale = Vec::new();
    for (name, text) in &pages {
        if let Some(folder) = write {
            let file = folder.join(name);
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(&file, text));
            written.map_err(|error| End::new(End::USAGE, format!("{}: write: {error}", file.display())))?;
        } else if let Some(folder) = check {
            let have = fs::read_to_string(folder.join(name)).unwrap_or_default();
            stale.extend((have != *text).then_some(name.as_str()));
        } else {
            out(text);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    let stale = stale.join(", ");
    let text = format!("pages are not as the clauses are now: {stale}; run touchstone spec --write conformance/spec");
    Err(End::new(End::UNEXPECTED, text))
}

/// Boots of the subjects, when the cases are over and the host is quiet.
fn side_by_side(subjects: &[&Subject], folder: Option<&Path>, guest: Guest, runs: u32) -> Result<Bench, String> {
    let folder = images(folder).map_err(|end| end.message.unwrap_or_default())?;
    let folder = folder.ok_or("no guest images; build them with cargo xtask guest-images and give --images DIR")?;
    let floor = Subject::find("kvm-floor").map_err(|error| error.to_string())?;
    let all: Vec<&Subject> = std::iter::once(&floor).chain(subjects.iter().copied()).collect();
    benches::measure(&all, &folder, guest, runs)
}

fn bench_boot(arguments: &benches::BootArguments) -> Result<(), End> {
    let folder = images(arguments.images.as_deref())?;
    let folder = folder.ok_or_else(|| {
        let text = "bench boot: no guest images; build them with cargo xtask guest-images and give --images DIR";
        End::new(End::USAGE, text.to_owned())
    })?;
    let text = benches::boot(arguments, &folder).map_err(|(text, is_usage)| {
        let code = if is_usage { End::USAGE } else { End::UNEXPECTED };
        End::new(code, text)
    })?;
    out(&text);
    Ok(())
}

/// The folder of the guest images: as asked for, or `guest` beside the folder of this program, where a build puts them.
fn images(asked: Option<&Path>) -> Result<Option<PathBuf>, End> {
    if let Some(folder) = asked {
        if folder.is_dir() {
            return Ok(Some(folder.to_owned()));
        }
        let folder = folder.display();
        let text =
            format!("--images {folder}: no such folder; cargo xtask guest-images builds one and prints its name");
        return Err(End::new(End::USAGE, text));
    }
    let Ok(this) = std::env::current_exe() else {
        return Ok(None);
    };
    let folders = this.ancestors().skip(1).take(3).map(|folder| folder.join("guest"));
    let mut folders = folders.flat_map(|folder| [folder.join("x86_64-unknown-linux-gnu/guest"), folder]);
    Ok(folders.find(|folder| folder.join("agent").is_file()))
}

/// A way of starting that no subject has would run nothing, and look like success.
fn check_way(way: &str, subjects: &[(Subject, Expectations)]) -> Result<(), End> {
    let depths = [Depth::Wire, Depth::Cpu, Depth::Guest];
    let launches = subjects
        .iter()
        .flat_map(|(subject, _)| depths.map(|depth| subject.description.launches(depth)));
    let mut names: Vec<&str> = launches.flatten().map(|launch| launch.name.as_str()).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    if names.contains(&way) {
        return Ok(());
    }
    let choice = match names[..] {
        [] => "the subject's ways have no names; drop it".to_owned(),
        _ => format!("choose from {}", names.join(", ")),
    };
    Err(End::new(End::USAGE, format!("--accel {way}: no such way; {choice}")))
}

fn report_files(arguments: &RunArguments) -> [Option<&Path>; 5] {
    let RunArguments {
        report,
        junit,
        markdown,
        html,
        tap,
        ..
    } = arguments;
    [report, junit, markdown, html, tap].map(|file| file.as_deref())
}

/// Whether a report can be written there; what the file holds stays as it is.
fn try_file(file: &Path) -> Result<(), End> {
    let fail = |what: &str, error: &io::Error| {
        let text = format!("{}: {what}: {error}; choose another path", file.display());
        End::new(End::USAGE, text)
    };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| fail("create its folder", &error))?;
    }
    let opened = fs::OpenOptions::new().create(true).append(true).open(file);
    opened.map(|_| ()).map_err(|error| fail("write", &error))
}

/// Writes every report that can be written; the problems of the others make one message.
fn write_files(arguments: &RunArguments, report: &Report) -> Result<(), End> {
    let texts = [
        Ok(report.to_json()),
        junit::render(report),
        Ok(markdown::render(report)),
        Ok(html::render(report)),
        Ok(tap::render(report)),
    ];
    let mut problems = Vec::new();
    for (file, text) in report_files(arguments).into_iter().zip(texts) {
        let Some(file) = file else { continue };
        let written = text.and_then(|text| fs::write(file, text).map_err(|error| format!("write: {error}")));
        if let Err(problem) = written {
            problems.push(format!("{}: {problem}", file.display()));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(End::new(End::USAGE, problems.join("; ")))
    }
}

/// Depths that were required and could not be run.
fn missing_depths(required: &[Depth], plan: &Plan) -> Vec<String> {
    let mut problems = Vec::new();
    for &depth in required {
        let mut lanes = plan.lanes.iter().filter(|lane| lane.depth == depth).peekable();
        if lanes.peek().is_none() {
            problems.push(format!(
                "depth {depth} is required and the subject has no way to run it"
            ));
        }
        for lane in lanes {
            if let Some(reason) = lane.unavailable() {
                problems.push(format!("depth {depth} is required: {}: {reason}", lane.title()));
            }
        }
    }
    problems
}

/// A subject of which nothing started although it was tried, or a stranger's of which nothing is there.
fn never_started(plan: &Plan, subjects: &[(Subject, Expectations)]) -> Option<(String, String)> {
    for (subject, _) in subjects.iter().filter(|(subject, _)| subject.is_file()) {
        let name = &subject.description.name;
        let own = plan.lanes.iter().filter(|lane| lane.subject == *name);
        let reasons: Option<Vec<_>> = own.map(Lane::unavailable).collect();
        if let Some(reason) = reasons.and_then(|reasons| reasons.into_iter().next()) {
            return Some((name.clone(), reason));
        }
    }
    let failure = |lane: &Lane| lane.ways.iter().find_map(|way| way.health.never_started());
    let failed = plan.lanes.iter().find(|lane| failure(lane).is_some())?;
    let mut others = plan.lanes.iter().filter(|lane| lane.subject == failed.subject);
    let any = others.any(|lane| lane.ways.iter().any(|way| way.health.has_started()));
    if any {
        None
    } else {
        Some((failed.subject.clone(), failure(failed)?))
    }
}

fn nothing_selected(arguments: &RunArguments, plan: &Plan) -> End {
    let filters = &arguments.select.filter;
    if !filters
        .iter()
        .any(|filter| catalog::all().any(|case| catalog::matches(filter, case.id)))
        && !filters.is_empty()
    {
        return no_such_case(filters);
    }
    let text = if plan.lanes.is_empty() {
        "nothing selected: the subject has none of these depths, profiles and ways"
    } else {
        "nothing selected: no case runs at these depths, or the part of the partition is empty"
    };
    End::new(
        End::NOTHING,
        format!("{text}; see --list, --depth, --profile, --accel and --partition"),
    )
}

fn no_such_case(filters: &[String]) -> End {
    let filters = filters.join("', '");
    let near = catalog::near(&filters);
    let hint = if near.is_empty() {
        "see touchstone list".to_owned()
    } else {
        format!("near are {}", near.join(", "))
    };
    End::new(
        End::NOTHING,
        format!("nothing selected: no case matches '{filters}'; {hint}"),
    )
}

/// Catches interrupts. In an orderly end the first only raises the flag, so that running cases end and the report is
/// written; otherwise, and at the second, the program ends at once and takes its subjects with it.
fn watch_signals(orderly: bool) -> Result<Arc<AtomicBool>, End> {
    let guarded = std::env::current_exe().and_then(|program| remains::start_guard(&program));
    guarded.map_err(|error| End::new(End::UNEXPECTED, format!("start this program as a guard: {error}")))?;
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
        .map_err(|error| End::new(End::UNEXPECTED, format!("catch signals: {error}")))?;
    thread::spawn(move || {
        for _signal in signals.forever() {
            if orderly && !raised.swap(true, Ordering::Relaxed) {
                complain("interrupted: the cases that run are waited for; once more ends them");
                continue;
            }
            remains::exit(i32::from(End::UNEXPECTED));
        }
    });
    Ok(stop)
}

/// A seed that differs from run to run; it is printed, so that the run can be repeated.
fn fresh_seed() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    since.as_micros() as u64 % 1_000_000
}

/// A bar on a terminal, nothing elsewhere.
struct Bar {
    bar: indicatif::ProgressBar,
    unfine: u64,
}

impl Bar {
    fn new(total: usize) -> Bar {
        let bar = recordings::progress_bar(total);
        if let Ok(style) = indicatif::ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Bar { bar, unfine: 0 }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn done(&mut self, result: &CaseResult) {
        self.bar.inc(1);
        if !result.verdict.is_fine() {
            self.unfine += 1;
            self.bar.set_message(format!("{} not met", self.unfine));
        }
    }
}

fn parse_depth(word: &str) -> Result<Depth, String> {
    let depth = Depth::ALL.into_iter().find(|depth| depth.word() == word);
    depth.ok_or_else(|| "choose from bus, wire, cpu, guest".to_owned())
}

fn parse_profile(word: &str) -> Result<&'static Layout, String> {
    Layout::by_name(word).ok_or_else(|| format!("choose from {}", Layout::ALL.map(|layout| layout.profile).join(", ")))
}

/// A profile by its name: one of the suite's, or one that a subject brings along.
fn profile_of(name: &str, subjects: &[Subject]) -> Result<&'static Layout, End> {
    let of_subjects = || subjects.iter().find_map(|subject| subject.description.layout(name));
    Layout::by_name(name).or_else(of_subjects).ok_or_else(|| {
        let names = profile::names().join(", ");
        End::new(
            End::USAGE,
            format!("--profile: '{name}' is no profile; choose from {names}"),
        )
    })
}

fn parse_partition(word: &str) -> Result<(usize, usize), String> {
    let parts = word.split_once('/');
    let parts = parts.and_then(|(k, n)| Some((k.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    parts
        .filter(|(k, n)| 1 <= *k && k <= n)
        .ok_or_else(|| "write K/N with 1 <= K <= N, as in 1/4".to_owned())
}

/// Prints lines. A reader that has seen enough (`| head`) is no failure.
fn out(text: &str) {
    let mut stdout = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let written = write!(stdout, "{text}{end}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            LOST_OUTPUT.get_or_init(|| error.to_string());
        }
        _ => {}
    }
}

/// One line on standard error. Nobody may be there to read it, which changes nothing.
fn complain(text: &str) {
    let _unread = writeln!(io::stderr(), "touchstone: {text}");
}

/// Why something that was meant for standard output did not get there.
static LOST_OUTPUT: OnceLock<String> = OnceLock::new();
