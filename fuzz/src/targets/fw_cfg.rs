//! Target `fw_cfg`: selector and data ports, the DMA interface, and its descriptors in RAM.

use std::ops::Range;

use conformance::machine::Width;
use conformance::program::Action;
use vmm::board::Slot;
use vmm::board::config::Config;
use vmm::board::profile::{MICROVM_2019, QEMU_7_2};
use vmm::machine::Machine;

use crate::canary::{Canary, Watch};
use crate::execution::{Answer, inspect};
use crate::target::{Record, SCRATCH, Setup, Target, Window, small};

/// The target.
pub static FW_CFG: Target = Target {
    name: "fw_cfg",
    title: "fw_cfg: selector and data ports, DMA",
    setups: &[
        Setup {
            name: "plain",
            options: "--machine microvm,pit=off,pic=off,rtc=off,isa-serial=off -m 5M",
            config: || small(Config::new(&MICROVM_2019)),
        },
        Setup {
            name: "files",
            options: "--machine microvm,pit=off,pic=off,rtc=off,isa-serial=off -m 5M \
                      (and 28 files opt/00, opt/01 ..., of 37 bytes times their number)",
            config: with_files,
        },
        Setup {
            name: "qemu",
            options: "--machine microvm,profile=qemu-7.2,pit=off,pic=off,rtc=off,isa-serial=off -m 5M",
            config: || small(Config::new(&QEMU_7_2)),
        },
    ],
    // Many files take long to build, and so does a tree of devices of 1 MiB.
    setups_rare: 2,
    ports: &[
        Window {
            base: PORT_SELECTOR as u64,
            unit_bytes: 1,
            count: 12,
        },
        Window {
            base: PORT_DMA as u64,
            unit_bytes: 4,
            count: 2,
        },
    ],
    memory: &[
        Window {
            base: SCRATCH.base,
            unit_bytes: 16,
            count: 0x100,
        },
        // Where the cases have descriptors and buffers. Each page that is touched costs, so no more of them.
        Window {
            base: SCRATCH.base,
            unit_bytes: 16,
            count: 0x1000,
        },
        Window {
            base: SCRATCH.base,
            unit_bytes: 1,
            count: 0x100,
        },
    ],
    record: Record::FwCfgDma,
    canaries: &[
        Canary {
            name: "address-above-4g",
            meaning: "A transfer was started with a descriptor address above 4 GiB.",
        },
        Canary {
            name: "directory-walked",
            meaning: "The file directory was read past its first entry.",
        },
        Canary {
            name: "dma-error",
            meaning: "A transfer ended in ERROR.",
        },
        Canary {
            name: "dma-past-end",
            meaning: "A transfer read more than was left of the item.",
        },
        Canary {
            name: "dma-read",
            meaning: "A transfer read from an item and ended well.",
        },
        Canary {
            name: "dma-skip",
            meaning: "A transfer moved the offset without reading.",
        },
        Canary {
            name: "file-read",
            meaning: "A byte of a file was read through the data port.",
        },
        Canary {
            name: "selector-out-of-range",
            meaning: "A selector past the last file was written.",
        },
    ],
    watch: || Box::<FwCfgWatch>::default(),
    guard,
    areas: &["fw-cfg", "fw-cfg-dma"],
    setup_of: |_| Some("plain"),
};

/// As many files as the directory has room for, of many lengths.
fn with_files() -> Config {
    let files = (0..FILES).map(|index| (format!("opt/{index:02}"), vec![index as u8 + 1; 37 * index]));
    Config {
        fw_cfg_files: files.collect(),
        ..small(Config::new(&MICROVM_2019))
    }
}

/// What an access to the DMA register starts.
struct Transfer {
    gpa: u64,
    control: u32,
    length: u32,
    address: u64,
}

