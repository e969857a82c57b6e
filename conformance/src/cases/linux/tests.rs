//! Each judgement holds on what Linux printed on QEMU 7.2, and on nothing that was changed in it.

use std::collections::BTreeSet;

use super::*;
use crate::layout::{Layout, QEMU_7_2};
use crate::machine::{Facts, Machine, Stop, Width};
use crate::probe::{Probe, Record};

/// A machine that has ended: only its facts are left.
struct Told(Facts);

impl Machine for Told {
    fn caps(&self) -> Caps {
        Caps::NONE
    }

    fn facts(&self) -> &Facts {
        &self.0
    }

    fn port_read(&mut self, _port: u16, _width: Width) -> Result<u32, Stop> {
        Err(Stop::NotMet)
    }

    fn port_write(&mut self, _port: u16, _width: Width, _value: u32) -> Result<(), Stop> {
        Err(Stop::NotMet)
    }

    fn load(&mut self, _gpa: u64, _width: Width) -> Result<u64, Stop> {
        Err(Stop::NotMet)
    }

    fn store(&mut self, _gpa: u64, _width: Width, _value: u64) -> Result<(), Stop> {
        Err(Stop::NotMet)
    }

    fn read_memory(&mut self, _gpa: u64, _into: &mut [u8]) -> Result<(), Stop> {
        Err(Stop::NotMet)
    }

    fn write_memory(&mut self, _gpa: u64, _from: &[u8]) -> Result<(), Stop> {
        Err(Stop::NotMet)
    }
}

const APPEND: &str = "console=ttyS0 quiet panic=-1 no_timer_check reboot=t touchstone.echo=net,console";

const LOG: &str = include_str!("qemu-7.2-pvh.log");

fn judge(case: &Case, log: &str, kvm: bool) -> (Record, Result<(), Stop>) {
    judge_with(case, log, kvm, None)
}

fn judge_with(case: &Case, log: &str, kvm: bool, devices: Option<Vec<&'static str>>) -> (Record, Result<(), Stop>) {
    judge_as(case, log, &QEMU_7_2, kvm, devices)
}

fn judge_as(
    case: &Case,
    log: &str,
    layout: &Layout,
    kvm: bool,
    devices: Option<Vec<&'static str>>,
) -> (Record, Result<(), Stop>) {
    let Body::Guest { judge, .. } = case.body else {
        panic!("{} judges no report", case.id);
    };
    let mut machine = Told(Facts {
        append: Some(APPEND.to_owned()),
        kvm,
        devices,
        ..Facts::default()
    });
    let mut probe = Probe::new(&mut machine, layout, &case.setup).with_guest_log(log);
    let end = judge(&mut probe);
    (probe.into_record(), end)
}

/// The cases of the boot that the log is of.
fn cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(|case| case.id.ends_with("/pvh"))
}

fn is_met((record, end): &(Record, Result<(), Stop>)) -> bool {
    end.is_ok() && record.mismatches.is_empty()
}

#[test]
fn every_case_is_met_by_the_real_report() {
    for case in cases().filter(|case| case.id != "linux/clocksource/pvh") {
        let judged = judge(case, LOG, false);
        assert!(is_met(&judged), "{}: {:?} {:?}", case.id, judged.1, judged.0.mismatches);
        assert_ne!(judged.0.checks, 0, "{} checks nothing", case.id);
    }
}

#[test]
fn clock_of_kvm_is_looked_for_on_kvm_only() {
    let case = cases().find(|case| case.id == "linux/clocksource/pvh").expect("a case");
    assert!(matches!(judge(case, LOG, false).1, Err(Stop::NotApplicable(_))));
    assert!(!is_met(&judge(case, LOG, true)));
    let on_kvm = LOG.replace("available=\"refined-jiffies", "available=\"tsc kvm-clock");
    assert!(is_met(&judge(case, &on_kvm, true)));
}

#[test]
fn clock_may_have_run_for_as_long_as_the_boot_took() {
    let case = cases().find(|case| case.id == "linux/rtc/pvh").expect("a case");
    // It shows 4 s behind the start.
    for (seen, met) in [("2.900000", false), ("3.000000", true), ("200.000000", true)] {
        let timed: String = LOG.lines().map(|line| format!("[{seen:>12}] {line}\n")).collect();
        assert_eq!(is_met(&judge(case, &timed, false)), met, "{seen}");
    }
}

