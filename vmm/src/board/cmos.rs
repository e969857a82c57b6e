//! The memory sizes that the machine leaves in CMOS at power-on.
//!
//! Source: the machine as first specified, RTC set-up; the bytes of QEMU 4.2.0 as measured. A guest may overwrite them:
//! a reset does not write them again.

use super::ram::RamLayout;

/// `(register, value)` of every byte written, ascending; all other registers start as the RTC has them.
pub fn presets(ram: &RamLayout) -> Vec<(u8, u8)> {
    let below = ram.below_4g_bytes;
    let base_kib = (below >> 10).min(640) as u16;
    let extended_kib = (below.saturating_sub(1 << 20) >> 10).min(0xffff) as u16;
    let extended_64kib = (below.saturating_sub(16 << 20) >> 16).min(0xffff) as u16;
    // Three bytes: RAM above 4 GiB past a tebibyte is cut off, as measured.
    let high_64kib = (ram.above_4g_bytes >> 16) as u32;
    let [base_low, base_high] = base_kib.to_le_bytes();
    let [extended_low, extended_high] = extended_kib.to_le_bytes();
    let [extended2_low, extended2_high] = extended_64kib.to_le_bytes();
    let [high_low, high_mid, high_high, _] = high_64kib.to_le_bytes();
    vec![
        (reg::BASE_LOW, base_low),
        (reg::BASE_HIGH, base_high),
        (reg::EXTENDED_LOW, extended_low),
        (reg::EXTENDED_HIGH, extended_high),
        (reg::EXTENDED_COPY_LOW, extended_low),
        (reg::EXTENDED_COPY_HIGH, extended_high),
        (reg::ABOVE_16M_LOW, extended2_low),
        (reg::ABOVE_16M_HIGH, extended2_high),
        (reg::ABOVE_4G_LOW, high_low),
        (reg::ABOVE_4G_MID, high_mid),
        (reg::ABOVE_4G_HIGH, high_high),
    ]
}

mod reg {
    pub(super) const BASE_LOW: u8 = 0x15;
    pub(super) const BASE_HIGH: u8 = 0x16;
    pub(super) const EXTENDED_LOW: u8 = 0x17;
    pub(super) const EXTENDED_HIGH: u8 = 0x18;
    pub(super) const EXTENDED_COPY_LOW: u8 = 0x30;
    pub(super) const EXTENDED_COPY_HIGH: u8 = 0x31;
    pub(super) const ABOVE_16M_LOW: u8 = 0x34;
    pub(super) const ABOVE_16M_HIGH: u8 = 0x35;
    pub(super) const ABOVE_4G_LOW: u8 = 0x5b;
    pub(super) const ABOVE_4G_MID: u8 = 0x5c;
    pub(super) const ABOVE_4G_HIGH: u8 = 0x5d;
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::profile::MICROVM_2019;
    use super::*;

    /// The table measured on QEMU 4.2.0: registers 15 16, 17 18 (and 30 31), 34 35, 5b 5c 5d.
    #[rstest]
    #[case(8 << 10, None, "0800 0000 0000 000000")]
    #[case(512 << 10, None, "0002 0000 0000 000000")]
    #[case(640 << 10, None, "8002 0000 0000 000000")]
    #[case(1032 << 10, None, "8002 0800 0000 000000")]
    #[case(2 << 20, None, "8002 0004 0000 000000")]
    #[case(16 << 20, None, "8002 003c 0000 000000")]
    #[case(17 << 20, None, "8002 0040 1000 000000")]
    #[case(65 << 20, None, "8002 ffff 1003 000000")]
    #[case(128 << 20, None, "8002 ffff 0007 000000")]
    #[case(0xafff_e000, None, "8002 ffff ffae 000000")]
    #[case(2816 << 20, None, "8002 ffff 007f 003000")]
    #[case(6 << 30, None, "8002 ffff 007f 000001")]
    #[case(16 << 30, None, "8002 ffff 007f 008003")]
    #[case(4 << 30, Some(1537 << 20), "8002 ffff 105f f09f00")]
    #[case(128 << 20, Some(1 << 20), "8002 0000 0000 f00700")]
    fn presets_match_the_measured_table(#[case] ram_bytes: u64, #[case] limit: Option<u64>, #[case] want: &str) {
        let presets = presets(&RamLayout::new(&MICROVM_2019.ram_split, ram_bytes, limit));
        let value = |register: u8| presets.iter().find(|preset| preset.0 == register).expect("preset").1;
        let text = |registers: &[u8]| {
            registers
                .iter()
                .map(|&at| format!("{:02x}", value(at)))
                .collect::<String>()
        };
        let [base, extended, copy] = [[0x15, 0x16], [0x17, 0x18], [0x30, 0x31]].map(|pair| text(&pair));
        assert_eq!(extended, copy);
        assert_eq!(
            format!(
                "{base} {extended} {} {}",
                text(&[0x34, 0x35]),
                text(&[0x5b, 0x5c, 0x5d])
            ),
            want
        );
    }
}
