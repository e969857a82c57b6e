use super::*;
use crate::device::laws::{Bench, check_laws};
use crate::irq::LineChange;

const LINE: Line = Line { gsi: 0, source: 0 };
const CONTROL: u16 = PORT + 3;

// Control words for counter 0, low byte then high byte.
const MODE_0: u8 = 0x30;
const MODE_1: u8 = 0x32;
const MODE_2: u8 = 0x34;
const MODE_3: u8 = 0x36;
const MODE_4: u8 = 0x38;
const MODE_5: u8 = 0x3a;

// Read-back commands for counter 0.
const READ_STATUS: u8 = 0xe2;
const READ_COUNT: u8 = 0xd2;
const READ_BOTH: u8 = 0xc2;

fn bench() -> Bench<Pit> {
    Bench::new(Pit::new(LINE))
}

impl Bench<Pit> {
    fn program(&mut self, control: u8, count: u16) {
        self.outb(CONTROL, control);
        let port = PORT + u16::from(control >> 6);
        let [low, high] = count.to_le_bytes();
        self.outb(port, low);
        self.outb(port, high);
    }

    fn status(&mut self) -> u8 {
        self.outb(CONTROL, READ_STATUS);
        self.inb(PORT)
    }

    fn count(&mut self) -> u16 {
        self.outb(CONTROL, READ_COUNT);
        u16::from_le_bytes([self.inb(PORT), self.inb(PORT)])
    }

    /// Lets time pass until just after `clocks` clocks since time 0.
    fn clock(&mut self, clocks: u64) {
        let target = nanos_up(clocks) + 1;
        self.advance(Nanos(target - self.now.0));
    }

    fn out_bit(&mut self) -> bool {
        self.status() & 0x80 != 0
    }

    /// The instants at which the line changes within `by`, and the new levels.
    fn edges(&mut self, by: Nanos) -> Vec<(u64, bool)> {
        let end = self.now + by;
        let mut edges = Vec::new();
        while let Some(deadline) = self.device.deadline().filter(|deadline| *deadline <= end) {
            self.advance(deadline - self.now);
            edges.extend(self.take_changes().into_iter().map(|change| (deadline.0, change.level)));
        }
        self.advance(end - self.now);
        edges
    }
}

#[test]
fn laws_hold() {
    check_laws(|| Pit::new(LINE));
}

#[test]
fn power_on_is_mode_3_over_all_clocks() {
    let mut bench = bench();
    assert_eq!(bench.status(), 0x86, "OUT, no access programmed, mode 3");
    assert_eq!(bench.inb(CONTROL), 0, "the control word is write-only");
    assert!(!bench.lines.level(0), "the line waits for the first transition");
    // Half of 0x10000 clocks, then the whole; rounding puts each change a nanosecond around its clock.
    let expected = [
        (nanos_down(0x8000), true),
        (nanos_down(0x8000) + 1, false),
        (nanos_down(0x1_0000) + 1, true),
    ];
    assert_eq!(bench.edges(Nanos(60_000_000)), expected);
}

#[test]
fn access_modes_choose_the_bytes() {
    for (control, writes, count) in [
        (0x10, &[0x34][..], 0x0034),
        (0x20, &[0x12][..], 0x1200),
        (0x30, &[0x34, 0x12][..], 0x1234),
    ] {
        let mut bench = bench();
        bench.outb(CONTROL, control);
        for &byte in writes {
            bench.outb(PORT, byte);
        }
        let [low, high] = u16::to_le_bytes(count);
        match control {
            0x10 => assert_eq!([bench.inb(PORT), bench.inb(PORT)], [low, low]),
            0x20 => assert_eq!([bench.inb(PORT), bench.inb(PORT)], [high, high]),
            _ => assert_eq!([bench.inb(PORT), bench.inb(PORT), bench.inb(PORT)], [low, high, low]),
        }
        bench.outb(CONTROL, 0x00);
        let first = if control == 0x20 { high } else { low };
        assert_eq!(bench.inb(PORT), first, "latched, control {control:#x}");
    }
}

