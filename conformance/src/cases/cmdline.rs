//! The kernel command line that the machine makes.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::microvm;
use crate::driver::cmdline;
use crate::driver::fw_cfg::{self, key};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &microvm::CMDLINE,
    level: Level::Must,
    features: &[Feature::FwCfg, Feature::AutoCmdline],
    needs: Caps::NONE,
    setup: ONE,
    body: Body::Bus(announces_devices),
};

const ONE: Setup = Setup {
    append: Some("console=ttyS0"),
    devices: &["virtio-rng"],
    ..Setup::DEFAULT
};
const EIGHT: [&str; 8] = ["virtio-rng"; 8];

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "cmdline/auto/off",
        title: "With auto-kernel-cmdline=off the command line is the user's.",
        clause: &microvm::CMDLINE_AUTO,
        setup: Setup {
            options: &[("rtc", "on"), ("auto-kernel-cmdline", "off")],
            ..ONE
        },
        body: Body::Bus(auto_off),
        ..AREA
    },
    Case {
        id: "cmdline/devices/answer",
        title: "Each announced address is a transport with a device.",
        clause: &microvm::TRANSPORTS,
        setup: Setup {
            devices: &["virtio-rng"; 3],
            ..ONE
        },
        body: Body::Bus(announced_devices_answer),
        ..AREA
    },
    Case {
        id: "cmdline/devices/eight",
        title: "Eight devices are announced from the highest transport to the lowest.",
        setup: Setup { devices: &EIGHT, ..ONE },
        ..AREA
    },
    Case {
        id: "cmdline/devices/none",
        title: "Without devices nothing is appended.",
        setup: Setup { devices: &[], ..ONE },
        ..AREA
    },
    Case {
        id: "cmdline/devices/one",
        title: "One device is announced by size, address and interrupt.",
        ..AREA
    },
    Case {
        id: "cmdline/devices/three",
        title: "Three devices take the three highest transports.",
        setup: Setup {
            devices: &["virtio-rng"; 3],
            ..ONE
        },
        ..AREA
    },
    Case {
        id: "cmdline/size/counts-nul",
        title: "The size item counts the string and its NUL.",
        clause: &microvm::FW_CFG_KERNEL,
        body: Body::Bus(size_counts_nul),
        ..AREA
    },
    Case {
        id: "cmdline/user/empty",
        title: "An empty user command line leaves a string that begins with a space.",
        level: Level::Should,
        setup: Setup {
            append: Some(""),
            ..ONE
        },
        ..AREA
    },
    Case {
        id: "cmdline/user/kept",
        title: "The user's words stand unchanged before what the machine appends, text after -- too.",
        setup: Setup {
            append: Some("a=b \"quoted words\" -- c"),
            ..ONE
        },
        ..AREA
    },
];

fn announces_devices(p: &mut Probe<'_>) -> Result<(), Stop> {
    let user = cmdline::user_line(p)?;
    let want = cmdline::with_announcements(p, &user);
    let got = fw_cfg::command_line(p)?;
    p.check("command line", got == want, got, want);
    Ok(())
}

fn announced_devices_answer(p: &mut Probe<'_>) -> Result<(), Stop> {
    let line = fw_cfg::command_line(p)?;
    let entries: Vec<&str> = line
        .split(' ')
        .filter_map(|word| word.strip_prefix("virtio_mmio.device=512@0x"))
        .collect();
    p.require_eq(
        "announced devices",
        entries.len() as u64,
        p.setup().devices.len() as u64,
    )?;
    for entry in entries {
        p.point(entry);
        let address = entry
            .split(':')
            .next()
            .and_then(|word| u64::from_str_radix(word, 16).ok());
        let Some(gpa) = address else {
            p.check("address", false, entry, "hexadecimal digits, a colon and the interrupt");
            continue;
        };
        let (magic, device) = (p.readl(gpa)?, p.readl(gpa + 8)?);
        p.check_eq("MagicValue", magic, 0x7472_6976u32);
        p.check("DeviceID", device != 0, "0", "a device");
    }
    Ok(())
}

fn auto_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    let want = cmdline::user_line(p)?;
    let got = fw_cfg::command_line(p)?;
    p.check("command line", got == want, got, want);
    Ok(())
}

fn size_counts_nul(p: &mut Probe<'_>) -> Result<(), Stop> {
    let size = fw_cfg::number(p, key::CMDLINE_SIZE, 4)? as usize;
    p.check("size", (2..=4096).contains(&size), size.to_string(), "2..=4096");
    let bytes = fw_cfg::item(p, key::CMDLINE_DATA, size.min(4096) + 4)?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    p.check_eq("bytes before the NUL, and the NUL", end as u64 + 1, size as u64);
    Ok(())
}
