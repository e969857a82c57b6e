//! Intel 82093AA I/O APIC.

use super::{Clause, Document, Origin};

/// The data sheet.
pub static DOCUMENT: Document = Document {
    name: "i82093aa",
    title: "Intel 82093AA I/O Advanced Programmable Interrupt Controller (order number 290566-001)",
    url: "",
    origin: Origin::DataSheet,
};

clauses! { "i82093aa", DOCUMENT;
    INDEX = "index", "3.1.1 IOREGSEL",
        "The select register holds the eight-bit index of the register seen through the window.";
    ID = "id", "3.2.1 IOAPICID",
        "Bits 27:24 of the identification register can be written; all others read 0.";
    VERSION = "version", "3.2.2 IOAPICVER",
        "The version register gives the highest redirection entry, 23, and cannot be written.";
    ARBITRATION = "arbitration", "3.2.3 IOAPICARB",
        "The arbitration register follows the identification register and cannot be written.";
    REDIRECTION_RESET = "redirection-reset", "3.2.4 IOREDTBL",
        "After reset every redirection entry is masked.";
    REDIRECTION_BITS = "redirection-bits", "3.2.4 IOREDTBL",
        "Delivery status and remote IRR cannot be written; the other defined bits hold what is written.";
    RESERVED = "reserved", "3.0 Register Description",
        "Reserved registers read 0 and take writes without effect.";
}
