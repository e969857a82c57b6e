//! Where RAM lies: one part from 0 on, the rest from 4 GiB on.
//!
//! Source: the machine as first specified, memory initialisation; the tables of QEMU 4.2.0 as measured.

use super::profile::RamSplit;

/// Guest-physical address of the part above the hole.
pub const HIGH_BASE: u64 = 1 << 32;

/// RAM's two parts in bytes, and what the machine model has to say about the user's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RamLayout {
    /// Bytes from address 0 on.
    pub below_4g_bytes: u64,
    /// Bytes from [`HIGH_BASE`] on.
    pub above_4g_bytes: u64,
    /// The machine model's warnings, without `warning: `.
    pub warnings: Vec<String>,
}

impl RamLayout {
    /// Splits `ram_bytes` by a profile's rule. `limit_bytes` is `max-ram-below-4g` as given: `None` when the user said
    /// nothing, `Some(0)` means 4 GiB but still draws the warning.
    pub fn new(split: &RamSplit, ram_bytes: u64, limit_bytes: Option<u64>) -> RamLayout {
        let mut warnings = Vec::new();
        if let Some(limit) = limit_bytes
            && limit < (1 << 20)
        {
            warnings.push(format!(
                "Only {limit} bytes of RAM below the 4GiB boundary,BIOS may not work with less than 1MiB"
            ));
        }
        let limit = limit_bytes.filter(|&limit| limit != 0).unwrap_or(HIGH_BASE);
        let mut low = if ram_bytes < split.whole_below_bytes {
            split.whole_below_bytes
        } else {
            split.low_bytes
        };
        if limit < low {
            low = limit;
            // The machine model subtracts without looking: RAM smaller than the limit wraps and warns falsely.
            if ram_bytes.wrapping_sub(low) > low && low % (1 << 30) != 0 {
                warnings.push(format!(
                    "There is possibly poor performance as the ram size  ({ram_bytes:#x}) is more then twice the size \
                     of max-ram-below-4g ({limit}) and max-ram-below-4g is not a multiple of 1G."
                ));
            }
        }
        let below_4g_bytes = ram_bytes.min(low);
        RamLayout {
            below_4g_bytes,
            above_4g_bytes: ram_bytes - below_4g_bytes,
            warnings,
        }
    }

    /// The ranges as `(gpa, length_bytes)`, ascending.
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        let both = [(0, self.below_4g_bytes), (HIGH_BASE, self.above_4g_bytes)];
        both.into_iter().filter(|range| range.1 != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::{MICROVM_2019, QEMU_7_2};
    use super::*;

    fn seed(ram_bytes: u64, limit: Option<u64>) -> (u64, u64, usize) {
        let layout = RamLayout::new(&MICROVM_2019.ram_split, ram_bytes, limit);
        (layout.below_4g_bytes, layout.above_4g_bytes, layout.warnings.len())
    }

    #[test]
    fn seed_splits_at_two_gigabytes_from_0xb0000000_on() {
        assert_eq!(seed(0xafff_e000, None), (0xafff_e000, 0, 0));
        assert_eq!(seed(0xb000_0000, None), (0x8000_0000, 0x3000_0000, 0));
    }

    #[test]
    fn limit_lowers_the_split_and_warns_as_measured() {
        assert_eq!(seed(128 << 20, Some(1 << 20)), (1 << 20, 127 << 20, 1));
        assert_eq!(seed(4 << 30, Some(1537 << 20)), (0x6010_0000, 0x9ff0_0000, 1));
        assert_eq!(seed(4 << 30, Some(1 << 30)), (1 << 30, 3 << 30, 0));
        assert_eq!(
            seed(2 << 30, Some(2560 << 20)),
            (2 << 30, 0, 1),
            "the subtraction wraps: a false warning"
        );
        assert_eq!(seed(2 << 30, Some(0)), (2 << 30, 0, 1));
    }

    #[test]
    fn later_machine_splits_at_three_gigabytes() {
        let layout = RamLayout::new(&QEMU_7_2.ram_split, 3 << 30, None);
        assert_eq!(layout.ranges(), [(0, 3 << 30)]);
        let layout = RamLayout::new(&QEMU_7_2.ram_split, (3 << 30) + 0x2000, None);
        assert_eq!(layout.ranges(), [(0, 3 << 30), (HIGH_BASE, 0x2000)]);
    }
}
