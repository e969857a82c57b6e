//! Runs programs on the reference machine and checks what must hold whatever a guest does.
//!
//! Always checked: nothing panics, a read answers within its width, time moves when it is told to, and a reset brings
//! every interrupt line to its level at power-on. Of one input in [`DEEP_EVERY`], chosen by its bytes, also: the same
//! program gives the same answers twice, when each step of time is made in two, and when each wide access to ports of
//! 8 bits or to RAM is made byte by byte; a reset forgets all the guest did but what the clock keeps; and DMA writes
//! nothing but what the guest's own descriptors allow. A program that takes too long is libFuzzer's to find
//! (`-timeout`).

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use conformance::machine::Width;
use conformance::program::{Action, Hex};
use vmm::board::Slot;
use vmm::board::config::Config;
use vmm::device::Event;
use vmm::irq::GSI_COUNT;
use vmm::machine::Machine;
use vmm::units::Nanos;

use crate::codec;
use crate::program::Program;
use crate::provoked;
use crate::target::{SCRATCH, Target};

/// Tells, before an action, where it may let devices write to RAM, as address ranges; `None` when that cannot be said
/// or when the action lets nothing write.
pub type Guard = fn(&Machine, &Action) -> Option<Vec<Range<u64>>>;

/// What an action gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing to give.
    Done,
    /// The value read.
    Value(u64),
    /// The bytes read.
    Bytes(Vec<u8>),
    /// A bulk access that is not wholly in RAM, or more typed bytes than can wait.
    Refused,
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A read answered more bits than it has.
    #[error("action {number} ('{action}') answers {value:#x}, which is wider than the access")]
    Width {
        /// Counted from 1.
        number: usize,
        /// The action.
        action: Action,
        /// The answer.
        value: u64,
    },
    /// Devices tick and tick at one instant.
    #[error("action {number} ('{action}'): {TICKS_MAX} ticks at {now}, and time does not move")]
    Stuck {
        /// Counted from 1.
        number: usize,
        /// The action.
        action: Action,
        /// Virtual time.
        now: Nanos,
    },
    /// A device wrote where no descriptor pointed.
    #[error("action {number} ('{action}') lets a device write at {gpa:#x}, which no descriptor allows")]
    Stray {
        /// Counted from 1.
        number: usize,
        /// The action.
        action: Action,
        /// The first address written.
        gpa: u64,
    },
    /// A line has another level after a reset than at power-on.
    #[error("after a reset line {gsi} is {}, at power-on it was not", if *.level { "high" } else { "low" })]
    Line {
        /// The line.
        gsi: u8,
        /// Its level after the reset.
        level: bool,
    },
    /// A device has another state after a reset than at power-on.
    #[error("after a reset {name} is {got}, at power-on it was {want}")]
    Reset {
        /// Device and field.
        name: String,
        /// After the reset.
        got: String,
        /// At power-on.
        want: String,
    },
    /// Time in one step and time in two are not the same.
    #[error("the program gave other answers when each step of time was made in two halves")]
    Split,
    /// Accesses of several bytes and their bytes are not the same.
    #[error("the program gave other answers when each wide access was made byte by byte")]
    Bytes,
    /// Two runs differ.
    #[error("the same program gave other answers the second time")]
    Differs,
}

/// Looks on while a program runs.
pub trait Observer {
    /// Before each action.
    fn before(&mut self, _machine: &Machine, _action: &Action) {}

    /// After each action; `number` counts from 1.
    ///
    /// # Errors
    /// A [`Finding`] ends the run.
    fn after(&mut self, _machine: &Machine, _number: usize, _action: &Action, _answer: &Answer) -> Result<(), Finding> {
        Ok(())
    }
}

/// Looks at nothing.
pub struct Nobody;

impl Observer for Nobody {}

/// Runs one input with all checks.
///
/// # Errors
/// The first [`Finding`].
pub fn check(target: &Target, input: &[u8]) -> Result<(), Finding> {
    check_program(target, &codec::decode(target, input), is_deep(input))
}

