//! The keyboard controller of the IBM PC AT, an 8042.

use super::{Clause, Document, Origin};

/// The manual of the machine that made its commands and ports a standard.
pub static DOCUMENT: Document = Document {
    name: "i8042",
    title: "IBM Personal Computer AT Technical Reference (1502494, March 1984), section 1, Keyboard Controller",
    url: "",
    origin: Origin::DataSheet,
};

clauses! { "i8042", DOCUMENT;
    STATUS = "status", "Keyboard Controller Status Register",
        "Bit 0 of the status is 1 while a byte waits for the system, bit 1 while one waits for the controller.";
    PULSE = "pulse", "Keyboard Controller Commands, hex F0-FF",
        "Commands 0xf0 to 0xff pulse those of the output port's bits 0 to 3 that are 0 in them; bit 0 is reset.";
    SELF_TEST = "self-test", "Keyboard Controller Commands, hex AA",
        "Command 0xaa tests the controller and puts 0x55 into the output buffer.";
    COMMAND_BYTE = "command-byte", "Keyboard Controller Commands, hex 20 and 60",
        "Command 0x60 takes the next data byte as the command byte, and command 0x20 gives it back.";
    DATA = "data", "Output Buffer and Input Buffer",
        "A byte written to port 0x60 that no command waits for is sent to the keyboard.";
}
