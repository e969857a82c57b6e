//! The only thing a case body sees: typed accesses to one machine, checks, and a transcript of both.

use crate::case::Setup;
use crate::layout::Layout;
use crate::machine::{Caps, Facts, HostAction, LineEvent, Machine, Output, Stop, Width, Wire};
use crate::program::{Action, Hex};
use crate::replay;

/// One machine seen by one body.
pub struct Probe<'a> {
    // Connections.
    machine: &'a mut dyn Machine,
    layout: &'a Layout,
    setup: &'a Setup,
    guest_log: Option<&'a str>,
    // State.
    point: Option<String>,
    record: Record,
}

/// What one run of a body left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Checks that did not hold, in order.
    pub mismatches: Vec<Mismatch>,
    /// What was observed where the documents leave a choice.
    pub notes: Vec<String>,
    /// Marks of a boot, with the host's time since the subject's start in microseconds.
    pub marks: Vec<(String, u64)>,
    /// Accesses and answers as text, [`TRANSCRIPT_LINES_MAX`] lines at most.
    pub transcript: Vec<String>,
    /// Number of accesses.
    pub accesses: u64,
    /// Number of points of a sweep that were looked at.
    pub points: u64,
    /// Number of checks made; a body that makes none proves nothing.
    pub checks: u64,
}

/// A check that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The point of the sweep, if any.
    pub point: Option<String>,
    /// What was looked at.
    pub what: String,
    /// What the subject gave.
    pub got: String,
    /// What the clause wants.
    pub want: String,
}

impl<'a> Probe<'a> {
    /// A probe on a fresh machine.
    pub fn new(machine: &'a mut dyn Machine, layout: &'a Layout, setup: &'a Setup) -> Probe<'a> {
        Probe {
            machine,
            layout,
            setup,
            guest_log: None,
            point: None,
            record: Record::default(),
        }
    }

    /// The same, with what a resident image printed.
    pub fn with_guest_log(mut self, log: &'a str) -> Probe<'a> {
        self.guest_log = Some(log);
        self
    }

    /// Ends the probe.
    pub fn into_record(self) -> Record {
        self.record
    }

    /// The addresses and presences of the machine.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// How the machine was set up.
    pub fn setup(&self) -> &'a Setup {
        self.setup
    }

    /// The devices that the machine has: those of the set-up, but for what it could not be given.
    pub fn devices(&self) -> &[&'static str] {
        let given = self.facts().devices.as_deref();
        given.unwrap_or(self.setup.devices)
    }

    /// Facts of this power-on.
    pub fn facts(&self) -> &Facts {
        self.machine.facts()
    }

    /// What the machine can be asked for.
    pub fn caps(&self) -> Caps {
        self.machine.caps()
    }

    /// What the resident image printed, at depth guest.
    ///
    /// # Errors
    /// [`Stop::Unavailable`] at other depths.
    pub fn guest_log(&self) -> Result<&'a str, Stop> {
        self.guest_log
            .ok_or_else(|| Stop::Unavailable("no resident image runs at this depth".to_owned()))
    }

    /// Reads a port: 1, 2 or 4 bytes.
    ///
    /// # Errors
    /// As [`Machine::port_read`]; the same for all accesses here.
    pub fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop> {
        let answer = self.machine.port_read(port, width);
        self.log(
            &Action::PortRead { port, width },
            answer.as_ref().map(|value| Some(u64::from(*value))),
        );
        answer
    }

