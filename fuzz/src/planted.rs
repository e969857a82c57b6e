//! Planted bugs: whether fuzzing alone would notice them.
//!
//! The suite has machines with one named bug each ([`Mutant`]). Here such a machine plays a stranger's VMM. A program
//! is run on it, and two kinds of oracle look on, the same that a real VMM would have: laws that hold for every
//! machine, and the reference machine as the model that each answer is compared with. No oracle knows which bug there
//! is, nor what the case that hunts it does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::OnceLock;

use conformance::layout::{self, Layout};
use conformance::machine::{Caps, Facts, HostAction, LineEvent, Machine, Stop, Width};
use conformance::program::Action;
use conformance::subject::mutant::Mutant;
use vmm::device::Event;
use vmm::units::Nanos;

use crate::codec;
use crate::execution::{self, Answer, Guarded, Observer};
use crate::program::Program;
use crate::target::Target;
use crate::targets;

/// How a bug was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// Which oracle: one of [`ORACLES`].
    pub oracle: &'static str,
    /// What it saw.
    pub text: String,
}

/// All oracles, in the order in which they are asked.
pub const ORACLES: [&str; 7] = [WIDTH, DMA, DETERMINISM, TIME_SPLIT, LINES, RESET, MODEL];

const WIDTH: &str = "law: width";
const DMA: &str = "law: DMA";
const DETERMINISM: &str = "law: determinism";
const TIME_SPLIT: &str = "law: time split";
const LINES: &str = "law: lines after reset";
const RESET: &str = "law: reset forgets";
const MODEL: &str = "model";

/// The environment variable that names the bug in a campaign.
pub const VARIABLE: &str = "TOUCHSTONE_PLANTED";

/// The bug that the environment asks for, read once.
///
/// # Panics
/// When there is no such bug.
pub fn asked_for() -> Option<&'static Mutant> {
    static ASKED: OnceLock<Option<&'static Mutant>> = OnceLock::new();
    *ASKED.get_or_init(|| {
        let name = std::env::var(VARIABLE).ok()?;
        Some(Mutant::by_name(&name).unwrap_or_else(|| panic!("{VARIABLE}={name}: no such planted bug")))
    })
}

/// The target whose programs are about what a bug breaks; `None` where no target is.
pub fn target_of(mutant: &Mutant) -> Option<&'static Target> {
    let area = mutant.case.split('/').next().unwrap_or_default();
    let named = targets::ALL.iter().find(|target| target.name == area.replace('-', "_"));
    let about = || targets::ALL.iter().find(|target| target.areas.contains(&area));
    // The target of everything has the areas that none has for itself.
    let sole = || targets::ALL.iter().find(|target| target.areas == [area]);
    named.or_else(sole).or_else(about).copied()
}

/// Runs one input of a campaign against a machine with a bug.
///
/// # Panics
/// When an oracle notices, so that the engine keeps the input.
pub fn check_or_panic(target: &Target, mutant: &Mutant, input: &[u8]) {
    let program = codec::decode(target, input);
    let noticed = if execution::is_deep(input) {
        notice(target, Some(mutant), &program)
    } else {
        compare(target, Some(mutant), &program)
    };
    if let Some(noticed) = noticed {
        panic!("{}: {}\n{}", noticed.oracle, noticed.text, program.text(target));
    }
}

/// Asks every oracle about a program: the laws first, as they need no model. `None` as bug is the reference itself, and
/// there no oracle may notice anything.
pub fn notice(target: &Target, mutant: Option<&Mutant>, program: &Program) -> Option<Noticed> {
    laws(target, mutant, program).or_else(|| compare(target, mutant, program))
}

/// What one action did, as far as the world can see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// `None` where the machine refused the access.
    value: Option<u64>,
    bytes: Vec<u8>,
    lines: Vec<LineEvent>,
    sent: Vec<u8>,
}

