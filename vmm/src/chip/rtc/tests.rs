use rstest::rstest;

use super::*;
use crate::device::Space;
use crate::device::laws::{Bench, check_laws_keeping};
use crate::units::Width;

const LINE: Line = Line { gsi: 8, source: 0 };
/// 2020-02-28T23:59:50, a Friday.
const START: i64 = 1_582_934_390;
/// One cycle of 32768 Hz, rounded up.
const CYCLE_NS: u64 = 30_518;

fn rtc(start_seconds: i64) -> Rtc {
    Rtc::new(RtcConfig {
        line: LINE,
        start_seconds,
        presets: vec![(0x15, 0x80), (0x16, 0x02)],
    })
}

fn bench() -> Bench<Rtc> {
    Bench::new(rtc(START))
}

impl Bench<Rtc> {
    fn get(&mut self, index: u8) -> u8 {
        self.outb(0x70, index);
        self.inb(0x71)
    }

    fn set(&mut self, index: u8, value: u8) {
        self.outb(0x70, index);
        self.outb(0x71, value);
    }

    /// Century, year, month, day, hour, minute, second.
    fn time(&mut self) -> [u8; 7] {
        [0x32, 9, 8, 7, 4, 2, 0].map(|index| self.get(index))
    }

    fn interrupting(&self) -> bool {
        self.lines.level(LINE.gsi)
    }

    fn wait_seconds(&mut self, seconds: u64) {
        self.advance(Nanos(seconds * SECOND_NS));
    }
}

#[test]
fn laws_hold() {
    // A reset leaves memory, the time and the index; of the registers only flags and enables go.
    let kept = ["index", "cmos", "clock", "divider", "register_a", "register_b"];
    check_laws_keeping(|| rtc(START), &kept);
}

#[test]
fn index_port_reads_ones_and_masks_bit_7() {
    let mut bench = bench();
    assert_eq!(bench.inb(0x70), 0xff);
    assert_eq!(bench.get(0x80 | 0x15), 0x80);
    assert_eq!(bench.read(Space::Port, 0x70, Width::Word), 0x80ff);
    bench.write(Space::Port, 0x70, Width::Word, 0x5a16);
    assert_eq!(bench.inb(0x71), 0x5a, "a word is index, then data");
}

#[test]
fn power_on_registers_are_as_measured() {
    let mut bench = bench();
    assert_eq!(bench.inb(0x71), 0x50, "the index starts at 0");
    assert_eq!(
        [0x0a, 0x0b, 0x0c, 0x0d, 0x0f].map(|index| bench.get(index)),
        [0x26, 0x02, 0, 0x80, 0]
    );
    assert_eq!(bench.time(), [0x20, 0x20, 0x02, 0x28, 0x23, 0x59, 0x50]);
    assert_eq!(bench.get(6), 6, "Friday");
}

#[test]
fn plain_byte_holds_any_value() {
    let mut bench = bench();
    let plain = || (0x0e..0x80).filter(|index| ![0x32, 0x37].contains(index));
    for index in plain() {
        bench.set(index, !index);
    }
    bench.reset();
    for index in plain() {
        let want = if index == 0x0f { 0 } else { !index };
        assert_eq!(bench.get(index), want, "index {index:#x} after a reset");
    }
}

#[test]
fn century_alias_turns_into_the_century() {
    let mut bench = bench();
    bench.set(0x0b, 0x82);
    bench.set(0x37, 0x19);
    assert_eq!(bench.device.state.index, 0x32);
    assert_eq!(bench.get(0x32), 0x19);
}

#[test]
fn registers_c_and_d_ignore_writes() {
    let mut bench = bench();
    bench.set(0x0c, 0xff);
    bench.set(0x0d, 0);
    assert_eq!([bench.get(0x0c), bench.get(0x0d)], [0, 0x80]);
    bench.set(0x0a, 0xff);
    assert_eq!(bench.get(0x0a), 0x7f, "UIP is read-only");
}

#[test]
fn clock_carries_through_a_leap_day() {
    let mut bench = bench();
    bench.wait_seconds(10);
    assert_eq!(bench.time(), [0x20, 0x20, 0x02, 0x29, 0, 0, 0]);
    assert_eq!(bench.get(6), 7, "Saturday");
    bench.wait_seconds(86_400);
    assert_eq!(bench.time(), [0x20, 0x20, 0x03, 0x01, 0, 0, 0]);
}

