//! Memory as the firmware or loader told of it, and as the kernel took it.

use guest_images::ktap::Quoted;

use super::{Ends, Machine, Report, files};

/// The e820 table before the kernel changed it.
pub(super) fn memory_map(report: &mut Report, _machine: &Machine<'_>) -> Result<(), Ends> {
    let entries = files::entries("/sys/firmware/memmap");
    if entries.is_empty() {
        return Err(Ends::Absent("the kernel has no /sys/firmware/memmap".to_owned()));
    }
    let mut ram = 0;
    for entry in &entries {
        let kind = files::needed(entry.join("type"))?;
        ram += u32::from(kind == RAM);
        report.fact(
            "memmap",
            format_args!(
                "index={} start={} end={} type={}",
                files::name(entry),
                files::field(entry.join("start")),
                files::field(entry.join("end")),
                Quoted(kind.as_bytes())
            ),
        );
    }
    report.expect(ram != 0, format_args!("no entry is {RAM}"));
    Ok(())
}

/// Who uses which addresses.
pub(super) fn iomem(report: &mut Report, _machine: &Machine<'_>) -> Result<(), Ends> {
    let text = files::needed("/proc/iomem")?;
    let mut ram = 0;
    for line in text.lines() {
        let (range, name) = line.split_once(" : ").unwrap_or((line, ""));
        let depth = (range.len() - range.trim_start().len()) / 2;
        let Some((start, end)) = range.trim().split_once('-') else {
            report.wrong(format_args!("line without a range: {}", Quoted(line.as_bytes())));
            continue;
        };
        ram += u32::from(name == RAM);
        report.fact(
            "iomem",
            format_args!(
                "start=0x{start} end=0x{end} depth={depth} name={}",
                Quoted(name.as_bytes())
            ),
        );
    }
    report.expect(ram != 0, format_args!("no range is {RAM}"));
    Ok(())
}

const RAM: &str = "System RAM";
