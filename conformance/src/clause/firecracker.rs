//! Firecracker's machine on x86_64 as it was before PCI came to it.

use super::{Clause, Document, Origin};

/// The program that the machine of profile `rust-vmm` follows.
pub static DOCUMENT: Document = Document {
    name: "firecracker",
    title: "Firecracker, x86_64 without PCI: src/arch/src/x86_64 and src/vmm/src/device_manager",
    url: "https://github.com/firecracker-microvm/firecracker",
    origin: Origin::MachineModel,
};

clauses! { "firecracker", DOCUMENT;
    TRANSPORTS = "transports", "device_manager/mmio.rs",
        "Each device has a transport of 4 KiB, from the gap below 4 GiB upwards in their order; there are no others.";
}
