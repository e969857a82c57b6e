//! `touchstone replay`, `touchstone recording` and `touchstone golden`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use conformance::golden::{self, Aspect, Recorded};
use conformance::layout::Layout;
use conformance::machine::{Adapter, Depth, Machine};
use conformance::recording::{Record, Recording};
use conformance::replay::{self, Summary};
use conformance::report::RecordingFacts;
use conformance::settled::Settled;
use conformance::subject::{Lane, Subject, Wanted};

use super::{End, find_above, out};

/// Arguments of `replay`.
#[derive(Args)]
pub(crate) struct ReplayArguments {
    /// A recording: FILE.json.gz, FILE.txt or a folder of text files.
    recording: PathBuf,
    /// Subject to hold it against: reference, qemu, mutant:NAME or FILE.toml.
    #[arg(long, default_value = "reference")]
    subject: String,
    /// At this depth.
    #[arg(long, default_value = "bus", value_parser = super::parse_depth)]
    depth: Depth,
    /// The profile that the recorded machine is; the default is what the recording says.
    #[arg(long, value_parser = super::parse_profile)]
    profile: Option<&'static Layout>,
    /// Only records whose name begins so; may be repeated.
    #[arg(long, value_name = "PREFIX")]
    filter: Vec<String>,
    /// Differences that are settled in writing; the default is settled.toml in the recording's folder.
    #[arg(long, value_name = "FILE")]
    settled: Option<PathBuf>,
    /// Most differences to print.
    #[arg(long, default_value_t = 20)]
    show: usize,
}

/// Verbs of `recording`.
#[derive(Subcommand)]
pub(crate) enum RecordingCommand {
    /// Writes a recording as reviewable text, one file for each area.
    Import {
        /// FILE.json.gz.
        file: PathBuf,
        /// The machine and its version.
        #[arg(long)]
        source: String,
        /// The profile that the machine is.
        #[arg(long, value_parser = super::parse_profile)]
        profile: &'static Layout,
        /// The folder to write to.
        #[arg(long)]
        into: PathBuf,
    },
}

/// Verbs of `golden`.
#[derive(Subcommand)]
pub(crate) enum GoldenCommand {
    /// Reads the goldens' facts out of another machine and compares.
    Verify {
        /// A subject that speaks qtest.
        #[arg(long, conflicts_with = "recording")]
        subject: Option<String>,
        /// A recording: FILE.json.gz, FILE.txt or a folder of text files.
        #[arg(long)]
        recording: Option<PathBuf>,
        /// The profile whose goldens to verify; the default is the subject's first, or what the recording says.
        #[arg(long, value_parser = super::parse_profile)]
        profile: Option<&'static Layout>,
    },
}

/// Holds a recording against a subject.
pub(crate) fn replay(arguments: &ReplayArguments) -> Result<(), End> {
    let usage = |problem: String| End::new(End::USAGE, problem);
    let recording = Recording::read(&arguments.recording).map_err(|error| usage(error.to_string()))?;
    let layout = profile_of(&recording, arguments.profile)?;
    let settled = match &arguments.settled {
        Some(file) => Some(file.clone()),
        None => Settled::beside(&arguments.recording),
    };
    let settled = settled
        .map(|file| Settled::read(&file))
        .transpose()
        .map_err(|error| usage(error.to_string()))?;
    let settled = settled.unwrap_or_default();
    let lane = lane(&arguments.subject, arguments.depth, Some(layout))?;
    let adapters = adapters(&lane)?;
    let select = |name: &str| {
        arguments.filter.is_empty() || arguments.filter.iter().any(|prefix| name.starts_with(prefix.as_str()))
    };
    let bar = progress_bar(recording.records.iter().filter(|record| select(&record.name)).count());
    let mut progress = |name: &str| {
        bar.set_message(name.to_owned());
        bar.inc(1);
    };
    let summary = replay::replay(&recording, &adapters, layout, &settled, &select, &mut progress);
    bar.finish_and_clear();
    let summary = summary.map_err(|error| End::new(End::UNEXPECTED, error.to_string()))?;
    if summary.areas.is_empty()
        && let Some((_, reason)) = summary
            .skipped
            .iter()
            .find(|(_, reason)| reason.starts_with(NOT_STARTED))
    {
        return Err(End::new(End::NOT_STARTED, format!("{}: {reason}", lane.title())));
    }
    if summary.areas.is_empty() && summary.skipped.is_empty() {
        return Err(End::new(
            End::NOTHING,
            "no record selected; `--filter` takes the beginning of a record's name",
        ));
    }
    print_summary(&recording, &lane, &summary, arguments);
    // Only a whole replay can tell that a decision is no longer needed.
    let whole = arguments.filter.is_empty() && arguments.subject == "reference" && summary.skipped.is_empty();
    let stale = if whole { summary.stale.as_slice() } else { &[] };
    for problem in stale {
        out(&format!("stale: {}: {problem}", settled.place));
    }
    if summary.findings.is_empty() && stale.is_empty() {
        Ok(())
    } else {
        let (unsettled, stale) = (summary.findings.len(), stale.len());
        let text = format!("{unsettled} differences are not settled, {stale} decisions are stale");
        Err(End::new(End::UNEXPECTED, text))
    }
}

