//! The virtio devices and their drivers.

use std::fs;

use super::{Ends, Machine, Report, files};

pub(super) fn virtio(report: &mut Report, _machine: &Machine<'_>) -> Result<(), Ends> {
    let devices = files::entries("/sys/bus/virtio/devices");
    if devices.is_empty() {
        return Err(Ends::Absent("the kernel found no virtio device".to_owned()));
    }
    for device in &devices {
        let name = files::name(device);
        let driver = files::target(device.join("driver"));
        let place = fs::canonicalize(device).ok();
        let transport = place.as_deref().and_then(|path| path.parent()).map(files::name);
        report.fact(
            "virtio",
            format_args!(
                "name={name} device={} vendor={} status={} driver={} transport={}",
                files::field(device.join("device")),
                files::field(device.join("vendor")),
                files::field(device.join("status")),
                driver.as_deref().unwrap_or("none"),
                transport.as_deref().unwrap_or("?"),
            ),
        );
        report.expect(driver.is_some(), format_args!("{name} has no driver"));
    }
    Ok(())
}
