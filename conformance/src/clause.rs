//! Clauses: requirements in one sentence of ours, each with the document it comes from.

/// A document, in the revision that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// Short name, the first part of its clauses' ids.
    pub name: &'static str,
    /// Title and revision.
    pub title: &'static str,
    /// Where it can be read; `{section}` stands for a clause's section. Empty when it is not on line.
    pub url: &'static str,
    /// What kind of authority it is.
    pub origin: Origin,
}

/// Where a requirement really comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A data sheet of the chip.
    DataSheet,
    /// The virtio specification.
    Virtio,
    /// The machine model as first specified (October 2019).
    MachineModel,
    /// QEMU's documentation.
    QemuDocumentation,
    /// Linux relies on it.
    Linux,
    /// Observed on machines only; never the sole ground of a Must that a document contradicts.
    Observed,
}

/// One requirement.
#[derive(Debug, PartialEq, Eq)]
pub struct Clause {
    /// `document/anchor`, permanent.
    pub id: &'static str,
    /// The document.
    pub document: &'static Document,
    /// Section or table in the document's own words.
    pub section: &'static str,
    /// The requirement, one sentence.
    pub requirement: &'static str,
}

impl Clause {
    /// The address of the clause's section, if the document is on line.
    pub fn url(&self) -> Option<String> {
        (!self.document.url.is_empty()).then(|| self.document.url.replace("{section}", self.section))
    }
}
