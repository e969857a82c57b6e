use super::*;
use crate::device::laws::{Bench, check_laws};

fn bench() -> Bench<Ioapic> {
    Bench::new(Ioapic::new())
}

impl Bench<Ioapic> {
    fn load(&mut self, offset: u64, width: Width) -> u64 {
        self.read(Space::Mmio, BASE + offset, width)
    }

    fn store(&mut self, offset: u64, width: Width, value: u64) {
        self.write(Space::Mmio, BASE + offset, width, value);
    }

    fn register(&mut self, select: u8) -> u64 {
        self.store(reg::IOREGSEL, Width::Dword, u64::from(select));
        self.load(reg::IOWIN, Width::Dword)
    }

    fn set_register(&mut self, select: u8, value: u64) {
        self.store(reg::IOREGSEL, Width::Dword, u64::from(select));
        self.store(reg::IOWIN, Width::Dword, value);
    }

    /// Writes the low half of a redirection entry.
    fn program(&mut self, pin: u8, low: u64) {
        self.set_register(reg::IOREDTBL + 2 * pin, low);
    }

    fn entry(&mut self, pin: u8) -> u64 {
        self.register(reg::IOREDTBL + 2 * pin)
    }

    fn line(&mut self, gsi: u8, level: bool) {
        self.with(|ioapic, ctx| ioapic.line(gsi, level, ctx));
    }

    fn eoi(&mut self, vector: u8) {
        self.with(|ioapic, ctx| ioapic.eoi(vector, ctx));
    }

    fn messages(&mut self) -> Vec<u32> {
        let take = |event| match event {
            Event::Msi { data, .. } => data,
            other => panic!("an IOAPIC sends messages only, not {other:?}"),
        };
        self.take_events().into_iter().map(take).collect()
    }
}

/// No message.
const NONE: [u32; 0] = [];
const MASKED: u64 = reg::INTERRUPT_MASK;
const LEVEL: u64 = reg::TRIGGER_MODE;
/// What a level-triggered Fixed message says beside its vector.
const LEVEL_ASSERT: u32 = 0xc000;

#[test]
fn laws_hold() {
    check_laws(Ioapic::new);
}

#[test]
fn power_on_registers() {
    let mut bench = bench();
    assert_eq!(bench.register(0x00), 0);
    assert_eq!(bench.register(0x01), 0x0017_0020, "24 pins, version 0x20");
    assert_eq!(bench.register(0x02), 0);
    for select in 0x03..0x10 {
        assert_eq!(bench.register(select), 0, "nothing at {select:#x}");
    }
    for pin in 0..24 {
        assert_eq!(bench.register(0x10 + 2 * pin), 0x0001_0000, "pin {pin} is masked");
        assert_eq!(bench.register(0x11 + 2 * pin), 0);
    }
    for select in 0x40..=0xff {
        assert_eq!(bench.register(select), 0, "nothing at {select:#x}");
    }
}

#[test]
fn every_register_keeps_only_its_writable_bits() {
    let mut bench = bench();
    for select in 0..=0xff {
        bench.set_register(select, 0xffff_ffff);
        let expected = match select {
            0x00 | 0x02 => 0x0f00_0000,
            0x01 => 0x0017_0020,
            0x10..=0x3f if select % 2 == 0 => 0xffff_afff,
            0x10..=0x3f => 0xffff_ffff,
            _ => 0,
        };
        assert_eq!(bench.register(select), expected, "register {select:#x}");
    }
    assert_eq!(bench.messages(), NONE, "all entries are masked");
}

#[test]
fn arbitration_register_write_is_ignored() {
    let mut bench = bench();
    bench.set_register(0x00, 0x0500_0000);
    bench.set_register(0x02, 0x0a00_0000);
    assert_eq!((bench.register(0x00), bench.register(0x02)), (0x0500_0000, 0x0500_0000));
}

#[test]
fn select_takes_any_width_and_keeps_8_bits() {
    let mut bench = bench();
    bench.store(0, Width::Byte, 0x12);
    assert_eq!(bench.load(0, Width::Dword), 0x12);
    bench.store(0, Width::Word, 0x3413);
    assert_eq!(bench.load(0, Width::Word), 0x13);
    bench.store(0, Width::Dword, 0xffff_ff14);
    assert_eq!(bench.load(0, Width::Byte), 0x14);
}

