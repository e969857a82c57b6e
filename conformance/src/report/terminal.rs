//! A report for people at a terminal.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::arbitration::Dispute;
use super::{Entry, Report, StandingFacts};
use crate::verdict::Verdict;

/// Unexpected results in full, then problems, skips with their reasons, the table and the last line.
pub fn summary(report: &Report) -> String {
    let mut out = String::new();
    let unexpected: Vec<_> = report.results.iter().filter(|entry| entry.is_unexpected()).collect();
    for entry in unexpected.iter().take(DETAILS_MAX) {
        details(&mut out, report, entry);
    }
    if DETAILS_MAX < unexpected.len() {
        let rest = unexpected.len() - DETAILS_MAX;
        line(
            &mut out,
            &format!("... and {rest} more, all of them in report.json (--report FILE)\n"),
        );
    }
    let mut any_skip = false;
    for (index, lane) in report.lanes.iter().enumerate() {
        for (reason, count) in report.skips(index) {
            if !any_skip {
                line(&mut out, "skipped:");
            }
            any_skip = true;
            line(&mut out, &format!("  {count:4}  {}  {reason}", lane.title));
        }
    }
    if any_skip {
        out.push('\n');
    }
    let open = report.results.iter().filter(|entry| entry.wants_real_kvm()).count();
    if open != 0 {
        line(
            &mut out,
            &format!(
                "{open} results are open for want of a KVM with help of a CPU: `cargo xtask conformance --lab` runs \
                 depths cpu and guest\nin an emulated machine that has one\n"
            ),
        );
    }
    let disputes = report.disputes();
    if !disputes.is_empty() {
        line(&mut out, "disputed, one lane passes what another does not:");
        disputes.iter().for_each(|dispute| disputed(&mut out, dispute));
        out.push('\n');
    }
    for recording in &report.recordings {
        let (source, lane, answers) = (&recording.source, &recording.lane, recording.answers);
        let (settled, unsettled) = (recording.settled(), recording.unsettled.len());
        let text = format!(
            "recording: {source} against {lane}: {answers} answers, {settled} differ and are settled, {unsettled} are \
             not"
        );
        line(&mut out, &text);
    }
    for problem in &report.problems {
        line(&mut out, &format!("problem: {problem}"));
    }
    let boots = boots(report);
    if !boots.is_empty() {
        line(
            &mut out,
            "one boot of each, host time in ms from the subject's start to the guest's mark:",
        );
        line(&mut out, &boot_table(&boots));
        out.push('\n');
    }
    if let hosts @ [_, _, ..] = &report.hosts()[..] {
        let numbered = hosts.iter().zip(1..);
        numbered.for_each(|(host, number)| line(&mut out, &format!("host {number}: {host}")));
    }
    line(&mut out, &totals_table(report));
    if let Some(seed) = report.seed {
        line(&mut out, &format!("order of running: --shuffle={seed}"));
    }
    line(&mut out, &report.totals().to_string());
    out
}

/// Cases by lanes and recordings.
pub fn matrix(report: &Report) -> String {
    let mut table = table();
    let mut header = vec!["case".to_owned()];
    header.extend(report.lanes.iter().map(|lane| lane.title.replace('/', "\n")));
    header.extend(
        report
            .recordings
            .iter()
            .map(|own| format!("{}\nrecorded\n{}", own.title(), own.profile)),
    );
    table.set_header(header);
    for row in rows(report) {
        let mut cells = vec![row.case.to_owned()];
        cells.extend(row.cells.iter().map(|cell| cell.map_or("", mark).to_owned()));
        let stances = report
            .recordings
            .iter()
            .map(|own| report.stance(own, row.case).word().to_owned());
        cells.extend(stances);
        table.add_row(cells);
    }
    table.to_string()
}

/// One line where it is settled, both answers where it is not.
fn disputed(out: &mut String, dispute: &Dispute<'_>) {
    let case = &dispute.first.case;
    let others: Vec<String> = dispute
        .others
        .iter()
        .map(|side| format!("{} {}", side.lane, side.verdict))
        .collect();
    let others = others.join(", ");
    if !dispute.is_unsettled() {
        line(out, &format!("  {case}: {others}, settled"));
        return;
    }
    line(out, &format!("  {case}: {others}, UNSETTLED"));
    line(out, &format!("    {}: {}", dispute.passed.join(", "), dispute.want));
    for side in &dispute.others {
        let settled = side.settled.map_or(String::new(), |why| format!(" (settled: {why})"));
        line(out, &format!("    {}: {}{settled}", side.lane, side.got));
    }
}

/// The results of one case in all lanes, unmet ones in full.
pub fn results_of(report: &Report, case: &str) -> String {
    let mut out = String::new();
    line(&mut out, &format!("\nresults of {}:", report.started));
    let mut any = false;
    for entry in report.results.iter().filter(|entry| entry.case == case) {
        any = true;
        let lane = &report.lanes[entry.lane].title;
        let standing = match &entry.standing {
            StandingFacts::Expected => String::new(),
            StandingFacts::Known(why) => format!(", known: {why}"),
            StandingFacts::Unexpected(why) => format!(", unexpected: {why}"),
        };
        line(&mut out, &format!("  {}  {lane}{standing}", entry.verdict));
        mismatches(&mut out, entry);
        for text in entry.reason.iter().chain(&entry.notes) {
            line(&mut out, &format!("    {text}"));
        }
    }
    if !any {
        line(&mut out, "  none: the case did not run");
    }
    out
}

/// One lane's boot.
pub(super) struct Boot<'a> {
    pub(super) lane: &'a str,
    pub(super) marks: &'a [(String, u64)],
}