/// Runs a program with the checks that are always made, and with `deep` the others too.
///
/// # Errors
/// The first [`Finding`].
pub fn check_program(target: &Target, program: &Program, deep: bool) -> Result<(), Finding> {
    if !deep {
        return run(target, program, &mut Nobody).map(|_| ());
    }
    let first = run(target, program, &mut Guarded::new(target.guard))?;
    let second = run(target, program, &mut Nobody)?;
    if first.digest != second.digest {
        return Err(Finding::Differs);
    }
    if first.arrived {
        let split = run_in_steps(target, program, &mut Nobody, Steps::Halves)?;
        if first.digest != split.digest {
            return Err(Finding::Split);
        }
    }
    let bytes = run_in_steps(target, program, &mut Nobody, Steps::Bytes)?;
    if first.digest != bytes.digest {
        return Err(Finding::Bytes);
    }
    check_reset(target, program, &first.machine)
}

/// What is left after a run: the machine after a reset, and all answers in one number.
pub struct Ended {
    /// The machine, reset.
    pub machine: Machine,
    /// Equal for equal answers, line changes and events.
    pub digest: u64,
    /// Whether every step of time was made to its end; see [`TICKS_MAX`].
    pub arrived: bool,
}

/// Runs a program on a fresh machine and resets it at the end.
///
/// # Errors
/// The first [`Finding`], the observer's included.
pub fn run(target: &Target, program: &Program, observer: &mut dyn Observer) -> Result<Ended, Finding> {
    run_in_steps(target, program, observer, Steps::Whole)
}

/// How a program is run: as it is, or in smaller steps that must come to the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Steps {
    Whole,
    /// Each step of time in two.
    Halves,
    /// Each wide access to ports of 8 bits, and to RAM, in bytes.
    Bytes,
}

fn run_in_steps(
    target: &Target,
    program: &Program,
    observer: &mut dyn Observer,
    steps: Steps,
) -> Result<Ended, Finding> {
    let mut machine = power_on(target, program);
    let levels = levels(&machine);
    machine.watch_lines();
    let mut digest = Digest(FNV_OFFSET);
    let mut arrived = true;
    for (index, action) in program.actions.iter().enumerate() {
        let number = index + 1;
        observer.before(&machine, action);
        let begin = machine.now();
        if let (Action::Advance { by_ns: by_ns @ 2.. }, Steps::Halves) = (action, steps) {
            advance(&mut machine, number, action, by_ns / 2)?;
        }
        let answer = match *action {
            Action::Advance { by_ns } => {
                let then = begin.saturating_add(Nanos(by_ns));
                let left = then.0.saturating_sub(machine.now().0);
                advance(&mut machine, number, action, left)?;
                arrived &= machine.now() == then;
                Answer::Done
            }
            _ if steps == Steps::Bytes && is_divisible(action) => perform_in_bytes(&mut machine, number, action)?,
            _ => perform(&mut machine, number, action)?,
        };
        digest.answer(&answer);
        digest.world(&mut machine);
        observer.after(&machine, number, action, &answer)?;
    }
    machine.reset();
    for (gsi, before) in (0..GSI_COUNT).zip(levels) {
        let level = machine.line_level(gsi);
        if level != before {
            return Err(Finding::Line { gsi, level });
        }
    }
    Ok(Ended {
        machine,
        digest: digest.0,
        arrived,
    })
}

