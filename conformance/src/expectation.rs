//! What is known of a subject: the verdicts that are not the default, each with its reason.
//!
//! Expectations belong to the subject and stand outside the cases. They are exact: a known failure that passes, an
//! entry that matches nothing and an entry without a reason fail the run, so that the file never says more than what
//! is so.

pub mod regenerate;

use std::path::Path;

use serde::Deserialize;

use crate::case::Case;
use crate::catalog;
use crate::files;
use crate::machine::Depth;
use crate::runner::{CaseResult, Plan};
use crate::subject::Lane;
use crate::subject::description::line_column;
use crate::subject::profile;
use crate::verdict::Verdict;

/// All expectations of one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations {
    /// The file, for messages.
    pub place: String,
    /// The entries, in the file's order.
    pub entries: Vec<Entry>,
}

/// One expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A pattern of [`catalog::matches`]; an entry with an exact id goes before one with a pattern.
    pub case: String,
    /// Only at these depths; empty means all.
    pub depths: Vec<Depth>,
    /// Only as this profile.
    pub profile: Option<String>,
    /// Only when started this way.
    pub way: Option<String>,
    /// The verdicts that are expected; more than one where the result is known to vary.
    pub verdicts: Vec<Verdict>,
    /// Id of the clause that is not met; required for a single case that fails.
    pub clause: Option<String>,
    /// Why.
    pub reason: String,
}

/// How a result stands to what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As any subject should be.
    Expected,
    /// As the subject's expectations say, with their reason.
    Known(String),
    /// Neither; says what was expected instead.
    Unexpected(String),
}

