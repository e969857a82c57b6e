//! Goldens: what a machine says about itself, as reviewed text.
//!
//! Each golden is one aspect of one profile over a matrix of set-ups. The text is read out of a machine through its
//! ports, so the same words can be read out of the reference, a live QEMU, or a recording.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::case::Setup;
use crate::driver::{cmos, fw_cfg};
use crate::layout::{self, Layout};
use crate::machine::{Adapter, Caps, Facts, Machine, Stop, Width};
use crate::probe::Probe;
use crate::program::Action;
use crate::recording::{Operation, Record};

/// One aspect of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The e820 table of fw_cfg.
    E820,
    /// The CMOS bytes that hold memory sizes, and all 128 of them once.
    Cmos,
    /// The fw_cfg directory.
    FwCfg,
    /// The command line the kernel gets.
    Cmdline,
}

/// One set-up of the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What stands in the golden before the facts: `4G`, `4G limit 1G`.
    pub label: String,
    /// The machine.
    pub setup: Setup,
}

/// The facts of one point, or why they could not be read.
pub type Facet = Result<String, String>;

impl Aspect {
    /// All aspects.
    pub const ALL: [Aspect; 4] = [Aspect::E820, Aspect::Cmos, Aspect::FwCfg, Aspect::Cmdline];

    /// The golden's name.
    pub fn name(self) -> &'static str {
        match self {
            Aspect::E820 => "e820",
            Aspect::Cmos => "cmos",
            Aspect::FwCfg => "fw_cfg",
            Aspect::Cmdline => "cmdline",
        }
    }

    /// The set-ups of the aspect for a profile, in the golden's order.
    pub fn matrix(self, layout: &Layout) -> Vec<Point> {
        if self == Aspect::Cmdline {
            cmdline_matrix()
        } else {
            ram_matrix(layout)
        }
    }

    /// Reads the aspect out of a machine that was started as `setup` says.
    ///
    /// # Errors
    /// The reason why it could not be read.
    pub fn read(self, machine: &mut dyn Machine, layout: &Layout, setup: &Setup) -> Facet {
        let mut probe = Probe::new(machine, layout, setup);
        let text = match self {
            Aspect::E820 => e820(&mut probe),
            Aspect::Cmos => cmos_sizes(&mut probe),
            Aspect::FwCfg => directory(&mut probe),
            Aspect::Cmdline => fw_cfg::command_line(&mut probe).map(|line| format!("{line:?}")),
        };
        text.map_err(|stop| match stop {
            Stop::Unavailable(reason) | Stop::NotApplicable(reason) => reason,
            Stop::Unsupported(caps) => format!("subject lacks capability {caps}"),
            Stop::Broken(broken) => broken.to_string(),
            Stop::NotMet => match probe.into_record().mismatches.first() {
                Some(mismatch) => format!("{}: got {}, want {}", mismatch.what, mismatch.got, mismatch.want),
                None => "a requirement is not met".to_owned(),
            },
        })
    }

    /// The whole golden of a profile, read out of an adapter's machines.
    ///
    /// # Errors
    /// The first point that cannot be read, with the reason.
    pub fn render(self, adapter: &dyn Adapter, layout: &Layout) -> Result<String, String> {
        let mut text = String::new();
        for point in self.matrix(layout) {
            let facts = self
                .read_point(adapter, layout, &point)
                .map_err(|why| format!("{}: {why}", point.label))?;
            let _infallible = writeln!(text, "{}", line(&point.label, &facts));
        }
        Ok(text)
    }

    /// Boots one point and reads the aspect.
    ///
    /// # Errors
    /// The reason why it could not be read.
    pub fn read_point(self, adapter: &dyn Adapter, layout: &Layout, point: &Point) -> Facet {
        let mut machine = adapter
            .boot(&point.setup, layout)
            .map_err(|failure| match failure.stop {
                Stop::Unavailable(reason) => reason,
                other => format!("{other:?}"),
            })?;
        self.read(machine.as_mut(), layout, &point.setup)
    }
}

/// One line of a golden.
pub fn line(label: &str, facts: &str) -> String {
    format!("{label:<16} {facts}").trim_end().to_owned()
}

/// The lines of a golden file: what stands behind the snapshot's header.
pub fn lines(snapshot: &str) -> Vec<&str> {
    let body = snapshot
        .strip_prefix("---\n")
        .and_then(|rest| rest.split_once("\n---\n"))
        .map_or(snapshot, |(_, b)| b);
    body.lines().filter(|line| !line.is_empty()).collect()
}

