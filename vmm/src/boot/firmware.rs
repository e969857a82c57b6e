//! Firmware: a ROM that ends at 4 GiB and whose last part is also seen below 1 MiB, where a CPU in real mode reaches
//! it.
//!
//! Source: the machine as first specified, firmware; contents, size rules and reset as measured on QEMU 4.2.0 and 7.2:
//! the ROM is RAM, writable at both places, and a reset puts its bytes back.
//! Deviations: a ROM of more than [`BYTES_MAX`] is refused; the original maps it over the devices.

use std::ops::Range;
use std::sync::Arc;

use crate::memory::{Block, Memory};

/// A firmware ROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    rom: Arc<[u8]>,
}

/// Why a file is no firmware for this machine; reads on from the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareError {
    /// No bytes at all.
    #[error("the file is empty, a firmware has a multiple of 64 KiB")]
    Empty,
    /// A size that cannot be mapped.
    #[error("{0} bytes are not a multiple of 64 KiB, as a firmware's size must be")]
    Size(usize),
    /// A size that would lie over devices.
    #[error("{0} bytes are too many, a firmware has at most {BYTES_MAX}")]
    TooLarge(usize),
}

impl Firmware {
    /// A firmware of these bytes.
    ///
    /// # Errors
    /// [`FirmwareError`] unless their number is a positive multiple of 64 KiB and at most [`BYTES_MAX`].
    pub fn new(rom: &Arc<[u8]>) -> Result<Firmware, FirmwareError> {
        match rom.len() {
            0 => Err(FirmwareError::Empty),
            bytes if !bytes.is_multiple_of(GRANULE_BYTES) => Err(FirmwareError::Size(bytes)),
            bytes if BYTES_MAX < bytes => Err(FirmwareError::TooLarge(bytes)),
            _ => Ok(Firmware { rom: Arc::clone(rom) }),
        }
    }

    /// First guest-physical address of the ROM.
    pub fn base(&self) -> u64 {
        END - self.rom.len() as u64
    }

    /// Where its last part is seen again.
    pub fn low(&self) -> Range<u64> {
        LOW_END - self.low_bytes()..LOW_END
    }

    /// The memory it takes: the part that is seen twice, and what lies below it.
    pub fn blocks(&self) -> Vec<Block> {
        let low_bytes = self.low_bytes();
        let shared = Block {
            length_bytes: low_bytes,
            places: vec![self.low().start, END - low_bytes],
        };
        let rest_bytes = self.rom.len() as u64 - low_bytes;
        let rest = (rest_bytes != 0).then(|| Block {
            length_bytes: rest_bytes,
            places: vec![self.base()],
        });
        [shared].into_iter().chain(rest).collect()
    }

    /// Puts the bytes into memory, as at power-on and at every reset.
    pub fn load(&self, memory: &Memory) {
        // The machine made this memory with the blocks above.
        let _in_memory = memory.write(self.base(), &self.rom);
    }

    fn low_bytes(&self) -> u64 {
        (self.rom.len() as u64).min(LOW_BYTES_MAX)
    }
}

/// Most bytes of a firmware: what fits between the devices' registers and 4 GiB.
pub const BYTES_MAX: usize = 16 << 20;

/// The ROM ends where the CPU's reset vector is.
const END: u64 = 1 << 32;
const LOW_END: u64 = 1 << 20;
const LOW_BYTES_MAX: u64 = 128 << 10;
const GRANULE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn firmware(kib: usize) -> Firmware {
        let bytes: Vec<u8> = (0..kib << 10).map(|at| (at >> 10) as u8).collect();
        Firmware::new(&bytes.into()).expect("a good size")
    }

    #[rstest]
    #[case(64, 0xf_0000, 0xffff_0000)]
    #[case(128, 0xe_0000, 0xfffe_0000)]
    #[case(192, 0xe_0000, 0xfffd_0000)]
    #[case(256, 0xe_0000, 0xfffc_0000)]
    fn last_128_kib_are_seen_below_1_mib(#[case] kib: usize, #[case] low: u64, #[case] base: u64) {
        let firmware = firmware(kib);
        assert_eq!((firmware.low(), firmware.base()), (low..0x10_0000, base));
        let ram = [(0, 2 << 20), (1 << 32, 0x1000)];
        let memory = Memory::with_blocks(&ram, &firmware.blocks()).expect("it fits");
        firmware.load(&memory);
        let byte = |gpa| {
            let mut byte = [0];
            memory.read(gpa, &mut byte).expect("memory is there");
            byte[0]
        };
        let last = (kib - 1) as u8;
        assert_eq!((byte(0xf_fff0), byte(0xffff_fff0), byte(base)), (last, last, 0));
        assert_eq!(byte(low), byte(0xfff0_0000 + low), "the same bytes at both places");
        memory.write(0xf_fff0, &[0xa5]).expect("writable below");
        memory.write(0xfff0_0000 + low, &[0x5a]).expect("writable above");
        assert_eq!((byte(0xffff_fff0), byte(low)), (0xa5, 0x5a));
        firmware.load(&memory);
        assert_eq!(byte(0xf_fff0), last);
    }

    #[test]
    fn sizes_that_are_no_firmware_are_refused() {
        let error = |bytes: usize| Firmware::new(&vec![0; bytes].into()).expect_err("refused");
        assert_eq!(error(0), FirmwareError::Empty);
        assert_eq!(error(1000), FirmwareError::Size(1000));
        assert_eq!(error(96 << 10), FirmwareError::Size(96 << 10));
        assert_eq!(
            error(BYTES_MAX + (64 << 10)),
            FirmwareError::TooLarge(BYTES_MAX + (64 << 10))
        );
    }
}