#[test]
fn window_answers_double_words_only() {
    let mut bench = bench();
    bench.store(0, Width::Byte, 1);
    assert_eq!(bench.load(0x10, Width::Byte), 0);
    assert_eq!(bench.load(0x10, Width::Word), 0);
    bench.store(0, Width::Byte, 0x10);
    bench.store(0x10, Width::Word, 0x31);
    bench.store(0x10, Width::Byte, 0x31);
    assert_eq!(bench.load(0x10, Width::Dword), 0x0001_0000);
}

#[test]
fn registers_repeat_every_256_bytes() {
    let mut bench = bench();
    for alias in (0..LENGTH).step_by(0x100) {
        bench.store(alias, Width::Dword, 1);
        assert_eq!(bench.load(alias + 0x10, Width::Dword), 0x0017_0020, "alias {alias:#x}");
    }
    let registers = [reg::IOREGSEL, reg::IOWIN];
    for offset in (0..0x100).step_by(4).filter(|offset| !registers.contains(offset)) {
        assert_eq!(
            bench.load(offset, Width::Dword),
            0,
            "offset {offset:#x}, EOI is write-only"
        );
    }
}

#[test]
fn edge_rise_sends_one_message_and_sets_no_remote_irr() {
    let mut bench = bench();
    bench.set_register(0x10 + 2 * 4 + 1, 0x0300_0000);
    bench.program(4, 0x31);
    bench.line(4, true);
    let expected = Event::Msi {
        address: 0xfee0_3000,
        data: 0x31,
    };
    assert_eq!(bench.events, [expected]);
    bench.line(4, true);
    bench.line(4, false);
    assert_eq!(
        bench.messages(),
        [0x31],
        "neither a repeated level nor a fall is an edge"
    );
    assert_eq!(bench.entry(4), 0x31);
    bench.line(4, true);
    assert_eq!(bench.messages(), [0x31], "no EOI is needed between edges");
}

#[test]
fn masked_edge_is_dropped() {
    let mut bench = bench();
    bench.program(4, MASKED | 0x31);
    bench.line(4, true);
    bench.program(4, 0x31);
    assert_eq!(bench.messages(), NONE);
}

#[test]
fn gsi_0_arrives_on_pin_2() {
    let mut bench = bench();
    bench.program(0, 0x30);
    bench.program(2, 0x32);
    bench.line(0, true);
    assert_eq!(bench.messages(), [0x32]);
}

#[test]
fn message_carries_destination_and_modes() {
    let mut bench = bench();
    bench.set_register(0x10 + 2 * 9 + 1, 0xa5ff_ffff);
    bench.program(9, 0x0940);
    bench.line(9, true);
    let expected = Event::Msi {
        address: 0xfeea_5004,
        data: 0x0140,
    };
    assert_eq!(bench.events, [expected], "lowest priority, logical destination 0xa5");
}

#[test]
fn level_interrupt_waits_for_its_eoi() {
    let mut bench = bench();
    bench.program(5, LEVEL | 0x35);
    bench.line(5, true);
    assert_eq!(bench.messages(), [LEVEL_ASSERT | 0x35]);
    assert_eq!(bench.entry(5), LEVEL | reg::REMOTE_IRR | 0x35);
    bench.line(5, false);
    bench.line(5, true);
    assert_eq!(bench.messages(), NONE, "in service");
    bench.eoi(0x34);
    assert_eq!(bench.messages(), NONE, "another vector's EOI");
    bench.eoi(0x35);
    assert_eq!(bench.messages(), [LEVEL_ASSERT | 0x35], "still asserted at EOI");
    bench.line(5, false);
    bench.store(0x40, Width::Dword, 0x35);
    assert_eq!(bench.messages(), NONE);
    assert_eq!(
        bench.entry(5),
        LEVEL | 0x35,
        "the EOI register ends it as the broadcast does"
    );
}

#[test]
fn eoi_register_takes_the_low_byte_of_a_double_word() {
    let mut bench = bench();
    bench.program(5, LEVEL | 0x35);
    bench.line(5, true);
    bench.store(0x40, Width::Byte, 0x35);
    bench.store(0x40, Width::Word, 0x35);
    assert_eq!(bench.entry(5), LEVEL | reg::REMOTE_IRR | 0x35);
    bench.line(5, false);
    bench.store(0x40, Width::Dword, 0xffff_ff35);
    assert_eq!(bench.entry(5), LEVEL | 0x35);
}

