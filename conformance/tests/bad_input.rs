//! Honest but wrong input to `touchstone`: each ends with one line that says where, what and what to do, with its exit
//! code, and nothing is lost or left behind.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rstest::rstest;
use tempfile::TempDir;

#[rstest]
#[case::nothing(&[], 2, "a command is missing: write touchstone run, list,")]
#[case::command(&["frob"], 2, "unrecognized subcommand 'frob'; see --help")]
#[case::option(&["run", "--frob"], 2, "unexpected argument '--frob' found; see --help")]
#[case::argument(&["explain"], 2, "were not provided: <ID>; see --help")]
#[case::format(&["list", "--format", "xml"], 2, "invalid value 'xml'")]
#[case::jobs(&["run", "--jobs", "0"], 2, "0 is not in 1..=256; see --help")]
#[case::repeat(&["run", "--repeat", "x"], 2, "invalid value 'x' for '--repeat <REPEAT>'")]
#[case::limit(&["run", "--case-limit-ms", "0"], 2, "0 is not in 1..=3600000")]
#[case::seed(&["run", "--shuffle=x"], 2, "invalid value 'x' for '--shuffle[=<SEED>]'")]
#[case::both(&["run", "--expectations", "empty", "--no-expectations"], 2, "cannot be used with '--no-expectations'")]
#[case::way(
    &["run", "--accel", "nope"],
    2,
    "--accel nope: no such way; choose from kvm, kvm-ioeventfd, kvm-irqchip-on"
)]
#[case::kernel(&["run", "--kernel", "missing"], 2, "--kernel missing: No such file")]
#[case::no_kernel(&["run", "--kernel", "empty"], 2, "--kernel empty: this is neither an ELF file nor a bzImage")]
#[case::images(&["run", "--images", "missing"], 2, "--images missing: no such folder; cargo xtask guest-images builds")]
#[case::empty_filter(&["run", "--filter", ""], 4, "nothing selected: no case matches ''")]
#[case::empty_part(&["run", "--filter", "rtc", "--partition", "999/999"], 4, "nothing selected")]
#[case::list(&["list", "--filter", "nope"], 4, "no case matches 'nope'; see touchstone list")]
#[case::report_missing(&["report", "missing"], 2, "missing: read: No such file or directory")]
#[case::report_folder(&["report", "."], 2, ".: read: Is a directory")]
#[case::report_empty(&["report", "empty"], 2, "empty: not a report: ")]
#[case::report_lane(&["report", "lane.json"], 2, "lane.json: not a report: a/b/c is in lane 7, which is missing")]
#[case::report_schema(&["report", "schema.json"], 2, "report of schema 99, this program reads 1; render it with")]
#[case::replay_missing(&["replay", "missing"], 2, "missing: No such file or directory")]
#[case::replay_empty(&["replay", "empty"], 2, "empty: there is no record in it; give FILE.json.gz, FILE.txt or")]
#[case::replay_folder(&["replay", "."], 2, ".: there is no record in it; give FILE.json.gz, FILE.txt or")]
#[case::replay_text(&["replay", "lane.json"], 2, "lane.json:1: a line before the first `record`")]
#[case::golden(&["golden", "verify"], 2, "give --subject NAME or --recording FILE")]
#[case::golden_subject(&["golden", "verify", "--subject", "null"], 2, "subject null has no depth wire")]
#[case::check(&["subject", "check", "nope"], 2, "no such subject; choose from reference, qemu, null")]
#[case::unwritable(&["run", "--filter", "rtc", "--report", "empty/x.json"], 2, "empty/x.json: create its folder: ")]
#[case::folder(&["run", "--filter", "rtc", "--report", "."], 2, ".: write: Is a directory")]
#[case::endless(&["run", "--subject", "/dev/zero"], 2, "/dev/zero: read: the file is larger than 256 KiB")]
fn wrong_usage_is_one_line(#[case] arguments: &[&str], #[case] code: i32, #[case] part: &str) {
    assert_refused(&touchstone(arguments), code, part);
}

