//! Differences between a recording and the reference that were settled in writing: who is right, by which document.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::catalog;
use crate::clause;
use crate::files;
use crate::replay::Difference;

/// The decisions about one recording.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    /// The file, for messages.
    #[serde(skip)]
    pub place: String,
    /// One decision each.
    #[serde(default, rename = "difference")]
    pub differences: Vec<Decision>,
}

/// One decision: who is right, and where it shows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Who is right.
    pub right: Right,
    /// Id of the clause that says so.
    pub clause: String,
    /// Ids of the cases that show it, if any do.
    #[serde(default)]
    pub cases: Vec<String>,
    /// What the document says and what the other does.
    pub reason: String,
    /// How many answers of the recording it is about: one more or less, and something else changed.
    pub count: usize,
    /// Where it shows, as `record | operation | recorded | answered`. In a part `*` stands for any text and a capital
    /// letter for one hexadecimal digit, the same wherever it stands in the pattern.
    pub at: Vec<String>,
}

/// Who is right where two machines differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// The reference.
    Reference,
    /// The machine that was recorded.
    Recorded,
    /// Both: the documents leave it open.
    Both,
}

impl Right {
    /// In a decision and in a report.
    pub fn word(self) -> &'static str {
        match self {
            Right::Reference => "reference",
            Right::Recorded => "recorded",
            Right::Both => "both",
        }
    }
}

/// Decisions that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettledError {
    /// The file.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl Settled {
    /// Where the decisions about a recording in a folder stand, if there are any.
    pub fn beside(recording: &Path) -> Option<PathBuf> {
        Some(recording.join("settled.toml")).filter(|file| file.is_file())
    }

    /// Reads the decisions.
    ///
    /// # Errors
    /// [`SettledError`] names the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Settled, SettledError> {
        let place = path.display().to_string();
        let fail = |problem: String| SettledError {
            place: place.clone(),
            problem,
        };
        let text = files::read_text(path, files::WRITTEN_BYTES_MAX).map_err(|error| fail(error.to_string()))?;
        Settled::parse(&place, &text)
    }

    /// Reads the decisions out of a text; `place` names it in errors.
    ///
    /// # Errors
    /// [`SettledError`] as [`Settled::read`].
    pub fn parse(place: &str, text: &str) -> Result<Settled, SettledError> {
        let fail = |problem: String| SettledError {
            place: place.to_owned(),
            problem,
        };
        let mut settled: Settled = toml::from_str(text).map_err(|error| fail(error.to_string()))?;
        settled.place = place.to_owned();
        for decision in &settled.differences {
            decision.check().map_err(fail)?;
        }
        Ok(settled)
    }

    /// The pattern that covers a difference, as (decision, pattern) indices.
    pub fn find(&self, difference: &Difference) -> Option<(usize, usize)> {
        let text = difference.to_string();
        let decisions = self.differences.iter().enumerate();
        let mut found = decisions
            .filter_map(|(index, decision)| Some((index, decision.at.iter().position(|at| covers(at, &text))?)));
        found.next()
    }
}

impl Decision {
    fn check(&self) -> Result<(), String> {
        if self.reason.trim().is_empty() {
            return Err(format!("the difference at {:?} has no reason", self.at));
        }
        if let Some(wrong) = self.at.iter().find(|pattern| pattern.split(SEPARATOR).count() != 4) {
            return Err(format!("'{wrong}' is not 'record | operation | recorded | answered'"));
        }
        if !clause::DOCUMENTS
            .iter()
            .flat_map(|clauses| clauses.iter())
            .any(|own| own.id == self.clause)
        {
            return Err(format!("there is no clause '{}'; see touchstone spec", self.clause));
        }
        match self.cases.iter().find(|case| catalog::by_id(case).is_none()) {
            Some(case) => Err(format!("there is no case '{case}'; see touchstone list")),
            None => Ok(()),
        }
    }
}

/// Between the parts of a pattern and of a difference.
pub const SEPARATOR: &str = " | ";

