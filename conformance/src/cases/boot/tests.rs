//! Each judgement holds on what QEMU 7.2 on KVM printed, and on nothing that was changed in it.

use std::collections::BTreeSet;

use rstest::rstest;

use super::*;
use crate::layout::QEMU_7_2;
use crate::machine::{Adapter, Machine};
use crate::probe::Record;
use crate::subject::null::NullAdapter;

/// Judges a log as if it were the case's own.
fn judge(case: &Case, log: &str) -> (Record, Result<(), Stop>) {
    let Body::Guest { image: "probe", judge } = case.body else {
        panic!("{} does not judge the probe's report", case.id);
    };
    let mut machine = machine(case);
    let mut probe = Probe::new(machine.as_mut(), &QEMU_7_2, &case.setup).with_guest_log(log);
    let end = judge(&mut probe);
    (probe.into_record(), end)
}

/// A machine that knows what the user's command line was.
fn machine(case: &Case) -> Box<dyn Machine> {
    let user = match &case.setup {
        setup if *setup == ONE => {
            "console=ttyS0 note=\"two words\" exit=0xf4 virtio-base=0xfeb00000 virtio-stride=0x200 virtio-count=8"
        }
        setup if *setup == BARE => "quiet exit=0xf4 virtio-base=0xfeb00000 virtio-stride=0x200 virtio-count=8",
        _ => "exit=0xf4 virtio-base=0xfeb00000 virtio-stride=0x200 virtio-count=8",
    };
    let told = Setup {
        append: Some(user),
        ..case.setup.clone()
    };
    NullAdapter.boot(&told, &QEMU_7_2).expect("nothing needs to start")
}

fn log(case: &Case) -> &'static str {
    match &case.setup {
        setup if *setup == ONE => include_str!("qemu-7.2-one.log"),
        setup if *setup == THREE => include_str!("qemu-7.2-three.log"),
        setup if *setup == LARGE => include_str!("qemu-7.2-large.log"),
        setup if *setup == BARE => include_str!("qemu-7.2-bare.log"),
        setup => panic!("{} has a set-up of its own: {setup:?}", case.id),
    }
}

fn by_id(id: &str) -> &'static Case {
    CASES.iter().find(|case| case.id == id).expect(id)
}

fn is_met((record, end): &(Record, Result<(), Stop>)) -> bool {
    end.is_ok() && record.mismatches.is_empty()
}

/// What QEMU does otherwise than the documents; its expectations have the reasons.
const KNOWN: &[&str] = &["boot/rtc/periodic-flag"];

#[test]
fn every_case_is_met_by_the_real_report() {
    for case in CASES.iter().filter(|case| !KNOWN.contains(&case.id)) {
        let judged = judge(case, log(case));
        assert!(is_met(&judged), "{}: {:?} {:?}", case.id, judged.1, judged.0.mismatches);
        assert_ne!(judged.0.checks, 0, "{} checks nothing", case.id);
    }
}

#[rstest]
#[case::set("c=0x40", true)]
#[case::others_set("c=0x30", false)]
#[case::clear("c=0x0", false)]
fn periodic_flag_is_looked_for_where_the_divider_counts(#[case] register: &str, #[case] met: bool) {
    let case = by_id("boot/rtc/periodic-flag");
    let report = |a: &str| {
        log(case)
            .replace("a=0x26", a)
            .replace("c=0x10 ", &format!("{register} "))
    };
    assert_eq!(is_met(&judge(case, &report("a=0x26"))), met);
    assert_eq!(is_met(&judge(case, &report("a=0xa6"))), met);
    for still in ["a=0x20", "a=0x66"] {
        assert!(matches!(judge(case, &report(still)).1, Err(Stop::NotApplicable(_))));
    }
}

#[rstest]
#[case::nothing("")]
#[case::firmware_only("SeaBIOS (version 1.16)\n\nBooting from ROM..\n")]
#[case::first_line_only("[   0.000001] KTAP version 1\n")]
#[case::verdicts_without_facts("KTAP version 1\n1..1\nok 1 - entry-state\n")]
fn no_case_is_met_by_a_report_of_nothing(#[case] log: &str) {
    for case in CASES {
        let judged = judge(case, log);
        assert!(!is_met(&judged), "{} is met by {log:?}", case.id);
    }
}

