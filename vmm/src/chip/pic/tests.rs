use super::*;
use crate::device::laws::{Bench, check_laws};

const MASTER: u16 = MASTER_PORT;
const SLAVE: u16 = SLAVE_PORT;

// ICW1 with IC4, cascaded; ICW4 for an 8086.
const ICW1: u8 = 0x11;
const ICW4: u8 = 0x01;
const ICW4_AEOI: u8 = ICW4 | reg::ICW4_AEOI;
const ICW4_SFNM: u8 = ICW4 | reg::ICW4_SFNM;

// OCW2 and OCW3.
const EOI: u8 = 0x20;
const SPECIFIC_EOI: u8 = 0x60;
const READ_IRR: u8 = 0x0a;
const READ_ISR: u8 = 0x0b;
const POLL: u8 = 0x0c;
const SET_SPECIAL_MASK: u8 = 0x68;
const CLEAR_SPECIAL_MASK: u8 = 0x48;

/// Both controllers, not initialised.
fn bench() -> Bench<Pic> {
    Bench::new(Pic::new())
}

/// Both controllers as a PC's firmware sets them up, vectors from 0x20 and 0x28, nothing masked.
fn ready() -> Bench<Pic> {
    let mut bench = bench();
    bench.initialize(MASTER, 0x20, ICW4);
    bench.initialize(SLAVE, 0x28, ICW4);
    bench
}

impl Bench<Pic> {
    fn initialize(&mut self, port: u16, vector_base: u8, icw4: u8) {
        self.outb(port, ICW1);
        self.outb(port + 1, vector_base);
        self.outb(port + 1, if port == MASTER { 0x04 } else { 0x02 });
        self.outb(port + 1, icw4);
    }

    fn line(&mut self, gsi: u8, level: bool) {
        self.with(|pic, ctx| pic.line(gsi, level, ctx));
    }

    fn pulse(&mut self, gsi: u8) {
        self.line(gsi, true);
        self.line(gsi, false);
    }

    fn acknowledge(&mut self) -> u8 {
        self.with(|pic, ctx| pic.acknowledge(ctx))
    }

    fn irr(&mut self, port: u16) -> u8 {
        self.outb(port, READ_IRR);
        self.inb(port)
    }

    fn isr(&mut self, port: u16) -> u8 {
        self.outb(port, READ_ISR);
        self.inb(port)
    }

    fn intr(&self) -> bool {
        self.device.intr()
    }
}

#[test]
fn laws_hold() {
    check_laws(Pic::new);
}

#[test]
fn power_on_registers() {
    let mut bench = bench();
    for port in [MASTER, SLAVE] {
        assert_eq!(bench.inb(port), 0, "IRR");
        assert_eq!(bench.inb(port + 1), 0, "IMR");
        assert_eq!(bench.isr(port), 0);
    }
    assert_eq!((bench.inb(ELCR_PORT), bench.inb(ELCR_PORT + 1)), (0, 0));
    bench.line(3, true);
    assert_eq!(bench.acknowledge(), 3, "vectors start at 0");
}

#[test]
fn imr_reads_back() {
    let mut bench = ready();
    for port in [MASTER + 1, SLAVE + 1] {
        for value in 0..=0xff {
            bench.outb(port, value);
            assert_eq!(bench.inb(port), value);
        }
    }
}

#[test]
fn elcr_keeps_its_wired_bits_clear() {
    let mut bench = bench();
    for value in 0..=0xff {
        bench.outb(ELCR_PORT, value);
        bench.outb(ELCR_PORT + 1, value);
        assert_eq!(bench.inb(ELCR_PORT), value & 0xf8);
        assert_eq!(bench.inb(ELCR_PORT + 1), value & 0xde);
    }
}

#[test]
fn initialisation_words_follow_icw1() {
    // (ICW1, words after it): SNGL leaves ICW3 out, IC4 = 0 leaves ICW4 out.
    for (icw1, words) in [(0x11, 3), (0x10, 2), (0x13, 2), (0x12, 1)] {
        let mut bench = bench();
        bench.outb(MASTER, icw1);
        for _ in 0..words {
            bench.outb(MASTER + 1, 0x40);
            assert_eq!(bench.inb(MASTER + 1), 0, "ICW1 {icw1:#x}: not yet OCW1");
        }
        bench.outb(MASTER + 1, 0x55);
        assert_eq!(bench.inb(MASTER + 1), 0x55, "ICW1 {icw1:#x}: OCW1 after {words} words");
        bench.line(3, true);
        assert_eq!(bench.acknowledge(), 0x43);
    }
}

