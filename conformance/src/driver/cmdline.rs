//! The kernel command line as the machine makes it from the user's.
//!
//! Source: machine model, kernel command line; Linux, Documentation/admin-guide/kernel-parameters.txt,
//! "virtio_mmio.device=".

use crate::machine::Stop;
use crate::probe::Probe;

/// The devices that the machine announces for the set-up, as `(gpa, gsi)` in the order of the command line: that of the
/// devices where each took the next transport by the machine's rule.
pub fn announcements(p: &Probe<'_>) -> Vec<(u64, u8)> {
    let layout = p.layout();
    let chosen = p.facts().transports.clone();
    let numbers = 0..p.devices().len() as u8;
    let by_rule = numbers.map(|number| layout.transport_of_device(number)).collect();
    let mut transports: Vec<u8> = if chosen.is_empty() { by_rule } else { chosen };
    transports.sort_unstable();
    if layout.transport_of_device(0) != 0 {
        transports.reverse();
    }
    transports
        .into_iter()
        .map(|index| (layout.transport(index), layout.transport_gsi(index)))
        .collect()
}

/// The user's words followed by one entry for each device that the machine announces.
pub fn with_announcements(p: &Probe<'_>, user: &str) -> String {
    let size = p.layout().virtio_cmdline_size;
    let entries = announcements(p)
        .into_iter()
        .map(|(gpa, gsi)| format!(" virtio_mmio.device={size}@{gpa:#x}:{gsi}"));
    entries.fold(user.to_owned(), |line, entry| line + &entry)
}

/// The command line that the user gave.
///
/// # Errors
/// [`Stop::Unavailable`] when the machine was started without a kernel.
pub fn user_line(p: &Probe<'_>) -> Result<String, Stop> {
    p.facts()
        .append
        .clone()
        .ok_or_else(|| Stop::Unavailable("this subject starts without a kernel".to_owned()))
}
