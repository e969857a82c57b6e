use rstest::rstest;

use super::*;
use crate::device::Space;
use crate::device::laws::{Bench, check_laws};
use crate::irq::LineChange;
use crate::units::Width;

const BASE: u16 = 0x3f8;
const LINE: Line = Line { gsi: 4, source: 0 };

fn bench() -> Bench<Serial> {
    Bench::new(Serial::new(BASE, LINE))
}

/// A bench in loopback, with the modem status changes of entering it read away.
fn looped() -> Bench<Serial> {
    let mut bench = bench();
    bench.set(reg::MCR, reg::LOOP);
    bench.get(reg::MSR);
    bench
}

impl Bench<Serial> {
    fn get(&mut self, register: u64) -> u8 {
        self.inb(BASE + register as u16)
    }

    fn set(&mut self, register: u64, value: u8) {
        self.outb(BASE + register as u16, value);
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.with(|serial, ctx| serial.receive(bytes, ctx))
    }

    fn send_regardless(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.with(|serial, ctx| serial.receive_regardless(byte, ctx));
        }
    }

    fn interrupting(&self) -> bool {
        self.lines.level(LINE.gsi)
    }
}

#[test]
fn laws_hold() {
    check_laws(|| Serial::new(BASE, LINE));
}

#[test]
fn power_on_registers_are_as_measured() {
    let mut bench = bench();
    let registers: Vec<u8> = (0..8).map(|register| bench.get(register)).collect();
    assert_eq!(registers, [0x00, 0x00, 0x01, 0x00, 0x08, 0x60, 0xb0, 0x00]);
    bench.set(reg::LCR, reg::DLAB);
    assert_eq!([bench.get(0), bench.get(1)], [12, 0], "9600 baud");
}

#[test]
fn wide_read_is_four_registers() {
    let mut bench = bench();
    bench.set(reg::LCR, 0x03);
    bench.set(reg::IER, 0x05);
    assert_eq!(bench.read(Space::Port, u64::from(BASE), Width::Dword), 0x0301_0500);
    bench.write(Space::Port, u64::from(BASE) + 6, Width::Word, 0x5aff);
    assert_eq!(bench.get(7), 0x5a, "the high byte of a word at MSR is SCR");
}

/// Every byte at every register that stores: which bits come back.
#[rstest]
#[case::ier(1, 0x0f)]
#[case::lcr(3, 0xff)]
#[case::mcr(4, 0x1f)]
#[case::scr(7, 0xff)]
fn stored_register_keeps_its_bits(#[case] register: u64, #[case] mask: u8) {
    for value in 0..=u8::MAX {
        let mut bench = bench();
        bench.set(register, value);
        assert_eq!(bench.get(register), value & mask, "{value:#x}");
    }
}

#[test]
fn status_registers_ignore_writes() {
    let mut bench = bench();
    bench.set(reg::LSR, 0);
    bench.set(reg::MSR, 0xff);
    assert_eq!([bench.get(reg::LSR), bench.get(reg::MSR)], [0x60, 0xb0]);
}

#[test]
fn divisor_latch_hides_data_and_ier() {
    let mut bench = bench();
    bench.set(reg::IER, 0x01);
    bench.set(reg::LCR, reg::DLAB);
    bench.set(0, 0x34);
    bench.set(1, 0x12);
    assert_eq!([bench.get(0), bench.get(1)], [0x34, 0x12]);
    bench.set(reg::LCR, 0);
    assert_eq!([bench.get(0), bench.get(1)], [0, 0x01], "nothing sent, IER as before");
    assert_eq!(bench.take_events(), []);
}

#[test]
fn sent_byte_is_out_at_once() {
    let mut bench = bench();
    bench.set(reg::THR, b'A');
    assert_eq!(bench.take_events(), [Event::SerialOut(b'A')]);
    assert_eq!(bench.get(reg::LSR), 0x60);
}

