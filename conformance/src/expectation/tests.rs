use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::layout::QEMU_7_2;
use crate::probe::Record;
use crate::runner::Selection;

fn lane() -> Lane {
    Lane {
        subject: "qemu".to_owned(),
        depth: Depth::Wire,
        layout: &QEMU_7_2,
        areas: Vec::new(),
        ways: Vec::new(),
    }
}

fn some_case() -> &'static Case {
    catalog::all().next().expect("there are cases")
}

fn result(verdict: Verdict) -> CaseResult {
    CaseResult {
        case: some_case(),
        lane: 0,
        way: "paused".to_owned(),
        verdict,
        reason: None,
        unavailable: false,
        record: Record::default(),
        post_mortem: String::new(),
        duration: Duration::ZERO,
    }
}

fn expectations(entries: &[(&str, &str)]) -> Expectations {
    let entries = entries.iter().map(|(case, rest)| {
        let case = case.replace("THIS", some_case().id);
        let rest = rest.replace("CLAUSE", some_case().clause.id);
        format!("[[entry]]\ncase = \"{case}\"\n{rest}\n")
    });
    Expectations::parse("f.toml", &entries.collect::<String>()).expect("parses")
}

#[rstest]
#[case(Verdict::Pass)]
#[case(Verdict::Warn)]
#[case(Verdict::Note)]
#[case(Verdict::NotApplicable)]
#[case(Verdict::Unsupported)]
fn fine_verdict_needs_no_entry(#[case] verdict: Verdict) {
    assert_eq!(
        Expectations::default().standing(&result(verdict), &lane()),
        Standing::Expected
    );
}

#[rstest]
#[case(Verdict::Fail)]
#[case(Verdict::Error)]
#[case(Verdict::Timeout)]
#[case(Verdict::Crash)]
fn other_verdict_without_an_entry_is_unexpected(#[case] verdict: Verdict) {
    let standing = Expectations::default().standing(&result(verdict), &lane());
    assert!(matches!(standing, Standing::Unexpected(_)), "{standing:?}");
}

#[test]
fn entry_makes_its_verdict_known_and_a_pass_unexpected() {
    let known = expectations(&[("THIS", "verdict = \"fail\"\nclause = \"CLAUSE\"\nreason = \"Because.\"")]);
    let standing = known.standing(&result(Verdict::Fail), &lane());
    assert_eq!(standing, Standing::Known("Because.".to_owned()));
    match known.standing(&result(Verdict::Pass), &lane()) {
        Standing::Unexpected(text) => assert!(text.contains("remove the entry from f.toml"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn entry_for_another_depth_profile_or_way_does_not_speak() {
    for other in [
        "depth = \"cpu\"",
        "depth = [\"bus\", \"cpu\"]",
        "profile = \"microvm-2019\"",
        "way = \"running\"",
    ] {
        let rest = format!("verdict = \"crash\"\nreason = \"Because.\"\n{other}");
        let standing = expectations(&[("THIS", &rest)]).standing(&result(Verdict::Pass), &lane());
        assert_eq!(standing, Standing::Expected);
    }
}

#[test]
fn entry_for_several_depths_speaks_at_each() {
    let entries = expectations(&[(
        "THIS",
        "verdict = \"crash\"\nreason = \"Because.\"\ndepth = [\"bus\", \"wire\"]",
    )]);
    let standing = entries.standing(&result(Verdict::Crash), &lane());
    assert_eq!(standing, Standing::Known("Because.".to_owned()));
}

#[test]
fn exact_entry_goes_before_a_pattern() {
    let both = expectations(&[
        ("*", "verdict = [\"pass\", \"fail\"]\nreason = \"Anything.\""),
        ("THIS", "verdict = \"crash\"\nreason = \"Just this.\""),
    ]);
    let standing = both.standing(&result(Verdict::Crash), &lane());
    assert_eq!(standing, Standing::Known("Just this.".to_owned()));
}

#[test]
fn two_entries_for_one_result_are_unexpected() {
    let entry = ("THIS", "verdict = \"crash\"\nreason = \"Because.\"");
    let standing = expectations(&[entry, entry]).standing(&result(Verdict::Crash), &lane());
    assert!(matches!(standing, Standing::Unexpected(_)), "{standing:?}");
}

#[test]
fn subject_that_cannot_be_started_breaks_no_expectation() {
    let known = expectations(&[("THIS", "verdict = \"crash\"\nreason = \"Because.\"")]);
    let unavailable = CaseResult {
        unavailable: true,
        ..result(Verdict::Unsupported)
    };
    assert_eq!(known.standing(&unavailable, &lane()), Standing::Expected);
}

#[test]
fn entry_that_matches_nothing_is_stale() {
    let plan = Plan::new(vec![lane()], &Selection::default());
    let stale = |entry: (&str, &str), complete| {
        let results = [result(Verdict::Pass)];
        expectations(&[entry]).stale(&plan, "qemu", &results, complete).len()
    };
    assert_eq!(stale(("no/such/case", "verdict = \"fail\"\nreason = \"x\""), false), 1);
    assert_eq!(stale(("THIS", "verdict = \"crash\"\nreason = \"x\""), true), 0);
    let elsewhere = ("THIS", "verdict = \"crash\"\nreason = \"x\"\ndepth = \"cpu\"");
    assert_eq!(stale(elsewhere, true), 0, "depth cpu was not run");
}

#[rstest]
#[case("verdict = \"fail\"", "f.toml:1:1: missing field `reason`")]
#[case("verdict = \"fail\"\nreason = \" \"", "reason is empty")]
#[case("verdict = \"fails\"\nreason = \"x\"", "'fails' is no verdict")]
#[case("verdict = \"fail\"\nreason = \"x\"", "a failure needs its clause: clause = ")]
#[case("verdict = \"fail\"\nreason = \"x\"\nclause = \"other/one\"", "is not the case's")]
#[case(
    "verdict = \"pass\"\nreason = \"x\"\ndepth = \"deep\"",
    "depth 'deep' is none of bus"
)]
#[case("verdict = \"pass\"\nreason = \"x\"\ncolour = \"red\"", "unknown field `colour`")]
fn wrong_entry_is_one_line(#[case] rest: &str, #[case] part: &str) {
    let text = format!("[[entry]]\ncase = \"{}\"\n{rest}\n", some_case().id);
    let message = Expectations::parse("f.toml", &text).expect_err("wrong").to_string();
    assert!(message.contains(part), "{message}");
    assert!(!message.contains('\n'), "{message}");
}
