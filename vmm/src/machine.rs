//! A whole machine under virtual time, without a kernel: the type that `qtest`, KVM's run loop and the suite drive.

use std::collections::VecDeque;

use crate::board::config::Config;
use crate::board::serial_port::SerialPort;
use crate::board::{Board, BuildError, Slot};
use crate::bus::{AddressMap, Cut};
use crate::device::{Access, Ctx, Device, Event, Space};
use crate::inspect::Inspector;
use crate::irq::{LineChange, Lines};
use crate::memory::Memory;
use crate::units::{Nanos, Width};
use crate::virtio::mmio::VirtioMmio;

/// One power-on of a board. Same calls, same answers.
pub struct Machine {
    // Configuration, fixed at construction.
    map: AddressMap<Slot>,
    /// Devices that are there.
    slots: Vec<Slot>,
    /// Those of them that may have a deadline.
    timed: Vec<Slot>,
    /// Those of them that lines lead to.
    sinks: Vec<Slot>,
    // State, all of it.
    board: Board,
    memory: Memory,
    lines: Lines,
    now: Nanos,
    events: Vec<Event>,
    line_log: Option<Vec<LineChange>>,
    typed: VecDeque<u8>,
}

impl Machine {
    /// Powers a machine on at virtual time 0.
    ///
    /// # Errors
    /// [`BuildError`] as [`Board::new`].
    pub fn new(config: &Config) -> Result<Machine, BuildError> {
        let (board, map, memory) = Board::new(config)?;
        let mut slots = board.slots();
        slots.retain(|&slot| board.device(slot).is_some());
        // Every tick asks these, and every change of a line those: a list of all devices would cost more than they do.
        let timed = slots.iter().copied().filter(|&slot| board.keeps_time(slot)).collect();
        let has_inputs = |&slot: &Slot| board.device(slot).is_some_and(|device| !device.inputs().is_empty());
        let sinks = slots.iter().copied().filter(has_inputs).collect();
        let lines = Lines::default();
        let mut machine = Machine {
            map,
            slots,
            timed,
            sinks,
            board,
            memory,
            lines,
            now: Nanos(0),
            events: Vec::new(),
            line_log: None,
            typed: VecDeque::new(),
        };
        machine.settle_lines();
        Ok(machine)
    }

    /// Reads a port; nobody home reads all ones. The value has `width` bits (a port access is at most 4 bytes wide).
    pub fn port_read(&mut self, port: u16, width: Width) -> u32 {
        self.read(Space::Port, u64::from(port), width) as u32
    }

    /// Writes a port; nobody home ignores it.
    pub fn port_write(&mut self, port: u16, width: Width, value: u32) {
        self.write(Space::Port, u64::from(port), width, u64::from(value));
    }

    /// Loads from guest-physical memory as a CPU does: RAM, a device's registers, or zero where nobody is.
    pub fn load(&mut self, gpa: u64, width: Width) -> u64 {
        self.read(Space::Mmio, gpa, width)
    }

    /// Stores to guest-physical memory as a CPU does.
    pub fn store(&mut self, gpa: u64, width: Width, value: u64) {
        self.write(Space::Mmio, gpa, width, value);
    }

