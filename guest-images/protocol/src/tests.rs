//! Both ends of the protocol against each other, against damage and against noise.

use std::{format, string::ToString, vec, vec::Vec};

use super::*;

#[test]
fn frame_of_a_known_request_has_the_documented_bytes() {
    let mut encoder = Encoder::new();
    let bytes = encoder
        .request(
            7,
            &Request::PortRead {
                port: 0x3f8,
                width: Width::Byte,
            },
        )
        .unwrap();
    // The check is CRC-16/IBM-SDLC (X.25) of the bytes between sync and check, worked out bit by bit below.
    assert_eq!(bytes[..9], [0xa5, 0x5a, 3, 0, 7, 0x02, 0xf8, 0x03, 1]);
    assert_eq!(bytes[9..], bitwise_check(&bytes[2..9]).to_le_bytes());
    assert_eq!(bytes.len(), 3 + FRAME_OVERHEAD);
}

#[test]
fn requests_round_trip() {
    let mut random = Random(0x5eed_0001);
    let mut encoder = Encoder::new();
    let mut decoder = Decoder::new();
    for round in 0..4000u32 {
        let (mut bytes, mut program) = ([0; BYTES_MAX], [0; PAYLOAD_LENGTH_MAX]);
        let request = random.request(&mut bytes, &mut program);
        let sent = encoder.request(round as u8, &request).unwrap().to_vec();
        assert_eq!(decoder.push(&sent), sent.len());
        let Some(Event::Frame(frame)) = decoder.poll() else {
            panic!("no frame for {request}")
        };
        assert_eq!(frame.sequence, round as u8);
        assert_eq!(Request::decode(&frame), Ok(Some(request)), "round {round}");
        assert_eq!(decoder.poll(), None);
    }
}

#[test]
fn replies_round_trip() {
    let mut random = Random(0x5eed_0002);
    let mut encoder = Encoder::new();
    let mut decoder = Decoder::new();
    for round in 0..4000u32 {
        let mut bytes = [0; PAYLOAD_LENGTH_MAX];
        let reply = random.reply(&mut bytes);
        let sent = encoder.reply(round as u8, &reply).unwrap().to_vec();
        assert_eq!(decoder.push(&sent), sent.len());
        let Some(Event::Frame(frame)) = decoder.poll() else {
            panic!("no frame for {reply}")
        };
        assert_eq!(Reply::decode(&frame), Ok(Some(reply)), "round {round}");
    }
}

#[test]
fn frames_are_found_in_any_stream_however_it_is_cut() {
    let mut random = Random(0x5eed_0003);
    for _ in 0..300 {
        let mut stream = Vec::new();
        let mut sent = Vec::new();
        let mut encoder = Encoder::new();
        for sequence in 0..8 {
            for _ in 0..random.below(40) {
                // Noise without a first sync byte can hide no frame; noise with one is the next test.
                let byte = random.below(256) as u8;
                stream.push(if byte == SYNC[0] { b'\n' } else { byte });
            }
            let (mut bytes, mut program) = ([0; BYTES_MAX], [0; PAYLOAD_LENGTH_MAX]);
            let frame = encoder
                .request(sequence, &random.request(&mut bytes, &mut program))
                .unwrap();
            stream.extend_from_slice(frame);
            sent.push(frame.to_vec());
        }
        let mut decoder = Decoder::new();
        let mut found = Vec::new();
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let cut = (1 + random.below(700)).min(rest.len());
            let taken = decoder.push(&rest[..cut]);
            rest = &rest[taken..];
            while let Some(event) = decoder.poll() {
                if let Event::Frame(frame) = event {
                    found.push(
                        Encoder::new()
                            .raw(frame.sequence, frame.kind, frame.payload)
                            .unwrap()
                            .to_vec(),
                    );
                }
            }
        }
        assert_eq!(found, sent);
    }
}

