//! Depth wire: any process that speaks the qtest line protocol.
//!
//! Source: QEMU, "QTest Device Emulation Testing Framework", protocol section, and what QEMU 7.2 answers.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::description::{Channel, Description, Launch, Places, Reset, Serial};
use super::disk;
use super::kernel;
use super::peer::Peers;
use super::process::{Process, printable};
use super::qmp::Qmp;
use super::remains::Folder;
use crate::case::Setup;
use crate::layout::Layout;
use crate::machine::{
    Adapter, Answered, BootFailure, Broken, Caps, Depth, Facts, HostAction, LineEvent, Machine, Stop, Width,
};
use crate::program::{Action, Hex, MEMORY_LENGTH_MAX, parse_hex, parse_number};
use crate::replay;

/// Starts a subject that speaks qtest.
pub struct QtestAdapter {
    description: Arc<Description>,
    launch: Launch,
    caps: Caps,
}

impl QtestAdapter {
    /// An adapter for one way of starting a described subject.
    ///
    /// # Errors
    /// Text that names a capability that does not exist.
    pub fn new(description: Arc<Description>, launch: Launch) -> Result<QtestAdapter, String> {
        let caps = launch.caps()?;
        Ok(QtestAdapter {
            description,
            launch,
            caps,
        })
    }
}

impl Adapter for QtestAdapter {
    fn depth(&self) -> Depth {
        Depth::Wire
    }

    fn caps(&self) -> Caps {
        self.caps
    }

    fn boot(&self, setup: &Setup, layout: &Layout) -> Result<Box<dyn Machine>, BootFailure> {
        let folder = Folder::new().map_err(start)?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let peers = Peers::start(folder.path(), setup)?;
        let mut places = Places {
            socket: path("qtest"),
            qmp: path("qmp"),
            halt_bios: path("halt.bios"),
            append: setup.append.unwrap_or_default().to_owned(),
            folder: folder.path().to_owned(),
            disks: disk::write_images(folder.path(), setup).map_err(start)?,
            peers: peers.paths(),
            ..Places::default()
        };
        if setup.append.is_some() {
            let kernel = path("kernel");
            std::fs::write(&kernel, kernel::of_setup(setup)).map_err(start)?;
            places.kernel = Some(kernel);
            places.is_bz_image = setup.bz_image;
        }
        let words = self.description.prepare(&self.launch, setup, layout, &places)?;
        if words.iter().any(|word| word.contains(&places.halt_bios)) {
            std::fs::write(&places.halt_bios, kernel::halt_bios()).map_err(start)?;
        }
        let facts = Facts {
            append: setup.append.map(str::to_owned),
            kernel_entry: kernel::entry_of_setup(setup),
            kvm: self.launch.needs_kvm(),
            ..Facts::default()
        };
        let machine = QtestMachine::start(&self.launch, self.caps, &words, &places, folder, peers, facts)?;
        Ok(Box::new(machine))
    }
}

/// One process and the conversation with it.
struct QtestMachine {
    // Configuration, fixed at construction.
    caps: Caps,
    facts: Facts,
    reset: Reset,
    serial: Serial,
    answer_limit: Duration,
    // Connections; the process goes first, so that it is dead before its folder is removed.
    process: Process,
    lines: Lines,
    console: Option<UnixStream>,
    qmp: Option<Qmp>,
    _peers: Peers,
    _folder: Folder,
    // State, all of it.
    events: VecDeque<LineEvent>,
}

