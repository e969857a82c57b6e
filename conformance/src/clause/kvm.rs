//! KVM's interface to a VMM, as far as a guest's boot time depends on it.

use super::{Clause, Document, Origin};

/// The interface.
pub static DOCUMENT: Document = Document {
    name: "kvm",
    title: "Linux, The Definitive KVM (Kernel-based Virtual Machine) API Documentation",
    url: "https://docs.kernel.org/virt/kvm/api.html",
    origin: Origin::Linux,
};

clauses! { "kvm", DOCUMENT;
    EXIT_IO = "exit-io", "5. The kvm_run structure, KVM_EXIT_IO",
        "A port access that KVM cannot satisfy itself comes to the VMM as one exit, and the VMM needs no other for it.";
    RUN = "run", "4.10 KVM_RUN",
        "A CPU runs the guest until something of the guest's comes to the VMM, and has no other exits.";
    STATS = "stats", "4.133 KVM_GET_STATS_FD",
        "KVM counts every exit of a CPU, also those that it handles itself.";
}