#[test]
fn second_count_needs_no_control_word() {
    let mut bench = bench();
    bench.program(MODE_0, 100);
    bench.outb(PORT, 0x05);
    bench.clock(10);
    bench.outb(PORT, 0x00);
    assert_eq!(bench.count(), 5, "loaded with the second byte");
}

#[test]
fn control_word_restarts_a_half_written_count() {
    let mut bench = bench();
    bench.outb(CONTROL, MODE_0);
    bench.outb(PORT, 0x77);
    bench.program(MODE_0, 0x1234);
    assert_eq!(bench.count(), 0x1234);
}

#[test]
fn count_0_is_the_longest() {
    let mut bench = bench();
    bench.program(MODE_0, 0);
    assert_eq!(bench.count(), 0);
    bench.clock(1);
    assert_eq!(bench.count(), 0xffff);
    bench.clock(0xffff);
    assert!(!bench.out_bit());
    bench.clock(0x1_0000);
    assert!(bench.out_bit());
}

#[test]
fn latch_holds_the_count_until_both_bytes_are_read() {
    let mut bench = bench();
    bench.program(MODE_0, 0x1000);
    bench.outb(CONTROL, 0x00);
    bench.clock(0x10);
    bench.outb(CONTROL, 0x00);
    assert_eq!(
        [bench.inb(PORT), bench.inb(PORT)],
        [0x00, 0x10],
        "the first latch counts"
    );
    assert_eq!([bench.inb(PORT), bench.inb(PORT)], [0xf0, 0x0f]);
}

#[test]
fn latch_does_not_disturb_the_unlatched_byte_order() {
    let mut bench = bench();
    bench.program(MODE_0, 0x1234);
    assert_eq!(bench.inb(PORT), 0x34);
    bench.outb(CONTROL, 0x00);
    assert_eq!([bench.inb(PORT), bench.inb(PORT)], [0x34, 0x12]);
    assert_eq!(bench.inb(PORT), 0x12, "the high byte was still due");
}

#[test]
fn control_word_unlatches_the_count_and_keeps_the_status() {
    let mut bench = bench();
    bench.program(MODE_0, 0x1234);
    bench.outb(CONTROL, READ_BOTH);
    bench.program(MODE_2, 0x5678);
    assert_eq!(bench.inb(PORT), MODE_0, "status of before");
    assert_eq!([bench.inb(PORT), bench.inb(PORT)], [0x78, 0x56]);
}

#[test]
fn read_back_gives_status_before_count() {
    let mut bench = bench();
    bench.program(MODE_2, 0x1234);
    bench.outb(CONTROL, READ_BOTH);
    assert_eq!(bench.inb(PORT), MODE_2);
    assert_eq!([bench.inb(PORT), bench.inb(PORT)], [0x34, 0x12]);
}

#[test]
fn read_back_latches_every_selected_counter() {
    let mut bench = bench();
    bench.program(0x30, 0x1111);
    bench.program(0x72, 0x2222);
    bench.program(0xb4, 0x3333);
    bench.outb(CONTROL, 0xe0 | 0x0a);
    assert_eq!(bench.inb(PORT), 0x30);
    assert_eq!(
        bench.inb(PORT + 1),
        0x22,
        "counter 1 was not selected: this is its count"
    );
    assert_eq!(bench.inb(PORT + 2), 0x34);
}

#[test]
fn first_latched_status_counts() {
    let mut bench = bench();
    bench.program(MODE_0, 10);
    bench.outb(CONTROL, READ_STATUS);
    bench.clock(10);
    bench.outb(CONTROL, READ_STATUS);
    assert_eq!(bench.inb(PORT), MODE_0);
    assert_eq!(bench.status(), MODE_0 | 0x80);
}

#[test]
fn null_count_is_never_shown() {
    let mut bench = bench();
    bench.outb(CONTROL, MODE_0);
    assert_eq!(bench.status(), MODE_0);
}

