//! What a subject must offer: one power-on of a machine, driven from outside.

use std::fmt;
use std::sync::Arc;

use crate::case::Setup;
use crate::layout::Layout;
use crate::marks::BootMarks;
use crate::program::Action;
use crate::replay;
use crate::subject::check;

/// The width of one access: 1, 2, 4 or 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Dword,
    /// 64 bits.
    Qword,
}

/// One power-on; the runner asks for a fresh one for every case. Values come back with only the access's bits set.
pub trait Machine {
    /// What this machine can be asked for.
    fn caps(&self) -> Caps;

    /// Facts of this power-on that a case may need and cannot know.
    fn facts(&self) -> &Facts;

    /// Reads an I/O port with one access of 1, 2 or 4 bytes.
    ///
    /// # Errors
    /// [`Stop::Broken`] when the transport fails; an odd value is no error. The same holds for all methods here, and
    /// [`Stop::Unsupported`] where a capability is missing.
    fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop>;

    /// Reads an I/O port `count` times, each with one access of its own. Adapters that pay for each exchange with their
    /// subject carry the whole row over at once.
    fn port_read_many(&mut self, port: u16, width: Width, count: usize) -> Result<Vec<u32>, Stop> {
        (0..count).map(|_| self.port_read(port, width)).collect()
    }

    /// Writes an I/O port with one access of 1, 2 or 4 bytes.
    fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop>;

    /// Loads from guest-physical memory as a CPU does: RAM or a device's registers, with one access.
    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop>;

    /// Stores to guest-physical memory as a CPU does.
    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop>;

    /// Reads RAM in bulk.
    fn read_memory(&mut self, gpa: u64, into: &mut [u8]) -> Result<(), Stop>;

    /// Writes RAM in bulk.
    fn write_memory(&mut self, gpa: u64, from: &[u8]) -> Result<(), Stop>;

    /// Reads a port `count` times with one string instruction; bytes in memory order. Needs [`Caps::STRING_IO`].
    fn port_read_string(&mut self, port: u16, width: Width, count: u16) -> Result<Vec<u8>, Stop> {
        let _ = (port, width, count);
        Err(Stop::Unsupported(Caps::STRING_IO))
    }

    /// Writes a port with one string instruction. Needs [`Caps::STRING_IO`].
    fn port_write_string(&mut self, port: u16, width: Width, bytes: &[u8]) -> Result<(), Stop> {
        let _ = (port, width, bytes);
        Err(Stop::Unsupported(Caps::STRING_IO))
    }

    /// Lets virtual time pass. Needs [`Caps::CLOCK`].
    fn advance(&mut self, by_ns: u64) -> Result<(), Stop> {
        let _ = by_ns;
        Err(Stop::Unsupported(Caps::CLOCK))
    }

    /// Changes of interrupt lines (IOAPIC inputs, as GSIs) since the last call, oldest first. Needs [`Caps::LINES`].
    fn line_events(&mut self) -> Result<Vec<LineEvent>, Stop> {
        Err(Stop::Unsupported(Caps::LINES))
    }

    /// Acts from the host's side. Needs the action's capability.
    fn host(&mut self, action: &HostAction) -> Result<(), Stop> {
        Err(Stop::Unsupported(action.caps()))
    }

    /// Bytes the serial port sent since the last call. Needs [`Caps::SERIAL_OUTPUT`].
    fn serial_output(&mut self) -> Result<Vec<u8>, Stop> {
        Err(Stop::Unsupported(Caps::SERIAL_OUTPUT))
    }

    /// What went to the CPUs and to the debugging devices' host since the last call, oldest first. Needs
    /// [`Caps::OUTPUTS`].
    fn outputs(&mut self) -> Result<Vec<Output>, Stop> {
        Err(Stop::Unsupported(Caps::OUTPUTS))
    }

    /// Takes the CPU's part in an interrupt of the 8259: its INTA cycle, and the vector that the 8259 answers with;
    /// `None`, and no cycle, while `wire` asks for none. Needs [`Caps::OUTPUTS`].
    fn acknowledge(&mut self, wire: Wire) -> Result<Option<u8>, Stop> {
        let _ = wire;
        Err(Stop::Unsupported(Caps::OUTPUTS))
    }

