//! Differences that are settled in writing: who is right, by which clause, and where they show.

use std::path::Path;

use serde::Deserialize;

use super::compare::Difference;
use super::peculiar::Peculiarity;

/// The decisions about one subject.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    /// The file, for messages.
    #[serde(skip)]
    pub place: String,
    /// One decision each.
    #[serde(default, rename = "difference")]
    pub decisions: Vec<Decision>,
}

/// One decision.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Who is right.
    pub right: Right,
    /// The requirement, as `touchstone explain` names it; empty where the documents say nothing.
    pub clause: String,
    /// Why.
    pub reason: String,
    /// How much of a program is worth comparing after it.
    #[serde(default)]
    pub then: Then,
    /// One of these comes before it in the program, since the last reset if it does not last longer; empty for any
    /// program.
    #[serde(default)]
    pub after: Vec<Peculiarity>,
    /// Only these bits of a number differ; all when left out.
    pub mask: Option<u64>,
    /// Where it shows, as `area | operation | subject | reference`; in a part `*` stands for any text, `?` for
    /// one character and `[abc]` for one of these.
    pub at: Vec<String>,
}

/// Who is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// The reference is, and the subject deviates.
    Reference,
    /// The subject is.
    Subject,
    /// The documents allow both.
    Both,
    /// Nobody knows yet.
    Open,
}

/// What a difference does to the rest of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// The answer differs, the state does not.
    #[default]
    GoOn,
    /// The states differ until the next reset.
    Reset,
    /// The states differ until the machines are started anew.
    Restart,
}

impl Settled {
    /// Reads the decisions.
    ///
    /// # Errors
    /// Names the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Settled, String> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{place}: {error}"))?;
        Settled::parse(&place, &text)
    }

    /// Takes text; `place` names it in errors.
    ///
    /// # Errors
    /// Names the place and what is wrong in it.
    pub fn parse(place: &str, text: &str) -> Result<Settled, String> {
        let mut settled: Settled = toml::from_str(text).map_err(|error| format!("{place}: {error}"))?;
        for decision in &settled.decisions {
            if decision.reason.trim().is_empty() {
                return Err(format!("{place}: the difference at {:?} has no reason", decision.at));
            }
            if let Some(wrong) = decision.at.iter().find(|at| at.split(" | ").count() != PARTS) {
                return Err(format!(
                    "{place}: '{wrong}' is not 'area | operation | subject | reference'"
                ));
            }
        }
        place.clone_into(&mut settled.place);
        Ok(settled)
    }

    /// The number of the decision that covers a difference, and of its pattern. `before` is what was
    /// peculiar about the actions before it.
    pub fn find(&self, area: &str, difference: &Difference, before: &[Peculiarity]) -> Option<(usize, usize)> {
        let texts = [area, &difference.operation, &difference.subject, &difference.reference];
        let covers = |at: &String| {
            let parts: Vec<&str> = at.split(" | ").map(str::trim).collect();
            parts.len() == PARTS
                && parts
                    .iter()
                    .zip(texts)
                    .all(|(part, text)| fits(part.as_bytes(), text.as_bytes()))
        };
        let decisions = self.decisions.iter().enumerate();
        decisions
            .filter(|(_, decision)| decision.mask.is_none_or(|mask| difference.is_within(mask)))
            .filter(|(_, decision)| decision.comes_after(before))
            .find_map(|(index, decision)| Some((index, decision.at.iter().position(covers)?)))
    }
}

impl Decision {
    fn comes_after(&self, before: &[Peculiarity]) -> bool {
        self.after.is_empty() || self.after.iter().any(|wanted| before.contains(wanted))
    }
}

/// Whether a text is what a pattern says. Patterns are short, and few of them have more than one `*`.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|from| fits(rest, &text[from..])),
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == b']').unwrap_or(rest.len());
            let (choice, after) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
            matches!(text, [first, others @ ..] if choice.contains(first) && fits(after, others))
        }
        [b'?', rest @ ..] => matches!(text, [_, others @ ..] if fits(rest, others)),
        [byte, rest @ ..] => matches!(text, [first, others @ ..] if first == byte && fits(rest, others)),
    }
}

/// Parts of a pattern.
const PARTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[difference]]
        right = "reference"
        clause = "ns16550/modem-status"
        reason = "Because."
        after = ["loopback"]
        mask = 0x0f
        at = ["serial | inb 0x3fe | * | *"]
    "#;

    fn difference(operation: &str, subject: &str, reference: &str) -> Difference {
        Difference {
            index: 0,
            operation: operation.to_owned(),
            subject: subject.to_owned(),
            reference: reference.to_owned(),
        }
    }

    #[test]
    fn decision_covers_its_bits_after_its_operation_alone() {
        let settled = Settled::parse("test", TEXT).expect("well-formed");
        let before = [Peculiarity::Loopback];
        let differs = difference("inb 0x3fe", "b0", "b4");
        assert_eq!(settled.find("serial", &differs, &before), Some((0, 0)));
        assert_eq!(settled.find("serial", &differs, &[]), None);
        assert_eq!(settled.find("pic", &differs, &before), None);
        assert_eq!(
            settled.find("serial", &difference("inb 0x3fe", "b0", "a4"), &before),
            None
        );
        assert_eq!(
            settled.find("serial", &difference("inb 0x3fe", "raise 4 b0", "b4"), &before),
            None
        );
        assert_eq!(
            settled.find("serial", &difference("inb 0x3fd", "b0", "b4"), &before),
            None
        );
    }

    #[test]
    fn pattern_has_stars_single_characters_and_choices() {
        for (pattern, text, want) in [
            ("", "", true),
            ("*", "", true),
            ("in[bw] 0x2?", "inw 0x21", true),
            ("in[bw] 0x2?", "inl 0x21", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b", "a", false),
            ("a", "ab", false),
            ("?", "", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), want, "{pattern} on {text}");
        }
    }

    #[test]
    fn decision_without_reason_and_crooked_pattern_are_refused() {
        let without = TEXT.replace("Because.", " ");
        let error = Settled::parse("test", &without).expect_err("no reason");
        assert!(error.contains("has no reason"), "{error}");
        let crooked = TEXT.replace("serial | inb", "serial inb");
        let error = Settled::parse("test", &crooked).expect_err("three parts");
        assert!(error.contains("is not 'area | operation"), "{error}");
    }
}
