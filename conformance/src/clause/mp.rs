//! Intel MultiProcessor Specification.

use super::{Clause, Document, Origin};

/// The specification.
pub static DOCUMENT: Document = Document {
    name: "mp",
    title: "Intel MultiProcessor Specification, version 1.4 (order number 242016)",
    url: "",
    origin: Origin::BootProtocol,
};

clauses! { "mp", DOCUMENT;
    CPUS = "cpus", "4.3.1 Processor Entries",
        "The table has an enabled entry with the ID of each CPU that can be started, and marks the boot CPU.";
}