/// Runs a program on the machine with the bug and on the reference, and compares what each action does.
fn compare(target: &Target, mutant: Option<&Mutant>, program: &Program) -> Option<Noticed> {
    let mut subject = Powered::on(target, program, mutant);
    let mut model = Powered::on(target, program, None);
    for (index, action) in program.actions.iter().enumerate() {
        let (got, want) = (subject.perform(action), model.perform(action));
        // A step of time that is cut short says nothing about the rest.
        let (got, want) = (got?, want?);
        if got != want {
            return Some(Noticed {
                oracle: MODEL,
                text: format!("action {} ('{action}'): got {got:x?}, want {want:x?}", index + 1),
            });
        }
    }
    None
}

/// The laws, on the machine with the bug alone.
fn laws(target: &Target, mutant: Option<&Mutant>, program: &Program) -> Option<Noticed> {
    let noticed = |oracle, text: String| Some(Noticed { oracle, text });
    let first = match guarded(target, mutant, program) {
        Ok(outcomes) => outcomes?,
        Err(noticed) => return Some(noticed),
    };
    let run = |program: &Program| record(target, mutant, program, false);
    if run(program).is_some_and(|second| second != first) {
        return noticed(
            DETERMINISM,
            "the same program gave other answers the second time".to_owned(),
        );
    }
    if record(target, mutant, program, true).is_some_and(|halves| halves != first) {
        return noticed(
            TIME_SPLIT,
            "other answers when each step of time was made in two".to_owned(),
        );
    }
    let reset_after = with(program, &[&program.actions, &[Action::Reset]]);
    if let Some(gsi) = run(&reset_after).and_then(|outcomes| line_left(&outcomes)) {
        return noticed(LINES, format!("after a reset line {gsi} is not as at power-on"));
    }
    if forgets(target, program) {
        let begin = with(program, &[&[Action::Reset], &program.actions]);
        let again = with(program, &[&program.actions, &[Action::Reset], &program.actions]);
        let fresh = run(&begin)?.split_off(1);
        let used = run(&again)?.split_off(program.actions.len() + 1);
        if let Some(index) = (0..fresh.len()).find(|index| fresh[*index] != used[*index]) {
            let action = &program.actions[index];
            let (got, want) = (&used[index], &fresh[index]);
            return noticed(
                RESET,
                format!("run again after a reset, '{action}' gave {got:x?}, at first {want:x?}"),
            );
        }
    }
    None
}

/// Runs a program with the laws that hold at each action: answers keep their width, DMA its descriptors.
fn guarded(target: &Target, mutant: Option<&Mutant>, program: &Program) -> Result<Option<Vec<Outcome>>, Noticed> {
    let mut machine = Powered::on(target, program, mutant);
    let mut guard = Guarded::new(target.guard);
    let mut outcomes = Vec::new();
    for (index, action) in program.actions.iter().enumerate() {
        guard.before(&machine.shared.borrow().machine, action);
        let Some(outcome) = machine.perform(action) else {
            return Ok(None);
        };
        let width = match action {
            Action::PortRead { width, .. } | Action::Load { width, .. } => Some(*width),
            _ => None,
        };
        if let Some((width, value)) = width.zip(outcome.value)
            && value & !width.mask() != 0
        {
            return Err(Noticed {
                oracle: WIDTH,
                text: format!("action {} ('{action}') answers {value:#x}", index + 1),
            });
        }
        let reference = &machine.shared.borrow().machine;
        guard
            .after(reference, index + 1, action, &Answer::Done)
            .map_err(|finding| Noticed {
                oracle: DMA,
                text: finding.to_string(),
            })?;
        outcomes.push(outcome);
    }
    Ok(Some(outcomes))
}

