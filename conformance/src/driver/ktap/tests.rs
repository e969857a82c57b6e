use rstest::rstest;

use super::*;

const REAL: &str = include_str!("../../cases/boot/qemu-7.2-one.log");

#[test]
fn real_report_is_read_whole() {
    let report = Report::parse(REAL);
    assert_eq!(
        (report.starts, report.plan, report.ended, report.cut),
        (1, Some(14), true, false)
    );
    assert_eq!(report.verdicts.len(), 14);
    assert!(
        report
            .verdicts
            .iter()
            .all(|verdict| verdict.is_ok && verdict.skip.is_none())
    );
    let numbers: Vec<_> = report.verdicts.iter().map(|verdict| verdict.number).collect();
    assert_eq!(numbers, (1..=14).map(Some).collect::<Vec<_>>());
    assert_eq!(report.verdict("cpu").map(|verdict| verdict.number), Some(Some(13)));
    assert_eq!(report.facts("memory").count(), 7);
    assert_eq!(
        report.facts("memory").nth(5).and_then(|line| line.number("size")),
        Some(0x7f0_0000)
    );
    let mark = report.facts("mark").find(|mark| mark.has("long-mode"));
    assert!(mark.and_then(|mark| mark.number("tsc")).is_some());
    let line = report.facts("command-line").next().expect("a command line");
    let text = line.text("text").expect("its text");
    assert!(
        text.starts_with("console=ttyS0 note=\"two words\" exit=0xf4 "),
        "{text}"
    );
    assert_eq!(line.number("length"), Some(text.len() as u64));
    let hypervisor = report.facts("hypervisor").next().expect("a hypervisor");
    assert_eq!(hypervisor.text("signature"), Some("KVMKVMKVM\0\0\0"));
    assert_eq!(
        report.facts("host").next().and_then(|host| host.number("exit")),
        Some(33)
    );
}

#[test]
fn report_without_times_or_with_carriage_returns_is_the_same() {
    let bare: Vec<_> = REAL.lines().map(|line| &line[14..]).collect();
    assert_eq!(Report::parse(&bare.join("\n")), Report::parse(REAL));
    assert_eq!(Report::parse(&bare.join("\r\n")), Report::parse(REAL));
}

#[test]
fn text_before_the_report_is_passed_over() {
    let garbage = "[   0.000100] SeaBIOS (version 1.16)\n# memory: index=0\nok 1 - x\n# end\n1..99\n\u{fffd}\u{1b}[2J";
    assert_eq!(Report::parse(&format!("{garbage}\n{REAL}")), Report::parse(REAL));
    // Firmware's last line may be open.
    let open = format!("{garbage}{}", &REAL[14..]);
    assert_eq!(Report::parse(&open), Report::parse(REAL));
}

#[test]
fn cut_report_has_what_came_before_the_cut() {
    let at = REAL.find("# pic:").expect("a fact");
    let report = Report::parse(&REAL[..at]);
    assert_eq!(report.verdicts.len(), 8);
    assert!(!report.ended);
    assert_eq!(report.end(), "the report ends after verdict fw-cfg");
    for length in (0..REAL.len()).filter(|length| REAL.is_char_boundary(*length)) {
        let report = Report::parse(&REAL[..length]);
        assert_eq!(
            report.ended,
            REAL.find("# end").is_some_and(|end| end + 5 <= length),
            "{length}"
        );
    }
}

#[test]
fn second_start_is_counted_and_not_mixed_in() {
    let at = REAL.find("ok 9").expect("a verdict");
    let report = Report::parse(&format!("{}\n{REAL}", &REAL[..at]));
    assert_eq!(report.starts, 2);
    assert_eq!(report.verdicts.len(), 8);
    assert!(!report.ended);
}