/// Checks what must hold in any e820 golden, whoever wrote it: entries sorted, none reaching into the next, into the
/// transports or into 0xfec00000..4 GiB, the first from 0, and RAM summing up to the label.
///
/// # Errors
/// The line and what is wrong in it.
pub fn check_e820(layout: &Layout, snapshot: &str) -> Result<(), String> {
    let lines = lines(snapshot);
    if lines.is_empty() {
        return Err("the golden is empty".to_owned());
    }
    let windows = [
        (
            layout.virtio_base,
            layout.virtio_stride_bytes * u64::from(layout.virtio_count),
        ),
        (0xfec0_0000, 0x140_0000),
    ];
    for text in lines {
        let wrong = |what: &str| Err(format!("'{text}': {what}"));
        let mut words = text.split_ascii_whitespace();
        let Some(ram_bytes) = words.next().and_then(parse_size) else {
            return wrong("no RAM size");
        };
        let entries = text.split('[').skip(1).map(parse_entry).collect::<Option<Vec<_>>>();
        let Some(entries) = entries.filter(|entries| !entries.is_empty()) else {
            return wrong("not entries");
        };
        if entries[0].0 != 0 {
            return wrong("RAM does not begin at 0");
        }
        if entries.iter().map(|entry| entry.1).sum::<u64>() != ram_bytes {
            return wrong("RAM does not sum up");
        }
        let mut ranges = entries;
        ranges.extend(windows);
        ranges.sort_unstable();
        if ranges.windows(2).any(|pair| pair[1].0 < pair[0].0 + pair[0].1) {
            return wrong("ranges overlap");
        }
    }
    Ok(())
}

/// A machine that only knows what a recording says: CMOS bytes and fw_cfg items that were read in it.
pub struct Recorded {
    cmos: BTreeMap<u8, u8>,
    items: BTreeMap<u16, Vec<u8>>,
    index: u8,
    key: u16,
    offset: usize,
    facts: Facts,
}

impl Recorded {
    /// Gathers what a record says before anything was written that changes it.
    pub fn new(record: &Record) -> Recorded {
        let facts = Facts {
            append: record.value("append").map(str::to_owned),
            ..Facts::default()
        };
        let mut machine = Recorded {
            cmos: BTreeMap::new(),
            items: BTreeMap::new(),
            index: 0,
            key: 0,
            offset: 0,
            facts,
        };
        for step in &record.steps {
            let Operation::Action(action) = &step.operation else {
                continue;
            };
            let byte = u8::from_str_radix(&step.answer, 16).ok();
            match *action {
                Action::PortWrite {
                    port: cmos::INDEX,
                    value,
                    ..
                } => machine.index = value as u8 & 0x7f,
                Action::PortWrite {
                    port: fw_cfg::SELECTOR,
                    width: Width::Word,
                    value,
                } => {
                    (machine.key, machine.offset) = (value as u16, 0);
                }
                Action::PortRead {
                    port: cmos::DATA,
                    width: Width::Byte,
                } => {
                    machine.cmos.extend(byte.map(|byte| (machine.index, byte)));
                }
                Action::PortRead {
                    port: fw_cfg::DATA,
                    width: Width::Byte,
                } => {
                    let item = machine.items.entry(machine.key).or_default();
                    if item.len() == machine.offset {
                        item.extend(byte);
                    }
                    machine.offset += 1;
                }
                _ => {}
            }
        }
        machine
    }
}