#[test]
fn icw2_gives_the_upper_five_bits() {
    let mut bench = bench();
    bench.initialize(MASTER, 0x37, ICW4);
    bench.line(1, true);
    assert_eq!(bench.acknowledge(), 0x31);
}

#[test]
fn icw1_forgets_edges_masks_and_service() {
    let mut bench = ready();
    bench.line(4, true);
    bench.acknowledge();
    bench.line(3, true);
    bench.outb(MASTER + 1, 0x0f);
    bench.outb(MASTER, READ_ISR);
    bench.outb(MASTER, ICW1);
    assert_eq!(bench.inb(MASTER), 0, "IRR again, and no edge in it");
    assert_eq!(bench.isr(MASTER), 0);
    assert_eq!(bench.inb(MASTER + 1), 0);
    assert!(!bench.intr());
    bench.line(3, false);
    bench.line(3, true);
    assert_eq!(bench.irr(MASTER), 0x08, "a new rise counts");
}

#[test]
fn icw1_keeps_levels_and_the_elcr() {
    let mut bench = ready();
    bench.outb(ELCR_PORT, 0x20);
    bench.line(5, true);
    bench.outb(MASTER, ICW1);
    assert_eq!((bench.irr(MASTER), bench.inb(ELCR_PORT)), (0x20, 0x20));
}

#[test]
fn slave_request_over_the_masters_icw1_is_no_edge() {
    let mut bench = ready();
    bench.line(8, true);
    bench.initialize(MASTER, 0x20, ICW4);
    assert_eq!((bench.irr(MASTER), bench.intr()), (0, false));
    bench.initialize(SLAVE, 0x28, ICW4);
    bench.line(9, true);
    assert_eq!(bench.acknowledge(), 0x29, "after both are initialised all is well");
}

#[test]
fn ltim_is_replaced_by_the_elcr() {
    let mut bench = bench();
    bench.line(5, true);
    bench.outb(MASTER, ICW1 | 0x08);
    assert_eq!(bench.irr(MASTER), 0, "still edge-triggered");
}

#[test]
fn intr_follows_requests() {
    let mut bench = ready();
    bench.line(4, true);
    assert_eq!(bench.take_events(), [Event::Intr { level: true }]);
    assert_eq!(bench.irr(MASTER), 0x10);
    assert_eq!(bench.acknowledge(), 0x24);
    assert_eq!(bench.take_events(), [Event::Intr { level: false }]);
    assert_eq!((bench.irr(MASTER), bench.isr(MASTER)), (0, 0x10));
    bench.outb(MASTER, EOI);
    assert_eq!(bench.isr(MASTER), 0);
    assert_eq!(
        bench.take_events(),
        [],
        "the line is still high, but an edge counts once"
    );
}

#[test]
fn masked_request_waits_in_irr() {
    let mut bench = ready();
    bench.outb(MASTER + 1, 0x10);
    bench.line(4, true);
    assert_eq!((bench.irr(MASTER), bench.intr()), (0x10, false));
    bench.outb(MASTER + 1, 0);
    assert!(bench.intr());
}

#[test]
fn edge_stays_requested_when_the_line_falls() {
    let mut bench = ready();
    bench.pulse(0);
    assert_eq!(bench.acknowledge(), 0x20);
}

#[test]
fn level_is_requested_while_the_line_is_high() {
    let mut bench = ready();
    bench.outb(ELCR_PORT, 0x20);
    bench.line(5, true);
    assert_eq!(bench.acknowledge(), 0x25);
    assert_eq!(bench.irr(MASTER), 0x20, "INTA does not clear it");
    assert!(!bench.intr(), "in service");
    bench.outb(MASTER, EOI);
    assert!(bench.intr(), "again, as the line is still high");
    bench.line(5, false);
    assert_eq!((bench.irr(MASTER), bench.intr()), (0, false));
}

#[test]
fn elcr_write_takes_effect_at_once() {
    let mut bench = ready();
    bench.pulse(5);
    bench.line(6, true);
    bench.outb(MASTER + 1, 0xff);
    bench.outb(ELCR_PORT, 0xe0);
    assert_eq!(bench.irr(MASTER), 0x40, "a remembered edge is none, a high line is one");
    bench.outb(ELCR_PORT, 0);
    assert_eq!(bench.irr(MASTER), 0, "a high line is no edge");
}