/// What each recording of a run comes to on the reference, and what of it is wrong.
pub(crate) fn voices(paths: &[PathBuf]) -> Result<Vec<(RecordingFacts, Vec<String>)>, End> {
    paths.iter().map(|path| voice(path)).collect()
}

fn voice(path: &Path) -> Result<(RecordingFacts, Vec<String>), End> {
    let usage = |problem: String| End::new(End::USAGE, format!("--recording {problem}"));
    let recording = Recording::read(path).map_err(|error| usage(error.to_string()))?;
    let layout = Layout::by_name(&recording.profile)
        .ok_or_else(|| usage(format!("{}: does not say which profile it is", path.display())))?;
    let settled = Settled::beside(path).map(|file| Settled::read(&file)).transpose();
    let settled = settled.map_err(|error| usage(error.to_string()))?.unwrap_or_default();
    let lane = lane("reference", Depth::Bus, Some(layout))?;
    let summary = replay::replay(&recording, &adapters(&lane)?, layout, &settled, &|_| true, &mut |_| {});
    let summary = summary.map_err(|error| End::new(End::UNEXPECTED, error.to_string()))?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok(RecordingFacts::new(
        &recording,
        &settled,
        &summary,
        &name,
        &lane.title(),
    ))
}

fn print_summary(recording: &Recording, lane: &Lane, summary: &Summary, arguments: &ReplayArguments) {
    for difference in summary.findings.iter().take(arguments.show) {
        out(&format!(
            "DIFFERS: {} step {}: {}\n    {} answered {:?}, {} answers {:?}",
            difference.record,
            difference.step,
            difference.operation,
            recording.source,
            shortened(&difference.recorded),
            lane.subject,
            shortened(&difference.answered)
        ));
    }
    let hidden = summary.findings.len().saturating_sub(arguments.show);
    if hidden != 0 {
        out(&format!("… and {hidden} more"));
    }
    out(&format!("{} against {}:", recording.source, lane.title()));
    out(&format!(
        "  {:<24} {:>8} {:>8} {:>8} {:>8}",
        "area", "records", "answers", "settled", "differ"
    ));
    for area in &summary.areas {
        let (name, records, answers) = (&area.name, area.records, area.answers);
        out(&format!(
            "  {name:<24} {records:>8} {answers:>8} {:>8} {:>8}",
            area.settled, area.differ
        ));
    }
    let mut reasons: Vec<&str> = summary.skipped.iter().map(|(_, reason)| reason.as_str()).collect();
    reasons.sort_unstable();
    for group in reasons.chunk_by(|a, b| a == b) {
        out(&format!("  skipped {:>4} records: {}", group.len(), group[0]));
    }
}

/// The first characters of a long answer, and how many there are.
fn shortened(answer: &str) -> String {
    match answer.char_indices().nth(ANSWER_LENGTH_SHOWN) {
        Some((end, _)) => format!("{}… ({} characters)", &answer[..end], answer.len()),
        None => answer.to_owned(),
    }
}

const ANSWER_LENGTH_SHOWN: usize = 80;

/// How the reason begins for which a record was skipped whose machine did not start.
const NOT_STARTED: &str = "subject did not start";