/// The boots whose marks were kept, the first of each lane.
pub(super) fn boots(report: &Report) -> Vec<Boot<'_>> {
    let mut boots: Vec<Boot<'_>> = Vec::new();
    for entry in report.results.iter().filter(|entry| !entry.marks.is_empty()) {
        let lane = &report.lanes[entry.lane].title;
        if !boots.iter().any(|boot| boot.lane == lane) {
            boots.push(Boot {
                lane,
                marks: &entry.marks,
            });
        }
    }
    boots
}

/// Host time of a mark in milliseconds.
pub(super) fn milliseconds(host_us: u64) -> String {
    format!("{:.1}", host_us as f64 / 1000.0)
}

fn boot_table(boots: &[Boot<'_>]) -> String {
    let mut table = table();
    let names = boots.first().map_or(&[][..], |boot| boot.marks);
    table.set_header(std::iter::once("subject/depth/profile").chain(names.iter().map(|(name, _)| name.as_str())));
    for boot in boots {
        let times = boot.marks.iter().map(|(_, host_us)| milliseconds(*host_us));
        table.add_row(std::iter::once(boot.lane.to_owned()).chain(times));
    }
    table.to_string()
}

/// One case's results across the lanes.
pub(super) struct Row<'a> {
    pub(super) case: &'a str,
    pub(super) cells: Vec<Option<&'a Entry>>,
}

/// The matrix, in report order.
pub(super) fn rows(report: &Report) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut index = std::collections::HashMap::new();
    for entry in &report.results {
        let at = *index.entry(entry.case.as_str()).or_insert_with(|| {
            rows.push(Row {
                case: &entry.case,
                cells: vec![None; report.lanes.len()],
            });
            rows.len() - 1
        });
        if let Some(cell) = rows[at].cells.get_mut(entry.lane) {
            *cell = Some(entry);
        }
    }
    rows
}

/// A verdict in a cell; a star marks one that the expectations know.
pub(super) fn mark(entry: &Entry) -> &str {
    match (entry.verdict.as_str(), &entry.standing) {
        ("fail", StandingFacts::Known(_)) => "fail*",
        ("warn", StandingFacts::Known(_)) => "warn*",
        ("not-applicable", _) => "-",
        (verdict, _) => verdict,
    }
}

/// How many results of a lane have a verdict.
pub(super) fn count(report: &Report, lane: usize, verdict: Verdict) -> usize {
    let here = report.results.iter().filter(|entry| entry.lane == lane);
    here.filter(|entry| entry.verdict == verdict.word()).count()
}

fn mismatches(out: &mut String, entry: &Entry) {
    for mismatch in entry.mismatches.iter().take(MISMATCHES_SHOWN_MAX) {
        let point = mismatch
            .point
            .as_ref()
            .map_or(String::new(), |point| format!("{point}: "));
        let (what, got, want) = (&mismatch.what, &mismatch.got, &mismatch.want);
        line(out, &format!("    {point}{what}: got {got}, want {want}"));
    }
    if MISMATCHES_SHOWN_MAX < entry.mismatches.len() {
        let rest = entry.mismatches.len() - MISMATCHES_SHOWN_MAX;
        line(out, &format!("    ... and {rest} more checks that do not hold"));
    }
}

fn details(out: &mut String, report: &Report, entry: &Entry) {
    let lane = &report.lanes[entry.lane].title;
    line(
        out,
        &format!("{}: {} on {lane}", entry.verdict.to_uppercase(), entry.case),
    );
    line(out, &format!("    {} [{}]", entry.title, entry.level));
    mismatches(out, entry);
    if let Some(reason) = &entry.reason {
        line(out, &format!("    {reason}"));
    }
    if let StandingFacts::Unexpected(why) = &entry.standing
        && why.starts_with("expected")
    {
        line(out, &format!("    {why}"));
    }
    let clause = &entry.clause;
    let place = clause.url.as_ref().map_or(String::new(), |url| format!(" <{url}>"));
    line(
        out,
        &format!(
            "    required by {}, {}{place}: {}",
            clause.document, clause.section, clause.requirement
        ),
    );
    line(out, &format!("    replay: {}\n", entry.replay));
}

fn totals_table(report: &Report) -> String {
    let mut table = table();
    let mut header = vec!["subject/depth/profile".to_owned()];
    header.extend(Verdict::ALL.iter().map(|verdict| verdict.word().to_owned()));
    header.extend(["known".to_owned(), "seconds".to_owned(), "claim".to_owned()]);
    table.set_header(header);
    for (index, lane) in report.lanes.iter().enumerate() {
        if report.results.iter().all(|entry| entry.lane != index) {
            continue;
        }
        let mut cells = vec![lane.title.clone()];
        for verdict in Verdict::ALL {
            cells.push(match count(report, index, verdict) {
                0 => String::new(),
                number => number.to_string(),
            });
        }
        let here = || report.results.iter().filter(|entry| entry.lane == index);
        let known = here()
            .filter(|entry| matches!(entry.standing, StandingFacts::Known(_)))
            .count();
        cells.push(if known == 0 { String::new() } else { known.to_string() });
        let micros: u64 = here().map(|entry| entry.duration_us).sum();
        cells.push(format!("{:.2}", micros as f64 / 1e6));
        cells.push(report.claim(index).to_owned());
        table.add_row(cells);
    }
    for index in 1..=Verdict::ALL.len() + 2 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _written = writeln!(out, "{text}");
}

/// Unexpected results shown in full.
const DETAILS_MAX: usize = 25;

/// Mismatches of one result shown on a terminal.
const MISMATCHES_SHOWN_MAX: usize = 8;
