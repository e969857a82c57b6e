//! Bugs of the interrupt controllers, the timers and the serial port.

use super::{Bug, Machine, Stop, Width, reg};
use crate::case::Setup;
use crate::machine::LineEvent;

/// Writes to the first port of either 8259A are changed; `None` drops one.
pub(super) struct PicCommands(pub(super) fn(u32) -> Option<u32>);

/// ICW4 is changed.
pub(super) struct PicIcw4 {
    pub(super) change: fn(u32) -> u32,
    steps: [u8; 2],
}

/// ICW1 leaves the mask.
#[derive(Default)]
pub(super) struct PicMaskKept {
    masks: [u32; 2],
    steps: [u8; 2],
}

/// IRR shows what is not masked only.
#[derive(Default)]
pub(super) struct PicIrrMasked {
    isr_selected: [bool; 2],
    polls: [bool; 2],
}

/// The edge/level registers read back but do nothing, or hold bits that they have not.
#[derive(Default)]
pub(super) struct ElcrEcho {
    pub(super) passes: bool,
    values: [u32; 2],
}

/// Control words of the 8254 are changed; `None` drops one.
pub(super) struct PitControls(pub(super) fn(u32) -> Option<u32>);

/// Reading the control word's port takes a byte of counter 1.
pub(super) struct PitControlRead;

/// Counts of two bytes are changed.
pub(super) struct PitCounts {
    pub(super) change: fn(u32) -> u32,
    low: [Option<u32>; 3],
    both: [bool; 3],
}

/// The status of counters in mode 1 has OUT the other way round.
#[derive(Default)]
pub(super) struct PitModeOneUpsideDown {
    modes: [u32; 3],
    status_of: Option<u16>,
}

/// A latched count outlives a control word.
#[derive(Default)]
pub(super) struct PitLatchKept {
    latched: [Vec<u32>; 3],
    both: [bool; 3],
}

/// A control word leaves which byte is read next.
#[derive(Default)]
pub(super) struct PitByteOrder {
    odd: [bool; 3],
    skips: [bool; 3],
}

/// Values read from the IOAPIC are changed, by index.
#[derive(Default)]
pub(super) struct IoapicReads {
    pub(super) change: Option<fn(u64, u64) -> u64>,
    index: u64,
}

/// The version register takes what is written.
#[derive(Default)]
pub(super) struct IoapicVersion {
    index: u64,
    written: Option<u64>,
}

/// Redirection entries 0 and 2 are swapped.
pub(super) struct IoapicTimer;

/// Writes to the EOI register reach these vectors.
pub(super) struct IoapicEoi(pub(super) fn(u64) -> std::ops::Range<u64>);

/// The select register has six bits.
pub(super) struct IoapicIndex;

/// A reset leaves the enables of register B.
#[derive(Default)]
pub(super) struct RtcResetKeeps;

/// A register of the RTC reads changed.
pub(super) struct RtcReads {
    pub(super) register: u32,
    pub(super) change: fn(u32) -> u32,
    index: u32,
}

/// Writes to a register of the RTC are changed.
pub(super) struct RtcWrites {
    pub(super) register: u32,
    pub(super) change: fn(u32) -> u32,
    index: u32,
}

/// Writing SET while it is 1 brings the minutes back that the first SET found.
#[derive(Default)]
pub(super) struct RtcSetLatches {
    index: u32,
    minutes: Option<u32>,
}

/// The modem outputs drop for a moment with each write of MCR.
pub(super) struct ModemGlitch;

/// ICW1 makes all inputs of its chip edge-triggered.
pub(super) struct PicIcw1Edge;

/// Reading the divisor latch takes a received byte, too.
#[derive(Default)]
pub(super) struct DlabPops {
    lcr: u32,
}

/// FCR resets the receiver whether bit 0 is set or not.
#[derive(Default)]
pub(super) struct FcrUnconditional {
    enabled: bool,
}

/// Changes of interrupt lines get lost.
pub(super) struct LostEvents(pub(super) fn(&LineEvent) -> bool);

