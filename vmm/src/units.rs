//! Units that a mix-up would otherwise let through: time and the width of an access.

use std::fmt;
use std::ops::{Add, Sub};

/// Virtual time in nanoseconds since power-on; 584 years fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

/// The width of one access: 1, 2, 4 or 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Dword,
    /// 64 bits.
    Qword,
}

impl Nanos {
    /// One second.
    pub const SECOND: Nanos = Nanos(1_000_000_000);

    /// The time `by` later, held at the end of time instead of wrapping.
    pub fn saturating_add(self, by: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(by.0))
    }
}

impl Width {
    /// All widths, narrowest first.
    pub const ALL: [Width; 4] = [Width::Byte, Width::Word, Width::Dword, Width::Qword];

    /// The width of `bytes` bytes; `None` unless it is 1, 2, 4 or 8.
    pub fn from_bytes(bytes: usize) -> Option<Width> {
        Width::ALL.into_iter().find(|width| width.bytes() == bytes)
    }

    /// Number of bytes: 1, 2, 4 or 8.
    pub fn bytes(self) -> usize {
        match self {
            Width::Byte => 1,
            Width::Word => 2,
            Width::Dword => 4,
            Width::Qword => 8,
        }
    }

    /// A value with all bits of this width set: what an empty bus answers.
    pub fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

impl Add for Nanos {
    type Output = Nanos;

    fn add(self, by: Nanos) -> Nanos {
        Nanos(self.0 + by.0)
    }
}

impl Sub for Nanos {
    type Output = Nanos;

    fn sub(self, by: Nanos) -> Nanos {
        Nanos(self.0 - by.0)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_mask_covers_its_bytes() {
        assert_eq!(Width::ALL.map(Width::mask), [0xff, 0xffff, 0xffff_ffff, u64::MAX]);
        assert_eq!(Width::from_bytes(3), None);
    }
}
