//! Actions after which two right machines, or a right one and a known wrong one, go different ways.
//!
//! Most programs are made without them, so that what is settled does not hide what is not. Some keep them, and a
//! decision may name the peculiarity that must have come before it.

use conformance::layout::MICROVM_2019;
use conformance::program::Action;

/// What is peculiar about an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peculiarity {
    /// A control word that asks the timer to count in BCD.
    BcdCount,
    /// A control word with mode 6 or 7, which are 2 and 3.
    ModeAlias,
    /// A control word while the counter's count is latched.
    ControlAfterLatch,
    /// A value that the clock's register cannot have in every format.
    TimeOutOfRange,
    /// A divider that the clock's data sheet does not define.
    Divider,
    /// Another format of the clock's registers while updates are held.
    FormatInSet,
    /// Index 0x37, where PS/2 machines have the century.
    OtherCentury,
    /// A non-specific EOI in special mask mode.
    SpecialMaskEoi,
    /// Bytes typed while there is no room for them.
    TypedAhead,
    /// A write to the century.
    Century,
    /// The serial port's loop mode.
    Loopback,
    /// FIFO resets without FIFOs.
    FifoResetAlone,
    /// An access that goes on past the device's last port.
    PastEnd,
    /// A driver's feature that the device does not offer.
    UnofferedFeature,
    /// A feature word past the second.
    FeatureWord,
    /// A queue's number past what any device can have.
    QueueNumber,
}

/// Sees peculiarities in the actions of a program, in order.
#[derive(Clone, Debug)]
pub struct Watcher {
    rtc_index: u8,
    register_b: u8,
    /// For each PIC, whether it is in special mask mode.
    special_mask: [bool; 2],
    /// For each counter, how many bytes of its latched count were not read.
    latched: [u8; 3],
    /// Typed bytes that were not read.
    waiting: usize,
    /// How many bytes the host may type before they are read.
    room: usize,
    /// For each transport, `DriverFeaturesSel`.
    word: [u64; 8],
}

impl Watcher {
    /// For the machine at power-on or after a reset.
    pub fn new() -> Watcher {
        Watcher {
            rtc_index: 0,
            register_b: REGISTER_B,
            special_mask: [false; 2],
            latched: [0; 3],
            waiting: 0,
            room: 1,
            word: [0; 8],
        }
    }

    /// What is peculiar about an action; the first thing when it is more than one.
    pub fn see(&mut self, action: &Action) -> Option<Peculiarity> {
        match action {
            Action::PortWrite { port, width, value } => {
                let bytes = value.to_le_bytes().into_iter().take(width.bytes());
                let ports = (0..).map(|offset| port.wrapping_add(offset));
                let mut seen = is_past_end(*port, width.bytes()).then_some(Peculiarity::PastEnd);
                for (port, byte) in ports.zip(bytes) {
                    let own = self.write(port, byte);
                    seen = seen.or(own);
                }
                seen
            }
            Action::PortRead { port, width } => {
                for offset in 0..width.bytes() as u16 {
                    if let Some(left) = self
                        .latched
                        .get_mut(usize::from(port.wrapping_add(offset).wrapping_sub(0x40)))
                    {
                        *left = left.saturating_sub(1);
                    }
                    if port.wrapping_add(offset) == RECEIVER {
                        self.waiting = self.waiting.saturating_sub(1);
                    }
                }
                is_past_end(*port, width.bytes()).then_some(Peculiarity::PastEnd)
            }
            Action::Store { gpa, width, value } => self.store(*gpa, width.bytes(), *value),
            Action::SerialInput { bytes } => {
                self.waiting += bytes.len();
                (self.room < self.waiting).then_some(Peculiarity::TypedAhead)
            }
            Action::Reset => {
                *self = Watcher::new();
                None
            }
            _ => None,
        }
    }

    fn write(&mut self, port: u16, byte: u8) -> Option<Peculiarity> {
        match port {
            0x20 | 0xa0 => {
                let special = &mut self.special_mask[usize::from(port == 0xa0)];
                match byte {
                    // ICW1, OCW3 with and without the mode, OCW2.
                    _ if byte & 0x10 != 0 || byte & 0x78 == 0x48 => *special = false,
                    _ if byte & 0x78 == 0x68 => *special = true,
                    _ if byte & 0x18 == 0 && matches!(byte >> 5, 1 | 5) && *special => {
                        return Some(Peculiarity::SpecialMaskEoi);
                    }
                    _ => {}
                }
                None
            }
            0x43 if byte >> 6 == 3 => {
                for (counter, left) in self.latched.iter_mut().enumerate() {
                    if byte & 2 << counter != 0 {
                        *left = (*left).max(if byte & 0x20 == 0 { 2 } else { 0 });
                        *left += u8::from(byte & 0x10 == 0 && *left != 0);
                    }
                }
                None
            }
            0x43 => {
                let left = &mut self.latched[usize::from(byte >> 6)];
                if byte & 0x30 == 0 {
                    *left = 2;
                    return None;
                }
                if *left != 0 {
                    return Some(Peculiarity::ControlAfterLatch);
                }
                let mode = byte >> 1 & 7;
                let bcd = (byte & 1 != 0).then_some(Peculiarity::BcdCount);
                bcd.or((5 < mode).then_some(Peculiarity::ModeAlias))
            }
            0x70 => {
                self.rtc_index = byte & 0x7f;
                (self.rtc_index == 0x37).then_some(Peculiarity::OtherCentury)
            }
            0x71 => self.clock(byte),
            0x3fa => {
                let fifo = byte & 1 != 0;
                if !fifo || byte & 2 != 0 {
                    self.waiting = 0;
                }
                // QEMU takes no more than fill the FIFO up to its trigger level.
                self.room = if fifo {
                    TRIGGER_LEVELS[usize::from(byte >> 6)]
                } else {
                    1
                };
                (!fifo && byte & 6 != 0).then_some(Peculiarity::FifoResetAlone)
            }
            0x3fc => (byte & 0x10 != 0).then_some(Peculiarity::Loopback),
            _ => None,
        }
    }