/// Writes a recording as text.
pub(crate) fn recording(command: &RecordingCommand) -> Result<(), End> {
    let RecordingCommand::Import {
        file,
        source,
        profile,
        into,
    } = command;
    let usage = |problem: String| End::new(End::USAGE, problem);
    let mut recording = Recording::read(file).map_err(|error| usage(error.to_string()))?;
    source.clone_into(&mut recording.source);
    profile.profile.clone_into(&mut recording.profile);
    std::fs::create_dir_all(into).map_err(|error| usage(format!("{}: create: {error}", into.display())))?;
    for area in recording.areas() {
        let path = into.join(format!("{}.txt", area.replace('/', "-")));
        let text = recording.to_text(&format!("{area}/"));
        std::fs::write(&path, &text).map_err(|error| usage(format!("{}: write: {error}", path.display())))?;
        out(&format!("{}: {} lines", path.display(), text.lines().count()));
    }
    Ok(())
}

/// Verifies goldens.
pub(crate) fn golden(command: &GoldenCommand) -> Result<(), End> {
    let GoldenCommand::Verify {
        subject,
        recording,
        profile,
    } = command;
    match (subject, recording) {
        (Some(subject), _) => verify_live(subject, *profile),
        (None, Some(path)) => verify_recording(path, *profile),
        (None, None) => Err(End::new(
            End::USAGE,
            "golden verify: against what? give --subject NAME or --recording FILE",
        )),
    }
}

/// Counts of a verification.
#[derive(Default)]
struct Tally {
    agree: u64,
    differ: u64,
    unread: u64,
}

impl Tally {
    fn compare(&mut self, at: &str, golden: Option<&str>, read: Result<String, String>, source: &str) {
        match (golden, read) {
            (_, Err(reason)) => {
                self.unread += 1;
                out(&format!("not read: {at}: {reason}"));
            }
            (None, Ok(_)) => {
                self.differ += 1;
                out(&format!(
                    "DIFFERS: {at}: not in the golden; `cargo xtask golden bless` writes it"
                ));
            }
            (Some(golden), Ok(read)) if golden == read => self.agree += 1,
            (Some(golden), Ok(read)) => {
                self.differ += 1;
                out(&format!("DIFFERS: {at}\n    golden:  {golden}\n    {source}: {read}"));
            }
        }
    }

    fn end(&self, what: &str) -> Result<(), End> {
        out(&format!(
            "{what}: {} lines agree, {} differ, {} not read",
            self.agree, self.differ, self.unread
        ));
        match (self.differ, self.agree) {
            (0, 0) => Err(End::new(End::NOTHING, "nothing could be compared")),
            (0, _) => Ok(()),
            (count, _) => Err(End::new(
                End::UNEXPECTED,
                format!("{count} lines of the goldens differ"),
            )),
        }
    }
}

fn verify_live(name: &str, profile: Option<&'static Layout>) -> Result<(), End> {
    let lane = lane(name, Depth::Wire, profile)?;
    let adapter = adapter(&lane)?;
    let mut tally = Tally::default();
    for aspect in Aspect::ALL {
        let text = golden_text(lane.layout, aspect)?;
        let lines = golden::lines(&text);
        let points = aspect.matrix(lane.layout);
        let bar = progress_bar(points.len());
        for point in points {
            bar.inc(1);
            let read = aspect
                .read_point(adapter, lane.layout, &point)
                .map(|facts| golden::line(&point.label, &facts));
            let at = format!("{} {}", aspect.name(), point.label);
            tally.compare(&at, find_line(&lines, &point.label), read, name);
        }
        bar.finish_and_clear();
    }
    tally.end(&lane.title())
}

/// Every record that says something about an aspect of a point of the matrix confirms or contradicts its line.
fn verify_recording(path: &Path, profile: Option<&'static Layout>) -> Result<(), End> {
    let recording = Recording::read(path).map_err(|error| End::new(End::USAGE, error.to_string()))?;
    let layout = profile_of(&recording, profile)?;
    let mut tally = Tally::default();
    for aspect in Aspect::ALL {
        let text = golden_text(layout, aspect)?;
        let lines = golden::lines(&text);
        for point in aspect.matrix(layout) {
            let area = if aspect == Aspect::Cmdline {
                &["cmdline"][..]
            } else {
                &["ram", "limit"]
            };
            let made_so = |record: &&Record| area.contains(&record.area()) && is_made_so(record, &point.setup, aspect);
            for record in recording.records.iter().filter(made_so) {
                let mut machine = Recorded::new(record);
                let machine: &mut dyn Machine = &mut machine;
                let read = aspect.read(machine, layout, &point.setup);
                let at = format!("{} {} by {}", aspect.name(), point.label, record.name);
                let read = read.map(|facts| golden::line(&point.label, &facts));
                tally.compare(&at, find_line(&lines, &point.label), read, "recording");
            }
        }
    }
    tally.end(&recording.source)
}