/// Machine options of the set-up are changed.
pub(super) struct Options(pub(super) &'static [(&'static str, &'static str)]);

/// Devices of the set-up are left out.
pub(super) struct NoDevices;

impl PicIcw4 {
    pub(super) fn new(change: fn(u32) -> u32) -> PicIcw4 {
        PicIcw4 { change, steps: [0; 2] }
    }
}

impl ElcrEcho {
    pub(super) fn new(passes: bool) -> ElcrEcho {
        ElcrEcho {
            passes,
            ..ElcrEcho::default()
        }
    }
}

impl PitCounts {
    pub(super) fn new(change: fn(u32) -> u32) -> PitCounts {
        PitCounts {
            change,
            low: [None; 3],
            both: [false; 3],
        }
    }
}

impl IoapicReads {
    pub(super) fn new(change: fn(u64, u64) -> u64) -> IoapicReads {
        IoapicReads {
            change: Some(change),
            index: 0,
        }
    }
}

impl RtcReads {
    pub(super) fn new(register: u32, change: fn(u32) -> u32) -> RtcReads {
        RtcReads {
            register,
            change,
            index: 0,
        }
    }
}

impl RtcWrites {
    pub(super) fn new(register: u32, change: fn(u32) -> u32) -> RtcWrites {
        RtcWrites {
            register,
            change,
            index: 0,
        }
    }
}

impl Bug for PicCommands {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if !reg::PICS.contains(&port) {
            return inner.port_write(port, width, value);
        }
        match (self.0)(value) {
            Some(value) => inner.port_write(port, width, value),
            None => Ok(()),
        }
    }
}

/// The chip whose first port this is, and whose second.
fn pic_of(port: u16) -> (Option<usize>, Option<usize>) {
    let chip = |port: u16| reg::PICS.iter().position(|first| *first == port);
    (chip(port), chip(port.wrapping_sub(1)))
}

impl Bug for PicIcw4 {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let mut value = value;
        match pic_of(port) {
            (Some(chip), _) if value & reg::ICW1 != 0 => self.steps[chip] = 3,
            (_, Some(chip)) if self.steps[chip] != 0 => {
                self.steps[chip] -= 1;
                if self.steps[chip] == 0 {
                    value = (self.change)(value);
                }
            }
            _ => {}
        }
        inner.port_write(port, width, value)
    }
}

impl Bug for PicMaskKept {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        match pic_of(port) {
            (Some(chip), _) if value & reg::ICW1 != 0 => self.steps[chip] = 3,
            (_, Some(chip)) if self.steps[chip] != 0 => self.steps[chip] -= 1,
            (_, Some(chip)) => self.masks[chip] = value,
            _ => {}
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        Ok(match pic_of(port) {
            (_, Some(chip)) => self.masks[chip],
            _ => value,
        })
    }
}

impl Bug for PicIrrMasked {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if let (Some(chip), _) = pic_of(port)
            && value & 0x18 == reg::OCW3
        {
            self.polls[chip] = value & 4 != 0;
            if value & 2 != 0 {
                self.isr_selected[chip] = value & 1 != 0;
            }
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        let (Some(chip), _) = pic_of(port) else {
            return Ok(value);
        };
        if std::mem::take(&mut self.polls[chip]) || self.isr_selected[chip] {
            return Ok(value);
        }
        Ok(value & !inner.port_read(port + 1, width)?)
    }
}

impl Bug for ElcrEcho {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let Some(chip) = reg::ELCRS.iter().position(|elcr| *elcr == port) else {
            return inner.port_write(port, width, value);
        };
        self.values[chip] = value;
        if self.passes {
            inner.port_write(port, width, value)?;
        }
        Ok(())
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        match reg::ELCRS.iter().position(|elcr| *elcr == port) {
            Some(chip) => Ok(self.values[chip]),
            None => inner.port_read(port, width),
        }
    }
}

impl Bug for PitControls {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let changed = if port == reg::PIT_CONTROL {
            (self.0)(value)
        } else {
            Some(value)
        };
        match changed {
            Some(value) => inner.port_write(port, width, value),
            None => Ok(()),
        }
    }
}

impl Bug for PitControlRead {
    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        if port == reg::PIT_CONTROL {
            inner.port_read(reg::PIT_COUNTERS + 1, width)?;
        }
        inner.port_read(port, width)
    }
}