    /// What the subject says when it refuses a machine of this set-up; `None` when it would start it. Needs
    /// [`Caps::REFUSALS`].
    fn refusal(&mut self, setup: &Setup) -> Result<Option<String>, Stop> {
        let _ = setup;
        Err(Stop::Unsupported(Caps::REFUSALS))
    }

    /// System reset. Needs [`Caps::RESET`].
    fn reset(&mut self) -> Result<(), Stop> {
        Err(Stop::Unsupported(Caps::RESET))
    }

    /// Performs actions in a row and adds what each gave to `answers`, so that a failure leaves those before it there.
    /// Adapters that pay for each exchange with their subject carry many over at once.
    fn perform(&mut self, actions: &[Action], answers: &mut Vec<Answered>) -> Result<(), Stop> {
        let watches = self.caps().missing(Caps::LINES).is_empty();
        for action in actions {
            let answer = replay::act(self, action)?;
            let events = if watches { self.line_events()? } else { Vec::new() };
            answers.push(Answered { events, answer });
        }
        Ok(())
    }

    /// What the subject can show of itself after a failure: standard error, registers, device state.
    fn post_mortem(&mut self) -> String {
        String::new()
    }
}

/// Starts machines of one subject at one depth.
pub trait Adapter: Send + Sync {
    /// Which depth this adapter serves.
    fn depth(&self) -> Depth;

    /// What its machines can be asked for.
    fn caps(&self) -> Caps;

    /// Powers a fresh machine on.
    ///
    /// # Errors
    /// [`Stop::Broken`] when the subject does not start, [`Stop::Unavailable`] when this subject cannot be set up so.
    fn boot(&self, setup: &Setup, layout: &Layout) -> Result<Box<dyn Machine>, BootFailure>;

    /// Tries one start of the default machine out, step by step, up to the first step that fails.
    fn try_out(&self, layout: &Layout) -> Vec<Attempt> {
        check::booted(self.boot(&Setup::DEFAULT, layout), self.depth())
    }

    /// Boots a resident image and returns what it printed. Adapters keep the log and answer the next case from it.
    ///
    /// # Errors
    /// As [`Adapter::boot`]; [`Stop::Unavailable`] at every depth but [`Depth::Guest`].
    fn resident(&self, image: &str, setup: &Setup, layout: &Layout) -> Result<Resident, BootFailure> {
        let _ = (setup, layout);
        let text = format!("image '{image}' runs at depth guest only, this is {}", self.depth());
        Err(Stop::Unavailable(text).into())
    }
}

/// A machine that is not there: why, and what the subject showed of itself before it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFailure {
    /// Why.
    pub stop: Stop,
    /// How it ended and after how long, its output and its standard error; empty when nothing was started.
    pub shown: String,
}

/// One step of trying a subject out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried, in one word: `started`.
    pub step: &'static str,
    /// What was seen.
    pub seen: String,
    /// What to do about it; `None` when it worked.
    pub fix: Option<String>,
}

impl Attempt {
    /// It worked.
    pub fn done(step: &'static str, seen: impl Into<String>) -> Attempt {
        let seen = seen.into();
        Attempt { step, seen, fix: None }
    }

    /// It did not.
    pub fn failed(step: &'static str, seen: impl Into<String>, fix: impl Into<String>) -> Attempt {
        let (seen, fix) = (seen.into(), Some(fix.into()));
        Attempt { step, seen, fix }
    }
}

/// What a resident image left behind.
#[derive(Clone, Debug)]
pub struct Resident {
    /// What it printed; each line begins with the host's time since the start, as `[   0.012345] `.
    pub log: Arc<str>,
    /// Facts of that power-on.
    pub facts: Facts,
}

/// How deep a body runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Depth {
    /// Linked in process, virtual clock.
    Bus,
    /// Any process that speaks the qtest protocol.
    Wire,
    /// Each access performed by a real CPU, through the agent image.
    Cpu,
    /// A resident image judges by itself and prints what it sees.
    Guest,
}

/// What a subject can be asked for, as a set of bits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps(pub u32);

