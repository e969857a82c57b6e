//! Little-endian fields in byte slices, bounds checked.

use core::fmt;

/// A payload that does not hold what its kind promises: too short, too long, or a field out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("payload does not fit its kind")
    }
}

impl core::error::Error for Malformed {}

/// Takes fields off the front of a payload.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn number(&mut self, length: usize) -> Result<u64, Malformed> {
        let bytes = self.bytes(length)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |value, &byte| (value << 8) | u64::from(byte)))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.number(1)? as u8)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(self.number(2)? as u16)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(self.number(4)? as u32)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.number(8)
    }

    pub(crate) fn remainder(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses bytes behind the last field.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Puts fields one after the other into a buffer; what does not fit is remembered as an overflow.
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    overflow: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            length: 0,
            overflow: false,
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let end = self.length.saturating_add(bytes.len());
        match self.buffer.get_mut(self.length..end) {
            Some(space) => {
                space.copy_from_slice(bytes);
                self.length = end;
            }
            None => self.overflow = true,
        }
    }

    /// Puts the low `length` bytes (0..=8) of `value`.
    pub(crate) fn number(&mut self, value: u64, length: usize) {
        self.bytes(value.to_le_bytes().get(..length).unwrap_or_default());
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// The bytes put, or `None` when some did not fit.
    pub(crate) fn finish(self) -> Option<usize> {
        if self.overflow { None } else { Some(self.length) }
    }
}
