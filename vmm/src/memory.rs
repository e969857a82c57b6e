//! Guest memory: RAM as the guest and DMA see it, bounds-checked by `vm-memory`.

use std::fmt;

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// Guest RAM. Cloning shares the same bytes.
#[derive(Clone)]
pub struct Memory {
    map: GuestMemoryMmap<()>,
}

/// Memory that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("map {length_bytes} bytes of guest memory at {gpa:#x}: {reason}")]
pub struct MapError {
    /// First guest-physical address of the range.
    pub gpa: u64,
    /// Length of the range.
    pub length_bytes: u64,
    /// What the host said.
    pub reason: String,
}

/// An access that did not lie wholly in RAM. The part before the end of RAM was done, `done_bytes` of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsideRam {
    /// Bytes done before the first byte that is not RAM.
    pub done_bytes: usize,
}

impl Memory {
    /// Maps anonymous host memory for each `(gpa, length_bytes)` range; ranges are sorted and do not overlap. Nothing
    /// is touched, so untouched guest memory costs nothing.
    ///
    /// # Errors
    /// [`MapError`] when the host refuses a mapping.
    pub fn new(ranges: &[(u64, u64)]) -> Result<Memory, MapError> {
        let fail = |(gpa, length_bytes): (u64, u64), reason: &dyn fmt::Display| MapError {
            gpa,
            length_bytes,
            reason: reason.to_string(),
        };
        let mut wanted = Vec::new();
        for &range in ranges {
            let length = usize::try_from(range.1).map_err(|error| fail(range, &error))?;
            wanted.push((GuestAddress(range.0), length));
        }
        let first = ranges.first().copied().unwrap_or_default();
        let map = GuestMemoryMmap::from_ranges(&wanted).map_err(|error| fail(first, &error))?;
        Ok(Memory { map })
    }

    /// Reads from `gpa` on, as far as RAM goes; bytes past it are left as they are.
    ///
    /// # Errors
    /// [`OutsideRam`] when not all of `into` was filled.
    pub fn read(&self, gpa: u64, into: &mut [u8]) -> Result<(), OutsideRam> {
        let done_bytes = self.available(gpa, into.len());
        self.map
            .read_slice(&mut into[..done_bytes], GuestAddress(gpa))
            .map_err(|_| OutsideRam { done_bytes: 0 })?;
        if done_bytes == into.len() {
            Ok(())
        } else {
            Err(OutsideRam { done_bytes })
        }
    }

    /// Writes to `gpa` on, as far as RAM goes.
    ///
    /// # Errors
    /// [`OutsideRam`] when not all of `from` was written.
    pub fn write(&self, gpa: u64, from: &[u8]) -> Result<(), OutsideRam> {
        let done_bytes = self.available(gpa, from.len());
        self.map
            .write_slice(&from[..done_bytes], GuestAddress(gpa))
            .map_err(|_| OutsideRam { done_bytes: 0 })?;
        if done_bytes == from.len() {
            Ok(())
        } else {
            Err(OutsideRam { done_bytes })
        }
    }

    /// How many of the `length` bytes from `gpa` on are RAM without a gap.
    pub fn available(&self, gpa: u64, length: usize) -> usize {
        let mut done = 0;
        while done < length {
            let Some(address) = gpa.checked_add(done as u64) else {
                break;
            };
            let Some((region, offset)) = self.map.to_region_addr(GuestAddress(address)) else {
                break;
            };
            let left = region.len() - offset.0;
            done += usize::try_from(left).unwrap_or(usize::MAX).min(length - done);
        }
        done
    }

    /// The ranges of RAM as `(gpa, length_bytes)`, ascending.
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        self.map
            .iter()
            .map(|region| (region.start_addr().0, region.len()))
            .collect()
    }

    /// The mapping itself, for `virtio-queue`, `linux-loader` and KVM memory slots.
    pub fn map(&self) -> &GuestMemoryMmap<()> {
        &self.map
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("ranges", &self.ranges()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_across_the_end_of_ram_does_the_part_that_fits() {
        let memory = Memory::new(&[(0, 0x2000)]).expect("8 KiB fit");
        assert_eq!(memory.write(0x1ffe, &[1, 2, 3, 4]), Err(OutsideRam { done_bytes: 2 }));
        let mut read = [9; 4];
        assert_eq!(memory.read(0x1ffe, &mut read), Err(OutsideRam { done_bytes: 2 }));
        assert_eq!(read, [1, 2, 9, 9]);
    }

    #[test]
    fn access_at_the_end_of_the_address_space_is_outside() {
        let memory = Memory::new(&[(0, 0x1000)]).expect("4 KiB fit");
        assert_eq!(memory.write(u64::MAX, &[1, 2]), Err(OutsideRam { done_bytes: 0 }));
    }
}
