//! What each machine option changes that a guest can see. README.md lists them all with the cases that show them.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{microvm, touchstone};
use crate::driver::ioapic::{self, IOAPICVER, LEVEL, MASKED, REMOTE_IRR};
use crate::driver::{fw_cfg, pic, ram};
use crate::machine::{Caps, Output, Stop};
use crate::probe::Probe;
use crate::subject::options::OPTION_ROM;

mod refused;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &microvm::OPTIONS,
    level: Level::Must,
    features: &[Feature::Rtc],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(rtc_off),
};

const fn with_device(devices: &'static [&'static str]) -> Setup {
    Setup {
        devices,
        ..Setup::DEFAULT
    }
}

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "options/all/off",
        title: "With everything switched off RAM and IOAPIC are still there, and nothing else answers.",
        clause: &microvm::OPTIONS,
        features: &[Feature::Pic, Feature::Pit, Feature::Rtc],
        setup: Setup {
            options: &[("pic", "off"), ("pit", "off"), ("rtc", "off")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(all_off),
        ..AREA
    },
    Case {
        id: "options/boot-marks/output",
        title: "Each byte to the boot-mark port reaches the host once and in order; the port reads as an empty one.",
        clause: &touchstone::BOOT_MARKS,
        features: &[],
        needs: Caps::OUTPUTS,
        setup: with_device(&["boot-marks"]),
        body: Body::Bus(boot_marks),
        ..AREA
    },
    Case {
        id: "options/debug-console/on",
        title: "The debug console answers at port 0x402 with its sign.",
        clause: &microvm::DEBUG_DEVICES,
        features: &[],
        setup: Setup {
            devices: &["isa-debugcon"],
            ..Setup::DEFAULT
        },
        needs: Caps::FROZEN,
        body: Body::Bus(debug_console),
        ..AREA
    },
    Case {
        id: "options/debug-console/output",
        title: "Each byte to the debug console reaches the host once and in order.",
        clause: &microvm::DEBUG_OUTPUT,
        features: &[],
        needs: Caps::OUTPUTS,
        setup: with_device(&["isa-debugcon"]),
        body: Body::Bus(debug_console_output),
        ..AREA
    },
    Case {
        id: "options/debug-exit/on",
        title: "The debug-exit device answers at port 0xf4.",
        clause: &microvm::DEBUG_DEVICES,
        features: &[],
        setup: Setup {
            devices: &["isa-debug-exit"],
            ..Setup::DEFAULT
        },
        needs: Caps::FROZEN,
        body: Body::Bus(debug_exit),
        ..AREA
    },
    Case {
        id: "options/debug-exit/output",
        title: "A number to the debug-exit port reaches the host.",
        clause: &microvm::DEBUG_OUTPUT,
        features: &[],
        needs: Caps::OUTPUTS,
        setup: with_device(&["isa-debug-exit"]),
        body: Body::Bus(debug_exit_output),
        ..AREA
    },
    Case {
        id: "options/isa-serial/off",
        title: "With isa-serial=off the serial port is absent.",
        features: &[Feature::Serial],
        needs: Caps::SERIAL,
        setup: Setup {
            options: &[("rtc", "on"), ("isa-serial", "off")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(serial_off),
        ..AREA
    },
    Case {
        id: "options/isa-serial/on",
        title: "By default the serial port is there.",
        features: &[Feature::Serial],
        body: Body::Bus(serial_on),
        ..AREA
    },
    Case {
        id: "options/kernel-irqchip/split",
        title: "With kernel-irqchip=split the controllers answer a CPU as they do without one.",
        clause: &microvm::OPTIONS_IRQCHIP,
        features: &[Feature::Pic, Feature::Ioapic],
        needs: Caps::STRING_IO,
        setup: Setup {
            options: &[("rtc", "on"), ("kernel-irqchip", "split")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(irqchip),
        ..AREA
    },
    Case {
        id: "options/pic/auto",
        title: "With pic=auto both 8259s are there.",
        clause: &microvm::OPTIONS_AUTO,
        features: &[Feature::Pic],
        setup: Setup {
            options: &[("rtc", "on"), ("pic", "auto")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(pic_on),
        ..AREA
    },
    Case {
        id: "options/pic/ioapic-alone",
        title: "With pic=off the IOAPIC still gets the timer's line.",
        clause: &microvm::GSI_WIRING,
        features: &[Feature::Pic, Feature::Pit, Feature::Ioapic],
        setup: Setup {
            options: &[("rtc", "on"), ("pic", "off")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(ioapic_alone),
        ..AREA
    },
    Case {
        id: "options/pic/off",
        title: "With pic=off both 8259s are absent.",
        features: &[Feature::Pic],
        setup: Setup {
            options: &[("rtc", "on"), ("pic", "off")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(pic_off),
        ..AREA
    },
    Case {
        id: "options/pic/on",
        title: "By default both 8259s are there.",
        features: &[Feature::Pic],
        body: Body::Bus(pic_on),
        ..AREA
    },
    Case {
        id: "options/pit/auto",
        title: "With pit=auto the 8254 is there.",
        clause: &microvm::OPTIONS_AUTO,
        features: &[Feature::Pit],
        setup: Setup {
            options: &[("rtc", "on"), ("pit", "auto")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(pit_on),
        ..AREA
    },
    Case {
        id: "options/pit/off",
        title: "With pit=off the 8254 is absent.",
        features: &[Feature::Pit],
        setup: Setup {
            options: &[("rtc", "on"), ("pit", "off")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(pit_off),
        ..AREA
    },
    Case {
        id: "options/pit/off-no-ticks",
        title: "With pit=off the timer's line never moves.",
        clause: &microvm::OPTIONS,
        features: &[Feature::Pit],
        needs: Caps::CLOCK.with(Caps::LINES),
        setup: Setup {
            options: &[("rtc", "on"), ("pit", "off")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(pit_silent),
        ..AREA
    },
    Case {
        id: "options/pit/on",
        title: "By default the 8254 is there.",
        features: &[Feature::Pit],
        body: Body::Bus(pit_on),
        ..AREA
    },
    refused::CPUS,
    refused::DEVICES,
    refused::FILE_NAMES,
    refused::PARTS,
    Case {
        id: "options/rtc/auto",
        title: "With rtc=auto the clock is there unless the machine runs on KVM.",
        clause: &microvm::OPTIONS_AUTO,
        setup: Setup {
            options: &[("rtc", "auto")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(rtc_auto),
        ..AREA
    },
    Case {
        id: "options/rtc/off",
        title: "With rtc=off the clock is absent.",
        setup: Setup {
            options: &[("rtc", "off")],
            ..Setup::DEFAULT
        },
        ..AREA
    },
    Case {
        id: "options/rtc/on",
        title: "With rtc=on the clock is there and its data are valid.",
        body: Body::Bus(rtc_on),
        ..AREA
    },
    Case {
        id: "options/x-option-roms/given",
        title: "An option ROM of the user's is offered by its file's name, beside the one that starts the kernel.",
        clause: &microvm::OPTION_ROMS_GIVEN,
        features: &[Feature::FwCfg],
        setup: Setup {
            devices: &["option-rom"],
            append: Some("quiet"),
            ..Setup::DEFAULT
        },
        body: Body::Bus(option_rom_given),
        ..AREA
    },
    Case {
        id: "options/x-option-roms/header",
        title: "The option ROM has the signature, the length and the checksum that a firmware wants.",
        clause: &microvm::OPTION_ROM_HEADER,
        features: &[Feature::FwCfg],
        setup: Setup {
            append: Some("quiet"),
            ..Setup::DEFAULT
        },
        body: Body::Bus(option_rom_header),
        ..AREA
    },
    Case {
        id: "options/x-option-roms/off",
        title: "With x-option-roms=off no option ROM is offered.",
        clause: &microvm::OPTION_ROMS,
        features: &[Feature::FwCfg],
        setup: Setup {
            options: &[("rtc", "on"), ("x-option-roms", "off")],
            append: Some("quiet"),
            ..Setup::DEFAULT
        },
        body: Body::Bus(option_roms_off),
        ..AREA
    },
    Case {
        id: "options/x-option-roms/on",
        title: "By default the option ROM that starts a PVH kernel is offered.",
        clause: &microvm::OPTION_ROMS,
        features: &[Feature::FwCfg],
        setup: Setup {
            append: Some("quiet"),
            ..Setup::DEFAULT
        },
        body: Body::Bus(option_roms_on),
        ..AREA
    },
];

fn check_float(p: &mut Probe<'_>, ports: impl IntoIterator<Item = u16>) -> Result<(), Stop> {
    ram::answers(p)?;
    for port in ports {
        p.point(format!("port {port:#x}"));
        p.outb(port, 0x11)?;
        let got = p.inb(port)?;
        p.check_eq("byte", got, 0xffu8);
    }
    Ok(())
}

/// Register D (index 0x0d) says in bit 7 that RAM and time are valid.
fn rtc_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(0x70, 0x0d)?;
    let got = p.inb(0x71)?;
    p.check_eq("register D", got, 0x80u8);
    Ok(())
}

fn rtc_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, 0x70..0x72)
}

/// The interrupt mask register (OCW1) holds what was written.
fn pic_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    for port in [0x21, 0xa1] {
        p.point(format!("port {port:#x}"));
        for mask in [0xfb, 0x5a, 0xff] {
            p.outb(port, mask)?;
            let got = p.inb(port)?;
            p.check_eq("mask", got, mask);
        }
    }
    Ok(())
}

fn pic_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1])
}

/// Mode 3, both bytes, count 0x1234 on channel 2, then the read-back command's status without OUT and null count.
fn pit_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(0x43, 0xb6)?;
    p.outb(0x42, 0x34)?;
    p.outb(0x42, 0x12)?;
    p.outb(0x43, 0xe8)?;
    let status = p.inb(0x42)?;
    p.check_eq("status: both bytes, mode 3, binary", status & 0x3f, 0x36u8);
    Ok(())
}

fn pit_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, 0x40..0x44)
}

/// The scratch register holds any byte.
fn serial_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [0x5a, 0xa5] {
        p.outb(0x3ff, value)?;
        let got = p.inb(0x3ff)?;
        p.check_eq("scratch register", got, value);
    }
    Ok(())
}

fn serial_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, 0x3f8..0x400)
}

fn all_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, [0x20, 0x21, 0x40, 0x43, 0x61, 0x70, 0x71, 0xa0, 0xa1, 0x4d0, 0x4d1])?;
    let version = ioapic::read(p, IOAPICVER)?;
    p.check_eq("IOAPIC: highest entry", version >> 16 & 0xff, 23u32);
    Ok(())
}

/// A guest reads 0xe9 there before it prints.
fn debug_console(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = p.inb(0x402)?;
    p.check_eq("port 0x402", got, 0xe9u8);
    Ok(())
}

fn debug_exit(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (got, beside) = (p.inb(0xf4)?, p.inb(0xf8)?);
    p.check_eq("port 0xf4", got, 0u8);
    p.check_eq("port 0xf8, which is empty", beside, 0xffu8);
    Ok(())
}

fn irqchip(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic_on(p)?;
    let version = ioapic::read(p, IOAPICVER)?;
    p.check_eq("IOAPIC: highest entry", version >> 16 & 0xff, 23u32);
    let entry = ioapic::low(23);
    ioapic::write(p, entry, MASKED | LEVEL | 0x5a)?;
    let got = ioapic::read(p, entry)?;
    p.check_eq("IOAPIC: entry 23", got, MASKED | LEVEL | 0x5a);
    Ok(())
}

fn ioapic_alone(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, [0x20, 0x21, 0xa0, 0xa1])?;
    pic::lower_timer(p)?;
    ioapic::write(p, ioapic::low(2), MASKED | LEVEL | 0x51)?;
    ioapic::write(p, ioapic::low(2), LEVEL | 0x51)?;
    pic::raise_timer(p)?;
    let got = ioapic::read(p, ioapic::low(2))?;
    p.check_eq("remote IRR of entry 2", got & REMOTE_IRR, REMOTE_IRR);
    Ok(())
}

fn pit_silent(p: &mut Probe<'_>) -> Result<(), Stop> {
    ram::answers(p)?;
    p.line_events()?;
    p.advance(1_000_000_000)?;
    let events = p.line_events()?;
    p.check_eq("changes of lines in a second", events.len() as u64, 0u64);
    let got = p.inb(0x40)?;
    p.check_eq("port 0x40", got, 0xffu8);
    Ok(())
}

fn rtc_auto(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.facts().kvm { rtc_off(p) } else { rtc_on(p) }
}

fn option_roms(p: &mut Probe<'_>) -> Result<Vec<String>, Stop> {
    let files = fw_cfg::directory(p)?;
    p.check("files offered by fw_cfg", !files.is_empty(), "none", "some");
    let names = files.into_iter().map(|file| file.name);
    Ok(names.filter(|name| name.starts_with("genroms/")).collect())
}

fn option_roms_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    let names = option_roms(p)?;
    let there = names.iter().any(|name| name == "genroms/pvh.bin");
    p.check("option ROMs", there, names.join(" "), "genroms/pvh.bin");
    Ok(())
}

fn option_roms_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    let names = option_roms(p)?;
    p.check("option ROMs", names.is_empty(), names.join(" "), "none");
    Ok(())
}