#[test]
fn false_start_swallows_no_frame_behind_it() {
    let mut encoder = Encoder::new();
    let frame = encoder.request(9, &Request::Hello).unwrap();
    // A start that promises 300 bytes, and then real frames: found as soon as those 300 bytes have come and failed.
    let mut stream = vec![SYNC[0], SYNC[1], 0x2c, 0x01, 0, 0];
    for _ in 0..40 {
        stream.extend_from_slice(frame);
    }
    let mut decoder = Decoder::new();
    decoder.push(&stream);
    let mut frames = 0;
    let mut damaged = 0;
    while let Some(event) = decoder.poll() {
        match event {
            Event::Frame(frame) => {
                assert_eq!(frame.kind, Kind::HELLO);
                frames += 1;
            }
            Event::Damaged(error) => {
                assert!(matches!(error, FrameError::Check { .. }));
                damaged += 1;
            }
            Event::Noise(bytes) => assert_eq!(bytes.len(), 6),
        }
    }
    assert_eq!((frames, damaged), (40, 1));
}

#[test]
fn length_beyond_the_limit_is_refused_at_once() {
    let mut decoder = Decoder::new();
    decoder.push(&[SYNC[0], SYNC[1], 0x01, 0x08, 0, 0]);
    assert_eq!(decoder.poll(), Some(Event::Damaged(FrameError::Length(0x801))));
}

#[test]
fn every_single_damaged_bit_is_noticed() {
    let mut encoder = Encoder::new();
    let request = Request::Store {
        gpa: 0xfeb0_0e00,
        width: Width::Long,
        value: 0x1234_5678,
    };
    let frame = encoder.request(3, &request).unwrap().to_vec();
    for bit in 0..frame.len() * 8 {
        let mut bytes = frame.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = Decoder::new();
        decoder.push(&bytes);
        while let Some(event) = decoder.poll() {
            assert!(!matches!(event, Event::Frame(_)), "bit {bit} damaged and not noticed");
        }
    }
}

#[test]
fn foreign_bytes_never_panic_a_decoder() {
    let mut random = Random(0x5eed_0004);
    let mut decoder = Decoder::new();
    for _ in 0..20_000 {
        let mut bytes = [0; 64];
        for byte in &mut bytes {
            // Mostly the bytes that mean something at the front of a frame.
            *byte = match random.below(4) {
                0 => SYNC[0],
                1 => SYNC[1],
                2 => random.below(16) as u8,
                _ => random.below(256) as u8,
            };
        }
        let frame = Frame {
            sequence: 0,
            kind: Kind(random.below(256) as u8),
            payload: &bytes,
        };
        let _ = Request::decode(&frame);
        let _ = Reply::decode(&frame);
        decoder.push(&bytes);
        while decoder.poll().is_some() {}
        assert!(!decoder.space().is_empty(), "a polled decoder can always take a byte");
    }
}

#[test]
fn needed_never_asks_for_a_byte_behind_the_frame() {
    let mut random = Random(0x5eed_0005);
    let mut encoder = Encoder::new();
    let mut decoder = Decoder::new();
    for _ in 0..500 {
        let (mut bytes, mut program) = ([0; BYTES_MAX], [0; PAYLOAD_LENGTH_MAX]);
        let frame = encoder.request(1, &random.request(&mut bytes, &mut program)).unwrap();
        let mut rest = frame;
        let mut polls = 0;
        loop {
            let count = decoder.needed();
            assert!(count <= rest.len(), "asks for {count} of {} bytes", rest.len());
            decoder.push(&rest[..count]);
            rest = &rest[count..];
            polls += 1;
            if matches!(decoder.poll(), Some(Event::Frame(_))) {
                break;
            }
        }
        assert!(rest.is_empty() && polls <= 2);
    }
}