#[test]
fn no_case_is_met_by_a_report_of_nothing() {
    for log in [
        "",
        "[    0.3] Kernel panic - not syncing: VFS\n",
        "KTAP version 1\n1..0\n",
    ] {
        for case in cases() {
            assert!(!is_met(&judge(case, log, true)), "{} is met by {log:?}", case.id);
        }
    }
}

#[test]
fn no_cut_of_the_report_panics() {
    for (at, _) in LOG.match_indices('\n') {
        for case in cases() {
            let _ended_early = judge(case, &LOG[..at], true);
        }
    }
}

/// Changes that must be noticed, as (case, what the report says, what a wrong machine would have said).
const DOCTORED: &[(&str, &str, &str)] = &[
    // Another disk, one that loses or moves what is written, or that writes more.
    ("blk", "sectors=2048", "sectors=2047"),
    ("blk", "index=7 data=07", "index=7 data=00"),
    ("blk", "index=2047 data=ff06", "index=2047 data=ff07"),
    ("blk", "# blk-sector: index=0 ", "# blk-section: index=0 "),
    ("blk", "host-disk: index=2040", "host-disk: index=1040"),
    ("blk", "host-disk: index=2047", "host-dusk: index=2047"),
    (
        "blk",
        "# host-disk: index=2041",
        "# host-disk: index=8 data=00\n# host-disk: index=2041",
    ),
    (
        "blk",
        "blk-written: index=2040 data=a2",
        "blk-written: index=2040 data=a3",
    ),
    (
        "blk",
        "ok 10 - blk",
        "ok 10 - blk # SKIP the kernel found no virtio disk",
    ),
    (
        "blk",
        "ok 10 - blk",
        "# wrong: byte 0 reads back as another\nnot ok 10 - blk",
    ),
    ("boots", "# end\n", ""),
    ("boots", "1..13", "1..14"),
    ("command-line", "quiet panic", "quiet  panic"),
    ("command-line", "512@0xfeb00e00:12", "512@0xfeb00e00:11"),
    ("command-line", " virtio_mmio.device=512@0xfeb00800:9", ""),
    ("console", "ok 12 - console", "not ok 12 - console"),
    (
        "console",
        "ok 12 - console",
        "ok 12 - console # SKIP the kernel found no virtio console",
    ),
    ("cpus", "online=1", "online=2"),
    // Another input, the other controller, nothing that came, nothing there.
    (
        "interrupts",
        "input=12 trigger=edge name=\"virtio0\"",
        "input=11 trigger=edge name=\"virtio0\"",
    ),
    ("interrupts", "chip=IO-APIC input=9 ", "chip=XT-PIC input=9 "),
    ("interrupts", "irq=11 count=8 ", "irq=11 count=0 "),
    (
        "interrupts",
        "input=2 trigger=edge name=\"timer\"",
        "input=0 trigger=edge name=\"timer\"",
    ),
    ("interrupts", "name=\"rtc0\"", "name=\"\""),
    ("interrupts", "name=\"ttyS0\"", "name=\"ttyS1\""),
    // RAM lost, RAM that is none, RAM in holes, a kernel that trusts another map.
    ("memory", "start=0x100000 end=0x7ffffff", "start=0x100000 end=0x7ffefff"),
    ("memory", "start=0x100000 end=0x7ffffff", "start=0x100000 end=0x8000fff"),
    (
        "memory",
        "start=0x00100000 end=0x07ffffff",
        "start=0x00200000 end=0x07ffffff",
    ),
    ("memory", "start=0x0 end=0x9fbff", "start=0x0 end=0xfff"),
    ("memory", "start=0x0 end=0x9fbff", "start=0x0 end=0xaffff"),
    ("net", "ok 11 - net", "not ok 11 - net"),
    (
        "net",
        "ok 11 - net",
        "ok 11 - net # SKIP the kernel found no virtio network",
    ),
    ("reboot", "# host: exit=0", "# host: exit=1"),
    ("reboot", "# host: exit=0", "# host: exit=none"),
    ("reboot", "# end\n", "# end\n# fatal: this program may not reboot\n"),
    ("reboot", "# host: exit", "KTAP version 1\n1..13\n# host: exit"),
    (
        "rng",
        "ok 9 - rng",
        "# wrong: two reads gave the same 64 bytes\nnot ok 9 - rng",
    ),
    (
        "rng",
        "ok 9 - rng",
        "ok 9 - rng # SKIP the kernel's source of entropy is 'none'",
    ),
    ("rtc", "since-epoch-s=15829", "since-epoch-s=17829"),
    ("rtc", "since-epoch-s=15829", "since-epoch-s=15828"),
    ("rtc", "ok 7 - rtc", "ok 7 - rtc # SKIP the kernel found no clock"),
    ("serial", "uart=16550A", "uart=16450"),
    ("serial", "port=0x000003f8", "port=0x000002f8"),
    ("serial", "irq=4 sent", "irq=3 sent"),
    ("virtio", "driver=virtio_rng", "driver=none"),
    (
        "virtio",
        "status=0x00000007 driver=virtio_blk",
        "status=0x00000083 driver=virtio_blk",
    ),
    ("virtio", "# virtio: name=virtio3", "# virtual: name=virtio3"),
    (
        "virtio",
        "driver=virtio_net transport=virtio-mmio.2",
        "driver=virtio_net transport=virtio-mmio.3",
    ),
    (
        "virtio",
        "start=0xfeb00e00 end=0xfeb00fff depth=0",
        "start=0xfeb00000 end=0xfeb001ff depth=0",
    ),
];