#[test]
fn higher_priority_interrupts_service_and_lower_waits() {
    let mut bench = ready();
    bench.line(4, true);
    bench.acknowledge();
    bench.line(6, true);
    assert!(!bench.intr());
    bench.line(1, true);
    assert_eq!(bench.acknowledge(), 0x21);
    assert_eq!(bench.isr(MASTER), 0x12);
    bench.outb(MASTER, EOI);
    assert_eq!(bench.isr(MASTER), 0x10, "a non-specific EOI ends the highest");
    assert!(!bench.intr());
    bench.outb(MASTER, EOI);
    assert_eq!(bench.acknowledge(), 0x26);
}

#[test]
fn simultaneous_requests_go_by_priority() {
    let mut bench = ready();
    for gsi in [7, 3, 5, 0] {
        bench.line(gsi, true);
    }
    let mut vectors = Vec::new();
    while bench.intr() {
        vectors.push(bench.acknowledge());
        bench.outb(MASTER, EOI);
    }
    assert_eq!(vectors, [0x20, 0x23, 0x25, 0x27]);
}

#[test]
fn specific_eoi_ends_the_named_level() {
    let mut bench = ready();
    for gsi in [5, 3] {
        bench.line(gsi, true);
        bench.acknowledge();
    }
    bench.outb(MASTER, SPECIFIC_EOI | 5);
    assert_eq!(bench.isr(MASTER), 0x08);
}

#[test]
fn slave_request_comes_through_the_cascade() {
    let mut bench = ready();
    bench.line(8, true);
    assert_eq!((bench.irr(MASTER), bench.irr(SLAVE)), (0x04, 0x01));
    assert_eq!(bench.acknowledge(), 0x28);
    assert_eq!((bench.isr(MASTER), bench.isr(SLAVE)), (0x04, 0x01));
    bench.line(3, true);
    assert!(!bench.intr(), "IR2 ranks above IR3");
    bench.outb(SLAVE, EOI);
    bench.outb(MASTER, EOI);
    assert_eq!(bench.acknowledge(), 0x23);
}

#[test]
fn slave_request_waits_for_both_eois_unless_nested() {
    for (icw4, nested) in [(ICW4, false), (ICW4_SFNM, true)] {
        let mut bench = ready();
        bench.initialize(MASTER, 0x20, icw4);
        bench.line(12, true);
        bench.acknowledge();
        bench.line(8, true);
        assert_eq!(bench.intr(), nested, "ICW4 {icw4:#x}: a higher slave input");
        bench.line(3, true);
        assert_eq!(bench.intr(), nested, "ICW4 {icw4:#x}: IR3 is below IR2 in any case");
        if nested {
            assert_eq!(bench.acknowledge(), 0x28);
            bench.line(14, true);
            assert!(!bench.intr(), "the slave holds back what is lower");
        }
    }
}

#[test]
fn default_ir7_answers_when_the_request_is_gone() {
    let mut bench = ready();
    bench.line(4, true);
    bench.outb(MASTER + 1, 0x10);
    assert_eq!(bench.acknowledge(), 0x27);
    assert_eq!(bench.isr(MASTER), 0, "nothing entered service");
    bench.outb(MASTER + 1, 0);
    assert_eq!(bench.acknowledge(), 0x24);
}

#[test]
fn default_ir15_leaves_ir2_in_service() {
    let mut bench = ready();
    bench.line(8, true);
    bench.outb(SLAVE + 1, 0x01);
    assert_eq!(bench.acknowledge(), 0x2f);
    assert_eq!((bench.isr(MASTER), bench.isr(SLAVE)), (0x04, 0));
}

#[test]
fn automatic_eoi_leaves_nothing_in_service() {
    let mut bench = bench();
    bench.initialize(MASTER, 0x20, ICW4_AEOI);
    bench.pulse(4);
    bench.pulse(5);
    assert_eq!((bench.acknowledge(), bench.isr(MASTER)), (0x24, 0));
    assert_eq!(bench.acknowledge(), 0x25);
}

#[test]
fn automatic_eoi_slave_gives_one_edge_for_each_request() {
    let mut bench = bench();
    bench.initialize(MASTER, 0x20, ICW4_AEOI);
    bench.initialize(SLAVE, 0x28, ICW4_AEOI);
    bench.pulse(9);
    bench.pulse(10);
    assert_eq!((bench.acknowledge(), bench.acknowledge()), (0x29, 0x2a));
    assert!(!bench.intr());
}

#[test]
fn rotation_makes_the_served_level_the_lowest() {
    let mut bench = ready();
    bench.line(4, true);
    bench.acknowledge();
    bench.outb(MASTER, 0xa0);
    assert_eq!(bench.isr(MASTER), 0);
    for gsi in [3, 5] {
        bench.pulse(gsi);
    }
    assert_eq!(bench.acknowledge(), 0x25, "5 is now the highest, 4 the lowest");
}