    /// Guest memory, for bulk access to RAM and for DMA.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The devices, for what only a host can do to them (type on the serial line, acknowledge an interrupt).
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Calls a device of the board with its context, then settles lines. `f` gets the board so that it can name the
    /// device by its type.
    pub fn with_board<R>(&mut self, f: impl FnOnce(&mut Board, &mut Ctx<'_>) -> R) -> R {
        let mut ctx = Ctx {
            now: self.now,
            lines: &mut self.lines,
            memory: &self.memory,
            events: &mut self.events,
        };
        let result = f(&mut self.board, &mut ctx);
        self.settle_lines();
        result
    }

    /// Virtual time since power-on.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// The earliest instant at which a device has something to do.
    pub fn deadline(&self) -> Option<Nanos> {
        let devices = self.timed.iter().filter_map(|&slot| self.board.device(slot));
        devices.filter_map(Device::deadline).min()
    }

    /// Lets time pass to `then`; earlier than now changes nothing. Devices tick in the order of their deadlines.
    pub fn advance_to(&mut self, then: Nanos) {
        while !self.advance_at_most(then, u32::MAX) {}
    }

    /// As [`Machine::advance_to`], but stops after `ticks` ticks; false when that kept it from reaching `then`.
    pub fn advance_at_most(&mut self, then: Nanos, ticks: u32) -> bool {
        let mut ticks_left = ticks;
        while let Some((deadline, slot)) = self.next_deadline()
            && deadline <= then
        {
            if ticks_left == 0 {
                return false;
            }
            ticks_left -= 1;
            self.now = self.now.max(deadline);
            self.with_device(slot, |device, ctx| device.tick(ctx));
        }
        self.now = self.now.max(then);
        true
    }

    /// Types on the serial line: what the receiver has no room for waits until the guest reads. False, with nothing
    /// typed, when there is no serial port or more than [`TYPED_BYTES_MAX`] would wait.
    pub fn type_on_serial(&mut self, bytes: &[u8]) -> bool {
        if self.board.serial.is_none() || TYPED_BYTES_MAX < self.typed.len() + bytes.len() {
            return false;
        }
        self.typed.extend(bytes);
        self.feed_serial();
        true
    }

    /// Takes what virtio devices sent to the host's side, oldest first for each: transport, and a frame of a network or
    /// a run of bytes of a console. [`Event::VirtioOut`] says that there is something.
    pub fn take_output(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut output = Vec::new();
        for (index, transport) in self.board.transports.iter_mut().enumerate() {
            output.extend(transport.take_output().into_iter().map(|data| (index as u8, data)));
        }
        output
    }

    /// How many bytes [`Machine::receive`] takes now.
    pub fn room(&self, transport: u8) -> usize {
        let transport = self.board.transports.get(usize::from(transport));
        transport.map_or(0, VirtioMmio::room)
    }

    /// Hands a frame of a network or a run of bytes of a console from the host's side to the device on a transport;
    /// returns how many bytes were taken.
    pub fn receive(&mut self, transport: u8, data: &[u8]) -> usize {
        self.with_board(|board, ctx| match board.transports.get_mut(usize::from(transport)) {
            Some(transport) => transport.receive(data, ctx),
            None => 0,
        })
    }

    /// Resets every device and puts the firmware and the kernel's segments back; other RAM, virtual time and what the
    /// machine model keeps stay.
    pub fn reset(&mut self) {
        for index in 0..self.slots.len() {
            self.with_device(self.slots[index], |device, ctx| device.reset(ctx));
        }
        if let Some(kernel) = &self.board.kernel {
            kernel.load(&self.memory, false);
        }
        if let Some(firmware) = &self.board.firmware {
            firmware.load(&self.memory);
        }
    }

    /// Takes what the devices told the outside world, oldest first. A caller that never asks costs at most
    /// [`EVENTS_MAX`] of them; the oldest go first.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Starts noting changes of interrupt lines, [`LINE_CHANGES_MAX`] at most.
    pub fn watch_lines(&mut self) {
        self.line_log.get_or_insert_default();
    }

    /// Takes the line changes noted since the last call, oldest first.
    pub fn take_line_changes(&mut self) -> Vec<LineChange> {
        self.line_log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether a line is high.
    pub fn line_level(&self, gsi: u8) -> bool {
        self.lines.level(gsi)
    }

    /// The state of every device, by name.
    pub fn inspect(&self) -> Inspector {
        let mut out = Inspector::new();
        for &slot in &self.slots {
            if let Some(device) = self.board.device(slot) {
                out.within(&slot.to_string(), |out| device.inspect(out));
            }
        }
        out
    }

    fn read(&mut self, space: Space, address: u64, width: Width) -> u64 {
        if space == Space::Mmio && self.memory.available(address, width.bytes()) == width.bytes() {
            let mut bytes = [0; 8];
            let _all_ram = self.memory.read(address, &mut bytes[..width.bytes()]);
            return u64::from_le_bytes(bytes);
        }
        let mut value = 0;
        let mut cut = Cut::new(space, address, width);
        while let Some(piece) = cut.next(&self.map) {
            let part = match piece.target {
                Some((slot, region, offset)) => {
                    let at = Access {
                        region,
                        offset,
                        width: piece.width,
                    };
                    self.with_device(slot, |device, ctx| device.read(at, ctx))
                        .unwrap_or_default()
                }
                None if space == Space::Port => u64::MAX,
                None => {
                    let mut bytes = [0; 8];
                    let _partly_ram = self.memory.read(piece.address, &mut bytes[..piece.width.bytes()]);
                    u64::from_le_bytes(bytes)
                }
            };
            value |= (part & piece.width.mask()) << (8 * piece.shift_bytes);
        }
        value
    }

    fn write(&mut self, space: Space, address: u64, width: Width, value: u64) {
        if space == Space::Mmio && self.memory.available(address, width.bytes()) == width.bytes() {
            let _all_ram = self.memory.write(address, &value.to_le_bytes()[..width.bytes()]);
            return;
        }
        let mut cut = Cut::new(space, address, width);
        while let Some(piece) = cut.next(&self.map) {
            let part = (value >> (8 * piece.shift_bytes)) & piece.width.mask();
            match piece.target {
                Some((slot, region, offset)) => {
                    let at = Access {
                        region,
                        offset,
                        width: piece.width,
                    };
                    self.with_device(slot, |device, ctx| device.write(at, part, ctx));
                }
                None if space == Space::Port => {}
                None => {
                    let _partly_ram = self
                        .memory
                        .write(piece.address, &part.to_le_bytes()[..piece.width.bytes()]);
                }
            }
        }
    }

    fn with_device<R>(&mut self, slot: Slot, f: impl FnOnce(&mut dyn Device, &mut Ctx<'_>) -> R) -> Option<R> {
        let result = self.with_board(|board, ctx| board.device_mut(slot).map(|device| f(device, ctx)));
        debug_assert!(
            self.timed.contains(&slot) || self.board.device(slot).is_none_or(|device| device.deadline().is_none()),
            "{slot} has a deadline that nobody asks for"
        );
        if slot == Slot::Serial && !self.typed.is_empty() {
            self.feed_serial();
        }
        result
    }

    /// Hands waiting bytes to the serial receiver as far as it has room.
    fn feed_serial(&mut self) {
        let room = self.board.serial.as_ref().map_or(0, SerialPort::room);
        let bytes: Vec<u8> = self.typed.drain(..room.min(self.typed.len())).collect();
        self.with_board(|board, ctx| board.serial.as_mut().map(|serial| serial.receive(&bytes, ctx)));
    }

    fn next_deadline(&self) -> Option<(Nanos, Slot)> {
        let due = |&slot: &Slot| Some((self.board.device(slot)?.deadline()?, slot));
        self.timed.iter().filter_map(due).min()
    }

    /// Hands queued line changes to the interrupt controllers until the lines are quiet.
    fn settle_lines(&mut self) {
        // A controller drives no line of its own, so one round settles; the bound only guards against a wiring mistake.
        for _ in 0..SETTLE_ROUNDS_MAX {
            let changes = self.lines.take_changes();
            if changes.is_empty() {
                break;
            }
            for &change in &changes {
                if let Some(log) = &mut self.line_log
                    && log.len() < LINE_CHANGES_MAX
                {
                    log.push(change);
                }
                self.deliver(change);
            }
        }
        if EVENTS_MAX < self.events.len() {
            self.events.drain(..self.events.len() - EVENTS_MAX);
        }
    }

    fn deliver(&mut self, change: LineChange) {
        for &slot in &self.sinks {
            let Some(device) = self.board.device_mut(slot) else {
                continue;
            };
            if device.inputs().contains(&change.gsi) {
                let mut ctx = Ctx {
                    now: self.now,
                    lines: &mut self.lines,
                    memory: &self.memory,
                    events: &mut self.events,
                };
                device.line(change.gsi, change.level, &mut ctx);
            }
        }
    }
}

/// Most events kept for a caller that does not take them.
pub const EVENTS_MAX: usize = 1 << 20;

/// Most typed bytes that wait for the serial receiver.
pub const TYPED_BYTES_MAX: usize = 1 << 20;

/// Most line changes kept for a caller that does not take them.
pub const LINE_CHANGES_MAX: usize = 1 << 20;

const SETTLE_ROUNDS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::config::Blob;
    use crate::board::profile::Profile;

    #[test]
    fn nobody_home_reads_ones_on_ports_and_zero_in_memory() {
        let mut machine = Machine::new(&Config::default()).expect("128 MiB fit");
        assert_eq!(machine.port_read(0x61, Width::Word), 0xffff);
        assert_eq!(machine.load(0xd000_0000, Width::Dword), 0);
        machine.store(0x1000, Width::Qword, 0x1122_3344_5566_7788);
        assert_eq!(machine.load(0x1001, Width::Word), 0x6677);
    }

    #[test]
    fn reset_brings_power_on_back_but_for_what_cmos_keeps() {
        for profile in Profile::ALL {
            let mut machine = Machine::new(&Config::new(profile)).expect("128 MiB fit");
            let shown = |machine: &Machine| {
                let all = machine.inspect();
                let kept = |name: &str| name.starts_with("rtc.");
                let values = all.values().filter(|(name, _)| !kept(name));
                values
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
            };
            let power_on = shown(&machine);
            for port in (0x20..0x100)
                .chain(0x3f8..0x400)
                .chain(0x4d0..0x4d2)
                .chain(0x510..0x51c)
            {
                machine.port_write(port, Width::Byte, 0x15);
            }
            machine.port_write(0x510, Width::Word, 0x19);
            machine.store(profile.virtio_base + 0x70, Width::Dword, 3);
            machine.store(0xfec0_0000, Width::Dword, 0x10);
            machine.store(0xfec0_0010, Width::Dword, 0x31);
            assert_ne!(shown(&machine), power_on);
            machine.reset();
            assert_eq!(shown(&machine), power_on, "{}", profile.name);
        }
    }

    #[test]
    fn memory_sizes_in_cmos_are_not_written_again_at_reset() {
        let mut machine = Machine::new(&Config::default()).expect("128 MiB fit");
        machine.port_write(0x70, Width::Byte, 0x15);
        assert_eq!(machine.port_read(0x71, Width::Byte), 0x80);
        machine.port_write(0x71, Width::Byte, 0xa5);
        machine.reset();
        assert_eq!(machine.port_read(0x71, Width::Byte), 0xa5, "and the index stays too");
    }

    #[test]
    fn reset_puts_the_firmware_back() {
        let config = Config {
            bios: Some(Blob {
                name: "rom".into(),
                bytes: vec![0x90; 0x1_0000].into(),
            }),
            ..Config::default()
        };
        let mut machine = Machine::new(&config).expect("128 MiB fit");
        machine.store(0xf_fff0, Width::Dword, 0x1234_5678);
        assert_eq!(machine.load(0xffff_fff2, Width::Word), 0x1234);
        machine.store(0xe_fffc, Width::Qword, 0);
        machine.reset();
        assert_eq!(machine.load(0xf_fff0, Width::Dword), 0x9090_9090);
        assert_eq!(machine.load(0xe_fffc, Width::Qword), 0x9090_9090_0000_0000, "RAM keeps");
    }

    #[test]
    fn typed_bytes_wait_for_room_in_the_receiver() {
        let mut machine = Machine::new(&Config::default()).expect("128 MiB fit");
        assert!(machine.type_on_serial(b"abc"));
        let read = |machine: &mut Machine| machine.port_read(0x3f8, Width::Byte) as u8;
        assert_eq!(
            [(); 3].map(|()| read(&mut machine)),
            *b"abc",
            "one at a time without FIFOs"
        );
        assert_eq!(machine.port_read(0x3fd, Width::Byte) & 1, 0, "and no more");
        assert!(!machine.type_on_serial(&vec![0; TYPED_BYTES_MAX + 1]));
    }

    #[test]
    fn lines_reach_both_interrupt_controllers() {
        let mut machine = Machine::new(&Config::default()).expect("128 MiB fit");
        // IOAPIC pin 4 unmasked, vector 0x44; serial interrupts when THR is empty.
        machine.store(0xfec0_0000, Width::Dword, 0x18);
        machine.store(0xfec0_0010, Width::Dword, 0x44);
        machine.port_write(0x3f9, Width::Byte, 2);
        assert!(machine.line_level(4));
        let data = 0x44;
        let address = 0xfee0_0000;
        let events = machine.take_events();
        assert!(events.contains(&Event::Msi { address, data }), "{events:?}");
        assert_eq!(
            machine.port_read(0x20, Width::Byte),
            0x10,
            "the 8259's request register"
        );
        machine.reset();
        assert!(!machine.line_level(4));
    }

    #[test]
    fn boot_mark_write_becomes_an_event_and_reads_like_nobody() {
        let config = Config {
            boot_marks: Some(0x3f0),
            ..Config::default()
        };
        let mut machine = Machine::new(&config).expect("128 MiB fit");
        machine.port_write(0x3f0, Width::Byte, 0x7b);
        assert_eq!(machine.take_events(), [Event::BootMark { mark: 0x7b }]);
        assert_eq!(machine.port_read(0x3f0, Width::Byte), 0xff);
    }

    #[test]
    fn debug_exit_write_becomes_an_event() {
        let config = Config {
            debug_exit: Some(0xf4),
            ..Config::default()
        };
        let mut machine = Machine::new(&config).expect("128 MiB fit");
        machine.port_write(0xf4, Width::Byte, 0x10);
        assert_eq!(machine.take_events(), [Event::DebugExit { value: 0x10 }]);
    }
}
