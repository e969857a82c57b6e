//! The reference machine with one named bug: the case that hunts it must fail.
//!
//! A bug is a filter between the probe and the machine. Each is one that a real VMM had, or the kind of it; `case` is
//! the case that must catch it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::in_process::InProcessAdapter;
use crate::case::{Level, Setup};
use crate::catalog;
use crate::layout::Layout;
use crate::machine::{Adapter, Caps, Depth, Facts, HostAction, LineEvent, Machine, Stop, Width};
use crate::verdict::Verdict;

/// One bug.
pub struct Mutant {
    /// Its name: `--subject mutant:NAME`.
    pub name: &'static str,
    /// What is wrong, one sentence.
    pub title: &'static str,
    /// The case that must catch it.
    pub case: &'static str,
    make: fn(&Layout) -> Box<dyn Bug>,
}

/// What a bug does to the conversation. Everything it leaves out passes through.
trait Bug {
    /// Changes the machine that is asked for.
    fn setup(&self, setup: &mut Setup) {
        let _ = setup;
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        inner.port_read(port, width)
    }

    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        inner.port_write(port, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        inner.load(gpa, width)
    }

    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        inner.store(gpa, width, value)
    }

    fn line_events(&mut self, inner: &mut dyn Machine) -> Result<Vec<LineEvent>, Stop> {
        inner.line_events()
    }

    fn reset(&mut self, inner: &mut dyn Machine) -> Result<(), Stop> {
        inner.reset()
    }
}

