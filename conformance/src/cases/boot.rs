//! What a kernel finds that a VMM has started: the image `probe` looks and tells, and its report is judged here against
//! the set-up and the profile.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{fw_cfg, i82093aa, mc146818, microvm, ns16550, pvh, sdm};
use crate::driver::ktap::{self, Fact, Report, fact, judged, number_of};
use crate::driver::{cmdline, cmos};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;
use crate::subject::date;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &pvh::ENTRY,
    level: Level::Must,
    features: &[],
    needs: Caps::NONE,
    setup: ONE,
    body: probe(report_complete),
};

const fn probe(judge: fn(&mut Probe<'_>) -> Result<(), Stop>) -> Body {
    Body::Guest { image: "probe", judge }
}

// Each set-up is one boot for all of its cases, so there are few.

/// One device on a legacy transport, and user words that must arrive as they are.
const ONE: Setup = Setup {
    append: Some("console=ttyS0 note=\"two words\""),
    devices: &["virtio-rng"],
    ..Setup::DEFAULT
};

/// Three devices on modern transports, and several CPUs.
const THREE: Setup = Setup {
    modern: true,
    devices: &["virtio-rng"; 3],
    cpus: 2,
    cpus_max: 4,
    ..Setup::DEFAULT
};

/// RAM on both sides of 4 GiB.
const LARGE: Setup = Setup {
    ram_bytes: 5 << 30,
    ..Setup::DEFAULT
};

/// No device that an option can take away, but for the serial port: the report comes through it.
const BARE: Setup = Setup {
    options: &[("rtc", "off"), ("pic", "off"), ("pit", "off")],
    append: Some("quiet"),
    ..Setup::DEFAULT
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "boot/command-line/announces-devices",
        title: "The kernel gets the user's words and behind them one entry for each device.",
        clause: &microvm::CMDLINE,
        features: &[Feature::AutoCmdline],
        setup: THREE,
        body: probe(command_line_announces),
        ..AREA
    },
    Case {
        id: "boot/command-line/no-devices",
        title: "Without devices the kernel gets the user's words and no more.",
        clause: &microvm::CMDLINE,
        setup: BARE,
        body: probe(command_line_announces),
        ..AREA
    },
    Case {
        id: "boot/command-line/user-kept",
        title: "The kernel gets the user's words unchanged, quotes and all, and first.",
        clause: &pvh::COMMAND_LINE,
        body: probe(command_line_user),
        ..AREA
    },
    Case {
        id: "boot/cpu/bootstrap",
        title: "The kernel runs on the bootstrap processor, whose local APIC is enabled and has ID 0.",
        clause: &sdm::LOCAL_APIC,
        setup: THREE,
        body: probe(cpu_bootstrap),
        ..AREA
    },
    Case {
        id: "boot/cpu/count",
        title: "fw_cfg tells a kernel how many CPUs there are and can be.",
        clause: &microvm::CPUS,
        features: &[Feature::FwCfg],
        setup: THREE,
        body: probe(cpu_count),
        ..AREA
    },
    Case {
        id: "boot/cpu/kvmclock",
        title: "CPUID names the hypervisor and, under KVM, its clock.",
        clause: &microvm::KVMCLOCK,
        level: Level::May,
        body: probe(cpu_kvmclock),
        ..AREA
    },
    Case {
        id: "boot/entry/registers",
        title: "The kernel is entered in protected mode without paging, interrupts or anything else switched on.",
        clause: &pvh::ENTRY_STATE,
        body: probe(entry_registers),
        ..AREA
    },
    Case {
        id: "boot/fw-cfg/answers",
        title: "fw_cfg answers a kernel on both its interfaces and tells the size of RAM.",
        clause: &fw_cfg::ID,
        features: &[Feature::FwCfg],
        setup: LARGE,
        body: probe(fw_cfg_answers),
        ..AREA
    },
    Case {
        id: "boot/ioapic/pins",
        title: "The IOAPIC is there with 24 inputs.",
        clause: &i82093aa::VERSION,
        features: &[Feature::Ioapic],
        body: probe(ioapic_pins),
        ..AREA
    },
    Case {
        id: "boot/memory-map/accounts-for-ram",
        title: "The memory map tells all RAM where the machine has it, less what firmware keeps.",
        clause: &microvm::RAM_SPLIT,
        setup: LARGE,
        body: probe(memory_map_accounts),
        ..AREA
    },
    Case {
        id: "boot/memory-map/base-memory",
        title: "The first 512 KiB are RAM to the kernel, less the first page.",
        clause: &pvh::MEMORY_MAP,
        level: Level::Should,
        body: probe(memory_map_base),
        ..AREA
    },
    Case {
        id: "boot/memory-map/no-overlap",
        title: "No two entries of the memory map overlap, and none gives a device's addresses as RAM.",
        clause: &pvh::MEMORY_MAP,
        setup: LARGE,
        body: probe(memory_map_overlap),
        ..AREA
    },
    Case {
        id: "boot/memory-map/order",
        title: "The memory map may be in any order.",
        clause: &pvh::MEMORY_MAP,
        level: Level::May,
        setup: LARGE,
        body: probe(memory_map_order),
        ..AREA
    },
    Case {
        id: "boot/options/off",
        title: "A kernel finds neither clock, PIC nor PIT where the options took them away.",
        clause: &microvm::OPTIONS,
        features: &[Feature::Rtc, Feature::Pic, Feature::Pit],
        setup: BARE,
        body: probe(options_off),
        ..AREA
    },
    Case {
        id: "boot/pic/pair",
        title: "A kernel finds both 8259s.",
        clause: &microvm::OPTIONS,
        features: &[Feature::Pic],
        body: probe(pic_pair),
        ..AREA
    },
    Case {
        id: "boot/pit/channels",
        title: "A kernel finds all three channels of the 8254.",
        clause: &microvm::OPTIONS,
        features: &[Feature::Pit],
        body: probe(pit_channels),
        ..AREA
    },
    Case {
        id: "boot/ports/float",
        title: "A kernel that looks for a PC's other devices reads all ones.",
        clause: &microvm::ABSENT_PORTS,
        body: probe(ports_float),
        ..AREA
    },
    Case {
        id: "boot/report/complete",
        title: "The machine lives through a look at everything it has, once and to the end.",
        ..AREA
    },
    Case {
        id: "boot/rtc/memory-size",
        title: "The CMOS bytes that a kernel reads tell the RAM on both sides of 4 GiB.",
        clause: &microvm::CMOS_MEMORY,
        features: &[Feature::Rtc],
        setup: LARGE,
        body: probe(rtc_memory_size),
        ..AREA
    },
    Case {
        id: "boot/rtc/periodic-flag",
        title: "A kernel finds PF set although nothing enabled the periodic interrupt.",
        clause: &mc146818::REGISTER_C_PERIODIC,
        features: &[Feature::Rtc],
        body: probe(rtc_periodic_flag),
        ..AREA
    },
    Case {
        id: "boot/rtc/time",
        title: "The clock shows the time it was set to, and no more than the boot has taken since.",
        clause: &mc146818::TIME,
        features: &[Feature::Rtc],
        body: probe(rtc_time),
        ..AREA
    },
    Case {
        id: "boot/rtc/valid",
        title: "Register D tells a kernel that RAM and time are valid.",
        clause: &mc146818::REGISTER_D,
        features: &[Feature::Rtc],
        body: probe(rtc_valid),
        ..AREA
    },
    Case {
        id: "boot/serial/loopback",
        title: "The port that carries the report returns a byte in loop mode.",
        clause: &ns16550::LOOPBACK,
        features: &[Feature::Serial],
        body: probe(serial_loopback),
        ..AREA
    },
    Case {
        id: "boot/serial/scratch",
        title: "The scratch register of the port that carries the report holds any byte.",
        clause: &ns16550::SCRATCH,
        features: &[Feature::Serial],
        body: probe(serial_scratch),
        ..AREA
    },
    Case {
        id: "boot/start-info/header",
        title: "The start info has its magic number and a version with a memory map.",
        clause: &pvh::START_INFO,
        body: probe(start_info_header),
        ..AREA
    },
    Case {
        id: "boot/start-info/no-acpi",
        title: "The start info of a machine without ACPI tables points to none.",
        clause: &pvh::RSDP,
        level: Level::Should,
        body: probe(start_info_no_acpi),
        ..AREA
    },
    Case {
        id: "boot/start-info/no-modules",
        title: "The start info lists no module when there is no initial RAM disk.",
        clause: &pvh::MODULES,
        body: probe(start_info_no_modules),
        ..AREA
    },
    Case {
        id: "boot/tsc/marks-in-order",
        title: "The image's marks follow each other in time.",
        clause: &sdm::TSC,
        level: Level::Should,
        body: probe(tsc_in_order),
        ..AREA
    },
    Case {
        id: "boot/virtio/announced-answer",
        title: "Each device on the command line is a transport with that device, as modern as it was asked to be.",
        clause: &microvm::CMDLINE,
        features: &[Feature::AutoCmdline, Feature::VirtioModern],
        setup: THREE,
        body: probe(virtio_announced),
        ..AREA
    },
    Case {
        id: "boot/virtio/legacy-slots",
        title: "A kernel finds every transport in its place, those without a device too, as version 1.",
        clause: &microvm::TRANSPORTS,
        features: &[Feature::VirtioMmio, Feature::VirtioLegacy, Feature::AllTransports],
        body: probe(virtio_slots),
        ..AREA
    },
    Case {
        id: "boot/virtio/modern-slots",
        title: "A kernel finds every transport in its place, those without a device too, as version 2.",
        clause: &microvm::TRANSPORTS,
        features: &[Feature::VirtioMmio, Feature::VirtioModern, Feature::AllTransports],
        setup: THREE,
        body: probe(virtio_slots),
        ..AREA
    },
];

