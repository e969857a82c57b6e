//! What must stand in the boot probe's report.

use crate::case::Feature;
use crate::driver::cmdline;
use crate::driver::ktap::{self, Fact, Report, fact, number_of};
use crate::machine::Stop;
use crate::probe::Probe;
use crate::subject::{date, disk};

pub(super) fn boots(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = ktap::report(p)?;
    p.check("report", report.ended, report.end(), "a report with its last line");
    let announced = report.plan.unwrap_or(0);
    p.check_eq("verdicts", report.verdicts.len() as u64, announced);
    Ok(())
}

pub(super) fn command_line(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "command-line")?;
    let want = cmdline::with_announcements(p, &cmdline::user_line(p)?);
    let got = text_of(p, &report, "command-line", "text")?;
    // A firmware may end it with a space, and Linux's file ends with a line.
    p.check("command line", got.trim_end() == want, got, want);
    Ok(())
}

pub(super) fn cpus(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "cpus")?;
    let cpus = fact(p, &report, "cpus")?;
    let online = number_of(p, cpus, "online")?;
    p.check_eq("CPUs online", online, p.setup().cpus);
    Ok(())
}

pub(super) fn clocksource(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "clocksource")?;
    if !p.facts().kvm {
        return Err(Stop::NotApplicable("the machine does not run on KVM".to_owned()));
    }
    // A CPU whose time stamp counter never stops is preferred to it.
    let available = text_of(p, &report, "clocksource", "available")?;
    let has = available.split(' ').any(|clock| clock == "kvm-clock");
    p.check("sources of time", has, available, "kvm-clock among them");
    Ok(())
}

pub(super) fn memory(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "memory-map")?;
    let map = ranges(p, &report, "memmap", "type")?;
    let taken = ranges(p, &report, "iomem", "name")?;
    let (low, high) = p.layout().ram_split(p.setup().ram_bytes, p.setup().max_ram_below_4g);
    // Below 1 MiB firmware and kernel take pages for themselves.
    let mut wanted = vec![(1 << 20, low - 1)];
    if high != 0 {
        wanted.push((1 << 32, (1 << 32) + high - 1));
    }
    for (what, got) in [("memory map", map), ("taken by Linux", taken)] {
        let (below, above) = cut(&got, 1 << 20);
        let above = joined(&above);
        p.check(
            &format!("RAM from 1 MiB on, {what}"),
            above == wanted,
            shown(&above),
            shown(&wanted),
        );
        // Where a PC has its video memory and ROMs there is none.
        let is_low = below.iter().all(|(_, last)| *last < 640 << 10);
        let bytes: u64 = below.iter().map(|(first, last)| last - first + 1).sum();
        p.check(
            &format!("RAM below 1 MiB, {what}"),
            is_low && (512 << 10..=640 << 10).contains(&bytes),
            format!("{}: {bytes} bytes", shown(&below)),
            "512 KiB to 640 KiB below 0xa0000",
        );
    }
    Ok(())
}

pub(super) fn serial(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "serial")?;
    let mut ports = report.facts("serial");
    let port = ports.find(|fact| fact.number("port") == Some(0x3f8));
    let Some(port) = port else {
        p.check("serial port", false, "none at 0x3f8", "one at 0x3f8");
        return Err(Stop::NotMet);
    };
    let kind = port.text("uart").unwrap_or_default();
    p.check("kind", kind == "16550A", kind, "16550A");
    let (irq, sent) = (number_of(p, port, "irq")?, number_of(p, port, "sent")?);
    // With ACPI Linux numbers interrupts as it likes, and says what each one is.
    let number = irq.to_string();
    let line = report.facts("interrupt").find(|fact| fact.text("irq") == Some(&number));
    let input = line.and_then(|fact| fact.text("chip").zip(fact.text("input")));
    let is_4 = irq == 4 || (p.layout().has(Feature::Acpi) && input == Some(("IO-APIC", "4")));
    p.check(
        "interrupt",
        is_4,
        format!("{irq}, {input:?}"),
        "4, or by ACPI IO-APIC 4",
    );
    // Linux's own lines are not counted, the report's are.
    p.check("bytes sent", 100 < sent, sent.to_string(), "the report so far");
    Ok(())
}