/// All mutants, by name.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "cmdline-irq-off-by-one",
        title: "The command line announces each transport one interrupt too high.",
        case: "cmdline/devices/one",
        make: |_| Box::<CmdlineIrq>::default(),
    },
    Mutant {
        name: "cmos-extended-memory-not-clipped",
        title: "The CMOS says 64 MiB more than there is below 4 GiB.",
        case: "cmos/memory-size/128m",
        make: |_| Box::<CmosMemory>::default(),
    },
    Mutant {
        name: "firmware-copied-low",
        title: "What is below 1 MiB is a copy of the firmware and takes no notice of writes to it.",
        case: "firmware/alias/write-above",
        make: |_| Box::<FirmwareCopied>::default(),
    },
    Mutant {
        name: "firmware-kept-at-reset",
        title: "A reset leaves the firmware as the guest changed it.",
        case: "firmware/reset/restores",
        make: |_| Box::<FirmwareKept>::default(),
    },
    Mutant {
        name: "firmware-read-only",
        title: "Writes to the firmware are dropped.",
        case: "firmware/alias/write-below",
        make: |_| Box::new(FirmwareReadOnly),
    },
    Mutant {
        name: "fw-cfg-dma-address-kept",
        title: "The high half of the DMA address is kept after a transfer.",
        case: "fw-cfg-dma/address/used-once",
        make: |_| Box::<DmaAddressKept>::default(),
    },
    Mutant {
        name: "fw-cfg-dma-error-hidden",
        title: "A DMA transfer that failed reports success.",
        case: "fw-cfg-dma/write/read-only-item",
        make: |_| Box::<DmaErrorHidden>::default(),
    },
    Mutant {
        name: "fw-cfg-select-keeps-offset",
        title: "Selecting the item that is selected already does not begin at its start.",
        case: "fw-cfg/selector/resets-offset",
        make: |_| Box::<SelectKeepsOffset>::default(),
    },
    Mutant {
        name: "fw-cfg-unknown-item-reads-ones",
        title: "Reading an unknown item gives all ones.",
        case: "fw-cfg/data/unknown-item",
        make: |_| Box::<UnknownItem>::default(),
    },
    Mutant {
        name: "i8042-any-command-resets",
        title: "Every command to the keyboard controller resets the machine.",
        case: "i8042/pulse/no-reset",
        make: |_| Box::new(KeyboardResets(&[reg::KEYBOARD_STATUS])),
    },
    Mutant {
        name: "i8042-data-resets",
        title: "The reset command's byte resets the machine at the data port too.",
        case: "i8042/data/is-no-command",
        make: |_| Box::new(KeyboardResets(&[reg::KEYBOARD_DATA])),
    },
    Mutant {
        name: "i8042-input-buffer-stays-full",
        title: "The keyboard controller's input buffer is full once a command was given.",
        case: "i8042/status/takes-commands",
        make: |_| Box::<KeyboardBusy>::default(),
    },
    Mutant {
        name: "i8042-no-reset",
        title: "The keyboard controller ignores the reset command.",
        case: "i8042/pulse/reset",
        make: |_| Box::new(KeyboardDeaf),
    },
    Mutant {
        name: "i8042-status-floats",
        title: "The keyboard controller's status register reads all ones.",
        case: "i8042/status/empty-buffers",
        make: |_| {
            Box::new(PortOnes {
                port: reg::KEYBOARD_STATUS,
            })
        },
    },
    Mutant {
        name: "ioapic-unmasked-at-reset",
        title: "The IOAPIC's entries are not masked at power-on.",
        case: "ioapic/redirection/masked-at-reset",
        make: |_| Box::<IoapicUnmasked>::default(),
    },
    Mutant {
        name: "keyboard-controller-answers",
        title: "There is something at port 0x64.",
        case: "absent/ports/keyboard-controller",
        make: |_| Box::new(Keyboard),
    },
    Mutant {
        name: "memory-hole-reads-ones",
        title: "Memory where nobody is reads all ones.",
        case: "absent/memory/reads-zero",
        make: |_| Box::new(HoleReadsOnes),
    },
    Mutant {
        name: "ram-split-at-1g",
        title: "RAM splits at 1 GiB.",
        case: "memory-map/e820/4g",
        make: |_| Box::new(SplitAt1g),
    },
    Mutant {
        name: "rtc-nmi-mask-in-index",
        title: "An index written with the NMI mask bit selects nothing.",
        case: "rtc/index/nmi-mask",
        make: |_| Box::new(NmiMaskInIndex),
    },
    Mutant {
        name: "rtc-no-update-in-progress",
        title: "Register A never shows an update in progress.",
        case: "rtc/update/in-progress-window",
        make: |_| Box::new(RtcRegister::new(0x0a, 0x7f)),
    },
    Mutant {
        name: "rtc-register-c-kept",
        title: "Reading register C leaves its flags.",
        case: "rtc/register-c/read-clears",
        make: |_| Box::<RtcFlagsKept>::default(),
    },
    Mutant {
        name: "rtc-register-d-invalid",
        title: "Register D does not say that RAM and time are valid.",
        case: "rtc/register-d/valid",
        make: |_| Box::new(RtcRegister::new(0x0d, 0x7f)),
    },
    Mutant {
        name: "serial-overrun-hidden",
        title: "Line status never shows an overrun.",
        case: "serial/fifo/overrun",
        make: |_| {
            Box::new(PortMask {
                port: 0x3fd,
                mask: !0x02,
            })
        },
    },
    Mutant {
        name: "serial-thre-not-raised",
        title: "Interrupt identification never names an empty transmitter.",
        case: "serial/thre/enable-while-empty",
        make: |_| Box::new(NoThre),
    },
    Mutant {
        name: "vga-hole",
        title: "RAM has a hole for a display at 0xa0000.",
        case: "memory-map/ram/vga-hole-is-memory",
        make: |_| Box::new(VgaHole),
    },
    Mutant {
        name: "virtio-blk-capacity-off-by-one",
        title: "The capacity is one sector too large.",
        case: "virtio-blk/config/capacity",
        make: |_| Box::new(BlkCapacity),
    },
    Mutant {
        name: "virtio-blk-flush-unsupported",
        title: "A flush is unsupported, though it is offered.",
        case: "virtio-blk/flush/completes",
        make: |_| Box::new(BlkStatus::new(reg::BLK_FLUSH, reg::BLK_OK, reg::BLK_UNSUPP)),
    },
    Mutant {
        name: "virtio-blk-read-only-write-succeeds",
        title: "A write to a read-only disk reports success.",
        case: "virtio-blk/read-only/refuses-writes",
        make: |_| Box::new(BlkStatus::new(reg::BLK_OUT, reg::BLK_IOERR, reg::BLK_OK)),
    },
    Mutant {
        name: "virtio-blk-read-past-end-succeeds",
        title: "A read beyond the capacity reports success.",
        case: "virtio-blk/bounds/read-past-end",
        make: |_| Box::new(BlkStatus::new(reg::BLK_IN, reg::BLK_IOERR, reg::BLK_OK)),
    },
    Mutant {
        name: "virtio-console-byte-lost",
        title: "The console drops the last byte of each buffer that it fills.",
        case: "virtio-console/echo/short",
        make: |_| {
            Box::new(QueueBug::new(|inner, used| match used.queue {
                0 => inner.write_memory(used.entry + 4, &(used.length - 1).to_le_bytes()),
                _ => Ok(()),
            }))
        },
    },
    Mutant {
        name: "virtio-console-emergency-ignored",
        title: "The console offers emergency writes and drops them.",
        case: "virtio-console/emergency/unconfigured",
        make: |_| Box::new(EmergencyIgnored),
    },
    Mutant {
        name: "virtio-console-fills-buffer",
        title: "The console returns its buffers as if they were full.",
        case: "virtio-console/receive/used-length",
        make: |_| {
            Box::new(QueueBug::new(|inner, used| match used.queue {
                0 => inner.write_memory(used.entry + 4, &64_u32.to_le_bytes()),
                _ => Ok(()),
            }))
        },
    },
    Mutant {
        name: "virtio-console-sent-length-counted",
        title: "The console counts what it read into the used ring's length.",
        case: "virtio-console/transmit/uses-buffer",
        make: |_| Box::new(QueueBug::new(count_sent)),
    },
    Mutant {
        name: "virtio-empty-transport-answers",
        title: "There is a transport without a device behind the last.",
        case: "virtio-mmio/attach/one-each",
        make: |layout| Box::new(EmptyTransport(layout.transport(3))),
    },
    Mutant {
        name: "virtio-features-word-repeats",
        title: "Feature words beyond the last repeat it.",
        case: "virtio-mmio/features/select-past-end",
        make: |_| Box::new(FeaturesRepeat),
    },
    Mutant {
        name: "virtio-interrupt-status-read-clears",
        title: "Reading InterruptStatus acknowledges.",
        case: "virtqueue/interrupt/acknowledge",
        make: |_| Box::new(StatusReadClears),
    },
    Mutant {
        name: "virtio-line-off-by-one",
        title: "Interrupts come one line too high.",
        case: "virtqueue/interrupt/line",
        make: |_| Box::new(LineOffByOne),
    },
    Mutant {
        name: "virtio-net-buffers-kept-at-reset",
        title: "The network device writes to a buffer that it was given before a reset.",
        case: "virtio-net/reset/quiet",
        make: |_| Box::<BuffersKept>::default(),
    },
    Mutant {
        name: "virtio-net-length-without-header",
        title: "The length of a frame that came does not count its header.",
        case: "virtio-net/receive/frames",
        make: |_| {
            Box::new(QueueBug::new(|inner, used| match used.queue {
                0 => inner.write_memory(used.entry + 4, &(used.length - 12).to_le_bytes()),
                _ => Ok(()),
            }))
        },
    },
    Mutant {
        name: "virtio-net-link-down",
        title: "The status says that the link is down.",
        case: "virtio-net/config/link-up",
        make: |_| Box::new(NetConfig { field: 6, xor: 1 }),
    },
    Mutant {
        name: "virtio-net-mac-changed",
        title: "The address in the configuration space is another one.",
        case: "virtio-net/config/mac",
        make: |_| Box::new(NetConfig { field: 5, xor: 4 }),
    },
    Mutant {
        name: "virtio-net-merged-count-one",
        title: "A frame spread over many buffers says that it has one.",
        case: "virtio-net/receive/merged",
        make: |_| {
            Box::new(QueueBug::new(|inner, used| match used.queue {
                0 => inner.write_memory(used.buffer + reg::NET_NUM_BUFFERS, &[1, 0]),
                _ => Ok(()),
            }))
        },
    },
    Mutant {
        name: "virtio-net-num-buffers-unset",
        title: "A frame in a buffer that is not mergeable says that it has none.",
        case: "virtio-net/receive/num-buffers",
        make: |_| {
            Box::new(QueueBug::new(|inner, used| match used.queue {
                0 => inner.write_memory(used.buffer + reg::NET_NUM_BUFFERS, &[0, 0]),
                _ => Ok(()),
            }))
        },
    },
    Mutant {
        name: "virtio-net-offload-without-checksum",
        title: "The network device offers to segment, but not to compute checksums.",
        case: "virtio-net/features/complete",
        make: |_| Box::new(NetFeatures(reg::NET_HOST_TSO4)),
    },
    Mutant {
        name: "virtio-net-reserved-feature",
        title: "The network device offers a feature of legacy devices on a modern transport.",
        case: "virtio-net/features/reserved",
        make: |_| Box::new(NetFeatures(reg::ANY_LAYOUT)),
    },
    Mutant {
        name: "virtio-net-says-checksum-needed",
        title: "A frame that came says that its checksum is to be computed, though that was not negotiated.",
        case: "virtio-net/receive/header-without-offload",
        make: |_| {
            Box::new(QueueBug::new(|inner, used| match used.queue {
                0 => inner.write_memory(used.buffer, &[1]),
                _ => Ok(()),
            }))
        },
    },
    Mutant {
        name: "virtio-net-sent-length-counted",
        title: "The network device counts what it read into the used ring's length.",
        case: "virtio-net/transmit/uses-buffer",
        make: |_| Box::new(QueueBug::new(count_sent)),
    },
    Mutant {
        name: "virtio-queue-ready-kept",
        title: "QueueReady survives a device reset.",
        case: "virtio-mmio/reset/queue-ready",
        make: |_| Box::<QueueReadyKept>::default(),
    },
];