/// A reset forgets what the guest did: the machine is as one that was reset at the same time and that no guest has
/// used. What the clock keeps is left out, its interrupt enables and flags are not.
fn check_reset(target: &Target, program: &Program, machine: &Machine) -> Result<(), Finding> {
    let mut unused = power_on(target, program);
    let same_time = unused.advance_at_most(machine.now(), IDLE_TICKS_MAX);
    unused.reset();
    // A device whose state is an instant can be compared at the same instant only.
    let timeless = |name: &str| name.starts_with("virtio_mmio.") || name.starts_with("fw_cfg.");
    // Bytes that still wait on the host's side arrive after the reset.
    let typed = program
        .actions
        .iter()
        .any(|action| matches!(action, Action::SerialInput { .. }));
    let kept = |name: &str| name.starts_with("rtc.") || typed && name.starts_with("serial.");
    let compared = |name: &str| timeless(name) || same_time && !kept(name);
    let (states, wants) = (machine.inspect(), unused.inspect());
    let mut wants = wants.values().filter(|(name, _)| compared(name));
    for (name, got) in states.values().filter(|(name, _)| compared(name)) {
        let want = wants.next().unwrap_or_default();
        if (name, got) != want {
            return Err(Finding::Reset {
                name: name.to_owned(),
                got: got.to_owned(),
                want: format!("{} = {}", want.0, want.1),
            });
        }
    }
    let clock = Fields::of(machine, Slot::Rtc);
    for (name, mask) in [("register_b", RTC_ENABLES), ("register_c", u64::MAX)] {
        if clock.number(name) & mask != 0 {
            return Err(Finding::Reset {
                name: format!("rtc.{name}"),
                got: clock.text(name).to_owned(),
                want: "without enables and flags".to_owned(),
            });
        }
    }
    Ok(())
}

/// A fresh machine for a program.
///
/// # Panics
/// When the target's set-up is not a machine, which its tests rule out.
pub fn power_on(target: &Target, program: &Program) -> Machine {
    let setup = &target.setups[usize::from(program.setup)];
    let config: Config = (setup.config)();
    Machine::new(&config).unwrap_or_else(|error| panic!("set-up {} of {}: {error}", setup.name, target.name))
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Done => Ok(()),
            Answer::Value(value) => write!(f, " -> {value:#x}"),
            Answer::Bytes(bytes) => {
                let shown = &bytes[..bytes.len().min(BYTES_SHOWN_MAX)];
                let rest = if shown.len() < bytes.len() { "…" } else { "" };
                write!(f, " -> {}{rest}", Hex(shown))
            }
            Answer::Refused => f.write_str(" -> refused: not wholly in RAM"),
        }
    }
}