#[test]
fn no_case_is_met_by_a_doctored_report() {
    for (name, said, would_say) in DOCTORED {
        let id = format!("linux/{name}/pvh");
        let case = cases().find(|case| case.id == id).expect(&id);
        assert!(LOG.contains(said), "{said} does not stand in the report");
        let judged = judge(case, &LOG.replace(said, would_say), false);
        assert!(!is_met(&judged), "{id} is met by {would_say}");
    }
    let doctored: BTreeSet<_> = DOCTORED.iter().map(|(name, ..)| format!("linux/{name}/pvh")).collect();
    for case in cases().filter(|case| case.id != "linux/clocksource/pvh") {
        assert!(doctored.contains(case.id), "{} was never made to fail", case.id);
    }
}

#[test]
fn machine_without_a_device_is_not_asked_about_it() {
    let named = |name: &str| {
        let id = format!("linux/{name}/pvh");
        cases().find(|case| case.id == id).expect("a case")
    };
    let without_net = vec!["virtio-rng", "virtio-blk", "virtio-console"];
    let judged = |name: &str, devices: &[&'static str]| judge_with(named(name), LOG, false, Some(devices.to_vec()));
    let refused = Stop::Unavailable("the subject cannot be given device 'virtio-net'".to_owned());
    assert_eq!(judged("net", &without_net).1, Err(refused));
    assert!(is_met(&judged("blk", &without_net)));
    // The log is of a machine with four.
    assert!(!is_met(&judged("virtio", &without_net)));
    assert!(!is_met(&judged("command-line", &without_net)));
    assert!(matches!(judged("virtio", &[]).1, Err(Stop::Unavailable(_))));
}

#[test]
fn linux_may_number_interrupts_as_it_likes() {
    let case = cases().find(|case| case.id == "linux/serial/pvh").expect("a case");
    let renumbered = |input: &str| {
        let log = LOG.replace("port=0x000003f8 irq=4", "port=0x000003f8 irq=24");
        let line = format!("# interrupt: irq=24 count=1 chip=IO-APIC input={input} trigger=edge name=\"ttyS0\"\n");
        log.replace("# interrupt: irq=0", &format!("{line}# interrupt: irq=0"))
    };
    let with_acpi = Layout {
        features: &[Feature::Serial, Feature::Acpi],
        ..QEMU_7_2.clone()
    };
    assert!(is_met(&judge_as(case, &renumbered("4"), &with_acpi, false, None)));
    assert!(!is_met(&judge_as(case, &renumbered("5"), &with_acpi, false, None)));
    assert!(
        !is_met(&judge(case, &renumbered("4"), false)),
        "without ACPI it may not"
    );
}

#[test]
fn ram_between_the_low_memory_and_1_mib_is_too_much() {
    let case = cases().find(|case| case.id == "linux/memory/pvh").expect("a case");
    let across = LOG.replace("start=0x100000 end=0x7ffffff", "start=0xa0000 end=0x7ffffff");
    assert_ne!(across, LOG);
    // As much as there may be, but not where it may be.
    let elsewhere = across.replace("start=0x0 end=0x9fbff", "start=0x0 end=0x2ffff");
    assert!(!is_met(&judge(case, &elsewhere, false)));
    let (record, _) = judge(case, &across, false);
    let whats: Vec<&str> = record
        .mismatches
        .iter()
        .map(|mismatch| mismatch.what.as_str())
        .collect();
    assert_eq!(whats, ["RAM below 1 MiB, memory map"]);
}
