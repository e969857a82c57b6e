//! The 8254.
//!
//! Source of what is asked: the data sheet, as far as the machine follows it. It counts by formula from the moment a
//! count is written and knows no gates; where that shows, the case says so and takes either.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{i8254 as clause, microvm};
use crate::driver::pit::{
    self, BCD, BOTH, CONTROL, COUNTER, FREQUENCY_HZ, GSI, HIGH, LATCH, LOW, NO_COUNT, NO_STATUS, NULL_COUNT, OUT,
    READ_BACK,
};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::STATUS,
    level: Level::Must,
    features: &[Feature::Pit],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(status_bits),
};

/// Virtual time can be moved and stands still otherwise.
const TIMED: Caps = Caps::CLOCK.with(Caps::FROZEN);
const TIMED_LINES: Caps = TIMED.with(Caps::LINES);
const LINES_FROZEN: Caps = Caps::FROZEN.with(Caps::LINES);

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "pit/bcd/counts-on",
        title: "With BCD set the counter goes on from 9999 after terminal count.",
        clause: &clause::BCD,
        needs: TIMED,
        body: Body::Bus(bcd_counts_on),
        ..AREA
    },
    Case {
        id: "pit/bcd/decades",
        title: "With BCD set every digit of the count is a decimal one.",
        clause: &clause::BCD,
        needs: Caps::TIME,
        body: Body::Bus(bcd_decades),
        ..AREA
    },
    Case {
        id: "pit/bcd/holds",
        title: "With BCD set a count reads back as written.",
        clause: &clause::BCD,
        needs: Caps::FROZEN,
        body: Body::Bus(bcd_holds),
        ..AREA
    },
    Case {
        id: "pit/bcd/zero-is-10000",
        title: "With BCD set a count of 0 is 10000 clocks.",
        clause: &clause::COUNT_RANGE,
        needs: TIMED,
        body: Body::Bus(bcd_zero),
        ..AREA
    },
    Case {
        id: "pit/clock/rate",
        title: "Counter 0 counts 1193182 clocks in a second.",
        clause: &microvm::PIT_CLOCK,
        needs: TIMED_LINES,
        body: Body::Bus(clock_rate),
        ..AREA
    },
    Case {
        id: "pit/control/counters-independent",
        title: "Each counter has a mode and a count of its own.",
        clause: &clause::CONTROL_WORD,
        needs: Caps::FROZEN,
        body: Body::Bus(counters_independent),
        ..AREA
    },
    Case {
        id: "pit/control/modes-6-and-7",
        title: "Modes 6 and 7 count and drive OUT as modes 2 and 3 do.",
        clause: &clause::CONTROL_WORD_MODE,
        needs: TIMED,
        body: Body::Bus(modes_6_and_7),
        ..AREA
    },
    Case {
        id: "pit/control/read-harmless",
        title: "Reading the control word's port disturbs nothing.",
        clause: &clause::CONTROL_WORD,
        body: Body::Bus(control_read),
        ..AREA
    },
    Case {
        id: "pit/control/resets-byte-order",
        title: "After a control word bytes begin with the low one, whatever was half done.",
        clause: &clause::CONTROL_WORD,
        needs: Caps::FROZEN,
        body: Body::Bus(control_byte_order),
        ..AREA
    },
    Case {
        id: "pit/count/half-written",
        title: "The first byte of a two-byte count changes nothing yet.",
        clause: &clause::WRITE,
        needs: Caps::FROZEN,
        body: Body::Bus(count_half_written),
        ..AREA
    },
    Case {
        id: "pit/count/high-byte",
        title: "With access to the high byte alone the low byte is 0.",
        clause: &clause::WRITE,
        needs: Caps::FROZEN,
        body: Body::Bus(count_high),
        ..AREA
    },
    Case {
        id: "pit/count/low-byte",
        title: "With access to the low byte alone each read gives it.",
        clause: &clause::READ,
        needs: Caps::FROZEN,
        body: Body::Bus(count_low),
        ..AREA
    },
    Case {
        id: "pit/count/new-while-running",
        title: "Whether a new count of mode 2 takes effect at once or with the next period.",
        clause: &clause::NEW_COUNT,
        level: Level::May,
        needs: Caps::FROZEN,
        body: Body::Bus(count_new),
        ..AREA
    },
    Case {
        id: "pit/count/two-bytes",
        title: "With access to both bytes the low one comes first.",
        clause: &clause::READ,
        needs: Caps::FROZEN,
        body: Body::Bus(count_two_bytes),
        ..AREA
    },
    Case {
        id: "pit/count/zero-is-65536",
        title: "A count of 0 is 65536 clocks.",
        clause: &clause::COUNT_RANGE,
        needs: TIMED,
        body: Body::Bus(count_zero),
        ..AREA
    },
    Case {
        id: "pit/counter-0/line",
        title: "OUT of counter 0 is interrupt line 0.",
        clause: &microvm::GSI_WIRING,
        needs: LINES_FROZEN,
        body: Body::Bus(line_follows),
        ..AREA
    },
    Case {
        id: "pit/counter-0/only",
        title: "Counters 1 and 2 drive no interrupt line.",
        clause: &microvm::GSI_WIRING,
        needs: TIMED_LINES,
        body: Body::Bus(line_only),
        ..AREA
    },
    Case {
        id: "pit/counter-2/counts",
        title: "Counter 2 counts, though nothing can raise its gate.",
        clause: &microvm::PIT_GATES,
        level: Level::Should,
        needs: Caps::TIME,
        body: Body::Bus(counter_2),
        ..AREA
    },
    Case {
        id: "pit/latch/control-word-ends",
        title: "A control word drops a latched count.",
        clause: &clause::LATCH,
        needs: Caps::FROZEN,
        body: Body::Bus(latch_control_word),
        ..AREA
    },
    Case {
        id: "pit/latch/count-held",
        title: "A latched count stands still while the counter goes on.",
        clause: &clause::LATCH,
        needs: TIMED,
        body: Body::Bus(latch_count_held),
        ..AREA
    },
    Case {
        id: "pit/latch/low-byte",
        title: "With access to the low byte alone one read takes the latched count.",
        clause: &clause::LATCH,
        needs: Caps::FROZEN,
        body: Body::Bus(latch_low),
        ..AREA
    },
    Case {
        id: "pit/latch/other-counters",
        title: "Latching one counter leaves the others.",
        clause: &clause::LATCH,
        needs: Caps::FROZEN,
        body: Body::Bus(latch_others),
        ..AREA
    },
    Case {
        id: "pit/latch/over-new-count",
        title: "A latched count is held over a new count.",
        clause: &clause::LATCH,
        needs: Caps::FROZEN,
        body: Body::Bus(latch_new_count),
        ..AREA
    },
    Case {
        id: "pit/latch/second-ignored",
        title: "A second latch command before the read is ignored.",
        clause: &clause::LATCH,
        needs: Caps::FROZEN,
        body: Body::Bus(latch_second),
        ..AREA
    },
    Case {
        id: "pit/mode-0/counts-on",
        title: "After terminal count the counter goes on from 65535.",
        clause: &clause::MODE_0,
        needs: TIMED,
        body: Body::Bus(mode_0_counts_on),
        ..AREA
    },
    Case {
        id: "pit/mode-0/duration",
        title: "OUT is low for as many clocks as the count says.",
        clause: &clause::MODE_0,
        needs: TIMED,
        body: Body::Bus(mode_0_duration),
        ..AREA
    },
    Case {
        id: "pit/mode-0/new-count",
        title: "A new count takes OUT down again.",
        clause: &clause::MODE_0,
        needs: Caps::TIME,
        body: Body::Bus(mode_0_new_count),
        ..AREA
    },
    Case {
        id: "pit/mode-0/starts-low",
        title: "OUT is low once mode 0 has its count.",
        clause: &clause::MODE_0,
        body: Body::Bus(mode_0_low),
        ..AREA
    },
    Case {
        id: "pit/mode-0/stays-high",
        title: "After terminal count OUT stays high.",
        clause: &clause::MODE_0,
        needs: Caps::TIME,
        body: Body::Bus(mode_0_high),
        ..AREA
    },
    Case {
        id: "pit/mode-0/wraps",
        title: "After terminal count the counter goes on through all its values, round after round.",
        clause: &clause::MODE_0,
        needs: TIMED,
        body: Body::Bus(mode_0_wraps),
        ..AREA
    },
    Case {
        id: "pit/mode-1/high-after-count",
        title: "OUT is high once the count has run out, and stays high.",
        clause: &clause::MODE_1_OUT,
        needs: Caps::TIME,
        body: Body::Bus(mode_1_out),
        ..AREA
    },
    Case {
        id: "pit/mode-1/without-gate",
        title: "Whether mode 1 counts without a rise of its gate.",
        clause: &clause::MODE_1,
        level: Level::May,
        needs: TIMED,
        body: Body::Bus(mode_1),
        ..AREA
    },
    Case {
        id: "pit/mode-2/initial-out",
        title: "Whether OUT is high or low once mode 2 has its count.",
        clause: &clause::MODE_2,
        level: Level::May,
        needs: Caps::FROZEN,
        body: Body::Bus(mode_2_out),
        ..AREA
    },
    Case {
        id: "pit/mode-2/line",
        title: "The line rises once in each period.",
        clause: &clause::MODE_2,
        needs: TIMED_LINES,
        body: Body::Bus(mode_2_line),
        ..AREA
    },
    Case {
        id: "pit/mode-2/reload",
        title: "The counter runs from N down to 1 and begins again.",
        clause: &clause::MODE_2,
        needs: TIMED,
        body: Body::Bus(mode_2_reload),
        ..AREA
    },
    Case {
        id: "pit/mode-3/by-two",
        title: "The counter goes down by two each clock.",
        clause: &clause::MODE_3,
        needs: TIMED,
        body: Body::Bus(mode_3_by_two),
        ..AREA
    },
    Case {
        id: "pit/mode-3/even-count",
        title: "OUT is high for the first half of the period and low for the second.",
        clause: &clause::MODE_3,
        needs: TIMED,
        body: Body::Bus(mode_3_even),
        ..AREA
    },
    Case {
        id: "pit/mode-3/line",
        title: "The line rises and falls once in each period.",
        clause: &clause::MODE_3,
        needs: TIMED_LINES,
        body: Body::Bus(mode_3_line),
        ..AREA
    },
    Case {
        id: "pit/mode-3/odd-count",
        title: "With an odd count OUT is high for one clock more than low.",
        clause: &clause::MODE_3,
        needs: TIMED,
        body: Body::Bus(mode_3_odd),
        ..AREA
    },
    Case {
        id: "pit/mode-3/starts-high",
        title: "OUT is high once mode 3 has its count.",
        clause: &clause::MODE_3,
        body: Body::Bus(mode_3_high),
        ..AREA
    },
    Case {
        id: "pit/mode-4/one-strobe",
        title: "The line rises once at the end of the count, and never again.",
        clause: &clause::MODE_4,
        needs: TIMED_LINES,
        body: Body::Bus(mode_4),
        ..AREA
    },
    Case {
        id: "pit/power-on/status",
        title: "At power-on all counters are in mode 3, binary, with OUT high.",
        clause: &microvm::PIT_POWER_ON,
        level: Level::Should,
        needs: Caps::FROZEN,
        body: Body::Bus(power_on_status),
        ..AREA
    },
    Case {
        id: "pit/power-on/ticks",
        title: "Counter 0 ticks 18.2 times a second before anybody programs it.",
        clause: &microvm::PIT_POWER_ON,
        level: Level::Should,
        needs: TIMED_LINES,
        body: Body::Bus(power_on_ticks),
        ..AREA
    },
    Case {
        id: "pit/read-back/counts-of-many",
        title: "One command latches the counts of all three counters.",
        clause: &clause::READ_BACK,
        needs: Caps::FROZEN,
        body: Body::Bus(read_back_many),
        ..AREA
    },
    Case {
        id: "pit/read-back/status-alone",
        title: "Latching the status alone leaves the count running.",
        clause: &clause::READ_BACK,
        needs: TIMED,
        body: Body::Bus(status_alone),
        ..AREA
    },
    Case {
        id: "pit/read-back/status-first",
        title: "With both latched the status is read before the count.",
        clause: &clause::READ_BACK,
        needs: Caps::FROZEN,
        body: Body::Bus(read_back_both),
        ..AREA
    },
    Case {
        id: "pit/read-back/status-held",
        title: "A latched status stands still, and a second command before the read is ignored.",
        clause: &clause::READ_BACK,
        needs: Caps::TIME,
        body: Body::Bus(read_back_status_held),
        ..AREA
    },
    Case {
        id: "pit/read-back/unselected",
        title: "Counters that the command does not name are not latched.",
        clause: &clause::READ_BACK,
        needs: Caps::FROZEN,
        body: Body::Bus(read_back_unselected),
        ..AREA
    },
    Case {
        id: "pit/reset/power-on-state",
        title: "A system reset puts the counters back to mode 3.",
        clause: &microvm::PIT_POWER_ON,
        level: Level::Should,
        needs: Caps::RESET.with(Caps::FROZEN),
        body: Body::Bus(reset),
        ..AREA
    },
    Case {
        id: "pit/status/control-bits",
        title: "The status byte gives access, mode and BCD as programmed.",
        clause: &clause::STATUS,
        body: Body::Bus(status_bits),
        ..AREA
    },
    Case {
        id: "pit/status/modes-6-and-7",
        title: "Whether the don't-care bit of modes 6 and 7 reads back.",
        clause: &clause::STATUS,
        level: Level::May,
        body: Body::Bus(status_modes),
        ..AREA
    },
    Case {
        id: "pit/status/null-count",
        title: "Whether NULL COUNT shows a control word without its count.",
        clause: &clause::NULL_COUNT,
        level: Level::May,
        body: Body::Bus(null_count),
        ..AREA
    },
];

