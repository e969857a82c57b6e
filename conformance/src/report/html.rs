//! A report as one HTML page that needs nothing beside it: no network, no other file, and no script to be read.
//!
//! The script only filters; without it everything is there. Texts of a subject are escaped by the template.

use std::collections::{BTreeMap, BTreeSet};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::arbitration::{Dispute, Stance};
use super::html_boot;
use super::terminal::{Boot, Row, boots, count, milliseconds, rows};
use super::{Entry, LaneFacts, Report, StandingFacts};
use crate::verdict::Verdict;

/// The page.
pub fn render(report: &Report) -> String {
    let rows = rows(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Conformance: " (report.totals()) }
                style { (PreEscaped(include_str!("html/page.css"))) (PreEscaped(html_boot::STYLE)) }
            }
            body {
                (heading(report))
                (contents(report))
                main {
                    (lanes(report))
                    (unexpected(report))
                    (boot_chart(&boots(report)))
                    (disputes(report))
                    (recordings(report))
                    (html_boot::section(report))
                    (matrix(report, &rows))
                    (cases(report, &rows))
                    (coverage(report))
                    (skips(report))
                    (subjects(report))
                }
                script { (PreEscaped(include_str!("html/page.js"))) }
            }
        }
    };
    page.into_string()
}

fn heading(report: &Report) -> Markup {
    let totals = report.totals();
    let mood = if totals.failed == 0 { "fine" } else { "bad" };
    let suite = &report.suite;
    html! {
        header {
            h1 { "Conformance report" }
            p.totals.(mood) { (totals) }
            p.facts {
                (suite.name) " " (suite.version) ", " (suite.cases) " cases" br;
                (report.started) ", " (seconds(report.duration_ms)) " s" br;
                @let hosts = report.hosts();
                @for (number, host) in hosts.iter().enumerate() {
                    @if 1 < hosts.len() { br; "host " (number + 1) ": " }
                    (host)
                }
            }
        }
    }
}

fn contents(report: &Report) -> Markup {
    html! {
        nav {
            a href="#lanes" { "Lanes" }
            @if !not_as_expected(report).is_empty() || !report.problems.is_empty() { a href="#failures" { "Failures" } }
            @if !known(report).is_empty() { a href="#known" { "Known deviations" } }
            @if !boots(report).is_empty() { a href="#boot" { "Boot time" } }
            @if !report.disputes().is_empty() { a href="#disputed" { "Disputed" } }
            @if !report.recordings.is_empty() { a href="#recordings" { "Recordings" } }
            @if report.boot.is_some() { a href="#boots" { "Boots side by side" } }
            a href="#matrix" { "Matrix" }
            a href="#cases" { "Cases" }
            a href="#coverage" { "Coverage" }
            a href="#skips" { "Skips" }
            a href="#subjects" { "Subjects" }
        }
    }
}

fn lanes(report: &Report) -> Markup {
    html! {
        section id="lanes" {
            h2 { "Lanes" }
            p { "A lane is one subject at one depth as one profile." }
            @for (index, lane) in report.lanes.iter().enumerate() {
                @let all = report.results.iter().filter(|entry| entry.lane == index).count();
                div.lane {
                    div.name { b { (lane.subject) } " " (way(lane)) " " (lane.profile) }
                    @if let Some(reason) = &lane.unavailable {
                        div.claim { "not run: " (reason) }
                    } @else {
                        div.claim { (report.claim(index)) }
                        div.bar role="img" aria-label=(shares(report, index)) {
                            @for verdict in Verdict::ALL {
                                @let number = count(report, index, verdict);
                                @if number != 0 {
                                    span class=(verdict.word()) style={ "width:" (percent(number, all)) "%" } {}
                                }
                            }
                        }
                        div.shares { (shares(report, index)) }
                    }
                }
            }
        }
    }
}

fn unexpected(report: &Report) -> Markup {
    let failures = not_as_expected(report);
    let known = known(report);
    html! {
        @if !failures.is_empty() || !report.problems.is_empty() {
            section id="failures" {
                h2 { "Failures" }
                @for problem in &report.problems { p.problem { (problem) } }
                (list(report, &failures))
            }
        }
        @if !known.is_empty() {
            section id="known" {
                h2 { "Known deviations" }
                p { "The subject is known to do otherwise; its expectations say why." }
                (list(report, &known))
            }
        }
    }
}

