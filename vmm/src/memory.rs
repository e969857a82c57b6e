//! Guest memory: RAM as the guest and DMA see it, bounds-checked by `vm-memory`.

use std::fmt;
use std::sync::Arc;

use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MmapRegion,
};

/// Guest RAM, and ROM where it is RAM that hides other RAM. Cloning shares the same bytes.
#[derive(Clone)]
pub struct Memory {
    map: GuestMemoryMmap<()>,
}

/// Memory beside RAM that may be seen at several places: a write at one is read at all. It hides the RAM that lies
/// there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its length, a multiple of 4 KiB.
    pub length_bytes: u64,
    /// First guest-physical address of each place.
    pub places: Vec<u64>,
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
        Memory::with_blocks(ranges, &[])
    }

    /// As [`Memory::new`], with blocks that hide what RAM lies at their places. RAM around them keeps its addresses.
    ///
    /// # Errors
    /// [`MapError`] when the host refuses a mapping, or two blocks want the same address.
    pub fn with_blocks(ranges: &[(u64, u64)], blocks: &[Block]) -> Result<Memory, MapError> {
        let mut regions = Vec::new();
        for &range in &visible(ranges, blocks) {
            regions.push(place(range, map(range)?)?);
        }
        for block in blocks {
            let range = |&gpa: &u64| (gpa, block.length_bytes);
            let Some(first) = block.places.first() else {
                continue;
            };
            let mapping = map(range(first))?;
            for gpa in &block.places {
                regions.push(place(range(gpa), Arc::clone(&mapping))?);
            }
        }
        regions.sort_by_key(GuestMemoryRegion::start_addr);
        let first = ranges.first().copied().unwrap_or_default();
        let map = GuestMemoryMmap::from_regions(regions).map_err(|error| refused(first, &error))?;
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

/// The parts of RAM that no block hides, ascending.
fn visible(ranges: &[(u64, u64)], blocks: &[Block]) -> Vec<(u64, u64)> {
    let mut left = ranges.to_vec();
    for block in blocks {
        for &start in &block.places {
            let end = start + block.length_bytes;
            let around = |&(gpa, length): &(u64, u64)| {
                let before = (gpa, start.clamp(gpa, gpa + length) - gpa);
                let after = end.clamp(gpa, gpa + length);
                [before, (after, gpa + length - after)]
            };
            let covers = |range: &(u64, u64)| range.0 < end && start < range.0 + range.1;
            left = left
                .iter()
                .flat_map(|range| if covers(range) { around(range) } else { [*range, (0, 0)] })
                .filter(|range| range.1 != 0)
                .collect();
        }
    }
    left
}

fn map(range: (u64, u64)) -> Result<Arc<MmapRegion<()>>, MapError> {
    let length = usize::try_from(range.1).map_err(|error| refused(range, &error))?;
    MmapRegion::new(length)
        .map(Arc::new)
        .map_err(|error| refused(range, &error))
}

fn place(range: (u64, u64), mapping: Arc<MmapRegion<()>>) -> Result<GuestRegionMmap<()>, MapError> {
    let region = GuestRegionMmap::with_arc(mapping, GuestAddress(range.0));
    region.ok_or_else(|| refused(range, &"it ends past the end of the address space"))
}

fn refused((gpa, length_bytes): (u64, u64), reason: &dyn fmt::Display) -> MapError {
    MapError {
        gpa,
        length_bytes,
        reason: reason.to_string(),
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

    #[test]
    fn block_hides_ram_and_is_the_same_at_both_places() {
        let block = Block {
            length_bytes: 0x2000,
            places: vec![0x3000, 0x10_0000],
        };
        let memory = Memory::with_blocks(&[(0, 0x8000)], &[block]).expect("it fits");
        assert_eq!(
            memory.ranges(),
            [(0, 0x3000), (0x3000, 0x2000), (0x5000, 0x3000), (0x10_0000, 0x2000)]
        );
        assert_eq!(memory.write(0x2fff, &[1, 2, 3]), Ok(()), "across the edge");
        let mut read = [0; 2];
        assert_eq!(memory.read(0x10_0000, &mut read), Ok(()));
        assert_eq!(read, [2, 3]);
        assert_eq!(memory.write(0x10_1fff, &[9, 9]), Err(OutsideRam { done_bytes: 1 }));
        assert_eq!(memory.read(0x4fff, &mut read), Ok(()));
        assert_eq!(read, [9, 0], "RAM goes on behind it");
    }

    #[test]
    fn block_may_lie_where_ram_ends() {
        let block = |gpa| Block {
            length_bytes: 0x2000,
            places: vec![gpa],
        };
        let ranges = |blocks: &[Block]| Memory::with_blocks(&[(0, 0x2000)], blocks).expect("it fits").ranges();
        assert_eq!(ranges(&[block(0x1000)]), [(0, 0x1000), (0x1000, 0x2000)]);
        assert_eq!(ranges(&[block(0)]), [(0, 0x2000)]);
        assert_eq!(ranges(&[block(0x8000)]), [(0, 0x2000), (0x8000, 0x2000)]);
        assert!(
            Memory::with_blocks(&[], &[block(0), block(0x1000)]).is_err(),
            "two blocks"
        );
    }
}
