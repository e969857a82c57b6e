//! What conformance to a profile means: a frozen list of Must cases, `golden/mustpass/PROFILE.txt`.
//!
//! A new case does not change yesterday's claim; it joins the list in a reviewed commit. An id that leaves the list has
//! a line in `golden/mustpass/retired.txt`, so that whoever keyed something on it learns where it went.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::case::Level;
use crate::catalog;
use crate::layout::Layout;

/// The ids of one profile's list.
pub type List = BTreeSet<String>;

/// Ids that are gone: old id to the id that has taken its place, if any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    entries: BTreeMap<String, Option<String>>,
}

/// How a list stands to the cases there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Listed, but no Must of the profile any more, and not retired: an error.
    pub vanished: Vec<String>,
    /// Listed and retired: the list is behind.
    pub retired: Vec<String>,
    /// A Must of the profile that is not listed yet.
    pub new: Vec<String>,
}

/// The Must cases of a profile as they are now.
pub fn current(layout: &Layout) -> List {
    let musts = catalog::all().filter(|case| case.level == Level::Must);
    let musts = musts.filter(|case| case.features.iter().all(|feature| layout.has(*feature)));
    musts.map(|case| case.id.to_owned()).collect()
}

/// Reads a list: one id a line, `#` begins a comment; `place` names it in messages.
///
/// # Errors
/// One line that names the place of what is not an id or stands twice.
pub fn parse(place: &str, text: &str) -> Result<List, String> {
    let mut list = List::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !is_id(line) {
            return Err(format!("{place}:{number}: '{line}' is not area/thing/behaviour"));
        }
        if !list.insert(line.to_owned()) {
            return Err(format!("{place}:{number}: {line} stands there twice; remove one"));
        }
    }
    Ok(list)
}

/// The text of a list.
pub fn to_text(layout: &Layout, list: &List) -> String {
    let mut text = format!(
        "# Must cases of profile {}: conformance means that all of them pass. touchstone mustpass --profile {} \
         --write\n\
         # adds what is new; an id leaves by a line in retired.txt. {} ids, suite {}.\n",
        layout.profile,
        layout.profile,
        list.len(),
        env!("CARGO_PKG_VERSION")
    );
    for id in list {
        let _infallible = writeln!(text, "{id}");
    }
    text
}

impl Retired {
    /// Reads retired ids: `OLD NEW` or `OLD -` a line, and a reason after `#`.
    ///
    /// # Errors
    /// One line that names the place of what is malformed, unexplained, stands twice, or is still or never was a case.
    pub fn parse(place: &str, text: &str) -> Result<Retired, String> {
        let mut retired = Retired::default();
        for (line, number) in text.lines().zip(1..) {
            let fail = |problem: &str| Err(format!("{place}:{number}: {problem}"));
            let (ids, reason) = line.split_once('#').unwrap_or((line, ""));
            let words: Vec<&str> = ids.split_ascii_whitespace().collect();
            let (old, new) = match words[..] {
                [] => continue,
                [old, new] if is_id(old) && (new == "-" || is_id(new)) => (old, new),
                _ => return fail("write OLD NEW # reason, or OLD - # reason"),
            };
            if reason.trim().is_empty() {
                return fail(&format!("{old} has no reason; say why it is gone after a #"));
            }
            if old != new && catalog::by_id(old).is_some() {
                return fail(&format!("{old} is a case; an id is never used again"));
            }
            if new != "-" && catalog::by_id(new).is_none() {
                return fail(&format!("{new} is no case"));
            }
            let new = (new != "-").then(|| new.to_owned());
            if retired.entries.insert(old.to_owned(), new).is_some() {
                return fail(&format!("{old} stands there twice; remove one"));
            }
        }
        Ok(retired)
    }

    /// Whether an id is retired.
    pub fn has(&self, id: &str) -> bool {
        self.entries.contains_key(id)
    }
}

/// Holds a list against the cases there are.
pub fn compare(layout: &Layout, listed: &List, retired: &Retired) -> Difference {
    let current = current(layout);
    let gone = listed.difference(&current).cloned();
    let (retired, vanished) = gone.partition(|id| retired.has(id));
    Difference {
        vanished,
        retired,
        new: current.difference(listed).cloned().collect(),
    }
}

