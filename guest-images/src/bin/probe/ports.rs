//! Ports that a PC has and a microvm need not: what reading them gives. A value is no verdict, that a read returns is.

use guest_images::runtime::port;
use guest_protocol::Width;

use crate::{Machine, Outcome, Report};

pub(crate) fn ports(report: &mut Report, _: &Machine<'_>) -> Outcome {
    for (port, width) in PORTS {
        let value = port::read(port, width);
        report.fact("port", format_args!("port={port:#x} width={width} value={value:#x}"));
    }
    Outcome::Judged
}

/// Keyboard controller, system control A and B, ACPI's usual power management, the second serial port, PCI.
const PORTS: [(u16, Width); 9] = [
    (0x60, Width::Byte),
    (0x61, Width::Byte),
    (0x64, Width::Byte),
    (0x92, Width::Byte),
    (0xb2, Width::Byte),
    (0x2f8, Width::Byte),
    (0x604, Width::Word),
    (0xcf8, Width::Long),
    (0xcfc, Width::Long),
];
