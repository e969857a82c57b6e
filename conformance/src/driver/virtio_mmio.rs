//! A virtio-mmio transport and one split virtqueue, from the driver's side.
//!
//! Source: virtio 1.2, 4.2.2 "MMIO Device Register Layout", 4.2.4 "Legacy interface", 2.7 "Split Virtqueues".

use crate::machine::Stop;
use crate::probe::Probe;

/// MagicValue, "virt".
pub const MAGIC: u32 = 0x7472_6976;

/// Register offsets.
pub mod reg {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const MAGIC_VALUE: u64 = 0x000;
    pub const VERSION: u64 = 0x004;
    pub const DEVICE_ID: u64 = 0x008;
    pub const VENDOR_ID: u64 = 0x00c;
    pub const DEVICE_FEATURES: u64 = 0x010;
    pub const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub const GUEST_PAGE_SIZE: u64 = 0x028;
    pub const QUEUE_SEL: u64 = 0x030;
    pub const QUEUE_NUM_MAX: u64 = 0x034;
    pub const QUEUE_NUM: u64 = 0x038;
    pub const QUEUE_ALIGN: u64 = 0x03c;
    pub const QUEUE_PFN: u64 = 0x040;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC: u64 = 0x080;
    pub const QUEUE_DRIVER: u64 = 0x090;
    pub const QUEUE_DEVICE: u64 = 0x0a0;
    pub const SHM_SEL: u64 = 0x0ac;
    pub const SHM_LEN_LOW: u64 = 0x0b0;
    pub const SHM_LEN_HIGH: u64 = 0x0b4;
    pub const SHM_BASE_LOW: u64 = 0x0b8;
    pub const SHM_BASE_HIGH: u64 = 0x0bc;
    pub const CONFIG_GENERATION: u64 = 0x0fc;
    pub const CONFIG: u64 = 0x100;
}

/// Bits of Status.
pub mod status {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const ACKNOWLEDGE: u32 = 1;
    pub const DRIVER: u32 = 2;
    pub const DRIVER_OK: u32 = 4;
    pub const FEATURES_OK: u32 = 8;
    pub const DEVICE_NEEDS_RESET: u32 = 64;
    pub const FAILED: u32 = 128;
}

/// VIRTIO_F_VERSION_1, as a bit of feature word 1.
pub const VERSION_1_WORD_1: u32 = 1;
/// VIRTIO_F_NOTIFY_ON_EMPTY of legacy devices, as a bit of feature word 0.
pub const NOTIFY_ON_EMPTY: u32 = 1 << 24;
/// VIRTIO_F_ANY_LAYOUT of legacy devices, as a bit of feature word 0.
pub const ANY_LAYOUT: u32 = 1 << 27;
/// VIRTIO_F_INDIRECT_DESC, as a bit of feature word 0.
pub const INDIRECT_DESC: u32 = 1 << 28;
/// VIRTIO_F_EVENT_IDX, as a bit of feature word 0.
pub const EVENT_IDX: u32 = 1 << 29;
/// Device type of an entropy source.
pub const ID_RNG: u32 = 4;

/// One transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Guest-physical address of its registers.
    pub base: u64,
    /// Its index.
    pub index: u8,
}

impl Transport {
    /// The transport of the set-up's first device: where the subject put it, or by the machine's rule.
    pub fn first_device(p: &Probe<'_>) -> Transport {
        let index = p
            .facts()
            .transports
            .first()
            .copied()
            .unwrap_or_else(|| p.layout().transport_of_device(0));
        Transport::at(p, index)
    }

    /// The transport of an index.
    pub fn at(p: &Probe<'_>, index: u8) -> Transport {
        Transport {
            base: p.layout().transport(index),
            index,
        }
    }

    /// A transport of the machine that has no device.
    pub fn empty(p: &Probe<'_>) -> Transport {
        let device = Transport::first_device(p).index;
        Transport::at(p, if device == 0 { 1 } else { 0 })
    }

    /// Reads a register.
    ///
    /// # Errors
    /// As every access of the probe; the same for all methods here.
    pub fn read(self, p: &mut Probe<'_>, offset: u64) -> Result<u32, Stop> {
        p.readl(self.base + offset)
    }

    /// Writes a register.
    pub fn write(self, p: &mut Probe<'_>, offset: u64, value: u32) -> Result<(), Stop> {
        p.writel(self.base + offset, value)
    }

    /// Reads Status.
    pub fn status(self, p: &mut Probe<'_>) -> Result<u32, Stop> {
        self.read(p, reg::STATUS)
    }

    /// One word of the device's features.
    pub fn features(self, p: &mut Probe<'_>, word: u32) -> Result<u32, Stop> {
        self.write(p, reg::DEVICE_FEATURES_SEL, word)?;
        self.read(p, reg::DEVICE_FEATURES)
    }