    /// A value is plain when it is one in BCD and in binary, with 12 hours and with 24.
    fn clock(&mut self, byte: u8) -> Option<Peculiarity> {
        let digits = byte & 0xf <= 9;
        let plain = match self.rtc_index {
            0 | 2 => digits && byte <= 0x39,
            4 => (1..=9).contains(&byte),
            6 => (1..=7).contains(&byte),
            7 => digits && (1..=0x19).contains(&byte),
            8 => (1..=9).contains(&byte),
            9 => digits && byte <= 0x59,
            0xa => return matches!(byte >> 4 & 7, 3..=5).then_some(Peculiarity::Divider),
            0xb => {
                let before = std::mem::replace(&mut self.register_b, byte);
                let in_set = (before | byte) & 0x80 != 0 && (before ^ byte) & 6 != 0;
                return in_set.then_some(Peculiarity::FormatInSet);
            }
            0x32 => return Some(Peculiarity::Century),
            _ => true,
        };
        (!plain).then_some(Peculiarity::TimeOutOfRange)
    }

    fn store(&mut self, gpa: u64, bytes: usize, value: u64) -> Option<Peculiarity> {
        let offset = gpa.checked_sub(MICROVM_2019.virtio_base)?;
        let stride = MICROVM_2019.virtio_stride_bytes;
        let word = self.word.get_mut((offset / stride) as usize)?;
        match (offset % stride, bytes) {
            (DEVICE_FEATURES_SEL, 4) => (1 < value).then_some(Peculiarity::FeatureWord),
            (DRIVER_FEATURES_SEL, 4) => {
                *word = value;
                (1 < value).then_some(Peculiarity::FeatureWord)
            }
            (QUEUE_SEL, 4) => (QUEUES_MAX <= value).then_some(Peculiarity::QueueNumber),
            (DRIVER_FEATURES, 4) => {
                let offered = if *word == 0 { OFFERED_LOW } else { OFFERED_HIGH };
                (value & !offered != 0).then_some(Peculiarity::UnofferedFeature)
            }
            _ => None,
        }
    }
}

impl Default for Watcher {
    fn default() -> Watcher {
        Watcher::new()
    }
}

impl Peculiarity {
    /// Whether it lasts over a reset: the clock goes on, and the host has its bytes still.
    pub fn lasts(self) -> bool {
        matches!(
            self,
            Peculiarity::TimeOutOfRange
                | Peculiarity::Century
                | Peculiarity::Divider
                | Peculiarity::FormatInSet
                | Peculiarity::OtherCentury
                | Peculiarity::TypedAhead
        )
    }
}

/// Whether an access begins in a device and goes on behind its last port.
fn is_past_end(port: u16, bytes: usize) -> bool {
    let own = DEVICES.iter().find(|(first, last)| (*first..=*last).contains(&port));
    own.is_some_and(|(_, last)| usize::from(*last) < usize::from(port) + bytes - 1)
}

/// First and last port of each device that a program of ports has.
const DEVICES: [(u16, u16); 7] = [
    (0x20, 0x21),
    (0x40, 0x43),
    (0x70, 0x71),
    (0xa0, 0xa1),
    (0x3f8, 0x3ff),
    (0x4d0, 0x4d0),
    (0x4d1, 0x4d1),
];

/// Where received bytes are read.
const RECEIVER: u16 = 0x3f8;

/// PC16550D, 8.4: bytes by the two upper bits of FCR.
const TRIGGER_LEVELS: [usize; 4] = [1, 4, 8, 14];

/// The clock's register B as the machine has it at power-on: 24 hours in BCD.
const REGISTER_B: u8 = 0x02;

/// Virtio 1.2, 4.2.2.
const DEVICE_FEATURES_SEL: u64 = 0x14;
const DRIVER_FEATURES: u64 = 0x20;
const DRIVER_FEATURES_SEL: u64 = 0x24;
const QUEUE_SEL: u64 = 0x30;

/// Queues that QEMU has room for in each device.
const QUEUES_MAX: u64 = 1024;

/// RING_INDIRECT_DESC and RING_EVENT_IDX: what every device offers. Virtio 1.2, 6.
const OFFERED_LOW: u64 = 3 << 28;

/// VERSION_1.
const OFFERED_HIGH: u64 = 1;
