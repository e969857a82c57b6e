//! Who says otherwise: cases on which the lanes of a report disagree, with both answers and what settles them, and
//! machines that take part by a recording.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Entry, Report, StandingFacts};
use crate::recording::Recording;
use crate::replay::Summary;
use crate::settled::Settled;
use crate::verdict::Verdict;

/// A recording that took part in a run: how the reference's answers stand to the recorded ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordingFacts {
    /// The recorded machine and its version.
    pub source: String,
    /// A short name: the last part of its place.
    pub name: String,
    /// The profile that it is.
    pub profile: String,
    /// The lane that it was held against.
    pub lane: String,
    /// Names of its records.
    pub records: Vec<String>,
    /// Answers compared.
    pub answers: u64,
    /// Differences that are settled, by decision.
    pub decisions: Vec<DecisionFacts>,
    /// Differences that are not, as `record | operation | recorded | answered`.
    pub unsettled: Vec<String>,
}

/// A decision about some differences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionFacts {
    /// Who is right: `reference`, `recorded` or `both`.
    pub right: String,
    /// Id of the clause that says so.
    pub clause: String,
    /// Cases that show it.
    pub cases: Vec<String>,
    /// What the document says and what the other does.
    pub reason: String,
    /// Answers that differ so.
    pub answers: usize,
    /// Records in which they stand.
    pub records: Vec<String>,
    /// One of them, as `record | operation | recorded | answered`.
    pub example: String,
}

/// How a recorded machine stands to a case that somebody disputes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stance<'a> {
    /// It answers otherwise than the reference, and a decision says who is right.
    Otherwise(&'a DecisionFacts),
    /// Programs that show it on another machine are in the recording, and it answers as the reference does.
    Alike,
    /// Nothing in the recording shows it.
    Silent,
}

/// A case on which lanes disagree.
#[derive(Clone, Debug)]
pub struct Dispute<'a> {
    /// Any of its results: case, title and clause are the same in all.
    pub first: &'a Entry,
    /// The lanes that passed it, by title.
    pub passed: Vec<&'a str>,
    /// What the document wants, where some lane did otherwise.
    pub want: String,
    /// The lanes that did otherwise.
    pub others: Vec<Side<'a>>,
}

/// A lane that does otherwise.
#[derive(Clone, Debug)]
pub struct Side<'a> {
    /// Its title.
    pub lane: &'a str,
    /// Its verdict.
    pub verdict: &'a str,
    /// What it answered.
    pub got: String,
    /// What settles the matter; `None` if nothing does.
    pub settled: Option<&'a str>,
}

impl RecordingFacts {
    /// What a replay of a recording on a lane came to, and what of it is wrong, as problems of the run.
    pub fn new(
        recording: &Recording,
        settled: &Settled,
        summary: &Summary,
        name: &str,
        lane: &str,
    ) -> (Self, Vec<String>) {
        let decisions = settled.differences.iter().zip(&summary.settled);
        let decisions = decisions.filter_map(|(decision, differences)| {
            let mut records: Vec<String> = differences.iter().map(|difference| difference.record.clone()).collect();
            records.dedup();
            Some(DecisionFacts {
                right: decision.right.word().to_owned(),
                clause: decision.clause.clone(),
                cases: decision.cases.clone(),
                reason: decision.reason.replace('\n', " "),
                answers: differences.len(),
                records,
                example: differences.first()?.to_string(),
            })
        });
        let facts = RecordingFacts {
            source: recording.source.clone(),
            name: name.to_owned(),
            profile: recording.profile.clone(),
            lane: lane.to_owned(),
            records: recording.records.iter().map(|record| record.name.clone()).collect(),
            answers: summary.areas.iter().map(|area| area.answers).sum(),
            decisions: decisions.collect(),
            unsettled: summary.findings.iter().map(ToString::to_string).collect(),
        };
        let mut problems: Vec<String> = summary
            .stale
            .iter()
            .map(|problem| format!("{}: {problem}", settled.place))
            .collect();
        if let Some(first) = facts.unsettled.first() {
            let count = facts.unsettled.len();
            problems.push(format!(
                "recording {name}: {count} differences are not settled, the first is {first}"
            ));
        }
        (facts, problems)
    }

    /// The machine's name without how it was started.
    pub fn title(&self) -> &str {
        self.source.split(',').next().unwrap_or(&self.source)
    }

