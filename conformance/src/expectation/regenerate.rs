//! Expectations out of a report, for review: what the file says already stays as it is written, what is no longer so
//! goes, and what is new stands at the end with an empty reason, which [`Expectations::parse`] refuses until somebody
//! writes one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Entry, Expectations};
use crate::catalog;
use crate::report::{self, LaneFacts, Report};
use crate::verdict::Verdict;

/// The text of an expectations file for a subject of a report. `text` is the present file's, which `present` was parsed
/// from; both may be empty.
///
/// # Errors
/// One line when the report has no such subject.
pub fn regenerate(report: &Report, subject: &str, present: &Expectations, text: &str) -> Result<String, String> {
    if !report.lanes.iter().any(|lane| lane.subject == subject) {
        let mut names: Vec<&str> = report.lanes.iter().map(|lane| lane.subject.as_str()).collect();
        names.dedup();
        let names = names.join(", ");
        return Err(format!(
            "--subject {subject}: the report has no such subject; it has {names}"
        ));
    }
    let ran: Vec<Ran<'_>> = (report.results.iter())
        .map(|entry| (entry, &report.lanes[entry.lane]))
        .filter(|(_, lane)| lane.subject == subject && lane.unavailable.is_none())
        .collect();
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    let mut kept = Vec::new();
    for entry in &present.entries {
        let covered: Vec<&Ran<'_>> = ran.iter().filter(|ran| covers(entry, ran)).collect();
        let as_expected = |ran: &&&Ran<'_>| is_expected(entry, ran.0);
        let met = covered.iter().filter(as_expected).count();
        let is_kept = match (met, entry.is_exact()) {
            _ if !catalog::all().any(|case| catalog::matches(&entry.case, case.id)) => false,
            (0, _) if covered.is_empty() => {
                let lane_ran = |lane: &LaneFacts| lane.subject == subject && covers_lane(entry, lane);
                !report.complete || entry.way.is_some() || !report.lanes.iter().any(lane_ran)
            }
            (0, _) => false,
            (_, true) => met == covered.len(),
            (_, false) => true,
        };
        kept.push(is_kept);
        if !is_kept && entry.is_exact() {
            for ran in &covered {
                let is_met = is_expected(entry, ran.0);
                wanted.push(Wanted {
                    ran: **ran,
                    reason: if is_met { &entry.reason } else { "" },
                    before: Some(entry).filter(|_| !is_met),
                });
            }
        }
    }
    let mut speaking = present
        .entries
        .iter()
        .zip(&kept)
        .filter(|(_, kept)| **kept)
        .map(|(entry, _)| entry);
    let known: Vec<&Entry> = speaking.by_ref().collect();
    for ran in &ran {
        let is_said = known
            .iter()
            .any(|entry| covers(entry, ran) && is_expected(entry, ran.0))
            || wanted.iter().any(|wanted| std::ptr::eq(wanted.ran.0, ran.0));
        if !is_said {
            wanted.push(Wanted {
                ran: *ran,
                reason: "",
                before: None,
            });
        }
    }
    // A verdict that needs no entry gets none.
    wanted.retain(|wanted| !wanted.reason.is_empty() || !verdict(wanted.ran.0).is_fine());
    let mut out = keep_blocks(text, &kept);
    for group in groups(&wanted) {
        write_entry(&mut out, &group, &ran);
    }
    Ok(out)
}

type Ran<'a> = (&'a report::Entry, &'a LaneFacts);

/// A result that needs an entry.
struct Wanted<'a> {
    ran: Ran<'a>,
    /// Empty when nobody knows yet.
    reason: &'a str,
    /// The entry that said otherwise.
    before: Option<&'a Entry>,
}

/// Results of one case that go into one entry.
struct Group<'a> {
    members: Vec<&'a Wanted<'a>>,
    /// Whether the entry says at which depth, as which profile, started which way.
    is_narrow: bool,
}