/// The image may not judge the machine well; that it comes to its end is all that counts here.
fn report_complete(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = ktap::report(p)?;
    p.check_eq("times the image started", report.starts, 1u64);
    let plan = report.plan.map_or_else(|| "none".to_owned(), |count| count.to_string());
    let count = report.verdicts.len();
    p.check(
        "plan",
        plan == count.to_string(),
        plan,
        format!("{count}, the verdicts there are"),
    );
    p.check("verdicts", count != 0, "none", "some");
    let fatal = report.fatal.as_deref().unwrap_or("none");
    p.check("failure of the image", report.fatal.is_none(), fatal, "none");
    p.check("last line", report.ended, report.end(), "# end");
    Ok(())
}

fn entry_registers(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "entry-state")?;
    let entry = fact(p, &report, "entry")?;
    let (cr0, cr4) = (number_of(p, entry, "cr0")?, number_of(p, entry, "cr4")?);
    let (eflags, ebx) = (number_of(p, entry, "eflags")?, number_of(p, entry, "ebx")?);
    // ET is 1 on every processor since the 80486, whatever is written there.
    p.check_eq("CR0 without ET", cr0 & !CR0_ET, CR0_PE);
    p.check_eq("CR4", cr4, 0u64);
    p.check_eq("VM, IF and TF of EFLAGS", eflags & EFLAGS_CLEAR, 0u64);
    let start_info = fact(p, &report, "start-info")?;
    let address = number_of(p, start_info, "address")?;
    p.check_eq("EBX", ebx, address);
    let magic = number_of(p, start_info, "magic")?;
    p.check_eq("magic number where EBX points", magic, START_INFO_MAGIC);
    Ok(())
}

