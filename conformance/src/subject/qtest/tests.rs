use super::*;
use crate::layout::QEMU_7_2;

/// A subject that is a shell script speaking qtest on standard input and output.
fn scripted(script: &str) -> Result<Box<dyn Machine>, Stop> {
    let text = format!(
        "name = \"script\"\ntitle = \"x\"\nprofiles = [\"qemu-7.2\"]\n[machine-options]\nrtc = \"\"\n\
         [arguments]\nlegacy = []\n\
         [[wire]]\ncommand = [\"sh\", \"-c\", '''{script}''']\nchannel = \"stdio\"\nstart-ms = 2000\nanswer-ms = 200\n\
         caps = [\"lines\"]\n"
    );
    let description = Arc::new(Description::parse("script.toml", &text).expect("parses"));
    let launch = description.wire[0].clone();
    let adapter = QtestAdapter::new(description, launch).expect("capabilities exist");
    Ok(adapter.boot(&Setup::DEFAULT, &QEMU_7_2)?)
}

const GREETING: &str = "read x; echo OK little; read x; echo OK; ";

#[test]
fn answer_after_line_changes_is_the_value_and_the_changes_are_kept() {
    let turns = "while read x; do echo OK little; done";
    let script = format!("{GREETING} read x; echo IRQ raise 4; echo IRQ lower 4; echo OK 0x60; {turns}");
    let mut machine = scripted(&script).expect("starts");
    assert_eq!(machine.port_read(0x3fd, Width::Byte), Ok(0x60));
    let events = [true, false].map(|level| LineEvent { gsi: 4, level });
    assert_eq!(machine.line_events(), Ok(events.to_vec()));
}

#[test]
fn silence_is_a_timeout() {
    let mut machine = scripted(&format!("{GREETING} sleep 5")).expect("starts");
    match machine.port_read(0x3fd, Width::Byte) {
        Err(Stop::Broken(Broken::Timeout(text))) => assert_eq!(text, "'inb 0x3fd' was not answered within 200 ms"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn end_of_the_process_is_a_crash_with_its_last_words() {
    let mut machine = scripted(&format!("{GREETING} echo out of luck >&2; read x; exit 7")).expect("starts");
    match machine.port_read(0x3fd, Width::Byte) {
        Err(Stop::Broken(Broken::Crash(text))) => {
            assert_eq!(
                text,
                "at 'inb 0x3fd': 'sh' ended with exit status: 7; last words: out of luck"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn refusal_is_a_transport_error_with_both_lines() {
    let mut machine = scripted(&format!("{GREETING} read x; echo FAIL Unknown command; read x")).expect("starts");
    match machine.port_read(0x3fd, Width::Byte) {
        Err(Stop::Broken(Broken::Transport(text))) => {
            assert_eq!(text, "'inb 0x3fd' was answered 'FAIL Unknown command'");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn process_that_never_speaks_is_a_start_error() {
    match scripted("exit 1") {
        Err(Stop::Broken(Broken::Start(text))) => assert!(text.contains("exit status: 1"), "{text}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("started"),
    }
}