#[test]
fn no_cut_of_the_report_panics_or_is_complete() {
    let case = by_id("boot/report/complete");
    let whole = log(case);
    let end = whole.find("# end").expect("it has an end");
    for length in (0..end).filter(|length| whole.is_char_boundary(*length)) {
        assert!(!is_met(&judge(case, &whole[..length])), "complete after {length} bytes");
    }
    for case in CASES {
        let whole = log(case);
        for (line, _) in whole.match_indices('\n') {
            let _ended_early = judge(case, &whole[..line]);
        }
    }
}

/// Changes that must be noticed, as (case, what the report says, what a wrong machine would have said).
const DOCTORED: &[(&str, &str, &str)] = &[
    // The machine announces another line, another slot, another interrupt, or in another order.
    ("boot/command-line/announces-devices", "0xfeb00e00:12", "0xfeb00000:5"),
    (
        "boot/command-line/announces-devices",
        "@0xfeb00c00:11",
        "@0xfeb00c00:12",
    ),
    (
        "boot/command-line/announces-devices",
        " virtio_mmio.device=512@0xfeb00a00:10\"",
        "\"",
    ),
    ("boot/command-line/announces-devices", "length=178", "length=177"),
    (
        "boot/command-line/no-devices",
        "count=8\"",
        "count=8 virtio_mmio.device=512@0xfeb00e00:12\"",
    ),
    (
        "boot/command-line/no-devices",
        "ok 3 - command-line",
        "not ok 3 - command-line",
    ),
    ("boot/command-line/user-kept", "two words", "two  words"),
    ("boot/command-line/user-kept", "text=\"console", "text=\"quiet console"),
    ("boot/cpu/bootstrap", "bootstrap=1", "bootstrap=0"),
    (
        "boot/cpu/bootstrap",
        "base=0xfee00000 enabled",
        "base=0xfed00000 enabled",
    ),
    ("boot/cpu/bootstrap", "apic-id=0", "apic-id=1"),
    ("boot/cpu/bootstrap", "-registers: id=0x0", "-registers: id=0x1000000"),
    ("boot/cpu/count", "cpus=2", "cpus=1"),
    ("boot/cpu/count", "cpus-max=4", "cpus-max=2"),
    ("boot/cpu/kvmclock", "ok 13 - cpu", "# fatal: exception vector=6"),
    ("boot/entry/registers", "cr0=0x11", "cr0=0x80000011"),
    ("boot/entry/registers", "cr0=0x11", "cr0=0x60000011"),
    ("boot/entry/registers", "cr4=0x0", "cr4=0x20"),
    ("boot/entry/registers", "eflags=0x6", "eflags=0x206"),
    ("boot/entry/registers", "ebx=0xf31e0", "ebx=0x0"),
    ("boot/entry/registers", "magic=0x336ec578", "magic=0x0"),
    ("boot/fw-cfg/answers", "id=0x3 ", "id=0x1 "),
    ("boot/fw-cfg/answers", "ram-size=0x140000000", "ram-size=0xc0000000"),
    ("boot/fw-cfg/answers", "dma=0x554d4551,", "dma=0xffffffff,"),
    (
        "boot/fw-cfg/answers",
        "ok 8 - fw-cfg",
        "ok 8 - fw-cfg # SKIP no signature at key 0",
    ),
    ("boot/ioapic/pins", "version=0x170020", "version=0xf0020"),
    ("boot/ioapic/pins", "version=0x170020", "version=0x170000"),
    // RAM too short, lost above 4 GiB, laid over the devices, split elsewhere, or kept back.
    (
        "boot/memory-map/accounts-for-ram",
        "size=0xbff00000 type=1",
        "size=0xbfeff000 type=1",
    ),
    (
        "boot/memory-map/accounts-for-ram",
        "size=0xbff00000 type=1",
        "size=0x7ff00000 type=1",
    ),
    (
        "boot/memory-map/accounts-for-ram",
        "size=0xbff00000 type=1",
        "size=0xc0000000 type=1",
    ),
    (
        "boot/memory-map/accounts-for-ram",
        "size=0xbff00000 type=1",
        "size=0xbff00000 type=2",
    ),
    (
        "boot/memory-map/accounts-for-ram",
        "base=0x100000000 size=0x80000000",
        "base=0x100000000 size=0x7ffff000",
    ),
    (
        "boot/memory-map/accounts-for-ram",
        "base=0x100000000 size",
        "base=0x180000000 size",
    ),
    (
        "boot/memory-map/accounts-for-ram",
        "base=0xfeffc000 size=0x4000 type=2",
        "base=0xfeffc000 size=0x4000 type=1",
    ),
    (
        "boot/memory-map/base-memory",
        "size=0x9fc00 type=1",
        "size=0x7fc00 type=1",
    ),
    (
        "boot/memory-map/base-memory",
        "size=0x9fc00 type=1",
        "size=0x9fc00 type=2",
    ),
    (
        "boot/memory-map/no-overlap",
        "base=0x9fc00 size=0x400",
        "base=0x9fbff size=0x401",
    ),
    (
        "boot/memory-map/no-overlap",
        "base=0x100000 size=0xbff00000",
        "base=0x100000 size=0xff000000",
    ),
    (
        "boot/memory-map/no-overlap",
        "base=0xd0000 size=0x20000",
        "base=0xd0000 size=0xffffffffffffffff",
    ),
    (
        "boot/memory-map/no-overlap",
        "memory-map-entries=8",
        "memory-map-entries=9",
    ),
    (
        "boot/memory-map/no-overlap",
        "ok 4 - memory-map",
        "not ok 4 - memory-map",
    ),
    ("boot/memory-map/order", "sorted=0", ""),
    ("boot/options/off", "rtc: present=0", "rtc: present=1"),
    (
        "boot/options/off",
        "chip=secondary present=0",
        "chip=secondary present=1",
    ),
    ("boot/options/off", "channel=2 present=0", "channel=2 present=1"),
    ("boot/options/off", " # SKIP no channel tells its status", ""),
    ("boot/pic/pair", "chip=secondary present=1", "chip=secondary present=0"),
    (
        "boot/pic/pair",
        "ok 9 - pic",
        "ok 9 - pic # SKIP no mask register holds a value",
    ),
    ("boot/pit/channels", "channel=1 present=1", "channel=1 present=0"),
    (
        "boot/ports/float",
        "port=0x60 width=1 value=0xff",
        "port=0x60 width=1 value=0x0",
    ),
    (
        "boot/ports/float",
        "port=0xcf8 width=4 value=0xffffffff",
        "port=0xcf8 width=4 value=0x80000000",
    ),
    (
        "boot/ports/float",
        "port=0x604 width=2 value=0xffff",
        "port=0x604 width=2 value=0xff",
    ),
    ("boot/ports/float", "# port: port=0x92 width=1 value=0xff", ""),
    // It died before its last line, ended by an exception, started over, or lost a verdict.
    ("boot/report/complete", "# end", ""),
    ("boot/report/complete", "# end", "# fatal: exception vector=13"),
    ("boot/report/complete", "# end", "# end\nKTAP version 1"),
    ("boot/report/complete", "ok 10 - pit", ""),
    ("boot/rtc/memory-size", "index=0x15 value=0x80", "index=0x15 value=0x7f"),
    ("boot/rtc/memory-size", "index=0x5d value=0x0", "index=0x5d value=0x1"),
    ("boot/rtc/memory-size", "index=0x5c value=0x80", "index=0x5c value=0x0"),
    ("boot/rtc/memory-size", "# cmos: index=0x34", "# cmos: index=0x36"),
    ("boot/rtc/time", "minute=0x59", "minute=0x49"),
    ("boot/rtc/time", "century=0x20", "century=0x19"),
    ("boot/rtc/time", "year=0x20", "year=0x1a"),
    ("boot/rtc/time", " b=0x2 ", " b=0x6 "),
    ("boot/rtc/time", " b=0x2 ", " b=0x0 "),
    ("boot/rtc/valid", "c=0x10 d=0x80", "c=0x10 d=0x0"),
    (
        "boot/rtc/valid",
        "ok 7 - rtc",
        "ok 7 - rtc # SKIP nothing answers at port 0x71",
    ),
    ("boot/serial/loopback", "loopback=0x5a", "loopback=0xff"),
    ("boot/serial/scratch", "scratch=holds", "scratch=loses"),
    ("boot/start-info/header", "magic=0x336ec578", "magic=0x336ec577"),
    ("boot/start-info/header", "version=1 flags", "version=0 flags"),
    ("boot/start-info/header", "memory-map=0xefe30", "memory-map=0x0"),
    ("boot/start-info/no-acpi", "rsdp=0x0", "rsdp=0xf34d0"),
    ("boot/start-info/no-modules", "modules=0", "modules=1"),
    (
        "boot/tsc/marks-in-order",
        "mark: done tsc=0x",
        "mark: done tsc=0x0 was=0x",
    ),
    ("boot/tsc/marks-in-order", "mark: console", "mark: screen"),
    (
        "boot/virtio/announced-answer",
        "device: base=0xfeb00c00 size",
        "device: base=0xfeb00800 size",
    ),
    ("boot/virtio/announced-answer", "irq=12", "irq=5"),
    (
        "boot/virtio/announced-answer",
        "irq=10 magic=0x74726976 version=2",
        "irq=10 magic=0x74726976 version=1",
    ),
    (
        "boot/virtio/announced-answer",
        "irq=11 magic=0x74726976 version=2 device=4",
        "irq=11 magic=0x74726976 version=2 device=2",
    ),
    (
        "boot/virtio/legacy-slots",
        "slot=7 base=0xfeb00e00 magic=0x74726976 version=1 device=4",
        "slot=7 base=0xfeb00e00 magic=0x74726976 version=1 device=0",
    ),
    (
        "boot/virtio/legacy-slots",
        "slot=0 base=0xfeb00000 magic=0x74726976 version=1",
        "slot=0 base=0xfeb00000 magic=0x74726976 version=2",
    ),
    (
        "boot/virtio/legacy-slots",
        "slot=3 base=0xfeb00600 magic=0x74726976",
        "slot=3 base=0xfeb00600 magic=0x0",
    ),
    (
        "boot/virtio/legacy-slots",
        "slot=4 base=0xfeb00800 magic",
        "slot=4 base=0xfeb00800 fault vector=14 lost",
    ),
    (
        "boot/virtio/modern-slots",
        "slot=1 base=0xfeb00200 magic=0x74726976 version=2 device=0",
        "slot=1 base=0xfeb00200 magic=0x74726976 version=2 device=4",
    ),
    (
        "boot/virtio/modern-slots",
        "slot=5 base=0xfeb00a00",
        "slot=5 base=0xfeb00c00",
    ),
];

