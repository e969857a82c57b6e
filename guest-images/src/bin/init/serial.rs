//! The serial ports that the kernel found.

use super::{Ends, Machine, Report, files};

pub(super) fn serial(report: &mut Report, _machine: &Machine<'_>) -> Result<(), Ends> {
    let text = files::needed("/proc/tty/driver/serial")?;
    let mut known = 0;
    // `0: uart:16550A port:000003F8 irq:4 tx:94 rx:0 RTS|DTR`
    for line in text.lines() {
        let Some((line, rest)) = line.split_once(": ") else {
            continue;
        };
        let part = |name: &str| {
            rest.split(' ')
                .find_map(|word| word.strip_prefix(name)?.strip_prefix(':'))
        };
        let (Some(uart), Some(port), Some(irq)) = (part("uart"), part("port"), part("irq")) else {
            continue;
        };
        if uart != "unknown" {
            known += 1;
            let sent = part("tx").unwrap_or("0");
            report.fact(
                "serial",
                format_args!(
                    "line={} uart={uart} port=0x{} irq={irq} sent={sent}",
                    line.trim(),
                    port.to_lowercase()
                ),
            );
        }
    }
    match known {
        0 => Err(Ends::Absent("the kernel found no serial port".to_owned())),
        _ => Ok(()),
    }
}
