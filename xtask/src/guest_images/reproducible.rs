//! Two builds give the same bytes, and these are the ones in golden/images.txt.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{IMAGES, Place, build_bare, initramfs};
use crate::shell;

/// Builds everything that needs only Rust a second time, from a copy of the sources in another folder, and compares.
pub(crate) fn check() -> Result<()> {
    let here = Place::here()?;
    let first = build(&here)?;
    let copy = here.target.join("guest-again");
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| format!("remove {}", copy.display()))?;
    }
    copy_sources(&here.root, &copy.join("sources"))?;
    let there = Place {
        root: copy.join("sources"),
        target: copy.join("target"),
        cargo_home: here.cargo_home.clone(),
    };
    let second = build(&there)?;
    fs::remove_dir_all(&copy).with_context(|| format!("remove {}", copy.display()))?;
    let differ: Vec<&str> = first
        .iter()
        .zip(&second)
        .filter(|(first, second)| first != second)
        .map(|(first, _)| first.name.as_str())
        .collect();
    if !differ.is_empty() {
        bail!("two builds in different folders differ in {}", differ.join(", "));
    }
    println!("{} images are the same from two folders", first.len());
    compare_golden(&first)
}

/// Writes the golden anew.
pub(super) fn bless() -> Result<()> {
    if std::env::var_os("CI").is_some() {
        bail!("CI never blesses: do it at a desk and commit the reviewed difference");
    }
    let text = golden_text(&toolchain()?, &build(&Place::here()?)?);
    let file = golden_file();
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    println!("{}", file.display());
    Ok(())
}

/// The hash of a file's content, in hexadecimal.
pub(crate) fn hash_of(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// One built file.
#[derive(PartialEq, Eq)]
struct Built {
    name: String,
    length: u64,
    hash: String,
}

fn build(place: &Place) -> Result<Vec<Built>> {
    let folder = build_bare(place)?;
    let archive = initramfs::build(place)?;
    let files = IMAGES.iter().map(|image| folder.join(image)).chain([archive]);
    files
        .map(|file| {
            let length = fs::metadata(&file)
                .with_context(|| format!("look at {}", file.display()))?
                .len();
            Ok(Built {
                name: shell::name_of(&file).to_owned(),
                length,
                hash: hash_of(&file)?,
            })
        })
        .collect()
}

/// What git would put into a commit, and nothing else that lies around.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let mut command = shell::program("git", &list);
    let output = command
        .output()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: a copy of the sources needs git to say what they are",
            shell::line(&command)
        );
    }
    for name in String::from_utf8(output.stdout).context("names of files")?.lines() {
        let (source, copy) = (from.join(name), to.join(name));
        // One that was removed and not yet committed is still listed.
        if source.is_file() {
            let parent = copy.parent().unwrap_or(to);
            fs::create_dir_all(parent)
                .and_then(|()| fs::copy(&source, &copy))
                .with_context(|| format!("copy {name}"))?;
        }
    }
    Ok(())
}

/// Holds what was built to the golden, where that was made by the same tools.
fn compare_golden(built: &[Built]) -> Result<()> {
    let file = golden_file();
    let golden = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let (toolchain, now) = (toolchain()?, golden_text(&toolchain()?, built));
    if !golden.contains(&toolchain) {
        println!("not comparable with golden/images.txt, which other tools made: here are\n{toolchain}");
        return Ok(());
    }
    if golden != now {
        let after = "after a change that is meant: cargo xtask guest-images --bless";
        bail!("the images are not those of golden/images.txt, which now would be\n{now}{after}");
    }
    println!("they are those of golden/images.txt");
    Ok(())
}

/// The tools whose version the bytes depend on.
fn toolchain() -> Result<String> {
    let ask = [
        ("rustc", "rustc", "--version"),
        ("ld", "ld", "--version"),
        ("libc", "ldd", "--version"),
    ];
    let mut text = String::new();
    for (what, program, argument) in ask {
        let line = shell::first_line(program, &[argument]).with_context(|| format!("{program} {argument} fails"))?;
        text += &format!("# {what}: {line}\n");
    }
    Ok(text)
}

fn golden_text(toolchain: &str, built: &[Built]) -> String {
    let mut text = "# source: self; the guest images as these tools build them, with length in bytes and SHA-256\n\
                    # command: cargo xtask guest-images --bless\n"
        .to_owned();
    text += toolchain;
    for Built { name, length, hash } in built {
        text += &format!("{name} {length} {hash}\n");
    }
    text
}

fn golden_file() -> PathBuf {
    shell::root().join("golden/images.txt")
}
