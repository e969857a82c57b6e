//! 16550 at ports 0x3f8 to 0x3ff.
//!
//! Source: PC16550D data sheet, Table II.

/// Receiver buffer (read), transmitter holding (write); divisor latch low while DLAB is 1.
pub const DATA: u16 = 0x3f8;
/// Interrupt enable; divisor latch high while DLAB is 1.
pub const IER: u16 = 0x3f9;
/// Interrupt identification (read), FIFO control (write).
pub const IIR: u16 = 0x3fa;
/// FIFO control, the same port as [`IIR`].
pub const FCR: u16 = 0x3fa;
/// Line control.
pub const LCR: u16 = 0x3fb;
/// Modem control.
pub const MCR: u16 = 0x3fc;
/// Line status.
pub const LSR: u16 = 0x3fd;
/// Modem status.
pub const MSR: u16 = 0x3fe;
/// Scratch.
pub const SCR: u16 = 0x3ff;

/// LCR: divisor latch access.
pub const DLAB: u8 = 0x80;
/// MCR: loopback.
pub const LOOP: u8 = 0x10;
/// LSR: data ready.
pub const DR: u8 = 0x01;
/// LSR: overrun.
pub const OE: u8 = 0x02;
/// LSR: transmitter holding register empty.
pub const THRE: u8 = 0x20;
/// LSR: transmitter empty.
pub const TEMT: u8 = 0x40;
/// IER: received data.
pub const ERBFI: u8 = 0x01;
/// IER: transmitter empty.
pub const ETBEI: u8 = 0x02;
/// IER: line status.
pub const ELSI: u8 = 0x04;
/// IER: modem status.
pub const EDSSI: u8 = 0x08;
/// IIR: nothing pending.
pub const NONE: u8 = 0x01;
/// IIR: line status.
pub const ID_LINE: u8 = 0x06;
/// IIR: received data.
pub const ID_DATA: u8 = 0x04;
/// IIR: FIFO time-out.
pub const ID_TIMEOUT: u8 = 0x0c;
/// IIR: transmitter empty.
pub const ID_THRE: u8 = 0x02;
/// IIR: modem status.
pub const ID_MODEM: u8 = 0x00;
/// IIR: the identification, without the FIFO bits.
pub const ID_MASK: u8 = 0x0f;
/// Bytes a FIFO holds.
pub const FIFO_LENGTH: usize = 16;
/// The line's interrupt.
pub const GSI: u8 = 4;
