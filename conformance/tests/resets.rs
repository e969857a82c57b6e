//! Machines that are reset in other ways than a microvm: the cases `reset/*` notice each. The machines are QEMU's, in
//! software; without it, or without the images, this is skipped and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use conformance::report::Report;
use conformance::subject::process::is_there;
use rstest::rstest;

#[rstest]
#[case::microvm("microvm,acpi=off", "microvm-2019", "-no-reboot", &[
    ("reset/port-0x92/nothing", "pass"),
    ("reset/port-0xcf9/nothing", "pass"),
    ("reset/triple-fault/ends", "pass"),
])]
#[case::pc_with_its_reset_ports("q35", "microvm-2019", "-no-reboot", &[
    ("reset/port-0x92/nothing", "fail"),
    ("reset/port-0xcf9/nothing", "fail"),
    ("reset/triple-fault/ends", "pass"),
])]
#[case::pc_resets_by_its_keyboard_controller("q35", "rust-vmm", "-no-reboot", &[
    ("reset/keyboard-controller/pulse", "pass"),
])]
#[case::keyboard_controller_that_does_nothing("microvm,acpi=off", "rust-vmm", "-no-reboot", &[
    ("reset/keyboard-controller/pulse", "fail"),
])]
#[case::shutdown_that_stops_the_machine("microvm,acpi=off", "microvm-2019", "-no-shutdown", &[
    ("reset/triple-fault/ends", "timeout"),
])]
fn reset_of_another_machine_is_noticed(
    #[case] machine: &str,
    #[case] profile: &str,
    #[case] option: &str,
    #[case] want: &[(&str, &str)],
) {
    let Some(images) = images() else { return };
    if !is_there("qemu-system-x86_64") {
        eprintln!("skipped: qemu-system-x86_64 is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let subject = folder.path().join("mine.toml");
    fs::write(&subject, description(machine, profile, option)).expect("written");
    let report = folder.path().join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command.args(["run", "--no-expectations", "--depth", "guest", "--images"]);
    command
        .arg(images)
        .arg("--subject")
        .arg(subject)
        .arg("--report")
        .arg(&report);
    for (case, _) in want {
        command.args(["--filter", case]);
    }
    let output = command.output().expect("touchstone");
    let text = String::from_utf8_lossy(&output.stderr);
    let report = Report::parse(&fs::read_to_string(report).expect(&text)).expect("which reads");
    let got: Vec<(&str, &str)> = report
        .results
        .iter()
        .map(|entry| (entry.case.as_str(), entry.verdict.as_str()))
        .collect();
    assert_eq!(got, want);
}

fn description(machine: &str, profile: &str, option: &str) -> String {
    format!(
        "name = \"mine\"\ntitle = \"A machine of QEMU's\"\nprofiles = [\"{profile}\"]\n\
         [arguments]\nram = [\"-m\", \"{{ram-kib}}K\"]\nlegacy = []\nmodern = []\n\
         kernel = [\"-kernel\", \"{{kernel}}\"]\nappend = [\"-append\", \"{{append}}\"]\n\
         [[guest]]\nname = \"tcg\"\ncommand = [\"qemu-system-x86_64\", \"-M\", \"{machine}\", \"-accel\", \"tcg\", \
         \"{{setup}}\", \"-nodefaults\", \"-no-user-config\", \"-display\", \"none\", \"-serial\", \"stdio\", \
         \"{option}\", \"-device\", \"isa-debug-exit,iobase=0xf4,iosize=0x4\"]\n\
         serial = \"stdio\"\nanswer-ms = 15000\nexit = [33, 35]\n"
    )
}

/// Where the folder of images is, if they are built.
fn images() -> Option<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let images = top.join("target/guest/x86_64-unknown-linux-gnu/guest");
    if images.join("reset").is_file() {
        return Some(images);
    }
    eprintln!("skipped: the guest images are not built; run cargo xtask guest-images");
    None
}