impl Machine for Recorded {
    fn caps(&self) -> Caps {
        Caps::FROZEN
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn port_read(&mut self, port: u16, _width: Width) -> Result<u32, Stop> {
        let silent = || Stop::Unavailable("the recording does not say".to_owned());
        match port {
            cmos::DATA => self
                .cmos
                .get(&self.index)
                .map(|byte| u32::from(*byte))
                .ok_or_else(silent),
            fw_cfg::DATA => {
                let byte = self
                    .items
                    .get(&self.key)
                    .and_then(|item| item.get(self.offset))
                    .copied();
                self.offset += 1;
                byte.map(u32::from).ok_or_else(silent)
            }
            _ => Err(silent()),
        }
    }

    fn port_write(&mut self, port: u16, _width: Width, value: u32) -> Result<(), Stop> {
        match port {
            cmos::INDEX => self.index = value as u8 & 0x7f,
            fw_cfg::SELECTOR => (self.key, self.offset) = (value as u16, 0),
            _ => return Err(Stop::Unavailable("a recording cannot be written".to_owned())),
        }
        Ok(())
    }

    fn load(&mut self, _gpa: u64, _width: Width) -> Result<u64, Stop> {
        Err(Stop::Unavailable("a recording has no memory".to_owned()))
    }

    fn store(&mut self, _gpa: u64, _width: Width, _value: u64) -> Result<(), Stop> {
        Err(Stop::Unavailable("a recording has no memory".to_owned()))
    }

    fn read_memory(&mut self, _gpa: u64, _into: &mut [u8]) -> Result<(), Stop> {
        Err(Stop::Unavailable("a recording has no memory".to_owned()))
    }

    fn write_memory(&mut self, _gpa: u64, _from: &[u8]) -> Result<(), Stop> {
        Err(Stop::Unavailable("a recording has no memory".to_owned()))
    }
}

/// RAM entries only: a reservation of the hypervisor depends on the accelerator, not on the machine.
fn e820(p: &mut Probe<'_>) -> Result<String, Stop> {
    const ENTRY_LENGTH_BYTES: usize = 20;
    let bytes = fw_cfg::contents(p, "etc/e820", 32 * ENTRY_LENGTH_BYTES)?;
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let entries = bytes
        .chunks(ENTRY_LENGTH_BYTES)
        .filter(|entry| number(&entry[16..]) == 1);
    let entries = entries.map(|entry| format!("[{:#x} +{:#x}]", number(&entry[..8]), number(&entry[8..16])));
    Ok(entries.collect::<Vec<_>>().join(" "))
}

fn cmos_sizes(p: &mut Probe<'_>) -> Result<String, Stop> {
    const INDICES: [u8; 11] = [0x15, 0x16, 0x17, 0x18, 0x30, 0x31, 0x34, 0x35, 0x5b, 0x5c, 0x5d];
    let bytes: Result<Vec<String>, Stop> = INDICES
        .into_iter()
        .map(|index| cmos::read(p, index).map(|byte| format!("{index:02x}={byte:02x}")))
        .collect();
    Ok(bytes?.join(" "))
}

fn directory(p: &mut Probe<'_>) -> Result<String, Stop> {
    let files = fw_cfg::directory(p)?;
    let files = files
        .iter()
        .map(|file| format!("{:#x}={}[{}]", file.select, file.name, file.size));
    Ok(files.collect::<Vec<_>>().join(" "))
}

/// Sizes that decide something, and those that recordings have.
const SIZES: [&str; 26] = [
    "1M", "3M", "16M", "17M", "64M", "65M", "100M", "128M", "512M", "640M", "1G", "2G", "2815M", "2883576K", "2816M",
    "3000M", "3G", "3300M", "3584M", "4G", "5G", "6G", "9G", "16G", "33G", "100G",
];

/// Sizes and limits beyond every size with 1, 2 and 3 GiB.
const LIMITS: [(&str, &str); 10] = [
    ("128M", "1M"),
    ("128M", "65M"),
    ("2G", "1G"),
    ("4G", "1537M"),
    ("6G", "1536M"),
    ("4G", "3G"),
    ("3G", "2560M"),
    ("2600M", "2560M"),
    ("2G", "2560M"),
    ("8G", "700M"),
];

/// RAM that a live QEMU can promise on a machine of ordinary size.
const LIVE_RAM_BYTES_MAX: u64 = 16 << 30;

fn ram_matrix(layout: &Layout) -> Vec<Point> {
    let sizes = SIZES.into_iter().filter_map(|size| Some((size, parse_size(size)?)));
    // What only a recording can confirm is in the profile of the recording only.
    let live = *layout != layout::MICROVM_2019;
    let sizes: Vec<(&str, u64)> = sizes
        .filter(|(_, bytes)| !live || *bytes <= LIVE_RAM_BYTES_MAX)
        .collect();
    let mut points: Vec<Point> = sizes
        .iter()
        .map(|(label, ram_bytes)| Point {
            label: (*label).to_owned(),
            setup: Setup {
                ram_bytes: *ram_bytes,
                ..Setup::DEFAULT
            },
        })
        .collect();
    if layout.has(crate::case::Feature::MaxRamBelow4g) {
        let pairs = sizes
            .iter()
            .flat_map(|(size, _)| ["1G", "2G", "3G"].map(|limit| (*size, limit)));
        let mut pairs: Vec<(&str, &str)> = pairs.collect();
        pairs.extend(
            LIMITS
                .into_iter()
                .filter(|pair| !pairs.contains(pair))
                .collect::<Vec<_>>(),
        );
        points.extend(pairs.into_iter().filter_map(|(size, limit)| {
            let max_ram_below_4g = Some(parse_size(limit)?);
            let setup = Setup {
                ram_bytes: parse_size(size)?,
                max_ram_below_4g,
                ..Setup::DEFAULT
            };
            Some(Point {
                label: format!("{size} limit {limit}"),
                setup,
            })
        }));
    }
    points
}

fn cmdline_matrix() -> Vec<Point> {
    const ONE: &[&str] = &["virtio-rng"];
    const THREE: &[&str] = &["virtio-rng"; 3];
    const EIGHT: &[&str] = &["virtio-rng"; 8];
    const OFF: &[(&str, &str)] = &[("rtc", "on"), ("auto-kernel-cmdline", "off")];
    const NO_ROMS: &[(&str, &str)] = &[("rtc", "on"), ("x-option-roms", "off")];
    let plain = Setup {
        ram_bytes: 64 << 20,
        ..Setup::DEFAULT
    };
    let point = |label: &str, append: &'static str, devices: &'static [&'static str]| Point {
        label: label.to_owned(),
        setup: Setup {
            append: Some(append),
            devices,
            ..plain.clone()
        },
    };
    let mut points = vec![
        point("one", "x", ONE),
        point("empty", "", ONE),
        point("none", "console=ttyS0", &[]),
        point("three", "a=b -- c", THREE),
        point("eight", "y", EIGHT),
        Point {
            setup: Setup {
                options: OFF,
                ..point("off", "z", ONE).setup
            },
            label: "off".to_owned(),
        },
        Point {
            setup: Setup {
                options: NO_ROMS,
                ..point("noroms", "z", ONE).setup
            },
            label: "noroms".to_owned(),
        },
    ];
    let sizes = [
        "16M", "64M", "128M", "512M", "1G", "2G", "2883576K", "2816M", "3G", "3584M", "4G", "6G", "16G",
    ];
    points.extend(sizes.into_iter().filter_map(|size| {
        let setup = Setup {
            ram_bytes: parse_size(size)?,
            ..point(size, "root=/dev/vda", ONE).setup
        };
        Some(Point {
            label: size.to_owned(),
            setup,
        })
    }));
    points
}

/// `16M`, `2G`, `2883576K` in bytes.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.get(..text.len().checked_sub(1)?)?;
    let shift = match text.chars().last()? {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_shl(shift)
}

/// `0x0 +0x1000000]` to base and length.
fn parse_entry(text: &str) -> Option<(u64, u64)> {
    let (base, rest) = text.split_once(" +")?;
    let length = rest.split(']').next()?;
    Some((
        crate::program::parse_number(base)?,
        crate::program::parse_number(length)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::MICROVM_2019;

    #[test]
    fn wrong_e820_golden_is_refused() {
        for (text, problem) in [
            ("", "the golden is empty"),
            ("16M [0x1000 +0x1000000]", "RAM does not begin at 0"),
            ("16M [0x0 +0xfff000]", "RAM does not sum up"),
            ("4G [0x0 +0xd0000000] [0x100000000 +0x30000000]", "ranges overlap"),
            ("16M nothing", "not entries"),
        ] {
            let error = check_e820(&MICROVM_2019, text).expect_err(text);
            assert!(error.ends_with(problem), "{error}");
        }
        check_e820(&MICROVM_2019, "4G [0x0 +0x80000000] [0x100000000 +0x80000000]").expect("well-formed");
    }

    #[test]
    fn record_answers_what_it_holds_and_nothing_else() {
        let text = "record ram/x\nconfig m=1M\noutb 0x70 0x15\ninb 0x71 -> 80\noutw 0x510 0\ninb 0x511 *2 -> 51 45\n";
        let recording = crate::recording::Recording::from_text("test", text).expect("well-formed");
        let mut machine = Recorded::new(&recording.records[0]);
        machine.port_write(0x70, Width::Byte, 0x15).expect("index");
        assert_eq!(machine.port_read(0x71, Width::Byte), Ok(0x80));
        machine.port_write(0x510, Width::Word, 0).expect("selector");
        let bytes = [0; 3].map(|_| machine.port_read(0x511, Width::Byte).ok());
        assert_eq!(bytes, [Some(0x51), Some(0x45), None]);
    }
}