fn status_bits(p: &mut Probe<'_>) -> Result<(), Stop> {
    for counter in 0..3 {
        for access in [LOW, HIGH, BOTH] {
            for mode in 0..6 {
                for bcd in [0, BCD] {
                    let word = pit::control(counter, access, mode, bcd);
                    p.point(format!("control word {word:#x}"));
                    p.outb(CONTROL, word)?;
                    pit::write(p, counter, access, 0x1010)?;
                    let status = pit::status(p, counter)?;
                    p.check_eq("access, mode and BCD", status & 0x3f, word & 0x3f);
                }
            }
        }
    }
    Ok(())
}

fn status_modes(p: &mut Probe<'_>) -> Result<(), Stop> {
    for mode in [6, 7] {
        p.point(format!("mode {mode}"));
        pit::program(p, 1, BOTH, mode, 0x1000)?;
        let got = pit::status(p, 1)? >> 1 & 7;
        let known = got == mode || got == mode & 3;
        p.check("mode", known, got.to_string(), format!("{} or {mode}", mode & 3));
        p.note(format!("mode {mode} reads back as {got}"));
    }
    Ok(())
}

fn null_count(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(CONTROL, pit::control(1, BOTH, 3, 0))?;
    let before = pit::status(p, 1)?;
    p.require_eq("access, mode and BCD", before & 0x3f, 0x36u8)?;
    pit::write(p, 1, BOTH, 0x1000)?;
    let after = pit::status(p, 1)?;
    p.check_eq("NULL COUNT once there is a count", after & NULL_COUNT, 0u8);
    let shown = before & NULL_COUNT != 0;
    p.note(if shown {
        "NULL COUNT is shown"
    } else {
        "NULL COUNT is always 0"
    });
    Ok(())
}