#[test]
fn rotation_without_service_changes_nothing() {
    let mut bench = ready();
    bench.outb(MASTER, 0xa0);
    assert_eq!(bench.device.state(), ready().device.state());
}

#[test]
fn rotation_in_automatic_eoi_can_be_switched() {
    for (command, second) in [(0x80, 0x25), (0x00, 0x23)] {
        let mut bench = bench();
        bench.initialize(MASTER, 0x20, ICW4_AEOI);
        bench.outb(MASTER, 0x80);
        bench.outb(MASTER, command);
        bench.pulse(4);
        bench.acknowledge();
        bench.pulse(3);
        bench.pulse(5);
        assert_eq!(bench.acknowledge(), second, "command {command:#x}");
    }
}

#[test]
fn priorities_can_be_set_and_rotated_on_a_specific_eoi() {
    let mut bench = ready();
    bench.outb(MASTER, 0xc0 | 5);
    bench.pulse(0);
    bench.pulse(6);
    assert_eq!(bench.acknowledge(), 0x26, "6 follows the lowest");
    bench.outb(MASTER, 0xe0 | 6);
    assert_eq!(bench.isr(MASTER), 0);
    bench.pulse(6);
    assert_eq!(bench.acknowledge(), 0x20, "7, 0, 1 .. rank above 6");
}

#[test]
fn no_operation_does_nothing() {
    let mut bench = ready();
    bench.line(4, true);
    bench.acknowledge();
    bench.outb(MASTER, 0x40);
    assert_eq!(bench.isr(MASTER), 0x10);
}

#[test]
fn special_mask_lets_lower_priorities_through() {
    let mut bench = ready();
    bench.line(4, true);
    bench.acknowledge();
    bench.line(6, true);
    bench.outb(MASTER + 1, 0x10);
    assert!(!bench.intr());
    bench.outb(MASTER, SET_SPECIAL_MASK);
    assert!(bench.intr());
    bench.outb(MASTER, CLEAR_SPECIAL_MASK);
    assert!(!bench.intr());
    bench.outb(MASTER, SET_SPECIAL_MASK & !reg::OCW3_ESMM);
    assert!(!bench.intr(), "without ESMM, SMM is a don't care");
}

#[test]
fn non_specific_eoi_skips_masked_levels_in_special_mask_mode() {
    let mut bench = ready();
    bench.line(4, true);
    bench.acknowledge();
    bench.outb(MASTER + 1, 0x10);
    bench.outb(MASTER, SET_SPECIAL_MASK);
    bench.line(6, true);
    bench.acknowledge();
    bench.outb(MASTER, EOI);
    assert_eq!(bench.isr(MASTER), 0x10, "level 6 ended, not the masked 4");
    bench.outb(MASTER, EOI);
    assert_eq!(bench.isr(MASTER), 0x10);
}

#[test]
fn poll_acknowledges_without_a_vector() {
    for port in [MASTER, MASTER + 1] {
        let mut bench = ready();
        bench.line(4, true);
        bench.outb(MASTER, POLL);
        assert_eq!(bench.inb(port), 0x84, "either port answers");
        assert_eq!(bench.isr(MASTER), 0x10);
        assert!(!bench.intr());
        bench.outb(MASTER, POLL);
        assert_eq!(bench.inb(port), 0, "nothing waits");
        assert_eq!(bench.inb(MASTER + 1), 0, "a poll is good for one read");
    }
}

#[test]
fn polled_slave_leaves_the_master_its_edge() {
    let mut bench = ready();
    bench.line(9, true);
    bench.outb(SLAVE, POLL);
    assert_eq!(bench.inb(SLAVE), 0x81);
    assert_eq!(bench.irr(MASTER), 0x04);
    assert_eq!(bench.acknowledge(), 0x2f);
}

#[test]
fn gsi_2_and_above_15_are_not_connected() {
    let mut bench = ready();
    for gsi in (16..24).chain([2]) {
        assert!(!bench.device.inputs().contains(&gsi));
        bench.line(gsi, true);
    }
    assert_eq!((bench.irr(MASTER), bench.irr(SLAVE)), (0, 0));
}

#[test]
fn reset_lowers_int() {
    let mut bench = ready();
    bench.line(4, true);
    bench.take_events();
    bench.reset();
    assert_eq!(bench.take_events(), [Event::Intr { level: false }]);
    assert_eq!(bench.device.state(), Pic::new().state());
}
