//! Boot marks: how far a guest came and when, and how often it had left to the VMM by then, as the VMM itself has it.
//!
//! The file that a subject writes for `exits = "boot-marks"` has one JSON object in a line. `phase` names a part of the
//! VMM's own work that is over; the phase `process` comes first and may tell the host's monotonic clock at the time
//! that the others count from. `mark` is the byte that a guest wrote to the port it was told; `end` says how the run
//! ended. Each has `ns`; marks and the end may have `exits` by kind, `devices` each by kind, and `kvm`, the counts so
//! far.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files;

/// What a boot-marks file tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootMarks {
    /// The host's monotonic clock, in nanoseconds, when the times here were 0.
    pub monotonic_ns: Option<u64>,
    /// Ends of the VMM's own phases, in nanoseconds.
    pub phases: Vec<(String, u64)>,
    /// The guest's marks, in order.
    pub marks: Vec<Mark>,
    /// The end of the run, if it came to that; its value is 0.
    pub end: Option<Mark>,
}

/// One mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The byte.
    pub value: u8,
    /// When, in nanoseconds.
    pub ns: u64,
    /// Exits until then.
    pub exits: Exits,
}

/// Numbers of exits; what did not occur is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exits {
    /// To the VMM, by kind: `port_in`, `port_out`, `mmio_read`, `mmio_write`, and those that are no access.
    #[serde(default)]
    pub kinds: BTreeMap<String, u64>,
    /// Accesses, by device and by kind.
    #[serde(default)]
    pub devices: BTreeMap<String, BTreeMap<String, u64>>,
    /// As KVM counts them, those included that it handles itself: `exits` is all of them.
    #[serde(default)]
    pub kvm: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Line {
    phase: Option<String>,
    mark: Option<u8>,
    end: Option<String>,
    ns: u64,
    monotonic_ns: Option<u64>,
    #[serde(default)]
    exits: BTreeMap<String, u64>,
    #[serde(default)]
    devices: BTreeMap<String, BTreeMap<String, u64>>,
    #[serde(default)]
    kvm: BTreeMap<String, u64>,
}

impl BootMarks {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read or is larger than [`files::WRITTEN_BYTES_MAX`], or a line is none of these objects.
    pub fn read(path: &Path) -> io::Result<BootMarks> {
        let text = files::read_text(path, files::WRITTEN_BYTES_MAX)?;
        BootMarks::parse(&text).map_err(io::Error::other)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Names the line that is none of these objects.
    pub fn parse(text: &str) -> Result<BootMarks, String> {
        let mut marks = BootMarks::default();
        for (index, line) in text.lines().enumerate() {
            let wrong = |error: serde_json::Error| format!("line {}: {error}", index + 1);
            let line: Line = serde_json::from_str(line).map_err(wrong)?;
            let exits = Exits {
                kinds: line.exits,
                devices: line.devices,
                kvm: line.kvm,
            };
            let mark = |value| Mark {
                value,
                ns: line.ns,
                exits,
            };
            match (line.phase, line.mark, line.end) {
                (Some(phase), ..) => {
                    marks.monotonic_ns = marks.monotonic_ns.or(line.monotonic_ns);
                    marks.phases.push((phase, line.ns));
                }
                (None, Some(value), _) => marks.marks.push(mark(value)),
                (None, None, Some(_)) => marks.end = Some(mark(0)),
                (None, None, None) => return Err(format!("line {}: neither phase, mark nor end", index + 1)),
            }
        }
        Ok(marks)
    }
}

impl Exits {
    /// All exits to the VMM.
    pub fn total(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// Exits of one kind.
    pub fn kind(&self, kind: &str) -> u64 {
        self.kinds.get(kind).copied().unwrap_or_default()
    }

    /// Accesses of all kinds to one device.
    pub fn device(&self, name: &str) -> u64 {
        self.devices.get(name).map_or(0, |kinds| kinds.values().sum())
    }

    /// Exits that are no access of the guest's: windows for interrupts, signals to the VMM.
    pub fn beside_accesses(&self) -> u64 {
        self.total() - ACCESSES.iter().map(|kind| self.kind(kind)).sum::<u64>()
    }

    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Exits) -> Exits {
        let none = BTreeMap::new();
        let devices = self.devices.iter().map(|(name, kinds)| {
            let before = earlier.devices.get(name).unwrap_or(&none);
            (name.clone(), less(kinds, before))
        });
        Exits {
            kinds: less(&self.kinds, &earlier.kinds),
            devices: devices.filter(|(_, kinds)| !kinds.is_empty()).collect(),
            kvm: less(&self.kvm, &earlier.kvm),
        }
    }
}

fn less(now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let added = now.iter().map(|(name, count)| {
        let before = before.get(name).copied().unwrap_or_default();
        (name.clone(), count.saturating_sub(before))
    });
    added.filter(|(_, count)| *count != 0).collect()
}

const ACCESSES: [&str; 4] = ["port_in", "port_out", "mmio_read", "mmio_write"];

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"phase":"process","ns":0,"monotonic_ns":5}
{"phase":"vm","ns":3}
{"mark":1,"ns":9,"exits":{"port_out":1},"devices":{"x":{"port_out":1}},"kvm":{"exits":7}}
{"mark":2,"ns":11,"exits":{"port_out":66,"interrupted":1},"devices":{"x":{"port_out":2},"serial":{"port_out":64}}}
{"end":"debug-exit","ns":12,"status":33,"exits":{"port_out":67}}
"#;

    #[test]
    fn file_is_phases_marks_and_an_end() {
        let marks = BootMarks::parse(TEXT).expect("it reads");
        assert_eq!(marks.monotonic_ns, Some(5));
        assert_eq!(marks.phases, [("process".to_owned(), 0), ("vm".to_owned(), 3)]);
        assert_eq!(marks.marks.iter().map(|mark| mark.value).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(marks.end.expect("an end").exits.total(), 67);
    }

    #[test]
    fn difference_of_counts_has_only_what_was_added() {
        let marks = BootMarks::parse(TEXT).expect("it reads").marks;
        let added = marks[1].exits.since(&marks[0].exits);
        assert_eq!(
            (added.total(), added.kind("port_out"), added.beside_accesses()),
            (66, 65, 1)
        );
        assert_eq!(
            (added.device("serial"), added.device("x"), added.device("rtc")),
            (64, 1, 0)
        );
        assert!(added.kvm.is_empty());
    }

    #[test]
    fn foreign_line_is_named() {
        assert!(BootMarks::parse("{\"ns\":1}").is_err_and(|error| error.starts_with("line 1: neither")));
        assert!(BootMarks::parse("x").is_err_and(|error| error.starts_with("line 1: ")));
    }
}