/// Powers on reference machines with one bug.
pub struct MutantAdapter {
    mutant: &'static Mutant,
}

impl MutantAdapter {
    /// An adapter for one bug.
    pub fn new(mutant: &'static Mutant) -> MutantAdapter {
        MutantAdapter { mutant }
    }
}

impl Mutant {
    /// The mutant of that name.
    pub fn by_name(name: &str) -> Option<&'static Mutant> {
        MUTANTS.iter().find(|mutant| mutant.name == name)
    }

    /// What the case that hunts it says: a warning where the requirement is a Should.
    pub fn caught(&self) -> Verdict {
        match catalog::by_id(self.case).map(|case| case.level) {
            Some(Level::Should) => Verdict::Warn,
            _ => Verdict::Fail,
        }
    }
}

impl Adapter for MutantAdapter {
    fn depth(&self) -> Depth {
        Depth::Bus
    }

    fn caps(&self) -> Caps {
        InProcessAdapter.caps()
    }

    fn boot(&self, setup: &Setup, layout: &Layout) -> Result<Box<dyn Machine>, Stop> {
        let bug = (self.mutant.make)(layout);
        let mut setup = setup.clone();
        bug.setup(&mut setup);
        let inner = InProcessAdapter.boot(&setup, layout)?;
        Ok(Box::new(Mutated { inner, bug }))
    }
}

