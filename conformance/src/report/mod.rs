//! What a run was and what came of it: one structure, written as JSON, rendered as everything else.

pub mod arbitration;
pub mod capsule;
pub mod html;
mod html_boot;
pub mod junit;
pub mod markdown;
pub mod merge;
pub mod tap;
pub mod terminal;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use arbitration::RecordingFacts;

use crate::bench::Bench;
use crate::cases::resident::ENDS_ITSELF;
use crate::expectation::{Expectations, Standing};
use crate::mustpass;
use crate::runner::{CaseResult, Plan};
use crate::subject::{Subject, date, description, linux};
use crate::verdict::Verdict;

/// Version of the JSON structure; it changes when a field is renamed, removed or given another meaning.
pub const SCHEMA: u32 = 1;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The suite.
    pub suite: Suite,
    /// The command line of the run.
    pub command: Vec<String>,
    /// Seed of the order of running, if it was shuffled.
    pub seed: Option<u64>,
    /// When the run began, UTC.
    pub started: String,
    /// Its length in milliseconds.
    pub duration_ms: u64,
    /// Where it ran.
    pub host: Host,
    /// No case was left out by a filter or a partition.
    pub complete: bool,
    /// The subjects.
    pub subjects: Vec<SubjectFacts>,
    /// The columns.
    pub lanes: Vec<LaneFacts>,
    /// One entry for each case and lane, in report order.
    pub results: Vec<Entry>,
    /// What is wrong beyond single results; a run with problems has failed.
    pub problems: Vec<String>,
    /// Recordings that took part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recordings: Vec<RecordingFacts>,
    /// Boots of the subjects side by side, in turn, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Bench>,
    /// The runs that were merged; empty for one run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<Part>,
}

/// One of the runs behind a merged report, with what the fields of that name say of a [`Report`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are a report's")]
pub struct Part {
    pub command: Vec<String>,
    pub seed: Option<u64>,
    pub started: String,
    pub duration_ms: u64,
    pub host: Host,
}

/// The suite that ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Number of cases it has, selected or not.
    pub cases: usize,
}

/// The host of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// What the run was told that this host is called, where its own facts do not say enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Operating system, kernel release and architecture.
    pub system: String,
    /// Processor.
    pub cpu: String,
    /// Processors that can be used.
    pub cpus: usize,
    /// Whether /dev/kvm can be used.
    pub kvm: bool,
}

/// A subject of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubjectFacts {
    /// Its name.
    pub name: String,
    /// One line about it.
    pub title: String,
    /// What its version command printed.
    pub version: Option<String>,
    /// Commands by which it is started, as written in its file: depth or `depth.way`, and words.
    pub commands: BTreeMap<String, Vec<String>>,
    /// The file of its expectations.
    pub expectations: Option<String>,
}

/// A column of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneFacts {
    /// `subject/depth/profile`.
    pub title: String,
    /// The subject's name.
    pub subject: String,
    /// The depth's word.
    pub depth: String,
    /// The profile's name.
    pub profile: String,
    /// Name of the way that cases are given to first.
    pub way: String,
    /// Why nothing could be started here, if so.
    pub unavailable: Option<String>,
    /// Cases that were to run in it.
    pub planned: usize,
    /// Only cases of these areas were meant for it; empty means all.
    #[serde(default)]
    pub areas: Vec<String>,
    /// Where it ran, when that is not the report's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
}

/// One case in one lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The case's id.
    pub case: String,
    /// Its title.
    pub title: String,
    /// Its level's word.
    pub level: String,
    /// The requirement.
    pub clause: ClauseFacts,
    /// Index into the report's lanes.
    pub lane: usize,
    /// Name of the way that took it.
    pub way: String,
    /// The verdict's word.
    pub verdict: String,
    /// How it stands to what was expected.
    pub standing: StandingFacts,
    /// Why, where mismatches do not say it.
    pub reason: Option<String>,
    /// Checks made.
    pub checks: u64,
    /// Points of sweeps looked at.
    pub points: u64,
    /// Accesses made.
    pub accesses: u64,
    /// Checks that did not hold.
    pub mismatches: Vec<MismatchFacts>,
    /// What was observed where the documents leave a choice.
    pub notes: Vec<String>,
    /// Marks of a boot: name, and host time since the subject's start in microseconds.
    #[serde(default)]
    pub marks: Vec<(String, u64)>,
    /// Accesses and answers, when the verdict is not pass or transcripts were asked for.
    pub transcript: Vec<String>,
    /// What the subject showed of itself.
    pub post_mortem: String,
    /// Duration in microseconds.
    pub duration_us: u64,
    /// The command that repeats it.
    pub replay: String,
}