/// Checks writes of devices to the [`WATCHED`] RAM against the target's guard.
pub(crate) struct Guarded {
    guard: Guard,
    /// What the current action allows.
    allowed: Option<Vec<Range<u64>>>,
    /// Watched RAM before and after the action, kept so that the pages are there.
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Guarded {
    pub(crate) fn new(guard: Guard) -> Guarded {
        let [before, after] = SPARE.take().unwrap_or_else(|| {
            let ram = vec![0; (WATCHED.end - WATCHED.start) as usize];
            [ram.clone(), ram]
        });
        Guarded {
            guard,
            allowed: None,
            before,
            after,
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let spare = [&mut self.before, &mut self.after].map(std::mem::take);
        SPARE.set(Some(spare));
    }
}

thread_local! {
    /// Copies of watched RAM for the next guard: fresh pages would cost more than all that it compares.
    static SPARE: Cell<Option<[Vec<u8>; 2]>> = const { Cell::new(None) };
}

impl Observer for Guarded {
    fn before(&mut self, machine: &Machine, action: &Action) {
        self.allowed = (self.guard)(machine, action);
        if self.allowed.is_some() {
            // Every set-up has that much RAM.
            let _whole = machine.memory().read(WATCHED.start, &mut self.before);
        }
    }

    fn after(&mut self, machine: &Machine, number: usize, action: &Action, _answer: &Answer) -> Result<(), Finding> {
        let Some(ranges) = self.allowed.take() else {
            return Ok(());
        };
        let _whole = machine.memory().read(WATCHED.start, &mut self.after);
        if self.before == self.after {
            return Ok(());
        }
        // What may have changed is made equal; what still differs was not to change.
        for range in ranges {
            let start = range.start.clamp(WATCHED.start, WATCHED.end) - WATCHED.start;
            let end = range.end.clamp(WATCHED.start, WATCHED.end) - WATCHED.start;
            let range = start as usize..end.max(start) as usize;
            self.after[range.clone()].copy_from_slice(&self.before[range]);
        }
        if self.before == self.after {
            return Ok(());
        }
        let mut bytes = self.before.iter().zip(&self.after);
        let offset = bytes.position(|(before, after)| before != after).unwrap_or_default();
        Err(Finding::Stray {
            number,
            action: action.clone(),
            gpa: WATCHED.start + offset as u64,
        })
    }
}

fn perform(machine: &mut Machine, number: usize, action: &Action) -> Result<Answer, Finding> {
    provoked::strike(action);
    let value = |width: Width, value: u64| {
        if value & !width.mask() == 0 {
            Ok(Answer::Value(value))
        } else {
            let action = action.clone();
            Err(Finding::Width { number, action, value })
        }
    };
    let whole = |result: Result<(), _>| if result.is_ok() { Answer::Done } else { Answer::Refused };
    match action {
        Action::PortRead { port, width } => {
            let answer = machine.port_read(*port, theirs(*width));
            return value(*width, u64::from(answer));
        }
        Action::Load { gpa, width } => {
            let answer = machine.load(*gpa, theirs(*width));
            return value(*width, answer);
        }
        Action::PortWrite { port, width, value } => machine.port_write(*port, theirs(*width), *value),
        Action::Store { gpa, width, value } => machine.store(*gpa, theirs(*width), *value),
        Action::ReadMemory { gpa, length_bytes } => {
            let mut bytes = vec![0; *length_bytes as usize];
            return Ok(match machine.memory().read(*gpa, &mut bytes) {
                Ok(()) => Answer::Bytes(bytes),
                Err(_) => Answer::Refused,
            });
        }
        Action::WriteMemory { gpa, bytes } => return Ok(whole(machine.memory().write(*gpa, bytes))),
        Action::FillMemory {
            gpa,
            length_bytes,
            byte,
        } => {
            let bytes = vec![*byte; *length_bytes as usize];
            return Ok(whole(machine.memory().write(*gpa, &bytes)));
        }
        Action::Advance { by_ns } => advance(machine, number, action, *by_ns)?,
        Action::SerialInput { bytes } => {
            let taken = machine.type_on_serial(bytes);
            return Ok(if taken { Answer::Done } else { Answer::Refused });
        }
        Action::Reset => machine.reset(),
    }
    Ok(Answer::Done)
}

/// Whether an access is the same as its bytes one after the other: a wide access to chips of 8 bits gives each byte
/// what its own port gives (the suite's clause `microvm/port-straddle`), and RAM has bytes. fw_cfg is wider.
fn is_divisible(action: &Action) -> bool {
    let is_port = |port: u16| port < 0x400 - 3 || (0x4d0..=0x4d1).contains(&port);
    let is_ram = |gpa: u64| SCRATCH.number(gpa & !0xf).is_some();
    match action {
        Action::PortRead { port, .. } | Action::PortWrite { port, .. } => is_port(*port),
        Action::Load { gpa, .. } | Action::Store { gpa, .. } => is_ram(*gpa) && is_ram(gpa + 7),
        _ => false,
    }
}

fn perform_in_bytes(machine: &mut Machine, number: usize, action: &Action) -> Result<Answer, Finding> {
    let mut whole = None;
    for index in 0..width_of(action).bytes() as u8 {
        let part = byte_of(action, index);
        if let Answer::Value(value) = perform(machine, number, &part)? {
            whole = Some(whole.unwrap_or(0) | value << (8 * index));
        }
    }
    Ok(whole.map_or(Answer::Done, Answer::Value))
}

fn width_of(action: &Action) -> Width {
    match action {
        Action::PortRead { width, .. }
        | Action::PortWrite { width, .. }
        | Action::Load { width, .. }
        | Action::Store { width, .. } => *width,
        _ => Width::Byte,
    }
}

fn byte_of(action: &Action, index: u8) -> Action {
    let mut part = action.clone();
    match &mut part {
        Action::PortRead { port, width } => (*port, *width) = (*port + u16::from(index), Width::Byte),
        Action::PortWrite { port, width, value } => {
            (*port, *width) = (*port + u16::from(index), Width::Byte);
            *value = *value >> (8 * index) & 0xff;
        }
        Action::Load { gpa, width } => (*gpa, *width) = (*gpa + u64::from(index), Width::Byte),
        Action::Store { gpa, width, value } => {
            (*gpa, *width) = (*gpa + u64::from(index), Width::Byte);
            *value = *value >> (8 * index) & 0xff;
        }
        _ => {}
    }
    part
}

/// Lets time pass, [`TICKS_MAX`] ticks at most: a guest can ask for more of them than anyone wants to wait for.
fn advance(machine: &mut Machine, number: usize, action: &Action, by_ns: u64) -> Result<(), Finding> {
    let begin = machine.now();
    let arrived = machine.advance_at_most(begin.saturating_add(Nanos(by_ns)), TICKS_MAX);
    let now = machine.now();
    if !arrived && now <= begin {
        let action = action.clone();
        return Err(Finding::Stuck { number, action, now });
    }
    Ok(())
}

fn levels(machine: &Machine) -> [bool; GSI_COUNT as usize] {
    std::array::from_fn(|gsi| machine.line_level(gsi as u8))
}

/// Whether the costly checks are made for an input: a property of its bytes, so that a replay makes them too.
pub(crate) fn is_deep(input: &[u8]) -> bool {
    let mut digest = Digest(FNV_OFFSET);
    digest.bytes(input);
    (digest.0 >> 32).is_multiple_of(DEEP_EVERY)
}

/// FNV-1a over 64-bit words.
struct Digest(u64);

impl Digest {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(FNV_PRIME);
        self.0 ^= self.0 >> 29;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.word(u64::from(*byte)));
    }

