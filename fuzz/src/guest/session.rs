//! One VMM process with an agent in it: performs programs, and tells a dead guest from a dead VMM.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use conformance::machine::Width;
use conformance::program::Action;
use conformance::subject::process::Process;
use guest_protocol::{
    BYTES_MAX, CallError, Channel, Client, FILL_LENGTH_MAX, Kind, PAYLOAD_LENGTH_MAX, PROGRAM_STEPS_MAX, Program,
    Reply, Request, SYNC,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Campaign;
use super::generate::{Setup, Step};
use super::memory::{self, Usage};

/// A running VMM.
pub struct Session {
    setup: &'static Setup,
    // The process goes before its disks.
    process: Process,
    client: Client<Line>,
    _disks: TempDir,
}

/// What the devices came to in a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// A device put buffers into a used ring and interrupted.
    pub used: bool,
    /// A device asks for a reset: its ring could not be followed.
    pub broken: bool,
}

/// Nobody answers any more; [`Session::judge`] tells why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death;

/// How a VMM ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whose fault it was.
    pub how: How,
    /// From SIGTERM to the end; zero when it ended by itself.
    pub took: Duration,
}

/// Whose fault an end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Asked by a signal, in order.
    InOrder,
    /// The guest did not answer; the VMM then ended in order.
    Silent,
    /// KVM could not go on with the guest, and the VMM said so.
    Stopped,
    /// The VMM's own.
    Finding(String),
}

impl Session {
    /// Starts a VMM and waits for its agent.
    ///
    /// # Errors
    /// One line: the VMM does not start, which says nothing about programs.
    pub fn start(campaign: &Campaign, setup: &'static Setup) -> Result<Session, String> {
        let fail = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let disks = tempfile::tempdir().map_err(|error| fail("create a folder for disks", &error))?;
        let mut words = vec![campaign.microvm.display().to_string(), "run".to_owned()];
        words.extend(setup.options.iter().map(|&word| word.to_owned()));
        for (name, bytes, options) in DISKS {
            let path = disks.path().join(name);
            std::fs::write(&path, vec![0x5a; bytes]).map_err(|error| fail("write a disk", &error))?;
            words.push("--device".to_owned());
            words.push(format!("virtio-blk,file={}{options}", path.display()));
        }
        words.push("--kernel".to_owned());
        words.push(campaign.agent.display().to_string());
        let (ours, theirs) = UnixStream::pair().map_err(|error| fail("make a console", &error))?;
        let limit = |stream: &UnixStream| {
            stream.set_read_timeout(Some(ATTEMPT_LIMIT))?;
            stream.set_write_timeout(Some(SILENCE_MAX))
        };
        limit(&ours).map_err(|error| fail("make a console", &error))?;
        let process = Process::spawn(&words, Some(theirs.into())).map_err(|error| format!("{error:?}"))?;
        let mut session = Session {
            setup,
            process,
            client: Client::new(Line::new(ours), ATTEMPTS_MAX),
            _disks: disks,
        };
        match session.wait_hello(START_LIMIT) {
            Ok(()) => Ok(session),
            Err(Death) => Err(format!("'{}': {}", words.join(" "), session.process.end())),
        }
    }