impl QtestMachine {
    fn start(
        launch: &Launch,
        caps: Caps,
        words: &[String],
        places: &Places,
        folder: Folder,
        peers: Peers,
        facts: Facts,
    ) -> Result<QtestMachine, BootFailure> {
        let deadline = Instant::now() + Duration::from_millis(launch.start_ms);
        let answer_limit = Duration::from_millis(launch.answer_ms);
        let qmp = match launch.reset {
            Reset::Qmp => Some(Qmp::listen(Path::new(&places.qmp), answer_limit).map_err(start)?),
            Reset::None | Reset::Qtest => None,
        };
        let listener = match launch.channel {
            Channel::Connects => {
                let listener = UnixListener::bind(&places.socket).map_err(start)?;
                listener.set_nonblocking(true).map_err(start)?;
                Some(listener)
            }
            Channel::Listens | Channel::Stdio => None,
        };
        let wants_console = launch.channel == Channel::Stdio || launch.serial == Serial::Stdio;
        let (mut ours, theirs) = if wants_console {
            let (ours, theirs) = UnixStream::pair().map_err(start)?;
            (Some(ours), Some(theirs))
        } else {
            (None, None)
        };
        let mut process = Process::spawn(words, theirs.map(Into::into))?;
        let stream = match launch.channel {
            Channel::Stdio => ours.take(),
            Channel::Connects | Channel::Listens => None,
        };
        let stream = match (stream, &listener) {
            (Some(stream), _) => Ok(stream),
            (None, Some(listener)) => process.retry(deadline, QTEST, || listener.accept().map(|(stream, _)| stream)),
            (None, None) => process.retry(deadline, QTEST, || UnixStream::connect(&places.socket)),
        };
        let stream = stream.map_err(|stop| process.failure(stop, ""))?;
        if let Some(console) = &ours {
            console.set_nonblocking(true).map_err(start)?;
        }
        let mut machine = QtestMachine {
            caps,
            facts,
            reset: launch.reset,
            serial: launch.serial,
            answer_limit: deadline.saturating_duration_since(Instant::now()),
            process,
            lines: Lines::new(stream).map_err(start)?,
            console: ours,
            qmp,
            _peers: peers,
            _folder: folder,
            events: VecDeque::new(),
        };
        if let Err(stop) = machine.greet() {
            let stop = match stop {
                Stop::Broken(broken) => Stop::Broken(Broken::Start(broken.to_string())),
                other => other,
            };
            return Err(machine.process.failure(stop, ""));
        }
        machine.answer_limit = answer_limit;
        Ok(machine)
    }

    fn greet(&mut self) -> Result<(), Stop> {
        let order = self.ask("endianness")?;
        if order != "little" {
            let text = format!("endianness is '{order}', a microvm is little-endian");
            return Err(Broken::Transport(text).into());
        }
        if self.caps.missing(Caps::LINES).is_empty() {
            self.ask("irq_intercept_in ioapic")?;
        }
        Ok(())
    }

    /// Sends one line and returns what follows `OK`.
    fn ask(&mut self, command: &str) -> Result<String, Stop> {
        if let Err(error) = self.lines.send(command) {
            return Err(self.broken(command, error));
        }
        self.answer(command)
    }

    /// What follows the next `OK`; line changes before it are kept.
    fn answer(&mut self, command: &str) -> Result<String, Stop> {
        let deadline = Instant::now() + self.answer_limit;
        loop {
            let line = match self.lines.receive(deadline) {
                Ok(line) => line,
                Err(error) => return Err(self.broken(command, error)),
            };
            if let Some(event) = line_event(&line) {
                self.events.push_back(event);
                let excess = self.events.len().saturating_sub(LINE_EVENTS_MAX);
                self.events.drain(..excess);
                // A subject that tells of changes for ever answers no more than a silent one.
                if deadline <= Instant::now() {
                    return Err(self.broken(command, ReceiveError::Silent));
                }
            } else if let Some(value) = line.strip_prefix("OK") {
                return Ok(value.trim_start().to_owned());
            } else {
                return Err(
                    Broken::Transport(format!("'{}' was answered '{}'", printable(command), printable(&line))).into(),
                );
            }
        }
    }

    fn ask_number(&mut self, command: &str) -> Result<u64, Stop> {
        let answer = self.ask(command)?;
        self.number(command, &answer)
    }

    fn number(&self, command: &str, answer: &str) -> Result<u64, Stop> {
        parse_number(answer).ok_or_else(|| {
            let text = format!(
                "'{command}' was answered 'OK {}', which is no number",
                printable(answer)
            );
            Broken::Transport(text).into()
        })
    }

