//! A driver for one virtio entropy device, just large enough to get an interrupt out of it.
//!
//! Source: Virtio 1.2, 2.7 "Split Virtqueues", 4.2.2 "MMIO Device Register Layout", 4.2.4 "Legacy interface", 5.4
//! "Entropy Device".

#![expect(unsafe_code, reason = "memory that a device writes")]

use core::cell::UnsafeCell;

use guest_images::{command_line, runtime::memory};
use guest_protocol::Width;

use crate::bench::Bench;

/// Where an entropy device is.
pub(crate) struct Place {
    base: u64,
    irq: u8,
    is_legacy: bool,
}

/// A device that was started.
pub(crate) struct Rng<'a> {
    place: &'a Place,
    requests: u16,
}

/// The first entropy device that the command line announces.
pub(crate) fn find(command_line: &str) -> Option<Place> {
    command_line::virtio_devices(command_line)
        .filter_map(Result::ok)
        .find_map(|device| {
            let read = |register| memory::load(device.base.wrapping_add(register), Width::Long).ok();
            let is_rng = read(reg::MAGIC_VALUE)? == MAGIC && read(reg::DEVICE_ID)? == ENTROPY;
            is_rng.then_some(Place {
                base: device.base,
                irq: u8::try_from(device.irq).ok().filter(|&irq| irq < PINS)?,
                is_legacy: read(reg::VERSION)? == 1,
            })
        })
}

impl<'a> Rng<'a> {
    /// Takes the device into use with one queue of one buffer; `None` when it refuses.
    pub(crate) fn start(place: &'a Place) -> Option<Self> {
        let device = Self { place, requests: 0 };
        device.set(reg::STATUS, 0);
        device.set(reg::STATUS, ACKNOWLEDGE);
        device.set(reg::STATUS, ACKNOWLEDGE | DRIVER);
        device.set(reg::DRIVER_FEATURES_SEL, 0);
        device.set(reg::DRIVER_FEATURES, 0);
        let mut status = ACKNOWLEDGE | DRIVER;
        if !place.is_legacy {
            device.set(reg::DRIVER_FEATURES_SEL, 1);
            device.set(reg::DRIVER_FEATURES, VERSION_1);
            status |= FEATURES_OK;
            device.set(reg::STATUS, status);
            if device.get(reg::STATUS) != status {
                return None;
            }
        }
        let ring = RING.0.get();
        // SAFETY: the device was reset, so nobody but this function touches the ring.
        unsafe { ring.write_volatile(Ring::EMPTY) };
        let base = ring as u32;
        device.set(reg::QUEUE_SEL, 0);
        device.set(reg::QUEUE_NUM, u32::from(QUEUE_LENGTH));
        if place.is_legacy {
            device.set(reg::GUEST_PAGE_SIZE, PAGE);
            device.set(reg::QUEUE_ALIGN, PAGE);
            device.set(reg::QUEUE_PFN, base / PAGE);
        } else {
            let addresses = [
                (reg::QUEUE_DESC, base),
                (reg::QUEUE_DRIVER, base + AVAILABLE),
                (reg::QUEUE_DEVICE, base + PAGE),
            ];
            for (register, address) in addresses {
                device.set(register, address);
                device.set(register + 4, 0);
            }
            device.set(reg::QUEUE_READY, 1);
        }
        device.set(reg::STATUS, status | DRIVER_OK);
        Some(device)
    }

    /// The interrupt that the command line announces for it.
    pub(crate) fn irq(&self) -> u8 {
        self.place.irq
    }

    /// Asks for some bytes.
    pub(crate) fn request(&mut self) {
        let ring = RING.0.get();
        self.requests += 1;
        // SAFETY: volatile accesses to fields of a static whose address is known to the device alone; it reads them.
        unsafe {
            let descriptor = Descriptor {
                address: &raw const (*ring).buffer as u64,
                length: BUFFER_LENGTH as u32,
                flags: DESCRIPTOR_WRITE,
                next: 0,
            };
            (&raw mut (*ring).descriptors[0]).write_volatile(descriptor);
            // Every entry names descriptor 0, which `EMPTY` says already.
            (&raw mut (*ring).available_index).write_volatile(self.requests);
        }
        self.set(reg::QUEUE_NOTIFY, 0);
    }

