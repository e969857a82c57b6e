//! A crash put in by hand becomes a regression case by one command, and the case is green once the crash is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use conformance::layout::MICROVM_2019;
use conformance::machine::Adapter;
use conformance::probe::Probe;
use conformance::program::Action;
use conformance::regress::Regression;
use conformance::subject::in_process::InProcessAdapter;
use fuzz::codec;
use fuzz::provoked;
use fuzz::targets::RTC;

const PLANTED: &str = "outb 0x71 0x5a";

fn fuzzer(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuzzer"));
    let output = command.args(arguments).env(provoked::VARIABLE, PLANTED).output();
    output.expect("the fuzzer starts")
}

/// An input as an engine would keep it: random bytes that happen to have the action in them.
fn crashing_input(folder: &Path) -> PathBuf {
    let planted = Action::parse(PLANTED).expect("an action");
    let mut state = 0x6d69_6372_6f76_6d31_u64;
    let path = folder.join("crash");
    loop {
        let mut input = vec![0; 200];
        for byte in &mut input {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 32) as u8;
        }
        let actions = codec::decode(&RTC, &input).actions;
        if actions.contains(&planted) && 20 < actions.len() {
            fs::write(&path, input).expect("the folder can be written to");
            return path;
        }
    }
}

#[test]
fn planted_crash_becomes_a_green_case_by_one_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = crashing_input(folder.path());
    let into = folder.path().join("regress");
    let (input, into) = (input.to_string_lossy(), into.to_string_lossy());
    assert!(!fuzzer(&["replay", "rtc", &input]).status.success());

    let output = fuzzer(&["promote", "rtc", &input, "planted", "--into", &into]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(printed.contains("--filter regress/rtc/planted"), "{printed}");

    let text = fs::read_to_string(Path::new(&*into).join("planted.txt")).expect("the case");
    assert!(text.contains("# reason: Fuzzing: panic: provoked by"), "{text}");
    let regression = Regression::parse("planted.txt", &text).expect("a regression");
    // The crash, and two accesses that show that the clock is still there.
    assert_eq!(regression.actions().count(), 3, "{text}");
    let mut machine = InProcessAdapter
        .boot(&regression.setup, &MICROVM_2019)
        .expect("a machine");
    let mut probe = Probe::new(machine.as_mut(), &MICROVM_2019, &regression.setup);
    regression.run(&mut probe).expect("the machine answers");
    let record = probe.into_record();
    assert_eq!(record.mismatches, []);
    assert_ne!(record.checks, 0);
}

#[test]
fn case_is_not_written_over_and_its_name_is_a_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = crashing_input(folder.path());
    let into = folder.path().join("regress");
    let (input, into) = (input.to_string_lossy(), into.to_string_lossy());
    assert!(
        fuzzer(&["promote", "rtc", &input, "once", "--into", &into])
            .status
            .success()
    );
    for (name, wrong) in [("once", "create "), ("No Word", "wants lower-case words")] {
        let output = fuzzer(&["promote", "rtc", &input, name, "--into", &into]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(wrong), "{said}");
    }
}