fn control_read(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 2, 0x1234)?;
    p.outb(CONTROL, READ_BACK | NO_COUNT | 2 << 1)?;
    for _ in 0..4 {
        p.inb(CONTROL)?;
    }
    let status = p.inb(COUNTER + 1)?;
    p.check_eq("status latched before", status & 0x3f, 0x34u8);
    let again = pit::status(p, 1)?;
    p.check_eq("status latched after", again & 0x3f, 0x34u8);
    Ok(())
}

fn counters_independent(p: &mut Probe<'_>) -> Result<(), Stop> {
    let programs = [(0, 2, 0x1111u16), (1, 0, 0x2222), (2, 3, 0x3334)];
    for (counter, mode, count) in programs {
        pit::program(p, counter, BOTH, mode, count)?;
    }
    for (counter, mode, want) in programs {
        p.point(format!("counter {counter}"));
        let status = pit::status(p, counter)?;
        p.check_eq("mode", status >> 1 & 7, mode);
        let got = pit::count(p, counter)?;
        p.check_eq("count", got, want);
    }
    Ok(())
}

fn control_byte_order(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 2, 0x1234)?;
    let low = p.inb(COUNTER + 1)?;
    p.check_eq("low byte", low, 0x34u8);
    pit::program(p, 1, BOTH, 2, 0x5678)?;
    let got = pit::read_word(p, 1)?;
    p.check_eq("count after half a read", got, 0x5678u16);
    p.outb(COUNTER + 1, 0xee)?;
    pit::program(p, 1, BOTH, 2, 0x4321)?;
    let got = pit::read_word(p, 1)?;
    p.check_eq("count after half a write", got, 0x4321u16);
    Ok(())
}