#[test]
fn limits_are_refused_when_encoding_and_when_decoding() {
    let mut encoder = Encoder::new();
    let long = [0; BYTES_MAX + 4];
    for request in [
        Request::PortRead {
            port: 0,
            width: Width::Quad,
        },
        Request::PortReadString {
            port: 0,
            width: Width::Long,
            count: 257,
        },
        Request::PortWriteString {
            port: 0,
            width: Width::Byte,
            bytes: &long,
        },
        Request::PortWriteString {
            port: 0,
            width: Width::Word,
            bytes: &long[..3],
        },
        Request::ReadMemory { gpa: 0, length: 1025 },
        Request::WriteMemory { gpa: 0, bytes: &long },
        Request::FillMemory {
            gpa: 0,
            length: FILL_LENGTH_MAX + 1,
            byte: 0,
        },
        Request::Exit {
            port: 0xf4,
            width: Width::Quad,
            value: 0,
        },
    ] {
        assert_eq!(encoder.request(1, &request), Err(EncodeError), "{request}");
    }
    let too_long = Frame {
        sequence: 0,
        kind: Kind::READ_MEMORY,
        payload: &[0, 0, 0, 0, 0, 0, 0, 0, 1, 4],
    };
    assert_eq!(Request::decode(&too_long), Err(Malformed));
    let tail = Frame {
        sequence: 0,
        kind: Kind::HALT,
        payload: &[0],
    };
    assert_eq!(Request::decode(&tail), Err(Malformed));
}

#[test]
fn program_takes_as_many_steps_as_one_answer_holds() {
    let steps = vec![
        Step::Load {
            gpa: 0x10_0000,
            width: Width::Quad
        };
        600
    ];
    let mut buffer = [0; PAYLOAD_LENGTH_MAX];
    let (program, count) = Program::encode(&steps, &mut buffer).unwrap();
    // Nine bytes a step: the payload is the limit, not the 2031 answer bytes.
    assert_eq!(count, PAYLOAD_LENGTH_MAX / 9);
    assert_eq!(program.steps().count(), count);

    let steps = vec![
        Step::PortRead {
            port: 0x71,
            width: Width::Byte
        };
        600
    ];
    let (program, count) = Program::encode(&steps, &mut buffer).unwrap();
    assert_eq!((count, program.steps().count()), (PROGRAM_STEPS_MAX, PROGRAM_STEPS_MAX));
}

#[test]
fn answers_pair_with_the_steps_that_were_done() {
    let steps = [
        Step::PortWrite {
            port: 0x70,
            width: Width::Byte,
            value: 0x0a,
        },
        Step::PortRead {
            port: 0x71,
            width: Width::Byte,
        },
        Step::Load {
            gpa: 0xfeb0_0000,
            width: Width::Long,
        },
        Step::Load {
            gpa: 1 << 60,
            width: Width::Long,
        },
    ];
    let mut buffer = [0; 64];
    let (program, count) = Program::encode(&steps, &mut buffer).unwrap();
    assert_eq!(count, 4);
    let failure = Failure::new(ErrorCode::ADDRESS, 1 << 60);
    let answers = Answers {
        steps_done: 3,
        failure: Some(failure),
        bytes: &[0x26, 0x76, 0x69, 0x72, 0x74],
    };
    let values: Vec<_> = answers.of(&program).map(|(_, value)| value).collect();
    assert_eq!(values, [None, Some(0x26), Some(0x7472_6976)]);
    assert_eq!(
        answers.to_string(),
        "3 steps 2676697274 then address address=0x1000000000000000"
    );
}

#[test]
fn transcripts_read_like_accesses() {
    let request = Request::PortWrite {
        port: 0x70,
        width: Width::Byte,
        value: 0x0a,
    };
    assert_eq!(request.to_string(), "port_write 0x70/1 0xa");
    let request = Request::WriteMemory {
        gpa: 0x20_0000,
        bytes: &[0xab; 34],
    };
    assert_eq!(
        request.to_string(),
        format!("write_memory 0x200000 {}+2", "ab".repeat(32))
    );
    let fault = Failure {
        code: ErrorCode::FAULT,
        vector: 14,
        error_code: 9,
        address: 0x1_0000_0000,
    };
    assert_eq!(
        Reply::Error(fault).to_string(),
        "error fault vector=14 error_code=0x9 address=0x100000000"
    );
}