struct Mutated {
    inner: Box<dyn Machine>,
    bug: Box<dyn Bug>,
}

impl Machine for Mutated {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn facts(&self) -> &Facts {
        self.inner.facts()
    }

    fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop> {
        self.bug.port_read(self.inner.as_mut(), port, width)
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        self.bug.port_write(self.inner.as_mut(), port, width, value)
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop> {
        self.bug.load(self.inner.as_mut(), gpa, width)
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        self.bug.store(self.inner.as_mut(), gpa, width, value)
    }

    fn read_memory(&mut self, gpa: u64, into: &mut [u8]) -> Result<(), Stop> {
        self.inner.read_memory(gpa, into)
    }

    fn write_memory(&mut self, gpa: u64, from: &[u8]) -> Result<(), Stop> {
        self.inner.write_memory(gpa, from)
    }

    fn port_read_string(&mut self, port: u16, width: Width, count: u16) -> Result<Vec<u8>, Stop> {
        self.inner.port_read_string(port, width, count)
    }

    fn port_write_string(&mut self, port: u16, width: Width, bytes: &[u8]) -> Result<(), Stop> {
        self.inner.port_write_string(port, width, bytes)
    }

    fn advance(&mut self, by_ns: u64) -> Result<(), Stop> {
        self.inner.advance(by_ns)
    }

    fn line_events(&mut self) -> Result<Vec<LineEvent>, Stop> {
        self.bug.line_events(self.inner.as_mut())
    }

    fn host(&mut self, action: &HostAction) -> Result<(), Stop> {
        self.inner.host(action)
    }

    fn serial_output(&mut self) -> Result<Vec<u8>, Stop> {
        self.inner.serial_output()
    }

    fn reset(&mut self) -> Result<(), Stop> {
        self.bug.reset(self.inner.as_mut())
    }

    fn post_mortem(&mut self) -> String {
        self.inner.post_mortem()
    }
}

#[derive(Default)]
struct CmdlineIrq {
    key: u32,
    last: u32,
}

impl Bug for CmdlineIrq {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::FW_CFG_SELECTOR {
            self.key = value;
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        let irq_begins = (port, self.key, self.last) == (reg::FW_CFG_DATA, reg::KEY_CMDLINE, u32::from(b':'));
        self.last = value;
        Ok(if irq_begins { value + 1 } else { value })
    }
}

#[derive(Default)]
struct CmosMemory {
    index: u32,
}

impl Bug for CmosMemory {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::CMOS_INDEX {
            self.index = value & 0x7f;
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        let high_byte = (port, self.index) == (reg::CMOS_DATA, reg::CMOS_MEMORY_ABOVE_16M_HIGH);
        Ok(if high_byte { value.wrapping_add(4) & 0xff } else { value })
    }
}

#[derive(Default)]
struct UnknownItem {
    key: u32,
}

impl Bug for UnknownItem {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::FW_CFG_SELECTOR {
            self.key = value;
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        let nothing = port == reg::FW_CFG_DATA && reg::KEYS_UNUSED.contains(&self.key);
        Ok(if nothing { width.mask() as u32 } else { value })
    }
}

#[derive(Default)]
struct DmaAddressKept {
    high: u32,
}

impl Bug for DmaAddressKept {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        match port {
            reg::FW_CFG_DMA_HIGH => self.high = value,
            reg::FW_CFG_DMA_LOW => inner.port_write(reg::FW_CFG_DMA_HIGH, Width::Dword, self.high)?,
            _ => {}
        }
        inner.port_write(port, width, value)
    }
}

#[derive(Default)]
struct DmaErrorHidden {
    high: u32,
}