    /// The machine.
    pub fn setup(&self) -> &'static Setup {
        self.setup
    }

    /// How often the machine reset itself without having been asked to.
    pub fn resets(&self) -> u64 {
        let line = self.client_line();
        line.hellos.saturating_sub(line.hellos_wanted)
    }

    /// The VMM's memory, while it runs.
    pub fn usage(&mut self) -> Option<Usage> {
        match self.process.status() {
            None => memory::usage(self.process.id(), self.setup.regions_bytes),
            Some(_) => None,
        }
    }

    /// Performs a program; what the agent refuses to do to itself is left out.
    ///
    /// # Errors
    /// [`Death`].
    pub fn perform(&mut self, program: &[Step]) -> Result<(), Death> {
        let mut accesses = Vec::new();
        for step in program {
            if let Some(access) = access(step) {
                accesses.push(access);
                continue;
            }
            self.accesses(&std::mem::take(&mut accesses))?;
            match step {
                Step::Plain(Action::WriteMemory { gpa, bytes }) => {
                    for (index, bytes) in bytes.chunks(BYTES_MAX).enumerate() {
                        let gpa = gpa.wrapping_add((index * BYTES_MAX) as u64);
                        self.call(&Request::WriteMemory { gpa, bytes })?;
                    }
                }
                Step::Plain(Action::FillMemory {
                    gpa,
                    length_bytes,
                    byte,
                }) => {
                    let (gpa, length, byte) = (*gpa, (*length_bytes).min(FILL_LENGTH_MAX), *byte);
                    self.call(&Request::FillMemory { gpa, length, byte })?;
                }
                Step::Plain(Action::Reset) => self.reset()?,
                Step::StringIn { port, width, count } => {
                    let (port, width, count) = (*port, theirs(*width), *count);
                    self.call(&Request::PortReadString { port, width, count })?;
                }
                Step::StringOut { port, width, bytes } => {
                    let (port, width) = (*port, theirs(*width));
                    self.call(&Request::PortWriteString { port, width, bytes })?;
                }
                // The host's clock and the agent's line are not the program's.
                Step::Plain(_) => {}
            }
        }
        self.accesses(&accesses)
    }

    /// What the transports show now.
    ///
    /// # Errors
    /// [`Death`].
    pub fn reached(&mut self) -> Result<Reached, Death> {
        let mut loads = Vec::new();
        for slot in OCCUPIED {
            for register in [REGISTER_INTERRUPT_STATUS, REGISTER_STATUS] {
                let gpa = TRANSPORTS + slot * 0x200 + register;
                let width = guest_protocol::Width::Long;
                loads.push(guest_protocol::Step::Load { gpa, width });
            }
        }
        let mut buffer = [0; PAYLOAD_LENGTH_MAX];
        let (program, _) = Program::encode(&loads, &mut buffer).map_err(|_| Death)?;
        let values: Vec<u64> = match self.client.call(&Request::Program(program)) {
            Ok(Reply::Answers(answers)) => answers.of(&program).filter_map(|(_, value)| value).collect(),
            Err(error) if !is_ours(&error) => return Err(Death),
            _ => Vec::new(),
        };
        let mut reached = Reached::default();
        for pair in values.chunks_exact(2) {
            reached.used |= pair[0] & 1 != 0;
            reached.broken |= pair[1] & STATUS_NEEDS_RESET != 0;
        }
        Ok(reached)
    }

    /// Resets the machine by a triple fault and waits for the agent.
    ///
    /// # Errors
    /// [`Death`].
    pub fn reset(&mut self) -> Result<(), Death> {
        if self.client.call(&Request::TripleFault).is_err() {
            return Err(Death);
        }
        self.wait_hello(SILENCE_MAX)
    }

    /// Ends a VMM that is well.
    pub fn end_by_signal(&mut self) -> End {
        let how = How::InOrder;
        self.end(how)
    }

    /// Why nobody answered.
    pub fn judge(&mut self) -> End {
        match self.process.status() {
            Some(_) => self.end(How::InOrder),
            // A VMM that closed its end is on its way.
            None if self.client.channel_mut().closed => {
                self.process.wait(END_LIMIT);
                self.end(How::InOrder)
            }
            None => self.end(How::Silent),
        }
    }

    fn end(&mut self, how: How) -> End {
        let begin = Instant::now();
        let mut took = Duration::ZERO;
        if self.process.status().is_none() {
            let process = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
            let _it_may_have_ended = process.map(|process| kill_process(process, Signal::TERM));
            self.process.wait(END_LIMIT);
            took = begin.elapsed();
        }
        let Some(status) = self.process.status() else {
            let text = format!("the VMM still runs {END_LIMIT:?} after SIGTERM");
            let how = How::Finding(text);
            return End { how, took };
        };
        // Waits for the rest of standard error.
        let words = self.process.end();
        let stderr = self.process.stderr();
        let is_wrong = ["panicked", "internal error", "sandbox"]
            .iter()
            .any(|word| stderr.contains(word));
        let how = match status.code() {
            _ if is_wrong => How::Finding(stderr),
            Some(0) if stderr.contains("ended by signal") => how,
            Some(1) if stderr.contains("cannot go on") => How::Stopped,
            _ => How::Finding(format!("{words}; standard error: {stderr}")),
        };
        End { how, took }
    }

    fn accesses(&mut self, mut accesses: &[guest_protocol::Step]) -> Result<(), Death> {
        let mut buffer = [0; PAYLOAD_LENGTH_MAX];
        while !accesses.is_empty() {
            let some = &accesses[..accesses.len().min(PROGRAM_STEPS_MAX)];
            let (program, count) = Program::encode(some, &mut buffer).map_err(|_| Death)?;
            let done = match self.client.call(&Request::Program(program)) {
                Ok(Reply::Answers(answers)) if answers.failure.is_some() => usize::from(answers.steps_done) + 1,
                Ok(_) => count,
                Err(error) if is_ours(&error) => count,
                Err(_) => return Err(Death),
            };
            accesses = &accesses[done.clamp(1, accesses.len())..];
        }
        Ok(())
    }

    fn call(&mut self, request: &Request<'_>) -> Result<(), Death> {
        match self.client.call(request) {
            Err(error) if !is_ours(&error) => Err(Death),
            _ => Ok(()),
        }
    }

    fn wait_hello(&mut self, limit: Duration) -> Result<(), Death> {
        let deadline = Instant::now() + limit;
        self.client.channel_mut().hellos_wanted += 1;
        loop {
            match self.client.wait_hello() {
                Ok(_) => return Ok(()),
                Err(CallError::Channel(_)) => return Err(Death),
                Err(_) if deadline <= Instant::now() => return Err(Death),
                Err(_) => {}
            }
        }
    }

    fn client_line(&self) -> &Line {
        self.client.channel()
    }
}