fn start_info_header(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "start-info")?;
    let info = fact(p, &report, "start-info")?;
    let (magic, version) = (number_of(p, info, "magic")?, number_of(p, info, "version")?);
    p.check_eq("magic number", magic, START_INFO_MAGIC);
    p.check("version", 1 <= version, version.to_string(), "1 or more");
    let (map, entries) = (
        number_of(p, info, "memory-map")?,
        number_of(p, info, "memory-map-entries")?,
    );
    p.check("address of the memory map", map != 0, "0", "an address");
    p.check("entries of the memory map", entries != 0, "0", "some");
    Ok(())
}

fn start_info_no_acpi(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "start-info")?;
    let info = fact(p, &report, "start-info")?;
    let rsdp = number_of(p, info, "rsdp")?;
    p.check_eq("address of the root pointer", rsdp, 0u64);
    Ok(())
}

fn start_info_no_modules(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "start-info")?;
    let info = fact(p, &report, "start-info")?;
    let modules = number_of(p, info, "modules")?;
    p.check_eq("modules", modules, 0u64);
    Ok(())
}

/// The line that the kernel got; the image cannot see a line without an end, and says so.
fn command_line(p: &mut Probe<'_>) -> Result<String, Stop> {
    let report = judged(p, "command-line")?;
    let line = fact(p, &report, "command-line")?;
    let text = line.text("text").unwrap_or_default().to_owned();
    let length = number_of(p, line, "length")?;
    p.check_eq("length", length, text.len() as u64);
    Ok(text)
}