/// Horizontal bars, one for each boot, with a tick for each mark.
fn boot_chart(boots: &[Boot<'_>]) -> Markup {
    let longest = boots
        .iter()
        .flat_map(|boot| boot.marks.iter().map(|(_, host_us)| *host_us))
        .max();
    let Some(longest) = longest.filter(|&longest| longest != 0) else {
        return html! {};
    };
    html! {
        section id="boot" {
            h2 { "Boot time" }
            p { "Host time from the subject's start to the guest's marks, one boot of each." }
            @for boot in boots {
                @let end = boot.marks.iter().map(|(_, host_us)| *host_us).max().unwrap_or_default();
                div.boot {
                    div.name { (boot.lane) }
                    div.track {
                        div.run style={ "width:" (share(end, longest)) "%" } {
                            @for (name, host_us) in boot.marks {
                                @let title = format!("{name} {} ms", milliseconds(*host_us));
                                span.tick style={ "left:" (share(*host_us, end)) "%" } title=(title) {}
                            }
                        }
                    }
                    div.marks {
                        @for (name, host_us) in boot.marks { span { (name) " " b { (milliseconds(*host_us)) } } }
                        "ms"
                    }
                }
            }
        }
    }
}

/// Both answers to each disputed case, and what settles the matter.
fn disputes(report: &Report) -> Markup {
    let disputes = report.disputes();
    html! {
        @if !disputes.is_empty() {
            section id="disputed" {
                h2 { "Disputed" }
                p { "One lane passes what another does not. What settles it is said, or that nothing does." }
                @for dispute in &disputes {
                    details.voice open[dispute.is_unsettled()] {
                        summary {
                            code { (dispute.first.case) } " " (dispute.first.title)
                            @if dispute.is_unsettled() { " " b.problem { "unsettled" } }
                        }
                        p.requirement { (dispute.first.clause.requirement) }
                        p.origin {
                            (dispute.first.clause.document) ", " (dispute.first.clause.section) ", clause "
                            code { (dispute.first.clause.id) } ", " (link(&dispute.first.case))
                        }
                        div.scroll { (voices(report, dispute)) }
                    }
                }
            }
        }
    }
}

/// A disputed case's answers, lane by lane and recording by recording.
fn voices(report: &Report, dispute: &Dispute<'_>) -> Markup {
    html! {
        table.mismatches {
            thead { tr { th { "voice" } th { "answer" } th { "settled by" } } }
            tbody {
                tr {
                    td { (chip(Verdict::Pass.word())) @for lane in &dispute.passed { " " (lane) } }
                    td { code { (dispute.want) } }
                    td {}
                }
                @for side in &dispute.others {
                    tr {
                        td { (chip(side.verdict)) " " (side.lane) }
                        td { code { (side.got) } }
                        td {
                            @match side.settled {
                                Some(why) => (why),
                                None => b.problem { "nothing" },
                            }
                        }
                    }
                }
                @for own in &report.recordings {
                    @match report.stance(own, &dispute.first.case) {
                        Stance::Otherwise(decision) => tr {
                            td { (own.title()) ", recorded" }
                            td { "otherwise in " (decision.answers) " answers, as " code { (decision.example) } }
                            td { (decision.reason) }
                        },
                        stance => tr { td { (own.title()) ", recorded" } td { (stance) } td {} },
                    }
                }
            }
        }
    }
}

/// What the recorded machines answer otherwise than the reference.
fn recordings(report: &Report) -> Markup {
    html! {
        @if !report.recordings.is_empty() {
            section id="recordings" {
                h2 { "Recordings" }
                p { "Machines that take part by what they answered once, held against the reference answer by answer." }
                @for own in &report.recordings {
                    h3 { (own.source) }
                    p.facts {
                        "against " (own.lane) ": " (own.answers) " answers, "
                        (own.settled()) " differ and are settled, "
                        (own.unsettled.len()) " are not"
                    }
                    @for difference in &own.unsettled { p.problem { "unsettled: " code { (difference) } } }
                    @for decision in &own.decisions {
                        details.voice {
                            summary {
                                code { (decision.clause) } " " (decision.answers) " answers, right: "
                                @match decision.right.as_str() {
                                    "both" => "both, the documents leave it open",
                                    "recorded" => "the recorded machine",
                                    _ => "the reference",
                                }
                            }
                            p { (decision.reason) }
                            p { "For example " code { (decision.example) } }
                            p { @for case in &decision.cases { "Shown by " code { (case) } " " } }
                        }
                    }
                }
            }
        }
    }
}

fn matrix(report: &Report, rows: &[Row<'_>]) -> Markup {
    let areas: BTreeSet<&str> = rows.iter().map(|row| area(row.case)).collect();
    let verdicts: BTreeSet<&str> = report.results.iter().map(|entry| entry.verdict.as_str()).collect();
    html! {
        section id="matrix" {
            h2 { "Matrix" }
            form.filter hidden {
                label { "Case " input name="text" type="search" placeholder="part of an id"; }
                label { "Area " (choice("area", &areas)) }
                label { "Verdict " (choice("verdict", &verdicts)) }
                label { input name="odd" type="checkbox"; " only not as every subject should be" }
                output {}
            }
            p.legend {
                @for verdict in &verdicts { (chip(verdict)) " " }
                "A star: the subject's expectations know of it."
            }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "case" }
                            @for lane in &report.lanes { th { (lane.subject) br; (way(lane)) br; (lane.profile) } }
                            @for own in &report.recordings { th { (own.title()) br; "recorded" br; (own.profile) } }
                        }
                    }
                    tbody {
                        @for row in rows {
                            @let entries = || row.cells.iter().flatten();
                            @let here: BTreeSet<&str> = entries().map(|entry| entry.verdict.as_str()).collect();
                            @let here = join(&here);
                            @let odd = entries().any(|entry| entry.standing != StandingFacts::Expected);
                            tr data-case=(row.case) data-area=(area(row.case)) data-verdicts=(here) data-odd[odd] {
                                th { (link(row.case)) }
                                @for cell in &row.cells {
                                    (self::cell(*cell))
                                }
                                @for own in &report.recordings {
                                    @let stance = report.stance(own, row.case);
                                    td title=(stance) { (stance.word()) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cases(report: &Report, rows: &[Row<'_>]) -> Markup {
    html! {
        section id="cases" {
            h2 { "Cases" }
            @for row in rows {
                @if let Some(first) = row.cells.iter().flatten().next() {
                    details.case id=(anchor(row.case)) data-case=(row.case) {
                        summary { code { (row.case) } " " (first.title) }
                        p.requirement { (first.clause.requirement) }
                        p.origin {
                            (first.level) ", " (first.clause.document) ", "
                            @match &first.clause.url {
                                Some(url) => a href=(url) { (first.clause.section) },
                                None => (first.clause.section),
                            }
                            ", clause " code { (first.clause.id) }
                        }
                        @for entry in row.cells.iter().flatten() { (result(report, entry)) }
                    }
                }
            }
        }
    }
}

fn result(report: &Report, entry: &Entry) -> Markup {
    html! {
        div.result {
            p {
                (chip(&entry.verdict)) " " b { (report.lanes[entry.lane].title) }
                " " (entry.checks) " checks, " (entry.accesses) " accesses, " (seconds_us(entry.duration_us)) " s"
            }
            @match &entry.standing {
                StandingFacts::Expected => {},
                StandingFacts::Known(why) => p { "Known: " (why) },
                StandingFacts::Unexpected(why) => p.problem { (why) },
            }
            @if let Some(reason) = &entry.reason { p { (reason) } }
            @if !entry.mismatches.is_empty() {
                div.scroll {
                    table.mismatches {
                        thead { tr { th { "what" } th { "got" } th { "want" } } }
                        tbody {
                            @for mismatch in &entry.mismatches {
                                tr {
                                    td { @if let Some(point) = &mismatch.point { (point) ": " } (mismatch.what) }
                                    td { code { (mismatch.got) } }
                                    td { code { (mismatch.want) } }
                                }
                            }
                        }
                    }
                }
            }
            @for note in &entry.notes { p { "Observed: " (note) } }
            @if !entry.transcript.is_empty() {
                details {
                    summary { "Transcript, " (entry.transcript.len()) " lines" }
                    pre { (entry.transcript.join("\n")) }
                }
            }
            @if !entry.post_mortem.is_empty() {
                details { summary { "What the subject showed" } pre { (entry.post_mortem) } }
            }
            @if entry.verdict != Verdict::NotApplicable.word() { p { "Replay: " code { (entry.replay) } } }
        }
    }
}

/// Requirements by document, each with the cases that look at it and how they went.
fn coverage(report: &Report) -> Markup {
    let mut documents: BTreeMap<&str, BTreeMap<&str, Vec<&Entry>>> = BTreeMap::new();
    for entry in &report.results {
        let clauses = documents.entry(&entry.clause.document).or_default();
        clauses.entry(&entry.clause.id).or_default().push(entry);
    }
    html! {
        section id="coverage" {
            h2 { "Coverage of the documents" }
            @for (document, clauses) in &documents {
                @let cases: BTreeSet<&str> = clauses.values().flatten().map(|entry| entry.case.as_str()).collect();
                details {
                    summary { b { (document) } ": " (clauses.len()) " clauses, " (cases.len()) " cases" }
                    @for (clause, entries) in clauses {
                        @let cases: BTreeSet<&str> = entries.iter().map(|entry| entry.case.as_str()).collect();
                        div.clause {
                            @let first = &entries[0].clause;
                            p { code { (clause) } ", " (first.section) ": " (first.requirement) }
                            p { @for case in cases { (worst(entries, case)) " " (link(case)) " " } }
                        }
                    }
                }
            }
        }
    }
}

fn skips(report: &Report) -> Markup {
    html! {
        section id="skips" {
            h2 { "Skips" }
            ul {
                @for (index, lane) in report.lanes.iter().enumerate() {
                    @for (reason, number) in report.skips(index) { li { (number) " on " (lane.title) ": " (reason) } }
                }
            }
        }
    }
}

fn subjects(report: &Report) -> Markup {
    html! {
        section id="subjects" {
            h2 { "Subjects" }
            @for subject in &report.subjects {
                h3 { (subject.name) }
                p { (subject.title) @if let Some(version) = &subject.version { ", " (version) } }
                @for (depth, words) in &subject.commands {
                    details { summary { (depth) } pre { (words.join(" ")) } }
                }
            }
            p { "Command: " code { (report.command.join(" ")) } }
            @if let Some(seed) = report.seed { p { "Order: --shuffle=" (seed) } }
        }
    }
}

fn not_as_expected(report: &Report) -> Vec<(&Entry, &str)> {
    let entries = report.results.iter().filter_map(|entry| match &entry.standing {
        StandingFacts::Unexpected(why) => Some((entry, why.as_str())),
        _ => None,
    });
    entries.collect()
}

fn known(report: &Report) -> Vec<(&Entry, &str)> {
    let entries = report.results.iter().filter_map(|entry| match &entry.standing {
        StandingFacts::Known(why) if !entry.is_skip() => Some((entry, why.as_str())),
        _ => None,
    });
    entries.collect()
}

/// The verdict of a case that says most against it.
fn worst(entries: &[&Entry], case: &str) -> Markup {
    let of_case = entries.iter().filter(|entry| entry.case == case);
    let verdicts: Vec<Verdict> = of_case.filter_map(|entry| Verdict::from_word(&entry.verdict)).collect();
    let worst = WORST_FIRST.into_iter().find(|verdict| verdicts.contains(verdict));
    chip(worst.unwrap_or(Verdict::Error).word())
}

fn list(report: &Report, entries: &[(&Entry, &str)]) -> Markup {
    html! {
        ul {
            @for (entry, why) in entries {
                @let lane = &report.lanes[entry.lane].title;
                li { (chip(&entry.verdict)) " " (link(&entry.case)) " on " (lane) ": " (why) }
            }
        }
    }
}

fn choice(name: &str, words: &BTreeSet<&str>) -> Markup {
    html! {
        select name=(name) {
            option value="" { "any" }
            @for word in words { option { (word) } }
        }
    }
}

fn cell(entry: Option<&Entry>) -> Markup {
    html! {
        @match entry {
            Some(entry) => td class=(entry.verdict) title=(cell_title(entry)) { (cell_text(entry)) },
            None => td {},
        }
    }
}

/// The depth, and how the subject is started where there is a choice: the middle of the lane's title.
fn way(lane: &LaneFacts) -> &str {
    lane.title.split('/').nth(1).unwrap_or(&lane.depth)
}

fn chip(verdict: &str) -> Markup {
    html! { span.chip.(verdict) { (verdict) } }
}

fn link(case: &str) -> Markup {
    html! { a href={ "#" (anchor(case)) } { code { (case) } } }
}

fn anchor(case: &str) -> String {
    format!("case/{case}")
}

fn area(case: &str) -> &str {
    case.split('/').next().unwrap_or_default()
}

fn join(words: &BTreeSet<&str>) -> String {
    words.iter().copied().collect::<Vec<_>>().join(" ")
}

fn cell_text(entry: &Entry) -> String {
    let word = match entry.verdict.as_str() {
        "not-applicable" => "–",
        "unsupported" => "?",
        verdict => verdict,
    };
    let star = if matches!(entry.standing, StandingFacts::Known(_)) {
        "*"
    } else {
        ""
    };
    format!("{word}{star}")
}

fn cell_title(entry: &Entry) -> String {
    let reason = entry
        .reason
        .as_deref()
        .map_or(String::new(), |reason| format!(": {reason}"));
    format!("{}{reason}", entry.verdict)
}

fn shares(report: &Report, lane: usize) -> String {
    let counts = Verdict::ALL
        .iter()
        .map(|&verdict| (verdict, count(report, lane, verdict)));
    let counts = counts.filter(|(_, number)| *number != 0);
    counts
        .map(|(verdict, number)| format!("{number} {verdict}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn percent(part: usize, whole: usize) -> String {
    share(part as u64, whole as u64)
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.2}", part as f64 * 100.0 / whole.max(1) as f64)
}

fn seconds(ms: u64) -> String {
    format!("{:.1}", ms as f64 / 1000.0)
}

fn seconds_us(us: u64) -> String {
    format!("{:.3}", us as f64 / 1e6)
}

const WORST_FIRST: [Verdict; 9] = [
    Verdict::Crash,
    Verdict::Timeout,
    Verdict::Error,
    Verdict::Fail,
    Verdict::Warn,
    Verdict::Note,
    Verdict::Pass,
    Verdict::Unsupported,
    Verdict::NotApplicable,
];