/// A file that cannot be used, as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ExpectationError {
    /// File, and line and column where known.
    pub place: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl Expectations {
    /// Reads a file's text; `place` names it in messages.
    ///
    /// # Errors
    /// [`ExpectationError`] for text that is not TOML, unknown words, an empty reason, a missing or wrong clause.
    pub fn parse(place: &str, text: &str) -> Result<Expectations, ExpectationError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let (line, column) = line_column(text, error.span().map_or(0, |span| span.start));
            ExpectationError {
                place: format!("{place}:{line}:{column}"),
                problem: error.message().lines().collect::<Vec<_>>().join(" "),
            }
        })?;
        let mut entries = Vec::new();
        for (index, raw) in file.entry.into_iter().enumerate() {
            let number = index + 1;
            let fail = |problem: String| ExpectationError {
                place: place.to_owned(),
                problem: format!("entry {number} ({}): {problem}", raw.case),
            };
            entries.push(raw.check().map_err(fail)?);
        }
        Ok(Expectations {
            place: place.to_owned(),
            entries,
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ExpectationError`] as [`Expectations::parse`], and when the file cannot be read.
    pub fn read(path: &Path) -> Result<Expectations, ExpectationError> {
        let place = path.display().to_string();
        let text = files::read_text(path, files::WRITTEN_BYTES_MAX).map_err(|error| ExpectationError {
            place: place.clone(),
            problem: format!("read: {error}"),
        })?;
        Expectations::parse(&place, &text)
    }

    /// How a result stands.
    pub fn standing(&self, result: &CaseResult, lane: &Lane) -> Standing {
        let matching = self.entries.iter().filter(|entry| entry.covers(result, lane));
        let (exact, patterns): (Vec<_>, Vec<_>) = matching.partition(|entry| entry.is_exact());
        let matching = if exact.is_empty() { patterns } else { exact };
        let got = result.verdict;
        match matching[..] {
            [] if got.is_fine() => Standing::Expected,
            [] => Standing::Unexpected("nothing of the kind is expected".to_owned()),
            // Nothing can be said about a subject that cannot be started here.
            _ if result.unavailable => Standing::Expected,
            [entry] if entry.verdicts.contains(&got) => Standing::Known(entry.reason.clone()),
            [entry] => Standing::Unexpected(format!(
                "expected {} ({}); if it is right now, remove the entry from {}",
                words(&entry.verdicts),
                entry.reason,
                self.place
            )),
            _ => Standing::Unexpected(format!(
                "{} entries of {} speak about it; leave one",
                matching.len(),
                self.place
            )),
        }
    }

    /// Entries that say nothing any more: no case has such an id, or everything they speak about ran and none of it
    /// was theirs. `complete` says that no case was left out by a filter.
    pub fn stale(&self, plan: &Plan, subject: &str, results: &[CaseResult], complete: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for entry in &self.entries {
            let place = format!("{}: entry '{}'", self.place, entry.case);
            if !catalog::all().any(|case| catalog::matches(&entry.case, case.id)) {
                problems.push(format!("{place} matches no case; remove it"));
                continue;
            }
            let named = || catalog::all().filter(|case| catalog::matches(&entry.case, case.id));
            let mut lanes = plan.lanes.iter().filter(|lane| lane.subject == subject);
            let lane_ran = lanes.any(|lane| entry.covers_lane(lane) && named().any(|case| lane.takes(case)));
            let matched = results
                .iter()
                .any(|result| entry.covers(result, &plan.lanes[result.lane]));
            let way_unseen = entry.way.is_some();
            if complete && lane_ran && !matched && !way_unseen {
                problems.push(format!(
                    "{place} matched no result of this run; remove it or mend its depth and profile"
                ));
            }
        }
        problems
    }
}

impl Entry {
    /// An entry for one verdict of one case.
    pub fn new(case: &str, verdicts: &[Verdict], reason: &str) -> Entry {
        Entry {
            case: case.to_owned(),
            depths: Vec::new(),
            profile: None,
            way: None,
            verdicts: verdicts.to_vec(),
            clause: None,
            reason: reason.to_owned(),
        }
    }

    fn is_exact(&self) -> bool {
        catalog::by_id(&self.case).is_some()
    }

    fn covers_lane(&self, lane: &Lane) -> bool {
        (self.depths.is_empty() || self.depths.contains(&lane.depth))
            && self
                .profile
                .as_ref()
                .is_none_or(|profile| profile == lane.layout.profile)
    }

    fn covers(&self, result: &CaseResult, lane: &Lane) -> bool {
        self.covers_lane(lane)
            && catalog::matches(&self.case, result.case.id)
            && self.way.as_ref().is_none_or(|way| *way == result.way)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    entry: Vec<RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    case: String,
    depth: Option<OneOrMore>,
    profile: Option<String>,
    way: Option<String>,
    verdict: OneOrMore,
    clause: Option<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn words(&self) -> &[String] {
        match self {
            OneOrMore::One(word) => std::slice::from_ref(word),
            OneOrMore::More(words) => words,
        }
    }
}

impl RawEntry {
    fn check(&self) -> Result<Entry, String> {
        let depth = |word: &String| {
            let depth = Depth::ALL.into_iter().find(|depth| depth.word() == word);
            depth.ok_or_else(|| format!("depth '{word}' is none of bus, wire, cpu, guest"))
        };
        let depths = self.depth.as_ref().map(OneOrMore::words).unwrap_or_default();
        let depths: Vec<Depth> = depths.iter().map(depth).collect::<Result<_, _>>()?;
        let words = self.verdict.words();
        if let Some(profile) = &self.profile
            && !profile::names().contains(&profile.as_str())
        {
            let names = profile::names().join(", ");
            return Err(format!("profile '{profile}' is none of {names}"));
        }
        let unknown = |word: &str| {
            let all = Verdict::ALL.map(Verdict::word).join(", ");
            format!("'{word}' is no verdict; choose from {all}")
        };
        let verdict = |word: &String| Verdict::from_word(word).ok_or_else(|| unknown(word));
        let verdicts: Vec<Verdict> = words.iter().map(verdict).collect::<Result<_, _>>()?;
        if verdicts.is_empty() {
            return Err("verdict is empty".to_owned());
        }
        if self.reason.trim().is_empty() {
            return Err("reason is empty; say why this is so".to_owned());
        }
        if let Some(case) = catalog::by_id(&self.case) {
            self.check_clause(case, &verdicts)?;
        }
        Ok(Entry {
            case: self.case.clone(),
            depths,
            profile: self.profile.clone(),
            way: self.way.clone(),
            verdicts,
            clause: self.clause.clone(),
            reason: self.reason.clone(),
        })
    }

    fn check_clause(&self, case: &Case, verdicts: &[Verdict]) -> Result<(), String> {
        match &self.clause {
            Some(clause) if clause == case.clause.id => Ok(()),
            Some(clause) => Err(format!(
                "clause '{clause}' is not the case's, which is '{}'",
                case.clause.id
            )),
            None if verdicts.contains(&Verdict::Fail) => {
                Err(format!("a failure needs its clause: clause = \"{}\"", case.clause.id))
            }
            None => Ok(()),
        }
    }
}

fn words(verdicts: &[Verdict]) -> String {
    let words: Vec<_> = verdicts.iter().map(|verdict| verdict.word()).collect();
    words.join(" or ")
}

#[cfg(test)]
mod tests;
