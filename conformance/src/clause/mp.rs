//! Intel MultiProcessor Specification.

use super::{Clause, Document, Origin};

/// The specification.
pub static DOCUMENT: Document = Document {
    name: "mp",
    title: "Intel MultiProcessor Specification, version 1.4 (order number 242016)",
    url: "",
    origin: Origin::BootProtocol,
};

clauses! { "mp", DOCUMENT;
    CPUS = "cpus", "4.3.1 Processor Entries",
        "The table has an enabled entry with the ID of each CPU that can be started, and marks the boot CPU.";
    POINTER = "pointer", "4.1 MP Floating Pointer Structure",
        "The pointer is found in the last KiB of base memory or the BIOS's ROM, has 16 bytes, and sums to zero.";
    HEADER = "header", "4.2 MP Configuration Table Header",
        "The table begins with PCMP, its length and the pointer's revision, and sums to zero.";
    ENTRY_COUNT = "entry-count", "4.2 MP Configuration Table Header, ENTRY COUNT",
        "The header has the number of entries behind it.";
    LOCAL_APIC = "local-apic", "4.2, MEMORY-MAPPED ADDRESS OF LOCAL APIC, and 4.3.1, LOCAL APIC VERSION #",
        "The header has the local APICs' address, and each processor entry bits 0 to 7 of their version register.";
    IOAPIC = "ioapic", "4.3.3 I/O APIC Entries",
        "An enabled entry has each IOAPIC's address, and bits 0 to 7 of its version register.";
    INTERRUPTS = "interrupts", "4.3.4 I/O Interrupt Assignment Entries",
        "An entry for each interrupt of a bus names the input of the IOAPIC that it is connected to.";
    LOCAL_INTERRUPTS = "local-interrupts", "4.3.5 Local Interrupt Assignment Entries",
        "Entries name the local APICs' inputs to which the 8259 (ExtINT) and NMI are connected: 0 and 1.";
}