fn covers(pattern: &str, text: &str) -> bool {
    let parts = pattern.split(SEPARATOR).zip(text.split(SEPARATOR));
    let mut digits = [None; 26];
    parts
        .into_iter()
        .all(|(part, text)| matches(part.trim().as_bytes(), text.trim().as_bytes(), &mut digits))
}

/// `*` stands for any text, a capital letter for the hexadecimal digit that `digits` has for it, or for any if it has
/// none yet; the rest stands for itself.
fn matches(mut pattern: &[u8], mut text: &[u8], digits: &mut [Option<u8>; 26]) -> bool {
    while let Some((&first, rest)) = pattern.split_first() {
        if first == b'*' {
            let before = *digits;
            return (0..=text.len()).any(|skipped| {
                *digits = before;
                matches(rest, &text[skipped..], digits)
            });
        }
        let Some((&letter, tail)) = text.split_first() else {
            return false;
        };
        let is_same = if first.is_ascii_uppercase() {
            let known = &mut digits[usize::from(first - b'A')];
            letter.is_ascii_hexdigit() && *known.get_or_insert(letter) == letter
        } else {
            first == letter
        };
        if !is_same {
            return false;
        }
        (pattern, text) = (rest, tail);
    }
    text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_covers_what_it_says_and_no_more() {
        for (pattern, text, want) in [
            ("* | inb 0x71 |  | 3", "time/1 | inb 0x71 |  | 3", true),
            (
                "random/rtc/* | inb 0x71 | 0 | 3",
                "random/rtc/17 | inb 0x71 | 0 | 3",
                true,
            ),
            (
                "random/rtc/* | inb 0x71 | 0 | 3",
                "random/pit/17 | inb 0x71 | 0 | 3",
                false,
            ),
            ("*/modern | a | b | c", "random/virtio_mmio/3/modern | a | b | c", true),
            ("r | a*b*c | 0 | 1", "r | a-b-b-c | 0 | 1", true),
            ("r | a | 0 | 1", "r | ab | 0 | 1", false),
            ("r | a*b | 0 | 1", "r | a | 0 | 1", false),
            ("r | inb 0x3fe | X0 | XY", "r | inb 0x3fe | b0 | b4", true),
            ("r | inb 0x3fe | X0 | XY", "r | inb 0x3fe | b0 | 94", false),
            ("r | inb 0x3fe | X0 | XY", "r | inb 0x3fe | b0 | b", false),
            ("r | read | 00XYXY | 0000XY", "r | read | 002525 | 000025", true),
            ("r | read | 00XYXY | 0000XY", "r | read | 002525 | 000026", false),
            ("r | read | *XX | 0", "r | read | 1233 | 0", true),
        ] {
            assert_eq!(covers(pattern, text), want, "{pattern} on {text}");
        }
    }

    #[test]
    fn wrong_decision_is_named() {
        for (text, problem) in [
            (r#"clause = "i8254/latch""#, "missing field `right`"),
            (r#"right = "nobody""#, "unknown variant `nobody`"),
            (
                "right = \"both\"\nclause = \"i8254/nope\"",
                "there is no clause 'i8254/nope'",
            ),
            (
                "right = \"both\"\nclause = \"i8254/latch\"\ncases = [\"pit/nope\"]",
                "there is no case 'pit/nope'",
            ),
        ] {
            let text = format!("[[difference]]\nreason = \"r\"\ncount = 1\nat = [\"a | b | c | d\"]\n{text}\n");
            let error = Settled::parse("x.toml", &text).expect_err(&text).to_string();
            assert!(error.starts_with("x.toml: ") && error.contains(problem), "{error}");
        }
        for (text, problem) in [
            ("reason = \" \"\nat = [\"a | b | c | d\"]", "has no reason"),
            (
                "reason = \"r\"\nat = [\"a | b | c\"]",
                "'a | b | c' is not 'record | operation",
            ),
        ] {
            let text = format!("[[difference]]\ncount = 1\nright = \"both\"\nclause = \"i8254/latch\"\n{text}\n");
            let error = Settled::parse("x.toml", &text).expect_err(&text).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