pub(super) fn rtc(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "rtc")?;
    let rtc = fact(p, &report, "rtc")?;
    let got = number_of(p, rtc, "since-epoch-s")? as i64;
    let start = date::seconds_of(p.setup().rtc_base)
        .ok_or_else(|| Stop::Unavailable("the set-up's date is none".to_owned()))?;
    // The clock was read before the host saw the line.
    let seen_us = ktap::host_time_us(p.guest_log()?, "# rtc:");
    let limit_s = seen_us.map_or(BOOT_SECONDS_MAX, |us| (us / 1_000_000) as i64 + 1);
    let fits = (start..=start + limit_s).contains(&got);
    let want = format!("{} or up to {limit_s} s later", date::text_of(start));
    p.check("date and time", fits, date::text_of(got), want);
    Ok(())
}

pub(super) fn virtio(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.devices().is_empty() {
        return Err(Stop::Unavailable(
            "the subject cannot be given a virtio device".to_owned(),
        ));
    }
    let report = judged(p, "virtio")?;
    let found = report.facts("virtio").count();
    p.check_eq("virtio devices", found as u64, p.devices().len() as u64);
    for device in devices(p, &report)? {
        p.check(
            device.name,
            device.driver == device.driver_wanted,
            &device.driver,
            device.driver_wanted,
        );
        let base = device.base;
        let is_there = report
            .facts("iomem")
            .any(|range| range.text("name") == Some(&device.transport) && range.number("start") == Some(base));
        let place = format!("{} at {base:#x}", device.transport);
        p.check(
            &format!("registers of {}", device.name),
            is_there,
            ranges_named(&report, &device.transport),
            place,
        );
        // ACKNOWLEDGE, DRIVER and DRIVER_OK, and not FAILED.
        let status = device.status;
        p.check(
            &format!("status of {}", device.name),
            status & 0x87 == 0x07,
            format!("{status:#x}"),
            "DRIVER_OK",
        );
    }
    Ok(())
}

pub(super) fn rng(p: &mut Probe<'_>) -> Result<(), Stop> {
    needs(p, "virtio-rng")?;
    judged(p, "rng").map(drop)
}

pub(super) fn blk(p: &mut Probe<'_>) -> Result<(), Stop> {
    needs(p, "virtio-blk")?;
    let report = judged(p, "blk")?;
    let size = fact(p, &report, "blk")?;
    let sectors = number_of(p, size, "sectors")?;
    p.check_eq("sectors", sectors, (disk::BYTES / SECTOR_BYTES) as u64);
    let image = disk::image();
    for sector in report.facts("blk-sector") {
        let index = number_of(p, sector, "index")?;
        let at = index as usize * SECTOR_BYTES;
        let want = image.get(at..at + SHOWN_BYTES).map(hex).unwrap_or_default();
        let got = sector.text("data").unwrap_or_default();
        p.check(&format!("sector {index} as found"), got == want, got, want);
    }
    p.check_eq("sectors looked at", report.facts("blk-sector").count() as u64, 4_u64);

    // What the guest wrote lies in the image, there and nowhere else.
    let written = fact(p, &report, "blk-written")?;
    let (index, data) = (
        number_of(p, written, "index")?,
        written.text("data").unwrap_or_default(),
    );
    let changed: Vec<_> = report
        .facts("host-disk")
        .filter_map(|fact| fact.number("index"))
        .collect();
    let wanted: Vec<_> = (index..index + WRITTEN_SECTORS).collect();
    p.check(
        "sectors changed in the image",
        changed == wanted,
        format!("{changed:?}"),
        format!("{wanted:?}"),
    );
    let first = report
        .facts("host-disk")
        .next()
        .and_then(|fact| fact.text("data"))
        .unwrap_or("none");
    p.check("first of them", first == data, first, data);
    Ok(())
}