/// A clause as a report shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClauseFacts {
    /// Its id.
    pub id: String,
    /// Title of its document.
    pub document: String,
    /// Its section.
    pub section: String,
    /// The requirement.
    pub requirement: String,
    /// Where it can be read.
    pub url: Option<String>,
}

/// A check that did not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MismatchFacts {
    /// The point of the sweep.
    pub point: Option<String>,
    /// What was looked at.
    pub what: String,
    /// What came.
    pub got: String,
    /// What the clause wants.
    pub want: String,
}

/// How a result stands to what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "why", rename_all = "kebab-case")]
pub enum StandingFacts {
    /// As any subject should be.
    Expected,
    /// As its expectations say.
    Known(String),
    /// Neither.
    Unexpected(String),
}

/// How many of what, for the last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Results that are as they should be.
    pub passed: usize,
    /// Unexpected results, and problems of the run as a whole.
    pub failed: usize,
    /// Cases that do not apply or could not be asked, and deviations that are known.
    pub skipped: usize,
}

/// What the run knows beside plan and results.
pub struct Circumstances<'a> {
    /// The command line.
    pub command: Vec<String>,
    /// Seed of the order.
    pub seed: Option<u64>,
    /// When the run began.
    pub started: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// The subjects, each with its expectations.
    pub subjects: &'a [(Subject, Expectations)],
    /// Keep the transcripts of cases that passed.
    pub transcripts: bool,
    /// No case was left out by a filter.
    pub complete: bool,
    /// What this host is called, beyond its own facts.
    pub host: Option<String>,
    /// The command that repeats a case when its options are added, without them.
    pub replay_by: &'a str,
}

impl Report {
    /// Puts a run together; results that the plan wants and that are missing become problems.
    pub fn new(plan: &Plan, results: &[CaseResult], run: &Circumstances<'_>) -> Report {
        let mut problems = Vec::new();
        let missing = plan.units.len() - results.len();
        if missing != 0 {
            problems.push(format!("{missing} of {} cases have no result", plan.units.len()));
        }
        for (subject, expectations) in run.subjects {
            let name = &subject.description.name;
            problems.extend(expectations.stale(plan, name, results, run.complete && missing == 0));
        }
        let entries = results.iter().map(|result| entry(plan, result, run)).collect();
        Report {
            schema: SCHEMA,
            suite: Suite {
                name: "touchstone".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                cases: crate::catalog::all().count(),
            },
            command: run.command.clone(),
            seed: run.seed,
            started: timestamp(run.started),
            duration_ms: run.duration.as_millis() as u64,
            host: host(run.host.clone()),
            complete: run.complete,
            subjects: run.subjects.iter().map(subject_facts).collect(),
            lanes: lanes(plan),
            results: entries,
            problems,
            recordings: Vec::new(),
            boot: None,
            merged: Vec::new(),
        }
    }

