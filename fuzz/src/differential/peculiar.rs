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
    /// A control word with mode 1.
    OneShot,
    /// A control word while the counter's count is latched.
    ControlAfterLatch,
    /// A value that the clock's register cannot have in every format.
    TimeOutOfRange,
    /// A divider that the clock's data sheet does not define.
    Divider,
    /// Another format of the clock's registers while updates are held or the divider stands.
    FormatInSet,
    /// Index 0x37, where PS/2 machines have the century.
    OtherCentury,
    /// An ICW1 while a line may be high.
    InitialisedHigh,
    /// Another trigger mode while a line may be high.
    TriggerHigh,
    /// A level-triggered entry of the IOAPIC with a delivery mode that is always edge-triggered, or reserved.
    LevelOfEdgeMode,
    /// An EOI of the IOAPIC with bits set above the vector.
    EoiUpperBits,
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
    register_a: u8,
    /// The mode of counter 0.
    mode: u8,
    /// Whether an input of the PICs may be high.
    high: bool,
    /// For each PIC, whether it is in special mask mode.
    special_mask: [bool; 2],
    /// For each counter, how many bytes of its latched count were not read, and whether a status comes before them.
    latched: [u8; 3],
    latched_status: [bool; 3],
    /// Typed bytes that were not read.
    waiting: usize,
    /// Whether the divisor lies where received bytes are read.
    divisor: bool,
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
            register_a: REGISTER_A,
            mode: 3,
            high: false,
            special_mask: [false; 2],
            latched: [0; 3],
            latched_status: [false; 3],
            waiting: 0,
            divisor: false,
            room: 1,
            word: [0; 8],
        }
    }

    /// What is peculiar about an action.
    pub fn see(&mut self, action: &Action) -> Vec<Peculiarity> {
        let mut seen = Vec::new();
        match action {
            Action::PortWrite { port, width, value } => {
                seen.extend(is_past_end(*port, width.bytes()).then_some(Peculiarity::PastEnd));
                let bytes = value.to_le_bytes().into_iter().take(width.bytes());
                let ports = (0..).map(|offset| port.wrapping_add(offset));
                for (port, byte) in ports.zip(bytes) {
                    self.write(port, byte, &mut seen);
                }
            }
            Action::PortRead { port, width } => {
                seen.extend(is_past_end(*port, width.bytes()).then_some(Peculiarity::PastEnd));
                for offset in 0..width.bytes() as u16 {
                    self.read(port.wrapping_add(offset));
                }
            }
            Action::Store { gpa, width, value } => match width.bytes() {
                8 => {
                    self.store(*gpa, 4, value & 0xffff_ffff, &mut seen);
                    self.store(gpa.wrapping_add(4), 4, value >> 32, &mut seen);
                }
                bytes => self.store(*gpa, bytes, *value, &mut seen),
            },
            Action::SerialInput { bytes } => {
                self.high = true;
                self.waiting += bytes.len();
                seen.extend((self.room < self.waiting).then_some(Peculiarity::TypedAhead));
            }
            Action::Reset => {
                // The clock goes on over a reset.
                *self = Watcher {
                    register_a: self.register_a,
                    register_b: self.register_b,
                    ..Watcher::new()
                };
            }
            _ => {}
        }
        seen
    }

    fn read(&mut self, port: u16) {
        match port {
            0x40..=0x42 => {
                let counter = usize::from(port - 0x40);
                if !std::mem::take(&mut self.latched_status[counter]) {
                    self.latched[counter] = self.latched[counter].saturating_sub(1);
                }
            }
            RECEIVER if !self.divisor => self.waiting = self.waiting.saturating_sub(1),
            _ => {}
        }
    }

    fn write(&mut self, port: u16, byte: u8, seen: &mut Vec<Peculiarity>) {
        match port {
            0x20 | 0xa0 => self.controller(port, byte, seen),
            0x40 => self.high |= self.mode != 0,
            0x43 => self.timer(byte, seen),
            0x70 => {
                self.rtc_index = byte & 0x7f;
                seen.extend((self.rtc_index == 0x37).then_some(Peculiarity::OtherCentury));
            }
            0x71 => seen.extend(self.clock(byte)),
            0x3f9 => self.high |= byte != 0,
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
                seen.extend((!fifo && byte & 6 != 0).then_some(Peculiarity::FifoResetAlone));
            }
            0x4d0 | 0x4d1 => seen.extend(self.high.then_some(Peculiarity::TriggerHigh)),
            0x3fb => self.divisor = byte & 0x80 != 0,
            0x3fc => seen.extend((byte & 0x10 != 0).then_some(Peculiarity::Loopback)),
            _ => {}
        }
    }

    fn controller(&mut self, port: u16, byte: u8, seen: &mut Vec<Peculiarity>) {
        let special = &mut self.special_mask[usize::from(port == 0xa0)];
        match byte {
            // ICW1, OCW3 with the mode and without, OCW2.
            _ if byte & 0x10 != 0 => {
                *special = false;
                seen.extend(self.high.then_some(Peculiarity::InitialisedHigh));
            }
            _ if byte & 0x78 == 0x48 => *special = false,
            _ if byte & 0x78 == 0x68 => *special = true,
            _ if byte & 0x18 == 0 && matches!(byte >> 5, 1 | 5) && *special => {
                seen.push(Peculiarity::SpecialMaskEoi);
            }
            _ => {}
        }
    }

    fn timer(&mut self, byte: u8, seen: &mut Vec<Peculiarity>) {
        let counter = usize::from(byte >> 6);
        if counter == 3 {
            // The read-back command.
            for counter in (0..3).filter(|counter| byte & 2 << counter != 0) {
                self.latched_status[counter] |= byte & 0x10 == 0;
                if byte & 0x20 == 0 {
                    self.latch(counter);
                }
            }
            return;
        }
        if byte & 0x30 == 0 {
            self.latch(counter);
            return;
        }
        let mode = byte >> 1 & 7;
        if counter == 0 {
            self.mode = mode;
        }
        seen.extend((self.latched[counter] != 0).then_some(Peculiarity::ControlAfterLatch));
        seen.extend((byte & 1 != 0).then_some(Peculiarity::BcdCount));
        seen.extend((5 < mode).then_some(Peculiarity::ModeAlias));
        seen.extend((mode == 1).then_some(Peculiarity::OneShot));
    }

    /// A count that is latched already stays as it is.
    fn latch(&mut self, counter: usize) {
        if self.latched[counter] == 0 {
            self.latched[counter] = 2;
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
            0xa => {
                self.register_a = byte;
                return matches!(byte >> 4 & 7, 3..=5).then_some(Peculiarity::Divider);
            }
            0xb => {
                let before = std::mem::replace(&mut self.register_b, byte);
                let held = (before | byte) & 0x80 != 0 || self.register_a & 0x60 == 0x60;
                let in_set = held && (before ^ byte) & 6 != 0;
                return in_set.then_some(Peculiarity::FormatInSet);
            }
            0x32 => return Some(Peculiarity::Century),
            _ => true,
        };
        (!plain).then_some(Peculiarity::TimeOutOfRange)
    }

    fn store(&mut self, gpa: u64, bytes: usize, value: u64, seen: &mut Vec<Peculiarity>) {
        if gpa == IOAPIC_WINDOW && value & 0x8000 != 0 && 3 <= value >> 8 & 7 {
            seen.push(Peculiarity::LevelOfEdgeMode);
        }
        if gpa == IOAPIC_EOI {
            seen.extend((0xff < value).then_some(Peculiarity::EoiUpperBits));
        }
        let Some(offset) = gpa.checked_sub(MICROVM_2019.virtio_base) else {
            return;
        };
        let stride = MICROVM_2019.virtio_stride_bytes;
        let Some(word) = self.word.get_mut((offset / stride) as usize) else {
            return;
        };
        let peculiar = match (offset % stride, bytes) {
            (DEVICE_FEATURES_SEL, 4) => (1 < value).then_some(Peculiarity::FeatureWord),
            (DRIVER_FEATURES_SEL, 4) => {
                *word = value;
                (1 < value).then_some(Peculiarity::FeatureWord)
            }
            (DRIVER_FEATURES, 4) => {
                let offered = if *word == 0 { OFFERED_LOW } else { OFFERED_HIGH };
                (value & !offered != 0).then_some(Peculiarity::UnofferedFeature)
            }
            (QUEUE_SEL, 4) => (QUEUES_MAX <= value).then_some(Peculiarity::QueueNumber),
            _ => None,
        };
        seen.extend(peculiar);
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
                | Peculiarity::PastEnd
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

/// IOWIN, where redirection entries are written: 82093AA, 3.2.4 has the trigger mode in bit 15, the delivery mode in
/// bits 10 to 8.
const IOAPIC_WINDOW: u64 = 0xfec0_0010;

/// The EOI register that later IOAPICs have.
const IOAPIC_EOI: u64 = 0xfec0_0040;

/// The clock's register A: a time base of 32 kHz, 1024 Hz.
const REGISTER_A: u8 = 0x26;

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
