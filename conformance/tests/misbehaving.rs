//! Subjects that do what no VMM should: each gets its own verdict within its limit, the rest of the run goes on, and
//! the capsule tells why. The small ones are shell scripts; the real ones are the reference with guests of a few bytes,
//! and are skipped, and said so, where there is no KVM.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use conformance::report::{Entry, Report};
use conformance::subject::description::kvm_problem;
use conformance::subject::kernel;
use conformance::subject::process::is_there;
use rstest::rstest;
use tempfile::TempDir;

/// What one misbehaving subject comes to: verdict, or several where the host decides, and parts of its reason and of
/// what the capsule shows.
type Want<'a> = (&'a str, &'a str, &'a str);

#[rstest]
#[case::exits(
    "echo 'no such option' >&2; exit 2",
    ("error", "exit status: 2; last words: no such option", "no such option")
)]
#[case::missing("exec no-such-vmm", ("error", "printed nothing", "ended with exit status: 127"))]
#[case::silent("exec sleep 60", ("error", "printed nothing within 700 ms", "still ran"))]
#[case::stops("echo hello; exec sleep 60", ("timeout", "did not end within 1000 ms; it printed: [", "] hello"))]
#[case::open_line("printf hello; exec sleep 60", ("timeout", "it printed: hello", "hello"))]
#[case::trickles("while :; do echo x; sleep 0.02; done", ("timeout", "did not end within 1000 ms", "] x"))]
// Which of the two bounds a flood meets first depends on the host.
#[case::floods("exec yes", ("error timeout", "it printed: ", "] y"))]
#[case::floods_in_one_line("exec tr '\\0' x < /dev/zero", ("error timeout", "it printed: ", "xxxxxxxx"))]
#[case::floods_with_empty_lines("exec yes ''", ("error timeout", "it printed: ", "console"))]
#[case::dies("echo 'KTAP version 1'; kill -9 $$", ("crash", "signal: 9", "KTAP version 1"))]
#[case::fails("echo 'KTAP version 1'; echo why >&2; exit 1", ("crash", "exit status: 1; last words: why", "why"))]
#[case::hangs_up("echo hello; exec >&- <&-; sleep 60", ("crash", "closed the channel but still runs", "hello"))]
#[case::garbage("head -c 100000 /dev/urandom; exit 33", ("fail", "", ""))]
fn image_that_misbehaves_has_its_verdict(#[case] script: &str, #[case] want: Want<'_>) {
    let run = Run::of("guest", script, &["boot/report/complete", "boot/ports/float"]);
    run.assert_verdict("boot/report/complete", want);
    run.assert_verdict("boot/ports/float", (want.0, want.1, ""));
}

#[rstest]
#[case::exits(
    "echo 'no such option' >&2; exit 2",
    ("error", "exit status: 2; last words: no such option", "no such option")
)]
#[case::silent("exec sleep 60", ("error", "the agent's hello did not come in time", "still ran"))]
#[case::trickles("while :; do echo x; sleep 0.02; done", ("error", "the agent's hello did not come in time", "x"))]
#[case::floods("exec yes hello", ("error", "the agent's hello", "hello"))]
#[case::hangs_up("echo hello; exec >&- <&-; sleep 60", ("error", "closed the channel but still runs", "hello"))]
#[case::dies("kill -9 $$", ("error", "signal: 9", "signal: 9"))]
fn agent_that_misbehaves_has_its_verdict(#[case] script: &str, #[case] want: Want<'_>) {
    let run = Run::of("cpu", script, &["rtc/register-d/valid"]);
    run.assert_verdict("rtc/register-d/valid", want);
}