    fn broken(&mut self, command: &str, error: ReceiveError) -> Stop {
        let command = printable(command);
        Stop::Broken(match error {
            ReceiveError::Silent => {
                let limit = self.answer_limit.as_millis();
                Broken::Timeout(format!("'{command}' was not answered within {limit} ms"))
            }
            ReceiveError::Closed => Broken::Crash(format!("at '{command}': {}", self.process.end())),
            ReceiveError::Flood => Broken::Transport(format!("'{command}' was answered by an endless line")),
        })
    }
}

impl Machine for QtestMachine {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop> {
        let value = self.ask_number(&Action::PortRead { port, width }.to_string())?;
        Ok((value & width.mask()) as u32)
    }

    fn port_read_many(&mut self, port: u16, width: Width, count: usize) -> Result<Vec<u32>, Stop> {
        let command = Action::PortRead { port, width }.to_string();
        let mut values = Vec::with_capacity(count.min(PIPELINED_MAX));
        while values.len() < count {
            let part = (count - values.len()).min(PIPELINED_MAX);
            // One write for the whole part: the subject works through the lines and answers each.
            let lines = format!("{command}\n").repeat(part - 1) + &command;
            if let Err(error) = self.lines.send(&lines) {
                return Err(self.broken(&command, error));
            }
            for _ in 0..part {
                let answer = self.answer(&command)?;
                let value = self.number(&command, &answer)?;
                values.push((value & width.mask()) as u32);
            }
        }
        Ok(values)
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let value = value & width.mask() as u32;
        self.ask(&Action::PortWrite { port, width, value }.to_string())?;
        Ok(())
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = self.ask_number(&Action::Load { gpa, width }.to_string())?;
        Ok(value & width.mask())
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let value = value & width.mask();
        self.ask(&Action::Store { gpa, width, value }.to_string())?;
        Ok(())
    }

