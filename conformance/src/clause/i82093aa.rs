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
    ACCESS = "access", "3.1 Memory Mapped Registers",
        "Register select and window are accessed as double words; bits 31:8 of register select are reserved.";
    REMOTE_IRR = "remote-irr", "3.2.4 IOREDTBL, bit 14",
        "Remote IRR is set when a level-triggered interrupt is sent and cleared by an EOI with the entry's vector.";
    INTERRUPT_MASK = "interrupt-mask", "3.2.4 IOREDTBL, bit 16",
        "A masked entry sends nothing; a level-triggered pin that is asserted is served once it is unmasked.";
    MASKED_EDGE = "masked-edge", "3.2.4 IOREDTBL, bit 16",
        "An edge that comes while its entry is masked is neither delivered nor kept.";
    TRIGGER_MODE = "trigger-mode", "3.2.4 IOREDTBL, bit 15",
        "An edge-triggered pin interrupts once for each rise, a level-triggered one while it is asserted.";
    DESTINATION = "destination", "3.2.4 IOREDTBL, bits 63:56 and 11",
        "An interrupt goes to the CPU whose ID the entry names, or in logical mode to those in the set it names.";
    EXTINT = "extint", "3.2.4 IOREDTBL, bits 10:8",
        "Delivery mode ExtINT has the interrupt come with the vector of the 8259 that is wired to the pin.";
    MESSAGE = "message", "3.2.4 IOREDTBL, in the form of the SDM, volume 3, Message Signalled Interrupts",
        "A message carries its entry's vector, delivery mode, trigger mode, destination and destination mode.";
    DELIVERY_MODE = "delivery-mode", "3.2.4 IOREDTBL, bits 10:8",
        "SMI, NMI, INIT and ExtINT are edge-triggered, NMI and INIT even if programmed as level.";
    REDIRECTION_RESET = "redirection-reset", "3.2.4 IOREDTBL",
        "After reset every redirection entry is masked.";
    REDIRECTION_BITS = "redirection-bits", "3.2.4 IOREDTBL",
        "Delivery status and remote IRR cannot be written; the other defined bits hold what is written.";
    EOI_REGISTER = "eoi-register", "82801 ICH, I/O APIC, EOI Register",
        "From version 0x20 on, a vector written to the EOI register clears remote IRR of the entries that have it.";
    EDGE_CLEARS = "edge-clears", "Linux: an EOI for an IOAPIC without an EOI register",
        "Making an entry edge-triggered and level-triggered again clears its remote IRR.";
    RESERVED = "reserved", "3.0 Register Description",
        "Reserved registers read 0 and take writes without effect.";
}