    /// Complains unless the device says that it used the buffer, and lowers its line on being told.
    pub(crate) fn judge(&self, bench: &mut Bench) {
        bench.expect_value("interrupt-status", self.get(reg::INTERRUPT_STATUS), USED_BUFFER);
        // SAFETY: as in `request`; the device wrote it.
        let used = unsafe { (&raw const (*RING.0.get()).used_index).read_volatile() };
        bench.expect_value("used-index", u32::from(used), u32::from(self.requests));
        self.set(reg::INTERRUPT_ACK, USED_BUFFER);
        bench.expect_value("interrupt-status acknowledged", self.get(reg::INTERRUPT_STATUS), 0);
    }

    /// Resets the device.
    pub(crate) fn stop(self) {
        self.set(reg::STATUS, 0);
    }

    fn get(&self, register: u64) -> u32 {
        memory::load(self.place.base + register, Width::Long).unwrap_or(u64::MAX) as u32
    }

    fn set(&self, register: u64, value: u32) {
        let _no_device = memory::store(self.place.base + register, Width::Long, u64::from(value));
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

/// A queue as a legacy device wants it, which suits a modern one too: the used ring begins on the second page.
#[repr(C, align(4096))]
struct Ring {
    descriptors: [Descriptor; QUEUE_LENGTH as usize],
    available_flags: u16,
    available_index: u16,
    available: [u16; QUEUE_LENGTH as usize],
    buffer: [u8; BUFFER_LENGTH],
    padding: [u8; PADDING],
    used_flags: u16,
    used_index: u16,
    used: [[u32; 2]; QUEUE_LENGTH as usize],
}

impl Ring {
    const EMPTY: Self = Self {
        descriptors: [Descriptor {
            address: 0,
            length: 0,
            flags: 0,
            next: 0,
        }; QUEUE_LENGTH as usize],
        available_flags: 0,
        available_index: 0,
        available: [0; QUEUE_LENGTH as usize],
        buffer: [0; BUFFER_LENGTH],
        padding: [0; PADDING],
        used_flags: 0,
        used_index: 0,
        used: [[0; 2]; QUEUE_LENGTH as usize],
    };
}

struct Shared(UnsafeCell<Ring>);

// SAFETY: one CPU runs; the device's accesses are met by volatile ones.
unsafe impl Sync for Shared {}

static RING: Shared = Shared(UnsafeCell::new(Ring::EMPTY));

const QUEUE_LENGTH: u16 = 4;
const BUFFER_LENGTH: usize = 16;
const PAGE: u32 = 4096;
const AVAILABLE: u32 = 16 * QUEUE_LENGTH as u32;
const PADDING: usize = PAGE as usize - AVAILABLE as usize - 4 - 2 * QUEUE_LENGTH as usize - BUFFER_LENGTH;
const _: () = assert!(core::mem::offset_of!(Ring, used_flags) == PAGE as usize);
const _: () = assert!(core::mem::offset_of!(Ring, available_flags) == AVAILABLE as usize);

const MAGIC: u64 = 0x7472_6976;
const ENTROPY: u64 = 4;
const PINS: u8 = 24;

const ACKNOWLEDGE: u32 = 1;
const DRIVER: u32 = 2;
const DRIVER_OK: u32 = 4;
const FEATURES_OK: u32 = 8;
/// Bit 32 of the features.
const VERSION_1: u32 = 1;
const DESCRIPTOR_WRITE: u16 = 2;
const USED_BUFFER: u32 = 1;

mod reg {
    pub(super) const MAGIC_VALUE: u64 = 0x000;
    pub(super) const VERSION: u64 = 0x004;
    pub(super) const DEVICE_ID: u64 = 0x008;
    pub(super) const DRIVER_FEATURES: u64 = 0x020;
    pub(super) const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub(super) const GUEST_PAGE_SIZE: u64 = 0x028;
    pub(super) const QUEUE_SEL: u64 = 0x030;
    pub(super) const QUEUE_NUM: u64 = 0x038;
    pub(super) const QUEUE_ALIGN: u64 = 0x03c;
    pub(super) const QUEUE_PFN: u64 = 0x040;
    pub(super) const QUEUE_READY: u64 = 0x044;
    pub(super) const QUEUE_NOTIFY: u64 = 0x050;
    pub(super) const INTERRUPT_STATUS: u64 = 0x060;
    pub(super) const INTERRUPT_ACK: u64 = 0x064;
    pub(super) const STATUS: u64 = 0x070;
    pub(super) const QUEUE_DESC: u64 = 0x080;
    pub(super) const QUEUE_DRIVER: u64 = 0x090;
    pub(super) const QUEUE_DEVICE: u64 = 0x0a0;
}
