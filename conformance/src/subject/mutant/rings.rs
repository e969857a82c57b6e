//! Bugs of split rings' bookkeeping: who is told what and when.

use super::{Bug, Machine, Stop, Width, read_number, reg};

/// What a notification of the driver led to.
pub(super) struct Round {
    /// Whether the driver accepted EVENT_IDX.
    pub(super) event_idx: bool,
    /// The used ring's index before and after.
    pub(super) before: u16,
    pub(super) after: u16,
    /// `used_event` and the avail ring's flags.
    pub(super) used_event: u16,
    pub(super) flags: u64,
}

impl Round {
    /// How far into what was added the entry of `used_event` is.
    fn event_at(&self) -> u16 {
        self.used_event.wrapping_sub(self.before)
    }

    fn added(&self) -> u16 {
        self.after.wrapping_sub(self.before)
    }

    /// The rule of the standard, for a `used_event` that is `late` entries off.
    pub(super) fn tells(&self, late: u16) -> bool {
        self.event_at().wrapping_add(late) < self.added()
    }
}

/// Whether the driver is told of a round, instead of what is right; `None` leaves that.
type Rule = fn(&Round) -> Option<bool>;

/// A modern device with one queue that tells its driver of used buffers by a rule of its own.
pub(super) struct Tells {
    rule: Rule,
    place: Place,
    word: u64,
    features: u64,
    told: Option<bool>,
}

/// Where the driver placed its ring.
#[derive(Clone, Copy, Default)]
struct Place {
    num: u64,
    avail: u64,
    used: u64,
}

impl Tells {
    pub(super) fn new(rule: Rule) -> Tells {
        Tells {
            rule,
            place: Place::default(),
            word: 0,
            features: 0,
            told: None,
        }
    }
}

impl Place {
    fn watch(&mut self, offset: u64, value: u64) {
        match offset {
            reg::VIRTIO_QUEUE_NUM => self.num = value,
            reg::VIRTIO_QUEUE_DRIVER => self.avail = value,
            reg::VIRTIO_QUEUE_DEVICE => self.used = value,
            reg::VIRTIO_STATUS if value == 0 => *self = Place::default(),
            _ => {}
        }
    }

    fn used_idx(&self, inner: &mut dyn Machine) -> Result<u16, Stop> {
        match self.used {
            0 => Ok(0),
            used => Ok(read_number(inner, used + 2, 2)? as u16),
        }
    }
}

impl Bug for Tells {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if !reg::in_virtio(gpa) {
            return inner.store(gpa, width, value);
        }
        let offset = gpa & reg::VIRTIO_OFFSET;
        self.place.watch(offset, value);
        match offset {
            reg::VIRTIO_DRIVER_FEATURES_SEL => self.word = value,
            reg::VIRTIO_DRIVER_FEATURES if self.word == 0 => self.features = value,
            reg::VIRTIO_INTERRUPT_ACK => self.told = None,
            reg::VIRTIO_STATUS if value == 0 => self.told = None,
            _ => {}
        }
        let before = self.place.used_idx(inner)?;
        inner.store(gpa, width, value)?;
        if offset == reg::VIRTIO_QUEUE_NOTIFY && self.place.avail != 0 {
            let round = Round {
                event_idx: self.features & reg::EVENT_IDX != 0,
                before,
                after: self.place.used_idx(inner)?,
                used_event: read_number(inner, self.place.avail + 4 + 2 * self.place.num, 2)? as u16,
                flags: read_number(inner, self.place.avail, 2)?,
            };
            if round.before != round.after {
                self.told = (self.rule)(&round);
            }
        }
        Ok(())
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let here = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_INTERRUPT_STATUS;
        Ok(match self.told {
            Some(told) if here => value & !1 | u64::from(told),
            _ => value,
        })
    }
}

/// Features that are accepted after FEATURES_OK silence a device that goes by the others.
#[derive(Default)]
pub(super) struct FeaturesAdopted {
    status: u64,
    adopted: bool,
}

impl Bug for FeaturesAdopted {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if reg::in_virtio(gpa) {
            match gpa & reg::VIRTIO_OFFSET {
                reg::VIRTIO_STATUS => (self.status, self.adopted) = (value, self.adopted && value != 0),
                reg::VIRTIO_DRIVER_FEATURES => self.adopted |= self.status & reg::FEATURES_OK != 0,
                _ => {}
            }
        }
        inner.store(gpa, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let here = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_INTERRUPT_STATUS;
        Ok(if here && self.adopted { value & !1 } else { value })
    }
}

/// What is done to a ring after each notification of the driver: the ring's size, where its used ring is, and how far
/// its index has moved.
type Spoil = fn(&mut dyn Machine, u64, u64, u16) -> Result<(), Stop>;

/// A modern device with one queue whose used ring is spoilt.
pub(super) struct UsedRing {
    spoil: Spoil,
    place: Place,
}

impl UsedRing {
    pub(super) fn new(spoil: Spoil) -> UsedRing {
        UsedRing {
            spoil,
            place: Place::default(),
        }
    }
}

impl Bug for UsedRing {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if !reg::in_virtio(gpa) {
            return inner.store(gpa, width, value);
        }
        let offset = gpa & reg::VIRTIO_OFFSET;
        self.place.watch(offset, value);
        let before = self.place.used_idx(inner)?;
        inner.store(gpa, width, value)?;
        if offset == reg::VIRTIO_QUEUE_NOTIFY && self.place.used != 0 {
            let moved = self.place.used_idx(inner)?.wrapping_sub(before);
            (self.spoil)(inner, self.place.num, self.place.used, moved)?;
        }
        Ok(())
    }
}

