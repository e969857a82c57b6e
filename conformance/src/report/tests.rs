use super::*;

/// A report with one result of each kind that renderers tell apart.
pub(crate) fn sample() -> Report {
    let entry = |case: &str, verdict: Verdict, standing: StandingFacts| Entry {
        case: case.to_owned(),
        title: "It holds.".to_owned(),
        level: "must".to_owned(),
        clause: ClauseFacts {
            id: "test/clause".to_owned(),
            document: "A <document>".to_owned(),
            section: "1 | 2".to_owned(),
            requirement: "It holds.".to_owned(),
            url: None,
        },
        lane: 0,
        way: "paused".to_owned(),
        verdict: verdict.word().to_owned(),
        standing,
        reason: Some("subject lacks capability clock".to_owned()).filter(|_| verdict == Verdict::Unsupported),
        checks: 1,
        points: 0,
        accesses: 1,
        mismatches: match verdict {
            Verdict::Fail => vec![MismatchFacts {
                point: Some("point 1".to_owned()),
                what: "port 0x70".to_owned(),
                got: "0xff".to_owned(),
                want: "0x0".to_owned(),
            }],
            _ => Vec::new(),
        },
        notes: Vec::new(),
        marks: Vec::new(),
        transcript: vec!["inb 0x70 -> 0xff".to_owned()],
        post_mortem: String::new(),
        duration_us: 1500,
        replay: format!("cargo xtask conformance --filter {case}"),
    };
    Report {
        schema: SCHEMA,
        suite: Suite {
            name: "touchstone".to_owned(),
            version: "0.0.0".to_owned(),
            cases: 4,
        },
        command: vec!["touchstone".to_owned(), "run".to_owned()],
        seed: Some(7),
        started: "2020-02-28T23:59:50Z".to_owned(),
        duration_ms: 10,
        host: Host {
            name: None,
            system: "linux".to_owned(),
            cpu: "a processor".to_owned(),
            cpus: 2,
            kvm: false,
        },
        complete: true,
        subjects: Vec::new(),
        lanes: vec![LaneFacts {
            title: "qemu/wire.paused/qemu-7.2".to_owned(),
            subject: "qemu".to_owned(),
            depth: "wire".to_owned(),
            profile: "qemu-7.2".to_owned(),
            way: "paused".to_owned(),
            unavailable: None,
            planned: 1,
            areas: Vec::new(),
            host: None,
        }],
        results: vec![
            entry("a/passes/so", Verdict::Pass, StandingFacts::Expected),
            entry(
                "a/fails/so",
                Verdict::Fail,
                StandingFacts::Unexpected("nothing of the kind is expected".to_owned()),
            ),
            entry(
                "a/known/so",
                Verdict::Fail,
                StandingFacts::Known("It is old.".to_owned()),
            ),
            entry("a/unsupported/so", Verdict::Unsupported, StandingFacts::Expected),
        ],
        problems: Vec::new(),
        recordings: Vec::new(),
        boot: None,
        merged: Vec::new(),
    }
}

#[test]
fn totals_count_known_deviations_as_skipped_and_problems_as_failed() {
    let mut report = sample();
    assert_eq!(report.totals().to_string(), "1 passed, 1 failed, 2 skipped");
    report.problems.push("something".to_owned());
    assert_eq!(report.totals().to_string(), "1 passed, 2 failed, 2 skipped");
}

#[test]
fn json_comes_back_as_the_same_report() {
    let report = sample();
    assert_eq!(Report::parse(&report.to_json()), Ok(report));
}

#[test]
fn report_of_another_schema_is_refused_with_what_to_do() {
    let text = sample().to_json().replace("\"schema\": 1", "\"schema\": 9");
    let error = Report::parse(&text).expect_err("another schema");
    assert!(error.starts_with("report of schema 9, this program reads 1"), "{error}");
}

