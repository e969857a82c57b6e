//! Debian's cloud kernel, unpacked and not installed: what the lab runs, and a kernel that nobody built for this
//! machine. It is kept outside the tree, in a folder named after its package and version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Depends on the newest kernel.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel as a Debian package has it.
pub(crate) struct StockKernel {
    folder: PathBuf,
}

impl StockKernel {
    /// One that was fetched earlier, the newest.
    pub(crate) fn cached() -> Option<StockKernel> {
        let folders = fs::read_dir(shell::cache(CACHE).ok()?).ok()?;
        let mut folders: Vec<PathBuf> = folders.filter_map(|entry| Some(entry.ok()?.path())).collect();
        folders.retain(|folder| folder.join("boot").is_dir());
        folders.sort_by_key(|folder| fs::metadata(folder).and_then(|facts| facts.modified()).ok());
        Some(StockKernel { folder: folders.pop()? })
    }

    /// The one that Debian has now; without a way to get it, one that was fetched earlier.
    pub(crate) fn get() -> Result<StockKernel> {
        match fetch() {
            Ok(folder) => Ok(StockKernel { folder }),
            Err(error) => StockKernel::cached()
                .with_context(|| format!("no kernel: {error:#}; Debian's {META_PACKAGE} is needed, and apt-get")),
        }
    }

    /// Package and version.
    pub(crate) fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The kernel, a bzImage.
    pub(crate) fn bz_image(&self) -> Result<PathBuf> {
        let boot = self.folder.join("boot");
        let mut files = shell::files(&boot)?;
        files.retain(|file| shell::name_of(file).starts_with("vmlinuz-"));
        files.pop().with_context(|| format!("{}: no vmlinuz", boot.display()))
    }

    /// A module of the kernel by name.
    pub(crate) fn module(&self, name: &str) -> Result<PathBuf> {
        let modules = self.folder.join("lib/modules");
        let mut folders = vec![modules.clone()];
        while let Some(folder) = folders.pop() {
            for file in shell::files(&folder)? {
                if file.is_dir() {
                    folders.push(file);
                } else if shell::name_of(&file).strip_suffix(".ko") == Some(name) {
                    return Ok(file);
                }
            }
        }
        bail!("{}: no module {name}", modules.display())
    }
}

/// Downloads and unpacks the package unless that was done, and returns its folder.
fn fetch() -> Result<PathBuf> {
    let depends = output(Command::new("apt-cache").args(["depends", META_PACKAGE]))?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package
        .filter(|package| package.starts_with("linux-image-"))
        .with_context(|| format!("apt-cache knows no {META_PACKAGE}; see apt-get update"))?;
    // 'ADDRESS' FILE SIZE HASH
    let uris = output(Command::new("apt-get").args(["download", "--print-uris", package]))?;
    let file = uris.split_whitespace().find(|word| word.ends_with(".deb"));
    let file = file.with_context(|| format!("apt-get names no file of {package}"))?;
    let cache = shell::cache(CACHE)?;
    let folder = cache.join(file.trim_end_matches(".deb"));
    if folder.is_dir() {
        return Ok(folder);
    }
    // Elsewhere first, and then all at once: another run may look, and this one may be ended.
    let fresh = cache.join(format!(".{}", std::process::id()));
    fs::create_dir_all(&fresh).with_context(|| format!("create {}", fresh.display()))?;
    let unpacked = output(
        Command::new("apt-get")
            .args(["download", "-q", package])
            .current_dir(&fresh),
    )
    .and_then(|_| downloaded(&fresh))
    .and_then(|package| {
        output(Command::new("dpkg").arg("-x").arg(&package).arg(fresh.join("all")))?;
        fs::rename(fresh.join("all"), &folder).with_context(|| format!("rename to {}", folder.display()))
    });
    let removed = fs::remove_dir_all(&fresh).with_context(|| format!("remove {}", fresh.display()));
    if !folder.is_dir() {
        unpacked?;
    }
    removed?;
    Ok(folder)
}

fn downloaded(folder: &Path) -> Result<PathBuf> {
    let files = shell::files(folder)?;
    let package = files.into_iter().find(|file| shell::name_of(file).ends_with(".deb"));
    package.context("apt-get left no package")
}

/// Runs a command quietly and returns what it printed.
fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("start {}", shell::line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}", shell::line(command), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The cache's name.
const CACHE: &str = "stock-kernel";
