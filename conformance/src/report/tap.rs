//! A report as TAP version 14: one test point for each case and lane.
//!
//! Source: Test Anything Protocol, version 14, "TAP14 Format" (test points, directives, YAML diagnostics, escaping).

use std::fmt::Write;

use super::{Entry, Report, StandingFacts};

/// What is as it should be is `ok`; a known deviation is TODO, what was not asked is SKIP. Problems of the run as a
/// whole are test points of their own.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = render_to(&mut out, report);
    out
}

fn render_to(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "TAP version 14")?;
    writeln!(out, "1..{}", report.results.len() + report.problems.len())?;
    let mut number = 0;
    for entry in &report.results {
        number += 1;
        point(out, report, entry, number)?;
    }
    for problem in &report.problems {
        number += 1;
        writeln!(out, "not ok {number} - {}", escape(problem))?;
    }
    writeln!(out, "# {}", report.totals())
}

fn point(out: &mut String, report: &Report, entry: &Entry, number: usize) -> std::fmt::Result {
    let lane = &report.lanes[entry.lane].title;
    let name = escape(&format!("{lane} {}", entry.case));
    let reason = entry.reason.as_deref().unwrap_or_default();
    match &entry.standing {
        StandingFacts::Known(why) => return writeln!(out, "not ok {number} - {name} # TODO {}", escape(why)),
        StandingFacts::Expected if entry.is_skip() => {
            let reason = format!("{}: {reason}", entry.verdict);
            return writeln!(out, "ok {number} - {name} # SKIP {}", escape(&reason));
        }
        StandingFacts::Expected => return writeln!(out, "ok {number} - {name}"),
        StandingFacts::Unexpected(_) => {}
    }
    writeln!(out, "not ok {number} - {name}")?;
    writeln!(out, "  ---")?;
    let clause = &entry.clause;
    let place = format!("{}, {}: {}", clause.document, clause.section, clause.requirement);
    for (key, value) in [
        ("verdict", entry.verdict.as_str()),
        ("title", &entry.title),
        ("requirement", &place),
        ("reason", reason),
        ("replay", &entry.replay),
    ] {
        if !value.is_empty() {
            writeln!(out, "  {key}: {}", quoted(value))?;
        }
    }
    if !entry.mismatches.is_empty() {
        writeln!(out, "  mismatches:")?;
    }
    for mismatch in &entry.mismatches {
        let point = mismatch
            .point
            .as_deref()
            .map_or(String::new(), |point| format!("{point}: "));
        writeln!(out, "    - what: {}", quoted(&format!("{point}{}", mismatch.what)))?;
        writeln!(out, "      got: {}", quoted(&mismatch.got))?;
        writeln!(out, "      want: {}", quoted(&mismatch.want))?;
    }
    writeln!(out, "  ...")
}

/// A description or the text of a directive: one line, in which `#` and `\` do not begin anything.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '#' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A YAML string; JSON's are a subset.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