#[rstest]
#[case::century_without_leap_day(4_107_542_399, [0x21, 0x00, 0x03, 0x01, 0, 0, 0])]
#[case::year_2038(0x7fff_ffff, [0x20, 0x38, 0x01, 0x19, 0x03, 0x14, 0x08])]
#[case::year_10000(253_402_300_799, [0xa0, 0x00, 0x01, 0x01, 0, 0, 0])]
#[case::before_1970(-1, [0x19, 0x70, 0x01, 0x01, 0, 0, 0])]
fn second_after_is(#[case] start: i64, #[case] want: [u8; 7]) {
    let mut bench = Bench::new(rtc(start));
    bench.wait_seconds(1);
    assert_eq!(bench.time(), want);
}

#[rstest]
#[case::end_of_time(i64::MAX)]
#[case::beginning_of_time(i64::MIN)]
fn absurd_start_does_not_overflow(#[case] start: i64) {
    let mut bench = Bench::new(rtc(start));
    bench.set(0x0b, 0x72);
    for index in [1, 3, 5] {
        bench.set(index, 0xff);
    }
    bench.now = Nanos(u64::MAX - 2 * SECOND_NS);
    bench.time();
    bench.get(0x0c);
    bench.advance(Nanos(2 * SECOND_NS));
    bench.time();
}

#[rstest]
#[case::midnight(0, 0x12, 0x0c)]
#[case::morning(1, 0x01, 0x01)]
#[case::noon(12, 0x92, 0x8c)]
#[case::evening(23, 0x91, 0x8b)]
fn twelve_hour_mode_shows_pm_in_bit_7(#[case] hour: i64, #[case] bcd: u8, #[case] binary: u8) {
    let mut bench = Bench::new(rtc(hour * 3600));
    bench.set(0x0b, 0x00);
    assert_eq!(bench.get(4), bcd);
    bench.set(0x0b, 0x04);
    assert_eq!(bench.get(4), binary);
    // And back: what it shows is also what sets it.
    bench.set(4, binary);
    bench.set(0x0b, 0x06);
    assert_eq!(i64::from(bench.get(4)), hour);
}

#[test]
fn set_freezes_the_time_and_clearing_it_starts_from_the_bytes() {
    let mut bench = bench();
    bench.advance(Nanos(300_000_000));
    bench.set(0x0b, 0x82);
    bench.wait_seconds(100);
    assert_eq!(bench.time(), [0x20, 0x20, 0x02, 0x28, 0x23, 0x59, 0x50]);
    for (index, value) in [
        (0x32, 0x19),
        (9, 0x99),
        (8, 0x12),
        (7, 0x31),
        (4, 0x23),
        (2, 0x59),
        (0, 0x59),
    ] {
        bench.set(index, value);
    }
    bench.set(0x0b, 0x02);
    bench.advance(Nanos(699_999_999));
    assert_eq!(bench.time(), [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59]);
    bench.advance(Nanos(1));
    assert_eq!(
        bench.time(),
        [0x20, 0x00, 0x01, 0x01, 0, 0, 0],
        "the fraction of the second went on"
    );
    assert_eq!(bench.get(6), 7, "2000-01-01 was a Saturday");
}

#[test]
fn set_clears_uie_and_inhibits_updates() {
    let mut bench = bench();
    bench.set(0x0b, 0x92);
    assert_eq!(bench.get(0x0b), 0x82);
    bench.advance(Nanos(SECOND_NS - 1));
    assert_eq!(bench.get(0x0a), 0x26, "no UIP");
    bench.wait_seconds(3);
    assert_eq!(bench.get(0x0c) & 0x30, 0, "no update ended, so no alarm either");
}

#[test]
fn bytes_are_read_in_the_format_they_were_written_in() {
    let mut bench = bench();
    bench.set(0x0b, 0x82);
    bench.set(2, 0x45);
    bench.set(0x0b, 0x06);
    assert_eq!(bench.get(2), 45);
}

#[rstest]
#[case::second_61(0, 0x61, [0x20, 0x20, 0x02, 0x29, 0x00, 0x00, 0x01])]
#[case::month_13(8, 0x13, [0x20, 0x21, 0x01, 0x28, 0x23, 0x59, 0x50])]
#[case::day_0(7, 0x00, [0x20, 0x20, 0x01, 0x31, 0x23, 0x59, 0x50])]
#[case::february_30(7, 0x30, [0x20, 0x20, 0x03, 0x01, 0x23, 0x59, 0x50])]
fn value_out_of_range_carries(#[case] index: u8, #[case] value: u8, #[case] want: [u8; 7]) {
    let mut bench = bench();
    bench.set(index, value);
    assert_eq!(bench.time(), want);
}

#[test]
fn seconds_bit_7_is_read_only() {
    let mut bench = bench();
    bench.set(0x0b, 0x82);
    bench.set(0, 0xd9);
    assert_eq!(bench.get(0), 0x59);
}

