//! Kernels: what an image says about itself, how the machine hands it to a firmware, and how it starts without one.
//!
//! [`firmware`] is the ROM a machine may start in, [`kernel`] the kernel's way to it through fw_cfg, [`elf`] the reader
//! of ELF kernels for that and for direct boot.
//! Direct boot: [`direct`] puts into memory what a kernel without firmware finds, [`pvh`] and [`linux`] are the two
//! protocols for it, [`mp_table`] is the part of a firmware's work that a kernel cannot do without: which CPUs there
//! are and how the interrupts are wired.

pub mod direct;
pub mod elf;
pub mod firmware;
pub mod kernel;
pub mod linux;
pub mod mp_table;
pub mod pvh;
