//! Random programs: accesses anywhere a device is, and the shapes that get a device to do DMA.
//!
//! A program is a few *phrases*: plain accesses, a virtqueue set up with random contents, a fw_cfg transfer, strings.
//! Numbers are mostly interesting ones: edges of RAM, lengths around sectors and limits, the agent's own memory as a
//! place for devices to write. The serial port is left out, for it is the agent's line.

use std::fmt;

use conformance::machine::Width;
use conformance::program::{Action, Hex};
use vmm::virtio::rng::Xorshift;

/// One step of a guest program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// As in every other program.
    Plain(Action),
    /// `rep ins`.
    StringIn {
        /// The port.
        port: u16,
        /// Of one element: 1, 2 or 4 bytes.
        width: Width,
        /// Elements.
        count: u16,
    },
    /// `rep outs`.
    StringOut {
        /// The port.
        port: u16,
        /// Of one element: 1, 2 or 4 bytes.
        width: Width,
        /// The elements.
        bytes: Vec<u8>,
    },
}

/// A machine that programs run on.
#[derive(Debug)]
pub struct Setup {
    /// One word.
    pub name: &'static str,
    /// Options of `microvm run`; disks come behind them, each in the next lower transport.
    pub options: &'static [&'static str],
    /// Whether the transports are of version 2.
    pub modern: bool,
    /// RAM: the part from 0 on, and the part from 4 GiB on if there is one.
    pub regions_bytes: &'static [u64],
}

/// All set-ups; batches of programs take turns.
pub static SETUPS: [Setup; 4] = [
    Setup {
        name: "modern",
        options: &[
            "--machine",
            "microvm,virtio-mmio=modern,rtc=on",
            "-m",
            "16M",
            "--device",
            "virtio-rng",
        ],
        modern: true,
        regions_bytes: &[16 << 20],
    },
    Setup {
        name: "legacy",
        options: &[
            "--machine",
            "microvm,virtio-mmio=legacy,rtc=on",
            "-m",
            "16M",
            "--device",
            "virtio-rng",
        ],
        modern: false,
        regions_bytes: &[16 << 20],
    },
    Setup {
        name: "bare",
        options: &[
            "--machine",
            "microvm,virtio-mmio=modern,pic=off,pit=off,rtc=off",
            "-m",
            "12M",
            "--smp",
            "2",
            "--device",
            "virtio-rng",
        ],
        modern: true,
        regions_bytes: &[12 << 20],
    },
    Setup {
        name: "large",
        options: &[
            "--machine",
            "microvm,virtio-mmio=modern,rtc=on",
            "-m",
            "3G",
            "--device",
            "virtio-rng",
        ],
        modern: true,
        regions_bytes: &[2 << 30, 1 << 30],
    },
];

impl Setup {
    /// All of RAM.
    pub fn ram_bytes(&self) -> u64 {
        self.regions_bytes.iter().sum()
    }
}

/// The program of a number.
pub fn program(setup: &Setup, seed: u64, index: u64) -> Vec<Step> {
    let mut maker = Maker::new(setup, seed, index);
    for _ in 0..=maker.below(PHRASES_MAX) {
        maker.phrase();
    }
    maker.steps
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Plain(action) => action.fmt(f),
            Step::StringIn { port, width, count } => write!(f, "rep-in {port:#x} {} {count}", width.bytes()),
            Step::StringOut { port, width, bytes } => {
                write!(f, "rep-out {port:#x} {} {}", width.bytes(), Hex(bytes))
            }
        }
    }
}

struct Maker<'a> {
    setup: &'a Setup,
    random: Xorshift,
    steps: Vec<Step>,
}

