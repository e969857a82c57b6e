//! Target `virtio_mmio`: all transports' registers and the entropy device's queue in RAM, in both versions.

use std::collections::BTreeMap;
use std::ops::Range;

use conformance::machine::Width;
use conformance::program::Action;
use vmm::board::Slot;
use vmm::board::config::{Config, DeviceConfig, DeviceKind};
use vmm::board::profile::MICROVM_2019;
use vmm::machine::Machine;

use crate::canary::{Canary, Watch};
use crate::execution::{Answer, inspect};
use crate::target::{Record, SCRATCH, Setup, Target, Window, small};

/// The target.
pub static VIRTIO_MMIO: Target = Target {
    name: "virtio_mmio",
    title: "virtio-mmio: registers of eight transports, queues of two entropy devices",
    setups: &[
        Setup {
            name: "modern",
            options: "--machine microvm,virtio-mmio=modern,pit=off,pic=off,rtc=off,isa-serial=off -m 5M \
                      --device virtio-rng --device virtio-rng",
            config: || config(true),
        },
        Setup {
            name: "legacy",
            options: "--machine microvm,virtio-mmio=legacy,pit=off,pic=off,rtc=off,isa-serial=off -m 5M \
                      --device virtio-rng --device virtio-rng",
            config: || config(false),
        },
    ],
    setups_rare: 0,
    ports: &[],
    memory: &[
        // Registers of the two devices, then anything in any slot.
        Window {
            base: TRANSPORTS + 7 * STRIDE,
            unit_bytes: 4,
            count: 0x80,
        },
        Window {
            base: TRANSPORTS + 6 * STRIDE,
            unit_bytes: 4,
            count: 0x80,
        },
        // Where the cases have a descriptor table, an available ring, and then anything.
        Window {
            base: SCRATCH.base,
            unit_bytes: 16,
            count: 0x100,
        },
        Window {
            base: SCRATCH.base + 0x1000,
            unit_bytes: 2,
            count: 0x100,
        },
        SCRATCH,
        // Where a small legacy queue has its available ring.
        Window {
            base: SCRATCH.base,
            unit_bytes: 2,
            count: 0x100,
        },
        Window {
            base: TRANSPORTS,
            unit_bytes: 1,
            count: 8 * STRIDE as u32,
        },
    ],
    record: Record::SplitDescriptor,
    canaries: &[
        Canary {
            name: "activated",
            meaning: "DRIVER_OK was set while a queue was set up.",
        },
        Canary {
            name: "broken-ring",
            meaning: "A ring could not be followed and the device stopped.",
        },
        Canary {
            name: "buffer-used",
            meaning: "A version 2 device filled a buffer and put it into the used ring.",
        },
        Canary {
            name: "buffer-used-legacy",
            meaning: "A version 1 device filled a buffer and put it into the used ring.",
        },
        Canary {
            name: "features-ok",
            meaning: "FEATURES_OK was accepted.",
        },
        Canary {
            name: "features-refused",
            meaning: "FEATURES_OK was refused, because the driver accepted what was not offered.",
        },
        Canary {
            name: "line-high",
            meaning: "A device raised its interrupt line.",
        },
        Canary {
            name: "needs-reset",
            meaning: "DEVICE_NEEDS_RESET was set.",
        },
    ],
    watch: || Box::<VirtioWatch>::default(),
    guard,
    areas: &["virtio-mmio", "virtqueue"],
    setup_of: |setup| Some(if setup.modern { "modern" } else { "legacy" }),
};

fn config(modern: bool) -> Config {
    let rng = DeviceConfig {
        kind: DeviceKind::Rng,
        transport: None,
    };
    Config {
        virtio_modern: modern,
        devices: vec![rng.clone(), rng],
        ..small(Config::new(&MICROVM_2019))
    }
}

/// One transport's state as it shows itself.
struct State(BTreeMap<String, String>);

impl State {
    fn of(machine: &Machine, transport: u8) -> State {
        State(inspect(machine, Slot::VirtioMmio(transport)).into_iter().collect())
    }

    fn text(&self, field: &str) -> &str {
        self.0
            .get(field)
            .unwrap_or_else(|| panic!("a transport shows its {field}"))
    }

    fn number(&self, field: &str) -> u64 {
        let text = self.text(field);
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.unwrap_or_else(|_| panic!("a transport shows its {field} as a number"))
    }

    /// How many queues the device has; 0 where there is no device.
    fn queues(&self) -> u8 {
        let has = |queue: &u8| self.0.contains_key(&format!("queue{queue:02}.layout"));
        (0..QUEUES_MAX).take_while(has).count() as u8
    }

    /// Descriptor table, available ring and used ring of a queue, once the driver has given it to the device.
    fn layout(&self, queue: u8) -> Option<[u64; 3]> {
        let text = self.text(&format!("queue{queue:02}.layout"));
        let part = |name: &str| {
            let rest = text.split_once(name)?.1;
            let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
            u64::from_str_radix(&digits, 16).ok()
        };
        Some([part("desc: ")?, part("avail: ")?, part("used: ")?])
    }
}

#[derive(Default)]
struct VirtioWatch;

impl Watch for VirtioWatch {
    fn before(&mut self, _machine: &Machine, _action: &Action) {}