/// The counter at a port.
fn counter_of(port: u16) -> Option<usize> {
    let index = usize::from(port.checked_sub(reg::PIT_COUNTERS)?);
    (index < 3).then_some(index)
}

/// The counter that a control word programs, and its access; no latch or read-back command.
fn programmed(port: u16, value: u32) -> Option<(usize, u32)> {
    let (counter, access) = ((value >> 6 & 3) as usize, value >> 4 & 3);
    (port == reg::PIT_CONTROL && counter < 3 && access != 0).then_some((counter, access))
}

impl Bug for PitCounts {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if let Some((counter, access)) = programmed(port, value) {
            self.both[counter] = access == 3;
            self.low[counter] = None;
        }
        let Some(counter) = counter_of(port).filter(|counter| self.both[*counter]) else {
            return inner.port_write(port, width, value);
        };
        let Some(low) = self.low[counter].take() else {
            self.low[counter] = Some(value);
            return Ok(());
        };
        let count = (self.change)(value << 8 | low);
        inner.port_write(port, width, count & 0xff)?;
        inner.port_write(port, width, count >> 8)
    }
}

impl Bug for PitModeOneUpsideDown {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::PIT_CONTROL {
            let counter = (value >> 6) as usize;
            if counter == 3 {
                let is_status_alone = value & 0x30 == 0x20;
                self.status_of = is_status_alone.then(|| (value >> 1 & 7).trailing_zeros() as u16);
            } else if value & 0x30 != 0 {
                self.modes[counter] = value >> 1 & 7;
            }
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        match self.status_of {
            Some(counter) if reg::PIT_COUNTERS + counter == port => {
                self.status_of = None;
                let is_mode_1 = self.modes.get(usize::from(counter)) == Some(&1);
                Ok(if is_mode_1 { value ^ 0x80 } else { value })
            }
            _ => Ok(value),
        }
    }
}

impl Bug for PitLatchKept {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if let Some((counter, access)) = programmed(port, value) {
            self.both[counter] = access == 3;
        }
        inner.port_write(port, width, value)?;
        let counter = (value >> 6 & 3) as usize;
        let latches = port == reg::PIT_CONTROL && counter < 3 && value & 0x30 == 0;
        if latches && self.both[counter] && self.latched[counter].is_empty() {
            let at = reg::PIT_COUNTERS + counter as u16;
            self.latched[counter] = vec![inner.port_read(at, width)?, inner.port_read(at, width)?];
        }
        Ok(())
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        match counter_of(port) {
            Some(counter) if !self.latched[counter].is_empty() => Ok(self.latched[counter].remove(0)),
            _ => inner.port_read(port, width),
        }
    }
}

impl Bug for PitByteOrder {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if let Some((counter, _)) = programmed(port, value) {
            self.skips[counter] = self.odd[counter];
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        if let Some(counter) = counter_of(port) {
            self.odd[counter] = !self.odd[counter];
            if std::mem::take(&mut self.skips[counter]) {
                inner.port_read(port, width)?;
            }
        }
        inner.port_read(port, width)
    }
}

impl Bug for IoapicReads {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if gpa == reg::IOAPIC_SELECT {
            self.index = value;
        }
        inner.store(gpa, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        Ok(match self.change {
            Some(change) if gpa == reg::IOAPIC_WINDOW => change(self.index, value),
            _ => value,
        })
    }
}

impl Bug for IoapicVersion {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        match gpa {
            reg::IOAPIC_SELECT => self.index = value,
            reg::IOAPIC_WINDOW if self.index == reg::IOAPIC_VERSION => self.written = Some(value),
            _ => {}
        }
        inner.store(gpa, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let version = (gpa, self.index) == (reg::IOAPIC_WINDOW, reg::IOAPIC_VERSION);
        Ok(self.written.filter(|_| version).unwrap_or(value))
    }
}

impl Bug for IoapicTimer {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let value = match value {
            _ if gpa != reg::IOAPIC_SELECT => value,
            0x10 | 0x11 => value + 4,
            0x14 | 0x15 => value - 4,
            _ => value,
        };
        inner.store(gpa, width, value)
    }
}