/// Our end of the VMM's standard input and output.
pub struct Line {
    stream: UnixStream,
    closed: bool,
    /// Hellos of agents that started.
    hellos: u64,
    hellos_wanted: u64,
    /// Bytes that came since the last request, or since the start.
    babble_bytes: usize,
    /// The end of what came, as much as the head of a frame has.
    tail: Vec<u8>,
}

impl Line {
    fn new(stream: UnixStream) -> Line {
        Line {
            stream,
            closed: false,
            hellos: 0,
            hellos_wanted: 0,
            babble_bytes: 0,
            tail: Vec::new(),
        }
    }

    /// Counts hellos that nobody asked for: frames numbered 0.
    fn look(&mut self, bytes: &[u8]) {
        self.tail.extend(bytes);
        let is_hello = |head: &&[u8]| head[..2] == SYNC && head[4] == 0 && head[5] == Kind::HELLO_REPLY.0;
        self.hellos += self.tail.windows(HEAD_BYTES).filter(is_hello).count() as u64;
        let excess = self.tail.len().saturating_sub(HEAD_BYTES - 1);
        self.tail.drain(..excess);
    }
}

impl Channel for Line {
    type Error = ();

    fn send(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.babble_bytes = 0;
        self.stream.write_all(bytes).map_err(|error| {
            self.closed = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        })
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, ()> {
        match self.stream.read(buffer) {
            Ok(count) if 0 < count => {
                self.look(&buffer[..count]);
                self.babble_bytes += count;
                // A guest that prints for ever is as dead as a silent one.
                if self.babble_bytes <= BABBLE_BYTES_MAX {
                    Ok(count)
                } else {
                    Err(())
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(0),
            _ => {
                self.closed = true;
                Err(())
            }
        }
    }
}

/// Whether an error says something about the request rather than about the machine.
fn is_ours<E>(error: &CallError<E>) -> bool {
    matches!(
        error,
        CallError::Encode(_) | CallError::Malformed(_) | CallError::UnknownKind(_)
    )
}

/// A step that travels with others.
fn access(step: &Step) -> Option<guest_protocol::Step> {
    Some(match step {
        Step::Plain(Action::PortRead { port, width }) => guest_protocol::Step::PortRead {
            port: *port,
            width: theirs(*width),
        },
        Step::Plain(Action::PortWrite { port, width, value }) => guest_protocol::Step::PortWrite {
            port: *port,
            width: theirs(*width),
            value: *value,
        },
        Step::Plain(Action::Load { gpa, width }) => guest_protocol::Step::Load {
            gpa: *gpa,
            width: theirs(*width),
        },
        Step::Plain(Action::Store { gpa, width, value }) => guest_protocol::Step::Store {
            gpa: *gpa,
            width: theirs(*width),
            value: *value,
        },
        _ => return None,
    })
}

fn theirs(width: Width) -> guest_protocol::Width {
    match width {
        Width::Byte => guest_protocol::Width::Byte,
        Width::Word => guest_protocol::Width::Word,
        Width::Dword => guest_protocol::Width::Long,
        Width::Qword => guest_protocol::Width::Quad,
    }
}

/// Name, size and further options of the disks: one to write, one of an odd length to read.
const DISKS: [(&str, usize, &str); 2] = [("rw", 1 << 20, ""), ("ro", 10_000, ",readonly=on")];

/// How long one attempt of a request may take; a repeated request is not carried out again.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(250);

/// Attempts of a request before its guest counts as silent.
const ATTEMPTS_MAX: u8 = 12;

/// The same as time.
const SILENCE_MAX: Duration = Duration::from_secs(3);

const START_LIMIT: Duration = Duration::from_secs(20);

/// How long a VMM may take to end before it counts as hung. On a host that does nothing else it takes milliseconds; a
/// busy one can stop for seconds, and the summary shows the longest.
const END_LIMIT: Duration = Duration::from_secs(20);

/// Most bytes for one reply: the longest frame has a few hundredths of it, the rest is what a VMM may print.
const BABBLE_BYTES_MAX: usize = 64 << 10;

/// Transports with a device, and what is looked at there. Virtio 1.2, 4.2.2 and 2.1.
const TRANSPORTS: u64 = 0xc000_0000;
const OCCUPIED: [u64; 3] = [5, 6, 7];
const REGISTER_INTERRUPT_STATUS: u64 = 0x60;
const REGISTER_STATUS: u64 = 0x70;
const STATUS_NEEDS_RESET: u64 = 1 << 6;

/// Sync, length, number and kind of a frame.
const HEAD_BYTES: usize = 6;