fn count_two_bytes(p: &mut Probe<'_>) -> Result<(), Stop> {
    for count in [0x0001u16, 0x00ff, 0x0100, 0x1234, 0xfffe] {
        p.point(format!("{count:#x}"));
        pit::program(p, 1, BOTH, 0, count)?;
        for read in 1..=2 {
            let got = pit::read_word(p, 1)?;
            p.check_eq(&format!("count, read {read}"), got, count);
        }
        let latched = pit::count(p, 1)?;
        p.check_eq("count latched", latched, count);
    }
    Ok(())
}

fn count_low(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 0, 0x7777)?;
    pit::program(p, 1, LOW, 0, 0x34)?;
    for read in 1..=3 {
        p.point(format!("read {read}"));
        let got = p.inb(COUNTER + 1)?;
        p.check_eq("low byte", got, 0x34u8);
    }
    Ok(())
}

fn count_high(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 0, 0x7777)?;
    pit::program(p, 1, HIGH, 0, 0x1200)?;
    for read in 1..=3 {
        p.point(format!("read {read}"));
        let got = p.inb(COUNTER + 1)?;
        p.check_eq("high byte", got, 0x12u8);
    }
    // The count goes on as it is until another is written, seen through both bytes.
    p.outb(CONTROL, pit::control(1, BOTH, 0, 0))?;
    let got = pit::read_word(p, 1)?;
    p.check_eq("both bytes", got, 0x1200u16);
    Ok(())
}

fn count_half_written(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 2, 0x1234)?;
    p.outb(COUNTER + 1, 0x55)?;
    let got = pit::count(p, 1)?;
    p.check_eq("count after the low byte", got, 0x1234u16);
    p.outb(COUNTER + 1, 0x66)?;
    let status = pit::status(p, 1)?;
    p.check_eq("access, mode and BCD", status & 0x3f, 0x34u8);
    Ok(())
}

/// The data sheet has the current period end first; a count by formula starts over.
fn count_new(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 2, 0x1234)?;
    let first = pit::count(p, 1)?;
    p.require_eq("first count", first, 0x1234u16)?;
    pit::write(p, 1, BOTH, 0x4321)?;
    let got = pit::count(p, 1)?;
    let known = [0x1234, 0x4321].contains(&got);
    p.check("count", known, format!("{got:#x}"), "0x1234 or 0x4321");
    let at_once = got == 0x4321;
    p.note(if at_once {
        "takes effect at once"
    } else {
        "waits for the next period"
    });
    Ok(())
}

fn count_zero(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_low_for(p, 0, 0, 65_536)
}

fn bcd_zero(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_low_for(p, BCD, 0, 10_000)
}

/// Mode 0 on counter 1: OUT is low up to a clock before `clocks`, high a clock after.
fn check_low_for(p: &mut Probe<'_>, bcd: u8, count: u16, clocks: u64) -> Result<(), Stop> {
    p.outb(CONTROL, pit::control(1, BOTH, 0, bcd))?;
    pit::write(p, 1, BOTH, count)?;
    p.advance(pit::clocks_ns(clocks - 1))?;
    let before = pit::out(p, 1)?;
    p.check_eq("OUT a clock before", before, false);
    p.advance(pit::clocks_ns(2))?;
    let after = pit::out(p, 1)?;
    p.check_eq("OUT a clock after", after, true);
    Ok(())
}

fn mode_0_duration(p: &mut Probe<'_>) -> Result<(), Stop> {
    for count in [2u16, 100, 1193, 40_000] {
        p.point(format!("count {count}"));
        check_low_for(p, 0, count, u64::from(count))?;
    }
    Ok(())
}