#[test]
fn client_reads_hello_behind_a_firmware_text() {
    let mut client = Client::new(FakeAgent::new(), 2);
    client
        .channel_mut()
        .outbox
        .extend_from_slice(b"SeaBIOS (version 1.16)\r\n\xa5");
    client.channel_mut().reply(0, &Reply::Hello(HELLO));
    assert_eq!(client.wait_hello(), Ok(HELLO));
    assert_eq!(client.channel_mut().noise, b"SeaBIOS (version 1.16)\r\n\xa5");
}

#[test]
fn client_repeats_under_the_same_number_and_numbers_skip_zero() {
    let mut client = Client::new(FakeAgent::new(), 3);
    for round in 0..600u32 {
        client.channel_mut().lose = round % 3;
        let reply = client.call(&Request::PortRead {
            port: round as u16,
            width: Width::Word,
        });
        assert_eq!(reply, Ok(Reply::Value(u64::from(round))));
    }
    let agent = client.into_channel();
    assert_eq!(agent.executed, 600);
    assert!(!agent.sequences.contains(&0));
}

#[test]
fn client_gives_up_on_silence() {
    let mut client = Client::new(FakeAgent::new(), 2);
    client.channel_mut().lose = 2;
    assert_eq!(client.call(&Request::Hello), Err(CallError::Silent));
    assert_eq!(client.call(&Request::Halt), Ok(Reply::Done));
}

/// An agent whose port N reads N; it loses the next `lose` replies on the way.
struct FakeAgent {
    decoder: Decoder,
    outbox: Vec<u8>,
    noise: Vec<u8>,
    sequences: Vec<u8>,
    executed: u32,
    lose: u32,
}

impl FakeAgent {
    fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            outbox: Vec::new(),
            noise: Vec::new(),
            sequences: Vec::new(),
            executed: 0,
            lose: 0,
        }
    }

    fn reply(&mut self, sequence: u8, reply: &Reply<'_>) {
        self.outbox
            .extend_from_slice(Encoder::new().reply(sequence, reply).unwrap());
    }
}

impl Channel for FakeAgent {
    type Error = Malformed;

