//! The serial port: a 16550A UART at 0x3f8 with 16-byte FIFOs.
//!
//! Source: National Semiconductor PC16550D data sheet (June 1995), section 8; where it is silent, the machine as
//! measured on QEMU 4.2, 7.2 and 10.2.
//!
//! Deviations:
//! - Transmission takes no time: a byte written to THR is out at once, so LSR never shows THRE or TEMT clear, and the
//!   XMIT FIFO is always empty. Receive time-out does run on virtual time.
//! - MCR is 0x08 (OUT2) after a reset where the data sheet says 0: the machine starts with the board's interrupt gate
//!   open. OUT2 itself gates nothing.
//! - Characters have eight bits whatever LCR says, and arrive without parity, framing or break errors, so LSR bits
//!   2 to 4 and 7 stay 0. LCR counts for the character time only.
//! - A divisor of 0, which the data sheet advises against, runs at 3500 baud.
//! - CTS, DSR and DCD are always asserted outside loopback: nobody on the host moves them.
//!
//! QEMU differs from the data sheet, and from this model, in three places: it reports no modem status changes in
//! loopback, takes FIFO resets from an FCR write without bit 0, and its FCR survives a system reset.

use std::collections::VecDeque;

use crate::device::{Access, Ctx, Device, Event, Region};
use crate::inspect::Inspector;
use crate::irq::Line;
use crate::units::Nanos;

/// Bytes that each FIFO holds.
pub const FIFO_LENGTH: usize = 16;

/// A 16550A. Bytes sent come as [`Event::SerialOut`]; bytes for the guest go in by [`Serial::receive`].
#[derive(Clone, Debug)]
pub struct Serial {
    // Configuration, fixed at construction.
    regions: [Region; 1],
    // Connections.
    line: Line,
    // State, all of it.
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    divisor: u16,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    /// DR and OE; THRE and TEMT are always set.
    lsr: u8,
    /// The four change bits; the upper four follow [`State::modem_inputs`].
    msr_changes: u8,
    scr: u8,
    /// The receiver buffer while the FIFOs are off.
    rbr: u8,
    /// Received and not yet read, at most [`FIFO_LENGTH`] bytes; empty while the FIFOs are off.
    fifo: VecDeque<u8>,
    thre_pending: bool,
    timeout_pending: bool,
    /// When four character times will have passed since the receive FIFO was last touched.
    timeout_at: Option<Nanos>,
}

impl Serial {
    /// A UART at power-on whose eight registers start at port `base` and whose INTR drives `line`.
    pub fn new(base: u16, line: Line) -> Serial {
        Serial {
            regions: [Region::byte_ports(base, 8)],
            line,
            state: State::power_on(),
        }
    }

    /// Takes bytes from the host as far as the receiver has room, and says how many it took; the host keeps the rest
    /// and comes again when the guest has read some. That is 16 bytes with FIFOs, one byte without, none in loopback,
    /// where SIN is disconnected.
    ///
    /// QEMU offers less room: with FIFOs up to the trigger level only, then none until the guest reads. It never
    /// overruns either.
    pub fn receive(&mut self, bytes: &[u8], ctx: &mut Ctx<'_>) -> usize {
        let taken = bytes.len().min(self.room());
        for &byte in &bytes[..taken] {
            self.state.shift_in(byte, ctx.now);
        }
        if 0 < taken {
            self.update_line(ctx);
        }
        taken
    }

    /// One character arrives on the line, whether there is room or not, as from a peer that does not watch RTS: with
    /// no room it overruns. In loopback it is lost.
    pub fn receive_regardless(&mut self, byte: u8, ctx: &mut Ctx<'_>) {
        if self.state.mcr & reg::LOOP == 0 {
            self.state.shift_in(byte, ctx.now);
            self.update_line(ctx);
        }
    }

    /// How many bytes [`Serial::receive`] would take.
    pub fn room(&self) -> usize {
        if self.state.mcr & reg::LOOP != 0 {
            0
        } else if self.state.fifos_enabled() {
            FIFO_LENGTH - self.state.fifo.len()
        } else {
            usize::from(self.state.lsr & reg::DR == 0)
        }
    }