/// Whether a Must case counts for a claim about a profile: it is on its list, or is no case of this suite's list at all
/// (a report of another suite).
pub fn counts(profile: &str, id: &str) -> bool {
    let Some((_, text)) = LISTS.iter().find(|(own, _)| *own == profile) else {
        return true;
    };
    catalog::by_id(id).is_none() || text.lines().any(|line| line == id)
}

fn is_id(word: &str) -> bool {
    let part = |part: &str| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && part.bytes().all(is_plain)
    };
    word.split('/').count() == 3 && word.split('/').all(part)
}

/// The lists, as this program was built with them.
pub const LISTS: [(&str, &str); 3] = [
    ("microvm-2019", include_str!("../../golden/mustpass/microvm-2019.txt")),
    ("qemu-7.2", include_str!("../../golden/mustpass/qemu-7.2.txt")),
    ("rust-vmm", include_str!("../../golden/mustpass/rust-vmm.txt")),
];

/// The retired ids, as this program was built with them.
pub const RETIRED: &str = include_str!("../../golden/mustpass/retired.txt");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::MICROVM_2019;

    #[test]
    fn no_listed_id_vanishes_without_a_line_that_says_where_it_went() {
        let retired = Retired::parse("golden/mustpass/retired.txt", RETIRED).expect("parses");
        for layout in Layout::ALL {
            let (_, text) = LISTS
                .iter()
                .find(|(profile, _)| *profile == layout.profile)
                .expect(layout.profile);
            let listed = parse(layout.profile, text).expect("parses");
            assert!(!listed.is_empty(), "{}", layout.profile);
            let difference = compare(layout, &listed, &retired);
            assert_eq!(difference.vanished, [] as [String; 0], "{}", layout.profile);
        }
    }

    #[test]
    fn text_of_a_list_reads_as_the_list() {
        let list = current(&MICROVM_2019);
        assert_eq!(parse("p", &to_text(&MICROVM_2019, &list)), Ok(list));
    }

    #[test]
    fn id_that_is_gone_is_vanished_until_it_is_retired() {
        let mut listed = current(&MICROVM_2019);
        let new = listed.pop_last().expect("there are cases");
        listed.insert("old/thing/behaviour".to_owned());
        let difference = compare(&MICROVM_2019, &listed, &Retired::default());
        assert_eq!(difference.vanished, ["old/thing/behaviour"]);
        assert_eq!(difference.new, std::slice::from_ref(&new));
        let retired = Retired::parse("r", &format!("old/thing/behaviour {new} # renamed")).expect("parses");
        let difference = compare(&MICROVM_2019, &listed, &retired);
        assert_eq!((difference.vanished.len(), difference.retired.len()), (0, 1));
    }

    #[test]
    fn wrong_line_is_named() {
        let id = catalog::all().next().expect("there are cases").id;
        let is_case = format!("{id} - # gone");
        let case_message = format!("r:1: {id} is a case; an id is never used again");
        for (text, message) in [
            ("a/b/c\n", "r:1: write OLD NEW # reason, or OLD - # reason"),
            ("a/b/c -", "r:1: a/b/c has no reason; say why it is gone after a #"),
            ("# x\na/b/c d/e/f # x", "r:2: d/e/f is no case"),
            ("a/b/c - # x\na/b/c - # y", "r:2: a/b/c stands there twice; remove one"),
            (&is_case, &case_message),
        ] {
            assert_eq!(Retired::parse("r", text), Err(message.to_owned()));
        }
        assert_eq!(
            parse("l", "a/b\n"),
            Err("l:1: 'a/b' is not area/thing/behaviour".to_owned())
        );
        assert_eq!(
            parse("l", "a/b/c\na/b/c"),
            Err("l:2: a/b/c stands there twice; remove one".to_owned())
        );
    }

    #[test]
    fn new_case_does_not_count_until_it_is_listed() {
        assert!(counts("microvm-2019", "rtc/register-c/read-clears"));
        assert!(!counts("rust-vmm", "rtc/register-c/read-clears"));
        assert!(counts("another", "rtc/register-c/read-clears"));
        assert!(counts("microvm-2019", "a/fails/so"));
    }
}