/// The outcomes of a program; `None` when a step of time was cut short. With `halves` each step is made in two.
fn record(target: &Target, mutant: Option<&Mutant>, program: &Program, halves: bool) -> Option<Vec<Outcome>> {
    let mut machine = Powered::on(target, program, mutant);
    let mut outcomes = Vec::new();
    for action in &program.actions {
        let outcome = match action {
            Action::Advance { by_ns: by_ns @ 2.. } if halves => {
                let mut outcome = machine.perform(&Action::Advance { by_ns: by_ns / 2 })?;
                let rest = machine.perform(&Action::Advance {
                    by_ns: by_ns - by_ns / 2,
                })?;
                outcome.lines.extend(rest.lines);
                outcome.sent.extend(rest.sent);
                outcome
            }
            _ => machine.perform(action)?,
        };
        outcomes.push(outcome);
    }
    Some(outcomes)
}

/// A line whose last change was not back to what it was at power-on.
fn line_left(outcomes: &[Outcome]) -> Option<u8> {
    let mut lines: BTreeMap<u8, (bool, bool)> = BTreeMap::new();
    for event in outcomes.iter().flat_map(|outcome| &outcome.lines) {
        lines.entry(event.gsi).or_insert((!event.level, event.level)).1 = event.level;
    }
    let left = lines.into_iter().find(|(_, (before, after))| before != after);
    left.map(|(gsi, _)| gsi)
}

/// Whether a machine is as new after a reset for this program: no time passes in it, nothing of it is kept in memory or
/// in the clock, nothing waits on the host's side.
fn forgets(target: &Target, program: &Program) -> bool {
    let kept = |action: &Action| {
        use Action::{PortRead, PortWrite};
        !matches!(action, PortRead { .. } | PortWrite { .. })
            && !matches!(action, Action::Load { gpa, .. } | Action::Store { gpa, .. } if IOAPIC <= *gpa)
    };
    FORGETFUL.contains(&target.name) && !program.actions.iter().any(kept)
}

fn with(program: &Program, parts: &[&[Action]]) -> Program {
    Program {
        setup: program.setup,
        actions: parts.concat(),
    }
}

/// A machine that is powered on, with a bug around it or none.
struct Powered {
    machine: Box<dyn Machine>,
    shared: Rc<RefCell<Shared>>,
}

/// What the bug wraps; the guard looks into it.
struct Shared {
    machine: vmm::machine::Machine,
    sent: Vec<u8>,
    /// A step of time was cut short.
    late: bool,
}

impl Powered {
    fn on(target: &Target, program: &Program, mutant: Option<&Mutant>) -> Powered {
        let config = (target.setups[usize::from(program.setup)].config)();
        let mut machine = execution::power_on(target, program);
        machine.watch_lines();
        let shared = Rc::new(RefCell::new(Shared {
            machine,
            sent: Vec::new(),
            late: false,
        }));
        let inner = Box::new(Reference {
            shared: Rc::clone(&shared),
            facts: Facts::default(),
        });
        let layout = Layout::by_name(config.profile.name).unwrap_or(&layout::MICROVM_2019);
        let machine = match mutant {
            Some(mutant) => mutant.around(inner, layout),
            None => inner,
        };
        Powered { machine, shared }
    }

    /// `None` when a step of time was cut short.
    fn perform(&mut self, action: &Action) -> Option<Outcome> {
        let machine = &mut self.machine;
        let mut outcome = Outcome {
            value: Some(0),
            ..Outcome::default()
        };
        let done = |result: Result<(), Stop>| result.is_ok().then_some(0);
        match action {
            Action::PortRead { port, width } => outcome.value = machine.port_read(*port, *width).ok().map(u64::from),
            Action::PortWrite { port, width, value } => {
                outcome.value = done(machine.port_write(*port, *width, *value));
            }
            Action::Load { gpa, width } => outcome.value = machine.load(*gpa, *width).ok(),
            Action::Store { gpa, width, value } => outcome.value = done(machine.store(*gpa, *width, *value)),
            Action::ReadMemory { gpa, length_bytes } => {
                outcome.bytes = vec![0; *length_bytes as usize];
                outcome.value = done(machine.read_memory(*gpa, &mut outcome.bytes));
            }
            Action::WriteMemory { gpa, bytes } => outcome.value = done(machine.write_memory(*gpa, bytes)),
            Action::FillMemory {
                gpa,
                length_bytes,
                byte,
            } => outcome.value = done(machine.write_memory(*gpa, &vec![*byte; *length_bytes as usize])),
            Action::Advance { by_ns } => outcome.value = done(machine.advance(*by_ns)),
            Action::SerialInput { bytes } => {
                outcome.value = done(machine.host(&HostAction::SerialInput(bytes.clone())));
            }
            Action::Reset => outcome.value = done(machine.reset()),
        }
        outcome.lines = machine.line_events().unwrap_or_default();
        outcome.sent = machine.serial_output().unwrap_or_default();
        (!self.shared.borrow().late).then_some(outcome)
    }
}

