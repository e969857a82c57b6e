//! Who makes and routes interrupts: the PIC pair, the PIT, the IOAPIC, the local APIC.
//!
//! Source: Intel 8259A, 8254 and 82093AA data sheets; Intel SDM volume 3, chapter 12 "Advanced Programmable Interrupt
//! Controller".

use guest_images::{
    ktap::Bit,
    runtime::{cpu, memory, port},
};
use guest_protocol::Width;

use crate::{Machine, Outcome, Report};

/// A PIC is where the mask register holds what is written. The masks are put back.
pub(crate) fn pic(report: &mut Report, _: &Machine<'_>) -> Outcome {
    let mut present = 0;
    for (name, command, data) in [("primary", 0x20, 0x21), ("secondary", 0xa0, 0xa1)] {
        let mask = port::read_byte(data);
        let mut holds = true;
        for value in [0xa5, 0x5a] {
            port::write_byte(data, value);
            holds &= port::read_byte(data) == value;
        }
        port::write_byte(data, mask);
        present += u32::from(holds);
        let elcr = if command == 0x20 { 0x4d0 } else { 0x4d1 };
        report.fact(
            "pic",
            format_args!(
                "chip={name} present={} mask={mask:#x} status={:#x} elcr={:#x}",
                Bit(holds),
                port::read_byte(command),
                port::read_byte(elcr)
            ),
        );
    }
    match present {
        0 => Outcome::Absent("no mask register holds a value"),
        _ => {
            report.expect(present == 2, format_args!("one chip of two"));
            Outcome::Judged
        }
    }
}

/// A PIT is where the read-back status is not all ones: that would be an undocumented mode.
pub(crate) fn pit(report: &mut Report, _: &Machine<'_>) -> Outcome {
    let mut present = false;
    for channel in 0..3u16 {
        // Read-back command: status of one channel, its count not latched.
        port::write_byte(PIT_CONTROL, 0xe0 | 0x02 << channel);
        let status = port::read_byte(PIT_COUNTER + channel);
        present |= status != 0xff;
        report.fact(
            "pit",
            format_args!("channel={channel} present={} status={status:#x}", Bit(status != 0xff)),
        );
    }
    if present {
        Outcome::Judged
    } else {
        Outcome::Absent("no channel tells its status")
    }
}

pub(crate) fn ioapic(report: &mut Report, _: &Machine<'_>) -> Outcome {
    let register = |index| {
        memory::store(IOAPIC + IOREGSEL, Width::Long, index)?;
        memory::load(IOAPIC + IOWIN, Width::Long)
    };
    let (id, version) = match (register(0), register(1)) {
        (Ok(id), Ok(version)) => (id, version),
        (Err(failure), _) | (_, Err(failure)) => {
            report.wrong(format_args!("ioapic {failure}"));
            return Outcome::Judged;
        }
    };
    // 0x1X are the versions of 82093AA and its successors, 0x2X those with an EOI register.
    let present = matches!(version & 0xf0, 0x10 | 0x20);
    report.fact(
        "ioapic",
        format_args!(
            "present={} base={IOAPIC:#x} id={id:#x} version={version:#x} pins={}",
            Bit(present),
            if present { (version >> 16 & 0xff) + 1 } else { 0 }
        ),
    );
    if present {
        Outcome::Judged
    } else {
        Outcome::Absent("no version register at 0xfec00000")
    }
}

pub(crate) fn local_apic(report: &mut Report, _: &Machine<'_>) -> Outcome {
    if cpu::cpuid(1).edx & CPUID_1_EDX_APIC == 0 {
        return Outcome::Absent("CPUID tells of no local APIC");
    }
    let base = match memory::read_msr(IA32_APIC_BASE) {
        Ok(base) => base,
        Err(failure) => {
            report.wrong(format_args!("msr={IA32_APIC_BASE:#x} {failure}"));
            return Outcome::Judged;
        }
    };
    let registers = base & 0x000f_ffff_ffff_f000;
    let enabled = base & APIC_BASE_ENABLE != 0;
    let bootstrap = base & APIC_BASE_BSP != 0;
    report.fact(
        "local-apic",
        format_args!(
            "msr={base:#x} base={registers:#x} enabled={} bootstrap={}",
            Bit(enabled),
            Bit(bootstrap)
        ),
    );
    report.expect(enabled, format_args!("local APIC disabled"));
    report.expect(bootstrap, format_args!("not the bootstrap processor"));
    if enabled && base & APIC_BASE_X2APIC == 0 {
        let register = |offset| memory::load(registers + offset, Width::Long);
        match (register(0x20), register(0x30)) {
            (Ok(id), Ok(version)) => {
                report.fact("local-apic-registers", format_args!("id={id:#x} version={version:#x}"));
            }
            (Err(failure), _) | (_, Err(failure)) => report.wrong(format_args!("local-apic {failure}")),
        }
    }
    Outcome::Judged
}

const PIT_COUNTER: u16 = 0x40;
const PIT_CONTROL: u16 = 0x43;

const IOAPIC: u64 = 0xfec0_0000;
const IOREGSEL: u64 = 0x00;
const IOWIN: u64 = 0x10;

const CPUID_1_EDX_APIC: u32 = 1 << 9;
const IA32_APIC_BASE: u32 = 0x1b;
const APIC_BASE_BSP: u64 = 1 << 8;
const APIC_BASE_X2APIC: u64 = 1 << 10;
const APIC_BASE_ENABLE: u64 = 1 << 11;