    /// Accepts one word of features.
    pub fn accept(self, p: &mut Probe<'_>, word: u32, features: u32) -> Result<(), Stop> {
        self.write(p, reg::DRIVER_FEATURES_SEL, word)?;
        self.write(p, reg::DRIVER_FEATURES, features)
    }

    /// Resets and goes as far as DRIVER.
    pub fn acknowledge(self, p: &mut Probe<'_>) -> Result<(), Stop> {
        self.write(p, reg::STATUS, 0)?;
        self.write(p, reg::STATUS, status::ACKNOWLEDGE)?;
        self.write(p, reg::STATUS, status::ACKNOWLEDGE | status::DRIVER)
    }

    /// Brings a modern device up to FEATURES_OK, accepting VERSION_1 and `word_0`; the rest stands on it.
    pub fn negotiate(self, p: &mut Probe<'_>, word_0: u32) -> Result<(), Stop> {
        self.acknowledge(p)?;
        self.accept(p, 0, word_0)?;
        self.accept(p, 1, VERSION_1_WORD_1)?;
        let want = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.write(p, reg::STATUS, want)?;
        let got = self.status(p)?;
        p.require_eq("Status after FEATURES_OK", got, want)
    }

    /// Tells a legacy device that there is a driver with pages of 4 KiB, which accepts `features`; it knows no
    /// FEATURES_OK.
    pub fn negotiate_legacy(self, p: &mut Probe<'_>, features: u32) -> Result<(), Stop> {
        self.acknowledge(p)?;
        self.write(p, reg::GUEST_PAGE_SIZE, 4096)?;
        self.accept(p, 0, features)
    }

    /// Tells a modern transport where queue 0 lies, and makes it ready.
    pub fn set_queue(self, p: &mut Probe<'_>, queue: &Queue) -> Result<(), Stop> {
        self.set_queue_at(p, 0, queue)
    }

    /// Tells a modern transport where queue `index` lies, and makes it ready.
    pub fn set_queue_at(self, p: &mut Probe<'_>, index: u32, queue: &Queue) -> Result<(), Stop> {
        self.write(p, reg::QUEUE_SEL, index)?;
        self.write(p, reg::QUEUE_NUM, u32::from(queue.size))?;
        for (offset, gpa) in [
            (reg::QUEUE_DESC, queue.desc),
            (reg::QUEUE_DRIVER, queue.avail),
            (reg::QUEUE_DEVICE, queue.used),
        ] {
            self.write(p, offset, gpa as u32)?;
            self.write(p, offset + 4, (gpa >> 32) as u32)?;
        }
        self.write(p, reg::QUEUE_READY, 1)
    }

    /// Brings a legacy device up with queue 0 of `size` entries from `gpa` on, which is a multiple of 4096: pages and
    /// alignment of 4 KiB, descriptors, the avail ring behind them, the used ring on the next page.
    pub fn start_legacy(self, p: &mut Probe<'_>, gpa: u64, size: u16) -> Result<Queue, Stop> {
        self.negotiate_legacy(p, 0)?;
        let queue = self.set_legacy_queue(p, 0, gpa, size)?;
        self.driver_ok(p)?;
        Ok(queue)
    }

    /// Tells a legacy transport, which knows the page size, where queue `index` lies: laid out as in
    /// [`Transport::start_legacy`], cleared.
    pub fn set_legacy_queue(self, p: &mut Probe<'_>, index: u32, gpa: u64, size: u16) -> Result<Queue, Stop> {
        let queue = Queue {
            desc: gpa,
            avail: gpa + 16 * u64::from(size),
            used: gpa + 0x1000,
            size,
        };
        queue.clear(p)?;
        self.write(p, reg::QUEUE_SEL, index)?;
        self.write(p, reg::QUEUE_NUM, u32::from(size))?;
        self.write(p, reg::QUEUE_ALIGN, 4096)?;
        self.write(p, reg::QUEUE_PFN, (gpa >> 12) as u32)?;
        Ok(queue)
    }

    /// Sets DRIVER_OK on top of what Status holds.
    pub fn driver_ok(self, p: &mut Probe<'_>) -> Result<(), Stop> {
        let status = self.status(p)?;
        self.write(p, reg::STATUS, status | status::DRIVER_OK)
    }
}

/// A split virtqueue in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Descriptor table, 16 bytes each.
    pub desc: u64,
    /// Avail ring: flags, idx, ring.
    pub avail: u64,
    /// Used ring: flags, idx, ring of id and length.
    pub used: u64,
    /// Number of descriptors, a power of two.
    pub size: u16,
}