/// The reference machine as a subject, with steps of time that end.
struct Reference {
    shared: Rc<RefCell<Shared>>,
    facts: Facts,
}

impl Shared {
    fn collect(&mut self) {
        for event in self.machine.take_events() {
            match event {
                Event::SerialOut(byte) => self.sent.push(byte),
                Event::Reset => self.machine.reset(),
                _ => {}
            }
        }
        let _virtio = self.machine.take_output();
    }
}

impl Machine for Reference {
    fn caps(&self) -> Caps {
        Caps::CLOCK.with(Caps::LINES).with(Caps::RESET)
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop> {
        Ok(self
            .shared
            .borrow_mut()
            .machine
            .port_read(port, execution::theirs(width)))
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let mut shared = self.shared.borrow_mut();
        shared.machine.port_write(port, execution::theirs(width), value);
        shared.collect();
        Ok(())
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop> {
        Ok(self.shared.borrow_mut().machine.load(gpa, execution::theirs(width)))
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let mut shared = self.shared.borrow_mut();
        shared.machine.store(gpa, execution::theirs(width), value);
        shared.collect();
        Ok(())
    }

    fn read_memory(&mut self, gpa: u64, into: &mut [u8]) -> Result<(), Stop> {
        into.fill(0);
        let _beyond_ram_is_zero = self.shared.borrow().machine.memory().read(gpa, into);
        Ok(())
    }

    fn write_memory(&mut self, gpa: u64, from: &[u8]) -> Result<(), Stop> {
        let _beyond_ram_is_dropped = self.shared.borrow().machine.memory().write(gpa, from);
        Ok(())
    }

    fn advance(&mut self, by_ns: u64) -> Result<(), Stop> {
        let mut shared = self.shared.borrow_mut();
        let then = shared.machine.now().saturating_add(Nanos(by_ns));
        let arrived = shared.machine.advance_at_most(then, execution::TICKS_MAX);
        shared.late |= !arrived;
        shared.collect();
        Ok(())
    }

    fn line_events(&mut self) -> Result<Vec<LineEvent>, Stop> {
        let changes = self.shared.borrow_mut().machine.take_line_changes().into_iter();
        Ok(changes
            .map(|change| LineEvent {
                gsi: change.gsi,
                level: change.level,
            })
            .collect())
    }

    fn host(&mut self, action: &HostAction) -> Result<(), Stop> {
        let HostAction::SerialInput(bytes) = action;
        if self.shared.borrow_mut().machine.type_on_serial(bytes) {
            Ok(())
        } else {
            Err(Stop::Unavailable("no serial port, or too much waits".to_owned()))
        }
    }

    fn serial_output(&mut self) -> Result<Vec<u8>, Stop> {
        Ok(std::mem::take(&mut self.shared.borrow_mut().sent))
    }

    fn reset(&mut self) -> Result<(), Stop> {
        let mut shared = self.shared.borrow_mut();
        shared.machine.reset();
        shared.collect();
        Ok(())
    }
}

/// Targets whose whole state is the chip's, which a reset forgets when no time passes.
const FORGETFUL: [&str; 4] = ["ioapic", "pic", "pit", "serial"];

/// Where the IOAPIC's registers begin; what is below may be RAM.
const IOAPIC: u64 = 0xfec0_0000;