fn mode_0_low(p: &mut Probe<'_>) -> Result<(), Stop> {
    for counter in 0..3 {
        p.point(format!("counter {counter}"));
        let status = soon(p, false, |p| {
            pit::program(p, counter, BOTH, 0, 0)?;
            pit::status(p, counter)
        })?;
        p.check_eq("OUT, access and mode", status & (OUT | 0x3f), 0x30u8);
    }
    Ok(())
}

/// The status right after a counter was programmed. Where time passes by itself OUT may have changed already, so the
/// counter is programmed again until OUT is as wanted, [`TRIES_MAX`] times at most.
fn soon(p: &mut Probe<'_>, out: bool, mut status: impl FnMut(&mut Probe<'_>) -> Result<u8, Stop>) -> Result<u8, Stop> {
    let mut got = status(p)?;
    for _ in 1..TRIES_MAX {
        if (got & OUT != 0) == out {
            break;
        }
        got = status(p)?;
    }
    Ok(got)
}

/// Programs counter 1 in mode 0 with a short count and lets it run out.
fn run_out(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 0, 100)?;
    let rose = pit::look_until(p, 100_000, |p| pit::out(p, 1))?;
    p.require_eq("OUT rose", rose, true)
}

fn mode_0_high(p: &mut Probe<'_>) -> Result<(), Stop> {
    let low = soon(p, false, |p| {
        pit::program(p, 1, BOTH, 0, 0)?;
        pit::status(p, 1)
    })?;
    p.check_eq("OUT with a long count", low & OUT, 0u8);
    run_out(p)?;
    for look in 1..=4 {
        p.point(format!("look {look}"));
        let got = pit::out(p, 1)?;
        p.check_eq("OUT", got, true);
    }
    Ok(())
}

fn mode_0_new_count(p: &mut Probe<'_>) -> Result<(), Stop> {
    let status = soon(p, false, |p| {
        run_out(p)?;
        pit::write(p, 1, BOTH, 0)?;
        pit::status(p, 1)
    })?;
    p.check_eq("OUT after a new count, access and mode", status & (OUT | 0x3f), 0x30u8);
    Ok(())
}

fn mode_0_counts_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 0, 10)?;
    p.advance(pit::clocks_ns(4) + HALF_CLOCK_NS)?;
    let before = pit::count(p, 1)?;
    p.check_eq("count after 4 clocks", before, 6u16);
    p.advance(pit::clocks_ns(10))?;
    let after = pit::count(p, 1)?;
    p.check_eq("count after 14 clocks", after, 0xfffcu16);
    Ok(())
}

/// The gate that would start it never rises on this machine.
fn mode_1(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 1, 1000)?;
    let status = pit::status(p, 1)?;
    p.require_eq("access, mode and BCD", status & 0x3f, 0x32u8)?;
    let first = pit::count(p, 1)?;
    p.advance(pit::clocks_ns(100))?;
    let second = pit::count(p, 1)?;
    p.note(if first == second {
        "does not count"
    } else {
        "counts from the write on"
    });
    Ok(())
}

/// Whether the count is taken for a trigger or none comes: a pulse, if there is one, is over once a longer count that
/// was written later has run out.
fn mode_1_out(p: &mut Probe<'_>) -> Result<(), Stop> {
    for count in [2, 0x1001] {
        p.point(format!("count {count:#x}"));
        pit::program(p, 0, BOTH, 1, count)?;
        pit::program(p, 1, BOTH, 0, count + 1)?;
        let passed = pit::look_until(p, 1_000_000, |p| pit::out(p, 1))?;
        p.require_eq("OUT of counter 1 rose", passed, true)?;
        for look in 1..=4 {
            let status = pit::status(p, 0)?;
            p.check_eq("access, mode and BCD", status & 0x3f, 0x32u8);
            p.check_eq(&format!("OUT of counter 0, look {look}"), status & OUT, OUT);
        }
    }
    Ok(())
}

/// High in the data sheet; machines that count by formula show the pulse high instead.
fn mode_2_out(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 2, 0x1000)?;
    let status = pit::status(p, 1)?;
    p.require_eq("access, mode and BCD", status & 0x3f, 0x34u8)?;
    p.note(if status & OUT != 0 { "OUT is high" } else { "OUT is low" });
    Ok(())
}

fn mode_2_reload(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 2, 10)?;
    p.advance(HALF_CLOCK_NS)?;
    for clock in 0..25u64 {
        p.point(format!("clock {clock}"));
        let got = pit::count(p, 1)?;
        p.check_eq("count", got, 10 - clock % 10);
        let now = pit::clocks_ns(clock);
        p.advance(pit::clocks_ns(clock + 1) - now)?;
    }
    Ok(())
}

fn mode_3_by_two(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 3, 20)?;
    p.advance(HALF_CLOCK_NS)?;
    for clock in 0..25u64 {
        p.point(format!("clock {clock}"));
        let got = pit::count(p, 1)?;
        p.check_eq("count", got, 20 - 2 * clock % 20);
        let now = pit::clocks_ns(clock);
        p.advance(pit::clocks_ns(clock + 1) - now)?;
    }
    Ok(())
}

fn mode_3_even(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_square(p, 10, 5)
}

fn mode_3_odd(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_square(p, 7, 4)
}