fn command_line_announces(p: &mut Probe<'_>) -> Result<(), Stop> {
    let want = cmdline::with_announcements(p, &cmdline::user_line(p)?);
    let got = command_line(p)?;
    p.check("command line", got == want, got, want);
    Ok(())
}

fn command_line_user(p: &mut Probe<'_>) -> Result<(), Stop> {
    let want = cmdline::user_line(p)?;
    let got = command_line(p)?;
    let rest = got.strip_prefix(&want);
    let holds = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    p.check("start of the command line", holds, got, want);
    Ok(())
}

/// An entry of the memory map: its first and last address, and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    first: u64,
    last: u64,
    kind: u64,
}

impl Entry {
    /// Number of bytes that lie in a range of addresses.
    fn bytes_in(self, first: u64, last: u64) -> u64 {
        let (from, to) = (self.first.max(first), self.last.min(last));
        if from <= to { to - from + 1 } else { 0 }
    }
}

/// The entries that are not empty, sorted. That all of them were told is part of it.
fn memory_map(p: &mut Probe<'_>, report: &Report) -> Result<Vec<Entry>, Stop> {
    let (map, info) = (fact(p, report, "memory-map")?, fact(p, report, "start-info")?);
    let (told, announced) = (number_of(p, map, "entries")?, number_of(p, info, "memory-map-entries")?);
    let mut entries = Vec::new();
    let mut count = 0u64;
    for line in report.facts("memory") {
        count += 1;
        let (base, size) = (number_of(p, line, "base")?, number_of(p, line, "size")?);
        let kind = number_of(p, line, "type")?;
        // qboot of QEMU 7.2 ends its map with an empty entry.
        let Some(length) = size.checked_sub(1) else {
            continue;
        };
        let last = base.checked_add(length);
        p.check(
            "end of an entry",
            last.is_some(),
            format!("{size:#x} bytes from {base:#x}"),
            "no wrap past the last address",
        );
        entries.extend(last.map(|last| Entry {
            first: base,
            last,
            kind,
        }));
    }
    p.check_eq("entries told", count, told);
    p.check_eq("entries of the start info", announced, told);
    entries.sort_unstable();
    Ok(entries)
}

/// RAM lies nowhere but where the split rule says; above 1 MiB every byte of it is told, a little of it as kept by
/// firmware. Below 1 MiB firmware may carve as it likes.
fn memory_map_accounts(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "memory-map")?;
    let setup = p.setup();
    let (below, above) = p.layout().ram_split(setup.ram_bytes, setup.max_ram_below_4g);
    let entries = memory_map(p, &report)?;
    let ram = || entries.iter().filter(|entry| entry.kind == KIND_RAM);
    for entry in ram() {
        let inside = entry.bytes_in(0, below - 1) + entry.bytes_in(FOUR_GIB, FOUR_GIB - 1 + above);
        p.point(format!("RAM entry {:#x}..={:#x}", entry.first, entry.last));
        p.check_eq(
            "bytes where the machine has no RAM",
            entry.last - entry.first + 1 - inside,
            0u64,
        );
    }
    for (first, length) in [(ONE_MIB, below - ONE_MIB), (FOUR_GIB, above)] {
        p.point(format!("RAM from {first:#x}"));
        let last = first + length - 1;
        let free: u64 = ram().map(|entry| entry.bytes_in(first, last)).sum();
        let told: u64 = entries.iter().map(|entry| entry.bytes_in(first, last)).sum();
        p.check_eq("bytes in the map", told, length);
        let kept = told.saturating_sub(free);
        p.check(
            "bytes kept by firmware",
            kept <= KEPT_BYTES_MAX,
            format!("{kept:#x}"),
            format!("at most {KEPT_BYTES_MAX:#x}"),
        );
    }
    Ok(())
}

fn memory_map_base(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "memory-map")?;
    let entries = memory_map(p, &report)?;
    let ram = entries.iter().filter(|entry| entry.kind == KIND_RAM);
    let free: u64 = ram.map(|entry| entry.bytes_in(PAGE, HALF_MIB - 1)).sum();
    p.check_eq("bytes of RAM from the second page to 512 KiB", free, HALF_MIB - PAGE);
    Ok(())
}