#[test]
fn thre_interrupt_comes_with_the_ier_edge_and_goes_with_iir() {
    let mut bench = bench();
    bench.set(reg::IER, reg::ETBEI);
    assert!(bench.interrupting());
    assert_eq!(bench.get(reg::IIR), reg::THR_EMPTY);
    assert!(!bench.interrupting(), "reading IIR takes it back");
    bench.set(reg::IER, reg::ETBEI | reg::ERBFI);
    assert_eq!(bench.get(reg::IIR), reg::NO_INTERRUPT, "no edge of ETBEI");
    bench.set(reg::IER, 0);
    bench.set(reg::IER, reg::ETBEI);
    assert_eq!(bench.get(reg::IIR), reg::THR_EMPTY, "a new edge");
}

#[test]
fn iir_read_with_a_more_urgent_interrupt_keeps_thre() {
    let mut bench = bench();
    bench.send(b"x");
    bench.set(reg::IER, reg::ETBEI | reg::ERBFI);
    assert_eq!(bench.get(reg::IIR), reg::RECEIVED_DATA);
    bench.get(reg::RBR);
    assert_eq!(bench.get(reg::IIR), reg::THR_EMPTY);
}

#[test]
fn thr_write_gives_a_new_interrupt_edge() {
    let mut bench = bench();
    bench.set(reg::IER, reg::ETBEI);
    bench.take_changes();
    bench.set(reg::THR, b'A');
    let edge = [false, true].map(|level| LineChange { gsi: LINE.gsi, level });
    assert_eq!(bench.take_changes(), edge);
}

#[test]
fn interrupts_are_identified_by_priority() {
    let mut bench = looped();
    bench.set(reg::FCR, reg::FIFO_ENABLE);
    for byte in 0..17 {
        bench.set(reg::THR, byte);
    }
    bench.set(reg::MCR, reg::LOOP | reg::RTS);
    bench.set(reg::IER, 0x0f);
    assert_eq!(
        bench.get(reg::IIR),
        0xc0 | reg::RECEIVER_LINE_STATUS,
        "17 characters overrun 16"
    );
    assert_eq!(bench.get(reg::LSR), 0x63);
    assert_eq!(bench.get(reg::LSR), 0x61, "reading LSR clears OE");
    assert_eq!(bench.get(reg::IIR), 0xc0 | reg::RECEIVED_DATA);
    bench.advance(Nanos::SECOND);
    assert_eq!(bench.get(reg::IIR), 0xc0 | reg::CHARACTER_TIMEOUT);
    for byte in 0..16 {
        assert_eq!(bench.get(reg::RBR), byte, "the oldest 16 were kept");
    }
    assert_eq!(bench.get(reg::IIR), 0xc0 | reg::THR_EMPTY);
    assert_eq!(bench.get(reg::IIR), 0xc0 | reg::MODEM_STATUS);
    assert_eq!(bench.get(reg::MSR), reg::CTS | reg::DCTS);
    assert_eq!(bench.get(reg::IIR), 0xc0 | reg::NO_INTERRUPT);
    assert!(!bench.interrupting());
}

#[test]
fn disabled_interrupt_is_neither_shown_nor_signalled() {
    let mut bench = looped();
    bench.send_regardless(b"lost");
    bench.set(reg::THR, 1);
    bench.set(reg::THR, 2);
    bench.set(reg::MCR, reg::LOOP | reg::DTR);
    for ier in 0..16 {
        bench.set(reg::IER, ier);
        assert_eq!(bench.interrupting(), ier != 0, "IER {ier:#x}");
    }
}

#[rstest]
#[case(0x01, 1)]
#[case(0x41, 4)]
#[case(0x81, 8)]
#[case(0xc1, 14)]
fn received_data_interrupt_comes_at_the_trigger_level(#[case] fcr: u8, #[case] level: usize) {
    let mut bench = bench();
    bench.set(reg::FCR, fcr);
    bench.set(reg::IER, reg::ERBFI);
    for count in 1..=FIFO_LENGTH {
        bench.send(&[0x55]);
        assert_eq!(bench.interrupting(), level <= count, "{count} received");
        assert_eq!(bench.get(reg::LSR), 0x61);
    }
    for left in (0..FIFO_LENGTH).rev() {
        bench.get(reg::RBR);
        assert_eq!(bench.interrupting(), level <= left, "{left} left");
    }
    assert_eq!(bench.get(reg::LSR), 0x60);
    assert_eq!(bench.get(reg::RBR), 0, "an empty FIFO reads 0");
}