/// OUT of counter 1 in mode 3, looked at in the middle of each clock of three periods.
fn check_square(p: &mut Probe<'_>, count: u16, high_clocks: u64) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 3, count)?;
    p.advance(HALF_CLOCK_NS)?;
    for clock in 0..3 * u64::from(count) {
        p.point(format!("clock {clock}"));
        let got = pit::out(p, 1)?;
        p.check_eq("OUT", got, clock % u64::from(count) < high_clocks);
        let now = pit::clocks_ns(clock);
        p.advance(pit::clocks_ns(clock + 1) - now)?;
    }
    Ok(())
}

fn mode_3_high(p: &mut Probe<'_>) -> Result<(), Stop> {
    for counter in 0..3 {
        p.point(format!("counter {counter}"));
        let status = soon(p, true, |p| {
            pit::program(p, counter, BOTH, 3, 0)?;
            pit::status(p, counter)
        })?;
        p.check_eq("OUT, access and mode", status & (OUT | 0x3f), 0xb6u8);
    }
    Ok(())
}

/// Rises and falls of line 0 since the last call.
fn line_changes(p: &mut Probe<'_>) -> Result<(u64, u64), Stop> {
    let events = p.line_events()?;
    let count = |level| {
        events
            .iter()
            .filter(|event| (event.gsi, event.level) == (GSI, level))
            .count() as u64
    };
    Ok((count(true), count(false)))
}

fn line_follows(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 0, BOTH, 0, 0)?;
    p.line_events()?;
    for round in 1..=3 {
        p.point(format!("round {round}"));
        pit::program(p, 0, BOTH, 3, 0)?;
        let (rises, falls) = line_changes(p)?;
        p.check_eq("rises as OUT rises", rises, 1u64);
        p.check_eq("falls as OUT rises", falls, 0u64);
        pit::program(p, 0, BOTH, 0, 0)?;
        let (rises, falls) = line_changes(p)?;
        p.check_eq("rises as OUT falls", rises, 0u64);
        p.check_eq("falls as OUT falls", falls, 1u64);
    }
    Ok(())
}

fn line_only(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 0, BOTH, 0, 0)?;
    pit::program(p, 1, BOTH, 3, 1000)?;
    pit::program(p, 2, BOTH, 3, 1000)?;
    p.line_events()?;
    p.advance(pit::clocks_ns(10_000))?;
    let events = p.line_events()?;
    p.check_eq("changes of lines", events.len() as u64, 0u64);
    // And line 0 rises when counter 0 has run out.
    p.advance(pit::clocks_ns(60_000))?;
    let (rises, _) = line_changes(p)?;
    p.check_eq("rises of line 0 afterwards", rises, 1u64);
    Ok(())
}

fn mode_2_line(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 0, BOTH, 2, 1000)?;
    p.advance(pit::clocks_ns(500))?;
    p.line_events()?;
    for period in 1..=10 {
        p.point(format!("period {period}"));
        p.advance(pit::clocks_ns(1000))?;
        let (rises, _) = line_changes(p)?;
        p.check_eq("rises", rises, 1u64);
    }
    Ok(())
}

fn mode_3_line(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 0, BOTH, 3, 1000)?;
    p.advance(pit::clocks_ns(250))?;
    p.line_events()?;
    for half in 1..=20u64 {
        p.point(format!("half period {half}"));
        p.advance(pit::clocks_ns(500))?;
        let (rises, falls) = line_changes(p)?;
        p.check_eq("rises", rises, (half + 1) % 2);
        p.check_eq("falls", falls, half % 2);
    }
    Ok(())
}

fn mode_4(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 0, BOTH, 4, 1000)?;
    p.line_events()?;
    p.advance(pit::clocks_ns(998))?;
    let (early, _) = line_changes(p)?;
    p.check_eq("rises before the count has run out", early, 0u64);
    p.advance(pit::clocks_ns(5))?;
    let (rises, falls) = line_changes(p)?;
    p.check_eq("rises at its end", rises, 1u64);
    p.check_eq("falls at its end", falls, 1u64);
    p.advance(pit::clocks_ns(200_000))?;
    let (later, _) = line_changes(p)?;
    p.check_eq("rises afterwards", later, 0u64);
    Ok(())
}

/// 1193 periods of 1000 clocks end in a second, and the next is far from its end.
fn clock_rate(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 0, BOTH, 2, 1000)?;
    p.line_events()?;
    let mut rises = 0;
    for _ in 0..10 {
        p.advance(100_000_000)?;
        rises += line_changes(p)?.0;
    }
    p.check_eq("rises in a second", rises, FREQUENCY_HZ / 1000);
    Ok(())
}

fn counter_2(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 2, BOTH, 0, 100)?;
    let rose = pit::look_until(p, 100_000, |p| pit::out(p, 2))?;
    p.check_eq("OUT rose", rose, true);
    let status = pit::status(p, 2)?;
    p.check_eq("access, mode and BCD", status & 0x3f, 0x30u8);
    Ok(())
}

fn latch_new_count(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 2, 0x1234)?;
    latch(p, 1)?;
    pit::write(p, 1, BOTH, 0x5678)?;
    let got = pit::read_word(p, 1)?;
    p.check_eq("count latched before", got, 0x1234u16);
    Ok(())
}

