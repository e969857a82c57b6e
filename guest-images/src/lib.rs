//! Runtime of the bare-metal guest images.
#![no_std]
