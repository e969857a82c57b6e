//! The address map: which device answers an access, and how wide or straddling accesses are cut on the way.
//!
//! Source: the cutting follows the machine as measured (an access is cut so that no piece is wider than the lowest
//! set bit of its offset or than what the region accepts; a region shorter than an access it accepts gets it whole, so
//! that a double word at fw_cfg's two ports is refused as one); nobody home reads all ones on the port bus and zero in
//! memory.

use crate::device::{Region, Space};
use crate::units::Width;

/// A region of a device on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping<T> {
    region: Region,
    device: T,
    index: usize,
}

/// An address map over devices named by `T`.
#[derive(Clone, Debug)]
pub struct AddressMap<T> {
    mappings: Vec<Mapping<T>>,
}

/// Two regions that claim the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{space:?} range {first:#x}+{first_length:#x} overlaps {second:#x}+{second_length:#x}")]
pub struct Overlap {
    /// Where.
    pub space: Space,
    /// Base of the region already there.
    pub first: u64,
    /// Its length.
    pub first_length: u64,
    /// Base of the new region.
    pub second: u64,
    /// Its length.
    pub second_length: u64,
}

/// One piece of an access after cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<T> {
    /// The device, its region's index and the offset in it; `None` where nobody is.
    pub target: Option<(T, usize, u64)>,
    /// Absolute address of the piece.
    pub address: u64,
    /// Width of the piece.
    pub width: Width,
    /// Where the piece's bytes lie in the whole access, counted from its lowest byte.
    pub shift_bytes: usize,
}

impl<T: Copy> AddressMap<T> {
    /// An empty map.
    pub fn new() -> AddressMap<T> {
        AddressMap { mappings: Vec::new() }
    }

    /// Adds the regions of a device.
    ///
    /// # Errors
    /// [`Overlap`] when an address would have two owners; the map is then unchanged up to the offending region.
    pub fn add(&mut self, device: T, regions: &[Region]) -> Result<(), Overlap> {
        for (index, &region) in regions.iter().enumerate() {
            assert!(0 < region.length, "a region has at least one address");
            let end = region.base + (region.length - 1);
            for other in self.mappings.iter().map(|mapping| mapping.region) {
                let other_end = other.base + (other.length - 1);
                if other.space == region.space && region.base <= other_end && other.base <= end {
                    return Err(Overlap {
                        space: region.space,
                        first: other.base,
                        first_length: other.length,
                        second: region.base,
                        second_length: region.length,
                    });
                }
            }
            self.mappings.push(Mapping { region, device, index });
        }
        self.mappings
            .sort_by_key(|mapping| (mapping.region.space, mapping.region.base));
        Ok(())
    }

    /// The mapping at `address`, or how far it is to the next one.
    fn find(&self, space: Space, address: u64) -> Result<Mapping<T>, u64> {
        let after = self
            .mappings
            .partition_point(|mapping| (mapping.region.space, mapping.region.base) <= (space, address));
        if let Some(mapping) = after.checked_sub(1).map(|index| self.mappings[index])
            && mapping.region.space == space
            && address - mapping.region.base < mapping.region.length
        {
            return Ok(mapping);
        }
        match self.mappings.get(after) {
            Some(next) if next.region.space == space => Err(next.region.base - address),
            _ => Err(u64::MAX),
        }
    }
}

impl<T: Copy> Default for AddressMap<T> {
    fn default() -> AddressMap<T> {
        AddressMap::new()
    }
}

/// An access being cut: at most eight pieces, ascending. It holds no map, so that a piece can be given to its device
/// before the next one is cut, and needs no memory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    space: Space,
    address: u64,
    length_bytes: usize,
    done_bytes: usize,
}

impl Cut {
    /// An access of `width` at `address`. Ports wrap to nobody: a piece past 0xffff has no target.
    pub fn new(space: Space, address: u64, width: Width) -> Cut {
        Cut {
            space,
            address,
            length_bytes: width.bytes(),
            done_bytes: 0,
        }
    }

    /// The next piece; `None` behind the last.
    pub fn next<T: Copy>(&mut self, map: &AddressMap<T>) -> Option<Piece<T>> {
        let left = (self.length_bytes - self.done_bytes) as u64;
        if left == 0 {
            return None;
        }
        let here = self.address.wrapping_add(self.done_bytes as u64);
        let (target, offset, room, accepts, piece) = match map.find(self.space, here) {
            Ok(mapping) => {
                let offset = here - mapping.region.base;
                let target = Some((mapping.device, mapping.index, offset));
                (target, offset, u64::MAX, mapping.region.accepts, mapping.region.piece)
            }
            Err(room) => (None, here, room, Width::Qword, Width::Qword),
        };
        let align = if offset == 0 {
            8
        } else {
            1 << offset.trailing_zeros().min(3)
        };
        let length = left
            .min(room)
            .min(align)
            .min(accepts.bytes() as u64)
            .min(piece.bytes() as u64);
        let width = floor_width(length);
        let shift_bytes = self.done_bytes;
        self.done_bytes += width.bytes();
        Some(Piece {
            target,
            address: here,
            width,
            shift_bytes,
        })
    }
}

/// The widest access of at most `length` bytes; `length` is at least 1.
fn floor_width(length: u64) -> Width {
    match length {
        0..2 => Width::Byte,
        2..4 => Width::Word,
        4..8 => Width::Dword,
        _ => Width::Qword,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> AddressMap<char> {
        let mut map = AddressMap::new();
        map.add(
            'f',
            &[Region {
                space: Space::Port,
                base: 0x510,
                length: 2,
                accepts: Width::Dword,
                piece: Width::Dword,
            }],
        )
        .expect("free");
        map.add('d', &[Region::dword(Space::Port, 0x514, 8)]).expect("free");
        map.add('s', &[Region::byte_ports(0x3f8, 8)]).expect("free");
        map
    }

    fn widths(address: u64, width: Width) -> Vec<(Option<char>, Width)> {
        let (map, mut cut) = (map(), Cut::new(Space::Port, address, width));
        std::iter::from_fn(|| cut.next(&map))
            .map(|piece| (piece.target.map(|target| target.0), piece.width))
            .collect()
    }

    #[test]
    fn straddling_word_is_cut_at_the_region_end() {
        assert_eq!(
            widths(0x511, Width::Word),
            [(Some('f'), Width::Byte), (None, Width::Byte)]
        );
    }

    #[test]
    fn accepted_access_wider_than_its_region_arrives_whole() {
        assert_eq!(widths(0x510, Width::Dword), [(Some('f'), Width::Dword)]);
    }

    #[test]
    fn byte_device_sees_bytes() {
        assert_eq!(widths(0x3f8, Width::Dword), [(Some('s'), Width::Byte); 4]);
    }

    #[test]
    fn odd_offset_cuts_by_lowest_set_bit() {
        let expected = [
            (Some('d'), Width::Byte),
            (Some('d'), Width::Word),
            (Some('d'), Width::Byte),
        ];
        assert_eq!(widths(0x515, Width::Dword), expected);
    }

    #[test]
    fn overlapping_region_is_refused() {
        let overlap = map()
            .add('x', &[Region::byte_ports(0x3ff, 1)])
            .expect_err("0x3ff is the serial scratch register");
        assert_eq!((overlap.first, overlap.second), (0x3f8, 0x3ff));
    }
}
