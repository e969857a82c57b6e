//! Linux on the machine: its boot probe uses every device and tells what the kernel saw, and its report is judged here
//! against the set-up and the profile.
//!
//! There are four boots, each the last part of an id: `pvh` by the ELF file's PVH note, `bz-image` by the boot protocol
//! of a bzImage, `smp-2` with two CPUs, `up` with a kernel for one CPU only.

mod judge;

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{linux, microvm};
use crate::machine::Caps;

/// The four kinds of device, and other ends that send back what they get.
const ALL: &[&str] = &["virtio-rng", "virtio-blk", "virtio-net", "virtio-console"];

const LEGACY: Setup = Setup {
    devices: ALL,
    ..Setup::DEFAULT
};

const MODERN: Setup = Setup { modern: true, ..LEGACY };

/// Two CPUs of a machine that says there may be four, and RAM on both sides of 4 GiB.
const SMP_2: Setup = Setup {
    cpus: 2,
    cpus_max: 4,
    ram_bytes: 5 << 30,
    ..MODERN
};

/// Declares the cases: each line once for each of the four boots.
macro_rules! boots {
    ($($name:literal, $title:literal, $clause:expr, [$($feature:ident),*], $judge:ident;)*) => {
        &[$(
            boots! { @case "bz-image", ", started as a bzImage", LEGACY, "bzImage";
                $name, $title, $clause, [$($feature),*], $judge },
            boots! { @case "pvh", ", started by its PVH note", LEGACY, "vmlinux";
                $name, $title, $clause, [$($feature),*], $judge },
            boots! { @case "smp-2", ", with two CPUs and 5 GiB", SMP_2, "vmlinux";
                $name, $title, $clause, [$($feature),*], $judge },
            boots! { @case "up", ", built for one CPU", MODERN, "vmlinux-up";
                $name, $title, $clause, [$($feature),*], $judge },
        )*]
    };
    (@case $boot:literal, $words:literal, $setup:expr, $image:literal;
     $name:literal, $title:literal, $clause:expr, [$($feature:ident),*], $judge:ident) => {
        Case {
            id: concat!("linux/", $name, "/", $boot),
            title: concat!($title, $words, "."),
            clause: &$clause,
            level: Level::Must,
            features: &[$(Feature::$feature),*],
            needs: Caps::NONE,
            setup: $setup,
            body: Body::Guest { image: $image, judge: judge::$judge },
        }
    };
}

pub(crate) const CASES: &[Case] = boots! {
    "blk", "Linux reads the disk as it is, writes to it, and reads that again",
        linux::BLK, [VirtioMmio, AutoCmdline], blk;
    "boots", "Linux starts /init, which ends its report",
        linux::BOOT, [], boots;
    "clocksource", "Linux is offered KVM's clock where it runs on KVM",
        microvm::KVMCLOCK, [], clocksource;
    "command-line", "Linux gets the user's words and behind them one entry for each device",
        microvm::CMDLINE, [AutoCmdline], command_line;
    "console", "A thousand bytes through the virtio console come back as they were",
        linux::CONSOLE, [VirtioMmio, AutoCmdline], console;
    "cpus", "Linux starts all CPUs",
        linux::CPUS, [], cpus;
    "interrupts", "Each device's interrupts reach Linux at the input of the IOAPIC that is its own",
        linux::INTERRUPTS, [Ioapic], interrupts;
    "memory", "Linux takes for RAM all that the machine has and nothing else",
        linux::MEMORY, [], memory;
    "net", "Frames through the network device come back as they were",
        linux::NET, [VirtioMmio, AutoCmdline], net;
    "reboot", "The machine ends when Linux resets it",
        linux::REBOOT, [], reboot;
    "rng", "Linux gets entropy that differs from one read to the next",
        linux::RNG, [VirtioMmio, AutoCmdline], rng;
    "rtc", "Linux reads the date and time that the machine was started with",
        linux::RTC, [Rtc], rtc;
    "serial", "Linux finds a 16550A at 0x3f8 with interrupt 4",
        linux::SERIAL, [Serial], serial;
    "virtio", "Linux finds each virtio device at its transport and drives it",
        linux::VIRTIO, [VirtioMmio, AutoCmdline], virtio;
};

#[cfg(test)]
mod tests;
