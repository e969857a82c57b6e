//! All cases, found by id and selected by pattern.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::case::{Body, Case};
pub use crate::cases::all;
use crate::machine::{Caps, Depth};

/// The case with this id.
pub fn by_id(id: &str) -> Option<&'static Case> {
    all().find(|case| case.id == id)
}

/// Whether an id is selected by a pattern: the id itself, a prefix that ends at a `/` (`rtc` selects `rtc/...`), or a
/// glob in which `*` stands for any run of characters, `/` included, and `?` for one.
pub fn matches(pattern: &str, id: &str) -> bool {
    if pattern.contains(['*', '?']) {
        return glob(pattern.as_bytes(), id.as_bytes());
    }
    let prefix = pattern.strip_suffix('/').unwrap_or(pattern);
    id.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The area of a case: its id up to the first `/`.
pub fn area(case: &Case) -> &'static str {
    case.id.split_once('/').map_or(case.id, |(area, _)| area)
}

/// All areas, sorted.
pub fn areas() -> BTreeSet<&'static str> {
    all().map(area).collect()
}

/// The nearest thing there is to an id or pattern that selects nothing: ids that share its words.
pub fn near(pattern: &str) -> Vec<&'static str> {
    let words: Vec<&str> = pattern
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() >= 3)
        .collect();
    let mut ids: Vec<_> = all()
        .map(|case| case.id)
        .filter(|id| words.iter().any(|word| id.contains(word)))
        .collect();
    ids.truncate(NEAR_MAX);
    ids
}

/// Cases as a JSON list; its fields are stable.
pub fn to_json(cases: &[&Case]) -> String {
    let cases: Vec<_> = cases.iter().map(|case| Listed::new(case)).collect();
    json(&cases)
}

/// Cases in lanes as a JSON list; its fields are stable.
pub fn units_to_json<'a>(units: impl Iterator<Item = (String, &'a Case)>) -> String {
    let units: Vec<_> = units
        .map(|(lane, case)| ListedUnit {
            lane,
            case: Listed::new(case),
        })
        .collect();
    json(&units)
}

/// One case for a reader: what it requires, where that comes from, and how to run it.
pub fn explain(case: &Case) -> String {
    let clause = case.clause;
    let place = clause.url().map_or(String::new(), |url| format!("\n    {url}"));
    let features: Vec<_> = case.features.iter().map(|feature| format!("{feature:?}")).collect();
    let depths: Vec<_> = depths(case).iter().map(|depth| depth.word()).collect();
    format!(
        "{id}\n    {title}\n\nrequired ({level}) by {document}, {section}{place}\n    {clause_id}: {requirement}\n\n\
         runs at: {depths}\nabout: {features}\nneeds: {needs}\nset-up: {setup:?}\n\n\
         cargo xtask conformance --filter {id}",
        id = case.id,
        title = case.title,
        level = case.level.word(),
        document = clause.document.title,
        section = clause.section,
        clause_id = clause.id,
        requirement = clause.requirement,
        depths = depths.join(", "),
        features = features.join(", "),
        needs = case.needs,
        setup = case.setup,
    )
}

/// The depths a case can run at.
pub fn depths(case: &Case) -> Vec<Depth> {
    let fits = |depth: &Depth| match case.body {
        Body::Bus(_) | Body::Program(_) => *depth != Depth::Guest,
        Body::Guest { .. } => *depth == Depth::Guest,
    };
    Depth::ALL.into_iter().filter(fits).collect()
}

#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    title: &'a str,
    level: &'a str,
    clause: &'a str,
    features: Vec<String>,
    needs: Vec<&'a str>,
    depths: Vec<&'a str>,
}

#[derive(Serialize)]
struct ListedUnit<'a> {
    lane: String,
    #[serde(flatten)]
    case: Listed<'a>,
}

impl<'a> Listed<'a> {
    fn new(case: &'a Case) -> Listed<'a> {
        let needs = Caps::NAMED.iter().filter(|(_, cap)| case.needs.0 & cap.0 != 0);
        let needs = needs.map(|(name, _)| *name);
        Listed {
            id: case.id,
            title: case.title,
            level: case.level.word(),
            clause: case.clause.id,
            features: case.features.iter().map(|feature| format!("{feature:?}")).collect(),
            needs: needs.collect(),
            depths: depths(case).iter().map(|depth| depth.word()).collect(),
        }
    }
}

fn json(value: &impl Serialize) -> String {
    // Strings and lists only: there is nothing that JSON cannot hold.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // Greedy with one point to come back to: linear in text for each star, no recursion.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Most ids named as near.
const NEAR_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("rtc", "rtc/register-c/read-clears", true)]
    #[case("rtc/", "rtc/register-c/read-clears", true)]
    #[case("rtc/register-c", "rtc/register-c/read-clears", true)]
    #[case("rtc/register-c/read-clears", "rtc/register-c/read-clears", true)]
    #[case("rtc/reg", "rtc/register-c/read-clears", false)]
    #[case("rtc/reg*", "rtc/register-c/read-clears", true)]
    #[case("*/read-clears", "rtc/register-c/read-clears", true)]
    #[case("*register*clears", "rtc/register-c/read-clears", true)]
    #[case("rt?/*", "rtc/register-c/read-clears", true)]
    #[case("rt?", "rtc/register-c/read-clears", false)]
    #[case("*x*", "rtc/register-c/read-clears", false)]
    fn pattern_selects(#[case] pattern: &str, #[case] id: &str, #[case] selected: bool) {
        assert_eq!(matches(pattern, id), selected);
    }
}
