//! The agent's side against the host's: a client of the protocol on one end, a machine made of a few values on the
//! other.

use std::{string::ToString, vec, vec::Vec};

use guest_protocol::{CallError, Channel, Client, Decoder, Event, PROTOCOL_VERSION};

use super::*;

#[test]
fn agent_greets_unasked() {
    let mut client = client();
    let agent = client.channel_mut();
    let hello = agent.server.greet(&agent.machine).to_vec();
    agent.outbox.extend_from_slice(&hello);
    assert_eq!(client.wait_hello().map(|hello| hello.version), Ok(PROTOCOL_VERSION));
}

#[test]
fn each_request_is_one_access_of_its_width() {
    let mut client = client();
    let requests = [
        Request::PortRead {
            port: 0x71,
            width: Width::Byte,
        },
        Request::PortWrite {
            port: 0x70,
            width: Width::Word,
            value: 0x0b,
        },
        Request::PortReadString {
            port: 0x511,
            width: Width::Byte,
            count: 4,
        },
        Request::PortWriteString {
            port: 0x3f8,
            width: Width::Long,
            bytes: b"abcdefgh",
        },
        Request::Load {
            gpa: 0xfeb0_0001,
            width: Width::Long,
        },
        Request::Store {
            gpa: 0xfeb0_0070,
            width: Width::Quad,
            value: 7,
        },
        Request::ReadMemory {
            gpa: 0x20_0000,
            length: 3,
        },
        Request::WriteMemory {
            gpa: 0x20_0000,
            bytes: b"xyz",
        },
        Request::FillMemory {
            gpa: 0x20_0000,
            length: 9,
            byte: 0xcc,
        },
    ];
    let replies: Vec<_> = requests
        .iter()
        .map(|request| client.call(request).unwrap().to_string())
        .collect();
    assert_eq!(
        replies,
        [
            "value 0x71",
            "done",
            "bytes 51515151",
            "done",
            "value 0xfeb00001",
            "done",
            "bytes 202020",
            "done",
            "done"
        ]
    );
    assert_eq!(
        client.into_channel().machine.log,
        [
            "in 71/1",
            "out 70/2 b",
            "ins 511/1 4",
            "outs 3f8/4 8",
            "load feb00001/4",
            "store feb00070/8 7",
            "read 200000 3",
            "write 200000 3",
            "fill 200000 9 cc"
        ]
    );
}

#[test]
fn program_stops_at_the_step_that_fails() {
    let steps = [
        Step::PortRead {
            port: 0x60,
            width: Width::Byte,
        },
        Step::Store {
            gpa: 8,
            width: Width::Word,
            value: 1,
        },
        Step::Load {
            gpa: 0x1234,
            width: Width::Word,
        },
        Step::Load {
            gpa: FAULTING,
            width: Width::Long,
        },
        Step::PortWrite {
            port: 0x80,
            width: Width::Byte,
            value: 1,
        },
    ];
    let mut buffer = [0; 64];
    let (program, _) = Program::encode(&steps, &mut buffer).unwrap();
    let mut client = client();
    let Ok(Reply::Answers(answers)) = client.call(&Request::Program(program)) else {
        panic!("no answers")
    };
    assert_eq!((answers.steps_done, answers.bytes), (3, &[0x60, 0x34, 0x12][..]));
    assert_eq!(answers.failure.map(|failure| failure.vector), Some(14));
    assert_eq!(
        client.into_channel().machine.log,
        ["in 60/1", "store 8/2 1", "load 1234/2"]
    );
}

#[test]
fn longest_program_has_all_its_answers() {
    let steps = vec![
        Step::Load {
            gpa: 0x5a5a,
            width: Width::Quad
        };
        500
    ];
    let mut buffer = [0; PAYLOAD_LENGTH_MAX];
    let (program, count) = Program::encode(&steps, &mut buffer).unwrap();
    let mut client = client();
    let Ok(Reply::Answers(answers)) = client.call(&Request::Program(program)) else {
        panic!("no answers")
    };
    assert_eq!(
        answers.of(&program).filter(|&(_, value)| value == Some(0x5a5a)).count(),
        count
    );
}

#[test]
fn repeated_request_is_answered_and_not_carried_out_again() {
    let mut client = client();
    client.channel_mut().lose = 1;
    assert_eq!(
        client.call(&Request::PortRead {
            port: 0x3f8,
            width: Width::Byte
        }),
        Ok(Reply::Value(0x3f8))
    );
    assert_eq!(client.into_channel().machine.log, ["in 3f8/1"]);
}

#[test]
fn hello_forgets_the_number_before_it() {
    let mut agent = FakeAgent::new();
    let frame = |kind| Frame {
        sequence: 1,
        kind,
        payload: &[0x60, 0, 1],
    };
    let hello = Frame {
        sequence: 1,
        kind: Kind::HELLO,
        payload: &[],
    };
    agent.server.serve(&frame(Kind::PORT_READ), &mut agent.machine);
    assert!(!agent.server.serve(&hello, &mut agent.machine).is_empty());
    agent.server.serve(&frame(Kind::PORT_READ), &mut agent.machine);
    assert_eq!(agent.machine.log, ["in 60/1", "in 60/1"]);
}

