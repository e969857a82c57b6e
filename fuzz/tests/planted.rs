//! The oracles for planted bugs: silent on the reference, and each of them able to notice something.

use std::collections::BTreeSet;

use conformance::subject::mutant::{MUTANTS, Mutant};
use fuzz::codec;
use fuzz::planted;
use fuzz::program::Program;
use fuzz::seeds;
use fuzz::target::Target;
use fuzz::targets::{self, FW_CFG, IOAPIC, MACHINE, PIC, PIT, RTC, SERIAL, VIRTIO_MMIO, VIRTQUEUE};
use rstest::rstest;

/// An oracle that takes the reference for a bug would find every planted one.
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
fn no_oracle_notices_the_reference(#[case] target: &Target) {
    let written = seeds::written(target).expect("the tree's seeds are programs");
    let mut programs: Vec<Program> = written.into_iter().map(|seed| seed.program).collect();
    let mut state = SEED;
    for _ in 0..300 {
        let input: Vec<u8> = (0..200).map(|_| next(&mut state)).collect();
        programs.push(codec::decode(target, &input));
    }
    for program in programs {
        assert_eq!(
            planted::notice(target, None, &program),
            None,
            "{}",
            program.text(target)
        );
    }
}

/// Programs that show a bug, each to the oracle that should see it.
#[rstest]
#[case(&SERIAL, "serial-line-stays-high", "setup plain\noutb 0x3f9 0x2\n", "law: lines after reset")]
#[case(
    &IOAPIC,
    "ioapic-version-writable",
    "writel 0xfec00000 1\nreadl 0xfec00010\nwritel 0xfec00010 5\n",
    "law: reset forgets"
)]
#[case(&RTC, "rtc-century-19", "outb 0x70 0x32\ninb 0x71\n", "model")]
fn oracle_notices_a_planted_bug(
    #[case] target: &Target,
    #[case] name: &str,
    #[case] program: &str,
    #[case] oracle: &str,
) {
    let program = Program::parse(target, program).expect("a program");
    let noticed = planted::notice(target, Mutant::by_name(name), &program).expect("noticed");
    assert_eq!(noticed.oracle, oracle, "{}", noticed.text);
    assert_eq!(planted::notice(target, None, &program), None);
}

#[test]
fn most_bugs_have_a_target() {
    let with_target = MUTANTS.iter().filter(|mutant| planted::target_of(mutant).is_some());
    assert!(100 <= with_target.count());
    let used: BTreeSet<&str> = MUTANTS
        .iter()
        .filter_map(|mutant| planted::target_of(mutant).map(|target| target.name))
        .collect();
    assert_eq!(used.len(), targets::ALL.len(), "{used:?}");
}

fn next(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as u8
}

const SEED: u64 = 0x706c_616e_7465_6421;