/// Sends bytes to a port and checks what of it reached the host.
fn check_output(p: &mut Probe<'_>, port: u16, output: fn(u8) -> Output) -> Result<(), Stop> {
    p.outputs()?;
    let bytes = [0x00, 0x7b, 0x7b, 0xff, 0x31];
    for byte in bytes {
        p.outb(port, byte)?;
    }
    let got = p.outputs()?;
    let want = bytes.map(output);
    p.check(
        "what reached the host",
        got == want,
        format!("{got:x?}"),
        format!("{want:x?}"),
    );
    Ok(())
}

fn debug_console_output(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_output(p, 0x402, Output::DebugConsole)
}

fn debug_exit_output(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_output(p, 0xf4, |byte| Output::DebugExit(u32::from(byte)))
}

fn boot_marks(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_output(p, 0x3f0, Output::BootMark)?;
    let got = p.inb(0x3f0)?;
    p.check_eq("port 0x3f0", got, 0xffu8);
    Ok(())
}

fn option_rom_header(p: &mut Probe<'_>) -> Result<(), Stop> {
    let name = "genroms/pvh.bin";
    let file = fw_cfg::file(p, name)?;
    let rom = fw_cfg::contents(p, name, file.size.min(0x2_0000) as usize)?;
    p.require_eq("more bytes than a header has", rom.len() > 3, true)?;
    p.check_bytes("signature", &rom[..2], &[0x55, 0xaa]);
    p.check_eq(
        "length in units of 512 bytes",
        u64::from(rom[2]) * 512,
        u64::from(file.size),
    );
    let sum = rom.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    p.check_eq("sum of all bytes", sum, 0u8);
    Ok(())
}

fn option_rom_given(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (name, bytes) = OPTION_ROM;
    let path = format!("genroms/{name}");
    let got = option_roms(p)?;
    let mut want = vec!["genroms/pvh.bin".to_owned(), path.clone()];
    want.sort();
    p.check("option ROMs", got == want, got.join(" "), want.join(" "));
    let rom = fw_cfg::contents(p, &path, bytes.len())?;
    p.check_bytes("option ROM given", &rom, bytes);
    option_rom_header(p)
}