/// The new count makes the second latch, were it taken, another value.
fn latch_second(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 0, 0x1234)?;
    latch(p, 1)?;
    pit::write(p, 1, BOTH, 0x5678)?;
    latch(p, 1)?;
    let got = pit::read_word(p, 1)?;
    p.check_eq("count latched first", got, 0x1234u16);
    let live = pit::read_word(p, 1)?;
    p.check_eq("count afterwards", live, 0x5678u16);
    Ok(())
}

fn latch_control_word(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 2, 0x1234)?;
    latch(p, 1)?;
    pit::program(p, 1, BOTH, 2, 0x5678)?;
    let got = pit::read_word(p, 1)?;
    p.check_eq("count once reprogrammed", got, 0x5678u16);
    Ok(())
}

fn latch_low(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, LOW, 0, 0x34)?;
    latch(p, 1)?;
    pit::write(p, 1, LOW, 0x78)?;
    let first = p.inb(COUNTER + 1)?;
    p.check_eq("first read", first, 0x34u8);
    let second = p.inb(COUNTER + 1)?;
    p.check_eq("second read", second, 0x78u8);
    Ok(())
}

fn latch_others(p: &mut Probe<'_>) -> Result<(), Stop> {
    for counter in 0..3 {
        pit::program(p, counter, BOTH, 0, 0x1111)?;
    }
    latch(p, 1)?;
    for counter in 0..3 {
        pit::write(p, counter, BOTH, 0x2222)?;
    }
    for (counter, want) in [(0, 0x2222u16), (1, 0x1111), (2, 0x2222)] {
        p.point(format!("counter {counter}"));
        let got = pit::read_word(p, counter)?;
        p.check_eq("count", got, want);
    }
    Ok(())
}

fn latch_count_held(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 0, 1000)?;
    p.advance(pit::clocks_ns(100) + HALF_CLOCK_NS)?;
    latch(p, 1)?;
    p.advance(pit::clocks_ns(100))?;
    let held = pit::read_word(p, 1)?;
    p.check_eq("count latched after 100 clocks", held, 900u16);
    let live = pit::read_word(p, 1)?;
    p.check_eq("count after 200 clocks", live, 800u16);
    Ok(())
}

fn read_back_many(p: &mut Probe<'_>) -> Result<(), Stop> {
    let counts = [(0, 0x1111u16), (1, 0x2222), (2, 0x3333)];
    for (counter, count) in counts {
        pit::program(p, counter, BOTH, 0, count)?;
    }
    p.outb(CONTROL, READ_BACK | NO_STATUS | ALL)?;
    for (counter, _) in counts {
        pit::write(p, counter, BOTH, 0x4444)?;
    }
    for (counter, want) in counts {
        p.point(format!("counter {counter}"));
        let got = pit::read_word(p, counter)?;
        p.check_eq("count latched", got, want);
    }
    Ok(())
}

fn read_back_both(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 2, 0x1234)?;
    p.outb(CONTROL, READ_BACK | 2 << 1)?;
    let status = p.inb(COUNTER + 1)?;
    p.check_eq("first read: the status", status & 0x3f, 0x34u8);
    let got = pit::read_word(p, 1)?;
    p.check_eq("next reads: the count", got, 0x1234u16);
    Ok(())
}

/// Counter 2 is the clock: it was started after the status was latched, so when its OUT is high that of counter 1 is.
fn read_back_status_held(p: &mut Probe<'_>) -> Result<(), Stop> {
    let held = soon(p, false, |p| {
        pit::program(p, 1, BOTH, 0, 0)?;
        p.outb(CONTROL, READ_BACK | NO_COUNT | 2 << 1)?;
        pit::program(p, 2, BOTH, 0, 0)?;
        let passed = pit::look_until(p, 1_000_000, |p| pit::out(p, 2))?;
        p.require_eq("OUT of counter 2 rose", passed, true)?;
        p.outb(CONTROL, READ_BACK | NO_COUNT | 2 << 1)?;
        p.inb(COUNTER + 1)
    })?;
    p.check_eq(
        "status latched first: OUT, access and mode",
        held & (OUT | 0x3f),
        0x30u8,
    );
    let live = pit::status(p, 1)?;
    p.check_eq("status now", live & (OUT | 0x3f), 0xb0u8);
    Ok(())
}

fn read_back_unselected(p: &mut Probe<'_>) -> Result<(), Stop> {
    for counter in 0..3 {
        pit::program(p, counter, BOTH, 0, 0x1111)?;
    }
    p.outb(CONTROL, READ_BACK | 2 << 1)?;
    for counter in [0, 2] {
        p.point(format!("counter {counter}"));
        pit::write(p, counter, BOTH, 0x2222)?;
        let got = pit::read_word(p, counter)?;
        p.check_eq("count, not latched", got, 0x2222u16);
    }
    Ok(())
}

fn bcd_holds(p: &mut Probe<'_>) -> Result<(), Stop> {
    for count in [0x0001u16, 0x0999, 0x1234, 0x9999] {
        p.point(format!("{count:#x}"));
        p.outb(CONTROL, pit::control(1, BOTH, 0, BCD))?;
        pit::write(p, 1, BOTH, count)?;
        let got = pit::read_word(p, 1)?;
        p.check_eq("count", got, count);
    }
    Ok(())
}