impl Maker<'_> {
    fn new(setup: &Setup, seed: u64, index: u64) -> Maker<'_> {
        let mut random = Xorshift::new(
            seed.wrapping_mul(GOLDEN)
                .wrapping_add(index.wrapping_mul(GOLDEN | 1 << 40))
                ^ MIX,
        );
        // Neighbouring states give neighbouring numbers at first.
        for _ in 0..16 {
            random.next_u64();
        }
        Maker {
            setup,
            random,
            steps: Vec::new(),
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.random.next_u64() >> 16) % limit
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn phrase(&mut self) {
        match self.below(16) {
            0..=3 => self.accesses(),
            4..=9 => self.queue(),
            10..=11 => self.firmware_dma(),
            12 => self.strings(),
            13 => self.fill(),
            14 => self.notifications(),
            _ => self.interrupts(),
        }
    }

    fn accesses(&mut self) {
        for _ in 0..=self.below(24) {
            let width = self.pick(&Width::ALL);
            let port_width = self.pick(&PORT_WIDTHS);
            let step = match self.below(4) {
                0 => self.port(port_width).map(|port| Action::PortRead {
                    port,
                    width: port_width,
                }),
                1 => {
                    let value = self.value() as u32 & port_width.mask() as u32;
                    self.port(port_width).map(|port| Action::PortWrite {
                        port,
                        width: port_width,
                        value,
                    })
                }
                2 => Some(Action::Load {
                    gpa: self.device_address(),
                    width,
                }),
                _ => Some(Action::Store {
                    gpa: self.device_address(),
                    width,
                    value: self.value() & width.mask(),
                }),
            };
            self.steps.extend(step.map(Step::Plain));
        }
    }

    /// A virtqueue with random descriptors, by the book except for what chance spoils.
    fn queue(&mut self) {
        let transport = self.transport();
        let table = SCRATCH + self.below(16) * 0x1_0000;
        let (available, used) = (table + 0x4000, table + 0x6000);
        let count = 1 + self.below(8);
        // A header of a block request, for whoever points there.
        let header = table + 0x8000;
        let kind = self.pick(&[0_u64, 1, 4, 8, 11, 13, 0x8000_0000, 2, 99]);
        let sector = if self.chance(3) {
            self.random.next_u64()
        } else {
            self.below(24)
        };
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(sector.to_le_bytes());
        // A segment of a discard: sector, number of sectors, flags.
        bytes.extend(self.below(16).to_le_bytes());
        bytes.extend((self.length() as u32).to_le_bytes());
        bytes.extend((self.below(4) as u32).to_le_bytes());
        self.write(header, bytes);
        let mut descriptors = Vec::new();
        for index in 0..count {
            let by_the_book = !self.chance(16);
            let (address, length, flags, next) = if by_the_book {
                let next = (index + 1) % count;
                let last = next == 0;
                let address = if index == 0 { header } else { self.target() };
                let length = match index {
                    0 => self.pick(&[16, 16, 16, 32, 36]),
                    _ if last => self.pick(&[1, 1, 512, 513]),
                    _ if self.chance(12) => self.length(),
                    _ => self.pick(&[512, 512, 1024, 4096, 0x1_0000, 1]),
                };
                (
                    address,
                    length,
                    u64::from(!last) | if index == 0 && !self.chance(8) { 0 } else { 2 },
                    next,
                )
            } else {
                (self.buffer(), self.length(), self.below(8), self.below(16))
            };
            descriptors.extend(address.to_le_bytes());
            descriptors.extend((length as u32).to_le_bytes());
            descriptors.extend((flags as u16).to_le_bytes());
            descriptors.extend((next as u16).to_le_bytes());
        }
        self.write(table, descriptors);
        let heads = 1 + self.below(8);
        let mut ring = (self.below(2) as u16).to_le_bytes().to_vec();
        let index = if self.chance(12) {
            self.random.next_u64() as u16
        } else {
            heads as u16
        };
        ring.extend(index.to_le_bytes());
        for _ in 0..heads {
            let head = if self.chance(24) {
                self.random.next_u64() as u16
            } else {
                self.below(count) as u16
            };
            ring.extend(head.to_le_bytes());
        }
        self.write(available, ring);
        let places = [table, available, used].map(|place| if self.chance(24) { self.buffer() } else { place });
        if self.setup.modern {
            self.set_up_modern(transport, places);
        } else {
            self.set_up_legacy(transport, places[0]);
        }
        for _ in 0..self.below(4) {
            self.store(transport + 0x50, 0);
        }
    }

    fn set_up_modern(&mut self, transport: u64, [table, available, used]: [u64; 3]) {
        self.store(transport + 0x70, 0);
        self.store(transport + 0x70, 1);
        self.store(transport + 0x70, 3);
        self.store(transport + 0x24, 1);
        self.store(transport + 0x20, 1);
        self.store(transport + 0x24, 0);
        let features = if self.chance(3) {
            self.random.next_u64()
        } else {
            self.pick(&[0, 1 << 28, 1 << 29, 3 << 28])
        };
        self.store(transport + 0x20, features);
        self.store(transport + 0x70, 0xb);
        let queue = if self.chance(16) { self.value() } else { 0 };
        self.store(transport + 0x30, queue);
        let size = if self.chance(8) {
            self.value()
        } else {
            self.pick(&[8, 8, 8, 8, 4, 1])
        };
        self.store(transport + 0x38, size);
        for (register, address) in [(0x80, table), (0x90, available), (0xa0, used)] {
            self.store(transport + register, address);
            self.store(transport + register + 4, address >> 32);
        }
        self.store(transport + 0x44, 1);
        self.store(transport + 0x70, 0xf);
        self.store(transport + 0x50, 0);
    }

    fn set_up_legacy(&mut self, transport: u64, table: u64) {
        for status in [0, 1, 3] {
            self.store(transport + 0x70, status);
        }
        let features = if self.chance(3) {
            self.value()
        } else {
            self.pick(&[0, 1 << 28, 1 << 29, 1 << 24])
        };
        self.store(transport + 0x20, features);
        let page = self.pick(&[4096, 4096, 0x4000, 1, 0]);
        self.store(transport + 0x28, page);
        self.store(transport + 0x30, 0);
        let size = if self.chance(8) { self.value() } else { 8 };
        self.store(transport + 0x38, size);
        // With this alignment the available ring of a small queue follows its table; the driver's other one fits too.
        let alignment = self.pick(&[4096, 4096, 0x2000, 4, 0]);
        self.store(transport + 0x3c, alignment);
        let frame = table.checked_div(page).unwrap_or(table >> 12);
        self.store(transport + 0x40, frame);
        // A copy of the ring where a queue of 8 has it.
        let ring = vec![0, 0, 1, 0, 0, 0, 0, 0];
        self.write(table + 8 * 16, ring);
        self.store(transport + 0x70, 7);
        self.store(transport + 0x50, 0);
    }

    /// fw_cfg's DMA interface; descriptor and address are big-endian.
    fn firmware_dma(&mut self) {
        let at = SCRATCH + 0x20_0000 + self.below(0x100) * 16;
        let key = self.pick(&[
            0, 1, 2, 5, 8, 0xb, 0xe, 0x12, 0x14, 0x15, 0x18, 0x19, 0x20, 0x21, 0x22, 0xffff,
        ]);
        let flags = if self.chance(4) {
            self.below(32)
        } else {
            self.pick(&[8 | 2, 8 | 2, 2, 8 | 4, 4, 8 | 16])
        };
        let control = (key << 16 | flags) as u32;
        let mut descriptor = control.to_be_bytes().to_vec();
        descriptor.extend((self.length() as u32).to_be_bytes());
        let target = if self.chance(6) { at } else { self.target() };
        descriptor.extend(target.to_be_bytes());
        self.write(at, descriptor);
        let at = if self.chance(8) { self.buffer() } else { at };
        for (port, half) in [(0x514, (at >> 32) as u32), (0x518, at as u32)] {
            self.steps.push(Step::Plain(Action::PortWrite {
                port,
                width: Width::Dword,
                value: half.swap_bytes(),
            }));
        }
        if self.chance(2) {
            let count = 1 + self.below(64) as u16;
            self.steps.push(Step::StringIn {
                port: 0x511,
                width: Width::Byte,
                count,
            });
        }
    }

    fn strings(&mut self) {
        for _ in 0..=self.below(3) {
            let width = self.pick(&PORT_WIDTHS);
            let Some(port) = self.port(width) else {
                continue;
            };
            let count = 1 + self.below(1024 / width.bytes() as u64);
            let step = if self.chance(2) {
                Step::StringIn {
                    port,
                    width,
                    count: count as u16,
                }
            } else {
                // Random bytes on the wire cost time; a pattern of a few is as good.
                let pattern = self.random.next_u64().to_le_bytes();
                let length = count as usize * width.bytes();
                let bytes = pattern.into_iter().cycle().take(length.min(256)).collect();
                Step::StringOut { port, width, bytes }
            };
            self.steps.push(step);
        }
    }

    fn fill(&mut self) {
        let length_bytes = self.pick(&[16, 512, 4096, 0x1_0000]);
        let (gpa, byte) = (self.buffer(), self.random.next_u64() as u8);
        self.steps.push(Step::Plain(Action::FillMemory {
            gpa,
            length_bytes,
            byte,
        }));
    }

    fn notifications(&mut self) {
        for _ in 0..=self.below(16) {
            let (transport, value) = (self.transport(), self.below(3));
            self.store(transport + 0x50, value);
            if self.chance(4) {
                self.store(transport + 0x64, 3);
            }
        }
    }

    /// Whatever the interrupt controllers can be told, the modes that reset a CPU among them.
    fn interrupts(&mut self) {
        for _ in 0..=self.below(12) {
            let (pin, value) = (self.below(0x40), self.random.next_u64() as u32);
            self.store(IOAPIC, pin);
            self.store(IOAPIC + 0x10, u64::from(value));
        }
        if self.chance(8) {
            let (register, value) = (self.below(0x40) * 16, self.value());
            self.store(LOCAL_APIC + register, value);
        }
    }

    fn store(&mut self, gpa: u64, value: u64) {
        self.steps.push(Step::Plain(Action::Store {
            gpa,
            width: Width::Dword,
            value: value & Width::Dword.mask(),
        }));
    }

    fn write(&mut self, gpa: u64, bytes: Vec<u8>) {
        self.steps.push(Step::Plain(Action::WriteMemory { gpa, bytes }));
    }

    fn transport(&mut self) -> u64 {
        // Three devices, from the last transport down; the rest is empty.
        let slot = if self.chance(16) {
            self.below(8)
        } else {
            7 - self.below(3)
        };
        TRANSPORTS + slot * 0x200
    }

    /// A port, unless its access would touch the agent's line.
    fn port(&mut self, width: Width) -> Option<u16> {
        let port = match self.below(8) {
            0 => self.random.next_u64() as u16,
            _ => self.pick(&PORTS).wrapping_add(self.below(4) as u16),
        };
        let end = u32::from(port) + width.bytes() as u32;
        (end <= SERIAL || SERIAL + 8 <= u32::from(port)).then_some(port)
    }

    fn device_address(&mut self) -> u64 {
        match self.below(8) {
            0..=3 => {
                let transport = self.transport();
                transport + self.below(0x200)
            }
            4 => IOAPIC + self.pick(&[0, 0x10, 0x40, 0x20, 0xffc]),
            _ => self.buffer(),
        }
    }

    /// Where a device may be told to write so that it probably does: one bad buffer spoils a chain.
    fn target(&mut self) -> u64 {
        match self.below(16) {
            0 => self.buffer(),
            1 => AGENT + self.below(0x2_0000),
            2 => self.setup.regions_bytes[0] - 1 - self.below(0x1000),
            _ => SCRATCH + self.below(0x40_0000),
        }
    }

    /// Where a device may be told to read or write: anywhere.
    fn buffer(&mut self) -> u64 {
        let low_end = self.setup.regions_bytes[0];
        match self.below(16) {
            0..=6 => SCRATCH + self.below(0x40_0000),
            7 => low_end - 1 - self.below(0x1000),
            8 => low_end + self.below(0x1000),
            9 => AGENT + self.below(0x2_0000),
            10 => TRANSPORTS + self.below(0x1000),
            11 => self.pick(&[0, 0xa_0000, 0xf_fff0, IOAPIC, LOCAL_APIC, 0xffff_fff0, (1 << 32) - 8]),
            12 => (1 << 32) + self.below(1 << 31),
            13 => u64::from(self.random.next_u64() as u32),
            14 => self.random.next_u64() >> self.below(40),
            _ => u64::MAX - self.below(0x1000),
        }
    }

    fn length(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(0x2000),
            1 => u64::from(self.random.next_u64() as u32 >> self.below(32)),
            _ => self.pick(&LENGTHS),
        }
    }

    fn value(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(256),
            1 => 1 << self.below(64),
            2 => self.buffer(),
            _ => self.random.next_u64(),
        }
    }
}

