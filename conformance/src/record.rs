//! Recording: keeps what a subject answers to the programs of the cases, so that its behaviour can be stored, sent and
//! compared ([`crate::replay`]).
//!
//! A record is one case's accesses as they were made on one machine. What the serial port sends is not kept: the text
//! form has no line for it. Where devices work through queues on their own time, a look at a small place in RAM is a
//! wait whose length is the host's: a run of equal looks becomes one `poll` for the last answer. A case whose answers
//! depend on the host's time is left out.
//!
//! A recording is to be the same each time. What runs on the host's time or has random data is recorded [`TAKES`]
//! times: an answer that is not the same in all of them is not kept, and a record that takes another way is left out.
//! Changes of interrupt lines come when the host gets to them there; none is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::case::{Case, Setup};
use crate::layout::Layout;
use crate::machine::{Adapter, BootFailure, Caps, Depth, Facts, HostAction, LineEvent, Machine, Stop, Width};
use crate::program::{Action, Hex, MEMORY_LENGTH_MAX};
use crate::program_file::Program;
use crate::recording::{ANY, Operation, Record, Recording, Step};
use crate::replay;
use crate::runner::{Options, Unit, run_unit};
use crate::subject::{Lane, Way};
use crate::verdict::Verdict;

/// What came of recording one lane.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The records, in the order of the cases. `source` is left to the caller.
    pub recording: Recording,
    /// Answers that are others each time, and so are not kept.
    pub masked: usize,
    /// Cases or programs of which nothing was kept, with the reason.
    pub left_out: Vec<(String, String)>,
}

