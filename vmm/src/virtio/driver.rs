//! The driver's side, for tests: rings written by hand, so that they can also be written wrong.

use crate::device::{Access, Ctx, Device, Event};
use crate::irq::{Line, Lines};
use crate::memory::Memory;
use crate::units::{Nanos, Width};
use crate::virtio::VirtioDevice;
use crate::virtio::mmio::{TransportConfig, VirtioMmio};
use crate::virtio::queue::Layout;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;

pub(super) const LINE: Line = Line { gsi: 12, source: 0 };

/// A driver's view of one split queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    pub(super) size: u16,
    pub(super) layout: Layout,
}

/// One transport with 1 MiB of RAM.
pub(super) struct Bench {
    pub(super) device: VirtioMmio,
    pub(super) memory: Memory,
    pub(super) lines: Lines,
    pub(super) events: Vec<Event>,
    pub(super) now: Nanos,
}

pub(super) fn ram() -> Memory {
    Memory::new(&[(0, 0x10_0000)]).expect("1 MiB fits")
}

impl Ring {
    /// Parts that do not touch: table at `base`, available ring at +0x4000, used ring at +0x8000.
    pub(super) fn at(base: u64, size: u16) -> Ring {
        let layout = Layout {
            desc: base,
            avail: base + 0x4000,
            used: base + 0x8000,
        };
        Ring { size, layout }
    }

    pub(super) fn describe(&self, memory: &Memory, index: u16, gpa: u64, length: u32, flags: u16, next: u16) {
        describe(memory, self.layout.desc, index, gpa, length, flags, next);
    }

    /// Makes chain `head` available as the `number`th request, counted from 0.
    pub(super) fn offer(&self, memory: &Memory, number: u16, head: u16) {
        let slot = u64::from(number % self.size);
        put(memory, self.layout.avail + 4 + 2 * slot, head);
        self.set_avail_idx(memory, number.wrapping_add(1));
    }

    pub(super) fn set_avail_idx(&self, memory: &Memory, idx: u16) {
        put(memory, self.layout.avail + 2, idx);
    }

    pub(super) fn set_avail_flags(&self, memory: &Memory, flags: u16) {
        put(memory, self.layout.avail, flags);
    }

    pub(super) fn set_used_event(&self, memory: &Memory, event: u16) {
        put(memory, self.layout.avail + 4 + 2 * u64::from(self.size), event);
    }

    pub(super) fn avail_event(&self, memory: &Memory) -> u16 {
        get(memory, self.layout.used + 4 + 8 * u64::from(self.size))
    }

    pub(super) fn used_idx(&self, memory: &Memory) -> u16 {
        get(memory, self.layout.used + 2)
    }

    /// `(id, len)` of the `number`th completion.
    pub(super) fn used(&self, memory: &Memory, number: u16) -> (u32, u32) {
        let mut element = [0; 8];
        let at = self.layout.used + 4 + 8 * u64::from(number % self.size);
        memory.read(at, &mut element).expect("the used ring lies in RAM");
        let (id, len) = element.split_at(4);
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        (word(id), word(len))
    }
}

impl Bench {
    pub(super) fn new(modern: bool, backend: Option<Box<dyn VirtioDevice>>) -> Bench {
        let config = TransportConfig {
            base: 0xc000_0e00,
            line: LINE,
            modern,
            legacy_shm_len: 0,
        };
        Bench {
            device: VirtioMmio::new(config, backend),
            memory: ram(),
            lines: Lines::default(),
            events: Vec::new(),
            now: Nanos(0),
        }
    }

    pub(super) fn with<R>(&mut self, f: impl FnOnce(&mut VirtioMmio, &mut Ctx<'_>) -> R) -> R {
        let mut ctx = Ctx {
            now: self.now,
            lines: &mut self.lines,
            memory: &self.memory,
            events: &mut self.events,
        };
        f(&mut self.device, &mut ctx)
    }

    pub(super) fn read_width(&mut self, offset: u64, width: Width) -> u64 {
        let at = Access {
            region: 0,
            offset,
            width,
        };
        self.with(|device, ctx| device.read(at, ctx)) & width.mask()
    }

    pub(super) fn write_width(&mut self, offset: u64, width: Width, value: u64) {
        let at = Access {
            region: 0,
            offset,
            width,
        };
        self.with(|device, ctx| device.write(at, value & width.mask(), ctx));
    }

    pub(super) fn read(&mut self, offset: u64) -> u32 {
        self.read_width(offset, Width::Dword) as u32
    }

    pub(super) fn write(&mut self, offset: u64, value: u32) {
        self.write_width(offset, Width::Dword, u64::from(value));
    }

    pub(super) fn line(&self) -> bool {
        self.lines.level(LINE.gsi)
    }

    /// Version 2: accepts `features`, sets up queue 0 as `ring` says and sets DRIVER_OK.
    pub(super) fn start_modern(&mut self, ring: Ring, features: u64) {
        self.write(0x070, 0);
        self.write(0x070, 3);
        for select in 0..2 {
            self.write(0x024, select);
            self.write(0x020, (features >> (32 * select)) as u32);
        }
        self.write(0x070, 0xb);
        assert_eq!(self.read(0x070), 0xb, "the device accepts what it offered");
        self.write(0x030, 0);
        self.write(0x038, u32::from(ring.size));
        let parts = [ring.layout.desc, ring.layout.avail, ring.layout.used];
        for (offset, address) in [0x080, 0x090, 0x0a0].into_iter().zip(parts) {
            self.write(offset, address as u32);
            self.write(offset + 4, (address >> 32) as u32);
        }
        self.write(0x044, 1);
        self.write(0x070, 0xf);
    }

    /// Version 1: accepts `features`, sets up queue 0 of `size` at `desc` and sets DRIVER_OK; returns where it lies.
    pub(super) fn start_legacy(&mut self, desc: u64, size: u16, align: u32, features: u32) -> Ring {
        self.write(0x070, 0);
        self.write(0x070, 3);
        self.write(0x028, 0x1000);
        self.write(0x024, 0);
        self.write(0x020, features);
        self.write(0x030, 0);
        self.write(0x038, u32::from(size));
        self.write(0x03c, align);
        self.write(0x040, (desc / 0x1000) as u32);
        self.write(0x070, 7);
        let avail = desc + 16 * u64::from(size);
        let used = (avail + 4 + 2 * u64::from(size)).next_multiple_of(u64::from(align));
        let layout = Layout { desc, avail, used };
        Ring { size, layout }
    }

    /// Notifies queue 0.
    pub(super) fn kick(&mut self) {
        self.write(0x050, 0);
    }
}

/// Writes descriptor `index` of the table at `table`.
pub(super) fn describe(memory: &Memory, table: u64, index: u16, gpa: u64, length: u32, flags: u16, next: u16) {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&gpa.to_le_bytes());
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..].copy_from_slice(&next.to_le_bytes());
    memory
        .write(table + 16 * u64::from(index), &bytes)
        .expect("the table lies in RAM");
}

pub(super) fn put(memory: &Memory, gpa: u64, value: u16) {
    memory.write(gpa, &value.to_le_bytes()).expect("the ring lies in RAM");
}

pub(super) fn get(memory: &Memory, gpa: u64) -> u16 {
    let mut bytes = [0; 2];
    memory.read(gpa, &mut bytes).expect("the ring lies in RAM");
    u16::from_le_bytes(bytes)
}
