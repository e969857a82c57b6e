//! The conformance suite: does a VMM behave like a microvm, register by register?
//!
//! A [`case::Case`] ties one behaviour to a [`clause::Clause`] of a written document. Its body speaks to a
//! [`machine::Machine`] through a [`probe::Probe`] and observes; [`verdict`] judges. The same body runs at every depth:
//! linked in process, over the qtest protocol, or on a real CPU through an agent image.
//!
//! The suite never takes its numbers from the implementation: registers, bits and addresses here are transcribed from
//! the documents, and only `subject/in_process.rs` may name the `vmm` crate.

pub mod bench;
pub mod case;
pub mod cases;
pub mod catalog;
pub mod clause;
pub mod driver;
pub mod expectation;
pub mod files;
pub mod golden;
pub mod layout;
pub mod machine;
pub mod marks;
pub mod mustpass;
pub mod probe;
pub mod program;
pub mod program_file;
pub mod record;
pub mod recording;
pub mod regress;
pub mod replay;
pub mod report;
pub mod runner;
pub mod settled;
pub mod spec;
pub mod subject;
pub mod verdict;
