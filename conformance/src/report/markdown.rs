//! A report as Markdown: for a pull request, or to publish.

use std::fmt::Write;

use super::terminal::{boots, count, mark, milliseconds, rows};
use super::{Report, StandingFacts};
use crate::verdict::Verdict;

/// Summary, matrix, and what is not as it should be.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = render_to(&mut out, report);
    out
}

fn render_to(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "# Conformance report\n")?;
    let suite = &report.suite;
    writeln!(
        out,
        "{} {} ({} cases), {}, {}.\n",
        suite.name,
        suite.version,
        suite.cases,
        report.started,
        escape(&report.host.to_string())
    )?;
    if let hosts @ [_, _, ..] = &report.hosts()[..] {
        for (host, number) in hosts.iter().zip(1..) {
            writeln!(out, "- host {number}: {}", escape(&host.to_string()))?;
        }
    }
    for subject in &report.subjects {
        let version = subject.version.as_deref().unwrap_or("version unknown");
        writeln!(
            out,
            "- `{}`: {} ({})",
            subject.name,
            escape(&subject.title),
            escape(version)
        )?;
    }
    writeln!(out, "\n**{}**\n", report.totals())?;
    for problem in &report.problems {
        writeln!(out, "- problem: {}", escape(problem))?;
    }
    write!(out, "| subject/depth/profile |")?;
    Verdict::ALL
        .iter()
        .try_for_each(|verdict| write!(out, " {verdict} |"))?;
    writeln!(out, " claim |\n|---|{}", "---:|".repeat(Verdict::ALL.len()) + "---|")?;
    for (index, lane) in report.lanes.iter().enumerate() {
        write!(out, "| {} |", lane.title)?;
        for verdict in Verdict::ALL {
            write!(out, " {} |", count(report, index, verdict))?;
        }
        writeln!(out, " {} |", report.claim(index))?;
    }
    writeln!(out, "\n## Not as every subject should be\n")?;
    for entry in &report.results {
        let why = match &entry.standing {
            StandingFacts::Expected => continue,
            StandingFacts::Known(why) => format!("known: {why}"),
            StandingFacts::Unexpected(why) => format!("unexpected: {why}"),
        };
        let lane = &report.lanes[entry.lane].title;
        writeln!(
            out,
            "- **{}** `{}` on {lane}: {}",
            entry.verdict,
            entry.case,
            escape(&why)
        )?;
        writeln!(
            out,
            "  - {}, {}: {}",
            escape(&entry.clause.document),
            escape(&entry.clause.section),
            escape(&entry.clause.requirement)
        )?;
        for mismatch in &entry.mismatches {
            let point = mismatch
                .point
                .as_ref()
                .map_or(String::new(), |point| format!("{point}: "));
            let text = format!("{point}{}: got {}, want {}", mismatch.what, mismatch.got, mismatch.want);
            writeln!(out, "  - {}", escape(&text))?;
        }
        if let Some(reason) = &entry.reason {
            writeln!(out, "  - {}", escape(reason))?;
        }
    }
    disputes(out, report)?;
    recordings(out, report)?;
    writeln!(out, "\n## Skipped\n")?;
    for (index, lane) in report.lanes.iter().enumerate() {
        for (reason, number) in report.skips(index) {
            writeln!(out, "- {number} on {}: {}", lane.title, escape(&reason))?;
        }
    }
    let boots = boots(report);
    if let Some(first) = boots.first() {
        writeln!(
            out,
            "\n## Boot\n\nHost time in ms from the subject's start to the guest's mark, one boot of each.\n"
        )?;
        let names: Vec<&str> = first.marks.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(out, "| subject/depth/profile | {} |", names.join(" | "))?;
        writeln!(out, "|---|{}", "--:|".repeat(names.len()))?;
        for boot in &boots {
            let times: Vec<String> = boot.marks.iter().map(|(_, host_us)| milliseconds(*host_us)).collect();
            writeln!(out, "| {} | {} |", boot.lane, times.join(" | "))?;
        }
    }
    writeln!(
        out,
        "\n## Matrix\n\nA star marks a deviation that is settled: the subject's expectations or the decisions about a \
         recording know it.\n"
    )?;
    write!(out, "| case |")?;
    report
        .lanes
        .iter()
        .try_for_each(|lane| write!(out, " {} |", lane.title))?;
    (report.recordings.iter()).try_for_each(|own| write!(out, " {}, recorded |", escape(own.title())))?;
    let columns = report.lanes.len() + report.recordings.len();
    writeln!(out, "\n|---|{}", "---|".repeat(columns))?;
    for row in rows(report) {
        write!(out, "| `{}` |", row.case)?;
        for cell in &row.cells {
            write!(out, " {} |", escape(cell.map_or("", mark)))?;
        }
        for own in &report.recordings {
            write!(out, " {} |", escape(report.stance(own, row.case).word()))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Both answers, and what settles the matter.
fn disputes(out: &mut String, report: &Report) -> std::fmt::Result {
    let disputes = report.disputes();
    if disputes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Disputed\n\nOne lane passes what another does not.\n")?;
    for dispute in &disputes {
        let first = dispute.first;
        writeln!(out, "- `{}`: {}", first.case, escape(&first.title))?;
        let clause = &first.clause;
        let (document, section) = (escape(&clause.document), escape(&clause.section));
        writeln!(
            out,
            "  - {document}, {section} (`{}`): {}",
            clause.id,
            escape(&clause.requirement)
        )?;
        writeln!(
            out,
            "  - pass: {}: {}",
            dispute.passed.join(", "),
            escape(&dispute.want)
        )?;
        for side in &dispute.others {
            let settled = side
                .settled
                .map_or_else(|| "**unsettled**".to_owned(), |why| format!("settled: {}", escape(why)));
            writeln!(
                out,
                "  - {}: {}: {}; {settled}",
                side.verdict,
                side.lane,
                escape(&side.got)
            )?;
        }
        for own in &report.recordings {
            let stance = report.stance(own, &first.case).to_string();
            writeln!(out, "  - {}, recorded: {}", escape(own.title()), escape(&stance))?;
        }
    }
    Ok(())
}

/// What the recorded machines answer otherwise.
fn recordings(out: &mut String, report: &Report) -> std::fmt::Result {
    for own in &report.recordings {
        writeln!(out, "\n## {}\n", escape(&own.source))?;
        let (answers, settled, unsettled) = (own.answers, own.settled(), own.unsettled.len());
        let lane = &own.lane;
        writeln!(
            out,
            "By recording, against {lane}: {answers} answers, {settled} differ and are settled, {unsettled} are not.\n"
        )?;
        for difference in &own.unsettled {
            writeln!(out, "- **unsettled** `{}`", difference.replace('`', " "))?;
        }
        if !own.decisions.is_empty() {
            writeln!(
                out,
                "| answers | right | clause | shown by | why |\n|---:|---|---|---|---|"
            )?;
        }
        for decision in &own.decisions {
            let cases: Vec<String> = decision.cases.iter().map(|case| format!("`{case}`")).collect();
            let (answers, right, clause) = (decision.answers, &decision.right, &decision.clause);
            let (cases, reason) = (cases.join(" "), escape(&decision.reason));
            writeln!(out, "| {answers} | {right} | `{clause}` | {cases} | {reason} |")?;
        }
    }
    Ok(())
}

/// Text from outside as plain text on one line of a table.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