#[test]
fn counters_1_and_2_count_without_a_line() {
    for control in [0x70, 0xb0] {
        let mut bench = bench();
        bench.program(control, 100);
        bench.clock(40);
        assert_eq!(bench.inb(PORT + u16::from(control >> 6)), 60, "control {control:#x}");
        bench.clock(200);
        assert_eq!(bench.take_changes(), []);
    }
}

#[test]
fn mode_0_rises_at_terminal_count_and_stays() {
    let mut bench = bench();
    bench.program(MODE_0, 100);
    assert_eq!(bench.edges(Nanos::SECOND), [(nanos_up(100), true)]);
    assert!(bench.out_bit());
    bench.program(MODE_0, 100);
    let fall = LineChange { gsi: 0, level: false };
    assert_eq!(bench.take_changes(), [fall], "a new count takes OUT down");
}

#[test]
fn mode_0_counts_on_past_terminal_count() {
    let mut bench = bench();
    bench.program(MODE_0, 2);
    bench.clock(3);
    assert_eq!(bench.count(), 0xffff);
}

#[test]
fn mode_1_is_low_up_to_terminal_count() {
    let mut bench = bench();
    bench.program(MODE_1, 100);
    assert!(!bench.lines.level(0) && !bench.out_bit());
    bench.take_changes();
    assert_eq!(bench.edges(Nanos::SECOND), [(nanos_up(100), true)]);
    assert!(bench.out_bit());
}

#[test]
fn mode_2_line_is_low_for_one_clock_each_period() {
    let mut bench = bench();
    bench.program(MODE_2, 100);
    let before = |clock| nanos_up(clock) - 1;
    let expected = [
        (before(101), true),
        (before(200), false),
        (before(201), true),
        (before(300), false),
        (before(301), true),
    ];
    assert_eq!(bench.edges(Nanos(nanos_up(302))), expected);
}

#[test]
fn mode_2_counts_from_n_to_1() {
    let mut bench = bench();
    bench.program(MODE_2, 3);
    let mut counts = vec![bench.count()];
    for clock in 1..7 {
        bench.clock(clock);
        counts.push(bench.count());
    }
    assert_eq!(counts, [3, 2, 1, 3, 2, 1, 3]);
    assert!(bench.out_bit(), "OUT shows at the first clock of each later period");
}

/// Clock 596591 falls on exactly half a second. An edge computed for that very nanosecond would see the clock after.
#[test]
fn mode_2_edge_on_a_whole_nanosecond_is_not_skipped() {
    // Clock 596591 = 10 * 59659 + 1 is a rise of the first, 596591 = 41 * 14551 a fall of the second.
    for (count, periods) in [(59_659, 11), (14_551, 42)] {
        let mut bench = bench();
        bench.program(MODE_2, count);
        let edges = bench.edges(Nanos(nanos_up(u64::from(count) * periods + 2)));
        assert_eq!(edges.len() as u64, 2 * periods - 1, "count {count}");
    }
}

#[test]
fn mode_3_halves_are_equal_or_one_clock_longer_high() {
    for (count, high) in [(100, 50), (101, 51)] {
        let mut bench = bench();
        bench.program(MODE_3, count);
        assert!(bench.lines.level(0));
        bench.take_changes();
        let edges = bench.edges(Nanos(nanos_up(2 * u64::from(count))));
        let clocks: Vec<(u64, bool)> = edges
            .iter()
            .map(|&(at, level)| (bench.device.state.counters[0].clocks(Nanos(at)), level))
            .collect();
        let count = u64::from(count);
        let expected = [(high, false), (count, true), (count + high, false), (2 * count, true)];
        assert_eq!(clocks, expected, "count {count}");
    }
}

#[test]
fn mode_3_counts_by_twos() {
    let mut bench = bench();
    bench.program(MODE_3, 6);
    let mut counts = vec![bench.count()];
    for clock in 1..7 {
        bench.clock(clock);
        counts.push(bench.count());
    }
    assert_eq!(counts, [6, 4, 2, 6, 4, 2, 6]);
}