#[test]
fn what_is_no_request_gets_an_error() {
    let mut agent = FakeAgent::new();
    for (sequence, kind, payload, code) in [
        (5, Kind(0x70), &[][..], ErrorCode::KIND),
        (6, Kind::VALUE, &[], ErrorCode::KIND),
        (7, Kind::PORT_READ, &[1], ErrorCode::MALFORMED),
        (8, Kind::PORT_READ, &[1, 0, 8], ErrorCode::MALFORMED),
    ] {
        let bytes = agent.server.serve(
            &Frame {
                sequence,
                kind,
                payload,
            },
            &mut agent.machine,
        );
        let mut decoder = Decoder::new();
        decoder.push(bytes);
        let Some(Event::Frame(frame)) = decoder.poll() else {
            panic!("no frame")
        };
        assert_eq!(Reply::decode(&frame), Ok(Some(Reply::Error(Failure::new(code, 0)))));
    }
    assert_eq!(agent.machine.log, Vec::<std::string::String>::new());
}

#[test]
fn requests_without_an_answer_are_carried_out_silently() {
    let mut client = client();
    let exit = Request::Exit {
        port: 0xf4,
        width: Width::Long,
        value: 3,
    };
    for request in [exit, exit, Request::TripleFault, Request::Halt] {
        assert_eq!(client.call(&request), Ok(Reply::Done));
    }
    let agent = client.into_channel();
    assert_eq!(agent.machine.log, ["out f4/4 3", "out f4/4 3", "triple fault", "halt"]);
    assert!(agent.outbox.is_empty());
}

#[test]
fn silence_is_told_as_such() {
    let mut client = client();
    client.channel_mut().lose = 9;
    assert_eq!(client.call(&Request::Hello), Err(CallError::Silent));
}

/// An agent at the other end of a channel that loses the next `lose` replies.
struct FakeAgent {
    server: Server,
    machine: Machine,
    decoder: Decoder,
    outbox: Vec<u8>,
    lose: u32,
}

impl FakeAgent {
    fn new() -> Self {
        Self {
            server: Server::new(),
            machine: Machine { log: Vec::new() },
            decoder: Decoder::new(),
            outbox: Vec::new(),
            lose: 0,
        }
    }
}

impl Channel for FakeAgent {
    type Error = Failure;

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        assert_eq!(self.decoder.push(bytes), bytes.len());
        while let Some(event) = self.decoder.poll() {
            let Event::Frame(frame) = event else {
                panic!("{event:?}")
            };
            let reply = self.server.serve(&frame, &mut self.machine);
            match self.lose.checked_sub(1) {
                Some(lose) => self.lose = lose,
                None => self.outbox.extend_from_slice(reply),
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let count = self.outbox.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.outbox[..count]);
        self.outbox.drain(..count);
        Ok(count)
    }
}

fn client() -> Client<FakeAgent> {
    Client::new(FakeAgent::new(), 2)
}

/// A machine where everything reads as its own address, and one address faults.
struct Machine {
    log: Vec<std::string::String>,
}

impl Hardware for Machine {
    fn hello(&self) -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            image_start: 0x10_0000,
            image_end: 0x11_0000,
            channel_port: 0x3f8,
            exit_port: None,
            physical_bits: 40,
        }
    }

    fn port_read(&mut self, port: u16, width: Width) -> u32 {
        self.log.push(std::format!("in {port:x}/{width}"));
        u32::from(port)
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) {
        self.log.push(std::format!("out {port:x}/{width} {value:x}"));
    }

    fn port_read_string(&mut self, port: u16, width: Width, bytes: &mut [u8]) {
        self.log.push(std::format!("ins {port:x}/{width} {}", bytes.len()));
        bytes.fill(0x51);
    }

    fn port_write_string(&mut self, port: u16, width: Width, bytes: &[u8]) {
        self.log.push(std::format!("outs {port:x}/{width} {}", bytes.len()));
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Failure> {
        if gpa == FAULTING {
            return Err(Failure {
                code: ErrorCode::FAULT,
                vector: 14,
                error_code: 0,
                address: gpa,
            });
        }
        self.log.push(std::format!("load {gpa:x}/{width}"));
        Ok(gpa)
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Failure> {
        self.log.push(std::format!("store {gpa:x}/{width} {value:x}"));
        Ok(())
    }

    fn read_memory(&mut self, gpa: u64, bytes: &mut [u8]) -> Result<(), Failure> {
        self.log.push(std::format!("read {gpa:x} {}", bytes.len()));
        bytes.fill(0x20);
        Ok(())
    }

    fn write_memory(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Failure> {
        self.log.push(std::format!("write {gpa:x} {}", bytes.len()));
        Ok(())
    }

    fn fill_memory(&mut self, gpa: u64, length: u64, byte: u8) -> Result<(), Failure> {
        self.log.push(std::format!("fill {gpa:x} {length} {byte:x}"));
        Ok(())
    }

    fn triple_fault(&mut self) {
        self.log.push("triple fault".to_string());
    }

    fn halt(&mut self) {
        self.log.push("halt".to_string());
    }
}

const FAULTING: u64 = 0xdead_0000;
