//! The serial port of profile `rust-vmm`: crate vm-superio's `Serial` behind this machine's ports and lines.
//!
//! Source: vm-superio 0.8.2, `serial.rs`; wired as Firecracker does (`device_manager/legacy.rs`: ports 0x3f8 to 0x3ff,
//! GSI 4 by an irqfd).
//!
//! Deviations: all of them the crate's, from the PC16550D that [`super::serial`] is; each with its clause and the case
//! that shows it in `golden/expectations/vm-superio.md`:
//! - FCR is ignored: the FIFO is always on, holds 64 bytes, and can be neither cleared nor given a trigger level.
//! - No overrun, no receive time-out, no modem status changes, and no interrupts for them.
//! - IIR is a latch, not the most urgent pending interrupt, and any read of it clears all.
//! - The interrupt is a trigger without a level: the line goes up and down again within the access.
//!
//! Laws: the crate has no reset, so a reset makes a new port; nothing of it depends on time.

use std::cell::Cell;
use std::convert::Infallible;

use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};

use crate::device::{Access, Ctx, Device, Event, Region};
use crate::inspect::Inspector;
use crate::irq::Line;

/// vm-superio's serial port. Bytes sent come as [`Event::SerialOut`]; bytes for the guest go in by
/// [`SuperioSerial::receive`].
#[derive(Debug)]
pub struct SuperioSerial {
    // Configuration, fixed at construction.
    regions: [Region; 1],
    // Connections.
    line: Line,
    // State, all of it.
    port: Port,
}

/// The crate tells of bytes read and sent too, but nothing that the registers do not show.
type Port = Serial<Pulses, NoEvents, Vec<u8>>;

/// Counts the interrupts that the crate triggers until the adapter passes them on.
#[derive(Debug, Default)]
struct Pulses(Cell<u32>);

impl SuperioSerial {
    /// A port at power-on whose eight registers start at port `base` and whose interrupt pulses `line`.
    pub fn new(base: u16, line: Line) -> SuperioSerial {
        SuperioSerial {
            regions: [Region::byte_ports(base, 8)],
            line,
            port: power_on(),
        }
    }

    /// Takes bytes from the host as far as the FIFO has room, and says how many it took; the host keeps the rest. The
    /// bound is the crate's: 64 bytes, none in loopback.
    pub fn receive(&mut self, bytes: &[u8], ctx: &mut Ctx<'_>) -> usize {
        let taken = bytes.len().min(self.room());
        // The trigger cannot fail, and there is room for all of it.
        let taken = self.port.enqueue_raw_bytes(&bytes[..taken]).unwrap_or_default();
        self.pass_on(ctx);
        taken
    }

    /// How many bytes [`SuperioSerial::receive`] would take.
    pub fn room(&self) -> usize {
        if self.port.state().modem_control & MCR_LOOP == 0 {
            self.port.fifo_capacity()
        } else {
            0
        }
    }

    /// Passes on what the crate left in its trigger and its writer: one interrupt and one byte an access at most, two
    /// interrupts when IER enables both.
    fn pass_on(&mut self, ctx: &mut Ctx<'_>) {
        for _ in 0..self.port.interrupt_evt().0.take() {
            ctx.lines.set(self.line, true);
            ctx.lines.set(self.line, false);
        }
        ctx.events
            .extend(self.port.writer_mut().drain(..).map(Event::SerialOut));
    }
}

impl Device for SuperioSerial {
    fn name(&self) -> &'static str {
        "serial"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: Access, ctx: &mut Ctx<'_>) -> u64 {
        let value = self.port.read(at.offset as u8);
        self.pass_on(ctx);
        u64::from(value)
    }

    fn write(&mut self, at: Access, value: u64, ctx: &mut Ctx<'_>) {
        // Trigger and writer are memory of ours and never fail.
        let _never_fails = self.port.write(at.offset as u8, value as u8);
        self.pass_on(ctx);
    }

    fn reset(&mut self, _ctx: &mut Ctx<'_>) {
        self.port = power_on();
    }

    fn inspect(&self, out: &mut Inspector) {
        let state = self.port.state();
        out.hex("divisor_low", state.baud_divisor_low);
        out.hex("divisor_high", state.baud_divisor_high);
        out.hex("ier", state.interrupt_enable);
        out.hex("iir", state.interrupt_identification);
        out.hex("lcr", state.line_control);
        out.hex("lsr", state.line_status);
        out.hex("mcr", state.modem_control);
        out.hex("msr", state.modem_status);
        out.hex("scr", state.scratch);
        out.text("fifo", format_args!("{:02x?}", state.in_buffer));
    }
}

impl Trigger for Pulses {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        self.0.set(self.0.get().saturating_add(1));
        Ok(())
    }
}

fn power_on() -> Port {
    Serial::new(Pulses::default(), Vec::new())
}

/// Loopback, a bit of MCR.
const MCR_LOOP: u8 = 0x10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::laws::{Bench, check_laws};

    fn port() -> SuperioSerial {
        SuperioSerial::new(0x3f8, Line { gsi: 4, source: 0 })
    }

    fn receive(bench: &mut Bench<SuperioSerial>, bytes: &[u8]) -> usize {
        bench.with(|port, ctx| port.receive(bytes, ctx))
    }

    fn levels(bench: &mut Bench<SuperioSerial>) -> Vec<bool> {
        bench.take_changes().iter().map(|change| change.level).collect()
    }

    #[test]
    fn laws_hold() {
        check_laws(port);
    }

    #[test]
    fn bytes_are_sent_and_each_trigger_is_a_pulse() {
        let mut bench = Bench::new(port());
        bench.outb(0x3f9, 0x02);
        assert_eq!(levels(&mut bench), [true, false], "the transmitter is empty");
        bench.outb(0x3f8, b'x');
        assert_eq!(bench.take_events(), [Event::SerialOut(b'x')]);
        assert!(levels(&mut bench).is_empty(), "nobody read IIR in between");
    }

    #[test]
    fn host_input_ends_at_the_fifo() {
        let mut bench = Bench::new(port());
        assert_eq!(receive(&mut bench, &[0x55; 100]), 64);
        assert_eq!((bench.device.room(), receive(&mut bench, b"more")), (0, 0));
        bench.inb(0x3f8);
        assert_eq!(receive(&mut bench, b"more"), 1);
    }

    #[test]
    fn nothing_is_taken_in_loopback() {
        let mut bench = Bench::new(port());
        bench.outb(0x3fc, 0x10);
        assert_eq!((bench.device.room(), receive(&mut bench, b"x")), (0, 0));
        bench.outb(0x3fc, 0x00);
        assert_eq!(receive(&mut bench, b"x"), 1);
    }

    #[test]
    fn guest_cannot_fill_more_than_the_fifo_by_loopback() {
        let mut bench = Bench::new(port());
        bench.outb(0x3fc, 0x10);
        for byte in 0..200 {
            bench.outb(0x3f8, byte);
        }
        bench.outb(0x3fc, 0x00);
        assert_eq!(bench.device.room(), 0);
        let read: Vec<u8> = (0..65).map(|_| bench.inb(0x3f8)).collect();
        assert_eq!((read[63], read[64]), (63, 0));
    }
}