fn is_made_so(record: &Record, setup: &conformance::case::Setup, aspect: Aspect) -> bool {
    let Ok(recorded) = replay::setup(record) else {
        return false;
    };
    let same_ram = recorded.ram_bytes == setup.ram_bytes && recorded.max_ram_below_4g == setup.max_ram_below_4g;
    let auto = |options: &[(&str, &str)]| options.contains(&("auto-kernel-cmdline", "off"));
    let same_kernel = recorded.append == setup.append
        && recorded.devices == setup.devices
        && auto(recorded.options) == auto(setup.options);
    same_ram && (aspect != Aspect::Cmdline || same_kernel)
}

fn find_line<'a>(lines: &[&'a str], label: &str) -> Option<&'a str> {
    let start = format!("{label:<16} ");
    lines
        .iter()
        .find(|line| line.starts_with(&start) || line.trim_end() == label)
        .copied()
}

fn golden_text(layout: &Layout, aspect: Aspect) -> Result<String, End> {
    let name = format!("golden/board/{}/{}.snap", layout.profile, aspect.name());
    let missing = || {
        End::new(
            End::USAGE,
            format!("{name}: not found from here upwards; run in the project's folder"),
        )
    };
    let file = find_above(&name).ok_or_else(missing)?;
    std::fs::read_to_string(&file).map_err(|error| End::new(End::USAGE, format!("{}: {error}", file.display())))
}

fn profile_of(recording: &Recording, asked: Option<&'static Layout>) -> Result<&'static Layout, End> {
    let own = asked.or_else(|| Layout::by_name(&recording.profile));
    let names: Vec<&str> = Layout::ALL.iter().map(|layout| layout.profile).collect();
    let problem = format!(
        "the recording does not say which profile it is; give --profile {}",
        names.join("|")
    );
    own.ok_or_else(|| End::new(End::USAGE, problem))
}

fn lane(name: &str, depth: Depth, profile: Option<&'static Layout>) -> Result<Lane, End> {
    let usage = |problem: String| End::new(End::USAGE, problem);
    let subject = Subject::find(name).map_err(|error| usage(error.to_string()))?;
    let wanted = Wanted {
        depths: vec![depth],
        profiles: profile.into_iter().collect(),
        ..Wanted::default()
    };
    let lane = subject.lanes(&wanted).map_err(usage)?.into_iter().next();
    lane.ok_or_else(|| usage(format!("subject {name} has no depth {depth} for this profile")))
}

/// Those of a lane's ways that this host has, the first choice first.
pub(crate) fn adapters(lane: &Lane) -> Result<Vec<&dyn Adapter>, End> {
    let first = adapter(lane);
    let adapters: Vec<&dyn Adapter> = lane.ways.iter().flat_map(|way| way.adapter.as_deref()).collect();
    if adapters.is_empty() {
        first?;
    }
    Ok(adapters)
}

fn adapter(lane: &Lane) -> Result<&dyn Adapter, End> {
    let way = lane.ways.first().map(|way| way.adapter.as_ref());
    match way {
        Some(Ok(adapter)) => Ok(adapter.as_ref()),
        Some(Err(reason)) => Err(End::new(End::NOT_STARTED, format!("{}: {reason}", lane.title()))),
        None => Err(End::new(
            End::NOT_STARTED,
            format!("{}: there is no way to start it", lane.title()),
        )),
    }
}

pub(crate) fn progress_bar(length: usize) -> indicatif::ProgressBar {
    if std::io::stderr().is_terminal() {
        indicatif::ProgressBar::new(length as u64)
    } else {
        indicatif::ProgressBar::hidden()
    }
}
