//! Recording, merging and what else a run on many machines needs, as commands.

use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;
use tempfile::TempDir;

#[rstest]
#[case::subject(&["record", "--subject", "qmeu", "--out", "x"], 2, "no such subject; choose from reference")]
#[case::depth(&["record", "--depth", "cpu", "--out", "x"], 2, "--depth cpu: recordings are made at bus or wire")]
#[case::no_lane(&["record", "--subject", "null", "--depth", "wire", "--out", "x"], 2, "has neither depth bus nor wire")]
#[case::no_out(&["record"], 2, "were not provided: --out <FILE.txt|DIR>; see --help")]
#[case::no_case(&["record", "--filter", "nope", "--out", "x"], 4, "no case matches 'nope'")]
#[case::out_is_file(&["record", "--filter", "absent", "--out", "empty"], 2, "empty: create: ")]
#[case::out_in_file(&["record", "--filter", "absent", "--out", "empty/x.txt"], 2, "empty/x.txt: create its folder: ")]
#[case::no_program(&["record", "--programs", "nowhere", "--out", "x"], 2, "nowhere: No such file or directory")]
#[case::empty_programs(
    &["record", "--programs", "folder", "--out", "x"],
    2,
    "folder: there is no program in it; give FILE.txt"
)]
#[case::wrong_program(&["record", "--programs", "fly.txt", "--out", "x"], 2, "fly.txt:2: 'fly 1' is not an action")]
#[case::unfit_program(
    &["record", "--programs", "unfit.txt", "--out", "x"],
    4,
    "none of the programs could be recorded"
)]
#[case::programs_of_cases(
    &["record", "--programs", "x", "--filter", "rtc", "--out", "x"],
    2,
    "'--programs <FILE.txt|DIR>' cannot be used with '--filter <PATTERN>'"
)]
#[case::no_recording(&["run", "--filter", "absent", "--recording", "nowhere"], 2, "--recording nowhere: No such file")]
#[case::twice(&["replay", "twice.txt"], 2, "twice.txt: record x stands there twice; remove one")]
#[case::two_sources(&["replay", "mixed"], 2, "is of 'two', the files before it of 'one'; keep them in two folders")]
#[case::needs(&["replay", "needs.txt"], 1, "record x: needs=wings is no capability")]
#[case::merge_one(&["report", "merge", "a.json", "--out", "x"], 2, "2 values required")]
#[case::merge_no_out(&["report", "merge", "a.json", "a.json"], 2, "were not provided: --out <FILE>; see --help")]
#[case::merge_missing(&["report", "merge", "a.json", "b", "--out", "x"], 2, "b: read: No such file or directory")]
#[case::merge_other(&["report", "merge", "a.json", "empty", "--out", "x"], 2, "empty: not a report: ")]
#[case::merge_schema(
    &["report", "merge", "a.json", "schema.json", "--out", "x"],
    2,
    "schema.json: report of schema 99, this program reads 1"
)]
#[case::merge_suite(
    &["report", "merge", "a.json", "suite.json", "--out", "x"],
    2,
    "suite.json: is of touchstone 9.9.9 with"
)]
#[case::merge_conflict(
    &["report", "merge", "a.json", "conflict.json", "--out", "x"],
    2,
    "conflict.json: absent/"
)]
#[case::merge_out(&["report", "merge", "a.json", "a.json", "--out", "empty/x"], 2, "empty/x: create its folder: ")]
#[case::skips(&["run", "--max-skips", "many"], 2, "invalid value 'many' for '--max-skips <N>'")]
#[case::capsules_full(
    &["run", "--subject", "null", "--filter", "absent", "--capsules", "mixed"],
    2,
    "--capsules mixed: is not empty"
)]
#[case::capsules_file(
    &["run", "--subject", "null", "--filter", "absent", "--capsules", "empty"],
    2,
    "--capsules empty: create: "
)]
#[case::explain_report(&["explain", "absent/nothing/here", "--report", "empty"], 4, "no case matches")]
#[case::expectations_none(&["expectations", "a.json"], 2, "were not provided: --subject <SUBJECT>; see --help")]
#[case::expectations_report(&["expectations", "empty", "--subject", "null"], 2, "empty: not a report: ")]
#[case::expectations_subject(
    &["expectations", "a.json", "--subject", "mine"],
    2,
    "--subject mine: the report has no such subject; it has null"
)]
#[case::expectations_file(
    &["expectations", "a.json", "--subject", "null", "--expectations", "nowhere"],
    2,
    "nowhere: read: "
)]
#[case::mustpass_profile(&["mustpass", "--profile", "pc"], 2, "choose from microvm-2019")]
#[case::mustpass_place(
    &["mustpass", "--profile", "qemu-7.2", "--check"],
    2,
    "golden/mustpass/retired.txt: not found from here upwards"
)]
#[case::report_nothing(&["report"], 2, "were not provided: <FILE>; see --help")]
fn wrong_use_is_one_line(#[case] arguments: &[&str], #[case] want: i32, #[case] part: &str) {
    let folder = inputs();
    let output = touchstone(folder.path(), arguments);
    assert_end(&output, want, part);
}

