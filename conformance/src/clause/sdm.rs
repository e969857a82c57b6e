//! The processor's own manual.

use super::{Clause, Document, Origin};

/// The manual.
pub static DOCUMENT: Document = Document {
    name: "sdm",
    title: "Intel 64 and IA-32 Architectures Software Developer's Manual, order number 325462",
    url: "https://www.intel.com/content/www/us/en/developer/articles/technical/intel-sdm.html",
    origin: Origin::DataSheet,
};

clauses! { "sdm", DOCUMENT;
    LOCAL_APIC = "local-apic", "volume 3, Local APIC Status and Location",
        "After reset the bootstrap processor's local APIC is enabled, has ID 0 and lies at 0xfee00000.";
    TSC = "tsc", "volume 3, Time-Stamp Counter",
        "The time stamp counter never runs backwards.";
    TSC_SYNCHRONOUS = "tsc-synchronous", "volume 3, Invariant Time-Stamp Counter",
        "The time stamp counters of all CPUs show the same time.";
    LOCAL_APIC_ID = "local-apic-id", "volume 3, Local APIC ID",
        "A CPU's local APIC ID is the one that CPUID tells.";
    EOI = "eoi", "volume 3, Signaling Interrupt Servicing Completion",
        "An interrupt is in service until EOI is written, which ends the one of the highest priority.";
    PRIORITY = "priority", "volume 3, Interrupt, Task, and Processor Priority",
        "Interrupts are delivered by priority class, and only those above the task's and the one in service.";
    TIMER = "timer", "volume 3, APIC Timer",
        "The timer interrupts when its count reaches 0, once or periodically, unless its local vector is masked.";
    LINT0 = "lint0", "volume 3, Local Vector Table, and MultiProcessor Specification 1.4, Virtual Wire Mode",
        "An 8259's interrupt reaches the boot CPU through LINT0 with delivery mode ExtINT unless that is masked.";
    SHUTDOWN = "shutdown", "volume 3, Interrupt 8, Double Fault Exception",
        "A fault while a double fault is delivered puts the CPU into shutdown, upon which a PC resets the machine.";
    HALT = "halt", "volume 2, HLT",
        "An enabled interrupt ends a halt.";
    IPI = "ipi", "volume 3, Interrupt Command Register",
        "An interrupt command reaches the CPU with the ID in its destination, as fixed interrupt or NMI.";
    IPI_SHORTHAND = "ipi-shorthand", "volume 3, Interrupt Command Register, Destination Shorthand",
        "A shorthand reaches all CPUs, with or without the sender, whatever the destination.";
    IPI_LOGICAL = "ipi-logical", "volume 3, Logical Destination Mode",
        "In the flat model a logical destination reaches the CPUs whose logical ID shares a bit with it.";
    START_UP = "start-up", "volume 3, MP Initialization Protocol",
        "INIT and a start-up message start a CPU at the page that the vector names; it ignores a second one.";
    INIT = "init", "volume 3, Interrupt Command Register, INIT",
        "After INIT a CPU waits for a start-up message and takes no interrupt.";
    LOCKED = "locked", "volume 3, Locked Atomic Operations",
        "A locked instruction reads and writes memory as one step to all CPUs.";
    X2APIC = "x2apic", "volume 3, Extended XAPIC (x2APIC)",
        "In x2APIC mode the local APIC's registers are MSRs and IDs have 32 bits.";
}