    fn answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Done => self.word(1),
            Answer::Refused => self.word(2),
            Answer::Value(value) => {
                self.word(3);
                self.word(*value);
            }
            Answer::Bytes(bytes) => self.bytes(bytes),
        }
    }

    /// What the machine did to the world around it.
    fn world(&mut self, machine: &mut Machine) {
        for change in machine.take_line_changes() {
            self.word(u64::from(change.gsi) << 1 | u64::from(change.level));
        }
        for event in machine.take_events() {
            match event {
                Event::SerialOut(byte) => self.word(u64::from(byte)),
                Event::DebugOut(byte) => self.word(u64::from(byte)),
                Event::DebugExit { value } => self.word(u64::from(value)),
                Event::BootMark { mark } => self.word(u64::from(mark)),
                Event::Reset => self.word(0),
                Event::Msi { address, data } => self.word(address ^ u64::from(data) << 32),
                Event::Intr { level } => self.word(u64::from(level)),
                Event::VirtioOut => {
                    for (transport, data) in machine.take_output() {
                        self.word(u64::from(transport));
                        self.bytes(&data);
                    }
                }
            }
        }
    }
}

/// The device of a transport as names and values.
pub(crate) fn inspect(machine: &Machine, slot: Slot) -> Vec<(String, String)> {
    let mut out = vmm::inspect::Inspector::new();
    if let Some(device) = machine.board().device(slot) {
        device.inspect(&mut out);
    }
    out.values()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A device as names and values, for canaries: what it does not show is empty.
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn of(machine: &Machine, slot: Slot) -> Fields {
        Fields(inspect(machine, slot))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value)
    }

    /// A number, hexadecimal with `0x` or decimal; 0 for what is none.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let text = self.text(name);
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.unwrap_or_default()
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.text(name) == "true"
    }
}

pub(crate) fn theirs(width: Width) -> vmm::units::Width {
    match width {
        Width::Byte => vmm::units::Width::Byte,
        Width::Word => vmm::units::Width::Word,
        Width::Dword => vmm::units::Width::Dword,
        Width::Qword => vmm::units::Width::Qword,
    }
}

/// One input in so many gets the costly checks.
pub const DEEP_EVERY: u64 = 64;

/// Most ticks of an unused machine until it is as old as a used one.
const IDLE_TICKS_MAX: u32 = 4096;

/// SQWE, UIE, AIE and PIE of the clock's register B, which RESET clears. MC146818A, REGISTER B.
const RTC_ENABLES: u64 = 0x78;

/// Most ticks of one step of time.
pub const TICKS_MAX: u32 = 64;

/// Most bytes of one bulk read shown in a replay.
const BYTES_SHOWN_MAX: usize = 64;

/// RAM whose every change by a device is checked: the part of scratch RAM that the cases use, and that seeds should.
const WATCHED: Range<u64> = SCRATCH.base..SCRATCH.base + (256 << 10);

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
