//! Which interrupts came, and from where.

use guest_images::ktap::Quoted;

use super::{Ends, Machine, Report, files};

pub(super) fn interrupts(report: &mut Report, _machine: &Machine<'_>) -> Result<(), Ends> {
    let text = files::needed("/proc/interrupts")?;
    let mut lines = text.lines();
    let cpus = lines.next().unwrap_or_default().split_whitespace().count();
    let mut any = false;
    // ` 12:   3   0   IO-APIC  12-edge      virtio0`
    for line in lines {
        let mut words = line.split_whitespace();
        let Some(Ok(irq)) = words
            .next()
            .and_then(|word| word.strip_suffix(':'))
            .map(str::parse::<u32>)
        else {
            continue;
        };
        let count: u64 = words
            .by_ref()
            .take(cpus)
            .filter_map(|word| word.parse::<u64>().ok())
            .sum();
        let chip = words.next().unwrap_or("?");
        let (input, trigger) = words.next().and_then(|word| word.split_once('-')).unwrap_or(("?", "?"));
        let name = words.collect::<Vec<_>>().join(" ");
        any |= count != 0;
        report.fact(
            "interrupt",
            format_args!(
                "irq={irq} count={count} chip={chip} input={input} trigger={trigger} name={}",
                Quoted(name.as_bytes())
            ),
        );
    }
    report.expect(any, format_args!("no device has interrupted"));
    Ok(())
}
