use super::*;
use crate::case::Case;
use crate::cases;
use crate::layout::MICROVM_2019;
use crate::machine::{Adapter, BootFailure, Depth, Facts, Machine, Width};
use crate::runner::{Options, Unit, run_unit};
use crate::subject::in_process::InProcessAdapter;
use crate::subject::{Lane, Way};
use crate::verdict::Verdict;

const TEXT: &str = "# title: Register D says that the clock has power.\n# clause: mc146818/register-d\n# level: must\n\
                    # reason: Found by nobody.\nrecord regress/rtc/example\nconfig m=128M rtc=on\noutb 0x71 0x5a\n\
                    outb 0x70 0xd\ninb 0x71 -> 80\n";

/// The reference, but for its answer to one port, or a panic there.
struct Faulty {
    panics: bool,
}

struct FaultyMachine {
    inner: Box<dyn Machine>,
    panics: bool,
}

impl Adapter for Faulty {
    fn depth(&self) -> Depth {
        Depth::Bus
    }

    fn caps(&self) -> Caps {
        InProcessAdapter.caps()
    }

    fn boot(&self, setup: &Setup, layout: &Layout) -> Result<Box<dyn Machine>, BootFailure> {
        let inner = InProcessAdapter.boot(setup, layout)?;
        let panics = self.panics;
        Ok(Box::new(FaultyMachine { inner, panics }))
    }
}

impl Machine for FaultyMachine {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn facts(&self) -> &Facts {
        self.inner.facts()
    }

    fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop> {
        Ok(self.inner.port_read(port, width)? ^ 0x80)
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        assert!(!self.panics || port != 0x71, "planted");
        self.inner.port_write(port, width, value)
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop> {
        self.inner.load(gpa, width)
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        self.inner.store(gpa, width, value)
    }

    fn read_memory(&mut self, gpa: u64, into: &mut [u8]) -> Result<(), Stop> {
        self.inner.read_memory(gpa, into)
    }

    fn write_memory(&mut self, gpa: u64, from: &[u8]) -> Result<(), Stop> {
        self.inner.write_memory(gpa, from)
    }

    fn line_events(&mut self) -> Result<Vec<crate::machine::LineEvent>, Stop> {
        self.inner.line_events()
    }

    fn reset(&mut self) -> Result<(), Stop> {
        self.inner.reset()
    }
}

fn verdict(adapter: Box<dyn Adapter>) -> Verdict {
    let regression: &'static Regression = Box::leak(Box::new(Regression::parse("test", TEXT).expect("well-formed")));
    let case: &'static Case = Box::leak(Box::new(cases::regress::of(regression)));
    let lane = Lane {
        subject: "faulty".to_owned(),
        depth: Depth::Bus,
        layout: &MICROVM_2019,
        areas: Vec::new(),
        ways: vec![Way::new("", Ok(adapter))],
    };
    run_unit(&Unit { case, lane: 0 }, &lane, &Options::default()).verdict
}

#[test]
fn case_passes_on_the_reference_and_not_on_a_machine_that_answers_otherwise_or_crashes() {
    assert_eq!(verdict(Box::new(InProcessAdapter)), Verdict::Pass);
    assert_eq!(verdict(Box::new(Faulty { panics: false })), Verdict::Fail);
    assert_eq!(verdict(Box::new(Faulty { panics: true })), Verdict::Crash);
}

#[test]
fn file_that_proves_nothing_or_is_incomplete_is_named() {
    for (from, to, wrong) in [
        ("-> 80", "", "no operation has an answer"),
        ("# reason: Found by nobody.\n", "", "there is no line '# reason: …'"),
        (
            "mc146818/register-d",
            "mc146818/none",
            "there is no clause 'mc146818/none'",
        ),
        ("level: must", "level: may", "level 'may' is neither"),
        (
            "regress/rtc/example",
            "rtc/example",
            "'rtc/example' is not regress/DEVICE/NAME",
        ),
    ] {
        let error = Regression::parse("test.txt", &TEXT.replace(from, to)).expect_err(wrong);
        assert!(error.contains(wrong) && error.contains("test.txt"), "{error}");
    }
}

#[test]
fn files_in_the_tree_are_regressions() {
    assert_eq!(cases::regress::problems(), Vec::<String>::new());
}