impl Bug for DmaErrorHidden {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        inner.port_write(port, width, value)?;
        match port {
            reg::FW_CFG_DMA_HIGH => self.high = value,
            reg::FW_CFG_DMA_LOW => {
                let gpa = u64::from(self.high.swap_bytes()) << 32 | u64::from(value.swap_bytes());
                self.high = 0;
                let mut control = [0; 4];
                // A descriptor that is not in memory has no control word.
                if inner.read_memory(gpa, &mut control).is_ok() && u32::from_be_bytes(control) == 1 {
                    inner.write_memory(gpa, &[0; 4])?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct SelectKeepsOffset {
    key: Option<u32>,
}

impl Bug for SelectKeepsOffset {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::FW_CFG_SELECTOR {
            if self.key == Some(value) {
                return Ok(());
            }
            self.key = Some(value);
        }
        inner.port_write(port, width, value)
    }
}

struct Keyboard;

impl Bug for Keyboard {
    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        // Status: self-test passed, nothing in the buffers.
        Ok(if port == reg::KEYBOARD_STATUS { 0x14 } else { value })
    }
}

/// Any write to one of these ports resets.
struct KeyboardResets(&'static [u16]);

impl Bug for KeyboardResets {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        inner.port_write(port, width, value)?;
        if self.0.contains(&port) { inner.reset() } else { Ok(()) }
    }
}

#[derive(Default)]
struct KeyboardBusy {
    got_command: bool,
}

impl Bug for KeyboardBusy {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        self.got_command |= port == reg::KEYBOARD_STATUS;
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        let full = port == reg::KEYBOARD_STATUS && self.got_command;
        Ok(if full { value | 0x02 } else { value })
    }
}

struct KeyboardDeaf;

impl Bug for KeyboardDeaf {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::KEYBOARD_STATUS {
            return Ok(());
        }
        inner.port_write(port, width, value)
    }
}

struct PortOnes {
    port: u16,
}

impl Bug for PortOnes {
    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        Ok(if port == self.port { width.mask() as u32 } else { value })
    }
}

/// A transport at this address that has no device.
struct EmptyTransport(u64);

impl Bug for EmptyTransport {
    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        Ok(if gpa == self.0 { 0x7472_6976 } else { value })
    }
}

#[derive(Default)]
struct FirmwareCopied {
    before: BTreeMap<u64, u32>,
}

impl Bug for FirmwareCopied {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if FIRMWARE_HIGH.contains(&gpa) && width == Width::Dword {
            let low = gpa - FIRMWARE_HIGH.start + FIRMWARE_LOW.start;
            let before = inner.load(low, width)? as u32;
            self.before.entry(low).or_insert(before);
        }
        inner.store(gpa, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        match self.before.get(&gpa) {
            Some(&before) if width == Width::Dword => Ok(u64::from(before)),
            _ => inner.load(gpa, width),
        }
    }
}

#[derive(Default)]
struct FirmwareKept {
    written: BTreeMap<u64, (Width, u64)>,
}

impl Bug for FirmwareKept {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if FIRMWARE_HIGH.contains(&gpa) || FIRMWARE_LOW.contains(&gpa) {
            self.written.insert(gpa, (width, value));
        }
        inner.store(gpa, width, value)
    }

    fn reset(&mut self, inner: &mut dyn Machine) -> Result<(), Stop> {
        inner.reset()?;
        for (&gpa, &(width, value)) in &self.written {
            inner.store(gpa, width, value)?;
        }
        Ok(())
    }
}

struct FirmwareReadOnly;

impl Bug for FirmwareReadOnly {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if FIRMWARE_HIGH.contains(&gpa) || FIRMWARE_LOW.contains(&gpa) {
            return Ok(());
        }
        inner.store(gpa, width, value)
    }
}

/// The two places of a firmware of 64 KiB.
const FIRMWARE_LOW: Range<u64> = 0xf_0000..0x10_0000;
const FIRMWARE_HIGH: Range<u64> = 0xffff_0000..0x1_0000_0000;

struct HoleReadsOnes;

impl Bug for HoleReadsOnes {
    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let hole = (0xd000_0000..0xfe00_0000).contains(&gpa);
        Ok(if hole && value == 0 { width.mask() } else { value })
    }
}

struct SplitAt1g;

impl Bug for SplitAt1g {
    fn setup(&self, setup: &mut Setup) {
        setup.max_ram_below_4g = setup.max_ram_below_4g.or(Some(1 << 30));
    }
}

struct VgaHole;

impl Bug for VgaHole {
    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        Ok(if (0xa_0000..0xc_0000).contains(&gpa) {
            width.mask()
        } else {
            value
        })
    }
}

/// A register of the RTC without some of its bits.
struct RtcRegister {
    register: u32,
    mask: u32,
    index: u32,
}

