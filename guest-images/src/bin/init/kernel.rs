//! What the kernel was told and what it runs on.

use guest_images::ktap::Quoted;

use super::{Ends, Machine, Report, files};

pub(super) fn command_line(report: &mut Report, machine: &Machine<'_>) -> Result<(), Ends> {
    let release = files::field("/proc/sys/kernel/osrelease");
    let version = files::field("/proc/sys/kernel/version");
    report.fact(
        "kernel",
        format_args!(
            "release={} version={}",
            Quoted(release.as_bytes()),
            Quoted(version.as_bytes())
        ),
    );
    let text = machine.command_line;
    report.fact(
        "command-line",
        format_args!("length={} text={}", text.len(), Quoted(text.as_bytes())),
    );
    report.expect(!text.is_empty(), format_args!("/proc/cmdline is empty or missing"));
    Ok(())
}

pub(super) fn cpus(report: &mut Report, _machine: &Machine<'_>) -> Result<(), Ends> {
    let text = files::needed("/proc/cpuinfo")?;
    let count = |key: &str| {
        text.lines()
            .filter(|line| line.split(':').next().is_some_and(|own| own.trim() == key))
            .count()
    };
    let online = count("processor");
    let folder = "/sys/devices/system/cpu";
    report.fact(
        "cpus",
        format_args!(
            "online={online} possible={} present={}",
            files::field(format!("{folder}/possible")),
            files::field(format!("{folder}/present"))
        ),
    );
    report.expect(online != 0, format_args!("/proc/cpuinfo names no processor"));
    Ok(())
}

pub(super) fn clocksource(report: &mut Report, _machine: &Machine<'_>) -> Result<(), Ends> {
    let folder = "/sys/devices/system/clocksource/clocksource0";
    let current = files::needed(format!("{folder}/current_clocksource"))?;
    let available = files::field(format!("{folder}/available_clocksource"));
    report.fact(
        "clocksource",
        format_args!(
            "current={} available={}",
            Quoted(current.as_bytes()),
            Quoted(available.as_bytes())
        ),
    );
    Ok(())
}
