//! Commands for use at scale: `touchstone record` and what works on reports of many runs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use conformance::catalog;
use conformance::layout::Layout;
use conformance::machine::Depth;
use conformance::record;
use conformance::recording::Recording;
use conformance::report::{self, Report, merge};
use conformance::runner::{Options, Selection};
use conformance::subject::{Lane, Subject, Wanted};

use super::recordings::progress_bar;
use super::{End, out};

/// Arguments of `record`.
#[derive(Args)]
pub(crate) struct RecordArguments {
    /// Subject: reference, qemu, mutant:NAME or FILE.toml.
    #[arg(long, default_value = "reference")]
    subject: String,
    /// Only cases with this id, prefix or glob; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    filter: Vec<String>,
    /// At this depth, bus or wire; the default is the first of them that the subject has.
    #[arg(long, value_parser = super::parse_depth)]
    depth: Option<Depth>,
    /// As this profile; the default is the subject's first.
    #[arg(long, value_parser = super::parse_profile)]
    profile: Option<&'static Layout>,
    /// FILE.txt, or a folder for one file for each area.
    #[arg(long, value_name = "FILE.txt|DIR")]
    out: PathBuf,
}

/// Verbs of `report`.
#[derive(Subcommand)]
pub(crate) enum ReportCommand {
    /// Makes one report of those of partitions or of many machines.
    Merge {
        /// Reports of `run --report`, of one version of the suite.
        #[arg(required = true, num_args = 2..)]
        files: Vec<PathBuf>,
        /// The merged report.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Records a subject.
pub(crate) fn record(arguments: &RecordArguments) -> Result<(), End> {
    let usage = |problem: String| End::new(End::USAGE, problem);
    let selection = Selection {
        filters: arguments.filter.clone(),
        ..Selection::default()
    };
    let cases: Vec<_> = catalog::all().filter(|case| selection.selects(case)).collect();
    if cases.is_empty() {
        return Err(super::no_such_case(&arguments.filter));
    }
    let subject = Subject::find(&arguments.subject).map_err(|error| usage(error.to_string()))?;
    let lane = recordable(&subject, arguments)?;
    super::recordings::adapters(&lane)?;
    // Before the run, so that none is lost to a misspelt path.
    let is_file = arguments.out.extension().is_some_and(|extension| extension == "txt");
    if is_file {
        super::try_file(&arguments.out)?;
    } else {
        let create = |error| usage(format!("{}: create: {error}", arguments.out.display()));
        fs::create_dir_all(&arguments.out).map_err(create)?;
    }
    let bar = progress_bar(cases.len());
    let mut progress = |case: &str| {
        bar.set_message(case.to_owned());
        bar.inc(1);
    };
    let (lane, outcome) = record::record(lane, &cases, &Options::default(), &mut progress);
    bar.finish_and_clear();
    if let Some(reason) = lane.ways.iter().find_map(|way| way.health.never_started())
        && !lane.ways.iter().any(|way| way.health.has_started())
    {
        return Err(End::new(End::NOT_STARTED, format!("{}: {reason}", lane.title())));
    }
    let mut recording = outcome.recording;
    recording.source = format!("{}, {}", version(&subject), lane.title());
    let mut reasons: Vec<&str> = outcome.left_out.iter().map(|(_, reason)| reason.as_str()).collect();
    reasons.sort_unstable();
    for group in reasons.chunk_by(|a, b| a == b) {
        out(&format!("left out {:>4} cases: {}", group.len(), group[0]));
    }
    if recording.records.is_empty() {
        return Err(End::new(End::NOTHING, "no case could be recorded"));
    }
    let header = header(&subject, &lane);
    if is_file {
        return write_records(&arguments.out, &recording, "", &header);
    }
    for area in recording.areas() {
        let file = arguments.out.join(format!("{area}.txt"));
        write_records(&file, &recording, &format!("{area}/"), &header)?;
    }
    Ok(())
}

/// Works on several reports.
pub(crate) fn report(command: &ReportCommand) -> Result<(), End> {
    let ReportCommand::Merge { files, out: into } = command;
    let mut reports = Vec::new();
    for file in files {
        reports.push((file.display().to_string(), read_report(file)?));
    }
    let merged = merge::merge(&reports, std::env::args().collect()).map_err(|problem| End::new(End::USAGE, problem))?;
    super::try_file(into)?;
    let write = |error| End::new(End::USAGE, format!("{}: write: {error}", into.display()));
    fs::write(into, merged.to_json()).map_err(write)?;
    let (lanes, results) = (merged.lanes.len(), merged.results.len());
    out(&format!(
        "{}: {lanes} lanes, {results} results, {}",
        into.display(),
        merged.totals()
    ));
    Ok(())
}

/// Reads a report.
pub(crate) fn read_report(file: &Path) -> Result<Report, End> {
    let usage = |problem: String| End::new(End::USAGE, format!("{}: {problem}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| usage(format!("read: {error}")))?;
    Report::parse(&text).map_err(usage)
}

/// The lane that is wanted, at a depth where a program has the same meaning each time.
fn recordable(subject: &Subject, arguments: &RecordArguments) -> Result<Lane, End> {
    let usage = |problem: String| End::new(End::USAGE, problem);
    let depths = match arguments.depth {
        Some(depth @ (Depth::Bus | Depth::Wire)) => vec![depth],
        Some(depth) => return Err(usage(format!("--depth {depth}: recordings are made at bus or wire"))),
        None => vec![Depth::Bus, Depth::Wire],
    };
    let wanted = Wanted {
        depths,
        profiles: arguments.profile.into_iter().collect(),
        ..Wanted::default()
    };
    let lane = subject.lanes(&wanted).map_err(usage)?.into_iter().next();
    let name = &arguments.subject;
    lane.ok_or_else(|| {
        usage(format!(
            "subject {name} has neither depth bus nor wire as wanted; see --depth, --profile"
        ))
    })
}

fn version(subject: &Subject) -> String {
    subject.version().unwrap_or_else(|| subject.description.title.clone())
}

/// What a reader of a recording wants to know beyond its machine; [`Recording::read`] passes over it.
fn header(subject: &Subject, lane: &Lane) -> String {
    let mut text = format!("# suite: touchstone {}\n", env!("CARGO_PKG_VERSION"));
    let _infallible = writeln!(text, "# subject: {}, depth {}", subject.description.title, lane.depth);
    for launch in subject.description.launches(lane.depth) {
        let dot = if launch.name.is_empty() { "" } else { " " };
        let command = launch.command.join(" ").replace('\n', " ");
        let _infallible = writeln!(text, "# command{dot}{}: {command}", launch.name);
    }
    let _infallible = writeln!(text, "# date: {}", report::timestamp(SystemTime::now()));
    text
}

fn write_records(file: &Path, recording: &Recording, prefix: &str, header: &str) -> Result<(), End> {
    let text = recording.to_text(prefix);
    // Source and profile first, as in every recording.
    let end = text.match_indices('\n').nth(1).map_or(text.len(), |(at, _)| at + 1);
    let text = format!("{}{header}{}", &text[..end], &text[end..]);
    let write = |error| End::new(End::USAGE, format!("{}: write: {error}", file.display()));
    fs::write(file, &text).map_err(write)?;
    let records = recording
        .records
        .iter()
        .filter(|record| record.name.starts_with(prefix))
        .count();
    out(&format!(
        "{}: {records} records, {} lines",
        file.display(),
        text.lines().count()
    ));
    Ok(())
}