impl RtcRegister {
    fn new(register: u32, mask: u32) -> RtcRegister {
        RtcRegister {
            register,
            mask,
            index: 0,
        }
    }
}

impl Bug for RtcRegister {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::CMOS_INDEX {
            self.index = value & 0x7f;
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        let here = (port, self.index) == (reg::CMOS_DATA, self.register);
        Ok(if here { value & self.mask } else { value })
    }
}

struct NmiMaskInIndex;

impl Bug for NmiMaskInIndex {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::CMOS_INDEX && value & 0x80 != 0 {
            return Ok(());
        }
        inner.port_write(port, width, value)
    }
}

#[derive(Default)]
struct RtcFlagsKept {
    index: u32,
    flags: u32,
}

impl Bug for RtcFlagsKept {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::CMOS_INDEX {
            self.index = value & 0x7f;
        }
        inner.port_write(port, width, value)
    }

    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        if (port, self.index) != (reg::CMOS_DATA, reg::RTC_REGISTER_C) {
            return Ok(value);
        }
        self.flags |= value;
        Ok(self.flags)
    }
}

/// A port whose reads lack some bits.
struct PortMask {
    port: u16,
    mask: u32,
}

impl Bug for PortMask {
    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        Ok(if port == self.port { value & self.mask } else { value })
    }
}

struct NoThre;

impl Bug for NoThre {
    fn port_read(&mut self, inner: &mut dyn Machine, port: u16, width: Width) -> Result<u32, Stop> {
        let value = inner.port_read(port, width)?;
        let empty = port == reg::SERIAL_IIR && value & 0x0f == 0x02;
        Ok(if empty { value & 0xf0 | 0x01 } else { value })
    }
}

struct BlkCapacity;

impl Bug for BlkCapacity {
    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let capacity = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_CONFIG;
        Ok(if capacity { value + 1 } else { value })
    }
}

/// Requests of one type whose status is not what it should be. The driver makes one available at a time.
struct BlkStatus {
    kind: u32,
    right: u8,
    wrong: u8,
    desc: u64,
    avail: u64,
}

impl BlkStatus {
    fn new(kind: u32, right: u8, wrong: u8) -> BlkStatus {
        BlkStatus {
            kind,
            right,
            wrong,
            desc: 0,
            avail: 0,
        }
    }

    /// Changes the status of the last request made available.
    fn spoil(&self, inner: &mut dyn Machine) -> Result<(), Stop> {
        let idx = read_number(inner, self.avail + 2, 2)?;
        let entry = idx.wrapping_sub(1) % reg::BLK_QUEUE_SIZE;
        let head = read_number(inner, self.avail + 4 + 2 * entry, 2)?;
        let mut at = self.desc + 16 * head;
        let header = read_number(inner, at, 8)?;
        while read_number(inner, at + 12, 2)? & 1 != 0 {
            at = self.desc + 16 * read_number(inner, at + 14, 2)?;
        }
        let status = read_number(inner, at, 8)? + read_number(inner, at + 8, 4)? - 1;
        let right = read_number(inner, status, 1)? == u64::from(self.right);
        if right && read_number(inner, header, 4)? == u64::from(self.kind) {
            inner.write_memory(status, &[self.wrong])?;
        }
        Ok(())
    }
}

impl Bug for BlkStatus {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        inner.store(gpa, width, value)?;
        match gpa & reg::VIRTIO_OFFSET {
            _ if !reg::in_virtio(gpa) => Ok(()),
            reg::VIRTIO_QUEUE_DESC => {
                self.desc = value;
                Ok(())
            }
            reg::VIRTIO_QUEUE_DRIVER => {
                self.avail = value;
                Ok(())
            }
            reg::VIRTIO_QUEUE_NOTIFY => self.spoil(inner),
            _ => Ok(()),
        }
    }
}

/// A chain that came back from a modern device.
struct UsedChain {
    queue: usize,
    /// Where its element of the used ring is.
    entry: u64,
    /// Where its first buffer is.
    buffer: u64,
    /// The length in the used ring.
    length: u32,
}

/// What is done to each chain that comes back.
type Spoil = fn(&mut dyn Machine, &UsedChain) -> Result<(), Stop>;

/// A device of two queues of 16 descriptors that completes each request at its notification, and gets it wrong.
struct QueueBug {
    spoil: Spoil,
    queue_sel: usize,
    desc: [u64; 2],
    used: [u64; 2],
    seen: [u64; 2],
}

impl QueueBug {
    fn new(spoil: Spoil) -> QueueBug {
        QueueBug {
            spoil,
            queue_sel: 0,
            desc: [0; 2],
            used: [0; 2],
            seen: [0; 2],
        }
    }