pub(super) fn net(p: &mut Probe<'_>) -> Result<(), Stop> {
    needs(p, "virtio-net")?;
    judged(p, "net").map(drop)
}

pub(super) fn console(p: &mut Probe<'_>) -> Result<(), Stop> {
    needs(p, "virtio-console")?;
    judged(p, "console").map(drop)
}

pub(super) fn interrupts(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = judged(p, "interrupts")?;
    // Without ACPI only the MultiProcessor table tells of the IOAPIC, and a distribution's kernel may not read it.
    let drives_ioapic = report
        .facts("interrupt")
        .any(|fact| fact.text("chip") == Some("IO-APIC"));
    if p.facts().own_kernel && !drives_ioapic {
        let text = "the kernel given cannot tell: it drives no IOAPIC (CONFIG_X86_MPPARSE)";
        return Err(Stop::Unavailable(text.to_owned()));
    }
    let mut wired = Vec::new();
    if p.layout().has(Feature::Pit) {
        wired.push(("timer".to_owned(), p.layout().timer_input, Count::Any));
    }
    if p.layout().has(Feature::Serial) {
        wired.push(("ttyS0".to_owned(), 4, Count::Some));
    }
    if p.layout().has(Feature::Rtc) {
        wired.push(("rtc0".to_owned(), 8, Count::Any));
    }
    // A kernel of the user's may not read where the devices are.
    let finds_devices = !p.facts().own_kernel || report.facts("virtio").next().is_some();
    if p.layout().has(Feature::AutoCmdline) && finds_devices {
        for device in devices(p, &report)? {
            wired.push((device.name_in_linux, device.gsi, Count::Some));
        }
    }
    for (name, input, count) in wired {
        let want = format!("IO-APIC {input}");
        let line = report.facts("interrupt").find(|fact| fact.text("name") == Some(&name));
        let Some(line) = line else {
            p.check(&format!("interrupt of {name}"), false, "none", want);
            continue;
        };
        let (chip, at) = (
            line.text("chip").unwrap_or_default(),
            line.text("input").unwrap_or_default(),
        );
        let got = format!("{chip} {at}");
        p.check(&format!("interrupt of {name}"), got == want, got, want);
        let came = number_of(p, line, "count")?;
        if count == Count::Some {
            p.check(
                &format!("interrupts of {name}"),
                came != 0,
                came.to_string(),
                "more than none",
            );
        }
    }
    Ok(())
}

pub(super) fn reboot(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = ktap::report(p)?;
    p.check("report", report.ended, report.end(), "a report with its last line");
    let failed = report.fatal.clone().unwrap_or_else(|| "nothing".to_owned());
    p.check("said of the reset", report.fatal.is_none(), failed, "nothing");
    // It is started so that a reset ends it.
    p.check_eq("boots", report.starts, 1_u64);
    let exit = report.facts("host").find_map(|fact| fact.text("exit"));
    let exit = exit.unwrap_or("none").to_owned();
    p.check("exit code of the VMM", exit == "0", exit, "0");
    Ok(())
}

/// Whether an interrupt must have come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    Any,
    Some,
}

/// A device of the set-up as Linux has it.
struct Device {
    name: &'static str,
    base: u64,
    gsi: u8,
    name_in_linux: String,
    transport: String,
    status: u64,
    driver: String,
    driver_wanted: &'static str,
}

/// A case is about this device, which not every subject can be given.
fn needs(p: &Probe<'_>, device: &str) -> Result<(), Stop> {
    if p.devices().contains(&device) {
        return Ok(());
    }
    Err(Stop::Unavailable(format!(
        "the subject cannot be given device '{device}'"
    )))
}

