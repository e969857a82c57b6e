//! Level and outcome become a verdict, in one table.

use std::fmt;

use crate::case::Level;
use crate::machine::{Broken, Stop};

/// What a body observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was as the clause says.
    Met,
    /// Something was not.
    NotMet,
    /// The body did not run to its end for a reason that says nothing about the clause.
    Stopped(Stop),
}

/// A closed list of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// As required.
    Pass,
    /// A Must is unmet.
    Fail,
    /// A Should is unmet; still conformant.
    Warn,
    /// Left open by the documents; the report says which way it went.
    Note,
    /// The profile lacks the part.
    NotApplicable,
    /// The subject cannot be asked.
    Unsupported,
    /// Harness or transport broke.
    Error,
    /// No answer within the limit.
    Timeout,
    /// The subject ended.
    Crash,
}

/// Judges an outcome.
pub fn judge(level: Level, outcome: &Outcome) -> Verdict {
    match (outcome, level) {
        (Outcome::Met, Level::May) => Verdict::Note,
        (Outcome::Met, Level::Must | Level::Should) => Verdict::Pass,
        (Outcome::NotMet | Outcome::Stopped(Stop::NotMet), Level::Must) => Verdict::Fail,
        (Outcome::NotMet | Outcome::Stopped(Stop::NotMet), Level::Should) => Verdict::Warn,
        (Outcome::NotMet | Outcome::Stopped(Stop::NotMet), Level::May) => Verdict::Note,
        (Outcome::Stopped(Stop::Unsupported(_) | Stop::Unavailable(_)), _) => Verdict::Unsupported,
        (Outcome::Stopped(Stop::NotApplicable(_)), _) => Verdict::NotApplicable,
        (Outcome::Stopped(Stop::Broken(Broken::Timeout(_))), _) => Verdict::Timeout,
        (Outcome::Stopped(Stop::Broken(Broken::Crash(_))), _) => Verdict::Crash,
        (Outcome::Stopped(Stop::Broken(Broken::Start(_) | Broken::Transport(_))), _) => Verdict::Error,
    }
}

impl Verdict {
    /// All verdicts, in report order.
    pub const ALL: [Verdict; 9] = [
        Verdict::Pass,
        Verdict::Fail,
        Verdict::Warn,
        Verdict::Note,
        Verdict::NotApplicable,
        Verdict::Unsupported,
        Verdict::Error,
        Verdict::Timeout,
        Verdict::Crash,
    ];

    /// The word used in reports and expectations.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Warn => "warn",
            Verdict::Note => "note",
            Verdict::NotApplicable => "not-applicable",
            Verdict::Unsupported => "unsupported",
            Verdict::Error => "error",
            Verdict::Timeout => "timeout",
            Verdict::Crash => "crash",
        }
    }

    /// The verdict a word stands for.
    pub fn from_word(word: &str) -> Option<Verdict> {
        Verdict::ALL.into_iter().find(|verdict| verdict.word() == word)
    }

    /// Whether a run with this verdict is as good as it gets without an expectation that says otherwise.
    pub fn is_fine(self) -> bool {
        match self {
            Verdict::Pass | Verdict::Warn | Verdict::Note | Verdict::NotApplicable | Verdict::Unsupported => true,
            Verdict::Fail | Verdict::Error | Verdict::Timeout | Verdict::Crash => false,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmet_requirement_weighs_as_its_level() {
        let verdicts = [Level::Must, Level::Should, Level::May].map(|level| judge(level, &Outcome::NotMet));
        assert_eq!(verdicts, [Verdict::Fail, Verdict::Warn, Verdict::Note]);
    }

    #[test]
    fn broken_subject_is_never_a_pass_or_a_skip() {
        for (broken, verdict) in [
            (Broken::Start(String::new()), Verdict::Error),
            (Broken::Crash(String::new()), Verdict::Crash),
            (Broken::Timeout(String::new()), Verdict::Timeout),
            (Broken::Transport(String::new()), Verdict::Error),
        ] {
            let judged = judge(Level::May, &Outcome::Stopped(Stop::Broken(broken)));
            assert_eq!(judged, verdict);
            assert!(!judged.is_fine());
        }
    }
}