fn bcd_counts_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(CONTROL, pit::control(1, BOTH, 0, BCD))?;
    pit::write(p, 1, BOTH, 0x0010)?;
    p.advance(pit::clocks_ns(4) + HALF_CLOCK_NS)?;
    let before = pit::count(p, 1)?;
    p.check_eq("count after 4 clocks", before, 0x0006u16);
    p.advance(pit::clocks_ns(10))?;
    let after = pit::count(p, 1)?;
    p.check_eq("count after 14 clocks", after, 0x9996u16);
    p.advance(pit::clocks_ns(10_000))?;
    let around = pit::count(p, 1)?;
    p.check_eq("count 10000 clocks later", around, 0x9996u16);
    Ok(())
}

fn bcd_decades(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(CONTROL, pit::control(1, BOTH, 2, BCD))?;
    pit::write(p, 1, BOTH, 0x1000)?;
    let mut counts = Vec::new();
    pit::look_until(p, pit::clocks_ns(7), |p| {
        counts.push(pit::count(p, 1)?);
        Ok(SAMPLES <= counts.len())
    })?;
    for count in &counts {
        let decimal = (0..4).all(|digit| count >> (4 * digit) & 0xf <= 9);
        p.check("count", decimal, format!("{count:#x}"), "decimal digits");
    }
    let moved = counts.iter().any(|count| *count != counts[0]);
    p.check("counts", moved, "all the same", "different ones");
    Ok(())
}

fn power_on_status(p: &mut Probe<'_>) -> Result<(), Stop> {
    if !p.facts().reserved.is_empty() {
        return Err(Stop::Unavailable("a guest has run before the first access".to_owned()));
    }
    check_power_on(p)
}

fn check_power_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    for counter in 0..3 {
        p.point(format!("counter {counter}"));
        let status = pit::status(p, counter)?;
        p.check_eq("OUT, mode and BCD", status & 0x8f, 0x86u8);
    }
    Ok(())
}

fn power_on_ticks(p: &mut Probe<'_>) -> Result<(), Stop> {
    let period_ns = pit::clocks_ns(65_536);
    // The line stays low up to its first change.
    p.advance(period_ns + period_ns / 4)?;
    p.line_events()?;
    for tick in 1..=10 {
        p.point(format!("tick {tick}"));
        p.advance(period_ns)?;
        let (rises, _) = line_changes(p)?;
        p.check_eq("rises", rises, 1u64);
    }
    Ok(())
}

fn reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    for counter in 0..3 {
        pit::program(p, counter, BOTH, 0, 0)?;
        let status = pit::status(p, counter)?;
        p.require_eq("status before the reset", status & 0xbf, 0x30u8)?;
    }
    p.reset()?;
    check_power_on(p)
}

fn latch(p: &mut Probe<'_>, counter: u8) -> Result<(), Stop> {
    p.outb(CONTROL, pit::control(counter, LATCH, 0, 0))
}

/// Half of a clock of 838 ns: looks in the middle of a clock are safe from rounding.
const HALF_CLOCK_NS: u64 = 419;
/// Counters of the read-back command: all.
const ALL: u8 = 0x0e;
/// Tries of [`soon`].
const TRIES_MAX: usize = 8;
/// Counts looked at for decimal digits.
const SAMPLES: usize = 64;

/// Two counters that were programmed at the same instant, one by each name of the mode.
fn modes_6_and_7(p: &mut Probe<'_>) -> Result<(), Stop> {
    for mode in [6, 7] {
        pit::program(p, 0, BOTH, mode, 20)?;
        pit::program(p, 1, BOTH, mode & 3, 20)?;
        let start = pit::count(p, 0)?;
        p.require_eq("count at the start", start, 20u16)?;
        p.advance(HALF_CLOCK_NS)?;
        for clock in 0..45 {
            p.point(format!("mode {mode}, clock {clock}"));
            let (got, want) = (pit::count(p, 0)?, pit::count(p, 1)?);
            p.check_eq("count", got, want);
            let (got, want) = (pit::out(p, 0)?, pit::out(p, 1)?);
            p.check_eq("OUT", got, want);
            let now = pit::clocks_ns(clock);
            p.advance(pit::clocks_ns(clock + 1) - now)?;
        }
    }
    Ok(())
}

fn mode_0_wraps(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 0, 10)?;
    p.advance(HALF_CLOCK_NS)?;
    let mut now = 0;
    for clocks in [9, 11, 65_545, 65_547, 131_081, 131_083, 1_000_000] {
        p.point(format!("{clocks} clocks"));
        p.advance(pit::clocks_ns(clocks) - pit::clocks_ns(now))?;
        now = clocks;
        let got = pit::count(p, 1)?;
        p.check_eq("count", got, 10_u16.wrapping_sub(clocks as u16));
        let out = pit::out(p, 1)?;
        p.check_eq("OUT", out, 10 <= clocks);
    }
    Ok(())
}

fn status_alone(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 1, BOTH, 2, 0x1000)?;
    p.advance(HALF_CLOCK_NS)?;
    let status = pit::status(p, 1)?;
    p.check_eq("access, mode and BCD", status & 0x3f, 0x34u8);
    p.advance(pit::clocks_ns(100))?;
    let got = pit::read_word(p, 1)?;
    p.check_eq("count 100 clocks later", got, 0x1000u16 - 100);
    Ok(())
}