    fn transmit(&mut self, byte: u8, ctx: &mut Ctx<'_>) {
        // Loading THR takes the interrupt back and emptying it raises it again: an edge that edge-triggered
        // controllers rely on.
        self.state.thre_pending = false;
        self.update_line(ctx);
        self.state.thre_pending = true;
        self.update_line(ctx);
        if self.state.mcr & reg::LOOP == 0 {
            ctx.events.push(Event::SerialOut(byte));
        } else {
            self.state.shift_in(byte, ctx.now);
            self.update_line(ctx);
        }
    }

    fn update_line(&self, ctx: &mut Ctx<'_>) {
        ctx.lines.set(self.line, self.state.interrupt() != reg::NO_INTERRUPT);
    }
}

impl Device for Serial {
    fn name(&self) -> &'static str {
        "serial"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: Access, ctx: &mut Ctx<'_>) -> u64 {
        let state = &mut self.state;
        let latch = state.lcr & reg::DLAB != 0;
        let value = match at.offset {
            reg::RBR if latch => state.divisor as u8,
            reg::RBR => state.read_rbr(ctx.now),
            reg::IER if latch => (state.divisor >> 8) as u8,
            reg::IER => state.ier,
            reg::IIR => state.read_iir(),
            reg::LCR => state.lcr,
            reg::MCR => state.mcr,
            reg::LSR => {
                let value = state.lsr | reg::THRE | reg::TEMT;
                state.lsr &= !reg::OE;
                value
            }
            reg::MSR => state.modem_inputs() | std::mem::take(&mut state.msr_changes),
            _ => state.scr,
        };
        self.update_line(ctx);
        u64::from(value)
    }

    fn write(&mut self, at: Access, value: u64, ctx: &mut Ctx<'_>) {
        let value = value as u8;
        let state = &mut self.state;
        let latch = state.lcr & reg::DLAB != 0;
        match at.offset {
            reg::THR if latch => state.divisor = state.divisor & 0xff00 | u16::from(value),
            reg::THR => return self.transmit(value, ctx),
            reg::IER if latch => state.divisor = state.divisor & 0x00ff | u16::from(value) << 8,
            reg::IER => state.write_ier(value),
            reg::FCR => state.write_fcr(value),
            reg::LCR => state.lcr = value,
            reg::MCR => state.write_mcr(value),
            // The data sheet keeps writes to LSR for factory tests; the machine ignores both status registers.
            reg::LSR | reg::MSR => {}
            _ => state.scr = value,
        }
        self.update_line(ctx);
    }

    fn deadline(&self) -> Option<Nanos> {
        self.state.timeout_at
    }

    fn tick(&mut self, ctx: &mut Ctx<'_>) {
        if self.state.timeout_at.is_some_and(|at| at <= ctx.now) {
            self.state.timeout_at = None;
            self.state.timeout_pending = true;
            self.update_line(ctx);
        }
    }

    fn reset(&mut self, ctx: &mut Ctx<'_>) {
        self.state = State::power_on();
        self.update_line(ctx);
    }

    fn inspect(&self, out: &mut Inspector) {
        let state = &self.state;
        out.hex("divisor", state.divisor);
        out.hex("ier", state.ier);
        out.hex("fcr", state.fcr);
        out.hex("lcr", state.lcr);
        out.hex("mcr", state.mcr);
        out.hex("lsr", state.lsr | reg::THRE | reg::TEMT);
        out.hex("msr", state.modem_inputs() | state.msr_changes);
        out.hex("scr", state.scr);
        out.hex("rbr", state.rbr);
        out.text("fifo", format_args!("{:02x?}", state.fifo));
        out.hex("interrupt", state.interrupt());
        out.text("thre_pending", state.thre_pending);
        out.text("timeout_pending", state.timeout_pending);
        out.text("timeout_at", format_args!("{:?}", state.timeout_at));
    }
}

impl State {
    fn power_on() -> State {
        State {
            divisor: 12,
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: reg::OUT2,
            lsr: 0,
            msr_changes: 0,
            scr: 0,
            rbr: 0,
            fifo: VecDeque::with_capacity(FIFO_LENGTH),
            thre_pending: false,
            timeout_pending: false,
            timeout_at: None,
        }
    }

    fn fifos_enabled(&self) -> bool {
        self.fcr & reg::FIFO_ENABLE != 0
    }

