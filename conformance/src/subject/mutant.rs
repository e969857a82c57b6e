//! The reference machine with one named bug: the case that hunts it must fail.
//!
//! A bug is a filter between the probe and the machine. Each is one that a real VMM had, or the kind of it; `case` is
//! the case that must catch it.

use std::collections::BTreeMap;
use std::ops::Range;

use self::chips::*;
use self::historic::*;
use self::rings::*;
use super::in_process::InProcessAdapter;
use crate::case::{Level, Setup};
use crate::catalog;
use crate::layout::Layout;
use crate::machine::{
    Adapter, BootFailure, Caps, Depth, Facts, HostAction, LineEvent, Machine, Output, Stop, Width, Wire,
};
use crate::verdict::Verdict;

mod chips;
mod historic;
mod rings;

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
        name: "debug-devices-absent",
        title: "The debugging devices are not there though asked for.",
        case: "options/debug-console/on",
        make: |_| Box::new(NoDevices),
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
        name: "fw-cfg-data-write-taken",
        title: "A write to the data port takes a byte of the item.",
        case: "fw-cfg/data/write-ignored",
        make: |_| Box::new(DataWriteTaken),
    },
    Mutant {
        name: "fw-cfg-device-tree-address",
        title: "The device tree says that the serial port is at 0x2f8.",
        case: "fw-cfg/device-tree/addresses",
        make: |_| {
            Box::new(DeviceTree::new(
                &[0, 0, 0x03, 0xf8, 0, 0, 0, 0, 0, 0, 0, 8],
                &[0, 0, 0x02, 0xf8],
            ))
        },
    },
    Mutant {
        name: "fw-cfg-device-tree-end-missing",
        title: "The device tree ends without its last token.",
        case: "fw-cfg/device-tree/structure",
        make: |_| Box::new(DeviceTree::new(&[0, 0, 0, 2, 0, 0, 0, 9], &[0, 0, 0, 2, 0, 0, 0, 4])),
    },
    Mutant {
        name: "fw-cfg-device-tree-input",
        title: "The device tree says that the serial port drives input 3.",
        case: "fw-cfg/device-tree/interrupts",
        make: |_| Box::new(DeviceTree::new(&[0, 0, 0, 4, 0, 0, 0, 0], &[0, 0, 0, 3])),
    },
    Mutant {
        name: "fw-cfg-device-tree-reservations-endless",
        title: "The device tree's list of reserved memory has no end.",
        case: "fw-cfg/device-tree/reservations",
        make: |_| Box::new(DeviceTree::new(&[0; 16], &[1; 16])),
    },
    Mutant {
        name: "fw-cfg-device-tree-version",
        title: "The device tree says that it is of version 16.",
        case: "fw-cfg/device-tree/header",
        make: |_| Box::new(DeviceTree::new(&[0, 0, 0, 17, 0, 0, 0, 16], &[0, 0, 0, 16])),
    },
    Mutant {
        name: "fw-cfg-dma-address-kept",
        title: "The high half of the DMA address is kept after a transfer.",
        case: "fw-cfg-dma/address/used-once",
        make: |_| Box::<DmaAddressKept>::default(),
    },
    Mutant {
        name: "fw-cfg-dma-enters-device",
        title: "A DMA transfer into a device's registers is carried out.",
        case: "fw-cfg-dma/fault/into-device",
        make: |_| Box::<DmaEntersDevice>::default(),
    },
    Mutant {
        name: "fw-cfg-dma-error-hidden",
        title: "A DMA transfer that failed reports success.",
        case: "fw-cfg-dma/write/read-only-item",
        make: |_| Box::<DmaErrorHidden>::default(),
    },
    Mutant {
        name: "fw-cfg-dma-length-off-by-one",
        title: "A DMA read leaves its last byte out.",
        case: "fw-cfg-dma/read/whole-item",
        make: |_| Box::<DmaShort>::default(),
    },
    Mutant {
        name: "fw-cfg-select-keeps-offset",
        title: "Selecting the item that is selected already does not begin at its start.",
        case: "fw-cfg/selector/resets-offset",
        make: |_| Box::<SelectKeepsOffset>::default(),
    },
    Mutant {
        name: "fw-cfg-selector-wraps-to-files",
        title: "Keys that name nothing give a file.",
        case: "fw-cfg/data/unknown-item",
        make: |_| Box::new(SelectorWraps),
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
        name: "ioapic-arbitration-zero",
        title: "The arbitration register does not follow the identification.",
        case: "ioapic/arbitration/follows-id",
        make: |_| {
            Box::new(IoapicReads::new(|index, value| {
                if index == reg::IOAPIC_ARBITRATION { 0 } else { value }
            }))
        },
    },
    Mutant {
        name: "ioapic-destination-truncated",
        title: "Only four bits of an entry's destination are kept.",
        case: "ioapic/redirection/each-bit",
        make: |_| {
            Box::new(IoapicReads::new(|index, value| {
                if 0x10 <= index && index % 2 == 1 {
                    value & 0x0f00_0000
                } else {
                    value
                }
            }))
        },
    },
    Mutant {
        name: "ioapic-eoi-any-vector",
        title: "An EOI clears remote IRR of every entry.",
        case: "ioapic/eoi/other-vector",
        make: |_| Box::new(IoapicEoi(|_| 0..0x100)),
    },
    Mutant {
        name: "ioapic-eoi-dropped",
        title: "The EOI register does nothing.",
        case: "ioapic/eoi/clears-remote-irr",
        make: |_| Box::new(IoapicEoi(|_| 0..0)),
    },
    Mutant {
        name: "ioapic-index-past-end-answers",
        title: "Indices past the last entry show what lies behind.",
        case: "ioapic/reserved/reads-zero",
        make: |_| {
            Box::new(IoapicReads::new(
                |index, value| {
                    if 0x40 <= index { 0x1234_5678 } else { value }
                },
            ))
        },
    },
    Mutant {
        name: "ioapic-index-six-bits",
        title: "Only six bits of the select register are decoded.",
        case: "ioapic/index/window-keeps",
        make: |_| Box::new(IoapicIndex),
    },
    Mutant {
        name: "ioapic-remote-irr-hidden",
        title: "Entries never show remote IRR.",
        case: "ioapic/delivery/level-remote-irr",
        make: |_| {
            Box::new(IoapicReads::new(|index, value| {
                if 0x10 <= index && index % 2 == 0 {
                    value & !0x4000
                } else {
                    value
                }
            }))
        },
    },
    Mutant {
        name: "ioapic-timer-always-high",
        title: "The timer's pin of the IOAPIC is high whatever the timer says.",
        case: "ioapic/timer/pin-2",
        make: |_| {
            Box::new(IoapicReads::new(
                |index, value| if index == 0x14 { value | 0x4000 } else { value },
            ))
        },
    },
    Mutant {
        name: "ioapic-timer-on-pin-0",
        title: "The timer interrupts through entry 0.",
        case: "ioapic/timer/pin-2",
        make: |_| Box::new(IoapicTimer),
    },
    Mutant {
        name: "ioapic-unmasked-at-reset",
        title: "The IOAPIC's entries are not masked at power-on.",
        case: "ioapic/redirection/masked-at-reset",
        make: |_| Box::<IoapicUnmasked>::default(),
    },
    Mutant {
        name: "ioapic-version-writable",
        title: "The version register takes what is written.",
        case: "ioapic/version/read-only",
        make: |_| Box::<IoapicVersion>::default(),
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
        name: "option-pic-ignored",
        title: "The machine has its 8259 pair whatever pic says.",
        case: "options/pic/off",
        make: |_| Box::new(Options(&[("rtc", "on")])),
    },
    Mutant {
        name: "option-roms-never",
        title: "No option ROM is offered.",
        case: "options/x-option-roms/on",
        make: |_| Box::new(Options(&[("rtc", "on"), ("x-option-roms", "off")])),
    },
    Mutant {
        name: "pic-auto-eoi-ignored",
        title: "Automatic EOI cannot be selected.",
        case: "pic/auto-eoi/nothing-in-service",
        make: |_| Box::new(PicIcw4::new(|icw4| icw4 & !0x02)),
    },
    Mutant {
        name: "pic-edge-level-bits-free",
        title: "The edge/level registers hold all eight bits.",
        case: "pic/elcr/bits",
        make: |_| Box::new(ElcrEcho::new(true)),
    },
    Mutant {
        name: "pic-edge-level-ignored",
        title: "Every input is edge-triggered whatever its edge/level register says.",
        case: "pic/level/follows-line",
        make: |_| Box::new(ElcrEcho::new(false)),
    },
    Mutant {
        name: "pic-icw1-makes-edges",
        title: "ICW1 makes all inputs edge-triggered.",
        case: "pic/icw/level-request-stays",
        make: |_| Box::new(PicIcw1Edge),
    },
    Mutant {
        name: "pic-icw4-always",
        title: "ICW4 is waited for whatever IC4 says.",
        case: "pic/icw/without-icw4",
        make: |_| {
            Box::new(PicCommands(|value| {
                Some(if value & reg::ICW1 != 0 { value | 1 } else { value })
            }))
        },
    },
    Mutant {
        name: "pic-irr-masked",
        title: "IRR does not show a request that is masked.",
        case: "pic/mask/keeps-request",
        make: |_| Box::<PicIrrMasked>::default(),
    },
    Mutant {
        name: "pic-isr-not-selectable",
        title: "Reads give IRR only.",
        case: "pic/ocw3/isr-select",
        make: |_| {
            Box::new(PicCommands(|value| {
                Some(if value & 0x18 == reg::OCW3 { value & !1 } else { value })
            }))
        },
    },
    Mutant {
        name: "pic-mask-kept-by-icw1",
        title: "ICW1 leaves the mask.",
        case: "pic/icw/clears-imr",
        make: |_| Box::<PicMaskKept>::default(),
    },
    Mutant {
        name: "pic-poll-ignored",
        title: "There is no poll command.",
        case: "pic/poll/acknowledges",
        make: |_| {
            Box::new(PicCommands(|value| {
                Some(if value & 0x18 == reg::OCW3 { value & !4 } else { value })
            }))
        },
    },
    Mutant {
        name: "pic-rotation-halves-input",
        title: "Rotating on a specific EOI ends the service of the input with half the number.",
        case: "pic/rotation/specific-eoi-other",
        make: |_| {
            Box::new(PicCommands(|value| {
                Some(if value & 0xf8 == 0xe0 {
                    value & 0xf8 | (value >> 1 & 3)
                } else {
                    value
                })
            }))
        },
    },
    Mutant {
        name: "pic-rotation-ignored",
        title: "Priorities cannot be rotated.",
        case: "pic/rotation/set-priority",
        make: |_| {
            Box::new(PicCommands(|value| {
                Some(if value & 0x18 == 0 { value & !0x80 } else { value })
            }))
        },
    },
    Mutant {
        name: "pic-single-ignored",
        title: "ICW3 is waited for whatever SNGL says.",
        case: "pic/icw/single",
        make: |_| {
            Box::new(PicCommands(|value| {
                Some(if value & reg::ICW1 != 0 { value & !2 } else { value })
            }))
        },
    },
    Mutant {
        name: "pic-special-mask-ignored",
        title: "There is no special mask mode.",
        case: "pic/special-mask/lets-through",
        make: |_| {
            Box::new(PicCommands(|value| {
                Some(if value & 0x18 == reg::OCW3 {
                    value & !0x60
                } else {
                    value
                })
            }))
        },
    },
    Mutant {
        name: "pic-specific-eoi-ignored",
        title: "A specific EOI ends the service of the highest priority.",
        case: "pic/eoi/specific",
        make: |_| {
            Box::new(PicCommands(|value| {
                Some(if value & 0xf8 == 0x60 { 0x20 } else { value })
            }))
        },
    },
    Mutant {
        name: "pit-bcd-ignored",
        title: "BCD counts are counted in binary.",
        case: "pit/bcd/decades",
        make: |_| Box::new(PitControls(|word| Some(if word >> 6 == 3 { word } else { word & !1 }))),
    },
    Mutant {
        name: "pit-byte-order-kept",
        title: "A control word leaves which byte is read next.",
        case: "pit/control/resets-byte-order",
        make: |_| Box::<PitByteOrder>::default(),
    },
    Mutant {
        name: "pit-control-read-disturbs",
        title: "Reading the control word's port takes a byte of a counter.",
        case: "pit/control/read-harmless",
        make: |_| Box::new(PitControlRead),
    },
    Mutant {
        name: "pit-count-zero-is-one",
        title: "A count of 0 is one clock.",
        case: "pit/count/zero-is-65536",
        make: |_| Box::new(PitCounts::new(|count| count.max(1))),
    },
    Mutant {
        name: "pit-fires-too-early",
        title: "Counters run out at half their count.",
        case: "pit/mode-0/duration",
        make: |_| Box::new(PitCounts::new(|count| count.div_ceil(2))),
    },
    Mutant {
        name: "pit-latch-ignored",
        title: "There is no counter latch command.",
        case: "pit/latch/count-held",
        make: |_| Box::new(PitControls(|word| (word >> 6 == 3 || word & 0x30 != 0).then_some(word))),
    },
    Mutant {
        name: "pit-latch-kept",
        title: "A latched count outlives a control word.",
        case: "pit/latch/control-word-ends",
        make: |_| Box::<PitLatchKept>::default(),
    },
    Mutant {
        name: "pit-line-not-wired",
        title: "The timer's line goes nowhere.",
        case: "pit/counter-0/line",
        make: |_| Box::new(LostEvents(|event| event.gsi == 0)),
    },
    Mutant {
        name: "pit-mode-0-binary",
        title: "In mode 0 counts are binary whatever BCD says.",
        case: "pit/bcd/counts-on",
        make: |_| {
            Box::new(PitControls(|word| {
                Some(if word & 0x0e == 0 && word >> 6 != 3 {
                    word & !1
                } else {
                    word
                })
            }))
        },
    },
    Mutant {
        name: "pit-mode-1-upside-down",
        title: "The one-shot pulse of mode 1 is high, and OUT is low behind it.",
        case: "pit/mode-1/high-after-count",
        make: |_| Box::<PitModeOneUpsideDown>::default(),
    },
    Mutant {
        name: "pit-read-back-ignored",
        title: "There is no read-back command.",
        case: "pit/read-back/counts-of-many",
        make: |_| Box::new(PitControls(|word| (word >> 6 != 3).then_some(word))),
    },
    Mutant {
        name: "ram-past-the-split",
        title: "There is memory past the split, too.",
        case: "memory-map/ram/ends-at-the-split",
        make: |layout| {
            Box::new(PastTheSplit {
                at: layout.ram_low_bytes,
                value: 0,
            })
        },
    },
    Mutant {
        name: "ram-split-at-1g",
        title: "RAM splits at 1 GiB.",
        case: "memory-map/e820/4g",
        make: |_| Box::new(SplitAt1g),
    },
    Mutant {
        name: "rtc-afternoon-not-taken",
        title: "Hours that are set in 12-hour mode lose their PM bit.",
        case: "rtc/time/set-in-twelve-hours",
        make: |_| Box::<AfternoonNotTaken>::default(),
    },
    Mutant {
        name: "rtc-alarm-hours-ignored",
        title: "The alarm comes in every hour.",
        case: "rtc/alarm/each-field",
        make: |_| Box::new(RtcWrites::new(reg::RTC_HOURS_ALARM, |_| 0xff)),
    },
    Mutant {
        name: "rtc-alarm-second-60-is-0",
        title: "An alarm at second 60 comes at second 0.",
        case: "rtc/alarm/no-time",
        make: |_| {
            Box::new(RtcWrites::new(reg::RTC_SECONDS_ALARM, |second| {
                if second == 0x60 { 0 } else { second }
            }))
        },
    },
    Mutant {
        name: "rtc-century-19",
        title: "The century is 19.",
        case: "rtc/century/bcd",
        make: |_| Box::new(RtcReads::new(reg::RTC_CENTURY, |_| 0x19)),
    },
    Mutant {
        name: "rtc-divider-reset-ignored",
        title: "The divider cannot be held in reset.",
        case: "rtc/divider/restarts-rates",
        make: |_| {
            Box::new(RtcWrites::new(reg::RTC_REGISTER_A, |value| {
                if value & 0x60 == 0x60 {
                    value & 0x0f | 0x20
                } else {
                    value
                }
            }))
        },
    },
    Mutant {
        name: "rtc-hours-bit-missing",
        title: "Register B does not show 24-hour mode.",
        case: "rtc/register-b/holds-bits",
        make: |_| Box::new(RtcReads::new(reg::RTC_REGISTER_B, |value| value & !0x02)),
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
        name: "rtc-noon-is-zero",
        title: "In 12-hour mode noon and midnight are hour 0.",
        case: "rtc/format/noon",
        make: |_| {
            Box::new(RtcReads::new(reg::RTC_HOURS, |value| {
                if value & 0x1f == 0x12 { value & 0x80 } else { value }
            }))
        },
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
        name: "rtc-reset-keeps-enables",
        title: "A reset leaves the interrupt enables.",
        case: "rtc/reset/clears-enables",
        make: |_| Box::<RtcResetKeeps>::default(),
    },
    Mutant {
        name: "rtc-set-again-loses-minutes",
        title: "Writing SET again brings back the minutes that the first SET found.",
        case: "rtc/register-b/set-keeps-written",
        make: |_| Box::<RtcSetLatches>::default(),
    },
    Mutant {
        name: "rtc-shows-1970",
        title: "The year is 70.",
        case: "rtc/time/start-date",
        make: |_| Box::new(RtcReads::new(reg::RTC_YEAR, |_| 0x70)),
    },
    Mutant {
        name: "rtc-sunday-is-eight",
        title: "The day after Saturday is the eighth.",
        case: "rtc/time/month-ends",
        make: |_| {
            Box::new(RtcReads::new(
                reg::RTC_DAY_OF_WEEK,
                |day| if day == 1 { 8 } else { day },
            ))
        },
    },
    Mutant {
        name: "rtc-year-9999-overflows",
        title: "The year 9999 is 10000.",
        case: "rtc/time/year-9999",
        make: |_| Box::new(RtcReads::new(reg::RTC_YEAR, |year| if year == 0x99 { 0 } else { year })),
    },
    Mutant {
        name: "serial-delta-of-dtr-missing",
        title: "A change of DSR sets no delta bit.",
        case: "serial/msr/each-delta",
        make: |_| {
            Box::new(PortMask {
                port: reg::SERIAL_MSR,
                mask: 0xfd,
            })
        },
    },
    Mutant {
        name: "serial-divisor-read-takes-byte",
        title: "Reading the divisor latch takes a received byte, too.",
        case: "serial/dlab/hides-receiver",
        make: |_| Box::<DlabPops>::default(),
    },
    Mutant {
        name: "serial-enables-end-thre",
        title: "Any write to IER ends the transmitter's interrupt.",
        case: "serial/thre/other-enables",
        make: |_| Box::<EnablesEndThre>::default(),
    },
    Mutant {
        name: "serial-fcr-empties-fifo",
        title: "Any write to FCR empties the receiver's FIFO.",
        case: "serial/fcr/trigger-keeps-data",
        make: |_| {
            Box::new(PortWrites {
                port: reg::SERIAL_IIR,
                change: |value| value | 2,
            })
        },
    },
    Mutant {
        name: "serial-fcr-empties-transmitter",
        title: "Any write to FCR empties the transmitter.",
        case: "serial/thre/fifo-control",
        make: |_| {
            Box::new(PortWrites {
                port: reg::SERIAL_IIR,
                change: |value| value | 4,
            })
        },
    },
    Mutant {
        name: "serial-fifo-reset-unconditional",
        title: "FCR resets the receiver whether bit 0 is set or not.",
        case: "serial/fcr/without-enable",
        make: |_| Box::<FcrUnconditional>::default(),
    },
    Mutant {
        name: "serial-line-stays-high",
        title: "The line never falls.",
        case: "serial/interrupt/disable-lowers",
        make: |_| Box::new(LostEvents(|event| event.gsi == 4 && !event.level)),
    },
    Mutant {
        name: "serial-loopback-lines-dead",
        title: "In loopback the modem lines do not follow the outputs.",
        case: "serial/loopback/modem-lines",
        make: |_| Box::<LoopbackDead>::default(),
    },
    Mutant {
        name: "serial-modem-lines-drop",
        title: "The modem's lines drop for a moment with each write of MCR.",
        case: "serial/msr/no-change",
        make: |_| Box::new(ModemGlitch),
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
        name: "serial-timeout-by-8n1",
        title: "The time-out is that of characters of ten bits.",
        case: "serial/fifo/timeout-by-frame",
        make: |_| {
            Box::new(PortWrites {
                port: reg::SERIAL_LCR,
                change: |value| value & 0x80 | 3,
            })
        },
    },
    Mutant {
        name: "vga-hole",
        title: "RAM has a hole for a display at 0xa0000.",
        case: "memory-map/ram/vga-hole-is-memory",
        make: |_| Box::new(VgaHole),
    },
    Mutant {
        name: "virtio-avail-event-kept",
        title: "The device never moves avail_event.",
        case: "virtqueue/event-idx/avail-event",
        make: |_| {
            Box::new(UsedRing::new(|inner, num, used, _| {
                inner.write_memory(used + 4 + 8 * num, &[0; 2])
            }))
        },
    },
    Mutant {
        name: "virtio-blk-block-size-odd",
        title: "The block size is one byte too small.",
        case: "virtio-blk/config/block-size",
        make: |_| {
            Box::new(VirtioReads {
                offset: reg::BLK_BLK_SIZE,
                change: |value| value - 1,
            })
        },
    },
    Mutant {
        name: "virtio-blk-capacity-off-by-one",
        title: "The capacity is one sector too large.",
        case: "virtio-blk/config/capacity",
        make: |_| Box::new(BlkCapacity),
    },
    Mutant {
        name: "virtio-blk-discard-part-of-a-segment",
        title: "A discard request whose data is no segment reports success.",
        case: "virtio-blk/discard/whole-segments",
        make: |_| Box::new(BlkStatus::new(reg::BLK_DISCARD, reg::BLK_UNSUPP, reg::BLK_OK)),
    },
    Mutant {
        name: "virtio-blk-discard-segments-promised",
        title: "More segments of a discard are announced than are taken.",
        case: "virtio-blk/discard/largest",
        make: |_| {
            Box::new(VirtioReads {
                offset: reg::BLK_MAX_DISCARD_SEG,
                change: |value| value << 8,
            })
        },
    },
    Mutant {
        name: "virtio-blk-flush-unsupported",
        title: "A flush is unsupported, though it is offered.",
        case: "virtio-blk/flush/completes",
        make: |_| Box::new(BlkStatus::new(reg::BLK_FLUSH, reg::BLK_OK, reg::BLK_UNSUPP)),
    },
    Mutant {
        name: "virtio-blk-geometry-without-heads",
        title: "The geometry has no heads.",
        case: "virtio-blk/config/geometry",
        make: |_| {
            Box::new(VirtioReads {
                offset: reg::BLK_GEOMETRY,
                change: |value| value & !0x00ff_0000,
            })
        },
    },
    Mutant {
        name: "virtio-blk-id-unsupported",
        title: "There is no request for the device ID.",
        case: "virtio-blk/get-id/text",
        make: |_| Box::new(BlkStatus::new(reg::BLK_GET_ID, reg::BLK_OK, reg::BLK_UNSUPP)),
    },
    Mutant {
        name: "virtio-blk-read-only-offered",
        title: "A disk that can be written is offered as read-only.",
        case: "virtio-blk/features/writable",
        make: |_| {
            Box::new(VirtioReads {
                offset: reg::VIRTIO_DEVICE_FEATURES,
                change: |value| value | reg::BLK_RO,
            })
        },
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
        name: "virtio-blk-scsi-offered",
        title: "A modern disk offers SCSI commands.",
        case: "virtio-blk/features/reserved",
        make: |_| {
            Box::new(VirtioReads {
                offset: reg::VIRTIO_DEVICE_FEATURES,
                change: |value| value | reg::BLK_SCSI,
            })
        },
    },
    Mutant {
        name: "virtio-blk-seg-max-promised",
        title: "More segments of a request are announced than a queue has room for.",
        case: "virtio-blk/config/seg-max",
        make: |_| {
            Box::new(VirtioReads {
                offset: reg::BLK_SEG_MAX,
                change: |value| value << 8,
            })
        },
    },
    Mutant {
        name: "virtio-blk-status-survives-reset",
        title: "Requests of before a reset complete after it.",
        case: "virtio-blk/reset/during-flush",
        make: |_| Box::<OldBuffersWritten>::default(),
    },
    Mutant {
        name: "virtio-blk-write-chunk-repeats",
        title: "The second 64 KiB of a write are the first ones once more.",
        case: "virtio-blk/write/large",
        make: |_| Box::<ChunkRepeats>::default(),
    },
    Mutant {
        name: "virtio-blk-write-zeroes-part-of-a-segment",
        title: "A write zeroes request whose data is no segment reports success.",
        case: "virtio-blk/write-zeroes/whole-segments",
        make: |_| Box::new(BlkStatus::new(reg::BLK_WRITE_ZEROES, reg::BLK_UNSUPP, reg::BLK_OK)),
    },
    Mutant {
        name: "virtio-blk-write-zeroes-past-end-succeeds",
        title: "A write zeroes request beyond the capacity reports success.",
        case: "virtio-blk/write-zeroes/past-end",
        make: |_| Box::new(BlkStatus::new(reg::BLK_WRITE_ZEROES, reg::BLK_IOERR, reg::BLK_OK)),
    },
    Mutant {
        name: "virtio-blk-write-zeroes-segments-promised",
        title: "More segments of write zeroes are announced than are taken.",
        case: "virtio-blk/write-zeroes/largest",
        make: |_| {
            Box::new(VirtioReads {
                offset: reg::BLK_MAX_WRITE_ZEROES_SEG,
                change: |value| value << 8,
            })
        },
    },
    Mutant {
        name: "virtio-blk-writeback-fixed",
        title: "The cache mode takes no writes.",
        case: "virtio-blk/config/writeback-set",
        make: |_| Box::new(ConfigWrites::new(false)),
    },
    Mutant {
        name: "virtio-broken-ring-stops-all",
        title: "Once one device asks for a reset, no device is notified any more.",
        case: "virtqueue/needs-reset/other-device",
        make: |_| Box::<BrokenStopsAll>::default(),
    },
    Mutant {
        name: "virtio-config-byte-order",
        title: "The configuration space is big-endian.",
        case: "virtio-blk/config/capacity",
        make: |_| Box::new(ConfigByteOrder),
    },
    Mutant {
        name: "virtio-console-any-field-sends",
        title: "A byte written anywhere in the console's configuration space is sent.",
        case: "virtio-console/emergency/other-fields",
        make: |_| Box::new(AnyFieldSends),
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
        name: "virtio-event-always-told",
        title: "The driver is told of every used entry whatever used_event says.",
        case: "virtqueue/event-idx/before-event",
        make: |_| Box::new(Tells::new(|round| round.event_idx.then_some(true))),
    },
    Mutant {
        name: "virtio-event-flag-obeyed",
        title: "The no-interrupt flag counts with the event index, too.",
        case: "virtqueue/event-idx/flag-ignored",
        make: |_| Box::new(Tells::new(|round| (round.flags & 1 != 0).then_some(false))),
    },
    Mutant {
        name: "virtio-event-last-entry-only",
        title: "The driver is told only when the entry of used_event is the last of several.",
        case: "virtqueue/event-idx/within-batch",
        make: |_| {
            Box::new(Tells::new(|round| {
                Some(round.used_event == round.after.wrapping_sub(1))
            }))
        },
    },
    Mutant {
        name: "virtio-event-off-by-one",
        title: "The driver is told one entry too late.",
        case: "virtqueue/event-idx/at-event",
        make: |_| Box::new(Tells::new(|round| round.event_idx.then_some(round.tells(1)))),
    },
    Mutant {
        name: "virtio-event-stays",
        title: "The driver is told of every entry from the one of used_event on.",
        case: "virtqueue/event-idx/past-event",
        make: |_| {
            Box::new(Tells::new(|round| {
                round.event_idx.then_some(round.used_event < round.after)
            }))
        },
    },
    Mutant {
        name: "virtio-event-without-feature",
        title: "used_event counts without the event index.",
        case: "virtqueue/event-idx/not-negotiated",
        make: |_| Box::new(Tells::new(|round| Some(round.tells(0)))),
    },
    Mutant {
        name: "virtio-features-adopted-late",
        title: "Features that are accepted after FEATURES_OK count.",
        case: "virtqueue/event-idx/after-features-ok",
        make: |_| Box::<FeaturesAdopted>::default(),
    },
    Mutant {
        name: "virtio-features-word-repeats",
        title: "Feature words beyond the last repeat it.",
        case: "virtio-mmio/features/select-past-end",
        make: |_| Box::new(FeaturesRepeat),
    },
    Mutant {
        name: "virtio-generation-counts-breakdowns",
        title: "ConfigGeneration goes up when a device asks for a reset.",
        case: "virtqueue/needs-reset/generation",
        make: |_| Box::<GenerationCounts>::default(),
    },
    Mutant {
        name: "virtio-index-saturates",
        title: "The used ring's index stays at 65535.",
        case: "virtqueue/used/index-wraps",
        make: |_| {
            Box::new(UsedRing::new(|inner, _, used, _| {
                match read_number(inner, used + 2, 2)? {
                    0 => inner.write_memory(used + 2, &[0xff; 2]),
                    _ => Ok(()),
                }
            }))
        },
    },
    Mutant {
        name: "virtio-interrupt-status-read-clears",
        title: "Reading InterruptStatus acknowledges.",
        case: "virtqueue/interrupt/acknowledge",
        make: |_| Box::new(StatusReadClears),
    },
    Mutant {
        name: "virtio-interrupt-survives-reset",
        title: "InterruptStatus keeps over a reset of the device.",
        case: "virtqueue/reset/before-acknowledge",
        make: |_| Box::new(KeptAtReset::new(reg::VIRTIO_INTERRUPT_STATUS)),
    },
    Mutant {
        name: "virtio-legacy-alignment-fixed",
        title: "The used ring of a legacy queue begins at a page.",
        case: "virtqueue/legacy/size-and-align",
        make: |_| {
            Box::new(VirtioWrites {
                offset: reg::VIRTIO_QUEUE_ALIGN,
                change: |_| 4096,
            })
        },
    },
    Mutant {
        name: "virtio-legacy-features-one-word",
        title: "A legacy transport takes every word of features for the first.",
        case: "virtqueue/legacy/feature-words",
        make: |_| {
            Box::new(VirtioWrites {
                offset: reg::VIRTIO_DRIVER_FEATURES_SEL,
                change: |_| 0,
            })
        },
    },
    Mutant {
        name: "virtio-legacy-queue-survives-reset",
        title: "QueuePFN keeps over a reset of the device.",
        case: "virtqueue/legacy/reset-during-io",
        make: |_| Box::new(KeptAtReset::new(reg::VIRTIO_QUEUE_PFN)),
    },
    Mutant {
        name: "virtio-line-off-by-one",
        title: "Interrupts come one line too high.",
        case: "virtqueue/interrupt/line",
        make: |_| Box::new(LineOffByOne),
    },
    Mutant {
        name: "virtio-line-stuck-after-breakdown",
        title: "The line stays high though the driver of a broken device acknowledges.",
        case: "virtqueue/needs-reset/acknowledge",
        make: |_| Box::new(LineNeverFalls),
    },
    Mutant {
        name: "virtio-line-survives-reset",
        title: "The line stays high over a reset of the device.",
        case: "virtqueue/reset/line",
        make: |_| Box::new(LineNeverFalls),
    },
    Mutant {
        name: "virtio-needs-reset-hidden",
        title: "A device with a broken ring stops without a word.",
        case: "virtqueue/needs-reset/serves-or-asks",
        make: |_| {
            Box::new(VirtioMask {
                offset: reg::VIRTIO_STATUS,
                mask: !0x40,
            })
        },
    },
    Mutant {
        name: "virtio-needs-reset-line-low",
        title: "The line does not rise when a device asks for a reset.",
        case: "virtqueue/needs-reset/line",
        make: |_| Box::new(LineNeverRises),
    },
    Mutant {
        name: "virtio-needs-reset-silent",
        title: "A device that asks for a reset sends no configuration change notification.",
        case: "virtqueue/needs-reset/notified",
        make: |_| {
            Box::new(VirtioMask {
                offset: reg::VIRTIO_INTERRUPT_STATUS,
                mask: !0x02,
            })
        },
    },
    Mutant {
        name: "virtio-needs-reset-survives-reset",
        title: "DEVICE_NEEDS_RESET keeps over a reset of the device.",
        case: "virtqueue/needs-reset/cleared",
        make: |_| Box::new(KeptAtReset::new(reg::VIRTIO_STATUS)),
    },
    Mutant {
        name: "virtio-net-address-writable",
        title: "A modern driver can change the address.",
        case: "virtio-net/config/read-only",
        make: |_| Box::new(ConfigWrites::new(true)),
    },
    Mutant {
        name: "virtio-net-buffers-kept-at-reset",
        title: "The network device writes to a buffer that it was given before a reset.",
        case: "virtio-net/reset/quiet",
        make: |_| Box::<BuffersKept>::default(),
    },
    Mutant {
        name: "virtio-net-legacy-address-fixed",
        title: "A legacy driver cannot change the address.",
        case: "virtio-net/config/legacy-mac",
        make: |_| Box::new(ConfigWrites::new(false)),
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
        name: "virtio-net-mac-not-offered",
        title: "The network device has an address but does not offer VIRTIO_NET_F_MAC.",
        case: "virtio-net/config/mac",
        make: |_| {
            Box::new(VirtioMask {
                offset: reg::VIRTIO_DEVICE_FEATURES,
                mask: !reg::NET_MAC,
            })
        },
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
        name: "virtio-notify-on-empty-ignored",
        title: "A ring that ran empty is no reason to tell the driver.",
        case: "virtqueue/legacy/notify-on-empty",
        make: |_| {
            Box::new(VirtioWrites {
                offset: reg::VIRTIO_DRIVER_FEATURES,
                change: |value| value & !reg::NOTIFY_ON_EMPTY,
            })
        },
    },
    Mutant {
        name: "virtio-old-ring-used-after-reset",
        title: "After a reset the device goes on with the used ring of before.",
        case: "virtqueue/reset/half-processed",
        make: |_| Box::<OldRingUsed>::default(),
    },
    Mutant {
        name: "virtio-queue-address-32-bits",
        title: "The descriptors of a queue lie below 4 GiB.",
        case: "virtqueue/address/above-4g",
        make: |_| {
            Box::new(VirtioWrites {
                offset: reg::VIRTIO_QUEUE_DESC + 4,
                change: |_| 0,
            })
        },
    },
    Mutant {
        name: "virtio-queue-address-low-spoils-high",
        title: "Writing the low half of an address of a queue spoils the high one.",
        case: "virtqueue/address/halves",
        make: |_| Box::new(LowSpoilsHigh),
    },
    Mutant {
        name: "virtio-queue-ready-kept",
        title: "QueueReady survives a device reset.",
        case: "virtio-mmio/reset/queue-ready",
        make: |_| Box::<QueueReadyKept>::default(),
    },
    Mutant {
        name: "virtio-queue-select-unchecked",
        title: "Queues that are not there have a size.",
        case: "virtio-mmio/queue/select-out-of-range",
        make: |_| Box::<QueueSelectUnchecked>::default(),
    },
    Mutant {
        name: "virtio-queue-size-ignored",
        title: "The queue is as large as it can be, whatever the driver says.",
        case: "virtio-console/echo/long",
        make: |_| Box::new(VirtioDropped(reg::VIRTIO_QUEUE_NUM)),
    },
    Mutant {
        name: "virtio-queue-survives-system-reset",
        title: "QueueReady keeps over a reset of the machine.",
        case: "virtqueue/reset/system",
        make: |_| Box::<ReadyOverSystemReset>::default(),
    },
    Mutant {
        name: "virtio-requests-survive-reset",
        title: "Requests of before a reset are carried out after it.",
        case: "virtqueue/reset/before-notify",
        make: |_| Box::<OldBuffersWritten>::default(),
    },
    Mutant {
        name: "virtio-shm-absent-is-at-0",
        title: "A shared memory region that is not there has base 0.",
        case: "virtio-mmio/shm/absent-base",
        make: |_| {
            Box::new(VirtioMask {
                offset: reg::VIRTIO_SHM_BASE_LOW,
                mask: 0,
            })
        },
    },
    Mutant {
        name: "virtio-shm-absent-is-empty",
        title: "A shared memory region that is not there has length 0.",
        case: "virtio-mmio/shm/absent-length",
        make: |_| {
            Box::new(VirtioMask {
                offset: reg::VIRTIO_SHM_LEN_LOW,
                mask: 0,
            })
        },
    },
    Mutant {
        name: "virtio-spurious-notification-used",
        title: "A notification without a request uses an entry.",
        case: "virtqueue/notify/spurious",
        make: |_| {
            Box::new(UsedRing::new(|inner, _, used, moved| {
                let idx = read_number(inner, used + 2, 2)? as u16;
                inner.write_memory(used + 2, &idx.wrapping_add(u16::from(moved == 0)).to_le_bytes())
            }))
        },
    },
    Mutant {
        name: "virtio-used-flags-set",
        title: "The used ring asks for no notifications by its flags.",
        case: "virtqueue/event-idx/used-flags",
        make: |_| Box::new(UsedRing::new(|inner, _, used, _| inner.write_memory(used, &[1, 0]))),
    },
    Mutant {
        name: "virtio-used-index-survives-reset",
        title: "After a reset the used index goes on where it was.",
        case: "virtqueue/reset/full-ring",
        make: |_| Box::<UsedIndexKept>::default(),
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

    /// The bug around a machine that is powered on already. A bug in how a machine is set up shows nothing there.
    pub fn around(&self, inner: Box<dyn Machine>, layout: &Layout) -> Box<dyn Machine> {
        let bug = (self.make)(layout);
        Box::new(Mutated { inner, bug })
    }

    /// The bug of a real machine that this one repeats; `None` for one that was made up.
    pub fn origin(&self) -> Option<&'static str> {
        let origin = ORIGINS.iter().find(|(name, _)| *name == self.name);
        origin.map(|(_, origin)| *origin)
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

    fn boot(&self, setup: &Setup, layout: &Layout) -> Result<Box<dyn Machine>, BootFailure> {
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

    fn outputs(&mut self) -> Result<Vec<Output>, Stop> {
        self.inner.outputs()
    }

    fn acknowledge(&mut self, wire: Wire) -> Result<Option<u8>, Stop> {
        self.inner.acknowledge(wire)
    }

    fn refusal(&mut self, setup: &Setup) -> Result<Option<String>, Stop> {
        self.inner.refusal(setup)
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

#[derive(Default)]
struct AfternoonNotTaken {
    index: u32,
}

impl Bug for AfternoonNotTaken {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        if port == reg::CMOS_INDEX {
            self.index = value & 0x7f;
        }
        let hours = port == reg::CMOS_DATA && self.index == reg::RTC_HOURS;
        inner.port_write(port, width, if hours { value & 0x7f } else { value })
    }
}

/// Values that are written to a port are changed.
struct PortWrites {
    port: u16,
    change: fn(u32) -> u32,
}

impl Bug for PortWrites {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        let value = if port == self.port { (self.change)(value) } else { value };
        inner.port_write(port, width, value)
    }
}

/// A write to IER that leaves the transmitter's interrupt on ends it, as a read of IIR does.
#[derive(Default)]
struct EnablesEndThre {
    ier: u32,
}

impl Bug for EnablesEndThre {
    fn port_write(&mut self, inner: &mut dyn Machine, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        inner.port_write(port, width, value)?;
        if port == reg::SERIAL_IER {
            if self.ier & value & 2 != 0 {
                inner.port_read(reg::SERIAL_IIR, Width::Byte)?;
            }
            self.ier = value;
        }
        Ok(())
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

/// One double word of memory where none is.
struct PastTheSplit {
    at: u64,
    value: u64,
}

impl Bug for PastTheSplit {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if gpa == self.at {
            self.value = value;
        }
        inner.store(gpa, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        Ok(if gpa == self.at { self.value } else { value })
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
        // A hostile driver may have made a loop of it, or point anywhere.
        for _ in 0..reg::BLK_QUEUE_SIZE {
            if read_number(inner, at + 12, 2)? & 1 == 0 {
                break;
            }
            at = self.desc + 16 * read_number(inner, at + 14, 2)?;
        }
        let end = read_number(inner, at, 8)?.wrapping_add(read_number(inner, at + 8, 4)?);
        let status = end.wrapping_sub(1);
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

/// A register of the transports that lacks bits.
struct VirtioMask {
    offset: u64,
    mask: u64,
}

impl Bug for VirtioMask {
    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let here = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == self.offset;
        Ok(if here { value & self.mask } else { value })
    }
}

/// A register that shows after a reset of the device what it showed before.
struct KeptAtReset {
    offset: u64,
    kept: u64,
}

impl KeptAtReset {
    fn new(offset: u64) -> KeptAtReset {
        KeptAtReset { offset, kept: 0 }
    }
}

impl Bug for KeptAtReset {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_STATUS && value == 0 {
            self.kept |= inner.load(gpa & !reg::VIRTIO_OFFSET | self.offset, Width::Dword)?;
        }
        inner.store(gpa, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let here = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == self.offset;
        Ok(if here { value | self.kept } else { value })
    }
}

struct LineNeverFalls;

impl Bug for LineNeverFalls {
    fn line_events(&mut self, inner: &mut dyn Machine) -> Result<Vec<LineEvent>, Stop> {
        let events = inner.line_events()?;
        Ok(events.into_iter().filter(|event| event.level).collect())
    }
}

struct LineNeverRises;

impl Bug for LineNeverRises {
    fn line_events(&mut self, inner: &mut dyn Machine) -> Result<Vec<LineEvent>, Stop> {
        let events = inner.line_events()?;
        Ok(events.into_iter().filter(|event| !event.level).collect())
    }
}

#[derive(Default)]
struct BrokenStopsAll {
    is_broken: bool,
}

impl Bug for BrokenStopsAll {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let is_notify = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_QUEUE_NOTIFY;
        if is_notify && self.is_broken {
            return Ok(());
        }
        inner.store(gpa, width, value)?;
        if is_notify {
            let status = inner.load(gpa & !reg::VIRTIO_OFFSET | reg::VIRTIO_STATUS, Width::Dword)?;
            self.is_broken = status & 0x40 != 0;
        }
        Ok(())
    }
}

#[derive(Default)]
struct GenerationCounts {
    breakdowns: u64,
}

impl Bug for GenerationCounts {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        inner.store(gpa, width, value)?;
        if reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_QUEUE_NOTIFY {
            let status = inner.load(gpa & !reg::VIRTIO_OFFSET | reg::VIRTIO_STATUS, Width::Dword)?;
            self.breakdowns += u64::from(status & 0x40 != 0);
        }
        Ok(())
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let here = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_CONFIG_GENERATION;
        Ok(if here { value + self.breakdowns } else { value })
    }
}

/// The rings of a modern device with one queue, as the driver placed them last, and before the last reset.
#[derive(Default)]
struct Rings {
    now: Ring,
    before: Ring,
}

#[derive(Clone, Copy, Default)]
struct Ring {
    num: u64,
    desc: u64,
    used: u64,
}

impl Rings {
    /// Watches a store; true for a notification after a reset.
    fn watch(&mut self, gpa: u64, value: u64) -> bool {
        if !reg::in_virtio(gpa) {
            return false;
        }
        match gpa & reg::VIRTIO_OFFSET {
            reg::VIRTIO_QUEUE_NUM => self.now.num = value,
            reg::VIRTIO_QUEUE_DESC => self.now.desc = value,
            reg::VIRTIO_QUEUE_DEVICE => self.now.used = value,
            // A driver may begin with a reset, too: there is nothing before that.
            reg::VIRTIO_STATUS if value == 0 && self.now.desc != 0 => self.before = std::mem::take(&mut self.now),
            reg::VIRTIO_QUEUE_NOTIFY => return self.before.desc != 0,
            _ => {}
        }
        false
    }
}

/// Remembers the buffers that the device writes when it is reset, and writes them with the next notification.
#[derive(Default)]
struct OldBuffersWritten {
    rings: Rings,
    buffers: Vec<u64>,
}

impl Bug for OldBuffersWritten {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let ring = self.rings.now;
        let after_reset = self.rings.watch(gpa, value);
        let is_reset = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_STATUS && value == 0;
        if is_reset && ring.desc != 0 {
            for index in 0..ring.num {
                let at = ring.desc + 16 * index;
                if read_number(inner, at + 12, 2)? & 2 != 0 {
                    self.buffers.push(read_number(inner, at, 8)?);
                }
            }
        }
        inner.store(gpa, width, value)?;
        if after_reset {
            for buffer in self.buffers.drain(..) {
                inner.write_memory(buffer, &[0x77])?;
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct OldRingUsed {
    rings: Rings,
}

impl Bug for OldRingUsed {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let after_reset = self.rings.watch(gpa, value);
        inner.store(gpa, width, value)?;
        if after_reset {
            let at = self.rings.before.used + 2;
            let index = read_number(inner, at, 2)? as u16;
            inner.write_memory(at, &index.wrapping_add(1).to_le_bytes())?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct UsedIndexKept {
    rings: Rings,
    index: u16,
}

impl Bug for UsedIndexKept {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        let ring = self.rings.now;
        let after_reset = self.rings.watch(gpa, value);
        if ring.desc != 0 && self.rings.now.desc == 0 {
            self.index = read_number(inner, ring.used + 2, 2)? as u16;
        }
        inner.store(gpa, width, value)?;
        if after_reset {
            let at = self.rings.now.used + 2;
            let index = read_number(inner, at, 2)? as u16;
            inner.write_memory(at, &index.wrapping_add(self.index).to_le_bytes())?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct ReadyOverSystemReset {
    kept: u64,
    ready: u64,
}

impl Bug for ReadyOverSystemReset {
    fn store(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        if reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_QUEUE_READY {
            self.ready = value;
        }
        inner.store(gpa, width, value)
    }

    fn load(&mut self, inner: &mut dyn Machine, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = inner.load(gpa, width)?;
        let here = reg::in_virtio(gpa) && gpa & reg::VIRTIO_OFFSET == reg::VIRTIO_QUEUE_READY;
        Ok(if here { value | self.kept } else { value })
    }

    fn reset(&mut self, inner: &mut dyn Machine) -> Result<(), Stop> {
        self.kept = self.ready;
        inner.reset()
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
    /// First ports of the 8259 pair, and their edge/level registers.
    pub(super) const PICS: [u16; 2] = [0x20, 0xa0];
    pub(super) const ELCRS: [u16; 2] = [0x4d0, 0x4d1];
    pub(super) const ICW1: u32 = 0x10;
    pub(super) const OCW3: u32 = 0x08;
    pub(super) const PIT_COUNTERS: u16 = 0x40;
    pub(super) const PIT_CONTROL: u16 = 0x43;
    pub(super) const SERIAL_DATA: u16 = 0x3f8;
    pub(super) const SERIAL_LCR: u16 = 0x3fb;
    pub(super) const RTC_SECONDS_ALARM: u32 = 0x01;
    pub(super) const RTC_MINUTES: u32 = 0x02;
    pub(super) const RTC_HOURS: u32 = 0x04;
    pub(super) const RTC_HOURS_ALARM: u32 = 0x05;
    pub(super) const RTC_DAY_OF_WEEK: u32 = 0x06;
    pub(super) const RTC_REGISTER_A: u32 = 0x0a;
    pub(super) const RTC_SET: u32 = 0x80;
    pub(super) const RTC_REGISTER_B: u32 = 0x0b;
    pub(super) const RTC_REGISTER_C: u32 = 0x0c;
    pub(super) const RTC_YEAR: u32 = 0x09;
    pub(super) const RTC_CENTURY: u32 = 0x32;
    pub(super) const SERIAL_IER: u16 = 0x3f9;
    pub(super) const SERIAL_IIR: u16 = 0x3fa;
    pub(super) const SERIAL_MCR: u16 = 0x3fc;
    pub(super) const SERIAL_MSR: u16 = 0x3fe;
    pub(super) const SERIAL_MCR_LOOP: u32 = 0x10;
    /// The third file of a machine without a kernel.
    pub(super) const KEY_BOOT_FAIL_WAIT: u32 = 0x22;
    /// The device tree of a machine without a kernel, and the bytes of it that are looked at.
    pub(super) const KEY_FDT: u32 = 0x24;
    pub(super) const FDT_BYTES: usize = 4096;
    /// Bit of a DMA descriptor's control word.
    pub(super) const DMA_READ: u32 = 1 << 1;
    pub(super) const IOAPIC_SELECT: u64 = 0xfec0_0000;
    pub(super) const IOAPIC_WINDOW: u64 = 0xfec0_0010;
    pub(super) const IOAPIC_EOI: u64 = 0xfec0_0040;
    pub(super) const IOAPIC_VERSION: u64 = 0x01;
    pub(super) const IOAPIC_ARBITRATION: u64 = 0x02;
    pub(super) const IOAPIC_ENTRIES_FROM: u64 = 0x10;
    pub(super) const VIRTIO_DEVICE_FEATURES: u64 = 0x010;
    pub(super) const VIRTIO_DEVICE_FEATURES_SEL: u64 = 0x014;
    pub(super) const VIRTIO_DRIVER_FEATURES: u64 = 0x020;
    pub(super) const VIRTIO_DRIVER_FEATURES_SEL: u64 = 0x024;
    pub(super) const VIRTIO_QUEUE_NUM_MAX: u64 = 0x034;
    pub(super) const VIRTIO_QUEUE_NUM: u64 = 0x038;
    pub(super) const VIRTIO_SHM_LEN_LOW: u64 = 0x0b0;
    pub(super) const VIRTIO_SHM_BASE_LOW: u64 = 0x0b8;
    pub(super) const VIRTIO_QUEUE_ALIGN: u64 = 0x03c;
    pub(super) const VIRTIO_QUEUE_PFN: u64 = 0x040;
    pub(super) const VIRTIO_QUEUE_SEL: u64 = 0x030;
    pub(super) const VIRTIO_QUEUE_READY: u64 = 0x044;
    pub(super) const VIRTIO_QUEUE_NOTIFY: u64 = 0x050;
    pub(super) const VIRTIO_INTERRUPT_STATUS: u64 = 0x060;
    pub(super) const VIRTIO_INTERRUPT_ACK: u64 = 0x064;
    pub(super) const VIRTIO_STATUS: u64 = 0x070;
    pub(super) const VIRTIO_QUEUE_DESC: u64 = 0x080;
    pub(super) const VIRTIO_QUEUE_DRIVER: u64 = 0x090;
    pub(super) const VIRTIO_QUEUE_DEVICE: u64 = 0x0a0;
    pub(super) const VIRTIO_CONFIG_GENERATION: u64 = 0x0fc;
    pub(super) const VIRTIO_CONFIG: u64 = 0x100;
    /// Types of block requests and values of their status.
    pub(super) const BLK_IN: u32 = 0;
    pub(super) const BLK_OUT: u32 = 1;
    pub(super) const BLK_FLUSH: u32 = 4;
    pub(super) const BLK_DISCARD: u32 = 11;
    pub(super) const BLK_WRITE_ZEROES: u32 = 13;
    pub(super) const BLK_OK: u8 = 0;
    pub(super) const BLK_IOERR: u8 = 1;
    pub(super) const BLK_UNSUPP: u8 = 2;
    pub(super) const BLK_GET_ID: u32 = 8;
    /// Offsets in the configuration space of a disk, and feature bits of word 0.
    pub(super) const BLK_SEG_MAX: u64 = VIRTIO_CONFIG + 12;
    pub(super) const BLK_GEOMETRY: u64 = VIRTIO_CONFIG + 16;
    pub(super) const BLK_BLK_SIZE: u64 = VIRTIO_CONFIG + 20;
    pub(super) const BLK_MAX_DISCARD_SEG: u64 = VIRTIO_CONFIG + 40;
    pub(super) const BLK_MAX_WRITE_ZEROES_SEG: u64 = VIRTIO_CONFIG + 52;
    pub(super) const BLK_RO: u64 = 1 << 5;
    pub(super) const BLK_SCSI: u64 = 1 << 7;
    /// How much of a long request is moved at a time.
    pub(super) const CHUNK_BYTES: usize = 64 << 10;
    /// Size of the queue that the cases of block devices set up.
    pub(super) const BLK_QUEUE_SIZE: u64 = 16;
    /// Size of each queue that the cases of networks and consoles set up.
    pub(super) const PAIR_QUEUE_SIZE: u64 = 16;
    /// Feature bits of word 0, and an offset in the header of a frame.
    pub(super) const NET_MAC: u64 = 1 << 5;
    pub(super) const NET_HOST_TSO4: u64 = 1 << 11;
    pub(super) const NOTIFY_ON_EMPTY: u64 = 1 << 24;
    pub(super) const ANY_LAYOUT: u64 = 1 << 27;
    pub(super) const EVENT_IDX: u64 = 1 << 29;
    /// A bit of Status.
    pub(super) const FEATURES_OK: u64 = 8;
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