#[rstest]
#[case::syntax("name = \n", ":1:8: ")]
#[case::missing_field("", ":1:1: missing field `name`; see conformance/subjects/qemu.toml")]
#[case::unknown_field("HEADfrob = 1\n", ":4:1: unknown field `frob`, expected one of `name`")]
#[case::wrong_type("HEADwire = 3\n", ":4:8: invalid type: integer `3`")]
#[case::no_command("HEAD[[wire]]\n", ":4:1: missing field `command`")]
#[case::empty_command(
    "HEAD[[wire]]\ncommand = []\n",
    "[[wire]] number 1: command is empty; give the program"
)]
#[case::empty_program(
    "HEAD[[wire]]\ncommand = [\"\"]\n",
    "[[wire]] number 1: command is empty; give the program"
)]
#[case::placeholder(
    "HEAD[[wire]]\ncommand = [\"x\", \"{frob}\"]\n",
    "'{frob}' in \"{frob}\" stands for nothing; choose"
)]
#[case::option(
    "HEADmachine-options = { pic = \"{v}\" }\n[[wire]]\ncommand = [\"x\"]\n",
    "only {value} stands for something"
)]
#[case::profile(
    "name = \"m\"\ntitle = \"t\"\nprofiles = [\"pc\"]\n",
    "'pc' is no profile; choose from microvm-2019"
)]
#[case::capability(
    "HEAD[[wire]]\ncommand = [\"x\"]\ncaps = [\"fly\"]\n",
    "'fly' is no capability; choose from clock"
)]
#[case::nothing("HEAD", "nothing to start: add a [[wire]], [[cpu]] or [[guest]] table")]
#[case::twice(
    "HEAD[[wire]]\ncommand = [\"x\"]\n[[wire]]\ncommand = [\"x\"]\n",
    "name = \"\" is taken; give it another"
)]
fn malformed_subject_is_one_line(#[case] text: &str, #[case] part: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, text.replace("HEAD", HEAD)).expect("written");
    let file = file.display().to_string();
    assert_refused(&touchstone(&["run", "--subject", &file]), 2, part);
    assert_refused(&touchstone(&["subject", "check", &file]), 2, "bad.toml");
}

#[rstest]
#[case::syntax("[[entry]\n", ":1:9: ")]
#[case::no_reason("case = 'a/b/c'\nverdict = 'fail'", "missing field `reason`")]
#[case::empty_reason(
    "case = 'a/b/c'\nverdict = 'fail'\nreason = ' '",
    "entry 1 (a/b/c): reason is empty; say why"
)]
#[case::verdict(
    "case = 'a/b/c'\nverdict = 'bad'\nreason = 'x'",
    "'bad' is no verdict; choose from pass, fail, warn"
)]
#[case::depth(
    "case = 'a/b/c'\nverdict = 'fail'\nreason = 'x'\ndepth = 'deep'",
    "depth 'deep' is none of bus, wire"
)]
#[case::profile(
    "case = 'a/b/c'\nverdict = 'fail'\nreason = 'x'\nprofile = 'pc'",
    "profile 'pc' is none of microvm-2019"
)]
#[case::clause(
    "case = 'cmos/plain/holds-bytes'\nverdict = 'fail'\nreason = 'x'",
    "a failure needs its clause: clause = "
)]
fn malformed_expectations_are_one_line(#[case] entry: &str, #[case] part: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("known.toml");
    let head = if entry.starts_with('[') { "" } else { "[[entry]]\n" };
    std::fs::write(&file, format!("{head}{entry}\n")).expect("written");
    let file = file.display().to_string();
    let output = touchstone(&["run", "--depth", "bus", "--filter", "cmos", "--expectations", &file]);
    assert_refused(&output, 2, part);
}

#[test]
fn expectation_about_no_case_fails_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("known.toml");
    std::fs::write(&file, "[[entry]]\ncase = 'a/b/c'\nverdict = 'fail'\nreason = 'x'\n").expect("written");
    let file = file.display().to_string();
    let output = touchstone(&["run", "--depth", "bus", "--filter", "cmos", "--expectations", &file]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("entry 'a/b/c' matches no case; remove it"), "{text}");
}

#[test]
fn report_that_cannot_be_written_loses_neither_the_others_nor_the_summary() {
    let folder = tempfile::tempdir().expect("a folder");
    let markdown = folder.path().join("report.md");
    let arguments = [
        "run",
        "--depth",
        "bus",
        "--filter",
        "cmos/plain",
        "--report",
        "/dev/full",
    ];
    let output = touchstone(&[&arguments[..], &["--markdown", &markdown.display().to_string()]].concat());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.starts_with("touchstone: /dev/full: write: No space left"),
        "{text}"
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains(" passed, "));
    assert!(
        std::fs::read_to_string(markdown)
            .expect("written")
            .contains("cmos/plain/holds-bytes")
    );
}