    fn after(&mut self, machine: &Machine, action: &Action, _answer: &Answer, reached: &mut dyn FnMut(&'static str)) {
        for transport in OCCUPIED {
            let state = State::of(machine, transport);
            let status = state.number("status");
            if status & status::FEATURES_OK != 0 {
                reached("features-ok");
            }
            if status & status::DRIVER_OK != 0 && state.layout(0).is_some() {
                reached("activated");
            }
            if status & status::DEVICE_NEEDS_RESET != 0 {
                reached("needs-reset");
            }
            if state.text("broken") != "no" {
                reached("broken-ring");
            }
            if state.number("queue00.next_used") != 0 {
                let modern = state.number("version") == 2;
                reached(if modern { "buffer-used" } else { "buffer-used-legacy" });
            }
            if machine.line_level(GSI_FIRST + transport) {
                reached("line-high");
            }
            let status_register = TRANSPORTS + u64::from(transport) * STRIDE + REGISTER_STATUS;
            if let Action::Store {
                gpa,
                width: Width::Dword,
                value,
            } = *action
                && gpa == status_register
                && value & status::FEATURES_OK != 0
                && status & status::FEATURES_OK == 0
                && status != 0
            {
                reached("features-refused");
            }
        }
    }
}

/// A device may write its used ring, and the buffers that the driver's descriptors give it.
///
/// Says nothing when a device could overwrite what it reads its orders from, for then the descriptors found here are
/// not those it follows.
pub(super) fn guard(machine: &Machine, action: &Action) -> Option<Vec<Range<u64>>> {
    match action {
        Action::Store { gpa, width, .. } if starts_processing(*gpa, *width) => {}
        Action::Advance { .. } => {}
        _ => return None,
    }
    let mut orders = Orders::default();
    for transport in 0..8 {
        let state = State::of(machine, transport);
        for queue in 0..state.queues() {
            let Some([desc, avail, used]) = state.layout(queue) else {
                continue;
            };
            let size = state.number(&format!("queue{queue:02}.size"));
            orders.read.push(desc..desc.saturating_add(16 * size));
            orders.read.push(avail..avail.saturating_add(6 + 2 * size));
            orders.written.push(used..used.saturating_add(6 + 8 * size));
            orders.table(machine, desc, size, true)?;
        }
    }
    let overlaps = |read: &Range<u64>| {
        let mut written = orders.written.iter();
        written.any(|written| written.start < read.end && read.start < written.end)
    };
    (!orders.read.iter().any(overlaps)).then_some(orders.written)
}

/// Whether a store reaches a register of which a write makes a device look at its queues.
fn starts_processing(gpa: u64, width: Width) -> bool {
    let Some(offset) = gpa.checked_sub(TRANSPORTS).filter(|offset| *offset < 8 * STRIDE) else {
        return false;
    };
    let touched = offset % STRIDE..offset % STRIDE + width.bytes() as u64;
    touched.contains(&REGISTER_QUEUE_NOTIFY) || touched.contains(&REGISTER_STATUS)
}

/// What descriptors tell a device to read and to write.
#[derive(Default)]
struct Orders {
    read: Vec<Range<u64>>,
    written: Vec<Range<u64>>,
}

impl Orders {
    /// Every descriptor of a table, in use or not; `None` when there are too many to look at.
    fn table(&mut self, machine: &Machine, table: u64, count: u64, indirect: bool) -> Option<()> {
        for index in 0..count {
            let mut descriptor = [0; 16];
            let at = table.checked_add(16 * index)?;
            if machine.memory().read(at, &mut descriptor).is_err() {
                return Some(());
            }
            let whole = u128::from_le_bytes(descriptor);
            let (address, length, flags) = (whole as u64, (whole >> 64) as u32, (whole >> 96) as u16);
            let range = address..address.saturating_add(u64::from(length));
            if flags & descriptor::INDIRECT != 0 && indirect {
                self.read.push(range);
                self.table(machine, address, u64::from(length / 16).min(TABLE_LENGTH_MAX), false)?;
            } else if flags & descriptor::WRITE != 0 && length != 0 {
                self.written.push(range);
            }
            if RANGES_MAX < self.written.len() + self.read.len() {
                return None;
            }
        }
        Some(())
    }
}

/// Registers of transport 0, from one transport to the next, and transport 0's interrupt: microvm as first specified.
const TRANSPORTS: u64 = 0xc000_0000;
const STRIDE: u64 = 0x200;
const GSI_FIRST: u8 = 5;
const REGISTER_QUEUE_NOTIFY: u64 = 0x50;
const REGISTER_STATUS: u64 = 0x70;

/// Transports with a device: they fill up from the last.
const OCCUPIED: [u8; 2] = [6, 7];

/// More queues than any device has.
const QUEUES_MAX: u8 = 8;

/// Longest indirect table looked at: the device follows no longer chain.
const TABLE_LENGTH_MAX: u64 = 1024;

/// Most ranges that one look at the tables may give.
const RANGES_MAX: usize = 4096;

/// Bits of `Status`. Virtio 1.2, 2.1.
mod status {
    pub(super) const DRIVER_OK: u64 = 1 << 2;
    pub(super) const FEATURES_OK: u64 = 1 << 3;
    pub(super) const DEVICE_NEEDS_RESET: u64 = 1 << 6;
}

/// Flags of a descriptor. Virtio 1.2, 2.7.5.
mod descriptor {
    pub(super) const WRITE: u16 = 1 << 1;
    pub(super) const INDIRECT: u16 = 1 << 2;
}