/// One case's results with the same verdict and reason share an entry, unless other results of the case differ.
fn groups<'a>(wanted: &'a [Wanted<'a>]) -> Vec<Group<'a>> {
    let mut by_case: BTreeMap<(&str, &str, &str), Vec<&Wanted<'_>>> = BTreeMap::new();
    for wanted in wanted {
        let entry = wanted.ran.0;
        let key = (entry.case.as_str(), entry.verdict.as_str(), wanted.reason);
        by_case.entry(key).or_default().push(wanted);
    }
    let members = by_case.into_values();
    members
        .map(|members| Group {
            members,
            is_narrow: false,
        })
        .collect()
}

fn write_entry(out: &mut String, group: &Group<'_>, ran: &[Ran<'_>]) {
    let [first, ..] = &group.members[..] else { return };
    let case = &first.ran.0.case;
    let of_case = ran.iter().filter(|(entry, _)| entry.case == *case).count();
    if !group.is_narrow && group.members.len() != of_case {
        // Where the case ends otherwise elsewhere, each place is named.
        for member in &group.members {
            let narrow = Group {
                members: vec![member],
                is_narrow: true,
            };
            write_entry(out, &narrow, ran);
        }
        return;
    }
    let (entry, lane) = first.ran;
    let _infallible = writeln!(
        out,
        "{}[[entry]]\ncase = {}",
        if out.is_empty() { "" } else { "\n" },
        quoted(case)
    );
    if group.is_narrow {
        let _infallible = writeln!(
            out,
            "depth = {}\nprofile = {}",
            quoted(&lane.depth),
            quoted(&lane.profile)
        );
        if !entry.way.is_empty() {
            let _infallible = writeln!(out, "way = {}", quoted(&entry.way));
        }
    }
    let _infallible = writeln!(
        out,
        "verdict = {}\nclause = {}",
        quoted(&entry.verdict),
        quoted(&entry.clause.id)
    );
    if first.reason.is_empty() {
        if let Some(before) = first.before {
            let _infallible = writeln!(
                out,
                "# before: {}: {}",
                super::words(&before.verdicts),
                one_line(&before.reason)
            );
        }
        for mismatch in entry.mismatches.iter().take(MISMATCHES_SHOWN_MAX) {
            let (what, got, want) = (&mismatch.what, &mismatch.got, &mismatch.want);
            let _infallible = writeln!(out, "# {}", one_line(&format!("{what}: got {got}, want {want}")));
        }
        if let Some(reason) = &entry.reason {
            let _infallible = writeln!(out, "# {}", one_line(reason));
        }
        let _infallible = writeln!(out, "# why? An empty reason is refused.");
    }
    let _infallible = writeln!(out, "reason = {}", quoted(first.reason));
}

/// The present file without the entries that are no longer so; comments stay.
fn keep_blocks(text: &str, kept: &[bool]) -> String {
    let mut out = String::new();
    let mut entry: Option<usize> = None;
    // Blank lines and comments belong to what follows.
    let mut lead = String::new();
    for line in text.lines() {
        let is_start = line.trim() == "[[entry]]";
        if is_start {
            entry = Some(entry.map_or(0, |index| index + 1));
        }
        let is_kept = entry.is_none_or(|index| kept.get(index).copied().unwrap_or(true));
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            lead.push_str(line);
            lead.push('\n');
            continue;
        }
        if is_kept {
            out.push_str(&lead);
            out.push_str(line);
            out.push('\n');
        } else {
            let comments = lead.lines().filter(|line| !line.trim().is_empty());
            comments.for_each(|line| out.extend(["\n", line, "\n"]));
        }
        lead.clear();
    }
    out.push_str(lead.trim_end());
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn covers(entry: &Entry, (result, lane): &Ran<'_>) -> bool {
    covers_lane(entry, lane)
        && catalog::matches(&entry.case, &result.case)
        && entry.way.as_ref().is_none_or(|way| *way == result.way)
}

fn covers_lane(entry: &Entry, lane: &LaneFacts) -> bool {
    (entry.depths.is_empty() || entry.depths.iter().any(|depth| depth.word() == lane.depth))
        && entry.profile.as_ref().is_none_or(|profile| *profile == lane.profile)
}

fn is_expected(entry: &Entry, result: &report::Entry) -> bool {
    entry.verdicts.contains(&verdict(result))
}