    /// Answers that differ for a settled reason.
    pub fn settled(&self) -> usize {
        self.decisions.iter().map(|decision| decision.answers).sum()
    }
}

impl Stance<'_> {
    /// In a cell of a matrix.
    pub fn word(&self) -> &'static str {
        match self {
            Stance::Otherwise(_) => "otherwise*",
            Stance::Alike => "alike",
            Stance::Silent => "",
        }
    }
}

impl std::fmt::Display for Stance<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stance::Otherwise(decision) => {
                let right = match decision.right.as_str() {
                    "both" => "the documents leave it open",
                    "recorded" => "it is right",
                    _ => "the reference is right",
                };
                write!(
                    f,
                    "otherwise in {} answers, {right}: {}",
                    decision.answers, decision.reason
                )
            }
            Stance::Alike => f.write_str("answers as the reference does"),
            Stance::Silent => f.write_str("nothing in the recording shows it"),
        }
    }
}

impl Dispute<'_> {
    /// Whether some side has nothing that settles it.
    pub fn is_unsettled(&self) -> bool {
        self.others.iter().any(|side| side.settled.is_none())
    }
}

impl Report {
    /// Cases that one lane passes and another does not, in report order.
    pub fn disputes(&self) -> Vec<Dispute<'_>> {
        let mut cases: Vec<&str> = Vec::new();
        let mut entries: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in self.results.iter().filter(|entry| !entry.is_skip()) {
            let of_case = entries.entry(&entry.case).or_insert_with(|| {
                cases.push(&entry.case);
                Vec::new()
            });
            of_case.push(entry);
        }
        let disputes = cases.into_iter().filter_map(|case| self.dispute(&entries[case]));
        disputes.collect()
    }

    fn dispute<'a>(&'a self, entries: &[&'a Entry]) -> Option<Dispute<'a>> {
        let lane = |entry: &Entry| self.lanes[entry.lane].title.as_str();
        let is_pass = |entry: &&&Entry| entry.verdict == Verdict::Pass.word();
        let is_other = |entry: &&&Entry| entry.verdict != Verdict::Pass.word() && entry.verdict != Verdict::Note.word();
        let passed: Vec<&str> = entries.iter().filter(is_pass).map(|entry| lane(entry)).collect();
        let others: Vec<&&Entry> = entries.iter().filter(is_other).collect();
        let want = others.iter().find_map(|entry| entry.mismatches.first());
        let side = |entry: &&&'a Entry| Side {
            lane: lane(entry),
            verdict: &entry.verdict,
            got: got(entry),
            settled: match &entry.standing {
                StandingFacts::Known(why) => Some(why.as_str()),
                StandingFacts::Expected | StandingFacts::Unexpected(_) => None,
            },
        };
        (!passed.is_empty() && !others.is_empty()).then(|| Dispute {
            first: entries[0],
            passed,
            want: want.map_or_else(
                || "as required".to_owned(),
                |mismatch| format!("{}: {}", mismatch.what, mismatch.want),
            ),
            others: others.iter().map(side).collect(),
        })
    }

    /// How the machine of one of the report's recordings stands to a case.
    pub fn stance<'a>(&'a self, recording: &'a RecordingFacts, case: &str) -> Stance<'a> {
        let shows = |decision: &&DecisionFacts| decision.cases.iter().any(|own| own == case);
        if let Some(decision) = recording.decisions.iter().find(shows) {
            return Stance::Otherwise(decision);
        }
        let elsewhere = self.recordings.iter().flat_map(|other| &other.decisions).filter(shows);
        let has_all = |decision: &DecisionFacts| decision.records.iter().all(|name| recording.records.contains(name));
        if elsewhere.into_iter().any(has_all) {
            Stance::Alike
        } else {
            Stance::Silent
        }
    }
}

/// What a lane answered where it did otherwise, in short.
fn got(entry: &Entry) -> String {
    match (entry.mismatches.first(), &entry.reason) {
        (Some(mismatch), _) => {
            let point = mismatch
                .point
                .as_ref()
                .map_or(String::new(), |point| format!("{point}: "));
            let more = match entry.mismatches.len() - 1 {
                0 => String::new(),
                rest => format!(", and {rest} more"),
            };
            format!("{point}{}: {}{more}", mismatch.what, mismatch.got)
        }
        (None, Some(reason)) => reason.clone(),
        (None, None) => String::new(),
    }
}