#[rstest]
#[case::exits(
    "echo 'no such option' >&2; exit 2",
    ("error", "exit status: 2; last words: no such option", "no such option")
)]
#[case::silent("exec sleep 60", ("error", "was not answered within", "still ran"))]
#[case::garbage("echo what; exec sleep 60", ("error", "was answered 'what'", "still ran"))]
#[case::floods("exec tr '\\0' x < /dev/zero", ("error", "an endless line", "still ran"))]
#[case::floods_with_changes("exec yes 'IRQ raise 1'", ("error", "was not answered within", "still ran"))]
#[case::dies(
    "read line; echo OK little; read line; echo OK; read line; echo oops >&2; kill -9 $$",
    ("crash", "signal: 9 (SIGKILL); last words: oops", "oops")
)]
#[case::stops(
    "read line; echo OK little; read line; echo OK; exec sleep 60",
    ("timeout", "was not answered within 1000 ms", "still ran")
)]
fn bus_that_misbehaves_has_its_verdict(#[case] script: &str, #[case] want: Want<'_>) {
    let run = Run::of("wire", script, &["rtc/register-d/valid"]);
    run.assert_verdict("rtc/register-d/valid", want);
}

/// Speaks, then `jmp $`.
const SPEAKS_AND_LOOPS: &[u8] = &[0x66, 0xba, 0xf8, 0x03, 0xb0, b'A', 0xee, 0xeb, 0xfe];
/// `jmp $`.
const LOOPS: &[u8] = &[0xeb, 0xfe];
/// Prints its own first 4 KiB for ever, by string instructions.
const FLOODS: &[u8] = &[
    0x66, 0xba, 0xf8, 0x03, 0xbe, 0, 0, 0x10, 0, 0xb9, 0, 0x10, 0, 0, 0xf3, 0x6e, 0xeb, 0xf2,
];
/// `ud2` without an interrupt table: a triple fault.
const DIES: &[u8] = &[0x0f, 0x0b];

#[rstest]
#[case::loops(SPEAKS_AND_LOOPS, ("timeout", "did not end within 3000 ms; it printed: A", "rip 0000000000100007"))]
#[case::never_speaks(LOOPS, ("error", "printed nothing within 2000 ms", "rip 0000000000100000"))]
#[case::floods(FLOODS, ("error timeout", "it printed", "cpu 0 was stopped"))]
#[case::dies(DIES, ("error", "the image printed nothing: 'microvm' ended with exit status: 0", "console: nothing"))]
fn guest_that_misbehaves_on_a_real_vmm_has_its_verdict(#[case] code: &[u8], #[case] want: Want<'_>) {
    if !has_vmm() {
        return;
    }
    let subject = "name = \"mine\"\ntitle = \"A VMM\"\nprofiles = [\"microvm-2019\"]\n\
         [arguments]\nram = []\nlegacy = []\nkernel = [\"--kernel\", \"{kernel}\"]\nappend = []\n\
         [machine-options]\nrtc = \"\"\n[devices]\nvirtio-rng = []\n\
         [[guest]]\ncommand = [\"microvm\", \"run\", \"{setup}\", \"--serial\", \"stdio\", \"--no-reboot\"]\n\
         start-ms = 2000\nanswer-ms = 3000\nexit = [33]\ndump = \"sigquit\"\n";
    let run = Run::with(subject, &image(code), "guest", &["boot/report/complete"]);
    run.assert_verdict("boot/report/complete", want);
}

#[test]
fn killed_vmm_is_one_crash_and_the_run_goes_on() {
    if !has_vmm() {
        return;
    }
    let Some(images) = images() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command.args([
        "run",
        "--depth",
        "cpu",
        "--profile",
        "microvm-2019",
        "--accel",
        "kvm",
        "--jobs",
        "1",
    ]);
    command.args(["--filter", "rtc/time", "--filter", "rtc/register-d", "--images"]);
    command
        .arg(images)
        .arg("--report")
        .arg(&report)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut touchstone = command.spawn().expect("touchstone starts");
    let vmm = wait_for(|| child_of(touchstone.id(), "microvm"));
    kill_hard(vmm);
    let status = touchstone.wait().expect("it ends");
    assert_eq!(status.code(), Some(1), "one result is unexpected");
    let report = Report::parse(&fs::read_to_string(report).expect("a report")).expect("which reads");
    let unexpected: Vec<&Entry> = report.results.iter().filter(|entry| entry.is_unexpected()).collect();
    let [killed] = unexpected[..] else {
        panic!("{:?}", unexpected.iter().map(|entry| &entry.case).collect::<Vec<_>>());
    };
    let reason = killed.reason.as_deref().unwrap_or_default();
    assert!(reason.contains("signal: 9 (SIGKILL)"), "{reason}");
    assert!(
        killed.post_mortem.contains("signal: 9 (SIGKILL)"),
        "{}",
        killed.post_mortem
    );
    assert!(4 < report.results.len(), "the others ran, too");
}