    fn read_memory(&mut self, gpa: u64, into: &mut [u8]) -> Result<(), Stop> {
        for (index, chunk) in into.chunks_mut(CHUNK_BYTES).enumerate() {
            let gpa = gpa.wrapping_add((index * CHUNK_BYTES) as u64);
            let length_bytes = chunk.len() as u32;
            let command = Action::ReadMemory { gpa, length_bytes }.to_string();
            let answer = self.ask(&command)?;
            let bytes = parse_hex(&answer).filter(|bytes| bytes.len() == chunk.len());
            let bytes =
                bytes.ok_or_else(|| Broken::Transport(format!("'{command}' was answered '{}'", printable(&answer))))?;
            chunk.copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn write_memory(&mut self, gpa: u64, from: &[u8]) -> Result<(), Stop> {
        for (index, chunk) in from.chunks(CHUNK_BYTES).enumerate() {
            let gpa = gpa.wrapping_add((index * CHUNK_BYTES) as u64);
            self.ask(&format!("write {gpa:#x} {:#x} {}", chunk.len(), Hex(chunk)))?;
        }
        Ok(())
    }

    fn advance(&mut self, by_ns: u64) -> Result<(), Stop> {
        if !self.caps.missing(Caps::CLOCK).is_empty() {
            return Err(Stop::Unsupported(Caps::CLOCK));
        }
        if by_ns != 0 {
            self.ask(&Action::Advance { by_ns }.to_string())?;
        }
        Ok(())
    }

    fn line_events(&mut self) -> Result<Vec<LineEvent>, Stop> {
        if !self.caps.missing(Caps::LINES).is_empty() {
            return Err(Stop::Unsupported(Caps::LINES));
        }
        // Changes are printed before the answer to the command that caused them, or after it by a device that works
        // on its own time; a question without effect brings the latter in.
        self.settle(SETTLE_TURNS)?;
        Ok(self.events.drain(..).collect())
    }

    fn host(&mut self, action: &HostAction) -> Result<(), Stop> {
        if !self.caps.missing(action.caps()).is_empty() {
            return Err(Stop::Unsupported(action.caps()));
        }
        let HostAction::SerialInput(bytes) = action;
        match (self.serial, &mut self.console) {
            (Serial::Qtest, _) => {
                for chunk in bytes.chunks(MEMORY_LENGTH_MAX as usize) {
                    self.ask(&format!("serial_in {}", Hex(chunk)))?;
                }
                Ok(())
            }
            (Serial::Stdio, Some(console)) => {
                let sent = console.write_all(bytes);
                sent.map_err(|error| Broken::Transport(format!("type on the serial line: {error}")))?;
                // Both the console and this channel are served by the subject's main loop, one turn for each question;
                // QEMU's serial port takes one byte a turn, and nothing when its FIFO is full.
                for _ in 0..=bytes.len().min(FIFO_BYTES) {
                    std::thread::sleep(TURN);
                    self.settle(SETTLE_TURNS)?;
                }
                Ok(())
            }
            _ => Err(Stop::Unsupported(Caps::SERIAL_INPUT)),
        }
    }

    fn serial_output(&mut self) -> Result<Vec<u8>, Stop> {
        if !self.caps.missing(Caps::SERIAL_OUTPUT).is_empty() {
            return Err(Stop::Unsupported(Caps::SERIAL_OUTPUT));
        }
        match (self.serial, &mut self.console) {
            (Serial::Qtest, _) => {
                let answer = self.ask("serial_out")?;
                parse_hex(&answer).ok_or_else(|| {
                    Broken::Transport(format!("'serial_out' was answered '{}'", printable(&answer))).into()
                })
            }
            (Serial::Stdio, Some(_)) => {
                self.settle(SETTLE_TURNS)?;
                let mut bytes = Vec::new();
                let Some(console) = &mut self.console else {
                    return Ok(bytes);
                };
                let mut buffer = [0; 4096];
                while bytes.len() < SERIAL_BYTES_MAX
                    && let Ok(count @ 1..) = console.read(&mut buffer)
                {
                    bytes.extend(&buffer[..count]);
                }
                Ok(bytes)
            }
            _ => Err(Stop::Unsupported(Caps::SERIAL_OUTPUT)),
        }
    }

    fn reset(&mut self) -> Result<(), Stop> {
        if !self.caps.missing(Caps::RESET).is_empty() {
            return Err(Stop::Unsupported(Caps::RESET));
        }
        match (self.reset, &mut self.qmp) {
            (Reset::Qtest, _) => self.ask(&Action::Reset.to_string()).map(|_| ()),
            (Reset::Qmp, Some(qmp)) => {
                qmp.system_reset()
                    .map_err(|error| Broken::Transport(format!("reset: {error}")))?;
                self.settle(SETTLE_TURNS)
            }
            (Reset::Qmp | Reset::None, _) => Err(Stop::Unsupported(Caps::RESET)),
        }
    }

    fn perform(&mut self, actions: &[Action], answers: &mut Vec<Answered>) -> Result<(), Stop> {
        let mut rest = actions;
        while let Some(first) = rest.first() {
            let row = pipelined(rest);
            if row.is_empty() {
                let answer = replay::act(self, first)?;
                let events = self.events.drain(..).collect();
                answers.push(Answered { events, answer });
                rest = &rest[1..];
                continue;
            }
            // One write for the whole row, as for `port_read_many`.
            let commands: Vec<String> = row.iter().map(Action::to_string).collect();
            if let Err(error) = self.lines.send(&commands.join("\n")) {
                return Err(self.broken(&commands[0], error));
            }
            for (action, command) in row.iter().zip(&commands) {
                let answer = self.answer(command)?;
                let answer = match action {
                    Action::PortRead { width, .. } | Action::Load { width, .. } => {
                        format!("{:x}", self.number(command, &answer)? & width.mask())
                    }
                    Action::ReadMemory { .. } => answer.strip_prefix("0x").unwrap_or(&answer).to_owned(),
                    _ => String::new(),
                };
                let events = self.events.drain(..).collect();
                answers.push(Answered { events, answer });
            }
            rest = &rest[row.len()..];
        }
        Ok(())
    }

    fn post_mortem(&mut self) -> String {
        self.process.obituary("")
    }
}

/// The actions at the front that are one line each and whose lines and answers fit the socket's buffers together.
fn pipelined(actions: &[Action]) -> &[Action] {
    let mut bytes = 0;
    let fits = |action: &&Action| {
        bytes += match action {
            Action::PortRead { .. } | Action::PortWrite { .. } | Action::Load { .. } | Action::Store { .. } => 0,
            Action::ReadMemory { length_bytes, .. } => *length_bytes as usize,
            Action::WriteMemory { bytes, .. } => bytes.len(),
            Action::FillMemory { .. } | Action::Advance { .. } | Action::SerialInput { .. } | Action::Reset => {
                return false;
            }
        };
        bytes <= PIPELINED_BYTES_MAX
    };
    let count = actions.iter().take(PIPELINED_MAX).take_while(fits).count();
    &actions[..count]
}

impl QtestMachine {
    /// Lets the subject's main loop turn.
    fn settle(&mut self, turns: usize) -> Result<(), Stop> {
        for _ in 0..turns {
            self.ask("endianness")?;
        }
        Ok(())
    }
}

/// Lines over a stream, with a deadline for each.
struct Lines {
    stream: UnixStream,
    buffer: Vec<u8>,
}

/// Why there is no line.
enum ReceiveError {
    Silent,
    Closed,
    Flood,
}

impl Lines {
    fn new(stream: UnixStream) -> std::io::Result<Lines> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        let buffer = Vec::new();
        Ok(Lines { stream, buffer })
    }

    fn send(&mut self, line: &str) -> Result<(), ReceiveError> {
        let sent = self.stream.write_all(format!("{line}\n").as_bytes());
        sent.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ReceiveError::Silent,
            _ => ReceiveError::Closed,
        })
    }

    fn receive(&mut self, deadline: Instant) -> Result<String, ReceiveError> {
        let mut looked_at = 0;
        loop {
            if let Some(at) = self.buffer[looked_at..].iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.drain(..=looked_at + at).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            looked_at = self.buffer.len();
            if LINE_BYTES_MAX < looked_at {
                return Err(ReceiveError::Flood);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ReceiveError::Silent);
            }
            let mut chunk = [0; 8192];
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(&mut chunk));
            match read {
                Ok(0) => return Err(ReceiveError::Closed),
                Ok(count) => self.buffer.extend(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(ReceiveError::Silent),
                    ErrorKind::Interrupted => {}
                    _ => return Err(ReceiveError::Closed),
                },
            }
        }
    }
}

