//! Keyboard controller at ports 0x60 and 0x64.
//!
//! Source: IBM Personal Computer AT Technical Reference, Keyboard Controller.

/// Output buffer (read), input buffer (write).
pub const DATA: u16 = 0x60;
/// Status (read), command (write).
pub const STATUS: u16 = 0x64;
/// The same port as [`STATUS`].
pub const COMMAND: u16 = 0x64;

/// Status: the output buffer holds a byte for the system.
pub const OUTPUT_FULL: u8 = 0x01;
/// Status: the input buffer holds a byte for the controller.
pub const INPUT_FULL: u8 = 0x02;

/// Command: put the command byte into the output buffer.
pub const READ_COMMAND_BYTE: u8 = 0x20;
/// Command: take the next data byte as the command byte.
pub const WRITE_COMMAND_BYTE: u8 = 0x60;
/// Command: self-test.
pub const SELF_TEST: u8 = 0xaa;
/// What a self-test without errors answers.
pub const SELF_TEST_PASSED: u8 = 0x55;
/// Command: turn the keyboard's interface off.
pub const DISABLE_KEYBOARD: u8 = 0xad;
/// Command: turn the keyboard's interface on.
pub const ENABLE_KEYBOARD: u8 = 0xae;
/// Command: pulse the reset line, and no other bit of the output port.
pub const PULSE_RESET: u8 = 0xfe;
/// Command: pulse nothing.
pub const PULSE_NOTHING: u8 = 0xff;
