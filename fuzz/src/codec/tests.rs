use rstest::rstest;

use super::*;
use crate::seeds;
use crate::targets::{self, FW_CFG, VIRTIO_MMIO};

/// Marsaglia's xorshift64: the same inputs in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 32) as u8).collect()
    }

    fn width(&mut self, widest: usize) -> Width {
        Width::ALL[self.next() as usize % widest]
    }

    /// A number of any magnitude.
    fn number(&mut self) -> u64 {
        let shift = self.next() % 64;
        self.next() >> shift
    }

    /// Any action that inputs can say.
    fn action(&mut self) -> Action {
        let gpa = self.number();
        match self.next() % 10 {
            0 => Action::PortRead {
                port: gpa as u16,
                width: self.width(3),
            },
            1 => {
                let width = self.width(3);
                let value = (self.number() & width.mask()) as u32;
                Action::PortWrite {
                    port: gpa as u16,
                    width,
                    value,
                }
            }
            2 => Action::Load {
                gpa,
                width: self.width(4),
            },
            3 => {
                let width = self.width(4);
                let value = self.number() & width.mask();
                Action::Store { gpa, width, value }
            }
            4 => Action::ReadMemory {
                gpa,
                length_bytes: self.next() as u16 as u32 + 1,
            },
            5 => {
                let length = self.next() as usize % 40 + 1;
                let bytes = self.bytes(length);
                Action::WriteMemory { gpa, bytes }
            }
            6 => Action::FillMemory {
                gpa,
                length_bytes: self.next() as u16 as u32,
                byte: self.next() as u8,
            },
            7 => Action::Advance {
                by_ns: self.number().max(1),
            },
            8 => {
                let length = self.next() as usize % 256 + 1;
                let bytes = self.bytes(length);
                Action::SerialInput { bytes }
            }
            _ => Action::Reset,
        }
    }
}

fn round_trip(target: &Target, program: &Program) {
    let bytes = encode(target, program).expect("expressible");
    assert_eq!(&decode(target, &bytes), program, "{}", program.text(target));
}

#[test]
fn every_expressible_program_round_trips() {
    for target in targets::ALL {
        let mut random = Random(SEED);
        for _ in 0..2000 {
            let length = random.next() as usize % 20;
            let setup = random.next() as u8 % target.setups.len() as u8;
            let mut program = Program {
                setup,
                actions: Vec::new(),
            };
            for _ in 0..length {
                program.actions.push(random.action());
                // Targets of ports alone have no accesses to memory.
                if encode(target, &program).is_err() {
                    assert!(target.memory.is_empty());
                    program.actions.pop();
                }
            }
            round_trip(target, &program);
        }
    }
}

/// What libFuzzer makes out of bytes can be written as text, edited and be made an input again.
#[test]
fn every_input_is_a_program_that_round_trips() {
    for target in targets::ALL {
        let mut random = Random(SEED);
        for _ in 0..2000 {
            let length = random.next() as usize % 300;
            let program = decode(target, &random.bytes(length));
            round_trip(target, &program);
            assert_eq!(Program::parse(target, &program.text(target)), Ok(program));
        }
    }
}

#[test]
fn every_seed_round_trips() {
    for target in targets::ALL {
        let written = seeds::written(target).expect("the tree's seeds are programs");
        assert!(!written.is_empty(), "{} has seeds", target.name);
        let imported = seeds::imported(target);
        assert!(20 < imported.len(), "{}: {} cases", target.name, imported.len());
        for seed in written.iter().chain(&imported) {
            round_trip(target, &seed.program);
        }
    }
}

#[rstest]
#[case::register("writel 0xc0000e70 0x3", 4)]
#[case::ring_address("writel 0xc0000e80 0x400000", 5)]
#[case::descriptor("write 0x400010 0x10 0x00104000000000004000000002000100", 8)]
#[case::available_index("writew 0x401002 0x1", 4)]
#[case::nowhere("readl 0xd0000000", 9)]
fn virtio_access_takes_few_bytes(#[case] line: &str, #[case] length: usize) {
    let actions = vec![Action::parse(line).expect(line)];
    let bytes = encode(&VIRTIO_MMIO, &Program { setup: 0, actions }).expect(line);
    assert_eq!(bytes.len() - 1, length);
}

#[rstest]
#[case::selector("outw 0x510 0x19", 4)]
#[case::dma_address("outl 0x518 0x4000", 5)]
#[case::descriptor("write 0x400000 0x10 0x0019000a000000400000000000401000", 9)]
fn fw_cfg_access_takes_few_bytes(#[case] line: &str, #[case] length: usize) {
    let actions = vec![Action::parse(line).expect(line)];
    let bytes = encode(&FW_CFG, &Program { setup: 0, actions }).expect(line);
    assert_eq!(bytes.len() - 1, length);
}

#[rstest]
#[case::long_write(
    "write 0x0 0x401 0x00",
    "action 1 ('write 0x0 0x401",
    "1025 bytes are not within 1..=1024"
)]
#[case::long_read(
    "read 0x0 0x10001",
    "action 1 ('read 0x0 0x10001')",
    "65537 bytes are not within 1..=65536"
)]
#[case::nothing_typed("serial_in 0x", "action 1 ('serial_in 0x')", "0 bytes are not within 1..=256")]
fn action_past_a_limit_is_named(#[case] line: &str, #[case] start: &str, #[case] end: &str) {
    let actions = vec![Action::parse(line).expect(line)];
    let error = encode(&FW_CFG, &Program { setup: 0, actions }).expect_err(line);
    let text = error.to_string();
    assert!(text.starts_with(start) && text.ends_with(end), "{text}");
}

#[test]
fn programs_have_a_longest() {
    let actions = vec![Action::Reset; ACTIONS_MAX + 1];
    let program = Program { setup: 0, actions };
    let error = encode(&FW_CFG, &program).expect_err("one too many");
    assert_eq!(error.number, ACTIONS_MAX + 1);
    let endless = vec![20; 2 * ACTIONS_MAX];
    assert_eq!(decode(&FW_CFG, &endless).actions.len(), ACTIONS_MAX);
}

const SEED: u64 = 0x746f_7563_6873_746f;