    /// Reads a report.
    ///
    /// # Errors
    /// Text that is no report of this [`SCHEMA`], as one line.
    pub fn parse(text: &str) -> Result<Report, String> {
        let schema: Probe = serde_json::from_str(text).map_err(|error| format!("not a report: {error}"))?;
        if schema.schema != SCHEMA {
            return Err(format!(
                "report of schema {}, this program reads {SCHEMA}; render it with the program that wrote it",
                schema.schema
            ));
        }
        let report: Report = serde_json::from_str(text).map_err(|error| format!("not a report: {error}"))?;
        match report.results.iter().find(|entry| report.lanes.len() <= entry.lane) {
            Some(entry) => Err(format!(
                "not a report: {} is in lane {}, which is missing",
                entry.case, entry.lane
            )),
            None => Ok(report),
        }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists only: there is nothing that JSON cannot hold.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Counts for the last line.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            failed: self.problems.len(),
            ..Totals::default()
        };
        for entry in &self.results {
            match entry.standing {
                StandingFacts::Unexpected(_) => totals.failed += 1,
                StandingFacts::Known(_) => totals.skipped += 1,
                StandingFacts::Expected if entry.is_skip() => totals.skipped += 1,
                StandingFacts::Expected => totals.passed += 1,
            }
        }
        totals
    }

    /// Every reason for a skip in a lane, with its count, sorted.
    pub fn skips(&self, lane: usize) -> Vec<(String, usize)> {
        let mut groups: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.results.iter().filter(|entry| entry.lane == lane) {
            let group = match &entry.standing {
                StandingFacts::Known(reason) => format!("known {}: {reason}", entry.verdict),
                StandingFacts::Expected if entry.is_skip() => {
                    format!("{}: {}", entry.verdict, entry.reason.as_deref().unwrap_or("no reason"))
                }
                StandingFacts::Expected | StandingFacts::Unexpected(_) => continue,
            };
            *groups.entry(group).or_default() += 1;
        }
        groups.into_iter().collect()
    }

    /// What a lane's results allow to be said of the Musts on its profile's list ([`mustpass`]).
    ///
    /// `conformant`, `incomplete` (a Must could not be asked, or a result is
    /// missing), `not conformant`, or `partial` when cases were left out and none of the others speaks against it.
    pub fn claim(&self, lane: usize) -> &'static str {
        let results = self.results.iter().filter(|entry| entry.lane == lane).count();
        let musts = self
            .results
            .iter()
            .filter(|entry| entry.lane == lane && entry.level == "must")
            .filter(|entry| mustpass::counts(&self.lanes[lane].profile, &entry.case));
        let verdicts: Vec<_> = musts.map(|entry| Verdict::from_word(&entry.verdict)).collect();
        let has = |wanted: &[Verdict]| verdicts.iter().flatten().any(|verdict| wanted.contains(verdict));
        if has(&[Verdict::Fail, Verdict::Timeout, Verdict::Crash]) {
            "not conformant"
        } else if !self.complete || !self.lanes[lane].areas.is_empty() {
            "partial"
        } else if results < self.lanes[lane].planned || has(&[Verdict::Unsupported, Verdict::Error]) {
            "incomplete"
        } else {
            "conformant"
        }
    }

    /// The hosts of the lanes, each once; more than one only in a merged report.
    pub fn hosts(&self) -> Vec<&Host> {
        let mut hosts = Vec::new();
        for lane in &self.lanes {
            let host = lane.host.as_ref().unwrap_or(&self.host);
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        if hosts.is_empty() { vec![&self.host] } else { hosts }
    }
}

impl Entry {
    /// Whether it was not really asked.
    pub fn is_skip(&self) -> bool {
        [Verdict::NotApplicable.word(), Verdict::Unsupported.word()].contains(&self.verdict.as_str())
    }

    /// Whether it could not be asked because the host has no KVM, or one that interprets its guests.
    pub fn wants_real_kvm(&self) -> bool {
        let reasons = [description::NO_KVM, linux::NO_HELP, ENDS_ITSELF];
        let reason = self.reason.as_deref().unwrap_or_default();
        self.verdict == Verdict::Unsupported.word() && reasons.iter().any(|words| reason.contains(words))
    }