const PORT_WIDTHS: [Width; 3] = [Width::Byte, Width::Word, Width::Dword];

/// First ports of everything that answers, and of some that used to.
const PORTS: [u16; 14] = [
    0x20, 0xa0, 0x40, 0x61, 0x70, 0x92, 0x4d0, 0x510, 0x514, 0x518, 0x402, 0x60, 0xcf8, 0xf4,
];

const LENGTHS: [u64; 14] = [
    0,
    1,
    15,
    16,
    511,
    512,
    1024,
    4096,
    0x1_0000,
    0x1_0001,
    0x10_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
];

/// The agent's line: COM1.
const SERIAL: u32 = 0x3f8;

/// Where the agent lies.
const AGENT: u64 = 0x10_0000;

/// RAM that is nobody's.
const SCRATCH: u64 = 0x40_0000;

const TRANSPORTS: u64 = 0xc000_0000;
const IOAPIC: u64 = 0xfec0_0000;
const LOCAL_APIC: u64 = 0xfee0_0000;

/// Most phrases of one program.
const PHRASES_MAX: u64 = 6;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: u64 = 0x6a09_e667_f3bc_c908;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_follows_from_seed_and_number() {
        let text = |seed, index| {
            let program = program(&SETUPS[0], seed, index);
            program.iter().map(|step| format!("{step}\n")).collect::<String>()
        };
        assert_eq!(text(1, 7), text(1, 7));
        assert_ne!(text(1, 7), text(1, 8));
        assert_ne!(text(1, 7), text(2, 7));
    }

    #[test]
    fn no_program_touches_the_agents_line() {
        for index in 0..500 {
            for step in program(&SETUPS[(index % 4) as usize], 3, index) {
                let (port, width) = match step {
                    Step::Plain(Action::PortRead { port, width } | Action::PortWrite { port, width, .. }) => {
                        (port, width)
                    }
                    Step::StringIn { port, width, .. } | Step::StringOut { port, width, .. } => (port, width),
                    Step::Plain(_) => continue,
                };
                let touched = u32::from(port)..u32::from(port) + width.bytes() as u32;
                assert!(touched.end <= 0x3f8 || 0x400 <= touched.start, "{touched:x?}");
            }
        }
    }

    #[test]
    fn programs_reach_every_kind_of_step() {
        let programs: Vec<Step> = (0..200).flat_map(|index| program(&SETUPS[1], 1, index)).collect();
        for kind in ["in", "out", "read", "write ", "memset", "rep-in", "rep-out"] {
            assert!(programs.iter().any(|step| step.to_string().starts_with(kind)), "{kind}");
        }
    }
}
