//! Motorola MC146818A real-time clock plus RAM.

use super::{Clause, Document, Origin};

/// The data sheet.
pub static DOCUMENT: Document = Document {
    name: "mc146818",
    title: "Motorola MC146818A Real-Time Clock Plus RAM data sheet (MC146818A/D)",
    url: "",
    origin: Origin::DataSheet,
};

clauses! { "mc146818", DOCUMENT;
    ADDRESS_MAP = "address-map", "Address Map",
        "The chip has ten time bytes, four register bytes and RAM behind one address of seven bits.";
    TIME = "time", "Time, Calendar, and Alarm Locations",
        "Time, calendar and century are read in the format that register B chooses: BCD or binary, 12 or 24 hours.";
    TIME_UPDATE = "time-update", "Update Cycle",
        "Once a second the time bytes move on by one second, with the calendar's lengths of months and leap years.";
    UPDATE_IN_PROGRESS = "update-in-progress", "Register A, UIP",
        "UIP is high for at least 244 microseconds before the time bytes change, and low otherwise.";
    REGISTER_A = "register-a", "Register A (0x0A)",
        "Register A holds divider and rate bits; UIP cannot be written.";
    REGISTER_B = "register-b", "Register B (0x0B)",
        "Register B holds SET, the interrupt enables and the format bits as written.";
    REGISTER_B_SET = "register-b-set", "Register B, SET",
        "While SET is 1 the time bytes stand still; writing SET clears UIE.";
    REGISTER_C = "register-c", "Register C (0x0C)",
        "Register C shows the interrupt flags, is cleared by reading and cannot be written.";
    REGISTER_C_UPDATE = "register-c-update", "Register C, UF",
        "UF is set after each update cycle.";
    REGISTER_C_PERIODIC = "register-c-periodic", "Register C, PF",
        "PF is set at the periodic rate whether PIE is 1 or 0.";
    REGISTER_D = "register-d", "Register D (0x0D), VRT",
        "VRT reads 1 while RAM and time are valid; register D cannot be written.";
    REGISTER_A_DIVIDER = "register-a-divider", "Register A, DV2-DV0",
        "With DV2 and DV1 set the divider is held in reset; the first update comes half a second after it is let go.";
    RESET = "reset", "RESET",
        "A reset clears PIE, AIE, UIE, SQWE and all flags; the time, the calendar and RAM are not affected.";
    ALARM = "alarm", "Alarm, \"don't care\" codes",
        "AF is set when the time equals the alarm bytes; an alarm byte from 0xC0 to 0xFF matches any time.";
    INTERRUPT = "interrupt", "Interrupts",
        "IRQF is 1 and the interrupt line is driven while a flag and its enable are both 1, until register C is read.";
    PC_PORTS = "pc-ports", "the PC's use of the chip",
        "Bit 7 of the index port is the NMI mask and no part of the address; the index cannot be read back.";
    CENTURY = "century", "the PC's use of RAM byte 0x32",
        "RAM byte 0x32 holds the century and 0x37 is another name for it.";
}