    /// Writes a port: 1, 2 or 4 bytes.
    pub fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let answer = self.machine.port_write(port, width, value);
        self.log(
            &Action::PortWrite { port, width, value },
            answer.as_ref().map(|()| None),
        );
        answer
    }

    /// Reads a byte port.
    pub fn inb(&mut self, port: u16) -> Result<u8, Stop> {
        self.port_read(port, Width::Byte).map(|value| value as u8)
    }

    /// Reads a byte port `count` times, each with one access of its own; quicker than as many [`Probe::inb`] where each
    /// exchange with the subject costs.
    pub fn inb_many(&mut self, port: u16, count: usize) -> Result<Vec<u8>, Stop> {
        let answer = self.machine.port_read_many(port, Width::Byte, count);
        let answer = answer.map(|values| values.iter().map(|&value| value as u8).collect::<Vec<_>>());
        self.record.accesses += count as u64;
        self.line(match &answer {
            Ok(bytes) => format!("inb {port:#x}, {count} times -> {}", Hex(bytes)),
            Err(stop) => format!("inb {port:#x}, {count} times -> {stop:?}"),
        });
        answer
    }

    /// Reads two bytes from a port.
    pub fn inw(&mut self, port: u16) -> Result<u16, Stop> {
        self.port_read(port, Width::Word).map(|value| value as u16)
    }

    /// Reads four bytes from a port.
    pub fn inl(&mut self, port: u16) -> Result<u32, Stop> {
        self.port_read(port, Width::Dword)
    }

    /// Writes a byte port.
    pub fn outb(&mut self, port: u16, value: u8) -> Result<(), Stop> {
        self.port_write(port, Width::Byte, u32::from(value))
    }

    /// Writes two bytes to a port.
    pub fn outw(&mut self, port: u16, value: u16) -> Result<(), Stop> {
        self.port_write(port, Width::Word, u32::from(value))
    }

    /// Writes four bytes to a port.
    pub fn outl(&mut self, port: u16, value: u32) -> Result<(), Stop> {
        self.port_write(port, Width::Dword, value)
    }

    /// Loads as a CPU does.
    pub fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop> {
        let answer = self.machine.load(gpa, width);
        self.log(&Action::Load { gpa, width }, answer.as_ref().map(|value| Some(*value)));
        answer
    }

    /// Stores as a CPU does.
    pub fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let answer = self.machine.store(gpa, width, value);
        self.log(&Action::Store { gpa, width, value }, answer.as_ref().map(|()| None));
        answer
    }

    /// Loads four bytes: a register of a memory-mapped device.
    pub fn readl(&mut self, gpa: u64) -> Result<u32, Stop> {
        self.load(gpa, Width::Dword).map(|value| value as u32)
    }

    /// Stores four bytes.
    pub fn writel(&mut self, gpa: u64, value: u32) -> Result<(), Stop> {
        self.store(gpa, Width::Dword, u64::from(value))
    }

    /// Reads RAM in bulk.
    pub fn read_memory(&mut self, gpa: u64, length_bytes: usize) -> Result<Vec<u8>, Stop> {
        let mut bytes = vec![0; length_bytes];
        let answer = self.machine.read_memory(gpa, &mut bytes);
        self.record.accesses += 1;
        let action = Action::ReadMemory {
            gpa,
            length_bytes: length_bytes as u32,
        };
        let shown = &bytes[..bytes.len().min(TRANSCRIPT_BYTES_MAX)];
        let rest = if shown.len() < bytes.len() { "…" } else { "" };
        self.line(match &answer {
            Ok(()) => format!("{action} -> {}{rest}", Hex(shown)),
            Err(stop) => format!("{action} -> {stop:?}"),
        });
        answer.map(|()| bytes)
    }

    /// Writes RAM in bulk.
    pub fn write_memory(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Stop> {
        let answer = self.machine.write_memory(gpa, bytes);
        self.log(
            &Action::WriteMemory {
                gpa,
                bytes: bytes.to_vec(),
            },
            answer.as_ref().map(|()| None),
        );
        answer
    }

    /// Reads a port `count` times with one string instruction.
    pub fn port_read_string(&mut self, port: u16, width: Width, count: u16) -> Result<Vec<u8>, Stop> {
        let answer = self.machine.port_read_string(port, width, count);
        self.record.accesses += 1;
        self.line(match &answer {
            Ok(bytes) => format!("ins{} {port:#x} {count} -> {}", width.letter(), Hex(bytes)),
            Err(stop) => format!("ins{} {port:#x} {count} -> {stop:?}", width.letter()),
        });
        answer
    }

    /// Writes a port with one string instruction.
    pub fn port_write_string(&mut self, port: u16, width: Width, bytes: &[u8]) -> Result<(), Stop> {
        let answer = self.machine.port_write_string(port, width, bytes);
        self.record.accesses += 1;
        self.line(format!("outs{} {port:#x} {} -> {answer:?}", width.letter(), Hex(bytes)));
        answer
    }

    /// Lets virtual time pass.
    pub fn advance(&mut self, by_ns: u64) -> Result<(), Stop> {
        let answer = self.machine.advance(by_ns);
        self.log(&Action::Advance { by_ns }, answer.as_ref().map(|()| None));
        answer
    }

    /// Takes the changes of interrupt lines since the last call, oldest first.
    pub fn line_events(&mut self) -> Result<Vec<LineEvent>, Stop> {
        let events = self.machine.line_events()?;
        for event in &events {
            self.line(format!(
                "IRQ {} {}",
                if event.level { "raise" } else { "lower" },
                event.gsi
            ));
        }
        Ok(events)
    }

    /// Acts from the host's side.
    pub fn host(&mut self, action: &HostAction) -> Result<(), Stop> {
        let answer = self.machine.host(action);
        let HostAction::SerialInput(bytes) = action;
        self.log(
            &Action::SerialInput { bytes: bytes.clone() },
            answer.as_ref().map(|()| None),
        );
        answer
    }

    /// Takes what the serial port sent since the last call.
    pub fn serial_output(&mut self) -> Result<Vec<u8>, Stop> {
        let bytes = self.machine.serial_output()?;
        self.line(format!("serial sent {}", Hex(&bytes)));
        Ok(bytes)
    }

    /// Takes what went to the CPUs and to the debugging devices' host since the last call, oldest first.
    pub fn outputs(&mut self) -> Result<Vec<Output>, Stop> {
        let outputs = self.machine.outputs()?;
        for output in &outputs {
            self.line(format!("sent {output:x?}"));
        }
        Ok(outputs)
    }

    /// Acknowledges an interrupt of the 8259 as the CPU does; `None` while `wire` asks for none.
    pub fn acknowledge(&mut self, wire: Wire) -> Result<Option<u8>, Stop> {
        let answer = self.machine.acknowledge(wire);
        self.record.accesses += 1;
        self.line(format!("INTA for {wire:?} -> {answer:x?}"));
        answer
    }

    /// What the subject says when it refuses a machine of this set-up; `None` when it would start it.
    pub fn refusal(&mut self, setup: &Setup) -> Result<Option<String>, Stop> {
        let answer = self.machine.refusal(setup);
        self.record.accesses += 1;
        self.line(format!("another machine of {setup:?} -> {answer:?}"));
        answer
    }

    /// Resets the system.
    pub fn reset(&mut self) -> Result<(), Stop> {
        let answer = self.machine.reset();
        self.log(&Action::Reset, answer.as_ref().map(|()| None));
        answer
    }

    /// Performs an action; the answer is a number in hexadecimal, bytes, or empty.
    pub fn act(&mut self, action: &Action) -> Result<String, Stop> {
        let answer = replay::act(self.machine, action);
        self.record.accesses += 1;
        self.line(match &answer {
            Ok(answer) if answer.is_empty() => action.to_string(),
            Ok(answer) => format!("{action} -> {answer}"),
            Err(stop) => format!("{action} -> {stop:?}"),
        });
        answer
    }

    /// Names the point of a sweep that the next checks are about.
    pub fn point(&mut self, name: impl Into<String>) {
        self.record.points += 1;
        self.point = Some(name.into());
    }

    /// Checks a number and goes on either way.
    pub fn check_eq(&mut self, what: &str, got: impl Into<u64>, want: impl Into<u64>) {
        let (got, want) = (got.into(), want.into());
        self.check(what, got == want, format!("{got:#x}"), format!("{want:#x}"));
    }

    /// Checks a number that the rest of the body stands on.
    ///
    /// # Errors
    /// [`Stop::NotMet`] when it is another.
    pub fn require_eq(&mut self, what: &str, got: impl Into<u64>, want: impl Into<u64>) -> Result<(), Stop> {
        let (got, want) = (got.into(), want.into());
        self.check_eq(what, got, want);
        if got == want { Ok(()) } else { Err(Stop::NotMet) }
    }

    /// Checks bytes and goes on either way.
    pub fn check_bytes(&mut self, what: &str, got: &[u8], want: &[u8]) {
        self.check(what, got == want, Hex(got).to_string(), Hex(want).to_string());
    }

    /// Checks a condition and goes on either way; `got` and `want` are printed when it does not hold.
    pub fn check(&mut self, what: &str, holds: bool, got: impl Into<String>, want: impl Into<String>) {
        self.record.checks += 1;
        if holds {
            return;
        }
        let (got, want) = (got.into(), want.into());
        self.line(format!("# {what}: got {got}, want {want}"));
        if self.record.mismatches.len() < MISMATCHES_MAX {
            let what = what.to_owned();
            self.record.mismatches.push(Mismatch {
                point: self.point.clone(),
                what,
                got,
                want,
            });
        }
    }

    /// Records which way a behaviour went that the documents leave open.
    pub fn note(&mut self, what: impl Into<String>) {
        self.record.checks += 1;
        self.record.notes.push(what.into());
    }

    /// Keeps a mark of a boot for the report: the host's time since the subject's start.
    pub fn mark(&mut self, name: &str, host_us: u64) {
        self.record.marks.push((name.to_owned(), host_us));
    }

    fn log(&mut self, action: &Action, answer: Result<Option<u64>, &Stop>) {
        self.record.accesses += 1;
        self.line(match answer {
            Ok(Some(value)) => format!("{action} -> {value:#x}"),
            Ok(None) => action.to_string(),
            Err(stop) => format!("{action} -> {stop:?}"),
        });
    }

    fn line(&mut self, line: String) {
        if self.record.transcript.len() < TRANSCRIPT_LINES_MAX {
            self.record.transcript.push(line);
        } else if self.record.transcript.len() == TRANSCRIPT_LINES_MAX {
            self.record
                .transcript
                .push(format!("# cut after {TRANSCRIPT_LINES_MAX} lines"));
        }
    }
}

/// Most lines of a transcript.
pub const TRANSCRIPT_LINES_MAX: usize = 20_000;

/// Most mismatches kept of one body.
pub const MISMATCHES_MAX: usize = 64;

/// Most bytes of one bulk read shown in a transcript.
const TRANSCRIPT_BYTES_MAX: usize = 256;