#[rstest]
#[case::run(&["run", "--depth", "bus", "--filter", "cmos/plain"])]
#[case::list(&["list"])]
#[case::help(&["--help"])]
fn reader_that_has_seen_enough_is_no_failure_and_a_full_disk_is(#[case] arguments: &[&str]) {
    let mut child = command(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("touchstone starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = command(arguments)
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .expect("touchstone starts");
    assert_refused(&output, 1, "standard output: No space left on device");
}

#[rstest]
#[case::flood_of_words("yes", "'endianness' was answered 'y'")]
#[case::endless_line("cat /dev/zero", "'endianness' was answered by an endless line")]
#[case::control_characters("printf 'a\\033[31m\\rb\\n'; sleep 9", "was answered 'a\u{fffd}[31m\u{fffd}b'")]
#[case::flood_of_complaints("yes >&2", "'endianness' was not answered within")]
#[case::deaf_to_signals("trap '' TERM INT HUP; sleep 9", "'endianness' was not answered within")]
fn odd_subject_never_started(#[case] script: &str, #[case] part: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let subject = subject(folder.path(), "wire", script);
    let output = touchstone(&["run", "--subject", &subject, "--filter", "cmos/plain"]);
    assert_refused_with_summary(&output, 3, part);
}

#[rstest]
#[case::flood("yes", "the agent's hello did not come in time; the console says: y")]
#[case::ends("echo no luck >&2; exit 1", "last words: no luck")]
fn odd_subject_never_started_the_agent(#[case] script: &str, #[case] part: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let subject = subject(folder.path(), "cpu", script);
    // Any image will do for a subject that never looks at it.
    std::fs::write(folder.path().join("agent"), pvh_image()).expect("written");
    let images = folder.path().display().to_string();
    let output = touchstone(&[
        "run",
        "--subject",
        &subject,
        "--filter",
        "cmos/plain",
        "--images",
        &images,
    ]);
    assert_refused_with_summary(&output, 3, part);
}

#[test]
fn subject_that_dies_in_the_middle_costs_its_case_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "read x; echo OK little; read x; echo OK; echo too bad >&2; exit 9";
    let subject = subject(folder.path(), "wire", script);
    let output = touchstone(&[
        "run",
        "--subject",
        &subject,
        "--filter",
        "cmos/plain",
        "--filter",
        "cmos/unused",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.matches("CRASH: cmos/").count(), 2, "{text}");
    assert!(
        text.contains("ended with exit status: 9; last words: too bad"),
        "{text}"
    );
}

#[test]
fn first_interrupt_lets_running_cases_end_and_writes_the_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report.json");
    let subject = subject(folder.path(), "wire", "sleep 60 & wait");
    let arguments = [
        "run",
        "--subject",
        &subject,
        "--filter",
        "cmos",
        "--jobs",
        "1",
        "--report",
    ];
    let mut child = start_and_wait_for_subject(&[&arguments[..], &[&report.display().to_string()]].concat(), &folder);
    interrupt(child.id());
    assert_eq!(
        child.wait().expect("it ends").code(),
        Some(3),
        "the subject never started"
    );
    let text = std::fs::read_to_string(report).expect("a report");
    assert!(text.contains("the run was interrupted"), "{text}");
    assert_nothing_left(&folder);
}

#[test]
fn second_interrupt_ends_at_once_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let subject = subject(folder.path(), "wire", "sleep 60 & wait").replace("mine.toml", "slow.toml");
    let text = std::fs::read_to_string(folder.path().join("mine.toml")).expect("the subject");
    std::fs::write(&subject, text.replace("start-ms = 300", "start-ms = 60000")).expect("written");
    let mut child = start_and_wait_for_subject(&["run", "--subject", &subject, "--filter", "cmos"], &folder);
    interrupt(child.id());
    // Two signals that are not yet handled are one.
    std::thread::sleep(Duration::from_millis(200));
    interrupt(child.id());
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert_nothing_left(&folder);
}

/// `touchstone` in a folder with bad files, its subjects' folders in the system's own.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command.args(arguments).current_dir(folder()).stdin(Stdio::null());
    command
}

