//! The specification as pages: every clause with its origin, how binding it is, and the cases that look at it.
//!
//! Clauses are written once, in `clause/`; the folder `conformance/spec` is made from them, so that a page and a case
//! cannot say different things.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::case::{Case, Level};
use crate::cases;
use crate::catalog;
use crate::clause::{Clause, DOCUMENTS, Document, Origin};

/// What the cases leave open about the clauses, and the clauses about the cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Number of clauses.
    pub clauses: usize,
    /// Number of cases.
    pub cases: usize,
    /// Clauses that no case looks at.
    pub untested: Vec<&'static str>,
    /// Cases whose clause is in no document's list.
    pub unfounded: Vec<&'static str>,
}

/// Holds clauses and cases against each other.
pub fn trace() -> Trace {
    let clauses: Vec<&Clause> = DOCUMENTS.iter().flat_map(|document| document.iter().copied()).collect();
    let tested = |clause: &&&Clause| catalog::all().any(|case| case.clause.id == clause.id);
    let listed = |case: &&Case| clauses.iter().any(|clause| clause.id == case.clause.id);
    Trace {
        clauses: clauses.len(),
        cases: catalog::all().count(),
        untested: clauses
            .iter()
            .filter(|clause| !tested(clause))
            .map(|clause| clause.id)
            .collect(),
        unfounded: catalog::all()
            .filter(|case| !listed(case))
            .map(|case| case.id)
            .collect(),
    }
}

/// The pages by file name: one for each document, and `clauses.md`, which lists them.
pub fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut index = String::from(INDEX_HEAD);
    for clauses in DOCUMENTS {
        let Some(document) = clauses.first().map(|clause| clause.document) else {
            continue;
        };
        let cases: usize = clauses.iter().map(|clause| cases_of(clause).count()).sum();
        let name = format!("{}.md", document.name);
        line(
            &mut index,
            &format!(
                "| [{}]({name}) | {} | {} | {} | {cases} |",
                document.name,
                document.title,
                origin(document.origin),
                clauses.len()
            ),
        );
        pages.insert(name, page(document, clauses));
    }
    pages.insert("clauses.md".to_owned(), index);
    pages
}

fn page(document: &Document, clauses: &[&Clause]) -> String {
    let mut out = String::new();
    line(&mut out, &format!("# {}\n", document.title));
    line(&mut out, MADE);
    line(&mut out, &format!("Origin: {}.", origin(document.origin)));
    if !document.url.is_empty() && !document.url.contains('{') {
        line(&mut out, &format!("On line: <{}>.", document.url));
    }
    for clause in clauses {
        line(&mut out, &format!("\n## {}\n", clause.id));
        let level = cases_of(clause).map(|case| case.level).min();
        let level = level.map_or("No case.", |level| match level {
            Level::Must => "**Must.**",
            Level::Should => "**Should.**",
            Level::May => "**May.**",
        });
        line(&mut out, &format!("{level} {}\n", clause.requirement));
        line(&mut out, &format!("Section: {}.\n", clause.section));
        for case in cases_of(clause) {
            line(
                &mut out,
                &format!("- `{}` ({}): {}", case.id, case.level.word(), case.title),
            );
        }
    }
    out
}

/// What fuzzing found is about a clause, but adds nothing to what it requires.
fn cases_of(clause: &Clause) -> impl Iterator<Item = &'static Case> {
    let designed = cases::AREAS.iter().flat_map(|area| area.iter());
    designed.filter(move |case| case.clause.id == clause.id)
}

/// Where a document's authority comes from, in words.
fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::DataSheet => "data sheet of the chip",
        Origin::Virtio => "virtio specification",
        Origin::MachineModel => "machine model of 2019",
        Origin::QemuDocumentation => "QEMU's documentation",
        Origin::BootProtocol => "what loaders and kernels agree on",
        Origin::Linux => "Linux relies on it",
        Origin::Observed => "observed on machines",
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _written = writeln!(out, "{text}");
}

const MADE: &str = "Made from `conformance/src/clause` by `touchstone spec --write conformance/spec`; edit there.\n";

const INDEX_HEAD: &str = "# Clauses by document\n\n\
    Made by `touchstone spec --write conformance/spec`. A clause is as binding as the most binding of its cases.\n\n\
    | page | document | origin | clauses | cases |\n|---|---|---|---:|---:|\n";