fn memory_map_overlap(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "memory-map")?;
    let layout = p.layout();
    let entries = memory_map(p, &report)?;
    p.check("entries", !entries.is_empty(), "none", "some");
    for pair in entries.windows(2) {
        let got = format!("{:#x}..={:#x} and {:#x}", pair[0].first, pair[0].last, pair[1].first);
        p.check("entries side by side", pair[0].last < pair[1].first, got, "no overlap");
    }
    let transports = layout.virtio_stride_bytes * u64::from(layout.virtio_count);
    for (device, first, length) in [
        ("transports", layout.virtio_base, transports),
        ("IOAPIC", 0xfec0_0000, 0x1000),
        ("local APIC", LOCAL_APIC, 0x1000),
    ] {
        p.point(device);
        let ram = entries.iter().filter(|entry| entry.kind == KIND_RAM);
        let covered: u64 = ram.map(|entry| entry.bytes_in(first, first + length - 1)).sum();
        p.check_eq("bytes given as RAM", covered, 0u64);
    }
    Ok(())
}

fn memory_map_order(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "memory-map")?;
    let map = fact(p, &report, "memory-map")?;
    let sorted = number_of(p, map, "sorted")?;
    p.note(match sorted {
        0 => "the memory map is not in the order of addresses",
        _ => "the memory map is in the order of addresses",
    });
    Ok(())
}

/// Holds the registers that never change to what a transport with that device shows.
fn check_transport(p: &mut Probe<'_>, line: &Fact, device: u64) -> Result<(), Stop> {
    let version = if p.layout().is_modern(p.setup()) { 2u64 } else { 1 };
    for (what, field, want) in [
        ("MagicValue", "magic", VIRTIO_MAGIC),
        ("Version", "version", version),
        ("DeviceID", "device", device),
    ] {
        let got = number_of(p, line, field)?;
        p.check_eq(what, got, want);
    }
    Ok(())
}

/// The transports of the whole window; those that are announced have an entropy device, the others none.
fn virtio_slots(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "virtio-slots")?;
    let layout = p.layout();
    let occupied = cmdline::announcements(p);
    let count = report.facts("virtio-slot").count();
    p.check_eq("transports looked at", count as u64, u64::from(layout.virtio_count));
    for (index, line) in (0..layout.virtio_count).zip(report.facts("virtio-slot")) {
        p.point(format!("transport {index}"));
        let base = number_of(p, line, "base")?;
        p.check_eq("address", base, layout.transport(index));
        let has_device = occupied.iter().any(|(gpa, _)| *gpa == layout.transport(index));
        check_transport(p, line, if has_device { VIRTIO_ENTROPY } else { 0 })?;
    }
    Ok(())
}

fn virtio_announced(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "virtio-slots")?;
    let want = cmdline::announcements(p);
    let count = report.facts("virtio-device").count();
    p.check_eq("devices on the command line", count as u64, want.len() as u64);
    for ((gpa, gsi), line) in want.into_iter().zip(report.facts("virtio-device")) {
        p.point(format!("device at {gpa:#x}"));
        let (base, size) = (number_of(p, line, "base")?, number_of(p, line, "size")?);
        let irq = number_of(p, line, "irq")?;
        p.check_eq("address", base, gpa);
        p.check_eq("size", size, p.layout().virtio_stride_bytes);
        p.check_eq("interrupt", irq, gsi);
        check_transport(p, line, VIRTIO_ENTROPY)?;
    }
    Ok(())
}

fn serial_scratch(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "serial")?;
    let test = fact(p, &report, "serial-test")?;
    let got = test.text("scratch").unwrap_or_default();
    p.check("scratch register", got == "holds", got, "holds");
    Ok(())
}

fn serial_loopback(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "serial")?;
    let test = fact(p, &report, "serial-test")?;
    let got = number_of(p, test, "loopback")?;
    p.check_eq("byte that came back", got, 0x5au64);
    Ok(())
}

fn rtc_valid(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "rtc")?;
    let registers = fact(p, &report, "rtc-registers")?;
    let got = number_of(p, registers, "d")?;
    p.check_eq("register D", got, 0x80u64);
    Ok(())
}