#[test]
fn complaints_belong_to_the_next_verdict() {
    let log = "KTAP version 1\n1..2\n# wrong: magic=0x0\n# wrong: version=0\nnot ok 1 - start-info\n\
               ok 2 - pic # SKIP none there\n# fatal: exception vector=14\n";
    let report = Report::parse(log);
    let verdict = report.verdict("start-info").expect("a verdict");
    assert!(!verdict.is_ok);
    assert_eq!(verdict.complaints, ["magic=0x0", "version=0"]);
    let verdict = report.verdict("pic").expect("a verdict");
    assert_eq!(
        (verdict.skip.as_deref(), verdict.complaints.len()),
        (Some("none there"), 0)
    );
    assert_eq!(report.fatal.as_deref(), Some("exception vector=14"));
    assert_eq!(report.end(), "the image failed: exception vector=14");
}

#[rstest]
#[case("ok 3 - rtc", Some((Some(3), "rtc", true)))]
#[case("not ok 3 - rtc", Some((Some(3), "rtc", false)))]
#[case("ok rtc", Some((None, "rtc", true)))]
#[case("ok 3 rtc", Some((Some(3), "rtc", true)))]
#[case("ok", Some((None, "", true)))]
#[case("okay", None)]
#[case("notok 3 - rtc", None)]
#[case("booting ok", None)]
fn verdict_line(#[case] line: &str, #[case] want: Option<(Option<u64>, &str, bool)>) {
    let got = verdict(line);
    let got = got
        .as_ref()
        .map(|verdict| (verdict.number, verdict.name.as_str(), verdict.is_ok));
    assert_eq!(got, want);
}

#[rstest]
#[case("a b=1 c=\"x y\" d", &["a", "d"], &[("b", "1"), ("c", "x y")])]
#[case(r#"t="a\"b\\c\x00\xc3\xa4""#, &[], &[("t", "a\"b\\c\0ä")])]
#[case("t=\"never ends", &[], &[("t", "never ends")])]
#[case(r#"t="ends in \"#, &[], &[("t", "ends in \\")])]
#[case("t=\"\" u=\"x\"v", &["v"], &[("t", ""), ("u", "x")])]
#[case("= =1 a==b", &[], &[("", ""), ("", "1"), ("a", "=b")])]
#[case("", &[], &[])]
fn words_and_fields(#[case] text: &str, #[case] words: &[&str], #[case] fields: &[(&str, &str)]) {
    let mut report = Report::default();
    report.take_fact("key", text);
    let fact = &report.facts[0];
    let got: Vec<_> = fact
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        (fact.words.iter().map(String::as_str).collect::<Vec<_>>(), got),
        (words.to_vec(), fields.to_vec())
    );
}

#[rstest]
#[case("0x1f", Some(0x1f))]
#[case("31", Some(31))]
#[case("0xffffffffffffffff", Some(u64::MAX))]
#[case("0x10000000000000000", None)]
#[case("0x", None)]
#[case("0x+1", None)]
#[case("+1", None)]
#[case("-1", None)]
#[case("", None)]
#[case("word", None)]
fn number_has_its_digits_and_nothing_else(#[case] text: &str, #[case] value: Option<u64>) {
    assert_eq!(number(text), value);
}

#[test]
fn flood_is_cut_at_the_named_limits() {
    let mut log = "KTAP version 1\n".to_owned();
    log.push_str(&"# fact: a=1\n".repeat(FACTS_MAX + 10));
    log.push_str(&"# wrong: a=1\n".repeat(COMPLAINTS_MAX + 10));
    log.push_str(&"ok 1 - a\n".repeat(VERDICTS_MAX + 10));
    let report = Report::parse(&log);
    assert_eq!((report.facts.len(), report.verdicts.len()), (FACTS_MAX, VERDICTS_MAX));
    assert_eq!(report.verdicts[0].complaints.len(), COMPLAINTS_MAX);
    assert!(report.cut);
    let wide = format!("KTAP version 1\n# fact: {}\n", "a=1 ".repeat(FIELDS_MAX + 1));
    let report = Report::parse(&wide);
    assert_eq!(report.facts[0].fields.len(), FIELDS_MAX);
    assert!(report.cut);
}
