//! The cases of boot time on planted bugs: the reference as it is passes them, and a VMM that costs more exits, or
//! loses marks, does not. The bug is planted in what the VMM notes, which is all that the cases see. Skipped, and said
//! so, where there is no KVM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use conformance::report::Report;
use conformance::subject::description::kvm_problem;
use conformance::subject::process::{find_program, is_there};
use rstest::rstest;

#[rstest]
#[case::as_it_is("", "", "")]
#[case::two_exits_a_byte(
    "2s/\"port_out\":66/\"port_out\":130/; 2s/\"port_out\":64/\"port_out\":128/",
    "console-byte",
    "0x80"
)]
#[case::a_signal_for_each_byte("2s/},\"devices\"/,\"interrupted\":64},\"devices\"/", "console-byte", "6")]
#[case::a_byte_lost(
    "2s/\"port_out\":66/\"port_out\":65/; 2s/\"port_out\":64/\"port_out\":63/",
    "console-byte",
    "0x3f"
)]
#[case::two_exits_a_read("3s/\"port_in\":32/\"port_in\":64/g", "status-read", "0x40")]
#[case::looks_around_first("1s/\"exits\":{/\"exits\":{\"mmio_read\":2,/", "before-kernel", "0x2")]
#[case::signals_first("1s/},\"devices\"/,\"interrupted\":9},\"devices\"/", "before-kernel", "9")]
#[case::looks_around_last("$s/\"exits\":{/\"exits\":{\"mmio_write\":7,/", "exits/total", "0x6b")]
#[case::mark_lost("2d", "in-order", "[1, 3]")]
#[case::mark_twice("1p", "in-order", "[1, 1, 2, 3]")]
#[case::mark_of_another_port("1s/\"mark\":1/\"mark\":7/", "in-order", "[7, 2, 3]")]
#[case::time_runs_backwards("3s/\"ns\":[0-9]*/\"ns\":1/", "in-order", ", 1, ")]
fn planted_bug_is_seen(#[case] edit: &str, #[case] case: &str, #[case] got: &str) {
    let Some(images) = what_is_needed() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let subject = folder.path().join("mine.toml");
    // Phases are the VMM's own; the edits count marks from line 1.
    let script =
        format!("marks=$1; shift; \"$@\"; code=$?; sed -i '/phase/d' $marks; sed -i '{edit}' $marks; exit $code");
    let text = format!(
        "name = \"mine\"\ntitle = \"A VMM\"\nprofiles = [\"microvm-2019\"]\n\
         [arguments]\nram = []\nlegacy = []\nkernel = [\"--kernel\", \"{{kernel}}\"]\n\
         append = [\"--append\", \"{{append}}\"]\n\
         [machine-options]\nrtc = \"\"\n\
         [[guest]]\ncommand = [\"sh\", \"-c\", '''{script}''', \"sh\", \"{{boot-marks}}\", \
         \"{}\", \"run\", \"{{setup}}\", \"--serial\", \"stdio\", \"--debug-exit\", \"0xf4\", \
         \"--boot-marks\", \"{{boot-marks}}\"]\n\
         exits = \"boot-marks\"\nmarks-port = 0x3f0\nexit = [33]\nanswer-ms = 20000\n",
        find_program("microvm").display()
    );
    fs::write(&subject, text).expect("written");
    let report = run(&subject, &images, folder.path());
    assert_eq!(report.results.len(), 6);
    if case.is_empty() {
        let verdicts: Vec<&str> = report.results.iter().map(|entry| entry.verdict.as_str()).collect();
        assert!(
            verdicts.iter().all(|verdict| ["pass", "note"].contains(verdict)),
            "{verdicts:?}"
        );
        return;
    }
    let entry = report
        .results
        .iter()
        .find(|entry| entry.case.ends_with(case))
        .expect("a result");
    assert_eq!(entry.verdict, "warn", "{:?} {:?}", entry.reason, entry.mismatches);
    assert!(
        entry.mismatches.iter().any(|mismatch| mismatch.got.contains(got)),
        "{:?}",
        entry.mismatches
    );
}

fn run(subject: &Path, images: &Path, folder: &Path) -> Report {
    let file = folder.join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command.args([
        "run",
        "--no-expectations",
        "--filter",
        "boot-time",
        "--depth",
        "guest",
        "--subject",
    ]);
    command
        .arg(subject)
        .arg("--images")
        .arg(images)
        .arg("--report")
        .arg(&file);
    let output = command.output().expect("touchstone");
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Report::parse(&fs::read_to_string(file).expect(&text)).expect("which reads")
}

/// The folder of images, where all that these tests need is there.
fn what_is_needed() -> Option<PathBuf> {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guest/x86_64-unknown-linux-gnu/guest");
    let problem = kvm_problem().or_else(|| {
        let missing = !is_there("microvm") || !images.join("toll").is_file();
        missing.then(|| "microvm or the guest images are not built; run cargo xtask guest-images".to_owned())
    });
    match problem {
        None => Some(images),
        Some(problem) => {
            eprintln!("skipped: {problem}");
            None
        }
    }
}