    /// The interrupt identification bits of IIR: the most urgent interrupt that is both pending and enabled.
    fn interrupt(&self) -> u8 {
        let enabled = |bit| self.ier & bit != 0;
        let received = if self.fifos_enabled() {
            self.trigger_level() <= self.fifo.len()
        } else {
            self.lsr & reg::DR != 0
        };
        if enabled(reg::ELSI) && self.lsr & reg::OE != 0 {
            reg::RECEIVER_LINE_STATUS
        } else if enabled(reg::ERBFI) && self.timeout_pending {
            reg::CHARACTER_TIMEOUT
        } else if enabled(reg::ERBFI) && received {
            reg::RECEIVED_DATA
        } else if enabled(reg::ETBEI) && self.thre_pending {
            reg::THR_EMPTY
        } else if enabled(reg::EDSSI) && self.msr_changes != 0 {
            reg::MODEM_STATUS
        } else {
            reg::NO_INTERRUPT
        }
    }

    fn trigger_level(&self) -> usize {
        [1, 4, 8, 14][usize::from(self.fcr >> 6)]
    }

    /// CTS, DSR, RI and DCD as MSR shows them.
    fn modem_inputs(&self) -> u8 {
        if self.mcr & reg::LOOP == 0 {
            return reg::CTS | reg::DSR | reg::DCD;
        }
        let wire = |output: u8, input: u8| if self.mcr & output == 0 { 0 } else { input };
        wire(reg::RTS, reg::CTS) | wire(reg::DTR, reg::DSR) | wire(reg::OUT1, reg::RI) | wire(reg::OUT2, reg::DCD)
    }

    fn read_rbr(&mut self, now: Nanos) -> u8 {
        if !self.fifos_enabled() {
            self.lsr &= !reg::DR;
            return self.rbr;
        }
        // An empty FIFO reads 0.
        let value = self.fifo.pop_front().unwrap_or_default();
        self.timeout_pending = false;
        self.timeout_at = self.timeout_from(now);
        if self.fifo.is_empty() {
            self.lsr &= !reg::DR;
        }
        value
    }

    fn read_iir(&mut self) -> u8 {
        let interrupt = self.interrupt();
        if interrupt == reg::THR_EMPTY {
            self.thre_pending = false;
        }
        let fifos = if self.fifos_enabled() { reg::FIFOS_ENABLED } else { 0 };
        interrupt | fifos
    }

    fn write_ier(&mut self, value: u8) {
        let turned_on = value & !self.ier & reg::ETBEI != 0;
        self.ier = value & reg::IER_MASK;
        if turned_on {
            // THR is always empty, so its interrupt is due again, even if IIR was read before: drivers rely on it.
            self.thre_pending = true;
        } else if value & reg::ETBEI == 0 {
            self.thre_pending = false;
        }
    }

    fn write_fcr(&mut self, value: u8) {
        let toggled = (value ^ self.fcr) & reg::FIFO_ENABLE != 0;
        if value & reg::FIFO_ENABLE == 0 && !toggled {
            // Without bit 0 the other bits are not programmed.
            return;
        }
        if toggled || value & reg::RCVR_FIFO_RESET != 0 {
            self.fifo.clear();
            self.lsr &= !reg::DR;
            self.timeout_pending = false;
            self.timeout_at = None;
        }
        if toggled || value & reg::XMIT_FIFO_RESET != 0 {
            self.thre_pending = true;
        }
        self.fcr = if value & reg::FIFO_ENABLE == 0 {
            0
        } else {
            value & reg::FCR_MASK
        };
    }

    fn write_mcr(&mut self, value: u8) {
        let before = self.modem_inputs();
        self.mcr = value & reg::MCR_MASK;
        let changed = before ^ self.modem_inputs();
        let note = |input: u8, change: u8| if changed & input == 0 { 0 } else { change };
        self.msr_changes |= note(reg::CTS, reg::DCTS) | note(reg::DSR, reg::DDSR) | note(reg::DCD, reg::DDCD);
        if before & reg::RI != 0 {
            self.msr_changes |= note(reg::RI, reg::TERI);
        }
    }

    /// A character arrives in the receiver's shift register.
    fn shift_in(&mut self, byte: u8, now: Nanos) {
        if !self.fifos_enabled() {
            if self.lsr & reg::DR != 0 {
                self.lsr |= reg::OE;
            }
            self.rbr = byte;
        } else if self.fifo.len() < FIFO_LENGTH {
            self.fifo.push_back(byte);
            self.timeout_at = self.timeout_from(now);
        } else {
            self.lsr |= reg::OE;
            self.timeout_at = self.timeout_from(now);
        }
        self.lsr |= reg::DR;
    }

