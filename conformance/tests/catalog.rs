//! The suite checks itself: ids, titles and clauses are complete and in order.

use std::collections::{BTreeMap, BTreeSet};

use conformance::case::Case;
use conformance::cases::AREAS;
use conformance::catalog;
use conformance::clause::Clause;
use conformance::spec;

#[test]
fn ids_are_unique_and_well_formed() {
    let mut seen = BTreeSet::new();
    for case in catalog::all() {
        assert!(seen.insert(case.id), "{} is there twice", case.id);
        let parts: Vec<_> = case.id.split('/').collect();
        assert_eq!(parts.len(), 3, "{} is not area/thing/behaviour", case.id);
        for part in parts {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            assert!(part.chars().all(fits), "{}: '{part}'", case.id);
            assert!(
                edge(part.chars().next()) && edge(part.chars().last()),
                "{}: '{part}'",
                case.id
            );
        }
    }
}

#[test]
fn cases_are_sorted_within_their_area() {
    for area in AREAS {
        for pair in area.windows(2) {
            assert!(pair[0].id < pair[1].id, "{} stands before {}", pair[0].id, pair[1].id);
        }
    }
}

#[test]
fn each_area_is_one_slice() {
    let names: Vec<_> = AREAS.iter().filter_map(|area| area.first()).map(Case::area).collect();
    let unique: BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), unique.len(), "{names:?}");
    for area in AREAS {
        for case in *area {
            assert_eq!(case.area(), area[0].area(), "{}", case.id);
        }
    }
}

#[test]
fn titles_and_requirements_are_sentences() {
    for case in catalog::all() {
        for text in [case.title, case.clause.requirement] {
            let first = text.chars().next().expect("text");
            assert!(!first.is_ascii_whitespace(), "{}: '{text}'", case.id);
            assert!(text.ends_with('.'), "{}: '{text}' does not end as a sentence", case.id);
            assert!(text.contains(' '), "{}: '{text}' is no sentence", case.id);
            assert!(!text.contains('\n'), "{}: '{text}' has a line break", case.id);
        }
    }
}

#[test]
fn titles_are_unique() {
    let mut seen = BTreeMap::new();
    for case in catalog::all() {
        if let Some(other) = seen.insert(case.title, case.id) {
            panic!("{other} and {} have the same title", case.id);
        }
    }
}

#[test]
fn clauses_are_complete_and_their_ids_name_one_thing() {
    let mut seen: BTreeMap<&str, &Clause> = BTreeMap::new();
    for case in catalog::all() {
        let clause = case.clause;
        let document = clause.document;
        assert!(
            clause.id.split_once('/').is_some_and(|(name, _)| name == document.name),
            "{}: clause {} does not begin with its document's name {}",
            case.id,
            clause.id,
            document.name
        );
        assert!(!clause.section.is_empty(), "{}", clause.id);
        assert!(!document.title.is_empty(), "{}", clause.id);
        assert!(
            document.url.is_empty() || document.url.starts_with("https://"),
            "{}: {}",
            clause.id,
            document.url
        );
        let first = *seen.entry(clause.id).or_insert(clause);
        assert_eq!(first, clause, "two clauses are named {}", clause.id);
    }
}

#[test]
fn explained_case_names_its_requirement_and_how_to_run_it() {
    let case = catalog::all().next().expect("there are cases");
    let text = catalog::explain(case);
    assert!(text.contains(case.clause.requirement), "{text}");
    assert!(
        text.ends_with(&format!("cargo xtask conformance --filter {}", case.id)),
        "{text}"
    );
}

#[test]
fn every_clause_has_a_case_and_every_case_a_clause() {
    let trace = spec::trace();
    assert!(
        trace.untested.is_empty(),
        "clauses without a case: {:?}",
        trace.untested
    );
    assert!(
        trace.unfounded.is_empty(),
        "cases without a clause: {:?}",
        trace.unfounded
    );
}

#[test]
fn pages_of_the_specification_are_as_the_clauses() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/spec");
    for (name, text) in spec::pages() {
        let have = std::fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
        assert!(
            have == text,
            "spec/{name} is stale: run touchstone spec --write conformance/spec"
        );
    }
}
