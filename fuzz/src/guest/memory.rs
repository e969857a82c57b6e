//! How much memory a process has resident, and how much of it is not its guest's.
//!
//! Source: proc_pid_status(5) and proc_pid_smaps(5).

use std::fs;

/// A process's resident memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The most it ever had.
    pub peak_kib: u64,
    /// What it has now besides guest RAM.
    pub own_kib: u64,
}

/// Looks at a process whose guest has RAM regions of these sizes; `None` when it is gone or not ours to look at.
pub fn usage(process: u32, regions_bytes: &[u64]) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let smaps = fs::read_to_string(format!("/proc/{process}/smaps")).ok()?;
    let regions: Vec<u64> = regions_bytes.iter().map(|bytes| bytes >> 10).collect();
    Some(Usage {
        peak_kib: number(&status, "VmHWM:")?,
        own_kib: own_kib(&smaps, &regions),
    })
}

/// Sums what lies outside of guest RAM: for each region the smallest anonymous mapping that can hold it.
fn own_kib(smaps: &str, regions_kib: &[u64]) -> u64 {
    // Size and resident part of each mapping, and whether it may be RAM.
    let mut mappings: Vec<(u64, u64, bool)> = Vec::new();
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [range, permissions, _, _, _, path @ ..] = words.as_slice()
            && range.contains('-')
            && !range.ends_with(':')
        {
            mappings.push((0, 0, path.is_empty() && permissions.starts_with("rw")));
        } else if let (Some(mapping), [name, digits, ..]) = (mappings.last_mut(), words.as_slice()) {
            let value = digits.parse().unwrap_or_default();
            match *name {
                "Size:" => mapping.0 = value,
                "Rss:" => mapping.1 = value,
                _ => {}
            }
        }
    }
    for &region in regions_kib {
        let fits = mappings.iter_mut().filter(|mapping| mapping.2 && region <= mapping.0);
        if let Some(ram) = fits.min_by_key(|mapping| mapping.0) {
            *ram = (0, 0, false);
        }
    }
    mappings.iter().map(|mapping| mapping.1).sum()
}

fn number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0c8a00000-55d0c8b00000 r-xp 00000000 08:01 42    /usr/bin/microvm
Size:               1024 kB
Rss:                 500 kB
7f0000000000-7f0001000000 rw-p 00000000 00:00 0
Size:              16384 kB
Rss:                9000 kB
7f0004000000-7f000c000000 rw-p 00000000 00:00 0
Size:             131072 kB
Rss:                  70 kB
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0     [stack]
Size:                132 kB
Rss:                  16 kB
";

    #[test]
    fn memory_besides_the_guests_is_what_no_region_of_ram_explains() {
        assert_eq!(own_kib(SMAPS, &[16384]), 500 + 70 + 16);
        assert_eq!(own_kib(SMAPS, &[131072]), 500 + 9000 + 16);
        assert_eq!(own_kib(SMAPS, &[8192, 65536]), 500 + 16);
        assert_eq!(own_kib(SMAPS, &[]), 500 + 9000 + 70 + 16);
    }

    #[test]
    fn usage_of_this_process_is_there() {
        let usage = usage(std::process::id(), &[]).expect("our own");
        assert!(0 < usage.own_kib && usage.own_kib <= usage.peak_kib, "{usage:?}");
    }
}