/// `IRQ raise N` or `IRQ lower N`.
fn line_event(line: &str) -> Option<LineEvent> {
    let (verb, gsi) = line.strip_prefix("IRQ ")?.split_once(' ')?;
    let level = match verb {
        "raise" => true,
        "lower" => false,
        _ => return None,
    };
    Some(LineEvent {
        gsi: gsi.trim().parse().ok()?,
        level,
    })
}

fn start(error: std::io::Error) -> Stop {
    Broken::Start(format!("prepare files and sockets: {error}")).into()
}

/// Bytes of one bulk access on the wire.
const CHUNK_BYTES: usize = 32 << 10;

/// Lines sent before their answers are read: both directions fit the socket's buffers.
const PIPELINED_MAX: usize = 64;

/// Bytes of memory that such lines and their answers carry at most, two hex digits each.
const PIPELINED_BYTES_MAX: usize = 16 << 10;

/// Longest line that a subject may send.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Most line changes kept until they are asked for; the oldest go first.
const LINE_EVENTS_MAX: usize = 65_536;

/// Most bytes taken from the serial line in one call.
const SERIAL_BYTES_MAX: usize = 1 << 20;

/// Turns of a subject's main loop after which what was ready before them has been served.
const SETTLE_TURNS: usize = 3;

/// Bytes that a 16550's receiver holds, and one more.
const FIFO_BYTES: usize = 17;

/// A moment in which a main loop looks at its other channels.
const TURN: Duration = Duration::from_millis(1);

/// What a subject opens, in messages.
const QTEST: &str = "the qtest channel";

#[cfg(test)]
mod tests;
