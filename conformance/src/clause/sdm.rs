//! The processor's own manual.

use super::{Clause, Document, Origin};

/// The manual.
pub static DOCUMENT: Document = Document {
    name: "sdm",
    title: "Intel 64 and IA-32 Architectures Software Developer's Manual, order number 325462",
    url: "https://www.intel.com/content/www/us/en/developer/articles/technical/intel-sdm.html",
    origin: Origin::DataSheet,
};

clauses! { "sdm", DOCUMENT;
    LOCAL_APIC = "local-apic", "volume 3, Local APIC Status and Location",
        "After reset the bootstrap processor's local APIC is enabled, has ID 0 and lies at 0xfee00000.";
    TSC = "tsc", "volume 3, Time-Stamp Counter",
        "The time stamp counter never runs backwards.";
}
