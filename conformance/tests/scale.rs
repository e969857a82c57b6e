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
#[case::twice(&["replay", "twice.txt"], 2, "twice.txt: record x stands there twice; remove one")]
#[case::two_sources(&["replay", "mixed"], 2, "is of 'two', the files before it of 'one'; keep them in two folders")]
#[case::needs(&["replay", "needs.txt"], 1, "record x: needs=wings is no capability")]
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
