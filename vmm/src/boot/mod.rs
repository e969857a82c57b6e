//! Kernels: what an image says about itself and how the machine hands it over.

pub mod kernel;