/// Values that the driver writes to a register are changed.
pub(super) struct VirtioWrites {
    pub(super) offset: u64,
    pub(super) change: fn(u64) -> u64,
}

impl Bug for VirtioWrites {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let here = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == self.offset;
        inner.store(gpa, width, if here { (self.change)(value) } else { value })
    }
}

/// What the driver reads of a register or field is changed.
pub(super) struct VirtioReads {
    pub(super) offset: u64,
    pub(super) change: fn(u64) -> u64,
}

impl Bug for VirtioReads {
    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let here = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == self.offset;
        Ok(if here { (self.change)(value) } else { value })
    }
}

/// A disk takes the second 64 KiB of a write from where the first ones are.
#[derive(Default)]
pub(super) struct ChunkRepeats {
    desc: u64,
}

impl Bug for ChunkRepeats {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if reg::in_virtio(gpa) {
            match gpa & reg::VIRTIO_OFFSET {
                reg::VIRTIO_QUEUE_DESC => self.desc = value,
                reg::VIRTIO_QUEUE_NOTIFY if self.desc != 0 => self.repeat(inner)?,
                _ => {}
            }
        }
        inner.store(gpa, width, value)
    }
}

impl ChunkRepeats {
    /// Changes the data that the driver's only request, which has it in the second descriptor, is about to write.
    fn repeat(&self, inner: &mut dyn Machine) -> Result<(), Stop> {
        let data = read_number(inner, self.desc + 16, 8)?;
        let length = read_number(inner, self.desc + 24, 4)?;
        let written = read_number(inner, self.desc + 28, 2)? & 2 == 0;
        let second = length.saturating_sub(reg::CHUNK_BYTES as u64);
        if written && second != 0 {
            let mut bytes = vec![0; reg::CHUNK_BYTES.min(second as usize)];
            inner.read_memory(data, &mut bytes)?;
            inner.write_memory(data + reg::CHUNK_BYTES as u64, &bytes)?;
        }
        Ok(())
    }
}

/// Writing the low half of an address of a queue makes something else of the high one.
pub(super) struct LowSpoilsHigh;

impl Bug for LowSpoilsHigh {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        inner.store(gpa, width, value)?;
        let low = [
            reg::VIRTIO_QUEUE_DESC,
            reg::VIRTIO_QUEUE_DRIVER,
            reg::VIRTIO_QUEUE_DEVICE,
        ];
        if reg::in_virtio(gpa) && low.contains(&(gpa & reg::VIRTIO_OFFSET)) {
            inner.store(gpa + 4, width, 0xffff_ffff)?;
        }
        Ok(())
    }
}

/// The configuration space takes the bytes that are written, or none of them.
#[derive(Default)]
pub(super) struct ConfigWrites {
    pub(super) taken: bool,
    bytes: std::collections::BTreeMap<u64, u64>,
}

impl ConfigWrites {
    pub(super) fn new(taken: bool) -> ConfigWrites {
        ConfigWrites {
            taken,
            ..ConfigWrites::default()
        }
    }
}

impl Bug for ConfigWrites {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if !reg::in_virtio(gpa) || gpa & reg::VIRTIO_OFFSET < reg::VIRTIO_CONFIG {
            return inner.store(gpa, width, value);
        }
        if self.taken {
            self.bytes.insert(gpa, value & 0xff);
        }
        Ok(())
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        Ok(self.bytes.get(&gpa).copied().unwrap_or(value))
    }
}

/// A byte written anywhere in a console's configuration space is sent.
pub(super) struct AnyFieldSends;

impl Bug for AnyFieldSends {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let config = reg::in_virtio(gpa) && reg::VIRTIO_CONFIG <= gpa & reg::VIRTIO_OFFSET;
        let emergency = gpa & !reg::VIRTIO_OFFSET | (reg::VIRTIO_CONFIG + 8);
        inner.store(if config { emergency } else { gpa }, width, value)
    }
}

/// The device tree, with the first run of some bytes replaced by others.
pub(super) struct DeviceTree {
    from: &'static [u8],
    to: &'static [u8],
    selected: bool,
    bytes: Vec<u8>,
    at: usize,
}

impl DeviceTree {
    pub(super) fn new(from: &'static [u8], to: &'static [u8]) -> DeviceTree {
        DeviceTree {
            from,
            to,
            selected: false,
            bytes: Vec::new(),
            at: 0,
        }
    }
}

impl Bug for DeviceTree {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        inner.port_write(port, width, value)?;
        if port != reg::FW_CFG_SELECTOR {
            return Ok(());
        }
        (self.selected, self.at) = (value == reg::KEY_FDT, 0);
        if self.selected && self.bytes.is_empty() {
            for _ in 0..reg::FDT_BYTES {
                self.bytes.push(inner.port_read(reg::FW_CFG_DATA, Width::Byte)? as u8);
            }
            let found = self.bytes.windows(self.from.len()).position(|bytes| bytes == self.from);
            if let Some(at) = found {
                self.bytes[at..at + self.to.len()].copy_from_slice(self.to);
            }
        }
        Ok(())
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        if port != reg::FW_CFG_DATA || !self.selected {
            return inner.port_read(port, width);
        }
        let byte = self.bytes.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        Ok(u32::from(byte))
    }
}