    fn spoil_new(&mut self, inner: &mut dyn Machine) -> Result<(), Stop> {
        for queue in 0..2 {
            let idx = match self.used[queue] {
                0 => 0,
                used => read_number(inner, used + 2, 2)?,
            };
            while self.seen[queue] < idx {
                let entry = self.used[queue] + 4 + 8 * (self.seen[queue] % reg::PAIR_QUEUE_SIZE);
                let head = read_number(inner, entry, 4)?;
                let used = UsedChain {
                    queue,
                    entry,
                    buffer: read_number(inner, self.desc[queue] + 16 * head, 8)?,
                    length: read_number(inner, entry + 4, 4)? as u32,
                };
                (self.spoil)(inner, &used)?;
                self.seen[queue] += 1;
            }
        }
        Ok(())
    }
}

impl Bug for QueueBug {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        inner.store(gpa, width, value)?;
        match gpa & reg::VIRTIO_OFFSET {
            _ if !reg::in_virtio(gpa) => {}
            reg::VIRTIO_QUEUE_SEL => self.queue_sel = (value & 1) as usize,
            reg::VIRTIO_QUEUE_DESC => self.desc[self.queue_sel] = value,
            reg::VIRTIO_QUEUE_DEVICE => (self.used[self.queue_sel], self.seen[self.queue_sel]) = (value, 0),
            reg::VIRTIO_QUEUE_NOTIFY => self.spoil_new(inner)?,
            _ => {}
        }
        Ok(())
    }
}

/// A request to send that came back is said to be written.
fn count_sent(inner: &mut dyn Machine, used: &UsedChain) -> Result<(), Stop> {
    match used.queue {
        0 => Ok(()),
        _ => inner.write_memory(used.entry + 4, &72_u32.to_le_bytes()),
    }
}

/// A byte of the configuration space with some bits turned over.
struct NetConfig {
    field: u64,
    xor: u64,
}

impl Bug for NetConfig {
    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let here = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_CONFIG + self.field;
        Ok(if here { value ^ self.xor } else { value })
    }
}

/// Features of word 0 that are offered beyond what the device has.
struct NetFeatures(u64);

impl Bug for NetFeatures {
    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        // Word 1 is recognised by VERSION_1 alone.
        let word_0 = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_DEVICE_FEATURES && value != 1;
        Ok(if word_0 { value | self.0 } else { value })
    }
}

struct EmergencyIgnored;

impl Bug for EmergencyIgnored {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let emergency = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_CONFIG + 8;
        if emergency {
            Ok(())
        } else {
            inner.store(gpa, width, value)
        }
    }
}

/// Remembers the table of the receive queue when the device is reset, and fills its first buffer afterwards.
#[derive(Default)]
struct BuffersKept {
    queue_sel: u64,
    desc: u64,
    buffer: u64,
}

impl Bug for BuffersKept {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        inner.store(gpa, width, value)?;
        match gpa & reg::VIRTIO_OFFSET {
            _ if !reg::in_virtio(gpa) => {}
            reg::VIRTIO_QUEUE_SEL => self.queue_sel = value,
            reg::VIRTIO_QUEUE_DESC if self.queue_sel == 0 => self.desc = value,
            reg::VIRTIO_STATUS if value == 0 && self.desc != 0 && self.buffer == 0 => {
                self.buffer = read_number(inner, self.desc, 8)?;
            }
            reg::VIRTIO_QUEUE_NOTIFY if value == 1 && self.buffer != 0 => inner.write_memory(self.buffer, &[0; 12])?,
            _ => {}
        }
        Ok(())
    }
}

/// A little-endian number in guest memory.
fn read_number(inner: &mut dyn Machine, gpa: u64, length: usize) -> Result<u64, Stop> {
    let mut bytes = [0; 8];
    inner.read_memory(gpa, &mut bytes[..length])?;
    Ok(u64::from_le_bytes(bytes))
}

struct FeaturesRepeat;

impl Bug for FeaturesRepeat {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let select = gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_DEVICE_FEATURES_SEL && reg::in_virtio(gpa);
        inner.store(gpa, width, if select { value.min(1) } else { value })
    }
}

struct StatusReadClears;

impl Bug for StatusReadClears {
    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        if reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_INTERRUPT_STATUS && value != 0 {
            let acknowledge = gpa - reg::VIRTIO_INTERRUPT_STATUS + reg::VIRTIO_INTERRUPT_ACK;
            inner.store(acknowledge, width, value)?;
        }
        Ok(value)
    }
}

struct LineOffByOne;

impl Bug for LineOffByOne {
    fn line_events(&mut self, inner: &mut dyn Machine) -> Result<Vec<LineEvent>, Stop> {
        let mut events = inner.line_events()?;
        for event in &mut events {
            event.gsi += 1;
        }
        Ok(events)
    }
}

#[derive(Default)]
struct QueueReadyKept {
    kept: bool,
    was_reset: bool,
}