#[test]
fn host_keeps_what_does_not_fit() {
    let mut bench = bench();
    assert_eq!(bench.send(b"ab"), 1, "one holding register");
    assert_eq!(bench.send(b"b"), 0);
    bench.get(reg::RBR);
    bench.set(reg::FCR, reg::FIFO_ENABLE);
    assert_eq!(bench.send(&[0; 20]), 16);
    assert_eq!(bench.send(&[0; 4]), 0);
    assert_eq!(bench.get(reg::LSR), 0x61, "no overrun");
    bench.get(reg::RBR);
    assert_eq!(bench.send(&[0; 4]), 1);
}

#[test]
fn overrun_without_fifos_replaces_the_byte() {
    let mut bench = bench();
    bench.send_regardless(b"ab");
    assert_eq!(bench.get(reg::LSR), 0x63);
    assert_eq!(bench.get(reg::RBR), b'b');
    assert_eq!(bench.get(reg::LSR), 0x60);
}

#[test]
fn flood_never_grows_the_fifo() {
    let mut bench = bench();
    bench.set(reg::FCR, reg::FIFO_ENABLE);
    bench.send_regardless(&[7; 10_000]);
    assert_eq!(bench.device.state.fifo.len(), FIFO_LENGTH);
}

#[test]
fn switching_fifos_empties_them() {
    let mut bench = bench();
    bench.send(b"x");
    bench.set(reg::FCR, reg::FIFO_ENABLE);
    assert_eq!([bench.get(reg::LSR), bench.get(reg::IIR)], [0x60, 0xc1]);
    bench.send(b"yz");
    bench.set(reg::FCR, 0);
    assert_eq!([bench.get(reg::LSR), bench.get(reg::IIR)], [0x60, 0x01]);
}

#[test]
fn receiver_fifo_reset_drops_bytes_and_timeout() {
    let mut bench = bench();
    bench.set(reg::FCR, reg::FIFO_ENABLE);
    bench.set(reg::IER, reg::ERBFI);
    bench.send(b"abc");
    bench.advance(Nanos::SECOND);
    bench.set(reg::FCR, reg::FIFO_ENABLE | reg::RCVR_FIFO_RESET);
    assert_eq!([bench.get(reg::LSR), bench.get(reg::IIR)], [0x60, 0xc1]);
    assert_eq!(bench.device.deadline(), None);
}

#[test]
fn fcr_without_bit_0_programs_nothing() {
    let mut bench = bench();
    bench.send(b"x");
    bench.set(reg::FCR, reg::RCVR_FIFO_RESET | reg::XMIT_FIFO_RESET);
    assert_eq!([bench.get(reg::LSR), bench.get(reg::RBR)], [0x61, b'x']);
}

/// Four characters of start, data, parity and stop bits (given in halves of a bit) at 115200 / divisor.
#[rstest]
#[case::power_on_5n1(0x00, 12, 14)]
#[case::fast_8n1(0x03, 1, 20)]
#[case::slow_8e2(0x1f, 384, 24)]
#[case::five_bits_one_and_a_half_stop(0x04, 2, 15)]
fn timeout_comes_after_four_characters(#[case] lcr: u8, #[case] divisor: u16, #[case] half_bits: u64) {
    let mut bench = bench();
    bench.set(reg::LCR, lcr | reg::DLAB);
    bench.set(0, divisor as u8);
    bench.set(1, (divisor >> 8) as u8);
    bench.set(reg::LCR, lcr);
    bench.set(reg::FCR, 0xc1);
    bench.set(reg::IER, reg::ERBFI);
    bench.send(b"ab");
    let wait = 2 * half_bits * u64::from(divisor) * Nanos::SECOND.0 / BAUD_BASE;
    bench.advance(Nanos(wait - 10));
    assert!(!bench.interrupting(), "{wait} ns have not passed");
    bench.advance(Nanos(10));
    assert_eq!(bench.get(reg::IIR), 0xc0 | reg::CHARACTER_TIMEOUT);
    bench.get(reg::RBR);
    assert_eq!(bench.get(reg::IIR), 0xc1, "reading a byte clears it");
    bench.advance(Nanos(wait + 10));
    assert_eq!(
        bench.get(reg::IIR),
        0xc0 | reg::CHARACTER_TIMEOUT,
        "one byte is still there"
    );
}

