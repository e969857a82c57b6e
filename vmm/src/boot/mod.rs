//! Kernels: what an image says about itself, how the machine hands it to a firmware, and how it starts without one.
//!
//! [`firmware`] is the ROM a machine may start in, [`kernel`] the kernel's way to it through fw_cfg.
//! Direct boot: [`elf`] checks the image, [`pvh`] loads it and writes what the PVH boot protocol hands over,
//! [`mp_table`] is the part of a firmware's work that a kernel cannot do without: which CPUs there are and how the
//! interrupts are wired.

pub mod elf;
pub mod firmware;
pub mod kernel;
pub mod mp_table;
pub mod pvh;