    /// When the time-out comes if nothing touches the FIFO after `now`; none while it is empty or already pending.
    fn timeout_from(&self, now: Nanos) -> Option<Nanos> {
        if self.fifo.is_empty() || self.timeout_pending {
            return None;
        }
        now.0.checked_add(4 * self.character_ns()).map(Nanos)
    }

    /// The time of one character: start, data, parity and stop bits at the programmed rate.
    fn character_ns(&self) -> u64 {
        let data_bits = 5 + u64::from(self.lcr & reg::WLS);
        let parity_bits = u64::from(self.lcr & reg::PEN != 0);
        // Five data bits go with one and a half stop bits instead of two.
        let stop_half_bits = match (self.lcr & reg::STB != 0, data_bits) {
            (false, _) => 2,
            (true, 5) => 3,
            (true, _) => 4,
        };
        let half_bits = 2 * (1 + data_bits + parity_bits) + stop_half_bits;
        match self.divisor {
            0 => half_bits * Nanos::SECOND.0 / (2 * 3500),
            divisor => half_bits * u64::from(divisor) * Nanos::SECOND.0 / (2 * BAUD_BASE),
        }
    }
}

/// The rate at divisor 1: a crystal of 1.8432 MHz over 16.
const BAUD_BASE: u64 = 115_200;

/// Registers as offsets from the base port, and their bits.
mod reg {
    pub(super) const RBR: u64 = 0;
    pub(super) const THR: u64 = 0;
    pub(super) const IER: u64 = 1;
    pub(super) const IIR: u64 = 2;
    pub(super) const FCR: u64 = 2;
    pub(super) const LCR: u64 = 3;
    pub(super) const MCR: u64 = 4;
    pub(super) const LSR: u64 = 5;
    pub(super) const MSR: u64 = 6;

    pub(super) const ERBFI: u8 = 0x01;
    pub(super) const ETBEI: u8 = 0x02;
    pub(super) const ELSI: u8 = 0x04;
    pub(super) const EDSSI: u8 = 0x08;
    pub(super) const IER_MASK: u8 = 0x0f;

    pub(super) const MODEM_STATUS: u8 = 0x00;
    pub(super) const NO_INTERRUPT: u8 = 0x01;
    pub(super) const THR_EMPTY: u8 = 0x02;
    pub(super) const RECEIVED_DATA: u8 = 0x04;
    pub(super) const RECEIVER_LINE_STATUS: u8 = 0x06;
    pub(super) const CHARACTER_TIMEOUT: u8 = 0x0c;
    pub(super) const FIFOS_ENABLED: u8 = 0xc0;

    pub(super) const FIFO_ENABLE: u8 = 0x01;
    pub(super) const RCVR_FIFO_RESET: u8 = 0x02;
    pub(super) const XMIT_FIFO_RESET: u8 = 0x04;
    pub(super) const FCR_MASK: u8 = 0xc9;

    /// Word length select: five bits and up.
    pub(super) const WLS: u8 = 0x03;
    pub(super) const STB: u8 = 0x04;
    pub(super) const PEN: u8 = 0x08;
    pub(super) const DLAB: u8 = 0x80;

    pub(super) const DTR: u8 = 0x01;
    pub(super) const RTS: u8 = 0x02;
    pub(super) const OUT1: u8 = 0x04;
    pub(super) const OUT2: u8 = 0x08;
    pub(super) const LOOP: u8 = 0x10;
    pub(super) const MCR_MASK: u8 = 0x1f;

    pub(super) const DR: u8 = 0x01;
    pub(super) const OE: u8 = 0x02;
    pub(super) const THRE: u8 = 0x20;
    pub(super) const TEMT: u8 = 0x40;

    pub(super) const DCTS: u8 = 0x01;
    pub(super) const DDSR: u8 = 0x02;
    pub(super) const TERI: u8 = 0x04;
    pub(super) const DDCD: u8 = 0x08;
    pub(super) const CTS: u8 = 0x10;
    pub(super) const DSR: u8 = 0x20;
    pub(super) const RI: u8 = 0x40;
    pub(super) const DCD: u8 = 0x80;
}

#[cfg(test)]
mod tests;
