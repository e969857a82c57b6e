//! Several CPUs: the image `smp` starts them and has them interrupt each other, here as one case for each behaviour and
//! number of CPUs.

use super::resident::lines;
use crate::case::{Case, Setup};
use crate::clause::{mp, sdm};

/// Two CPUs of a machine that says there may be four: the other two must not answer.
const TWO: Setup = Setup {
    cpus: 2,
    cpus_max: 4,
    ..Setup::DEFAULT
};

const EIGHT: Setup = cpus(8);

/// Many more than a host is likely to have.
const SIXTY_FOUR: Setup = cpus(64);

const fn cpus(count: u16) -> Setup {
    Setup {
        cpus: count,
        cpus_max: count,
        ..Setup::DEFAULT
    }
}

/// The cases of a machine with several CPUs, which the image finds in the MultiProcessor table, and the feature that it
/// needs for so many.
macro_rules! several {
    ($area:literal, $words:literal, $setup:expr, [$($feature:ident)?]) => {
        lines! { $area, $words, $setup, "smp";
            "cpus/atomic", "Locked additions of all CPUs to one word add up",
                sdm::LOCKED, [MpTable $(, $feature)?];
            "cpus/identity", "Each started CPU's local APIC, CPUID and entry of the table name the same ID",
                sdm::LOCAL_APIC_ID, [MpTable $(, $feature)?];
            "cpus/init", "A CPU that got INIT takes no interrupt until it is started again",
                sdm::INIT, [MpTable $(, $feature)?];
            "cpus/mp-table", "The MultiProcessor table names the CPUs, one of them the boot CPU, and sums to zero",
                mp::CPUS, [MpTable $(, $feature)?];
            "cpus/nobody-else", "INIT and start-up to all others start as many as are announced",
                mp::CPUS, [MpTable $(, $feature)?];
            "cpus/start", "Each announced CPU starts once by INIT and two start-up messages",
                sdm::START_UP, [MpTable $(, $feature)?];
            "cpus/time", "A time stamp read on another CPU lies between two read here around it",
                sdm::TSC_SYNCHRONOUS, [MpTable $(, $feature)?];
            "cpus/x2apic", "All CPUs change to x2APIC mode and reach each other by 32-bit IDs",
                sdm::X2APIC, [MpTable $(, $feature)?];
            "ipi/back", "An interrupt sent by each CPU reaches the boot CPU",
                sdm::IPI, [MpTable $(, $feature)?];
            "ipi/broadcast", "An interrupt for all others reaches those and not the sender",
                sdm::IPI_SHORTHAND, [MpTable $(, $feature)?];
            "ipi/fixed", "An interrupt for one halted CPU wakes that one, once, and no other",
                sdm::IPI, [MpTable $(, $feature)?];
            "ipi/logical", "An interrupt for a set of logical IDs reaches those in the set",
                sdm::IPI_LOGICAL, [MpTable $(, $feature)?];
            "ipi/nmi", "An NMI for one halted CPU wakes that one, once",
                sdm::IPI, [MpTable $(, $feature)?];
            "ipi/running", "A CPU that runs takes an interrupt as a halted one does",
                sdm::IPI, [MpTable $(, $feature)?];
        }
    };
}

pub(crate) const CASES_ONE: &[Case] = lines! { "smp-1", ", with one CPU", Setup::DEFAULT, "smp";
    "cpus/mp-table", "The MultiProcessor table names the CPUs, one of them the boot CPU, and sums to zero",
        mp::CPUS, [MpTable];
    "cpus/nobody-else", "INIT and start-up to all others start as many as are announced",
        mp::CPUS, [MpTable];
};

pub(crate) const CASES_TWO: &[Case] = several!("smp-2", ", with two CPUs of four", TWO, []);

pub(crate) const CASES_EIGHT: &[Case] = several!("smp-8", ", with eight CPUs", EIGHT, []);

pub(crate) const CASES_SIXTY_FOUR: &[Case] = several!("smp-64", ", with sixty-four CPUs", SIXTY_FOUR, [ManyCpus]);