#[test]
fn recording_agrees_with_its_subject_and_shows_the_bug_of_another() {
    let folder = inputs();
    let record = ["record", "--filter", "rtc/register-d", "--filter", "absent", "--out"];
    let output = touchstone(folder.path(), &[&record[..], &["rec"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = std::fs::read_to_string(folder.path().join("rec/rtc.txt")).expect("a file for each area");
    let mut lines = text.lines();
    assert!(
        lines
            .next()
            .is_some_and(|line| line.ends_with(", reference/bus/microvm-2019")),
        "{text}"
    );
    assert_eq!(lines.next(), Some("# profile: microvm-2019"));
    assert!(text.contains("\n# date: 2"), "{text}");
    let same = touchstone(folder.path(), &["replay", "rec"]);
    assert_eq!(same.status.code(), Some(0), "{}{}", stdout(&same), stderr(&same));
    let other = touchstone(
        folder.path(),
        &["replay", "rec", "--subject", "mutant:rtc-register-d-invalid"],
    );
    assert_eq!(other.status.code(), Some(1), "{}", stdout(&other));
    assert!(
        stdout(&other).contains("DIFFERS: rtc/register-d/"),
        "{}",
        stdout(&other)
    );
    let one = touchstone(folder.path(), &[&record[..], &["one.txt"]].concat());
    assert_eq!(one.status.code(), Some(0), "{}", stderr(&one));
    let again = touchstone(folder.path(), &["replay", "one.txt"]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
}

#[test]
fn programs_of_the_fuzzer_are_recorded_and_a_recording_is_programs_again() {
    let folder = inputs();
    let heading = "# microvm qtest --machine microvm,rtc=on -m 5M --rtc base=2020-02-28T23:59:50\n";
    let program = format!("{heading}setup plain\noutb 0x70 0xd\ninb 0x71\noutb 0x70 0x9\ninb 0x71\n");
    let programs = folder.path().join("programs/rtc");
    std::fs::create_dir_all(&programs).expect("a folder");
    std::fs::write(programs.join("year.txt"), program).expect("a file");
    let expect = |arguments: &[&str], code: i32| {
        let output = touchstone(folder.path(), arguments);
        let text = format!("{}{}", stdout(&output), stderr(&output));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        text
    };
    expect(&["record", "--programs", "programs", "--out", "rec"], 0);
    let text = std::fs::read_to_string(folder.path().join("rec/rtc.txt")).expect("a file for each area");
    assert!(
        text.contains("\nrecord rtc/year\nconfig m=5M modern=false needs=lines,frozen rtc=on "),
        "{text}"
    );
    assert!(
        text.ends_with("outb 0x70 0xd\ninb 0x71 -> 80\noutb 0x70 0x9\ninb 0x71 -> 20\n"),
        "{text}"
    );
    expect(&["replay", "rec"], 0);
    let other = expect(&["replay", "rec", "--subject", "mutant:rtc-register-d-invalid"], 1);
    assert!(other.contains("DIFFERS: rtc/year step 2: inb 0x71"), "{other}");
    expect(
        &["record", "--programs", "rec", "--profile", "qemu-7.2", "--out", "again"],
        0,
    );
    let again = std::fs::read_to_string(folder.path().join("again/rtc.txt")).expect("a file for each area");
    let records = |text: &str| text[text.find("\nrecord ").expect("a record")..].to_owned();
    assert_eq!(records(&again), records(&text));
}

/// A recording that the reference no longer agrees with fails the run that it takes part in.
#[test]
fn recording_takes_part_in_a_run_and_an_unsettled_difference_fails_it() {
    let folder = inputs();
    let text = "# source: QEMU 0.0, wrong\n# profile: microvm-2019\nrecord rtc/d\nconfig m=5M rtc=on\n\
                outb 0x70 0xd\ninb 0x71 -> 0\ninb 0x71 -> 80\n";
    std::fs::write(folder.path().join("wrong.txt"), text).expect("a file");
    let run = [
        "run",
        "--depth",
        "bus",
        "--filter",
        "rtc/register-d",
        "--recording",
        "wrong.txt",
    ];
    let output = touchstone(
        folder.path(),
        &[&run[..], &["--report", "r.json", "--html", "r.html"]].concat(),
    );
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let problem = "problem: recording wrong.txt: 1 differences are not settled, the first is rtc/d | inb 0x71 | 0 | 80";
    assert!(stdout(&output).contains(problem), "{}", stdout(&output));
    let html = std::fs::read_to_string(folder.path().join("r.html")).expect("the page");
    assert!(
        html.contains("rtc/d | inb 0x71 | 0 | 80") && html.contains("QEMU 0.0<br>recorded"),
        "{html}"
    );
    let markdown = touchstone(folder.path(), &["report", "r.json", "--format", "md"]);
    assert!(
        stdout(&markdown).contains("- **unsettled** `rtc/d | inb 0x71 | 0 | 80`"),
        "{}",
        stdout(&markdown)
    );
}

#[test]
fn parts_of_a_run_merge_and_render_in_all_forms() {
    let folder = inputs();
    let mut merge = vec!["report", "merge"];
    let names = ["1.json", "2.json", "3.json"];
    for (part, name) in ["1/3", "2/3", "3/3"].into_iter().zip(names) {
        let run = [
            "run",
            "--subject",
            "null",
            "--no-expectations",
            "--partition",
            part,
            "--report",
            name,
        ];
        touchstone(folder.path(), &run);
        merge.push(name);
    }
    merge.extend(["--out", "all.json"]);
    let output = touchstone(folder.path(), &merge);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let whole = [
        "run",
        "--subject",
        "null",
        "--no-expectations",
        "--report",
        "whole.json",
    ];
    let whole = stdout(&touchstone(folder.path(), &whole));
    let totals = whole.lines().last().expect("a last line");
    assert!(
        stdout(&output).trim_end().ends_with(totals),
        "{}{totals}",
        stdout(&output)
    );
    for format in ["md", "html", "junit", "tap", "matrix", "summary"] {
        let output = touchstone(folder.path(), &["report", "all.json", "--format", format]);
        assert_eq!(output.status.code(), Some(0), "{format}: {}", stderr(&output));
        let part = if format == "summary" { " passed, " } else { "absent/" };
        assert!(stdout(&output).contains(part), "{format}");
    }
}

#[test]
fn more_skips_than_allowed_fail_the_run() {
    let folder = inputs();
    let run = [
        "run",
        "--depth",
        "bus",
        "--profile",
        "rust-vmm",
        "--filter",
        "rtc",
        "--max-skips",
    ];
    let output = touchstone(folder.path(), &[&run[..], &["10000"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let output = touchstone(folder.path(), &[&run[..], &["0"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(
        stdout(&output).contains(" results are skipped, --max-skips allows 0"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn capsule_of_a_failure_replays_and_is_explained() {
    let folder = inputs();
    let id = "rtc/register-d/valid";
    let run = ["run", "--subject", "null", "--no-expectations", "--filter", id];
    let files = ["--capsules", "capsules", "--report", "null.json"];
    let output = touchstone(folder.path(), &[&run[..], &files[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let name = format!("null-bus-microvm-2019--{}", id.replace('/', "-"));
    let capsule = folder.path().join("capsules").join(name);
    for file in ["case.json", "program.txt", "post-mortem.txt", "replay.txt"] {
        assert!(capsule.join(file).is_file(), "{file}");
    }
    let replay = |subject| touchstone(&capsule, &["replay", "program.txt", "--subject", subject]);
    assert_eq!(replay("null").status.code(), Some(0), "{}", stdout(&replay("null")));
    assert_eq!(
        replay("reference").status.code(),
        Some(1),
        "{}",
        stdout(&replay("reference"))
    );
    let explained = touchstone(folder.path(), &["explain", id, "--report", "null.json"]);
    let text = stdout(&explained);
    assert!(text.contains("  fail  null/bus/microvm-2019, unexpected: "), "{text}");
    let other = touchstone(
        folder.path(),
        &["explain", "absent/memory/drops-writes", "--report", "null.json"],
    );
    assert!(
        stdout(&other).ends_with("none: the case did not run\n"),
        "{}",
        stdout(&other)
    );
}

#[test]
fn expectations_of_a_report_are_refused_until_reasons_are_written() {
    let folder = inputs();
    let print = ["expectations", "a.json", "--subject", "null"];
    let output = touchstone(folder.path(), &print);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("reason = \"\""), "{text}");
    let file = folder.path().join("null.toml");
    let run = [
        "run",
        "--subject",
        "null",
        "--filter",
        "absent",
        "--expectations",
        "null.toml",
    ];
    std::fs::write(&file, &text).expect("written");
    assert_end(
        &touchstone(folder.path(), &run),
        2,
        "reason is empty; say why this is so",
    );
    std::fs::write(&file, text.replace("reason = \"\"", "reason = \"It does nothing.\"")).expect("written");
    let output = touchstone(folder.path(), &run);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
}

#[test]
fn lists_of_must_cases_are_checked_and_written() {
    let folder = inputs();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/mustpass");
    let own = folder.path().join("golden/mustpass");
    std::fs::create_dir_all(&own).expect("a folder");
    for file in ["retired.txt", "qemu-7.2.txt"] {
        std::fs::copy(golden.join(file), own.join(file)).expect("copied");
    }
    let mustpass = |word| touchstone(folder.path(), &["mustpass", "--profile", "qemu-7.2", word]);
    assert_eq!(
        mustpass("--check").status.code(),
        Some(0),
        "{}",
        stderr(&mustpass("--check"))
    );
    let list = own.join("qemu-7.2.txt");
    let text = std::fs::read_to_string(&list).expect("a list");
    std::fs::write(&list, format!("{text}old/thing/behaviour\n")).expect("written");
    let gone = "gone without a line in golden/mustpass/retired.txt: old/thing/behaviour";
    assert_end(&mustpass("--check"), 1, gone);
    assert_end(&mustpass("--write"), 1, gone);
    let retired = std::fs::read_to_string(own.join("retired.txt")).expect("a list");
    let line = "old/thing/behaviour - # It asked for nothing.\n";
    std::fs::write(own.join("retired.txt"), format!("{retired}{line}")).expect("written");
    assert_eq!(
        mustpass("--check").status.code(),
        Some(0),
        "{}",
        stderr(&mustpass("--check"))
    );
    assert_eq!(
        mustpass("--write").status.code(),
        Some(0),
        "{}",
        stderr(&mustpass("--write"))
    );
    let written = std::fs::read_to_string(&list).expect("a list");
    assert!(!written.contains("old/thing/behaviour"), "{written}");
}

/// A report of the machine that does nothing.
fn report_of_null(folder: &Path, filter: &str) -> String {
    let file = folder.join("a.json");
    let name = file.display().to_string();
    let run = [
        "run",
        "--subject",
        "null",
        "--no-expectations",
        "--filter",
        filter,
        "--report",
        &name,
    ];
    touchstone(folder, &run);
    std::fs::read_to_string(&file).expect("a report")
}

/// A folder with inputs of all kinds.
fn inputs() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, text).expect("written");
    };
    write("empty", "");
    write(
        "twice.txt",
        "# profile: microvm-2019\nrecord x\ninb 0x71 -> 0\nrecord x\n",
    );
    write(
        "needs.txt",
        "# profile: microvm-2019\nrecord x\nconfig needs=wings\ninb 0x71 -> 0\n",
    );
    write("mixed/a.txt", "# source: one\nrecord x\ninb 0x71 -> 0\n");
    let report = report_of_null(folder.path(), "absent");
    write("schema.json", &report.replacen("\"schema\": 1", "\"schema\": 99", 1));
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    write("suite.json", &report.replacen(&version, "\"version\": \"9.9.9\"", 1));
    write(
        "conflict.json",
        &report.replacen("\"verdict\": \"", "\"verdict\": \"not-", 1),
    );
    write("folder/note.md", "");
    write("fly.txt", "inb 0x71\nfly 1\n");
    write("unfit.txt", "inb 0x71\n");
    write("mixed/b.txt", "# source: two\nrecord y\ninb 0x71 -> 0\n");
    folder
}

fn touchstone(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command.args(arguments).current_dir(folder);
    command.output().expect("touchstone starts")
}

fn assert_end(output: &Output, want: i32, part: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(want), "{}{text}", stdout(output));
    assert!(text.contains(part), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