    fn send(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.decoder.push(bytes);
        while let Some(event) = self.decoder.poll() {
            let Event::Frame(frame) = event else { continue };
            let sequence = frame.sequence;
            let value = match Request::decode(&frame)? {
                Some(Request::PortRead { port, .. }) => u64::from(port),
                _ => 0,
            };
            if self.sequences.last() != Some(&sequence) {
                self.executed += 1;
            }
            self.sequences.push(sequence);
            match self.lose.checked_sub(1) {
                Some(lose) => self.lose = lose,
                None => self.reply(sequence, &Reply::Value(value)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Malformed> {
        // A few bytes at a time, as a serial port gives them.
        let count = self.outbox.len().min(buffer.len()).min(5);
        buffer[..count].copy_from_slice(&self.outbox[..count]);
        self.outbox.drain(..count);
        Ok(count)
    }

    fn noise(&mut self, bytes: &[u8]) {
        self.noise.extend_from_slice(bytes);
    }
}

const HELLO: Hello = Hello {
    version: PROTOCOL_VERSION,
    image_start: 0x10_0000,
    image_end: 0x12_0000,
    channel_port: 0x3f8,
    exit_port: Some(0xf4),
    physical_bits: 39,
};

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> usize {
        (self.next() % limit) as usize
    }

    fn port_width(&mut self) -> Width {
        Width::ALL[self.below(3)]
    }

    fn width(&mut self) -> Width {
        Width::ALL[self.below(4)]
    }

    fn bytes<'a>(&mut self, buffer: &'a mut [u8], unit: usize, limit: usize) -> &'a [u8] {
        let length = self.below((limit / unit) as u64 + 1) * unit;
        buffer[..length].fill_with(|| self.next() as u8);
        &buffer[..length]
    }

    fn step(&mut self) -> Step {
        let (port, gpa) = (self.next() as u16, self.next());
        match self.below(4) {
            0 => Step::PortRead {
                port,
                width: self.port_width(),
            },
            1 => {
                let width = self.port_width();
                let mask = (1u64 << (8 * width.bytes())) - 1;
                Step::PortWrite {
                    port,
                    width,
                    value: (self.next() & mask) as u32,
                }
            }
            2 => Step::Load {
                gpa,
                width: self.width(),
            },
            _ => {
                let width = self.width();
                Step::Store {
                    gpa,
                    width,
                    value: self.next() >> (64 - 8 * width.bytes()),
                }
            }
        }
    }

    fn request<'a>(&mut self, bytes: &'a mut [u8], program: &'a mut [u8]) -> Request<'a> {
        let (port, gpa) = (self.next() as u16, self.next());
        match self.below(14) {
            0 => Request::Hello,
            1 => Request::PortRead {
                port,
                width: self.port_width(),
            },
            2 => Request::PortWrite {
                port,
                width: self.port_width(),
                value: self.next() as u32,
            },
            3 => {
                let width = self.port_width();
                let count = self.below((BYTES_MAX / width.bytes()) as u64 + 1) as u16;
                Request::PortReadString { port, width, count }
            }
            4 => {
                let width = self.port_width();
                Request::PortWriteString {
                    port,
                    width,
                    bytes: self.bytes(bytes, width.bytes(), BYTES_MAX),
                }
            }
            5 => Request::Load {
                gpa,
                width: self.width(),
            },
            6 => Request::Store {
                gpa,
                width: self.width(),
                value: self.next(),
            },
            7 => Request::ReadMemory {
                gpa,
                length: self.below(BYTES_MAX as u64 + 1) as u16,
            },
            8 => Request::WriteMemory {
                gpa,
                bytes: self.bytes(bytes, 1, BYTES_MAX),
            },
            9 => Request::FillMemory {
                gpa,
                length: self.below(u64::from(FILL_LENGTH_MAX) + 1) as u32,
                byte: self.next() as u8,
            },
            10 => {
                let steps: Vec<_> = (0..self.below(80)).map(|_| self.step()).collect();
                let (program, count) = Program::encode(&steps, program).unwrap();
                assert_eq!(program.steps().collect::<Vec<_>>(), steps[..count]);
                Request::Program(program)
            }
            11 => Request::Exit {
                port,
                width: self.port_width(),
                value: self.next() as u32,
            },
            12 => Request::TripleFault,
            _ => Request::Halt,
        }
    }

    fn failure(&mut self) -> Failure {
        Failure {
            code: ErrorCode(self.next() as u8),
            vector: self.next() as u8,
            error_code: self.next() as u32,
            address: self.next(),
        }
    }

    fn reply<'a>(&mut self, buffer: &'a mut [u8]) -> Reply<'a> {
        match self.below(6) {
            0 => Reply::Hello(Hello {
                version: self.next() as u16,
                image_start: self.next(),
                image_end: self.next(),
                channel_port: self.next() as u16,
                exit_port: Some(self.next() as u16).filter(|&port| port != 0),
                physical_bits: self.next() as u8,
            }),
            1 => Reply::Value(self.next()),
            2 => Reply::Bytes(self.bytes(buffer, 1, PAYLOAD_LENGTH_MAX)),
            3 => Reply::Done,
            4 => Reply::Answers(Answers {
                steps_done: self.next() as u16,
                failure: if self.below(2) == 0 { None } else { Some(self.failure()) },
                bytes: self.bytes(buffer, 1, PAYLOAD_LENGTH_MAX - 17),
            }),
            _ => Reply::Error(self.failure()),
        }
    }
}

/// CRC-16/IBM-SDLC by its definition: polynomial 0x1021 reflected, start and final xor of all ones.
fn bitwise_check(bytes: &[u8]) -> u16 {
    let mut check = 0xffff_u16;
    for &byte in bytes {
        check ^= u16::from(byte);
        for _ in 0..8 {
            check = if check & 1 == 1 {
                check >> 1 ^ 0x8408
            } else {
                check >> 1
            };
        }
    }
    !check
}