#[test]
fn modes_4_and_5_strobe_once() {
    for control in [MODE_4, MODE_5] {
        let mut bench = bench();
        bench.program(control, 100);
        let edges = bench.edges(Nanos::SECOND);
        assert_eq!(edges.len(), 2, "control {control:#x}");
        assert_eq!(edges[0], (nanos_up(100), true));
        assert_eq!(edges[1], (nanos_up(101), false));
        assert!(!bench.out_bit());
        assert_eq!(bench.device.deadline(), None);
    }
}

#[test]
fn modes_6_and_7_count_as_2_and_3() {
    for (control, same_as) in [(0x3c, MODE_2), (0x3e, MODE_3)] {
        let (mut bench, mut model) = (bench(), bench());
        bench.program(control, 1000);
        model.program(same_as, 1000);
        assert_eq!(bench.edges(Nanos(10_000_000)), model.edges(Nanos(10_000_000)));
        assert_eq!(bench.count(), model.count());
        assert_eq!(bench.status() & 0x3f, control, "the mode reads back as written");
    }
}

#[test]
fn bcd_counts_in_decades() {
    let mut bench = bench();
    bench.program(MODE_0 | 1, 0x1000);
    bench.clock(1);
    assert_eq!(bench.count(), 0x0999);
    bench.clock(999);
    assert!(!bench.out_bit());
    bench.clock(1001);
    assert_eq!(bench.count(), 0x9999, "0 is followed by all nines");
    assert_eq!(bench.status(), 0x80 | MODE_0 | 1);
}

#[test]
fn bcd_count_0_is_ten_thousand() {
    let mut bench = bench();
    bench.program(MODE_2 | 1, 0);
    assert_eq!(bench.count(), 0);
    bench.clock(1);
    assert_eq!(bench.count(), 0x9999);
    bench.clock(9_999);
    assert_eq!(bench.count(), 0x0001);
    bench.clock(10_000);
    assert_eq!(bench.count(), 0);
}

#[test]
fn period_of_one_clock_leaves_nothing_due() {
    let mut bench = bench();
    for control in [MODE_2, MODE_3] {
        bench.program(control, 1);
        bench.advance(Nanos(5000));
        assert_eq!(bench.device.deadline(), None, "control {control:#x}");
        assert!(bench.lines.level(0));
    }
}

#[test]
fn control_word_alone_does_not_move_the_line() {
    let mut bench = bench();
    bench.program(MODE_3, 1000);
    let due = bench.device.deadline();
    bench.take_changes();
    bench.outb(CONTROL, MODE_0);
    assert_eq!((bench.take_changes(), bench.device.deadline()), (Vec::new(), due));
}

#[test]
fn late_host_loses_edges_but_neither_level_nor_phase() {
    let mut late = bench();
    late.program(MODE_2, 2);
    let mut prompt = bench();
    prompt.program(MODE_2, 2);
    late.advance_late(Nanos(100_000_000));
    prompt.advance(Nanos(100_000_000));
    assert_eq!(late.device.state(), prompt.device.state());
    assert_eq!(late.lines.level(0), prompt.lines.level(0));
    assert!(late.take_changes().len() <= TRANSITIONS_PER_TICK_MAX + 8);
}

#[test]
fn end_of_time_leaves_nothing_due() {
    let mut bench = bench();
    bench.now = Nanos(u64::MAX);
    for control in [MODE_0, MODE_1, MODE_2, MODE_3, MODE_4, MODE_5] {
        bench.program(control, 2);
        assert_eq!(bench.device.deadline(), None, "control {control:#x}");
    }
}

#[test]
fn reset_lets_go_of_the_line() {
    let mut bench = bench();
    bench.program(MODE_3, 100);
    assert!(bench.lines.level(0));
    bench.reset();
    assert!(!bench.lines.level(0));
    assert_eq!(bench.device.state(), Pit::new(LINE).state());
}