#[test]
fn timeout_starts_again_with_each_byte() {
    let mut bench = bench();
    bench.set(reg::FCR, 0xc1);
    bench.set(reg::IER, reg::ERBFI);
    let wait = 4 * bench.device.state.character_ns();
    for _ in 0..5 {
        bench.send(b"a");
        bench.advance(Nanos(wait - 1));
        assert!(!bench.interrupting());
    }
    bench.get(reg::RBR);
    bench.advance(Nanos(wait - 1));
    assert!(!bench.interrupting(), "reading counts too");
    bench.advance(Nanos(1));
    assert!(bench.interrupting());
}

#[test]
fn divisor_zero_still_has_a_character_time() {
    let mut bench = bench();
    bench.set(reg::LCR, reg::DLAB | 0x03);
    bench.set(0, 0);
    assert_eq!(bench.device.state.character_ns(), 10 * Nanos::SECOND.0 / 3500);
}

#[rstest]
#[case(0x10, 0x00)]
#[case(0x11, 0x20)]
#[case(0x12, 0x10)]
#[case(0x14, 0x40)]
#[case(0x18, 0x80)]
#[case(0x1f, 0xf0)]
fn loopback_wires_modem_outputs_to_inputs(#[case] mcr: u8, #[case] inputs: u8) {
    let mut bench = bench();
    bench.set(reg::MCR, mcr);
    assert_eq!(bench.get(reg::MSR) & 0xf0, inputs);
    assert_eq!(bench.get(reg::MSR), inputs, "the change bits are gone after a read");
}

/// What each step changes: entering loopback drops CTS, DSR and DCD; RI counts when it goes, not when it comes.
#[test]
fn modem_status_changes_are_noted_until_read() {
    let mut bench = bench();
    bench.set(reg::IER, reg::EDSSI);
    bench.set(reg::MCR, reg::LOOP);
    assert!(bench.interrupting());
    assert_eq!(bench.get(reg::MSR), reg::DCTS | reg::DDSR | reg::DDCD);
    assert!(!bench.interrupting());
    bench.set(reg::MCR, reg::LOOP | reg::OUT1);
    assert_eq!(bench.get(reg::MSR), reg::RI);
    bench.set(reg::MCR, reg::LOOP);
    assert_eq!(bench.get(reg::MSR), reg::TERI);
    bench.set(reg::MCR, reg::LOOP | reg::RTS);
    bench.set(reg::MCR, reg::LOOP);
    assert_eq!(bench.get(reg::MSR), reg::DCTS, "there and back is a change");
}

#[test]
fn loopback_receives_what_it_sends_and_nothing_else() {
    let mut bench = looped();
    bench.set(reg::THR, 0xa5);
    assert_eq!(bench.take_events(), []);
    assert_eq!(bench.get(reg::LSR), 0x61);
    assert_eq!(bench.get(reg::RBR), 0xa5);
    assert_eq!(bench.send(b"x"), 0, "the host waits");
    bench.send_regardless(b"x");
    assert_eq!(bench.get(reg::LSR), 0x60, "SIN is disconnected");
}

#[test]
fn reset_forgets_fifos_and_their_bytes() {
    let mut bench = bench();
    bench.set(reg::FCR, 0xc1);
    bench.set(reg::IER, 0x0f);
    bench.send(b"abc");
    bench.reset();
    assert!(!bench.interrupting());
    assert_eq!(
        [bench.get(reg::IIR), bench.get(reg::LSR), bench.get(reg::IER)],
        [0x01, 0x60, 0]
    );
    assert_eq!(bench.send(b"ab"), 1, "no FIFOs");
}