#[test]
fn time_byte_written_while_running_restarts_the_second() {
    let mut bench = bench();
    bench.advance(Nanos(900_000_000));
    bench.set(0, 0x10);
    bench.advance(Nanos(SECOND_NS - 1));
    assert_eq!(bench.get(0), 0x10);
    bench.advance(Nanos(1));
    assert_eq!(bench.get(0), 0x11);
}

#[test]
fn divider_reset_stops_the_clock_and_the_first_update_is_half_a_second_later() {
    let mut bench = bench();
    bench.advance(Nanos(123_456_789));
    bench.set(0x0a, 0x76);
    bench.wait_seconds(100);
    assert_eq!(bench.get(0), 0x50);
    assert_eq!(bench.get(0x0c) & 0x70, 0x40, "periodic edges before the reset only");
    bench.wait_seconds(100);
    assert_eq!(bench.get(0x0c), 0, "held dividers interrupt nothing");
    bench.set(0x0a, 0x26);
    bench.advance(Nanos(HALF_SECOND_NS - 1));
    assert_eq!([bench.get(0), bench.get(0x0a)], [0x50, 0xa6]);
    bench.advance(Nanos(1));
    assert_eq!([bench.get(0), bench.get(0x0a)], [0x51, 0x26]);
}

#[rstest]
#[case::before(999_755_859, 0x26)]
#[case::first(999_755_860, 0xa6)]
#[case::last(999_999_999, 0xa6)]
#[case::after(1_000_000_000, 0x26)]
fn uip_is_set_for_244_us_before_the_update(#[case] at_ns: u64, #[case] register_a: u8) {
    let mut bench = bench();
    bench.advance(Nanos(at_ns));
    assert_eq!(bench.get(0x0a), register_a);
}

#[test]
fn update_sets_uf_even_without_uie() {
    let mut bench = bench();
    bench.advance(Nanos(SECOND_NS - 1));
    assert_eq!(bench.get(0x0c) & 0x30, 0);
    bench.advance(Nanos(1));
    assert_eq!(bench.get(0x0c) & 0xb0, 0x10);
    assert_eq!(bench.get(0x0c), 0, "reading clears");
}

#[test]
fn enabling_a_set_flag_interrupts_at_once_and_disabling_ends_it() {
    let mut bench = bench();
    bench.wait_seconds(1);
    bench.set(0x0b, 0x12);
    assert!(bench.interrupting());
    bench.set(0x0b, 0x02);
    assert!(!bench.interrupting());
    bench.set(0x0b, 0x12);
    assert_eq!(bench.get(0x0c) & 0x90, 0x90);
    assert!(!bench.interrupting(), "reading C lowers the line");
}

#[test]
fn update_interrupt_comes_every_second_while_it_is_acknowledged() {
    let mut bench = bench();
    bench.set(0x0b, 0x12);
    for second in 1..4 {
        bench.advance(Nanos(SECOND_NS - 1));
        assert!(!bench.interrupting());
        bench.advance(Nanos(1));
        assert!(bench.interrupting(), "second {second}");
        bench.get(0x0c);
    }
    bench.wait_seconds(1000);
    assert_eq!(bench.device.deadline(), None, "nothing more to say until C is read");
}

/// From 23:59:50: when the alarm comes, in seconds.
#[rstest]
#[case::midnight(0x00, 0x00, 0x00, 10)]
#[case::every_second(0xff, 0xff, 0xff, 1)]
#[case::every_minute(0xc0, 0xff, 0x05, 15)]
#[case::every_hour(0xc0, 0x00, 0x00, 10)]
#[case::every_hour_later(0xc0, 0x30, 0x00, 1810)]
#[case::any_second_of_a_minute(0x01, 0x02, 0xc0, 10 + 3720)]
#[case::now_is_tomorrow(0x23, 0x59, 0x50, 86_400)]
fn alarm_comes_when_its_bytes_match(#[case] hours: u8, #[case] minutes: u8, #[case] seconds: u8, #[case] after: u64) {
    let mut bench = bench();
    for (index, value) in [(5, hours), (3, minutes), (1, seconds)] {
        bench.set(index, value);
    }
    bench.set(0x0b, 0x22);
    bench.advance(Nanos(after * SECOND_NS - 1));
    assert!(!bench.interrupting());
    bench.advance(Nanos(1));
    assert!(bench.interrupting());
    assert_eq!(bench.get(0x0c) & 0xb0, 0xb0);
    assert_eq!(bench.get(0x0c), 0);
}

