//! What a device is: a state machine over accesses, time and its input lines.

use crate::inspect::Inspector;
use crate::irq::Lines;
use crate::memory::Memory;
use crate::units::{Nanos, Width};

#[cfg(test)]
pub(crate) mod laws;

/// A deterministic device: same calls, same answers.
///
/// No access fails: what silicon does with an odd access is the answer, so `read` returns a value for everything and
/// `write` may ignore. Neither may panic, loop without a bound or allocate by a guest's number without a named limit.
pub trait Device: Send {
    /// The device's one short word, as in module, case id and golden: `rtc`, `serial`, `virtio_mmio`.
    fn name(&self) -> &'static str;

    /// The port and MMIO ranges that reach this device, fixed at construction.
    fn regions(&self) -> &[Region];

    /// Reads `at.width` bytes; bits above the width are ignored by the caller.
    fn read(&mut self, at: Access, ctx: &mut Ctx<'_>) -> u64;

    /// Writes `value`; bits above the width are zero.
    fn write(&mut self, at: Access, value: u64, ctx: &mut Ctx<'_>);

    /// When the device next wants [`Device::tick`], in absolute virtual time; `None` while nothing is due.
    fn deadline(&self) -> Option<Nanos> {
        None
    }

    /// Brings the device up to `ctx.now`, which is not before its deadline; afterwards the deadline lies later.
    fn tick(&mut self, _ctx: &mut Ctx<'_>) {}

    /// The interrupt lines (GSIs) whose changes the device wants to see; only interrupt controllers have any.
    fn inputs(&self) -> &[u8] {
        &[]
    }

    /// One of [`Device::inputs`] changed to `level`.
    fn line(&mut self, _gsi: u8, _level: bool, _ctx: &mut Ctx<'_>) {}

    /// System reset. State that the machine model keeps over a reset stays; every line of the device goes low unless
    /// the machine model says otherwise.
    fn reset(&mut self, ctx: &mut Ctx<'_>);

    /// Shows the whole state by name, for failures and `microvm inspect`.
    fn inspect(&self, out: &mut Inspector);
}

/// Which address space a range lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The 64 KiB of x86 I/O ports.
    Port,
    /// Guest-physical memory.
    Mmio,
}

/// One range of addresses that reaches a device, and how the fabric cuts wide accesses for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Port or memory.
    pub space: Space,
    /// First address.
    pub base: u64,
    /// Number of addresses, at least 1.
    pub length: u64,
    /// The widest access that arrives whole; a wider one is cut before it arrives. QEMU's default is a double word.
    pub accepts: Width,
    /// The widest piece the device sees; an accepted wider access is handed over in ascending pieces of this width.
    pub piece: Width,
}

/// One access as the device sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Index into [`Device::regions`].
    pub region: usize,
    /// Offset from the region's base.
    pub offset: u64,
    /// Width; `offset` is a multiple of it. The access starts within the region and ends there too, unless the region
    /// is shorter than what it accepts.
    pub width: Width,
}

/// What a device may use while it handles a call.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// Virtual time since power-on.
    pub now: Nanos,
    /// The interrupt lines.
    pub lines: &'a mut Lines,
    /// Guest memory, for DMA. Only RAM (and ROM, which is RAM on this machine): DMA never reaches a device.
    pub memory: &'a Memory,
    /// What the device tells the outside world.
    pub events: &'a mut Vec<Event>,
}

/// What a device tells the outside world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The serial port sent a byte.
    SerialOut(u8),
    /// The guest wrote to the debug-exit port; QEMU's exit status for it is `(value << 1) | 1`.
    DebugExit {
        /// The value written.
        value: u32,
    },
    /// The guest wrote a byte to the debug console.
    DebugOut(u8),
    /// The guest wrote a boot mark.
    BootMark {
        /// The byte that names the mark.
        mark: u8,
    },
    /// The guest asks for a system reset. The machine does not reset itself: only whoever drives it reaches the CPUs.
    Reset,
    /// A virtio device has something for its host's side; [`crate::virtio::VirtioDevice::take_output`] gives it.
    VirtioOut,
    /// The IOAPIC sends a message to the local APICs.
    Msi {
        /// 0xfee00000 plus destination and mode bits, as a PCI device would write it.
        address: u64,
        /// Vector, delivery mode and trigger.
        data: u32,
    },
    /// The 8259's INT output changed.
    Intr {
        /// True while an interrupt waits for acknowledgement.
        level: bool,
    },
}

impl Region {
    /// A port range whose device takes bytes; wider accesses come as ascending bytes.
    pub const fn byte_ports(base: u16, length: u64) -> Region {
        Region {
            space: Space::Port,
            base: base as u64,
            length,
            accepts: Width::Dword,
            piece: Width::Byte,
        }
    }

    /// A range whose device sees accesses of up to 4 bytes as they are; 8-byte accesses come as two.
    pub const fn dword(space: Space, base: u64, length: u64) -> Region {
        Region {
            space,
            base,
            length,
            accepts: Width::Dword,
            piece: Width::Dword,
        }
    }
}