#[test]
fn every_change_is_noticed_by_its_case() {
    let mut unnoticed = Vec::new();
    for (id, said, doctored) in DOCTORED {
        let case = by_id(id);
        let log = log(case);
        if !log.contains(said) {
            unnoticed.push(format!("{id}: the report does not say {said:?}"));
        } else if is_met(&judge(case, &log.replace(said, doctored))) {
            unnoticed.push(format!("{id} does not notice {said:?} become {doctored:?}"));
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

#[test]
fn every_case_is_shown_to_notice_something() {
    // What QEMU does not meet has a test of its own.
    let shown: BTreeSet<_> = DOCTORED
        .iter()
        .map(|(id, _, _)| *id)
        .chain(KNOWN.iter().copied())
        .collect();
    let cases: BTreeSet<_> = CASES.iter().map(|case| case.id).collect();
    assert_eq!(shown, cases);
}

#[test]
fn reservations_within_ram_are_accepted_while_they_are_small() {
    let case = by_id("boot/memory-map/accounts-for-ram");
    let whole = "base=0x100000 size=0xbff00000 type=1";
    let kept = |bytes: u64| {
        let end = 0xc000_0000 - bytes;
        let parts = format!(
            "base=0x100000 size={:#x} type=1\n# memory: index=8 base={end:#x} size={bytes:#x} type=2",
            end - 0x10_0000
        );
        log(case).replace(whole, &parts).replace("entries=8", "entries=9")
    };
    assert!(is_met(&judge(case, &kept(0x2_0000))));
    assert!(is_met(&judge(case, &kept(0x10_0000))));
    assert!(!is_met(&judge(case, &kept(0x10_1000))));
}

#[rstest]
#[case::bcd([0x20, 0x20, 0x02, 0x28, 0x23, 0x59, 0x50], 0x02, Some("2020-02-28T23:59:50"))]
#[case::binary([0x20, 20, 2, 28, 23, 59, 50], 0x06, Some("2020-02-28T23:59:50"))]
#[case::afternoon([0x20, 0x20, 0x02, 0x28, 0x91, 0x59, 0x50], 0x00, Some("2020-02-28T23:59:50"))]
#[case::noon([0x20, 0x20, 0x02, 0x28, 0x92, 0x00, 0x00], 0x00, Some("2020-02-28T12:00:00"))]
#[case::midnight([0x20, 20, 2, 28, 12, 0, 0], 0x04, Some("2020-02-28T00:00:00"))]
#[case::no_bcd([0x20, 0x2a, 0x02, 0x28, 0x23, 0x59, 0x50], 0x02, None)]
fn time_follows_register_b(#[case] bytes: [u64; 7], #[case] format: u64, #[case] text: Option<&str>) {
    assert_eq!(time_text(bytes, format).as_deref(), text);
}
