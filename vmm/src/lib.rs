//! The reference microvm machine.