impl Bug for IoapicEoi {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if gpa != reg::IOAPIC_EOI {
            return inner.store(gpa, width, value);
        }
        (self.0)(value).try_for_each(|vector| inner.store(gpa, width, vector))
    }
}

impl Bug for IoapicIndex {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        // Six bits of the index are decoded.
        let value = if gpa == reg::IOAPIC_SELECT { value & 0x3f } else { value };
        inner.store(gpa, width, value)
    }
}

impl Bug for RtcResetKeeps {
    fn reset(&mut self, inner: &mut dyn Machine) -> Result<(), Stop> {
        inner.port_write(reg::CMOS_INDEX, Width::Byte, reg::RTC_REGISTER_B)?;
        let before = inner.port_read(reg::CMOS_DATA, Width::Byte)?;
        inner.reset()?;
        inner.port_write(reg::CMOS_INDEX, Width::Byte, reg::RTC_REGISTER_B)?;
        inner.port_write(reg::CMOS_DATA, Width::Byte, before)
    }
}

impl Bug for RtcReads {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::CMOS_INDEX {
            self.index = value & 0x7f;
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        let here = (port, self.index) == (reg::CMOS_DATA, self.register);
        Ok(if here { (self.change)(value) } else { value })
    }
}

impl Bug for RtcWrites {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let here = (port, self.index) == (reg::CMOS_DATA, self.register);
        if port == reg::CMOS_INDEX {
            self.index = value & 0x7f;
        }
        inner.port_write(port, width, if here { (self.change)(value) } else { value })
    }
}

impl Bug for RtcSetLatches {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::CMOS_INDEX {
            self.index = value & 0x7f;
        }
        inner.port_write(port, width, value)?;
        if (port, self.index) != (reg::CMOS_DATA, reg::RTC_REGISTER_B) {
            return Ok(());
        }
        if value & reg::RTC_SET == 0 {
            self.minutes = None;
            return Ok(());
        }
        inner.port_write(reg::CMOS_INDEX, Width::Byte, reg::RTC_MINUTES)?;
        match self.minutes {
            Some(minutes) => inner.port_write(reg::CMOS_DATA, Width::Byte, minutes)?,
            None => self.minutes = Some(inner.port_read(reg::CMOS_DATA, Width::Byte)?),
        }
        inner.port_write(reg::CMOS_INDEX, Width::Byte, self.index)
    }
}

impl Bug for ModemGlitch {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::SERIAL_MCR {
            inner.port_write(port, width, value & reg::SERIAL_MCR_LOOP)?;
        }
        inner.port_write(port, width, value)
    }
}

impl Bug for PicIcw1Edge {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if let (Some(chip), _) = pic_of(port)
            && value & reg::ICW1 != 0
        {
            inner.port_write(reg::ELCRS[chip], width, 0)?;
        }
        inner.port_write(port, width, value)
    }
}

impl Bug for DlabPops {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::SERIAL_LCR {
            self.lcr = value;
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        if port == reg::SERIAL_DATA && self.lcr & 0x80 != 0 {
            inner.port_write(reg::SERIAL_LCR, Width::Byte, self.lcr & 0x7f)?;
            inner.port_read(reg::SERIAL_DATA, Width::Byte)?;
            inner.port_write(reg::SERIAL_LCR, Width::Byte, self.lcr)?;
        }
        inner.port_read(port, width)
    }
}

impl Bug for FcrUnconditional {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::SERIAL_IIR {
            if !self.enabled && value & 3 == 2 {
                inner.port_read(reg::SERIAL_DATA, Width::Byte)?;
            }
            self.enabled = value & 1 != 0;
        }
        inner.port_write(port, width, value)
    }
}

impl Bug for LostEvents {
    fn line_events(&mut self, inner: &mut dyn Machine) -> Result<Vec<LineEvent>, Stop> {
        let mut events = inner.line_events()?;
        events.retain(|event| !(self.0)(event));
        Ok(events)
    }
}

impl Bug for Options {
    fn setup(&self, setup: &mut Setup) {
        setup.options = self.0;
    }
}

impl Bug for NoDevices {
    fn setup(&self, setup: &mut Setup) {
        setup.devices = &[];
    }
}
