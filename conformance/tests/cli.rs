//! The command line: exit codes, one-line errors, and files.

use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;

fn touchstone(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().expect("touchstone starts")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A subject file whose depth wire is a shell script.
fn scripted(folder: &Path, script: &str) -> String {
    let file = folder.join("mine.toml");
    let text = format!(
        "name = \"mine\"\ntitle = \"A VMM\"\nprofiles = [\"qemu-7.2\"]\n\
         [arguments]\nram = []\nlegacy = []\nmodern = []\n[machine-options]\nrtc = \"\"\n\
         [[wire]]\ncommand = [\"sh\", \"-c\", '''{script}''']\nchannel = \"stdio\"\n\
         start-ms = 300\nanswer-ms = 300\n"
    );
    std::fs::write(&file, text).expect("write");
    file.display().to_string()
}

#[rstest]
#[case(&["run", "--subject", "qmeu"], 2, "no such subject; choose from reference, qemu, null")]
#[case(&["run", "--subject", "mutant:nobody"], 2, "no such mutant; choose from ")]
#[case(&["run", "--subject", "/nowhere/mine.toml"], 2, "/nowhere/mine.toml: read: ")]
#[case(&["run", "--depth", "bus", "--filter", "rtc/nothing/here"], 4, "nothing selected: no case matches")]
#[case(&["run", "--subject", "null", "--depth", "wire"], 4, "nothing selected")]
#[case(&["run", "--subject", "null", "--subject", "null"], 2, "two subjects are named 'null'")]
#[case(&["run", "--depth", "deep"], 2, "choose from bus, wire, cpu, guest")]
#[case(&["run", "--profile", "pc"], 2, "choose from microvm-2019")]
#[case(&["run", "--partition", "3/2"], 2, "1 <= K <= N")]
#[case(&["run", "--expectations", "/nowhere.toml"], 2, "/nowhere.toml: read: ")]
#[case(&["explain", "no/such/case"], 4, "no case matches")]
#[case(&["report", "Cargo.toml"], 2, "Cargo.toml: not a report")]
fn wrong_input_is_named_with_its_exit_code(#[case] arguments: &[&str], #[case] want: i32, #[case] part: &str) {
    let output = touchstone(arguments);
    let text = stderr(&output);
    assert_eq!(code(&output), Some(want), "{text}");
    assert!(text.contains(part), "{text}");
}

#[test]
fn malformed_subject_file_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "name = \"x\"\ntitle = 3\n").expect("write");
    let output = touchstone(&["run", "--subject", &file.display().to_string()]);
    let text = stderr(&output);
    assert_eq!(code(&output), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("bad.toml:2:9: invalid type: integer `3`"), "{text}");
}

#[rstest]
#[case::ends("echo no luck >&2; exit 1", "last words: no luck")]
#[case::hangs("sleep 30", "was not answered within")]
#[case::talks("while read line; do echo HTTP/1.1 400; done", "was answered 'HTTP/1.1 400'")]
fn subject_that_does_not_start_is_exit_code_3(#[case] script: &str, #[case] part: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let subject = scripted(folder.path(), script);
    let output = touchstone(&["run", "--subject", &subject, "--filter", "absent"]);
    let text = stderr(&output);
    assert_eq!(code(&output), Some(3), "{text}");
    assert!(text.contains("subject 'mine' never started"), "{text}");
    assert!(text.contains(part), "{text}");
}

#[test]
fn program_that_is_not_there_is_exit_code_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mine.toml");
    let text = "name = \"mine\"\ntitle = \"x\"\nprofiles = [\"qemu-7.2\"]\n[[wire]]\ncommand = [\"no-such-vmm\"]\n";
    std::fs::write(&file, text).expect("write");
    let output = touchstone(&["run", "--subject", &file.display().to_string()]);
    let text = stderr(&output);
    assert_eq!(code(&output), Some(3), "{text}");
    assert!(
        text.contains("'no-such-vmm' is neither beside this program nor in PATH"),
        "{text}"
    );
}

#[test]
fn required_depth_that_is_not_there_fails_the_run() {
    let arguments = ["run", "--subject", "null", "--filter", "absent", "--require", "cpu"];
    let output = touchstone(&arguments);
    let text = stdout(&output);
    assert_eq!(code(&output), Some(1), "{text}");
    assert!(text.contains("problem: depth cpu is required"), "{text}");
}

#[test]
fn reference_at_depth_bus_is_as_expected_and_ends_with_its_totals() {
    let output = touchstone(&["run", "--depth", "bus", "--shuffle=5"]);
    let text = stdout(&output);
    assert_eq!(code(&output), Some(0), "{text}");
    let last = text.lines().last().expect("a last line");
    let words: Vec<_> = last.split(' ').collect();
    assert!(
        matches!(words[..], [_, "passed,", "0", "failed,", _, "skipped"]),
        "{last}"
    );
    assert!(text.contains("order of running: --shuffle=5"), "{text}");
}

#[test]
fn same_run_prints_the_same_but_for_its_times() {
    let run = || {
        let output = touchstone(&["run", "--subject", "null", "--no-expectations", "--shuffle=1"]);
        let text = stdout(&output);
        let lines = text.lines().filter(|line| !line.starts_with(" null/bus"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn mutant_is_caught_and_that_is_as_expected() {
    let output = touchstone(&["run", "--subject", "mutant:rtc-register-d-invalid"]);
    let text = stdout(&output);
    assert_eq!(code(&output), Some(0), "{text}");
    assert!(text.contains("known fail: the case that hunts this bug"), "{text}");
}

#[test]
fn report_is_written_and_rendered_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join("new").join(name).display().to_string();
    let (json, xml, md) = (path("report.json"), path("junit.xml"), path("report.md"));
    let arguments = ["run", "--depth", "bus", "--filter", "rtc"];
    let files = ["--report", &json, "--junit", &xml, "--markdown", &md];
    let output = touchstone(&[&arguments[..], &files[..]].concat());
    assert_eq!(code(&output), Some(0), "{}", stdout(&output));
    for (format, file) in [("md", &md), ("junit", &xml)] {
        let again = touchstone(&["report", &json, "--format", format]);
        assert_eq!(code(&again), Some(0), "{}", stderr(&again));
        let written = std::fs::read_to_string(file).expect("written");
        // JUnit carries an identifier of the rendering, markdown does not.
        if format == "md" {
            assert_eq!(stdout(&again), written);
        } else {
            assert!(
                written.contains("<testsuite name=\"reference/bus/microvm-2019\""),
                "{written}"
            );
        }
    }
}

#[test]
fn list_is_json_with_the_same_cases_as_text() {
    let text = stdout(&touchstone(&["list"]));
    let json = stdout(&touchstone(&["list", "--format", "json"]));
    let listed: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let ids: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|case| case["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids, text.lines().collect::<Vec<_>>());
}