#[test]
fn subjects_end_with_a_killed_suite() {
    let folder = tempfile::tempdir().expect("a folder");
    let subject = subject_file(folder.path(), "guest", "echo started; exec sleep 1000");
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command.args([
        "run",
        "--subject",
        &subject,
        "--depth",
        "guest",
        "--filter",
        "boot/report/complete",
        "--images",
    ]);
    command
        .arg(with_images(folder.path(), LOOPS))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut touchstone = command.spawn().expect("touchstone starts");
    let started = wait_for(|| child_of(touchstone.id(), "sleep"));
    touchstone.kill().expect("killed");
    assert_eq!(touchstone.wait().expect("it ends").signal(), Some(9));
    wait_for(|| (name_of(started).as_deref() != Some("sleep")).then_some(()));
}

#[test]
fn files_without_an_end_are_refused() {
    // A report's bound is too much to read in a test.
    let expectations = [
        "run",
        "--depth",
        "bus",
        "--filter",
        "rtc",
        "--expectations",
        "/dev/zero",
    ];
    for arguments in [&expectations[..], &["replay", "/dev/zero", "--subject", "null"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_touchstone"))
            .args(arguments)
            .output()
            .expect("touchstone");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(
            text.contains("/dev/zero: ") && text.contains("the file is larger than"),
            "{text}"
        );
    }
}

/// One run of a misbehaving subject beside one that goes on, with its report and capsules.
struct Run {
    folder: TempDir,
    report: Report,
}

impl Run {
    fn of(depth: &str, script: &str, cases: &[&str]) -> Run {
        let folder = tempfile::tempdir().expect("a folder");
        let subject = subject_file(folder.path(), depth, script);
        Run::start(folder, &subject, &image(LOOPS), depth, cases)
    }

    fn with(subject: &str, image: &[u8], depth: &str, cases: &[&str]) -> Run {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mine.toml");
        fs::write(&file, subject).expect("written");
        Run::start(folder, &file.display().to_string(), image, depth, cases)
    }

    fn start(folder: TempDir, subject: &str, image: &[u8], depth: &str, cases: &[&str]) -> Run {
        let images = with_images(folder.path(), &[]);
        fs::write(images.join("probe"), image).expect("written");
        let report = folder.path().join("report.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
        command.args([
            "run",
            "--subject",
            subject,
            "--subject",
            "null",
            "--no-expectations",
            "--depth",
        ]);
        command
            .arg(format!("bus,{depth}"))
            .arg("--images")
            .arg(images)
            .arg("--report")
            .arg(&report);
        command
            .arg("--capsules")
            .arg(folder.path().join("capsules"))
            .args(["--filter", "rtc/register-d"]);
        for case in cases {
            command.args(["--filter", case]);
        }
        let begin = Instant::now();
        let output = command.output().expect("touchstone");
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(begin.elapsed() < LIMIT, "{text}");
        let report = Report::parse(&fs::read_to_string(report).expect(&text)).expect("which reads");
        let run = Run { folder, report };
        let others = run
            .report
            .results
            .iter()
            .filter(|entry| run.report.lanes[entry.lane].subject == "null");
        assert!(others.count() != 0, "the other subject has its results: {text}");
        run
    }

    fn assert_verdict(&self, case: &str, (verdict, reason, shown): Want<'_>) {
        let of_case = self.report.results.iter().filter(|entry| entry.case == case);
        let entry = of_case
            .into_iter()
            .find(|entry| self.report.lanes[entry.lane].subject == "mine");
        let entry = entry.expect("a result");
        let got = entry.reason.clone().unwrap_or_default();
        assert!(
            verdict.split(' ').any(|verdict| entry.verdict == verdict),
            "{}: {got}",
            entry.verdict
        );
        assert!(got.contains(reason), "reason: {got}");
        assert!(got.len() < 1000, "a reason is a line: {got}");
        let capsules = fs::read_dir(self.folder.path().join("capsules")).expect("capsules");
        let capsules = capsules.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let name = case.replace('/', "-");
        let mine = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            file.starts_with("mine-") && file.ends_with(&name)
        };
        let capsule = capsules.into_iter().find(mine).expect("a capsule");
        let told = fs::read_to_string(capsule.join("post-mortem.txt")).expect("what it showed");
        assert!(told.contains(shown), "capsule: {told}");
        assert!(told.len() < 256 << 10, "what a capsule shows is bounded");
    }
}

fn subject_file(folder: &Path, depth: &str, script: &str) -> String {
    let file = folder.join("mine.toml");
    let text = format!(
        "name = \"mine\"\ntitle = \"A VMM\"\nprofiles = [\"microvm-2019\"]\n\
         [arguments]\nram = []\nlegacy = []\nmodern = []\nkernel = []\nappend = []\n\
         [machine-options]\nrtc = \"\"\n[devices]\nvirtio-rng = []\n\
         [[{depth}]]\ncommand = [\"sh\", \"-c\", '''{script}''']\nchannel = \"stdio\"\ncaps = [\"lines\"]\n\
         start-ms = 700\nanswer-ms = 1000\nexit = [33]\n"
    );
    fs::write(&file, text).expect("written");
    file.display().to_string()
}

/// A folder of images in which `probe` is this code.
fn with_images(folder: &Path, code: &[u8]) -> PathBuf {
    let images = folder.join("images");
    fs::create_dir_all(&images).expect("a folder");
    fs::write(images.join("agent"), kernel::pvh_kernel()).expect("written");
    fs::write(images.join("probe"), image(code)).expect("written");
    images
}

/// The suite's smallest kernel with other code in it.
fn image(code: &[u8]) -> Vec<u8> {
    let mut file = kernel::pvh_kernel();
    file.truncate(CODE_AT);
    file.extend(code);
    for field in [FILE_LENGTH_AT, MEMORY_LENGTH_AT] {
        file[field..field + 8].copy_from_slice(&(code.len() as u64).to_le_bytes());
    }
    file
}

/// Whether the reference can run here.
fn has_vmm() -> bool {
    let missing = || (!is_there("microvm")).then(|| "microvm is not built".to_owned());
    let problem = kvm_problem().or_else(missing);
    if let Some(problem) = &problem {
        eprintln!("skipped: {problem}");
    }
    problem.is_none()
}

/// Where the folder of real images is, if they are built.
fn images() -> Option<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let images = top.join("target/guest/x86_64-unknown-linux-gnu/guest");
    if images.join("agent").is_file() {
        return Some(images);
    }
    eprintln!("skipped: the guest images are not built; run cargo xtask guest-images");
    None
}

/// A process of that name among the children of another.
fn child_of(parent: u32, name: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").expect("/proc");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut children = ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state, and the parent.
        let rest = stat
            .rsplit_once(") ")
            .map(|(_, rest)| rest.to_owned())
            .unwrap_or_default();
        rest.split(' ').nth(1) == Some(&parent.to_string())
    });
    children.find(|id| name_of(*id).as_deref() == Some(name))
}

/// The name of a process that has not ended.
fn name_of(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (name, rest) = stat.split_once(" (")?.1.rsplit_once(") ")?;
    (!rest.starts_with('Z')).then(|| name.to_owned())
}

fn kill_hard(id: u32) {
    let killed = Command::new("kill")
        .args(["-9", &id.to_string()])
        .status()
        .expect("kill");
    assert!(killed.success());
}

/// What comes true within [`LIMIT`].
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come true in time");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Far more than the limits of these subjects add up to.
const LIMIT: Duration = Duration::from_secs(60);

/// Where `kernel::pvh_kernel` has its code, and the first program header its lengths (ELF-64: `p_filesz`, `p_memsz`).
const CODE_AT: usize = 0x1000;
const FILE_LENGTH_AT: usize = 64 + 32;
const MEMORY_LENGTH_AT: usize = 64 + 40;
