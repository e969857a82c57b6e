//! `cargo xtask guest-images`: builds the bare-metal images and the initramfs with the installed Rust alone, and the
//! Linux that starts it from the distribution's source package.

mod initramfs;
mod linux;
mod reproducible;

pub(crate) use linux::{PACKAGES as PACKAGES_FOR_LINUX, missing_tools as missing_for_linux};
pub(crate) use reproducible::{check as check_reproducible, hash_of};

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::shell;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// Builds twice, in different folders, and compares the results and golden/images.txt.
    #[arg(long, conflicts_with = "bless")]
    check: bool,
    /// Writes golden/images.txt anew.
    #[arg(long)]
    bless: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Only the initramfs with the Linux boot probe.
    Initramfs,
    /// A Linux for the boot probe, from the distribution's source package; kept in the user's cache folder.
    Linux {
        /// For one CPU (CONFIG_SMP=n) instead of several.
        #[arg(long)]
        up: bool,
        /// Builds it once more, in another folder, and compares.
        #[arg(long)]
        check: bool,
    },
}

/// The bare-metal images, as file names.
const IMAGES: [&str; 7] = ["agent", "delivery", "halt", "probe", "reset", "smp", "toll"];

/// The host's own target: no other needs to be installed.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds what is asked for; without a part all that needs only Rust.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.part {
        None if arguments.check => check_reproducible(),
        None if arguments.bless => reproducible::bless(),
        None => build().map(drop),
        Some(Part::Initramfs) => {
            let file = initramfs::build(&Place::here()?)?;
            println!("{}", file.display());
            Ok(())
        }
        Some(Part::Linux { up, check }) => {
            let variant = if *up { linux::Variant::Up } else { linux::Variant::Smp };
            if *check {
                linux::check(variant)?;
            }
            for file in linux::build(&folder(&shell::target()), variant)? {
                println!("{}", file.display());
            }
            Ok(())
        }
    }
}

/// Builds all that needs only Rust, checks that an interpreter can run the bare-metal images, and puts what the cache
/// has of Linux beside them. Returns the folder they are in.
pub(crate) fn build() -> Result<PathBuf> {
    let place = Place::here()?;
    let folder = build_bare(&place)?;
    check(&folder)?;
    initramfs::build(&place)?;
    linux::place_cached(&folder)?;
    Ok(folder)
}

/// Puts both kernels among the images, from the cache or built.
pub(crate) fn build_linux() -> Result<()> {
    for variant in [linux::Variant::Smp, linux::Variant::Up] {
        linux::build(&folder(&shell::target()), variant)?;
    }
    Ok(())
}

/// Builds the first program of the lab.
pub(crate) fn build_lab_init() -> Result<PathBuf> {
    initramfs::build_program(&Place::here()?, "lab", "lab-init")
}

/// Where sources are and where what is built goes.
struct Place {
    root: PathBuf,
    target: PathBuf,
    cargo_home: PathBuf,
}

impl Place {
    fn here() -> Result<Place> {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
        let cargo_home =
            home.context("neither CARGO_HOME nor HOME is set, so paths cannot be kept out of the images")?;
        Ok(Place {
            root: shell::root(),
            target: shell::target(),
            cargo_home,
        })
    }

    /// Builds programs of package `guest-images` with these flags besides those that keep paths out.
    fn cargo_build(&self, target: &Path, features: &str, which: &[&str], flags: &[&str]) -> Result<()> {
        let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--remap-path-prefix={}=.", self.root.display()));
        flags.push(format!("--remap-path-prefix={}=cargo", self.cargo_home.display()));
        let words = [
            "build",
            "--quiet",
            "--locked",
            "--package",
            "guest-images",
            "--profile",
            "guest",
        ];
        let mut command = shell::cargo(&words);
        command.args(["--features", features, "--target", TARGET]).args(which);
        command.arg("--target-dir").arg(target).current_dir(&self.root);
        command
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        shell::succeed(&mut command)
    }
}

/// The folder of the images.
fn folder(target: &Path) -> PathBuf {
    target.join("guest").join(TARGET).join("guest")
}

fn build_bare(place: &Place) -> Result<PathBuf> {
    // Why each is needed stands in guest-images/README.md.
    let flags = [
        "-Crelocation-model=static",
        "-Ctarget-cpu=x86-64",
        "-Cforce-unwind-tables=no",
        "-Cllvm-args=-force-attribute=noimplicitfloat",
        "-Cllvm-args=-force-attribute=noredzone",
    ];
    place.cargo_build(&place.target.join("guest"), "image", &["--bins"], &flags)?;
    Ok(folder(&place.target))
}

/// Disassembles the images and refuses instructions that a plain interpreter lacks.
fn check(folder: &Path) -> Result<()> {
    let run = [
        "run",
        "--quiet",
        "--package",
        "guest-images",
        "--features",
        "check",
        "--bin",
        "check-image",
        "--",
    ];
    let mut command = shell::cargo(&run);
    command.args(IMAGES.map(|image| folder.join(image)));
    let output = command
        .output()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    if !output.status.success() {
        let (said, warned) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        bail!("an image has an instruction that a plain interpreter refuses:\n{said}{warned}");
    }
    Ok(())
}