/// The transfer that an action is about to start; `None` when it starts none, or by a way that only hostile guests go
/// (an access that is cut).
fn transfer(machine: &Machine, action: &Action) -> Option<Transfer> {
    let &Action::PortWrite { port, width, value } = action else {
        return None;
    };
    if port != PORT_DMA + 4 || width != Width::Dword {
        return None;
    }
    let gpa = hex(machine, "dma_address") | u64::from(value.swap_bytes());
    let mut descriptor = [0; 16];
    // A descriptor outside RAM is all zeros here: no operation.
    let _partly = machine.memory().read(gpa, &mut descriptor);
    let whole = u128::from_be_bytes(descriptor);
    Some(Transfer {
        gpa,
        control: (whole >> 96) as u32,
        length: (whole >> 64) as u32,
        address: whole as u64,
    })
}

/// A transfer may write its control word, and its buffer when it reads.
fn guard(machine: &Machine, action: &Action) -> Option<Vec<Range<u64>>> {
    let transfer = transfer(machine, action)?;
    let mut ranges = ring_of_addresses(transfer.gpa, 4);
    if transfer.control & control::READ != 0 {
        ranges.extend(ring_of_addresses(transfer.address, u64::from(transfer.length)));
    }
    Some(ranges)
}

/// `length` addresses from `from` on; they go on at 0 after the last one.
fn ring_of_addresses(from: u64, length: u64) -> Vec<Range<u64>> {
    let wrapped = match from.checked_add(length) {
        Some(_) => 0,
        None => from.wrapping_add(length),
    };
    vec![from..from.saturating_add(length), 0..wrapped]
}

#[derive(Default)]
struct FwCfgWatch {
    transfer: Option<Transfer>,
    /// Offset in the selected item before the action.
    offset: u64,
}

impl Watch for FwCfgWatch {
    fn before(&mut self, machine: &Machine, action: &Action) {
        self.transfer = transfer(machine, action);
        self.offset = hex(machine, "offset");
    }

    fn after(&mut self, machine: &Machine, action: &Action, _answer: &Answer, reached: &mut dyn FnMut(&'static str)) {
        let (key, offset) = (hex(machine, "key"), hex(machine, "offset"));
        if key == KEY_FILE_DIR && 4 + 64 < offset {
            reached("directory-walked");
        }
        match action {
            Action::PortRead { .. } if FILE_KEYS.contains(&key) && self.offset < offset => {
                reached("file-read");
            }
            Action::PortWrite {
                port: PORT_SELECTOR,
                width: Width::Word,
                value,
            } if FILE_KEYS.end <= u64::from(value & 0x3fff) => reached("selector-out-of-range"),
            _ => {}
        }
        let Some(transfer) = &self.transfer else {
            return;
        };
        if u64::from(u32::MAX) < transfer.gpa {
            reached("address-above-4g");
        }
        let mut status = [0; 4];
        if machine.memory().read(transfer.gpa, &mut status).is_err() {
            return;
        }
        let moved = if transfer.control & control::SELECT == 0 {
            offset.wrapping_sub(self.offset)
        } else {
            offset
        };
        match u32::from_be_bytes(status) {
            control::ERROR => reached("dma-error"),
            0 if transfer.control & control::READ != 0 && moved != 0 => {
                reached("dma-read");
                if moved < u64::from(transfer.length) {
                    reached("dma-past-end");
                }
            }
            0 if transfer.control & control::SKIP != 0 && moved != 0 => reached("dma-skip"),
            _ => {}
        }
    }
}

/// A field of the device's state.
fn hex(machine: &Machine, field: &str) -> u64 {
    let fields = inspect(machine, Slot::FwCfg);
    let value = fields.iter().find(|(name, _)| name == field);
    let digits = value.and_then(|(_, value)| value.strip_prefix("0x"));
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .unwrap_or_else(|| panic!("fw_cfg shows its {field} in hexadecimal"))
}

const PORT_SELECTOR: u16 = 0x510;
const PORT_DMA: u16 = 0x514;
const KEY_FILE_DIR: u64 = 0x19;
/// Keys that files can have.
const FILE_KEYS: Range<u64> = 0x20..0x40;

/// Files beside the machine's own, so that the directory is full.
const FILES: usize = 28;

/// Bits of a DMA descriptor's control word.
mod control {
    pub(super) const ERROR: u32 = 1 << 0;
    pub(super) const READ: u32 = 1 << 1;
    pub(super) const SKIP: u32 = 1 << 2;
    pub(super) const SELECT: u32 = 1 << 3;
}