fn touchstone(arguments: &[&str]) -> Output {
    command(arguments).output().expect("touchstone starts")
}

fn assert_refused(output: &Output, code: i32, part: &str) {
    assert_refused_with_summary(output, code, part);
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn assert_refused_with_summary(output: &Output, code: i32, part: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(part), "{text}");
    assert!(
        text.starts_with("touchstone: ") && text.lines().count() == 1,
        "one line: {text}"
    );
}

/// A subject file whose one way of starting, at this depth, is a shell script.
fn subject(folder: &Path, depth: &str, script: &str) -> String {
    let file = folder.join("mine.toml");
    let channel = if depth == "wire" { "channel" } else { "serial" };
    let text = format!(
        "{HEAD}[arguments]\nram = []\nlegacy = []\nmodern = []\nkernel = []\n\
         [[{depth}]]\ncommand = [\"sh\", \"-c\", '''{script}''']\n{channel} = \"stdio\"\n\
         start-ms = 300\nanswer-ms = 300\n[machine-options]\nrtc = \"\"\n"
    );
    std::fs::write(&file, text).expect("written");
    file.display().to_string()
}

/// Starts a run whose temporary folders are below `folder`, and returns when the first of its subjects is there.
fn start_and_wait_for_subject(arguments: &[&str], folder: &TempDir) -> std::process::Child {
    let mut command = command(arguments);
    command
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().expect("touchstone starts");
    let deadline = Instant::now() + Duration::from_secs(10);
    while leftovers(folder) == 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(50));
    child
}

fn interrupt(id: u32) {
    let sent = Command::new("kill").args(["-s", "INT", &id.to_string()]).status();
    assert!(sent.expect("kill starts").success());
}

/// No folder of a subject, and no process that was started with this `TMPDIR`.
fn assert_nothing_left(folder: &TempDir) {
    assert_eq!(leftovers(folder), 0, "folders");
    let mark = format!("TMPDIR={}\0", folder.path().display());
    let is_ours = |process: &std::fs::DirEntry| {
        let mut environment = Vec::new();
        let file = File::open(process.path().join("environ"));
        // A process that ended, or belongs to another user, is none of ours.
        let read = file.and_then(|mut file| file.read_to_end(&mut environment));
        read.is_ok() && environment.windows(mark.len()).any(|window| window == mark.as_bytes())
    };
    let processes = || std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    // A killed process is there for a moment yet.
    let deadline = Instant::now() + Duration::from_secs(10);
    while processes().any(|process| is_ours(&process)) {
        assert!(Instant::now() < deadline, "a process of the subject is left");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn leftovers(folder: &TempDir) -> usize {
    let entries = std::fs::read_dir(folder.path())
        .expect("the folder")
        .filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("touchstone-"))
        .count()
}

fn folder() -> &'static Path {
    static FOLDER: std::sync::OnceLock<TempDir> = std::sync::OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        let report = folder.path().join("report.json").display().to_string();
        let mut run = Command::new(env!("CARGO_BIN_EXE_touchstone"));
        run.args(["run", "--depth", "bus", "--filter", "cmos/plain", "--report", &report]);
        assert!(run.output().expect("touchstone starts").status.success());
        let text = std::fs::read_to_string(report).expect("a report");
        let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        value["results"][0]["case"] = "a/b/c".into();
        value["results"][0]["lane"] = 7.into();
        write("lane.json", &value.to_string());
        value["schema"] = 99.into();
        write("schema.json", &value.to_string());
        write("empty", "");
        folder
    });
    folder.path()
}

/// The smallest ELF64 with a PVH note.
fn pvh_image() -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(64, 0);
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(16, &[2, 0, 62, 0, 1]);
    put(32, &[64]);
    put(52, &[64, 0, 56, 0, 1]);
    // PT_NOTE: type, flags, offset, addresses, sizes, alignment.
    file.extend([4_u32, 4].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([120_u64, 0, 0, 20, 20, 4].iter().flat_map(|long| long.to_le_bytes()));
    file.extend([4_u32, 4, 18].iter().flat_map(|word| word.to_le_bytes()));
    file.extend(b"Xen\0");
    file.extend(0x10_0000_u32.to_le_bytes());
    file
}

const HEAD: &str = "name = \"mine\"\ntitle = \"A VMM\"\nprofiles = [\"microvm-2019\"]\n";
