//! Depth cpu: the agent image in any VMM, so that a real CPU performs each access.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check;
use super::console::{Closed, Console};
use super::description::{Description, Dump, EndsBy, Launch, Serial};
use super::kernel;
use super::process::{Process, printable};
use super::start::{Kernel, Start};
use crate::case::Setup;
use crate::layout::Layout;
use crate::machine::{Adapter, Attempt, BootFailure, Broken, Caps, Depth, Facts, Machine, Stop, Width};
use guest_protocol::{
    BYTES_MAX, CallError, Client, ErrorCode, Failure, PAYLOAD_LENGTH_MAX, PROGRAM_STEPS_MAX, PROTOCOL_VERSION, Program,
    Reply, Request, Step,
};

/// Boots the agent.
pub struct AgentAdapter {
    description: Arc<Description>,
    launch: Launch,
    caps: Caps,
    image: PathBuf,
    entry: u64,
}

impl AgentAdapter {
    /// An adapter for one way of starting a described subject with the agent at `image`.
    ///
    /// # Errors
    /// An image that cannot be read or is none, and a capability that does not exist.
    pub fn new(description: Arc<Description>, launch: Launch, image: PathBuf) -> Result<AgentAdapter, String> {
        // The agent is one.
        let caps = launch.caps()?.with(Caps::KERNEL);
        let bytes = std::fs::read(&image).map_err(|error| format!("{}: read: {error}", image.display()))?;
        let entry = kernel::pvh_entry(&bytes).ok_or_else(|| {
            format!(
                "{}: no ELF with a PVH note; build it with cargo xtask guest-images",
                image.display()
            )
        })?;
        Ok(AgentAdapter {
            description,
            launch,
            caps,
            image,
            entry,
        })
    }
}

impl Adapter for AgentAdapter {
    fn depth(&self) -> Depth {
        Depth::Cpu
    }

    fn caps(&self) -> Caps {
        self.caps
    }

    fn boot(&self, setup: &Setup, layout: &Layout) -> Result<Box<dyn Machine>, BootFailure> {
        let (low_bytes, _) = layout.ram_split(setup.ram_bytes, setup.max_ram_below_4g);
        if low_bytes < RAM_BYTES_MIN {
            let text = format!("the agent needs {RAM_BYTES_MIN:#x} bytes of RAM below 4 GiB, there are {low_bytes:#x}");
            return Err(Stop::Unavailable(text).into());
        }
        if setup.bz_image {
            return Err(Stop::Unavailable("the agent is the kernel, and no bzImage".to_owned()).into());
        }
        let mut machine = self.start(self.plan(setup, layout)?)?;
        if let Err(stop) = machine.greet() {
            let shown = machine.post_mortem();
            return Err(BootFailure { stop, shown });
        }
        machine.limit_answers(self.launch.answer_ms);
        Ok(Box::new(machine))
    }

    fn try_out(&self, layout: &Layout) -> Vec<Attempt> {
        let plan = match self.plan(&Setup::DEFAULT, layout) {
            Ok(plan) => plan,
            Err(stop) => return vec![check::no_command(&stop)],
        };
        let mut attempts = vec![check::command(&plan.words)];
        let begin = Instant::now();
        let mut machine = match self.start(plan) {
            Ok(machine) => machine,
            Err(stop) => {
                attempts.push(check::not_started(&stop));
                return attempts;
            }
        };
        attempts.push(Attempt::done("started", "the program runs"));
        let greeting = machine.greet();
        let waited_ms = begin.elapsed().as_millis();
        if let Err(stop) = greeting {
            attempts.push(machine.mute(&stop, self.launch.serial));
            return attempts;
        }
        attempts.push(Attempt::done(
            "spoke",
            format!("the agent said hello after {waited_ms} ms"),
        ));
        machine.limit_answers(self.launch.answer_ms);
        let begin = Instant::now();
        attempts.push(check::answered(&mut machine, begin));
        if attempts.last().is_some_and(|attempt| attempt.fix.is_none()) {
            attempts.push(machine.try_exit(self.launch.ends_by));
        }
        attempts
    }
}

impl AgentAdapter {
    fn plan(&self, setup: &Setup, layout: &Layout) -> Result<Start, Stop> {
        let append = setup.append.unwrap_or_default().to_owned();
        Start::plan(
            &self.description,
            &self.launch,
            setup,
            layout,
            &Kernel::image(&self.image),
            append,
        )
    }

    fn start(&self, plan: Start) -> Result<AgentMachine, Stop> {
        let (process, console) = plan.console(&self.launch)?;
        Ok(AgentMachine {
            caps: self.caps,
            facts: Facts {
                append: Some(plan.append.clone()),
                kernel_entry: Some(self.entry),
                kvm: self.launch.needs_kvm(),
                ..Facts::default()
            },
            dump: self.launch.dump,
            process,
            client: Client::new(console, ATTEMPTS_MAX),
            _start: plan,
        })
    }
}