/// The image reads register C once, milliseconds after power-on at the least: many periods of the rate at power-on.
fn rtc_periodic_flag(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "rtc")?;
    let registers = fact(p, &report, "rtc-registers")?;
    let (a, b) = (number_of(p, registers, "a")?, number_of(p, registers, "b")?);
    let c = number_of(p, registers, "c")?;
    let is_counting = a >> 4 & 7 == 2 && a & 0xf != 0;
    if !is_counting || b & REGISTER_B_PIE != 0 {
        let text = format!("firmware left registers A and B at {a:#x} and {b:#x}");
        return Err(Stop::NotApplicable(text));
    }
    p.check_eq("PF of register C", c & REGISTER_C_PF, REGISTER_C_PF);
    Ok(())
}

/// Decodes the bytes as register B says, and holds them to the time of the set-up.
fn rtc_time(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "rtc")?;
    let registers = fact(p, &report, "rtc-registers")?;
    let format = number_of(p, registers, "b")?;
    let time = fact(p, &report, "rtc-time")?;
    let mut fields = [0; 7];
    let names = ["century", "year", "month", "day", "hour", "minute", "second"];
    for (field, name) in fields.iter_mut().zip(names) {
        *field = number_of(p, time, name)?;
    }
    let Some(got) = time_text(fields, format) else {
        let bytes = fields.map(|byte| format!("{byte:02x}")).join(" ");
        let want = format!("a time as register B with {format:#x} has it");
        p.check("time registers", false, bytes, want);
        return Ok(());
    };
    let base = p.setup().rtc_base;
    let since = date::seconds_of(&got)
        .zip(date::seconds_of(base))
        .map(|(got, base)| got - base);
    let holds = since.is_some_and(|since| (0..=BOOT_SECONDS_MAX).contains(&since));
    let want = format!("{base} or up to {BOOT_SECONDS_MAX} seconds later");
    p.check("time", holds, got, want);
    Ok(())
}

/// `YYYY-MM-DDTHH:MM:SS` of century, year, month, day, hour, minute and second as the registers have them.
fn time_text(bytes: [u64; 7], format: u64) -> Option<String> {
    let decode = |byte: u64| {
        if format & REGISTER_B_DM != 0 {
            return (byte < 100).then_some(byte);
        }
        let (tens, ones) = (byte >> 4, byte & 0xf);
        (tens < 10 && ones < 10).then_some(tens * 10 + ones)
    };
    let [century, year, month, day, hour, minute, second] = bytes;
    let hour = if format & REGISTER_B_24H != 0 {
        decode(hour)?
    } else {
        // In 12-hour mode 12 comes first, and bit 7 is PM.
        decode(hour & 0x7f)? % 12 + if hour & 0x80 != 0 { 12 } else { 0 }
    };
    // The century is BCD in either format on a PC.
    let century = (century >> 4) * 10 + (century & 0xf);
    let (year, month, day) = (decode(year)?, decode(month)?, decode(day)?);
    let (minute, second) = (decode(minute)?, decode(second)?);
    Some(format!(
        "{century:02}{year:02}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    ))
}

fn rtc_memory_size(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "rtc")?;
    let setup = p.setup();
    let (below, above) = p.layout().ram_split(setup.ram_bytes, setup.max_ram_below_4g);
    for (index, want) in cmos::memory_size(below, above) {
        p.point(format!("index {index:#x}"));
        let told = report
            .facts("cmos")
            .find(|line| line.number("index") == Some(u64::from(index)));
        let Some(line) = told else {
            p.check("byte", false, "nothing", format!("{want:#x}"));
            continue;
        };
        let got = number_of(p, line, "value")?;
        p.check_eq("byte", got, want);
    }
    Ok(())
}

fn fw_cfg_answers(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "fw-cfg")?;
    let items = fact(p, &report, "fw-cfg-items")?;
    let (id, ram) = (number_of(p, items, "id")?, number_of(p, items, "ram-size")?);
    p.check_eq("interfaces in the id", id & 3, 3u64);
    p.check_eq("RAM size item", ram, p.setup().ram_bytes);
    // "QEMU CFG", as two double words of a little-endian machine.
    let dma = items.text("dma").unwrap_or_default();
    p.check("DMA address register", dma == FW_CFG_DMA, dma, FW_CFG_DMA);
    Ok(())
}

fn cpu_count(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "fw-cfg")?;
    let items = fact(p, &report, "fw-cfg-items")?;
    let (cpus, cpus_max) = (number_of(p, items, "cpus")?, number_of(p, items, "cpus-max")?);
    p.check_eq("CPUs present", cpus, p.setup().cpus);
    p.check_eq("CPUs at most", cpus_max, p.setup().cpus_max);
    Ok(())
}

