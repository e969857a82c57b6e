//! Intel 8254.

use super::{Clause, Document, Origin};

/// The data sheet.
pub static DOCUMENT: Document = Document {
    name: "i8254",
    title: "Intel 8254 Programmable Interval Timer (order number 231164)",
    url: "",
    origin: Origin::DataSheet,
};

clauses! { "i8254", DOCUMENT;
    CONTROL_WORD = "control-word", "Control Word Format, Figure 7",
        "The control word sets mode, access and BCD of the counter named and of no other.";
    CONTROL_WORD_MODE = "control-word-mode", "Control Word Format, Figure 7, M2-M0",
        "M2 does not matter in modes 2 and 3: 6 and 7 are the same modes.";
    WRITE = "write", "Write Operations",
        "A count is written as low byte, high byte, or low byte and then high byte; a half that is not written is 0.";
    READ = "read", "Read Operations",
        "Reading a counter gives its count in the format that the control word set.";
    LATCH = "latch", "Counter Latch Command",
        "A latched count is held until it is read or the counter reprogrammed; another latch command is ignored.";
    READ_BACK = "read-back", "Read-Back Command",
        "The read-back command latches count, status or both of any counters; with both, status is read first.";
    STATUS = "status", "Read-Back Command, Figure 11",
        "The status byte gives OUT, NULL COUNT and the control word's mode bits.";
    NULL_COUNT = "null-count", "Read-Back Command, Figure 12",
        "NULL COUNT is 1 from a control word until its count is loaded.";
    MODE_0 = "mode-0", "Mode 0: Interrupt on Terminal Count",
        "In mode 0 OUT is low until the count has run out, then high until a count or control word is written.";
    MODE_1 = "mode-1", "Mode 1: Hardware Retriggerable One-Shot",
        "In modes 1 and 5 a rise of GATE starts the counter.";
    MODE_1_OUT = "mode-1-out", "Mode 1: Hardware Retriggerable One-Shot",
        "In mode 1 OUT is low for the one-shot pulse alone: it is high once the count has run out, and without a \
         trigger.";
    MODE_2 = "mode-2", "Mode 2: Rate Generator",
        "In mode 2 the counter reloads every N clocks, and OUT pulses once in each period.";
    MODE_3 = "mode-3", "Mode 3: Square Wave Mode",
        "In mode 3 OUT is high for half of the N clocks, one more if N is odd, and low for the rest.";
    MODE_4 = "mode-4", "Mode 4: Software Triggered Strobe",
        "In mode 4 OUT pulses once when the count has run out.";
    NEW_COUNT = "new-count", "Mode 2, writing a new count",
        "A new count written while the counter runs takes effect with the next period.";
    BCD = "bcd", "Control Word Format, BCD",
        "With BCD set the counter counts four decades.";
    COUNT_RANGE = "count-range", "Operation Common to All Modes, Figure 22",
        "A count of 0 stands for 65536, or 10000 in BCD.";
}