struct AgentMachine {
    // Configuration, fixed at construction.
    caps: Caps,
    facts: Facts,
    dump: Dump,
    // Connections; the process goes first, so that it is dead before its folder is removed.
    process: Process,
    client: Client<Console>,
    _start: Start,
}

impl AgentMachine {
    fn limit_answers(&mut self, answer_ms: u64) {
        let limit = Duration::from_millis(answer_ms) / u32::from(ATTEMPTS_MAX);
        self.client.channel_mut().set_limit(limit);
    }

    /// Why no hello came, as far as can be told from outside.
    fn mute(&mut self, stop: &Stop, serial: Serial) -> Attempt {
        let has_ended = self.process.status().is_some();
        let console = self.client.channel_mut().noise_text();
        check::mute(stop, has_ended, &console, &self.process.stderr(), serial)
    }

    fn try_exit(&mut self, ends_by: EndsBy) -> Attempt {
        let request = match ends_by {
            EndsBy::Port { port, byte } => Request::Exit {
                port,
                width: guest_protocol::Width::Byte,
                value: u32::from(byte.unwrap_or(EXIT_OK)),
            },
            EndsBy::TripleFault => Request::TripleFault,
            EndsBy::Halt => return check::ends_by_us(),
        };
        let sent = self.client.call(&request);
        let status = self.process.wait(check::EXIT_WAIT);
        check::exited(status, sent.err().map(|error| error.to_string()))
    }

    fn greet(&mut self) -> Result<(), Stop> {
        match self.client.wait_hello() {
            Ok(hello) if hello.version == PROTOCOL_VERSION => {
                let length = hello.image_end.saturating_sub(hello.image_start);
                self.facts.reserved = vec![(hello.image_start, length)];
                Ok(())
            }
            Ok(hello) => {
                let text = format!(
                    "the agent speaks version {}, the suite {PROTOCOL_VERSION}; run cargo xtask guest-images",
                    hello.version
                );
                Err(Broken::Start(text).into())
            }
            Err(error) => {
                let text = match self.broken("the agent's hello", error) {
                    Stop::Broken(Broken::Crash(text) | Broken::Timeout(text) | Broken::Transport(text)) => text,
                    other => return Err(other),
                };
                let noise = self.client.channel_mut().noise_text();
                let last = noise.lines().rfind(|line| !line.trim().is_empty());
                let noise = last.map_or(String::new(), |line| format!("; the console says: {}", printable(line)));
                Err(Broken::Start(format!("{text}{noise}")).into())
            }
        }
    }

    fn number(&mut self, request: &Request<'_>) -> Result<u64, Stop> {
        match self.client.call(request) {
            Ok(Reply::Value(value)) => Ok(value),
            Ok(Reply::Error(failure)) => Err(refused(request, &failure)),
            Ok(other) => Err(odd(request, &other)),
            Err(error) => Err(self.broken(&request.to_string(), error)),
        }
    }

    fn done(&mut self, request: &Request<'_>) -> Result<(), Stop> {
        match self.client.call(request) {
            Ok(Reply::Done) => Ok(()),
            Ok(Reply::Error(failure)) => Err(refused(request, &failure)),
            Ok(other) => Err(odd(request, &other)),
            Err(error) => Err(self.broken(&request.to_string(), error)),
        }
    }

    fn bytes(&mut self, request: &Request<'_>, length: usize) -> Result<Vec<u8>, Stop> {
        match self.client.call(request) {
            Ok(Reply::Bytes(bytes)) if bytes.len() == length => Ok(bytes.to_vec()),
            Ok(Reply::Error(failure)) => Err(refused(request, &failure)),
            Ok(other) => Err(odd(request, &other)),
            Err(error) => Err(self.broken(&request.to_string(), error)),
        }
    }

    /// Performs as many steps from the front as one program carries, at least one, and returns what they read.
    fn program(&mut self, steps: &[Step]) -> Result<Vec<u64>, Stop> {
        let mut buffer = [0; PAYLOAD_LENGTH_MAX];
        let steps = &steps[..steps.len().min(PROGRAM_STEPS_MAX)];
        let (program, count) = Program::encode(steps, &mut buffer)
            .map_err(|error| Broken::Transport(format!("a program of {} steps: {error}", steps.len())))?;
        let request = Request::Program(program);
        match self.client.call(&request) {
            Ok(Reply::Answers(answers)) => match answers.failure {
                Some(failure) => Err(refused(&request, &failure)),
                None => {
                    let values: Vec<u64> = answers.of(&program).filter_map(|(_, value)| value).collect();
                    if usize::from(answers.steps_done) == count && count != 0 {
                        Ok(values)
                    } else {
                        Err(odd(&request, &Reply::Answers(answers)))
                    }
                }
            },
            Ok(Reply::Error(failure)) => Err(refused(&request, &failure)),
            Ok(other) => Err(odd(&request, &other)),
            Err(error) => Err(self.broken("a program", error)),
        }
    }