fn cpu_bootstrap(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "local-apic")?;
    let apic = fact(p, &report, "local-apic")?;
    for (what, field, want) in [
        ("address", "base", LOCAL_APIC),
        ("enabled", "enabled", 1),
        ("bootstrap processor", "bootstrap", 1),
    ] {
        let got = number_of(p, apic, field)?;
        p.check_eq(what, got, want);
    }
    let cpu = fact(p, &report, "cpu")?;
    let id = number_of(p, cpu, "apic-id")?;
    p.check_eq("initial APIC ID", id, 0u64);
    // In x2APIC mode there are no registers in memory, and the image tells none.
    if let Some(registers) = report.facts("local-apic-registers").next() {
        let (id, version) = (number_of(p, registers, "id")?, number_of(p, registers, "version")?);
        p.check_eq("ID register", id, 0u64);
        p.check_eq("version of an integrated APIC", version & 0xf0, 0x10u64);
    }
    Ok(())
}

fn cpu_kvmclock(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "cpu")?;
    let cpu = fact(p, &report, "cpu")?;
    let hypervisor = number_of(p, cpu, "hypervisor")?;
    if hypervisor == 0 {
        p.note("CPUID tells of no hypervisor");
        return Ok(());
    }
    let leaf = fact(p, &report, "hypervisor")?;
    let signature = leaf.text("signature").unwrap_or_default().trim_end_matches('\0');
    let features = number_of(p, leaf, "kvm-features")?;
    let clock = match features & (KVM_CLOCKSOURCE | KVM_CLOCKSOURCE2) {
        0 => "without",
        _ => "with",
    };
    p.note(format!("CPUID tells of hypervisor {signature:?} {clock} KVM's clock"));
    Ok(())
}

fn ioapic_pins(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "ioapic")?;
    let ioapic = fact(p, &report, "ioapic")?;
    let version = number_of(p, ioapic, "version")?;
    p.check_eq("highest redirection entry", version >> 16 & 0xff, 23u64);
    let family = version & 0xf0;
    let want = "0x1X, or 0x2X with an EOI register";
    p.check("version", matches!(family, 0x10 | 0x20), format!("{version:#x}"), want);
    Ok(())
}

fn pic_pair(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "pic")?;
    let count = report.facts("pic").count();
    p.check_eq("chips looked at", count as u64, 2u64);
    for chip in report.facts("pic") {
        p.point(format!("chip {}", chip.text("chip").unwrap_or_default()));
        let present = number_of(p, chip, "present")?;
        p.check_eq("mask register holds a value", present, 1u64);
    }
    Ok(())
}

fn pit_channels(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "pit")?;
    let count = report.facts("pit").count();
    p.check_eq("channels looked at", count as u64, 3u64);
    for channel in report.facts("pit") {
        p.point(format!("channel {}", channel.text("channel").unwrap_or_default()));
        let present = number_of(p, channel, "present")?;
        p.check_eq("tells its status", present, 1u64);
    }
    Ok(())
}

/// The image skips what it does not find, so the verdict is no help; its facts are.
fn options_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = ktap::report(p)?;
    for (key, count) in [("rtc", 1u64), ("pic", 2), ("pit", 3)] {
        p.point(key);
        p.check_eq("places looked at", report.facts(key).count() as u64, count);
        for line in report.facts(key) {
            let present = number_of(p, line, "present")?;
            p.check_eq("answers", present, 0u64);
        }
        let is_skipped = report.verdict(key).is_some_and(|verdict| verdict.skip.is_some());
        p.check("verdict", is_skipped, "none, or judged", "skipped");
    }
    Ok(())
}

fn ports_float(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "ports")?;
    let claimed = p.layout().keyboard_ports();
    let is_empty = |port: u64| !claimed.clone().any(|own| u64::from(own) == port);
    for (port, width) in PORTS.into_iter().filter(|(port, _)| is_empty(*port)) {
        p.point(format!("port {port:#x}"));
        let told = report.facts("port").find(|line| line.number("port") == Some(port));
        let Some(line) = told else {
            p.check("value", false, "nothing", "all ones");
            continue;
        };
        let (value, told_width) = (number_of(p, line, "value")?, number_of(p, line, "width")?);
        p.check_eq("width", told_width, width);
        p.check_eq("value", value, u64::MAX >> (64 - 8 * width));
    }
    Ok(())
}

