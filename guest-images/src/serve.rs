//! The agent's work: one request in, one reply out. The machine is behind a trait, so that hosts can test this.

use guest_protocol::{
    Answers, BYTES_MAX, Encoder, ErrorCode, Failure, Frame, Hello, Kind, PAYLOAD_LENGTH_MAX, Program, Reply, Request,
    Step, Width,
};

/// What the agent does to the machine it runs on.
pub trait Hardware {
    /// Who the agent is.
    fn hello(&self) -> Hello;
    /// One `in`.
    fn port_read(&mut self, port: u16, width: Width) -> u32;
    /// One `out`.
    fn port_write(&mut self, port: u16, width: Width, value: u32);
    /// One `rep ins` that fills `bytes`.
    fn port_read_string(&mut self, port: u16, width: Width, bytes: &mut [u8]);
    /// One `rep outs` of `bytes`.
    fn port_write_string(&mut self, port: u16, width: Width, bytes: &[u8]);
    /// One load.
    ///
    /// # Errors
    /// When the address is out of reach or the access faults; so with the four below.
    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Failure>;
    /// One store.
    ///
    /// # Errors
    /// As [`Hardware::load`], and for the agent's own memory; so with the writes below.
    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Failure>;
    /// Reads RAM.
    ///
    /// # Errors
    /// As [`Hardware::load`].
    fn read_memory(&mut self, gpa: u64, bytes: &mut [u8]) -> Result<(), Failure>;
    /// Writes RAM.
    ///
    /// # Errors
    /// As [`Hardware::store`].
    fn write_memory(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Failure>;
    /// Fills RAM.
    ///
    /// # Errors
    /// As [`Hardware::store`].
    fn fill_memory(&mut self, gpa: u64, length: u64, byte: u8) -> Result<(), Failure>;
    /// Shuts the CPU down by a fault that cannot be delivered. Does not return on a machine.
    fn triple_fault(&mut self);
    /// Stops. Does not return on a machine.
    fn halt(&mut self);
}

/// The agent's side of the conversation.
pub struct Server {
    encoder: Encoder,
    // Number of the request that `encoder` holds the reply to.
    answered: Option<u8>,
    bytes: [u8; PAYLOAD_LENGTH_MAX],
}

impl Server {
    /// A server that has answered nothing.
    pub const fn new() -> Self {
        Self {
            encoder: Encoder::new(),
            answered: None,
            bytes: [0; PAYLOAD_LENGTH_MAX],
        }
    }

    /// The unasked hello that opens the conversation.
    pub fn greet(&mut self, hardware: &impl Hardware) -> &[u8] {
        self.encoder
            .reply(0, &Reply::Hello(hardware.hello()))
            .unwrap_or_default()
    }

    /// Carries the request in `frame` out and returns the reply to send, empty when there is none.
    ///
    /// A request numbered like the one before it is not carried out again; its reply is returned again.
    pub fn serve(&mut self, frame: &Frame<'_>, hardware: &mut impl Hardware) -> &[u8] {
        let sequence = frame.sequence;
        if self.answered == Some(sequence) && frame.kind != Kind::HELLO {
            return self.encoder.last();
        }
        self.answered = None;
        let Self {
            encoder,
            answered,
            bytes,
        } = self;
        let reply = match Request::decode(frame) {
            Err(_) => Reply::Error(Failure::new(ErrorCode::MALFORMED, 0)),
            Ok(None) => Reply::Error(Failure::new(ErrorCode::KIND, 0)),
            Ok(Some(request)) => match carry_out(&request, bytes, hardware) {
                Some(reply) => reply,
                None => return &[],
            },
        };
        // A host that comes anew numbers anew, so its hello is not remembered.
        if frame.kind != Kind::HELLO {
            *answered = Some(sequence);
        }
        encoder.reply(sequence, &reply).unwrap_or_default()
    }
}

/// Does what `request` asks; `None` for one without an answer. Bytes read go through `bytes`.
fn carry_out<'a>(request: &Request<'_>, bytes: &'a mut [u8], hardware: &mut impl Hardware) -> Option<Reply<'a>> {
    let reply = match *request {
        Request::Hello => Reply::Hello(hardware.hello()),
        Request::Exit { port, width, value } => {
            hardware.port_write(port, width, value);
            return None;
        }
        Request::TripleFault => {
            hardware.triple_fault();
            return None;
        }
        Request::Halt => {
            hardware.halt();
            return None;
        }
        Request::PortRead { port, width } => Reply::Value(u64::from(hardware.port_read(port, width))),
        Request::PortWrite { port, width, value } => {
            hardware.port_write(port, width, value);
            Reply::Done
        }
        Request::PortReadString { port, width, count } => {
            let bytes = &mut bytes[..(usize::from(count) * width.bytes()).min(BYTES_MAX)];
            hardware.port_read_string(port, width, bytes);
            Reply::Bytes(bytes)
        }
        Request::PortWriteString { port, width, bytes } => {
            hardware.port_write_string(port, width, bytes);
            Reply::Done
        }
        Request::Load { gpa, width } => hardware.load(gpa, width).map_or_else(Reply::Error, Reply::Value),
        Request::Store { gpa, width, value } => done(hardware.store(gpa, width, value)),
        Request::ReadMemory { gpa, length } => {
            let bytes = &mut bytes[..usize::from(length).min(BYTES_MAX)];
            match hardware.read_memory(gpa, bytes) {
                Ok(()) => Reply::Bytes(bytes),
                Err(failure) => Reply::Error(failure),
            }
        }
        Request::WriteMemory { gpa, bytes } => done(hardware.write_memory(gpa, bytes)),
        Request::FillMemory { gpa, length, byte } => done(hardware.fill_memory(gpa, u64::from(length), byte)),
        Request::Program(program) => Reply::Answers(run(&program, bytes, hardware)),
    };
    Some(reply)
}

fn done(outcome: Result<(), Failure>) -> Reply<'static> {
    outcome.map_or_else(Reply::Error, |()| Reply::Done)
}

/// Carries the steps out up to the first that fails, with their answers in `bytes`.
fn run<'a>(program: &Program<'_>, bytes: &'a mut [u8], hardware: &mut impl Hardware) -> Answers<'a> {
    let mut steps_done = 0;
    let mut failure = None;
    let mut length = 0;
    for step in program.steps() {
        let answer = match step {
            Step::PortRead { port, width } => Ok(u64::from(hardware.port_read(port, width))),
            Step::PortWrite { port, width, value } => {
                hardware.port_write(port, width, value);
                Ok(0)
            }
            Step::Load { gpa, width } => hardware.load(gpa, width),
            Step::Store { gpa, width, value } => hardware.store(gpa, width, value).map(|()| 0),
        };
        let value = match answer {
            Ok(value) => value,
            Err(error) => {
                failure = Some(error);
                break;
            }
        };
        steps_done += 1;
        let Some(width) = step.answer_width() else { continue };
        let end = length + width.bytes();
        if let Some(space) = bytes.get_mut(length..end) {
            space.copy_from_slice(&value.to_le_bytes()[..width.bytes()]);
            length = end;
        }
    }
    Answers {
        steps_done,
        failure,
        bytes: &bytes[..length],
    }
}

#[cfg(test)]
mod tests;
