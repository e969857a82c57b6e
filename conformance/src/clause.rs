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
    /// What loaders and kernels agree on.
    BootProtocol,
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

/// Declares the clauses of one document and the list of them all.
macro_rules! clauses {
    ($prefix:literal, $document:ident;
     $($name:ident = $anchor:literal, $section:literal, $requirement:literal;)*) => {
        $(
            #[doc = $requirement]
            pub static $name: Clause = Clause {
                id: concat!($prefix, "/", $anchor),
                document: &$document,
                section: $section,
                requirement: $requirement,
            };
        )*

        /// All clauses of the document, in its order.
        pub static ALL: &[&Clause] = &[$(&$name),*];
    };
}

pub mod devicetree;
pub mod firecracker;
pub mod fw_cfg;
pub mod i8042;
pub mod i82093aa;
pub mod i8254;
pub mod i8259a;
pub mod kvm;
pub mod linux;
pub mod mc146818;
pub mod microvm;
pub mod mp;
pub mod ns16550;
pub mod pvh;
pub mod sdm;
pub mod touchstone;
pub mod virtio;

/// Every clause of every document.
pub const DOCUMENTS: &[&[&Clause]] = &[
    microvm::ALL,
    fw_cfg::ALL,
    mc146818::ALL,
    ns16550::ALL,
    i82093aa::ALL,
    i8259a::ALL,
    i8254::ALL,
    i8042::ALL,
    virtio::ALL,
    pvh::ALL,
    sdm::ALL,
    mp::ALL,
    firecracker::ALL,
    linux::ALL,
    kvm::ALL,
    touchstone::ALL,
    devicetree::ALL,
];