/// Facts of one power-on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The command line the user gave, before the machine appended to it; `None` when no kernel was given.
    pub append: Option<String>,
    /// Entry point of the kernel given, for the fw_cfg key.
    pub kernel_entry: Option<u64>,
    /// Transport index of each device of the set-up, in the set-up's order; empty when the machine chose (the rule).
    pub transports: Vec<u8>,
    /// RAM that bodies must leave alone, as `(gpa, length_bytes)`: the agent's image.
    pub reserved: Vec<(u64, u64)>,
    /// The machine runs on KVM, which reserves memory of its own (an e820 entry) and leaves the RTC out by default.
    pub kvm: bool,
    /// The devices of the set-up that the machine got, in its order, where that is not the set-up's own list: a Linux
    /// boots without what cannot be had.
    pub devices: Option<Vec<&'static str>>,
    /// The Linux that runs is the user's: what it lacks is not the machine's fault.
    pub own_kernel: bool,
    /// What the VMM noted of a boot that is over, where it does so.
    pub boot_marks: Option<Arc<BootMarks>>,
}

/// One change of an interrupt line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineEvent {
    /// Global system interrupt: input of the IOAPIC, before any remapping in it.
    pub gsi: u8,
    /// The new level.
    pub level: bool,
}

/// What a machine sends to CPUs, and what its debugging devices tell the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The IOAPIC sends a message to the local APICs.
    Message {
        /// 0xfee00000 with the destination, as a PCI device would write it.
        address: u64,
        /// Vector, delivery mode, level and trigger mode, in the same form.
        data: u32,
    },
    /// INT of the master 8259 changed.
    Int {
        /// The new level.
        level: bool,
    },
    /// A byte to the debug console.
    DebugConsole(u8),
    /// A number to the debug-exit port.
    DebugExit(u32),
    /// A byte to the boot-mark port.
    BootMark(u8),
}

/// A way on which an interrupt of the 8259 reaches a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// INT of the master, at a local APIC's LINT0 or a CPU without one: asks while it is high.
    Int,
    /// The IOAPIC's messages with delivery mode ExtINT: each asks once.
    ExtInt,
}

/// What one action gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// Changes of interrupt lines, oldest first; none where lines cannot be watched.
    pub events: Vec<LineEvent>,
    /// A number in lower-case hexadecimal, bytes as pairs of digits, or empty.
    pub answer: String,
}

/// Something done from the host's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAction {
    /// Type bytes on the serial line.
    SerialInput(Vec<u8>),
}

/// Why a body did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A requirement that the rest of the body stands on is unmet; the mismatch is in the probe.
    NotMet,
    /// The subject lacks a capability.
    Unsupported(Caps),
    /// The subject cannot be set up as the case wants; says why.
    Unavailable(String),
    /// The case does not apply to this machine; says why.
    NotApplicable(String),
    /// Harness or subject failed.
    Broken(Broken),
}

/// How a subject or its transport failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The subject did not start.
    #[error("subject did not start: {0}")]
    Start(String),
    /// The subject ended while it was spoken to.
    #[error("subject ended: {0}")]
    Crash(String),
    /// No answer within the limit.
    #[error("no answer: {0}")]
    Timeout(String),
    /// An answer that makes no sense.
    #[error("transport: {0}")]
    Transport(String),
}

impl Width {
    /// All widths, narrowest first.
    pub const ALL: [Width; 4] = [Width::Byte, Width::Word, Width::Dword, Width::Qword];

    /// Number of bytes: 1, 2, 4 or 8.
    pub fn bytes(self) -> usize {
        match self {
            Width::Byte => 1,
            Width::Word => 2,
            Width::Dword => 4,
            Width::Qword => 8,
        }
    }

    /// The width of `bytes` bytes; `None` unless it is 1, 2, 4 or 8.
    pub fn from_bytes(bytes: usize) -> Option<Width> {
        Width::ALL.into_iter().find(|width| width.bytes() == bytes)
    }

    /// A value with all bits of this width set.
    pub fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }

    /// qtest's letter: `b`, `w`, `l` or `q`.
    pub fn letter(self) -> char {
        match self {
            Width::Byte => 'b',
            Width::Word => 'w',
            Width::Dword => 'l',
            Width::Qword => 'q',
        }
    }
}