/// Runs cases in a lane, one after the other, and keeps their accesses. `progress` is told each case's id.
pub fn record(
    mut lane: Lane,
    cases: &[&'static Case],
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> (Lane, Outcome) {
    let tape = Arc::new(Mutex::new(Tape::default()));
    lane.ways = lane.ways.into_iter().map(|way| taped(way, &tape)).collect();
    let mut outcome = Outcome::default();
    lane.layout.profile.clone_into(&mut outcome.recording.profile);
    for &case in cases.iter().filter(|case| lane.takes(case)) {
        progress(case.id);
        match case_steps(case, &lane, &tape, options) {
            Err(reason) => outcome.left_out.push((case.id.to_owned(), reason)),
            Ok((steps, masked)) => {
                outcome.masked += masked;
                outcome.recording.records.push(Record {
                    name: case.id.to_owned(),
                    config: config(&case.setup, case.needs),
                    steps,
                });
            }
        }
    }
    (lane, outcome)
}

/// Runs programs in a lane, each on a machine of its own, and keeps their answers. `progress` is told each name.
pub fn record_programs(lane: &Lane, programs: &[Program], progress: &mut dyn FnMut(&str)) -> Outcome {
    let mut outcome = Outcome::default();
    lane.layout.profile.clone_into(&mut outcome.recording.profile);
    for program in programs {
        progress(&program.name);
        match program_record(program, lane) {
            Err(reason) => outcome.left_out.push((program.name.clone(), reason)),
            Ok((record, masked)) => {
                outcome.masked += masked;
                outcome.recording.records.push(record);
            }
        }
    }
    outcome
}

fn program_record(program: &Program, lane: &Lane) -> Result<(Record, usize), String> {
    if let Some(reason) = &program.unfit {
        return Err(reason.clone());
    }
    let setup = program.setup().map_err(|error| error.to_string())?;
    let needs = program.needs()?;
    let program = program.moved(lane.layout);
    let adapters = lane.ways.iter().flat_map(|way| way.adapter.as_deref());
    let mut missing = Caps::NONE;
    let adapter = adapters
        .inspect(|adapter| missing = adapter.caps().missing(needs))
        .find(|adapter| is_in(needs, adapter.caps()))
        .ok_or_else(|| format!("subject lacks capability {missing}"))?;
    let mut take = || -> Result<(Vec<Step>, Caps), String> {
        let tape = Arc::new(Mutex::new(Tape::new(true)));
        let perform = || -> Result<(), Stop> {
            let mut machine = Taped::new(adapter.boot(&setup, lane.layout)?, &tape)?;
            let mut may_be_busy = false;
            for action in &program.actions {
                match action {
                    Action::Store { .. } => may_be_busy = adapter.caps().has_own_time(),
                    Action::Load { .. } | Action::ReadMemory { .. } if may_be_busy => {
                        machine.wait_for_quiet(action)?;
                        may_be_busy = false;
                    }
                    _ => {}
                }
                replay::act(&mut machine, action)?;
            }
            Ok(())
        };
        perform().map_err(|stop| match stop {
            Stop::Unavailable(reason) | Stop::NotApplicable(reason) => reason,
            Stop::Unsupported(caps) => format!("subject lacks capability {caps}"),
            Stop::Broken(broken) => broken.to_string(),
            Stop::NotMet => "a requirement is not met".to_owned(),
        })?;
        let steps = std::mem::take(&mut *tape_of(&tape)).finish()?;
        Ok((finished(steps, needs, &setup, lane.layout), adapter.caps()))
    };
    let (steps, masked) = same_each_time(&mut take)?;
    let mut config = program.config.clone();
    config.push(("needs".to_owned(), needs.to_string()));
    config.sort();
    let name = program.name.clone();
    Ok((Record { name, config, steps }, masked))
}

/// The steps of a case, and how many of them have no answer that is the same each time; or why it is not kept.
fn case_steps(
    case: &'static Case,
    lane: &Lane,
    tape: &Mutex<Tape>,
    options: &Options,
) -> Result<(Vec<Step>, usize), String> {
    let mut take = || -> Result<(Vec<Step>, Caps), String> {
        *tape_of(tape) = Tape::new(is_in(Caps::LINES, case.needs));
        let result = run_unit(&Unit { case, lane: 0 }, lane, options);
        let tape = std::mem::take(&mut *tape_of(tape));
        let way = lane.ways.iter().find(|way| way.name == result.way);
        let adapter = way.and_then(|way| way.adapter.as_ref().ok());
        let caps = adapter.map_or(Caps::NONE, |adapter| adapter.caps());
        match result.verdict {
            Verdict::Pass | Verdict::Fail | Verdict::Warn | Verdict::Note => {}
            verdict => {
                let reason = result.reason.as_deref().unwrap_or("no reason");
                return Err(format!("{verdict}: {reason}"));
            }
        }
        if is_in(Caps::TIME, case.needs) && !is_in(Caps::CLOCK, caps) {
            return Err("its time is the host's, so that its answers are others each time".to_owned());
        }
        Ok((finished(tape.finish()?, case.needs, &case.setup, lane.layout), caps))
    };
    same_each_time(&mut take)
}

fn finished(steps: Vec<Step>, needs: Caps, setup: &Setup, layout: &Layout) -> Vec<Step> {
    if is_in(Caps::QUEUES, needs) {
        join_looks(steps, setup, layout)
    } else {
        steps
    }
}

/// Where time is the host's and data may be random, what is not the same in each of some takes is no answer.
fn same_each_time(take: &mut dyn FnMut() -> Result<(Vec<Step>, Caps), String>) -> Result<(Vec<Step>, usize), String> {
    let (mut steps, caps) = take()?;
    if !caps.has_own_time() {
        return Ok((steps, 0));
    }
    without_lines(&mut steps);
    for _ in 1..TAKES {
        let (mut again, _) = take()?;
        without_lines(&mut again);
        let same_way = |(a, b): (&Step, &Step)| access(&a.operation) == access(&b.operation);
        if steps.len() != again.len() || !steps.iter().zip(&again).all(same_way) {
            return Err("it makes other accesses each time".to_owned());
        }
        for (step, again) in steps.iter_mut().zip(&again) {
            if step.answer != again.answer {
                step.mask();
            }
        }
    }
    let masked = steps.iter().filter(|step| step.answer == ANY).count();
    Ok((steps, masked))
}

fn without_lines(steps: &mut Vec<Step>) {
    steps.retain(|step| step.operation != Operation::WatchLines);
    steps.iter_mut().for_each(|step| step.events.clear());
}

/// What is done, whatever answer it waits for.
fn access(operation: &Operation) -> Option<&Action> {
    match operation {
        Operation::Action(action) | Operation::Poll(action, _) => Some(action),
        Operation::WatchLines => None,
    }
}

fn is_in(part: Caps, caps: Caps) -> bool {
    caps.missing(part).is_empty()
}

/// A set-up as a record has it: what [`crate::replay::setup`] reads, sorted, and the capabilities that are needed.
pub fn config(setup: &Setup, needs: Caps) -> Vec<(String, String)> {
    let mut config = vec![("m", size_text(setup.ram_bytes)), ("modern", setup.modern.to_string())];
    config.extend(setup.options.iter().map(|&(name, value)| (name, value.to_owned())));
    if let Some(limit) = setup.max_ram_below_4g {
        config.push(("max-ram-below-4g", size_text(limit)));
    }
    if (setup.cpus, setup.cpus_max) != (1, 1) {
        config.push(("smp", format!("{},maxcpus={}", setup.cpus, setup.cpus_max)));
    }
    if !setup.devices.is_empty() {
        config.push(("devices", setup.devices.join(",")));
    }
    if let Some(append) = setup.append {
        config.push(("append", append.to_owned()));
    }
    if setup.bz_image {
        config.push(("bz-image", "true".to_owned()));
    }
    if setup.rtc_base != Setup::DEFAULT.rtc_base {
        config.push(("rtc-base", setup.rtc_base.to_owned()));
    }
    if !needs.is_empty() {
        config.push(("needs", needs.to_string()));
    }
    let mut config: Vec<_> = config.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    config.sort();
    config
}

/// What one machine was asked and answered so far.
#[derive(Default)]
struct Tape {
    steps: Vec<Step>,
    is_watching: bool,
    is_full: bool,
}

impl Tape {
    fn new(is_watching: bool) -> Tape {
        Tape {
            is_watching,
            ..Tape::default()
        }
    }

    fn push(&mut self, step: Step) {
        if self.steps.len() < STEPS_MAX {
            self.steps.push(step);
        } else {
            self.is_full = true;
        }
    }

    /// What was kept, if it is all that was done, and not nothing.
    fn finish(self) -> Result<Vec<Step>, String> {
        if self.is_full {
            Err(format!("it makes more than {STEPS_MAX} accesses"))
        } else if self.steps.iter().all(|step| step.operation == Operation::WatchLines) {
            Err("it makes no access that the text form has a line for".to_owned())
        } else {
            Ok(self.steps)
        }
    }
}

/// Powers on machines whose accesses are kept.
struct TapedAdapter {
    inner: Box<dyn Adapter>,
    tape: Arc<Mutex<Tape>>,
}

impl Adapter for TapedAdapter {
    fn depth(&self) -> Depth {
        self.inner.depth()
    }

    fn caps(&self) -> Caps {
        recordable(self.inner.caps())
    }

    fn boot(&self, setup: &Setup, layout: &Layout) -> Result<Box<dyn Machine>, BootFailure> {
        Ok(Box::new(Taped::new(self.inner.boot(setup, layout)?, &self.tape)?))
    }
}

struct Taped {
    machine: Box<dyn Machine>,
    tape: Arc<Mutex<Tape>>,
    is_watching: bool,
    /// Changes of lines that the body did not ask for yet.
    pending: Vec<LineEvent>,
}

impl Taped {
    fn new(mut machine: Box<dyn Machine>, tape: &Arc<Mutex<Tape>>) -> Result<Taped, Stop> {
        let mut pending = Vec::new();
        let is_watching = tape_of(tape).is_watching;
        if is_watching {
            // What changed before the first access is the body's to see, and no answer to anything.
            pending = machine.line_events()?;
            tape_of(tape).push(Step {
                operation: Operation::WatchLines,
                events: Vec::new(),
                answer: String::new(),
            });
        }
        Ok(Taped {
            machine,
            tape: Arc::clone(tape),
            is_watching,
            pending,
        })
    }

    /// Looks, without keeping it, until the answer has been the same for a while: a program does not wait for a device
    /// that works on the host's time, as a case does.
    fn wait_for_quiet(&mut self, look: &Action) -> Result<(), Stop> {
        let mut last = replay::act(self.machine.as_mut(), look)?;
        let (mut since, mut same) = (Instant::now(), 0);
        for _ in 0..LOOKS_MAX {
            let answer = replay::act(self.machine.as_mut(), look)?;
            if answer != last {
                (since, same) = (Instant::now(), 0);
            }
            same += 1;
            if LOOKS_QUIET <= same && QUIET <= since.elapsed() {
                break;
            }
            last = answer;
        }
        Ok(())
    }

    fn keep(&mut self, action: Action, answer: String) -> Result<(), Stop> {
        let events = if self.is_watching {
            self.machine.line_events()?
        } else {
            Vec::new()
        };
        self.pending.extend(&events);
        tape_of(&self.tape).push(Step {
            operation: Operation::Action(action),
            events,
            answer,
        });
        Ok(())
    }
}

impl Machine for Taped {
    fn caps(&self) -> Caps {
        recordable(self.machine.caps())
    }

    fn facts(&self) -> &Facts {
        self.machine.facts()
    }

    fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop> {
        let value = self.machine.port_read(port, width)?;
        self.keep(Action::PortRead { port, width }, format!("{value:x}"))?;
        Ok(value)
    }

    fn port_read_many(&mut self, port: u16, width: Width, count: usize) -> Result<Vec<u32>, Stop> {
        if self.is_watching {
            return (0..count).map(|_| self.port_read(port, width)).collect();
        }
        let values = self.machine.port_read_many(port, width, count)?;
        for value in &values {
            self.keep(Action::PortRead { port, width }, format!("{value:x}"))?;
        }
        Ok(values)
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        self.machine.port_write(port, width, value)?;
        self.keep(Action::PortWrite { port, width, value }, String::new())
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = self.machine.load(gpa, width)?;
        self.keep(Action::Load { gpa, width }, format!("{value:x}"))?;
        Ok(value)
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        self.machine.store(gpa, width, value)?;
        self.keep(Action::Store { gpa, width, value }, String::new())
    }

    fn read_memory(&mut self, gpa: u64, into: &mut [u8]) -> Result<(), Stop> {
        self.machine.read_memory(gpa, into)?;
        for (gpa, part) in parts(gpa, into) {
            let length_bytes = part.len() as u32;
            let answer = Hex(part).to_string().split_off(2);
            self.keep(Action::ReadMemory { gpa, length_bytes }, answer)?;
        }
        Ok(())
    }

    fn write_memory(&mut self, gpa: u64, from: &[u8]) -> Result<(), Stop> {
        self.machine.write_memory(gpa, from)?;
        for (gpa, part) in parts(gpa, from) {
            let action = match part {
                [byte, rest @ ..] if FILL_LENGTH_MIN <= part.len() && rest.iter().all(|other| other == byte) => {
                    Action::FillMemory {
                        gpa,
                        length_bytes: part.len() as u32,
                        byte: *byte,
                    }
                }
                _ => Action::WriteMemory {
                    gpa,
                    bytes: part.to_vec(),
                },
            };
            self.keep(action, String::new())?;
        }
        Ok(())
    }

    fn advance(&mut self, by_ns: u64) -> Result<(), Stop> {
        self.machine.advance(by_ns)?;
        if by_ns == 0 {
            return Ok(());
        }
        self.keep(Action::Advance { by_ns }, String::new())
    }

    fn line_events(&mut self) -> Result<Vec<LineEvent>, Stop> {
        let mut events = std::mem::take(&mut self.pending);
        let later = self.machine.line_events()?;
        // A device that works on its own time may be late; the change belongs to the last access.
        if self.is_watching
            && let Some(last) = tape_of(&self.tape).steps.last_mut()
            && last.operation != Operation::WatchLines
        {
            last.events.extend(&later);
        }
        events.extend(later);
        Ok(events)
    }

    fn host(&mut self, action: &HostAction) -> Result<(), Stop> {
        self.machine.host(action)?;
        let HostAction::SerialInput(bytes) = action;
        self.keep(Action::SerialInput { bytes: bytes.clone() }, String::new())
    }

    fn serial_output(&mut self) -> Result<Vec<u8>, Stop> {
        self.machine.serial_output()
    }

    fn reset(&mut self) -> Result<(), Stop> {
        self.machine.reset()?;
        self.keep(Action::Reset, String::new())
    }

    fn post_mortem(&mut self) -> String {
        self.machine.post_mortem()
    }
}

fn taped(way: Way, tape: &Arc<Mutex<Tape>>) -> Way {
    let tape = Arc::clone(tape);
    let adapter = way
        .adapter
        .map(|inner| Box::new(TapedAdapter { inner, tape }) as Box<dyn Adapter>);
    Way { adapter, ..way }
}

/// A recording has no word for what [`Caps::OUTPUTS`] and [`Caps::REFUSALS`] are about.
fn recordable(caps: Caps) -> Caps {
    Caps::OUTPUTS.with(Caps::REFUSALS).missing(caps)
}

/// A case that panicked while it held the tape leaves it as it is; it is not kept anyway.
fn tape_of(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes in parts that one line may hold, each with its address.
fn parts(gpa: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let chunks = bytes.chunks(MEMORY_LENGTH_MAX as usize).enumerate();
    chunks.map(move |(index, part)| (gpa.wrapping_add(index as u64 * MEMORY_LENGTH_MAX), part))
}

/// Looks at a small place of RAM become a `poll`, those in a row one.
fn join_looks(steps: Vec<Step>, setup: &Setup, layout: &Layout) -> Vec<Step> {
    let (low_bytes, _) = layout.ram_split(setup.ram_bytes, setup.max_ram_below_4g);
    let is_ram = |gpa: u64| !(VIDEO_MEMORY..ROM_END).contains(&gpa) && gpa < low_bytes;
    let mut joined: Vec<Step> = Vec::new();
    for mut step in steps {
        let Some((gpa, width, value)) = look(&step).filter(|(gpa, ..)| is_ram(*gpa)) else {
            joined.push(step);
            continue;
        };
        let action = Action::Load { gpa, width };
        if let Some(last) = joined.last_mut()
            && matches!(&last.operation, Operation::Poll(own, _) if *own == action)
        {
            let earlier = std::mem::take(&mut last.events);
            step.events.splice(0..0, earlier);
            joined.pop();
        }
        joined.push(Step {
            operation: Operation::Poll(action, value),
            events: step.events,
            answer: format!("{value:x}"),
        });
    }
    joined
}

/// A read that one load can make: where, how wide, and the number that came.
fn look(step: &Step) -> Option<(u64, Width, u64)> {
    match &step.operation {
        Operation::Action(Action::Load { gpa, width }) => {
            Some((*gpa, *width, u64::from_str_radix(&step.answer, 16).ok()?))
        }
        Operation::Action(Action::ReadMemory { gpa, length_bytes }) => {
            let width = Width::from_bytes(*length_bytes as usize)?;
            // Bytes come in the order of their addresses, a number's lowest first.
            let digits = u64::from_str_radix(&step.answer, 16).ok()?;
            Some((*gpa, width, digits.swap_bytes() >> (64 - 8 * width.bytes())))
        }
        _ => None,
    }
}

/// The largest unit in which a size is whole.
fn size_text(bytes: u64) -> String {
    for (letter, shift) in [('G', 30), ('M', 20), ('K', 10)] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{letter}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// How often something is recorded that may be another thing each time.
pub const TAKES: usize = 3;

/// So many equal looks in a row, over so long a time, say that a device has done its work; a busy host may not have got
/// to it before.
const LOOKS_QUIET: u32 = 200;
const QUIET: Duration = Duration::from_millis(100);

/// Most looks for that.
const LOOKS_MAX: u32 = 20_000;

/// Most accesses of one record.
pub const STEPS_MAX: usize = 500_000;

/// Equal bytes written become one `memset` from this length on.
const FILL_LENGTH_MIN: usize = 16;

/// Video memory and ROMs lie between these addresses.
const VIDEO_MEMORY: u64 = 0xa_0000;
const ROM_END: u64 = 0x10_0000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use crate::layout::MICROVM_2019;
    use crate::replay;
    use crate::settled::Settled;
    use crate::subject::{Subject, Wanted};

    fn lane_of(subject: &str) -> Lane {
        let wanted = Wanted {
            depths: vec![Depth::Bus],
            profiles: vec![&MICROVM_2019],
            ..Wanted::default()
        };
        let lanes = Subject::find(subject).expect(subject).lanes(&wanted).expect(subject);
        lanes.into_iter().next().expect("it has depth bus")
    }

    fn recorded(subject: &str, filters: &[&str]) -> Outcome {
        let wanted = |case: &&Case| filters.iter().any(|filter| catalog::matches(filter, case.id));
        let cases: Vec<_> = catalog::all().filter(wanted).collect();
        record(lane_of(subject), &cases, &Options::default(), &mut |_| {}).1
    }

    fn replayed(recording: &Recording, subject: &str) -> replay::Summary {
        let lane = lane_of(subject);
        let adapters: Vec<&dyn Adapter> = lane.ways.iter().flat_map(|way| way.adapter.as_deref()).collect();
        let settled = Settled::default();
        replay::replay(recording, &adapters, lane.layout, &settled, &|_| true, &mut |_| {}).expect("replays")
    }

    #[test]
    fn recording_agrees_with_its_subject_and_shows_a_mutant() {
        let outcome = recorded(
            "reference",
            &["rtc", "ioapic", "virtqueue/rng", "serial/input", "cmdline"],
        );
        let text = outcome.recording.to_text("");
        let mut read = Recording::from_text("recorded", &text).expect("the text form reads");
        read.profile.clone_from(&outcome.recording.profile);
        assert_eq!(read, outcome.recording);
        let same = replayed(&read, "reference");
        assert_eq!(same.findings, []);
        assert_eq!(same.skipped, []);
        let other = replayed(&read, "mutant:rtc-register-d-invalid");
        assert!(
            other
                .findings
                .iter()
                .any(|difference| difference.record.starts_with("rtc/")),
            "{other:?}"
        );
    }

    #[test]
    fn every_setup_of_the_catalog_survives_its_record() {
        for case in catalog::all() {
            let record = Record {
                name: case.id.to_owned(),
                config: config(&case.setup, case.needs),
                steps: Vec::new(),
            };
            let recording = Recording {
                records: vec![record],
                ..Recording::default()
            };
            let read = Recording::from_text(case.id, &recording.to_text("")).expect(case.id);
            let mut setup = replay::setup(&read.records[0]).expect(case.id);
            // A record has its options sorted.
            let mut options = case.setup.options.to_vec();
            options.sort_unstable();
            assert_eq!(setup.options, options, "{}", case.id);
            setup.options = case.setup.options;
            assert_eq!(setup, case.setup, "{}", case.id);
            assert_eq!(
                replay::needs(&read.records[0]).expect(case.id),
                case.needs,
                "{}",
                case.id
            );
        }
    }

    #[test]
    fn what_cannot_be_asked_is_left_out_with_its_reason() {
        let strings = |case: &&Case| is_in(Caps::STRING_IO, case.needs);
        let case = catalog::all().find(strings).expect("some case needs a CPU");
        let outcome = recorded("reference", &[case.id]);
        assert_eq!(outcome.recording.records, []);
        let (left_out, reason) = &outcome.left_out[0];
        assert_eq!(left_out, case.id);
        assert_eq!(reason, "unsupported: subject lacks capability string-io");
    }

    #[test]
    fn looks_at_ram_become_a_poll_and_looks_at_a_register_stay() {
        let step = |line: &str, answer: &str| Step {
            operation: Operation::Action(Action::parse(line).expect(line)),
            events: Vec::new(),
            answer: answer.to_owned(),
        };
        let steps = vec![
            step("readw 0x6002", "0"),
            step("readw 0x6002", "0"),
            step("readw 0x6002", "1"),
            step("readl 0xc0000e60", "0"),
            step("readl 0xc0000e60", "1"),
            step("read 0x6002 0x2", "0100"),
            step("read 0x6002 0x2", "0302"),
            step("read 0x6000 0x3", "010203"),
        ];
        let lines: Vec<String> = join_looks(steps, &Setup::DEFAULT, &MICROVM_2019)
            .iter()
            .map(|step| format!("{} -> {}", step.operation, step.answer))
            .collect();
        assert_eq!(
            lines,
            [
                "poll readw 0x6002 0x1 -> 1",
                "readl 0xc0000e60 -> 0",
                "readl 0xc0000e60 -> 1",
                "poll readw 0x6002 0x203 -> 203",
                "read 0x6000 0x3 -> 010203"
            ]
        );
    }

    #[test]
    fn what_differs_from_take_to_take_is_no_answer() {
        let step = |line: &str, answer: &str| Step {
            operation: Operation::Action(Action::parse(line).expect(line)),
            events: Vec::new(),
            answer: answer.to_owned(),
        };
        let look = |want: u64| Step {
            operation: Operation::Poll(Action::parse("readw 0x6002").expect("an action"), want),
            ..step("inb 0", &format!("{want:x}"))
        };
        let mut takes = 0;
        let (steps, masked) = same_each_time(&mut || {
            takes += 1;
            let random = format!("{takes:x}");
            let steps = vec![
                step("inb 0x71", "80"),
                step("readb 0x6000", &random),
                look(takes),
                look(7),
            ];
            Ok((steps, Caps::QUEUES))
        })
        .expect("it goes the same way each time");
        let recording = Recording {
            records: vec![Record {
                name: "x".to_owned(),
                steps,
                ..Record::default()
            }],
            ..Recording::default()
        };
        let text = recording.to_text("");
        let want = "inb 0x71 -> 80\nreadb 0x6000 -> ?\nreadw 0x6002 -> ?\npoll readw 0x6002 0x7 -> 7\n";
        assert!(text.ends_with(want), "{text}");
        assert_eq!(masked, 2);
        let read = Recording::from_text("x", &text).expect("the text form reads");
        assert_eq!(read.records[0].steps, recording.records[0].steps);

        let mut takes = 0;
        let other_way = same_each_time(&mut || {
            takes += 1;
            Ok((vec![step("inb 0x71", "80"); takes], Caps::QUEUES))
        });
        assert_eq!(other_way, Err("it makes other accesses each time".to_owned()));

        let frozen = same_each_time(&mut || Ok((vec![step("inb 0x71", "80")], Caps::FROZEN)));
        assert_eq!(frozen.expect("one take").1, 0);
    }
}
