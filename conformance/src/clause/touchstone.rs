//! What this suite asks of a VMM that takes part in its boot reports; no document of the machine has it.

use super::{Clause, Document, Origin};

/// The suite's own words.
pub static DOCUMENT: Document = Document {
    name: "touchstone",
    title: "Touchstone, guest-images/README.md and conformance/README.md",
    url: "",
    origin: Origin::Observed,
};

clauses! { "touchstone", DOCUMENT;
    BOOT_MARKS = "boot-marks", "boot marks",
        "A byte that a guest writes to the port it was told reaches the host once, with its time, in order.";
}