/// Checks the order, and keeps each mark's host time for the report's table of boot times.
fn tsc_in_order(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = ktap::report(p)?;
    let mut before = 0;
    let mut stamps = Vec::new();
    for word in ["entry", "long-mode", "console", "done"] {
        p.point(format!("mark {word}"));
        let Some(mark) = report.facts("mark").find(|mark| mark.has(word)) else {
            p.check("mark", false, report.end(), "a mark");
            return Err(Stop::NotMet);
        };
        let tsc = number_of(p, mark, "tsc")?;
        p.check(
            "time stamp",
            before <= tsc,
            format!("{tsc:#x}"),
            format!("{before:#x} or later"),
        );
        before = tsc;
        stamps.push((word, tsc));
    }
    let log = p.guest_log()?;
    let host = |word: &str| ktap::host_time_us(log, &format!("# mark: {word}"));
    if let (Some(console), Some(done)) = (host("console"), host("done")) {
        for (mark, host_us) in host_times(&stamps, console, done) {
            p.mark(mark, host_us);
        }
    }
    Ok(())
}

/// Host times of all marks. Only those behind the console are printed as they come; the host time of the ones before it
/// follows from their time stamps and the rate at which stamps and host time pass between console and done.
fn host_times(stamps: &[(&'static str, u64)], console_us: u64, done_us: u64) -> Vec<(&'static str, u64)> {
    let tsc_of = |word: &str| stamps.iter().find(|(mark, _)| *mark == word).map_or(0, |(_, tsc)| *tsc);
    let (console, done) = (tsc_of("console"), tsc_of("done"));
    let ticks = done.saturating_sub(console).max(1);
    let span_us = done_us.saturating_sub(console_us);
    let host_us = |tsc: u64| {
        let before_us = u128::from(console.saturating_sub(tsc)) * u128::from(span_us) / u128::from(ticks);
        let after_us = u128::from(tsc.saturating_sub(console)) * u128::from(span_us) / u128::from(ticks);
        console_us.saturating_sub(before_us as u64) + after_us as u64
    };
    stamps.iter().map(|(mark, tsc)| (*mark, host_us(*tsc))).collect()
}

const PAGE: u64 = 0x1000;
const HALF_MIB: u64 = 512 << 10;
const ONE_MIB: u64 = 1 << 20;
const FOUR_GIB: u64 = 4 << 30;

/// Most RAM above 1 MiB, in bytes, that firmware may keep for tables of its own.
const KEPT_BYTES_MAX: u64 = 1 << 20;

/// Longest boot, in seconds, that the clock may show; slower is a clock that does not show what it was set to.
const BOOT_SECONDS_MAX: i64 = 600;

const START_INFO_MAGIC: u64 = 0x336e_c578;
const KIND_RAM: u64 = 1;

const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
/// TF, IF and VM.
const EFLAGS_CLEAR: u64 = 1 << 8 | 1 << 9 | 1 << 17;

const LOCAL_APIC: u64 = 0xfee0_0000;

const VIRTIO_MAGIC: u64 = 0x7472_6976;
const VIRTIO_ENTROPY: u64 = 4;

const REGISTER_B_PIE: u64 = 0x40;
const REGISTER_C_PF: u64 = 0x40;
const REGISTER_B_DM: u64 = 0x04;
const REGISTER_B_24H: u64 = 0x02;

const FW_CFG_DMA: &str = "0x554d4551,0x47464320";

/// KVM_FEATURE_CLOCKSOURCE and KVM_FEATURE_CLOCKSOURCE2; Linux, Documentation/virt/kvm/x86/cpuid.rst.
const KVM_CLOCKSOURCE: u64 = 1 << 0;
const KVM_CLOCKSOURCE2: u64 = 1 << 3;

/// Ports that the image looks at, and how wide: keyboard controller, system control, ACPI, second serial port, PCI.
const PORTS: [(u64, u64); 9] = [
    (0x60, 1),
    (0x61, 1),
    (0x64, 1),
    (0x92, 1),
    (0xb2, 1),
    (0x2f8, 1),
    (0x604, 2),
    (0xcf8, 4),
    (0xcfc, 4),
];

#[cfg(test)]
mod tests;