/// One descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Buffer.
    pub address: u64,
    /// Bytes of it.
    pub length: u32,
    /// [`NEXT`], [`WRITE`], [`INDIRECT`].
    pub flags: u16,
    /// The next descriptor, with [`NEXT`].
    pub next: u16,
}

/// The chain goes on.
pub const NEXT: u16 = 1;
/// The device writes.
pub const WRITE: u16 = 2;
/// The buffer is a table of descriptors.
pub const INDIRECT: u16 = 4;

/// VIRTQ_AVAIL_F_NO_INTERRUPT, in the avail ring's flags.
pub const NO_INTERRUPT: u16 = 1;

impl Queue {
    /// A queue of `size` descriptors in pages of its own from `gpa` on.
    pub fn at(gpa: u64, size: u16) -> Queue {
        Queue {
            desc: gpa,
            avail: gpa + 0x1000,
            used: gpa + 0x2000,
            size,
        }
    }

    /// Clears the rings.
    ///
    /// # Errors
    /// As every access of the probe; the same for all methods here.
    pub fn clear(&self, p: &mut Probe<'_>) -> Result<(), Stop> {
        p.write_memory(self.desc, &vec![0; 16 * usize::from(self.size)])?;
        p.write_memory(self.avail, &vec![0; 6 + 2 * usize::from(self.size)])?;
        p.write_memory(self.used, &vec![0; 6 + 8 * usize::from(self.size)])
    }

    /// Writes one descriptor.
    pub fn describe(&self, p: &mut Probe<'_>, index: u16, descriptor: Descriptor) -> Result<(), Stop> {
        p.write_memory(self.desc + 16 * u64::from(index), &descriptor.bytes())
    }

    /// Puts heads into the avail ring from entry `from` on and moves its index behind them.
    pub fn offer(&self, p: &mut Probe<'_>, from: u16, heads: &[u16]) -> Result<(), Stop> {
        for (index, head) in heads.iter().enumerate() {
            let entry = (usize::from(from) + index) % usize::from(self.size);
            p.write_memory(self.avail + 4 + 2 * entry as u64, &head.to_le_bytes())?;
        }
        self.set_avail_idx(p, from.wrapping_add(heads.len() as u16))
    }

    /// Moves the avail ring's index.
    pub fn set_avail_idx(&self, p: &mut Probe<'_>, idx: u16) -> Result<(), Stop> {
        p.write_memory(self.avail + 2, &idx.to_le_bytes())
    }

    /// Writes the avail ring's flags.
    pub fn set_avail_flags(&self, p: &mut Probe<'_>, flags: u16) -> Result<(), Stop> {
        p.write_memory(self.avail, &flags.to_le_bytes())
    }

    /// Writes `used_event`, behind the avail ring: the entry of the used ring whose writing the driver wants to hear
    /// of.
    pub fn set_used_event(&self, p: &mut Probe<'_>, event: u16) -> Result<(), Stop> {
        p.write_memory(self.avail + 4 + 2 * u64::from(self.size), &event.to_le_bytes())
    }

    /// Reads `avail_event`, behind the used ring: the entry of the avail ring whose writing the device wants to hear
    /// of.
    pub fn avail_event(&self, p: &mut Probe<'_>) -> Result<u16, Stop> {
        let bytes = p.read_memory(self.used + 4 + 8 * u64::from(self.size), 2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// The used ring's flags.
    pub fn used_flags(&self, p: &mut Probe<'_>) -> Result<u16, Stop> {
        let bytes = p.read_memory(self.used, 2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// The used ring's index.
    pub fn used_idx(&self, p: &mut Probe<'_>) -> Result<u16, Stop> {
        let bytes = p.read_memory(self.used + 2, 2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// One entry of the used ring: head and bytes written.
    pub fn used_entry(&self, p: &mut Probe<'_>, index: u16) -> Result<(u32, u32), Stop> {
        let bytes = p.read_memory(self.used + 4 + 8 * u64::from(index % self.size), 8)?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Ok((word(0), word(4)))
    }
}

impl Descriptor {
    /// A buffer that the device writes.
    pub fn writable(address: u64, length: u32) -> Descriptor {
        Descriptor {
            address,
            length,
            flags: WRITE,
            next: 0,
        }
    }

    /// A table of descriptors elsewhere, in so many bytes.
    pub fn indirect(address: u64, length: u32) -> Descriptor {
        Descriptor {
            flags: INDIRECT,
            ..Descriptor::writable(address, length)
        }
    }

    /// The 16 bytes in guest memory.
    pub fn bytes(&self) -> Vec<u8> {
        let parts = [
            &self.address.to_le_bytes()[..],
            &self.length.to_le_bytes(),
            &self.flags.to_le_bytes(),
        ];
        [parts.concat(), self.next.to_le_bytes().to_vec()].concat()
    }
}