impl Caps {
    /// Nothing beyond port and memory accesses.
    pub const NONE: Caps = Caps(0);
    /// Virtual time can be advanced.
    pub const CLOCK: Caps = Caps(1 << 0);
    /// Interrupt lines can be watched.
    pub const LINES: Caps = Caps(1 << 1);
    /// String I/O is a single instruction.
    pub const STRING_IO: Caps = Caps(1 << 2);
    /// The serial port is free for the case: it is not the suite's own channel.
    pub const SERIAL: Caps = Caps(1 << 3);
    /// Bytes can be typed on the serial line.
    pub const SERIAL_INPUT: Caps = Caps(1 << 4);
    /// What the serial port sends can be read.
    pub const SERIAL_OUTPUT: Caps = Caps(1 << 5);
    /// The system can be reset.
    pub const RESET: Caps = Caps(1 << 6);
    /// Devices process their queues (a paused QEMU does not).
    pub const QUEUES: Caps = Caps(1 << 7);
    /// Time stands still between accesses unless advanced.
    pub const FROZEN: Caps = Caps(1 << 8);
    /// A firmware of 64 KiB or more lies in memory.
    pub const FIRMWARE: Caps = Caps(1 << 9);
    /// Time passes: by itself, or when it is advanced. A subject has this unless it is frozen without a clock.
    pub const TIME: Caps = Caps(1 << 10);

    /// Exits from the guest are counted and its marks noted.
    pub const EXITS: Caps = Caps(1 << 11);

    /// What goes to CPUs and to the debugging devices' host is shown, and a case can take the CPU's part.
    pub const OUTPUTS: Caps = Caps(1 << 12);

    /// The subject can be asked for further machines, and says which it refuses.
    pub const REFUSALS: Caps = Caps(1 << 13);

    /// A kernel was started, so that memory holds what is prepared for one. So it is at depth cpu.
    pub const KERNEL: Caps = Caps(1 << 14);

    /// All named capabilities.
    pub const NAMED: [(&'static str, Caps); 15] = [
        ("clock", Caps::CLOCK),
        ("lines", Caps::LINES),
        ("string-io", Caps::STRING_IO),
        ("serial", Caps::SERIAL),
        ("serial-input", Caps::SERIAL_INPUT),
        ("serial-output", Caps::SERIAL_OUTPUT),
        ("reset", Caps::RESET),
        ("queues", Caps::QUEUES),
        ("frozen", Caps::FROZEN),
        ("firmware", Caps::FIRMWARE),
        ("time", Caps::TIME),
        ("exits", Caps::EXITS),
        ("outputs", Caps::OUTPUTS),
        ("refusals", Caps::REFUSALS),
        ("kernel", Caps::KERNEL),
    ];

    /// Both sets together.
    pub const fn with(self, other: Caps) -> Caps {
        Caps(self.0 | other.0)
    }

    /// What `needed` has that `self` lacks.
    pub fn missing(self, needed: Caps) -> Caps {
        Caps(needed.0 & !self.0)
    }

    /// Whether time passes by itself, as the host has it: work that a device was given is done at some later time.
    pub fn has_own_time(self) -> bool {
        let by_hand = Caps::CLOCK.with(Caps::FROZEN);
        self.missing(by_hand) == by_hand
    }

    /// Whether no capability is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl HostAction {
    /// The capability the action needs.
    pub fn caps(&self) -> Caps {
        match self {
            HostAction::SerialInput(_) => Caps::SERIAL_INPUT,
        }
    }
}

impl Depth {
    /// All depths, shallowest first.
    pub const ALL: [Depth; 4] = [Depth::Bus, Depth::Wire, Depth::Cpu, Depth::Guest];

    /// The word used on command lines and in reports.
    pub fn word(self) -> &'static str {
        match self {
            Depth::Bus => "bus",
            Depth::Wire => "wire",
            Depth::Cpu => "cpu",
            Depth::Guest => "guest",
        }
    }
}

impl fmt::Display for Caps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Caps::NAMED
            .iter()
            .filter(|(_, cap)| cap.0 & self.0 != 0)
            .map(|(name, _)| *name)
            .collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Caps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caps({self})")
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Stop {
        Stop::Broken(broken)
    }
}

impl From<Stop> for BootFailure {
    fn from(stop: Stop) -> BootFailure {
        BootFailure {
            stop,
            shown: String::new(),
        }
    }
}

impl From<Broken> for BootFailure {
    fn from(broken: Broken) -> BootFailure {
        Stop::from(broken).into()
    }
}

impl From<BootFailure> for Stop {
    fn from(failure: BootFailure) -> Stop {
        failure.stop
    }
}
