//! Commands for use at scale: `touchstone record` and what works on reports of many runs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use conformance::catalog;
use conformance::expectation::{Expectations, regenerate};
use conformance::files;
use conformance::layout::Layout;
use conformance::machine::Depth;
use conformance::mustpass::{self, List, Retired};
use conformance::program_file;
use conformance::record;
use conformance::recording::Recording;
use conformance::report::{self, Report, capsule, merge};
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
    /// Programs instead of cases: FILE.txt or a folder of such files, as in fuzz/seeds, or another recording; may be
    /// repeated.
    #[arg(long, value_name = "FILE.txt|DIR", conflicts_with = "filter")]
    programs: Vec<PathBuf>,
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

/// Arguments of `expectations`.
#[derive(Args)]
pub(crate) struct ExpectationsArguments {
    /// A report.json of `run --report`.
    report: PathBuf,
    /// Name of a subject of the report.
    #[arg(long)]
    subject: String,
    /// The present file; the default is golden/expectations/SUBJECT.toml above the current folder.
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
}

/// Arguments of `mustpass`.
#[derive(Args)]
pub(crate) struct MustpassArguments {
    /// The profile.
    #[arg(long, value_parser = super::parse_profile)]
    profile: &'static Layout,
    /// Bring golden/mustpass/PROFILE.txt up to date.
    #[arg(long)]
    write: bool,
    /// Fail when a listed case is gone without a line in golden/mustpass/retired.txt.
    #[arg(long, conflicts_with = "write")]
    check: bool,
}

/// Records a subject.
pub(crate) fn record(arguments: &RecordArguments) -> Result<(), End> {
    let usage = |problem: String| End::new(End::USAGE, problem);
    let mut programs = Vec::new();
    for path in &arguments.programs {
        programs.extend(program_file::read(path).map_err(|error| usage(error.to_string()))?);
    }
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
    let bar = progress_bar(if programs.is_empty() {
        cases.len()
    } else {
        programs.len()
    });
    let mut progress = |case: &str| {
        bar.set_message(case.to_owned());
        bar.inc(1);
    };
    let (lane, outcome) = if programs.is_empty() {
        record::record(lane, &cases, &Options::default(), &mut progress)
    } else {
        let outcome = record::record_programs(&lane, &programs, &mut progress);
        (lane, outcome)
    };
    bar.finish_and_clear();
    if let Some(reason) = lane.ways.iter().find_map(|way| way.health.never_started())
        && !lane.ways.iter().any(|way| way.health.has_started())
    {
        return Err(End::new(End::NOT_STARTED, format!("{}: {reason}", lane.title())));
    }
    let what = if programs.is_empty() { "cases" } else { "programs" };
    let mut recording = outcome.recording;
    recording.source = format!("{}, {}", version(&subject), lane.title());
    let mut reasons: Vec<&str> = outcome.left_out.iter().map(|(_, reason)| reason.as_str()).collect();
    reasons.sort_unstable();
    for group in reasons.chunk_by(|a, b| a == b) {
        out(&format!("left out {:>4} {what}: {}", group.len(), group[0]));
    }
    if outcome.masked != 0 {
        let (masked, takes) = (outcome.masked, record::TAKES);
        out(&format!("left out {masked:>4} answers: not the same in {takes} takes"));
    }
    if recording.records.is_empty() {
        return Err(End::new(End::NOTHING, format!("none of the {what} could be recorded")));
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

/// Prints expectations for review.
pub(crate) fn expectations(arguments: &ExpectationsArguments) -> Result<(), End> {
    let usage = |problem: String| End::new(End::USAGE, problem);
    let report = read_report(&arguments.report)?;
    let file = match &arguments.expectations {
        Some(file) => Some(file.clone()),
        None => super::find_above(&format!("golden/expectations/{}.toml", arguments.subject)),
    };
    let (present, text) = match &file {
        Some(file) => {
            let read = |error| usage(format!("{}: read: {error}", file.display()));
            let text = files::read_text(file, files::WRITTEN_BYTES_MAX).map_err(read)?;
            let place = file.display().to_string();
            let present = Expectations::parse(&place, &text).map_err(|error| usage(error.to_string()))?;
            (present, text)
        }
        None => (Expectations::default(), String::new()),
    };
    let text = regenerate::regenerate(&report, &arguments.subject, &present, &text).map_err(usage)?;
    out(&text);
    Ok(())
}

/// Shows, writes or checks a profile's list.
pub(crate) fn mustpass(arguments: &MustpassArguments) -> Result<(), End> {
    let usage = |problem: String| End::new(End::USAGE, problem);
    let layout = arguments.profile;
    let current = mustpass::current(layout);
    if !arguments.write && !arguments.check {
        current.iter().for_each(|id| out(id));
        return Ok(());
    }
    let name = "golden/mustpass/retired.txt";
    let retired = super::find_above(name).ok_or_else(|| {
        usage(format!(
            "{name}: not found from here upwards; run in the project's folder"
        ))
    })?;
    let file = retired.with_file_name(format!("{}.txt", layout.profile));
    let read = |file: &Path| {
        let text = files::read_text(file, files::WRITTEN_BYTES_MAX);
        text.map_err(|error| usage(format!("{}: read: {error}", file.display())))
    };
    let retired = Retired::parse(&retired.display().to_string(), &read(&retired)?).map_err(usage)?;
    let listed = if file.is_file() || arguments.check {
        mustpass::parse(&file.display().to_string(), &read(&file)?).map_err(usage)?
    } else {
        List::new()
    };
    let difference = mustpass::compare(layout, &listed, &retired);
    if !difference.vanished.is_empty() {
        let vanished = difference.vanished.join(", ");
        let text = format!("{}: gone without a line in {name}: {vanished}", file.display());
        return Err(End::new(End::UNEXPECTED, text));
    }
    let (retired, new) = (difference.retired.len(), difference.new.len());
    if arguments.write {
        let write = |error| usage(format!("{}: write: {error}", file.display()));
        fs::write(&file, mustpass::to_text(layout, &current)).map_err(write)?;
        out(&format!(
            "{}: {} ids, {new} of them new, {retired} retired",
            file.display(),
            current.len()
        ));
        return Ok(());
    }
    out(&format!("{}: {} ids", file.display(), listed.len()));
    for id in &difference.new {
        out(&format!("not listed yet: {id}"));
    }
    for id in &difference.retired {
        out(&format!("retired, and still listed: {id}"));
    }
    Ok(())
}

/// A run that is allowed fewer skips than it has.
pub(crate) fn too_many_skips(report: &Report, allowed: Option<usize>) -> Option<String> {
    let skipped = report.totals().skipped;
    let allowed = allowed.filter(|allowed| *allowed < skipped)?;
    Some(format!("{skipped} results are skipped, --max-skips allows {allowed}"))
}

/// Writes the capsules of a run.
pub(crate) fn write_capsules(folder: &Path, report: &Report) -> Result<(), End> {
    let (written, left_out) = capsule::write(folder, report).map_err(|problem| End::new(End::USAGE, problem))?;
    if written != 0 {
        let more = if left_out == 0 {
            String::new()
        } else {
            format!(", {left_out} more are left out")
        };
        super::complain(&format!("{}: {written} capsules{more}", folder.display()));
    }
    Ok(())
}

/// Reads a report.
pub(crate) fn read_report(file: &Path) -> Result<Report, End> {
    let usage = |problem: String| End::new(End::USAGE, format!("{}: {problem}", file.display()));
    let text = files::read_text(file, files::REPORT_BYTES_MAX).map_err(|error| usage(format!("read: {error}")))?;
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