#[test]
fn alarm_that_matches_no_time_never_comes() {
    let mut bench = bench();
    bench.set(1, 0x61);
    bench.set(0x0b, 0x22);
    assert_eq!(bench.device.deadline(), None);
    bench.wait_seconds(3 * 86_400);
    assert_eq!(bench.get(0x0c) & 0x20, 0);
}

#[test]
fn alarm_in_the_afternoon_needs_its_own_pm_bit() {
    let mut bench = Bench::new(rtc(11 * 3600));
    bench.set(0x0b, 0x20);
    bench.set(5, 0x81);
    bench.wait_seconds(2 * 3600 - 1);
    assert!(!bench.interrupting());
    bench.wait_seconds(1);
    assert!(bench.interrupting(), "1 PM");
}

#[rstest]
#[case(1, 128)]
#[case(2, 256)]
#[case(3, 4)]
#[case(4, 8)]
#[case(6, 32)]
#[case(10, 512)]
#[case(15, 16_384)]
fn periodic_interrupt_comes_at_its_rate(#[case] rate: u8, #[case] cycles: u64) {
    let mut bench = bench();
    bench.set(0x0a, 0x20 | rate);
    bench.advance(Nanos(777_777_777));
    bench.get(0x0c);
    bench.set(0x0b, 0x42);
    let mut last = None;
    for _ in 0..70 {
        let due = bench.device.deadline().expect("a periodic interrupt is due");
        assert!(
            due.0 * 32_768 % SECOND_NS < 32_768,
            "{due} is a cycle of the crystal, rounded up"
        );
        if let Some(last) = last {
            let period = cycles * SECOND_NS / 32_768;
            assert!((period..period + 2).contains(&(due - last).0), "{due} after {last}");
        }
        last = Some(due);
        bench.advance(due - bench.now);
        assert!(bench.interrupting());
        assert_eq!(bench.get(0x0c) & 0xc0, 0xc0);
    }
}

#[test]
fn rate_0_has_no_periodic_flag() {
    let mut bench = bench();
    bench.set(0x0a, 0x20);
    bench.set(0x0b, 0x42);
    bench.wait_seconds(2);
    assert_eq!(bench.get(0x0c), 0x10);
}

/// MC146818A, register C: "PF is set to a 1 independent of the state of the PIE bit".
#[test]
fn periodic_flag_is_set_without_pie() {
    let mut bench = bench();
    bench.advance(Nanos(32 * CYCLE_NS));
    assert_eq!(bench.get(0x0c), 0x40, "1024 Hz, no interrupt");
    bench.advance(Nanos(32 * CYCLE_NS));
    bench.set(0x0b, 0x42);
    assert!(bench.interrupting(), "enabling a set flag interrupts");
}

#[test]
fn periodic_edges_keep_their_phase_when_pie_is_written() {
    let mut bench = bench();
    bench.set(0x0a, 0x2f);
    bench.advance(Nanos(400_000_000));
    bench.set(0x0b, 0x42);
    assert_eq!(bench.device.deadline(), Some(Nanos(500_000_000)));
}

#[test]
fn a_century_of_waiting_costs_a_handful_of_ticks() {
    let mut bench = bench();
    bench.set(0x0b, 0x72);
    bench.wait_seconds(100 * 365 * 86_400);
    assert_eq!(bench.get(0x0c), 0xf0);
}

/// MC146818A, register B: RESET clears PIE, AIE, UIE and SQWE, and nothing else there.
#[test]
fn reset_clears_enables_and_flags_and_keeps_the_time() {
    let mut bench = bench();
    bench.set(0x0a, 0x2a);
    bench.set(0x0b, 0x7a);
    bench.set(0x15, 0xa5);
    bench.wait_seconds(11);
    assert!(bench.interrupting());
    bench.reset();
    assert!(!bench.interrupting());
    assert_eq!(
        [0x15, 0x0a, 0x0b, 0x0c].map(|index| bench.get(index)),
        [0xa5, 0x2a, 0x02, 0]
    );
    assert_eq!(bench.time(), [0x20, 0x20, 0x02, 0x29, 0, 0, 0x01]);
    bench.set(0x0b, 0x82);
    bench.outb(0x70, 0x15);
    bench.reset();
    assert_eq!(bench.inb(0x71), 0xa5, "the index survives");
    assert_eq!(bench.get(0x0b), 0x82, "and so does SET");
}

#[test]
fn shutdown_status_survives_a_reset_as_resume_only() {
    let mut bench = bench();
    for (before, after) in [(0xfe, 0xfe), (0x05, 0), (0xff, 0)] {
        bench.set(0x0f, before);
        bench.reset();
        assert_eq!(bench.get(0x0f), after, "{before:#x}");
    }
}