/// The devices that the machine has, each found by its number of the virtio specification.
fn devices(p: &mut Probe<'_>, report: &Report) -> Result<Vec<Device>, Stop> {
    let mut devices = Vec::new();
    for (number, name) in p.devices().to_vec().into_iter().enumerate() {
        let (id, driver_wanted) = match name {
            "virtio-net" => (1, "virtio_net"),
            "virtio-blk" => (2, "virtio_blk"),
            "virtio-console" => (3, "virtio_console"),
            _ => (4, "virtio_rng"),
        };
        let found = report.facts("virtio").find(|fact| fact.number("device") == Some(id));
        let Some(found) = found else {
            p.check(name, false, "not found by Linux", "found");
            return Err(Stop::NotMet);
        };
        let text = |field: &str| found.text(field).unwrap_or_default().to_owned();
        let transport = p.layout().transport_of_device(number as u8);
        devices.push(Device {
            name,
            base: p.layout().transport(transport),
            gsi: p.layout().transport_gsi(transport),
            name_in_linux: text("name"),
            transport: text("transport"),
            status: number_of(p, found, "status")?,
            driver: text("driver"),
            driver_wanted,
        });
    }
    Ok(devices)
}

/// As [`ktap::judged`]; what a kernel of the user's lacks is not the machine's fault.
fn judged(p: &mut Probe<'_>, name: &str) -> Result<Report, Stop> {
    if p.facts().own_kernel {
        let report = ktap::report(p)?;
        let skip = report.verdict(name).and_then(|verdict| verdict.skip.clone());
        if let Some(reason) = skip {
            return Err(Stop::Unavailable(format!("the kernel given cannot tell: {reason}")));
        }
    }
    ktap::judged(p, name)
}

fn text_of(p: &mut Probe<'_>, report: &Report, key: &str, field: &str) -> Result<String, Stop> {
    Ok(fact(p, report, key)?.text(field).unwrap_or_default().to_owned())
}

/// First and last addresses.
type Ranges = Vec<(u64, u64)>;

/// First and last address of each fact that is about RAM, sorted.
fn ranges(p: &mut Probe<'_>, report: &Report, key: &str, field: &str) -> Result<Ranges, Stop> {
    let is_ram = |fact: &&Fact| fact.text(field) == Some("System RAM");
    let mut ranges = Vec::new();
    for line in report.facts(key).filter(is_ram) {
        ranges.push((number_of(p, line, "start")?, number_of(p, line, "end")?));
    }
    ranges.sort_unstable();
    Ok(ranges)
}

/// What of sorted ranges lies below an address, and what from there on.
fn cut(ranges: &[(u64, u64)], at: u64) -> (Ranges, Ranges) {
    let below = ranges.iter().filter(|(first, _)| *first < at);
    let above = ranges.iter().filter(|(_, last)| at <= *last);
    (
        below.map(|&(first, last)| (first, last.min(at - 1))).collect(),
        above.map(|&(first, last)| (first.max(at), last)).collect(),
    )
}

/// The same with neighbours as one.
fn joined(ranges: &[(u64, u64)]) -> Ranges {
    let mut joined: Ranges = Vec::new();
    for &(first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
            _ => joined.push((first, last)),
        }
    }
    joined
}

fn shown(ranges: &[(u64, u64)]) -> String {
    let ranges: Vec<_> = ranges
        .iter()
        .map(|(first, last)| format!("{first:#x}-{last:#x}"))
        .collect();
    if ranges.is_empty() {
        "none".to_owned()
    } else {
        ranges.join(", ")
    }
}

fn ranges_named(report: &Report, name: &str) -> String {
    let ranges = report.facts("iomem").filter(|fact| fact.text("name") == Some(name));
    let starts: Vec<_> = ranges.filter_map(|range| range.text("start")).collect();
    if starts.is_empty() {
        "nowhere".to_owned()
    } else {
        starts.join(", ")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const SECTOR_BYTES: usize = 512;

/// Bytes of a sector that the boot probe shows.
const SHOWN_BYTES: usize = 16;

/// Sectors that it writes.
const WRITTEN_SECTORS: u64 = 8;

/// Longest time from power-on to the look at the clock, in a log without times.
const BOOT_SECONDS_MAX: i64 = 60;