    fn broken(&mut self, what: &str, error: CallError<Closed>) -> Stop {
        Stop::Broken(match error {
            CallError::Channel(Closed) => Broken::Crash(format!("at {what}: {}", self.process.end())),
            CallError::Silent => Broken::Timeout(match self.process.status() {
                Some(_) => format!("at {what}: {}", self.process.end()),
                None => format!("{what} did not come in time"),
            }),
            other => Broken::Transport(format!("{what}: {other}")),
        })
    }
}

impl Machine for AgentMachine {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop> {
        let width = theirs(width);
        self.number(&Request::PortRead { port, width })
            .map(|value| value as u32)
    }

    fn port_read_many(&mut self, port: u16, width: Width, count: usize) -> Result<Vec<u32>, Stop> {
        let mut values = Vec::new();
        while values.len() < count {
            let step = Step::PortRead {
                port,
                width: theirs(width),
            };
            values.extend(self.program(&vec![step; count - values.len()])?);
        }
        Ok(values.into_iter().map(|value| value as u32).collect())
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let width = theirs(width);
        self.done(&Request::PortWrite { port, width, value })
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop> {
        let width = theirs(width);
        self.number(&Request::Load { gpa, width })
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let width = theirs(width);
        self.done(&Request::Store { gpa, width, value })
    }

    fn read_memory(&mut self, gpa: u64, into: &mut [u8]) -> Result<(), Stop> {
        for (index, chunk) in into.chunks_mut(BYTES_MAX).enumerate() {
            let gpa = gpa.wrapping_add((index * BYTES_MAX) as u64);
            let length = chunk.len() as u16;
            let bytes = self.bytes(&Request::ReadMemory { gpa, length }, chunk.len())?;
            chunk.copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn write_memory(&mut self, gpa: u64, from: &[u8]) -> Result<(), Stop> {
        for (index, bytes) in from.chunks(BYTES_MAX).enumerate() {
            let gpa = gpa.wrapping_add((index * BYTES_MAX) as u64);
            // Bytes to the agent cost exits each; one that repeats is sent once.
            let first = bytes[0];
            if 2 <= bytes.len() && bytes.iter().all(|&byte| byte == first) {
                let (length, byte) = (bytes.len() as u32, first);
                self.done(&Request::FillMemory { gpa, length, byte })?;
            } else {
                self.done(&Request::WriteMemory { gpa, bytes })?;
            }
        }
        Ok(())
    }

    fn port_read_string(&mut self, port: u16, width: Width, count: u16) -> Result<Vec<u8>, Stop> {
        let length = width.bytes() * usize::from(count);
        let width = theirs(width);
        self.bytes(&Request::PortReadString { port, width, count }, length)
    }

    fn port_write_string(&mut self, port: u16, width: Width, bytes: &[u8]) -> Result<(), Stop> {
        let width = theirs(width);
        self.done(&Request::PortWriteString { port, width, bytes })
    }

    fn post_mortem(&mut self) -> String {
        if self.dump == Dump::Sigquit {
            self.process.dump();
        }
        let noise = self.client.channel_mut().noise_text();
        self.process.obituary(&noise)
    }
}

fn refused(request: &Request<'_>, failure: &Failure) -> Stop {
    match failure.code {
        ErrorCode::OWN_MEMORY => Stop::Unavailable(format!("{request}: the agent itself lies there")),
        ErrorCode::ADDRESS => Stop::Unavailable(format!("{request}: beyond what this CPU can address")),
        _ => Broken::Transport(format!("{request}: {failure}")).into(),
    }
}

fn odd(request: &Request<'_>, reply: &Reply<'_>) -> Stop {
    Broken::Transport(format!("{request} was answered '{reply}'")).into()
}

fn theirs(width: Width) -> guest_protocol::Width {
    match width {
        Width::Byte => guest_protocol::Width::Byte,
        Width::Word => guest_protocol::Width::Word,
        Width::Dword => guest_protocol::Width::Long,
        Width::Qword => guest_protocol::Width::Quad,
    }
}

/// The image lies at 1 MiB and is smaller than 128 KiB.
const RAM_BYTES_MIN: u64 = (1 << 20) + (128 << 10);

/// What an image writes to a debug-exit device when all is well.
const EXIT_OK: u8 = 0x10;

/// How often a request is sent before the agent counts as silent; a repeated one is carried out once.
const ATTEMPTS_MAX: u8 = 2;
