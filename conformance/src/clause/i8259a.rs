//! Intel 8259A.

use super::{Clause, Document, Origin};

/// The data sheet.
pub static DOCUMENT: Document = Document {
    name: "i8259a",
    title: "Intel 8259A Programmable Interrupt Controller (order number 231468)",
    url: "",
    origin: Origin::DataSheet,
};

clauses! { "i8259a", DOCUMENT;
    ICW1 = "icw1", "Initialization Command Words 1 and 2",
        "ICW1 begins an initialisation: it resets the edge sense circuit, clears IMR, gives IR7 the lowest priority, \
         ends special mask mode and selects IRR for reading.";
    ICW_SEQUENCE = "icw-sequence", "Initialization Sequence, Figure 6",
        "After ICW1 come ICW2, ICW3 unless SNGL is set, and ICW4 if IC4 is set; the next word is OCW1.";
    ICW4 = "icw4", "Initialization Command Word 4; ICW1, IC4",
        "With IC4 clear all functions that ICW4 selects are off.";
    AUTO_EOI = "auto-eoi", "Automatic End of Interrupt Mode",
        "In automatic EOI mode an interrupt leaves service as soon as it is acknowledged.";
    OCW1 = "ocw1", "Operation Command Word 1",
        "OCW1 sets the interrupt mask, which reads back; a masked input is not acknowledged and keeps its request.";
    INT = "int", "Interrupt Sequence; INT",
        "INT is high while a request waits that no mask and no interrupt in service holds back.";
    VECTOR = "vector", "Interrupt Sequence; Initialization Command Words 1 and 2",
        "The vector is T7 to T3 of ICW2 and the number of the input; an input of the slave comes with the slave's.";
    EOI = "eoi", "End of Interrupt",
        "A specific EOI clears the in-service bit named, a non-specific one that of the highest priority.";
    ROTATION = "rotation", "Automatic Rotation, Specific Rotation",
        "Rotating commands give the input named, or the one whose service ended, the lowest priority.";
    OCW2 = "ocw2", "Operation Command Word 2, Figure 8",
        "R, SL, EOI of 0, 1, 0 is no operation.";
    NESTING = "nesting", "Fully Nested Mode",
        "While an interrupt is in service those of the same or a lower priority wait, and higher ones do not.";
    READ_STATUS = "read-status", "Reading the 8259A Status",
        "OCW3 selects IRR or ISR for reading, which is remembered until another is selected; after ICW1 it is IRR.";
    POLL = "poll", "Poll Command",
        "The read after a poll command acknowledges the highest request: bit 7 is 1 and bits 2:0 name it.";
    SPECIAL_MASK = "special-mask", "Special Mask Mode",
        "In special mask mode a masked in-service bit keeps nothing back, and a non-specific EOI does not clear it.";
    TRIGGER = "trigger", "Edge and Level Triggered Modes",
        "An edge-triggered input requests once for each rise, a level-triggered one for as long as it is high.";
    CASCADE = "cascade", "Cascade Mode",
        "The slave's request arrives at the master's IR2.";
    DEFAULT_IR7 = "default-ir7", "Interrupt Sequence",
        "A request that is gone at the acknowledge is answered with the vector of IR7, which does not enter service.";
    SPECIAL_FULLY_NESTED = "special-fully-nested", "Special Fully Nested Mode",
        "In this mode a slave in service may interrupt again; the master's other inputs nest as before.";
}