    /// Whether it is against expectations.
    pub fn is_unexpected(&self) -> bool {
        matches!(self.standing, StandingFacts::Unexpected(_))
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}: ")?;
        }
        let kvm = if self.kvm { "usable" } else { "absent" };
        write!(f, "{}, {}, {} CPUs, KVM {kvm}", self.system, self.cpu, self.cpus)
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Totals {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// As little of a report as tells its version.
#[derive(Deserialize)]
struct Probe {
    schema: u32,
}

fn entry(plan: &Plan, result: &CaseResult, run: &Circumstances<'_>) -> Entry {
    let lane = &plan.lanes[result.lane];
    let case = result.case;
    let own = run
        .subjects
        .iter()
        .find(|(subject, _)| subject.description.name == lane.subject);
    let standing = own.map_or(Standing::Expected, |(_, expectations)| {
        expectations.standing(result, lane)
    });
    let record = &result.record;
    let keep = run.transcripts || result.verdict != Verdict::Pass || matches!(standing, Standing::Unexpected(_));
    let way = if result.way.is_empty() {
        String::new()
    } else {
        format!(" --accel {}", result.way)
    };
    Entry {
        case: case.id.to_owned(),
        title: case.title.to_owned(),
        level: case.level.word().to_owned(),
        clause: ClauseFacts {
            id: case.clause.id.to_owned(),
            document: case.clause.document.title.to_owned(),
            section: case.clause.section.to_owned(),
            requirement: case.clause.requirement.to_owned(),
            url: case.clause.url(),
        },
        lane: result.lane,
        way: result.way.clone(),
        verdict: result.verdict.word().to_owned(),
        standing: match standing {
            Standing::Expected => StandingFacts::Expected,
            Standing::Known(why) => StandingFacts::Known(why),
            Standing::Unexpected(why) => StandingFacts::Unexpected(why),
        },
        reason: result.reason.clone(),
        checks: record.checks,
        points: record.points,
        accesses: record.accesses,
        mismatches: record
            .mismatches
            .iter()
            .map(|mismatch| MismatchFacts {
                point: mismatch.point.clone(),
                what: mismatch.what.clone(),
                got: mismatch.got.clone(),
                want: mismatch.want.clone(),
            })
            .collect(),
        notes: record.notes.clone(),
        marks: record.marks.clone(),
        transcript: if keep { record.transcript.clone() } else { Vec::new() },
        post_mortem: result.post_mortem.clone(),
        duration_us: result.duration.as_micros() as u64,
        replay: format!(
            "{} --subject {} --depth {} --profile {}{way} --filter {}",
            run.replay_by,
            own.map_or(lane.subject.as_str(), |(subject, _)| subject.asked_as.as_str()),
            lane.depth,
            lane.layout.profile,
            case.id
        ),
    }
}

fn lanes(plan: &Plan) -> Vec<LaneFacts> {
    let facts = plan.lanes.iter().enumerate().map(|(index, lane)| LaneFacts {
        planned: plan.units.iter().filter(|unit| unit.lane == index).count(),
        title: lane.title(),
        subject: lane.subject.clone(),
        depth: lane.depth.word().to_owned(),
        profile: lane.layout.profile.to_owned(),
        way: lane.ways.first().map(|way| way.name.clone()).unwrap_or_default(),
        unavailable: lane.unavailable(),
        areas: lane.areas.clone(),
        host: None,
    });
    facts.collect()
}

fn subject_facts((subject, expectations): &(Subject, Expectations)) -> SubjectFacts {
    let description = &subject.description;
    let mut commands = BTreeMap::new();
    for depth in crate::machine::Depth::ALL {
        for launch in description.launches(depth) {
            let dot = if launch.name.is_empty() { "" } else { "." };
            commands.insert(format!("{depth}{dot}{}", launch.name), launch.command.clone());
        }
    }
    SubjectFacts {
        name: description.name.clone(),
        title: description.title.clone(),
        version: subject.version(),
        commands,
        expectations: (!expectations.place.is_empty()).then(|| expectations.place.clone()),
    }
}

fn host(name: Option<String>) -> Host {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim());
    let release = read("/proc/sys/kernel/osrelease");
    Host {
        name,
        system: format!("{} {} {}", std::env::consts::OS, release.trim(), std::env::consts::ARCH),
        cpu: model.unwrap_or("unknown").to_owned(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        kvm: description::kvm_problem().is_none(),
    }
}

/// A time as reports write it: UTC, to the second.
pub fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}Z", date::text_of(since.as_secs() as i64))
}

#[cfg(test)]
pub(crate) mod tests;
