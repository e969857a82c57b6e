//! Every seed and a fixed set of random inputs through every target, without libFuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use conformance::case::Body;
use fuzz::canary::Tally;
use fuzz::execution;
use fuzz::parser;
use fuzz::program::Program;
use fuzz::seeds;
use fuzz::target::Target;
use fuzz::targets::{self, FW_CFG, IOAPIC, MACHINE, PIC, PIT, RTC, SERIAL, VIRTIO_MMIO, VIRTQUEUE};
use rstest::rstest;

#[rstest]
#[case::fw_cfg(&FW_CFG)]
#[case::ioapic(&IOAPIC)]
#[case::machine(&MACHINE)]
#[case::pic(&PIC)]
#[case::pit(&PIT)]
#[case::rtc(&RTC)]
#[case::serial(&SERIAL)]
#[case::virtio_mmio(&VIRTIO_MMIO)]
#[case::virtqueue(&VIRTQUEUE)]
fn seeds_show_no_finding(#[case] target: &Target) {
    let written = seeds::written(target).expect("the tree's seeds are programs");
    for seed in written.into_iter().chain(seeds::imported(target)) {
        let checked = execution::check_program(target, &seed.program, true);
        assert_eq!(checked, Ok(()), "{}\n{}", seed.name, seed.program.text(target));
    }
}

/// The programs in the tree alone reach every canary: a target whose seeds do not is one nobody knows how to drive.
#[rstest]
#[case::fw_cfg(&FW_CFG)]
#[case::ioapic(&IOAPIC)]
#[case::machine(&MACHINE)]
#[case::pic(&PIC)]
#[case::pit(&PIT)]
#[case::rtc(&RTC)]
#[case::serial(&SERIAL)]
#[case::virtio_mmio(&VIRTIO_MMIO)]
#[case::virtqueue(&VIRTQUEUE)]
fn seeds_in_the_tree_reach_every_canary(#[case] target: &Target) {
    let mut tally = Tally::new(target);
    for seed in seeds::written(target).expect("the tree's seeds are programs") {
        tally.add(target, &seed.program).expect("no finding");
    }
    assert_eq!(tally.missed(), Vec::<&str>::new());
}

/// So that `touchstone record --programs` knows it without the targets.
#[test]
fn seeds_say_which_machine_they_are_for() {
    for target in targets::ALL {
        for seed in seeds::written(target).expect("seeds read") {
            let file = seeds::folder(target).join(format!("{}.txt", seed.name));
            let text = fs::read_to_string(&file).expect("it was read before");
            let heading = seed.program.heading(target);
            assert!(
                text.contains(&heading),
                "{}: wants the lines\n{heading}",
                file.display()
            );
        }
    }
}

#[rstest]
#[case::fw_cfg(&FW_CFG)]
#[case::ioapic(&IOAPIC)]
#[case::machine(&MACHINE)]
#[case::pic(&PIC)]
#[case::pit(&PIT)]
#[case::rtc(&RTC)]
#[case::serial(&SERIAL)]
#[case::virtio_mmio(&VIRTIO_MMIO)]
#[case::virtqueue(&VIRTQUEUE)]
fn random_inputs_show_no_finding(#[case] target: &Target) {
    let mut state = SEED;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..2000 {
        let length = next() % 256;
        let input: Vec<u8> = (0..length).map(|_| (next() >> 32) as u8).collect();
        fuzz::check_or_panic(target, &input);
    }
}

#[test]
fn seeds_of_parsers_reach_every_canary() {
    for parser in parser::ALL {
        let seeds = (parser.seeds)();
        let counts = parser::tally(parser, seeds.iter().map(|(_, bytes)| bytes.as_slice()));
        let missed: Vec<_> = counts.iter().filter(|(_, count)| **count == 0).collect();
        assert!(missed.is_empty(), "{}: {missed:?}", parser.name);
        assert!(
            parser.canaries.is_sorted_by_key(|canary| canary.name),
            "{}",
            parser.name
        );
    }
}

/// Every case that speaks to a machine's bus is a seed of some target, unless it makes no access on this machine.
#[test]
fn cases_of_the_suite_are_seeds() {
    let imported: BTreeSet<String> = targets::ALL
        .iter()
        .flat_map(|target| seeds::imported(target))
        .map(|seed| seed.name)
        .collect();
    let missing: Vec<&str> = conformance::cases::all()
        .filter(|case| matches!(case.body, Body::Bus(_)) && !imported.contains(&case.id.replace('/', ".")))
        .map(|case| case.id)
        .collect();
    assert_eq!(missing, WITHOUT_ACCESS);
}

/// Dictionaries as libFuzzer reads them: a quoted word on each line that is no remark, for a target that there is.
#[test]
fn dictionaries_are_well_formed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dictionaries");
    let mut words = 0;
    for entry in fs::read_dir(folder).expect("the folder is in the tree") {
        let path = entry.expect("a file").path();
        let target = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(
            targets::by_name(&target).is_some() || parser::by_name(&target).is_some(),
            "{target}"
        );
        let text = fs::read_to_string(&path).expect("text");
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let word = line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            assert!(word.is_some_and(|word| !word.is_empty()), "{target}: {line}");
            words += 1;
        }
    }
    assert!(50 < words, "{words}");
}

#[test]
fn reset_at_once_changes_nothing() {
    for target in targets::ALL {
        for setup in 0..target.setups.len() as u8 {
            let actions = Vec::new();
            let mut machine = execution::power_on(target, &Program { setup, actions });
            let power_on = machine.inspect();
            machine.reset();
            assert_eq!(machine.inspect(), power_on, "{} {setup}", target.name);
        }
    }
}

#[test]
fn targets_keep_their_limits() {
    for target in targets::ALL {
        assert!((1..=256).contains(&target.setups.len()), "{}", target.name);
        assert!(target.ports.len() <= fuzz::target::WINDOWS_MAX && target.memory.len() <= fuzz::target::WINDOWS_MAX);
        assert!(4 <= target.canaries.len(), "{}", target.name);
        assert!(
            target.canaries.is_sorted_by_key(|canary| canary.name),
            "{}",
            target.name
        );
    }
    assert!(targets::ALL.is_sorted_by_key(|target| target.name));
}

/// Cases that need a string instruction or a kernel, which no bus has, and those of machines that must not come to be.
const WITHOUT_ACCESS: [&str; 13] = [
    "fw-cfg/string-io/keeps-width",
    "options/kernel-irqchip/split",
    "options/refused/cpus",
    "options/refused/devices",
    "options/refused/file-names",
    "options/refused/parts",
    "mp-table/header/entry-count",
    "mp-table/header/local-apic",
    "mp-table/header/well-formed",
    "mp-table/interrupts/isa",
    "mp-table/interrupts/local",
    "mp-table/ioapic/entry",
    "mp-table/pointer/well-formed",
];

const SEED: u64 = 0x6d69_6372_6f76_6d31;