#[test]
fn claim_is_lost_by_a_failed_must_and_open_without_an_answer() {
    let mut report = sample();
    assert_eq!(report.claim(0), "not conformant");
    report.results.retain(|entry| entry.verdict != "fail");
    assert_eq!(report.claim(0), "incomplete");
    report.results.retain(|entry| entry.verdict == "pass");
    assert_eq!(report.claim(0), "conformant");
    report.lanes[0].areas = vec!["a".to_owned()];
    assert_eq!(report.claim(0), "partial", "cases were never meant for it");
    report.lanes[0].areas.clear();
    report.lanes[0].planned = 2;
    assert_eq!(report.claim(0), "incomplete", "a result is missing");
    report.complete = false;
    assert_eq!(report.claim(0), "partial", "cases were left out");
}

#[test]
fn terminal_summary_shows_mismatch_requirement_replay_and_ends_with_the_totals() {
    let text = terminal::summary(&sample());
    for part in [
        "FAIL: a/fails/so on qemu/wire.paused/qemu-7.2",
        "point 1: port 0x70: got 0xff, want 0x0",
        "required by A <document>, 1 | 2: It holds.",
        "replay: cargo xtask conformance --filter a/fails/so",
        "1  qemu/wire.paused/qemu-7.2  unsupported: subject lacks capability clock",
        "1  qemu/wire.paused/qemu-7.2  known fail: It is old.",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.ends_with("\n1 passed, 1 failed, 2 skipped\n"), "{text}");
}

#[test]
fn markdown_keeps_foreign_text_from_breaking_its_tables() {
    let text = markdown::render(&sample());
    assert!(text.contains("A \\<document\\>, 1 \\| 2: It holds."), "{text}");
    assert!(text.contains("| `a/known/so` | fail\\* |"), "{text}");
}

#[test]
fn junit_fails_what_is_unexpected_and_skips_what_is_known() {
    let xml = junit::render(&sample()).expect("renders");
    assert!(
        xml.contains("tests=\"4\" skipped=\"2\" errors=\"0\" failures=\"1\"") || xml.contains("failures=\"1\""),
        "{xml}"
    );
    assert_eq!(xml.matches("<skipped").count(), 2, "{xml}");
    assert_eq!(xml.matches("<failure").count(), 1, "{xml}");
}

#[test]
fn page_escapes_foreign_text_and_names_what_failed() {
    let mut report = sample();
    report.results[1].mismatches[0].got = "<script>alert(1)</script>".to_owned();
    let page = html::render(&report);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(page.contains("1 passed, 1 failed, 2 skipped"), "{page}");
    assert!(page.contains("href=\"#case/a/fails/so\""), "{page}");
    assert!(page.contains("It is old."), "{page}");
    assert!(
        !page.contains("http-equiv") && !page.contains("src="),
        "nothing beside the page: {page}"
    );
}

#[test]
fn tap_has_a_point_for_each_result_with_todo_skip_and_diagnostics() {
    let mut report = sample();
    report.problems.push("a # problem".to_owned());
    let text = tap::render(&report);
    let lane = "qemu/wire.paused/qemu-7.2";
    for line in [
        "TAP version 14",
        "1..5",
        &format!("ok 1 - {lane} a/passes/so"),
        &format!("not ok 2 - {lane} a/fails/so"),
        "  ---",
        "      got: \"0xff\"",
        "  ...",
        &format!("not ok 3 - {lane} a/known/so # TODO It is old."),
        &format!("ok 4 - {lane} a/unsupported/so # SKIP unsupported: subject lacks capability clock"),
        "not ok 5 - a \\# problem",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\n{text}");
    }
}

#[test]
fn lab_is_offered_where_kvm_is_what_lacks_and_nowhere_else() {
    let mut report = sample();
    assert!(!terminal::summary(&report).contains("--lab"));
    let open = report.results.iter_mut().find(|entry| entry.verdict == "unsupported");
    open.expect("one is unsupported").reason = description::kvm_problem_at(c"/dev/null");
    assert!(terminal::summary(&report).contains("1 results are open for want of a KVM"));
}