/// A word of another suite is nothing that can be expected.
fn verdict(result: &report::Entry) -> Verdict {
    Verdict::from_word(&result.verdict).unwrap_or(Verdict::Error)
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn one_line(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    line.chars().take(COMMENT_LENGTH_MAX).collect()
}

/// Most mismatches shown to whoever writes the reason.
const MISMATCHES_SHOWN_MAX: usize = 3;

/// Most characters of one of them.
const COMMENT_LENGTH_MAX: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    /// A report of `qemu` at depth wire and cpu with these verdicts for the first cases of the catalog.
    fn report_of(verdicts: &[(&str, &str)]) -> Report {
        let mut report = sample();
        let mut cpu = report.lanes[0].clone();
        (cpu.title, cpu.depth) = ("qemu/cpu.kvm/qemu-7.2".to_owned(), "cpu".to_owned());
        report.lanes.push(cpu);
        let template = report.results[0].clone();
        report.results.clear();
        for (case, (wire, cpu)) in catalog::all().zip(verdicts) {
            for (lane, verdict) in [wire, cpu]
                .into_iter()
                .enumerate()
                .filter(|(_, verdict)| !verdict.is_empty())
            {
                let mut entry = template.clone();
                entry.case = case.id.to_owned();
                entry.clause.id = case.clause.id.to_owned();
                entry.lane = lane;
                entry.verdict = (*verdict).to_owned();
                entry.way = ["paused", "kvm"][lane].to_owned();
                report.results.push(entry);
            }
        }
        report
    }

    fn id(index: usize) -> &'static str {
        catalog::all().nth(index).expect("there are cases").id
    }

    fn entry(index: usize, rest: &str) -> String {
        let clause = catalog::by_id(id(index)).expect("a case").clause.id;
        format!(
            "[[entry]]\ncase = \"{}\"\n{rest}clause = \"{clause}\"\nreason = \"Known.\"\n",
            id(index)
        )
    }

    fn regenerated(report: &Report, text: &str) -> String {
        let present = Expectations::parse("present", text).expect("parses");
        regenerate(report, "qemu", &present, text).expect("regenerates")
    }

    #[test]
    fn what_is_still_so_stays_as_it_is_written() {
        let report = report_of(&[("fail", "pass"), ("warn", "warn"), ("pass", "pass")]);
        let text = format!(
            "# Head.\n\n# Why.\n{}\n{}",
            entry(0, "depth = \"wire\"\nverdict = \"fail\"\n"),
            entry(1, "verdict = \"warn\"\n")
        );
        assert_eq!(regenerated(&report, &text), text);
    }

    #[test]
    fn what_is_no_longer_so_goes_and_comments_stay() {
        let report = report_of(&[("pass", "pass"), ("fail", "fail")]);
        let keep = entry(1, "verdict = \"fail\"\n");
        let text = format!("# Head.\n\n{}\n{keep}", entry(0, "verdict = \"fail\"\n"));
        assert_eq!(
            regenerated(&report, &text),
            format!("\n# Head.\n\n{keep}").replacen("\n# Head", "\n# Head", 1)
        );
    }

    #[test]
    fn new_entry_is_refused_until_it_has_a_reason() {
        let report = report_of(&[("crash", "crash"), ("pass", "fail")]);
        let text = regenerated(&report, "");
        let clause = catalog::by_id(id(1)).expect("a case").clause.id;
        let narrow = format!(
            "[[entry]]\ncase = \"{}\"\ndepth = \"cpu\"\nprofile = \"qemu-7.2\"\nway = \"kvm\"\nverdict = \"fail\"\n\
             clause = \"{clause}\"\n# why?",
            id(1)
        );
        assert!(text.contains(&narrow), "{text}");
        let refused = Expectations::parse("new", &text).expect_err("no reason").to_string();
        assert!(refused.ends_with("reason is empty; say why this is so"), "{refused}");
        let written = text.replace("reason = \"\"", "reason = \"So.\"");
        let parsed = Expectations::parse("new", &written).expect("parses");
        assert_eq!(parsed.entries.len(), 2);
        assert_eq!(regenerate(&report, "qemu", &parsed, &written), Ok(written));
    }

    #[test]
    fn entry_that_is_half_right_is_split_and_keeps_its_reason() {
        let report = report_of(&[("fail", "crash")]);
        let text = regenerated(&report, &entry(0, "verdict = \"fail\"\n"));
        assert!(
            text.contains("depth = \"wire\"") && text.contains("reason = \"Known.\""),
            "{text}"
        );
        assert!(text.contains("# before: fail: Known.\n"), "{text}");
        assert_eq!(text.matches("[[entry]]").count(), 2, "{text}");
    }

    #[test]
    fn part_of_a_run_says_nothing_about_the_rest() {
        let mut report = report_of(&[("pass", "pass")]);
        let text = entry(1, "verdict = \"fail\"\n");
        assert_eq!(regenerated(&report, &text), "");
        report.complete = false;
        assert_eq!(regenerated(&report, &text), text);
    }

    #[test]
    fn subject_that_is_not_there_is_named() {
        let problem = regenerate(&sample(), "mine", &Expectations::default(), "").expect_err("no such subject");
        assert_eq!(problem, "--subject mine: the report has no such subject; it has qemu");
    }
}
