//! The reference microvm machine.
//!
//! Reading order, lower layers first; a lower layer never imports an upper one (`cargo xtask tidy` checks it):
//!
//! 0. [`units`]: nanoseconds and access widths.
//! 1. [`device`], [`bus`], [`irq`], [`memory`], [`inspect`]: what a device is and the fabric between devices.
//! 2. [`chip`], `virtio`: the devices. None imports another; they meet only through lines and memory.
//! 3. [`board`], `boot`: profile to devices, addresses, wiring, tables, loaders.
//! 4. [`machine`]: a board under virtual time, without a kernel. This is what the suite drives at depth bus.
//! 5. `kvm`, `host`: the kernel and the outside world.
//! 6. The front ends: `microvm run`, `microvm qtest`, `microvm inspect`.
//!
//! Everything below layer 5 is deterministic: time, host bytes and entropy come in as arguments, so the same calls
//! give the same answers.

pub mod board;
pub mod boot;
pub mod bus;
pub mod chip;
pub mod cli;
pub mod device;
pub mod host;
pub mod inspect;
pub mod inspect_cli;
pub mod irq;
pub mod kvm;
pub mod machine;
pub mod memory;
pub mod qtest;
pub mod units;
pub mod virtio;