#[test]
fn eoi_ends_every_pin_with_the_vector() {
    let mut bench = bench();
    for pin in [6, 7] {
        bench.program(pin, LEVEL | 0x50);
        bench.line(pin, true);
    }
    assert_eq!(bench.messages().len(), 2);
    bench.line(7, false);
    bench.eoi(0x50);
    assert_eq!(bench.messages(), [LEVEL_ASSERT | 0x50]);
    assert_eq!(bench.entry(6), LEVEL | reg::REMOTE_IRR | 0x50);
    assert_eq!(bench.entry(7), LEVEL | 0x50);
}

#[test]
fn masked_level_is_delivered_when_unmasked() {
    let mut bench = bench();
    bench.program(5, MASKED | LEVEL | 0x35);
    bench.line(5, true);
    assert_eq!(bench.messages(), NONE);
    bench.program(5, LEVEL | 0x35);
    assert_eq!(bench.messages(), [LEVEL_ASSERT | 0x35]);
    bench.program(5, MASKED | LEVEL | 0x35);
    bench.eoi(0x35);
    assert_eq!(bench.entry(5), MASKED | LEVEL | 0x35, "a masked pin's EOI counts");
    assert_eq!(bench.messages(), NONE);
}

#[test]
fn masked_level_that_fell_is_forgotten() {
    let mut bench = bench();
    bench.program(5, MASKED | LEVEL | 0x35);
    bench.line(5, true);
    bench.line(5, false);
    bench.program(5, LEVEL | 0x35);
    assert_eq!(bench.messages(), NONE);
}

#[test]
fn edge_mode_clears_remote_irr() {
    let mut bench = bench();
    bench.program(5, LEVEL | 0x35);
    bench.line(5, true);
    bench.program(5, MASKED | 0x35);
    assert_eq!(bench.entry(5), MASKED | 0x35);
}

#[test]
fn pin_that_is_high_interrupts_when_it_turns_level_triggered() {
    let mut bench = bench();
    bench.line(5, true);
    bench.program(5, 0x35);
    assert_eq!(bench.messages(), NONE);
    bench.program(5, LEVEL | 0x35);
    assert_eq!(bench.messages(), [LEVEL_ASSERT | 0x35]);
}

#[test]
fn only_fixed_and_lowest_priority_can_be_level_triggered() {
    for mode in 0..8 {
        let mut bench = bench();
        bench.program(5, LEVEL | mode << 8 | 0x35);
        bench.line(5, true);
        let trigger = if mode < 2 { LEVEL_ASSERT } else { 0 };
        let data = trigger | (mode as u32) << 8 | 0x35;
        assert_eq!(bench.messages(), [data], "delivery mode {mode}");
        assert_eq!(bench.entry(5) & reg::REMOTE_IRR != 0, mode < 2, "delivery mode {mode}");
        assert_eq!(is_extint(data), mode == 7);
    }
}

#[test]
fn level_storm_pauses_after_many_redeliveries() {
    let mut bench = bench();
    bench.program(5, LEVEL | 0x35);
    bench.line(5, true);
    for _ in 1..REDELIVERIES_MAX {
        bench.eoi(0x35);
    }
    assert_eq!(bench.messages().len(), REDELIVERIES_MAX as usize);
    bench.now = Nanos(77);
    bench.eoi(0x35);
    assert_eq!(bench.messages(), NONE);
    let resume = Nanos(77) + STORM_PAUSE;
    assert_eq!(bench.device.deadline(), Some(resume));
    bench.advance(STORM_PAUSE);
    assert_eq!(bench.messages(), [LEVEL_ASSERT | 0x35]);
    assert_eq!(bench.device.deadline(), None);
}

#[test]
fn routes_cover_masked_pins_too() {
    let mut bench = bench();
    bench.set_register(0x11 + 2 * 16, 0x0200_0000);
    bench.program(16, MASKED | LEVEL | 0x60);
    let routes = bench.device.routes();
    let expected = Route {
        address: 0xfee0_2000,
        data: LEVEL_ASSERT | 0x60,
        masked: true,
    };
    assert_eq!(routes[16], expected);
    let idle = Route {
        address: 0xfee0_0000,
        data: 0,
        masked: true,
    };
    assert_eq!(routes[0], idle);
}

#[test]
fn reset_is_power_on() {
    let mut bench = bench();
    bench.set_register(0x00, 0x0700_0000);
    bench.program(5, LEVEL | 0x35);
    bench.line(5, true);
    bench.reset();
    assert_eq!(bench.device.state(), Ioapic::new().state());
}