impl Bug for QueueReadyKept {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if reg::in_virtio(gpa) {
            match gpa & reg::VIRTIO_OFFSET {
                reg::VIRTIO_QUEUE_READY => (self.kept, self.was_reset) = (value == 1, false),
                reg::VIRTIO_STATUS => self.was_reset |= value == 0,
                _ => {}
            }
        }
        inner.store(gpa, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let ready = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_QUEUE_READY;
        Ok(if ready && self.kept && self.was_reset { 1 } else { value })
    }
}

#[derive(Default)]
struct IoapicUnmasked {
    index: u64,
}

impl Bug for IoapicUnmasked {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if gpa == reg::IOAPIC_SELECT {
            self.index = value;
        }
        inner.store(gpa, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let entry = gpa == reg::IOAPIC_WINDOW && reg::IOAPIC_ENTRIES_FROM <= self.index;
        // Bit 16 alone is an entry as power-on leaves it.
        Ok(if entry && value == 1 << 16 { 0 } else { value })
    }
}

/// Ports and numbers that bugs look at, from the same documents as the cases.
mod reg {
    pub(super) const CMOS_INDEX: u16 = 0x70;
    pub(super) const CMOS_DATA: u16 = 0x71;
    pub(super) const CMOS_MEMORY_ABOVE_16M_HIGH: u32 = 0x35;
    pub(super) const KEYBOARD_DATA: u16 = 0x60;
    pub(super) const KEYBOARD_STATUS: u16 = 0x64;
    pub(super) const FW_CFG_SELECTOR: u16 = 0x510;
    pub(super) const FW_CFG_DATA: u16 = 0x511;
    pub(super) const FW_CFG_DMA_HIGH: u16 = 0x514;
    pub(super) const FW_CFG_DMA_LOW: u16 = 0x518;
    pub(super) const KEY_CMDLINE: u32 = 0x15;
    pub(super) const RTC_REGISTER_C: u32 = 0x0c;
    pub(super) const SERIAL_IIR: u16 = 0x3fa;
    pub(super) const IOAPIC_SELECT: u64 = 0xfec0_0000;
    pub(super) const IOAPIC_WINDOW: u64 = 0xfec0_0010;
    pub(super) const IOAPIC_ENTRIES_FROM: u64 = 0x10;
    pub(super) const VIRTIO_DEVICE_FEATURES: u64 = 0x010;
    pub(super) const VIRTIO_DEVICE_FEATURES_SEL: u64 = 0x014;
    pub(super) const VIRTIO_QUEUE_SEL: u64 = 0x030;
    pub(super) const VIRTIO_QUEUE_READY: u64 = 0x044;
    pub(super) const VIRTIO_QUEUE_NOTIFY: u64 = 0x050;
    pub(super) const VIRTIO_INTERRUPT_STATUS: u64 = 0x060;
    pub(super) const VIRTIO_INTERRUPT_ACK: u64 = 0x064;
    pub(super) const VIRTIO_STATUS: u64 = 0x070;
    pub(super) const VIRTIO_QUEUE_DESC: u64 = 0x080;
    pub(super) const VIRTIO_QUEUE_DRIVER: u64 = 0x090;
    pub(super) const VIRTIO_QUEUE_DEVICE: u64 = 0x0a0;
    pub(super) const VIRTIO_CONFIG: u64 = 0x100;
    /// Types of block requests and values of their status.
    pub(super) const BLK_IN: u32 = 0;
    pub(super) const BLK_OUT: u32 = 1;
    pub(super) const BLK_FLUSH: u32 = 4;
    pub(super) const BLK_OK: u8 = 0;
    pub(super) const BLK_IOERR: u8 = 1;
    pub(super) const BLK_UNSUPP: u8 = 2;
    /// Size of the queue that the cases of block devices set up.
    pub(super) const BLK_QUEUE_SIZE: u64 = 16;
    /// Size of each queue that the cases of networks and consoles set up.
    pub(super) const PAIR_QUEUE_SIZE: u64 = 16;
    /// Feature bits of word 0, and an offset in the header of a frame.
    pub(super) const NET_HOST_TSO4: u64 = 1 << 11;
    pub(super) const ANY_LAYOUT: u64 = 1 << 27;
    pub(super) const NET_NUM_BUFFERS: u64 = 10;
    /// The part of an address within one transport.
    pub(super) const VIRTIO_OFFSET: u64 = 0x1ff;

    /// Whether an address lies in the eight transports of either profile.
    pub(super) fn in_virtio(gpa: u64) -> bool {
        [0xc000_0000, 0xfeb0_0000].contains(&(gpa & !0xfff))
    }

    /// Keys that name nothing on this machine.
    pub(super) const KEYS_UNUSED: std::ops::Range<u32> = 0x1a..0x20;
}
