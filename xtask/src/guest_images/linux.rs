//! A small Linux from the distribution's source package, kept in the user's cache folder by a hash of all that goes in.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use super::reproducible::hash_of;
use crate::shell;

/// Which kernel.
#[derive(Clone, Copy)]
pub(super) enum Variant {
    /// Several CPUs.
    Smp,
    /// One CPU.
    Up,
}

impl Variant {
    const ALL: [Variant; 2] = [Variant::Smp, Variant::Up];

    fn word(self) -> &'static str {
        match self {
            Variant::Smp => "smp",
            Variant::Up => "up",
        }
    }

    /// Its fragments of a configuration.
    fn fragments(self) -> Result<String> {
        let mut text = String::new();
        for name in ["microvm", self.word()] {
            let file = shell::root().join(format!("guest-images/linux/{name}.config"));
            text += &fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        }
        Ok(text)
    }

    /// A file's name among the images.
    fn file(self, name: &str) -> String {
        match self {
            Variant::Smp => name.to_owned(),
            Variant::Up => format!("{name}-up"),
        }
    }
}

/// Puts a kernel into the folder of images, from the cache or built; returns its files.
pub(super) fn build(images: &Path, variant: Variant) -> Result<Vec<PathBuf>> {
    let missing = missing_tools();
    if !missing.is_empty() {
        bail!(
            "building Linux needs {}; `cargo xtask setup --install` gets what it can",
            missing.join(", ")
        );
    }
    let key = key(variant)?;
    let cache = shell::cache(CACHE)?;
    let entry = cache.join(entry_name(variant, &key));
    if !entry.is_dir() {
        fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
        let lock = cache.join("lock");
        let lock = File::create(&lock).with_context(|| format!("make {}", lock.display()))?;
        lock.lock().context("wait for another build of Linux")?;
        // Whoever built the same in the meantime was waited for.
        if !entry.is_dir() {
            compile(&cache.join("building"), &entry, variant, &key)?;
        }
    }
    place(&entry, images, variant)
}

/// Builds the kernel again, in another folder and for nobody, and compares it with that of the cache.
pub(super) fn check(variant: Variant) -> Result<()> {
    let key = key(variant)?;
    let cache = shell::cache(CACHE)?;
    let (entry, again) = (cache.join(entry_name(variant, &key)), cache.join("again"));
    if !entry.is_dir() {
        bail!("it is not built yet: without --check first");
    }
    let lock = cache.join("lock");
    let lock = File::create(&lock).with_context(|| format!("make {}", lock.display()))?;
    lock.lock().context("wait for another build of Linux")?;
    if again.exists() {
        fs::remove_dir_all(&again).with_context(|| format!("remove {}", again.display()))?;
    }
    compile(&cache.join("building-again"), &again, variant, &key)?;
    let mut differ = Vec::new();
    for name in FILES {
        let (first, second) = (hash_of(&entry.join(name))?, hash_of(&again.join(name))?);
        println!("{} {first}", variant.file(name));
        if first != second {
            differ.push(name);
        }
    }
    fs::remove_dir_all(&again).with_context(|| format!("remove {}", again.display()))?;
    if !differ.is_empty() {
        bail!("two builds in different folders differ in {}", differ.join(", "));
    }
    println!("the same from two folders");
    Ok(())
}

/// Puts what the cache has into the folder of images. What is there and was made from something else goes.
pub(super) fn place_cached(images: &Path) -> Result<()> {
    let Ok(cache) = shell::cache(CACHE) else { return Ok(()) };
    for variant in Variant::ALL {
        // Without the tools, what is there has come from elsewhere and stays.
        let Ok(key) = key(variant) else { continue };
        let entry = cache.join(entry_name(variant, &key));
        if entry.is_dir() {
            place(&entry, images, variant)?;
        } else {
            for name in FILES {
                // It may not be there.
                let _gone = fs::remove_file(images.join(variant.file(name)));
            }
        }
    }
    Ok(())
}

/// What building needs and is not here, with where to get it.
pub(crate) fn missing_tools() -> Vec<String> {
    let mut missing: Vec<String> = TOOLS
        .iter()
        .filter(|(tool, _)| shell::first_line(tool, &["--version"]).is_none())
        .map(|(tool, package)| format!("`{tool}` (package {package})"))
        .collect();
    if !Path::new("/usr/include/gelf.h").exists() {
        missing.push("libelf's headers (package libelf-dev)".to_owned());
    }
    if !Path::new(SOURCE).exists() {
        missing.push(format!("{SOURCE} (package {PACKAGE})"));
    }
    missing
}

/// All that goes into a kernel, as text; its hash names the entry of the cache.
fn key(variant: Variant) -> Result<String> {
    let mut key = format!("recipe {RECIPE}\n");
    let ask = [
        ("dpkg-query", &["--show", PACKAGE][..]),
        ("gcc", &["--version"]),
        ("ld", &["--version"]),
    ];
    for (program, arguments) in ask {
        let line = shell::first_line(program, arguments);
        key += &line.with_context(|| format!("{program} {} fails", arguments.join(" ")))?;
        key.push('\n');
    }
    Ok(key + &variant.fragments()?)
}

fn entry_name(variant: Variant, key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{digits}", variant.word())
}

/// Unpacks, configures and compiles; the entry appears whole or not at all.
fn compile(work: &Path, entry: &Path, variant: Variant, key: &str) -> Result<()> {
    eprintln!(
        "building Linux ({}) from {PACKAGE}: some 5 minutes of CPU time, once",
        variant.word()
    );
    // What an interrupted build left.
    if work.exists() {
        fs::remove_dir_all(work).with_context(|| format!("remove {}", work.display()))?;
    }
    let (source, out) = (work.join("source"), work.join("out"));
    for folder in [&source, &out] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let bar = ProgressBar::new(LINES);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent} %, {elapsed}, {msg}") {
        bar.set_style(style);
    }
    bar.set_message("unpack");
    bar.tick();
    let mut unpack = shell::program(
        "tar",
        &["--extract", "--strip-components=1", "--file", SOURCE, "--directory"],
    );
    shell::succeed(unpack.arg(&source))?;

    bar.set_message("configure");
    let fragments = variant.fragments()?;
    let wanted = work.join("wanted.config");
    fs::write(&wanted, &fragments).with_context(|| format!("write {}", wanted.display()))?;
    let all = format!("KCONFIG_ALLCONFIG={}", wanted.display());
    make(&source, &out, &["allnoconfig", &all], &bar)?;
    refused(&fragments, &out.join(".config"))?;

    let jobs = format!("-j{}", available_parallelism().map_or(1, usize::from));
    make(&source, &out, &[&jobs, "vmlinux", "bzImage"], &bar)?;
    let whole = work.join("whole");
    fs::create_dir(&whole).with_context(|| format!("make {}", whole.display()))?;
    for (from, to) in [
        ("vmlinux", "vmlinux"),
        ("arch/x86/boot/bzImage", "bzImage"),
        (".config", "config"),
    ] {
        fs::copy(out.join(from), whole.join(to)).with_context(|| format!("copy {from}"))?;
    }
    fs::write(whole.join("key.txt"), key).context("write key.txt")?;
    fs::rename(&whole, entry).with_context(|| format!("make {}", entry.display()))?;
    bar.finish_and_clear();
    fs::remove_dir_all(work).with_context(|| format!("remove {}", work.display()))
}

/// Runs make with nothing of the caller's habits and nothing that differs from one build to the next.
fn make(source: &Path, out: &Path, words: &[&str], bar: &ProgressBar) -> Result<()> {
    let log = out.join("build.log");
    let mut log_file = File::options()
        .create(true)
        .append(true)
        .open(&log)
        .context("open build.log")?;
    let mut command = Command::new("make");
    command
        .arg("-C")
        .arg(source)
        .arg(format!("O={}", out.display()))
        .args(words);
    for name in [
        "ARCH",
        "CROSS_COMPILE",
        "KCFLAGS",
        "LLVM",
        "MAKEFLAGS",
        "SOURCE_DATE_EPOCH",
    ] {
        command.env_remove(name);
    }
    command
        .envs(ALWAYS)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file.try_clone()?);
    let mut child = command
        .spawn()
        .with_context(|| format!("start {}", shell::line(&command)))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.context("read what make prints")?;
            writeln!(log_file, "{line}").context("write build.log")?;
            bar.inc(1);
            bar.set_message(line.trim().to_owned());
        }
    }
    let status = child.wait().context("wait for make")?;
    if !status.success() {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        let lines: Vec<_> = lines.into_iter().rev().collect();
        bail!(
            "{} failed: {status}; {} ends with\n{}",
            shell::line(&command),
            log.display(),
            lines.join("\n")
        );
    }
    Ok(())
}

/// Fails when a line of the fragments did not survive: an option that depends on one that is off, or that is gone.
fn refused(fragments: &str, config: &Path) -> Result<()> {
    let config = fs::read_to_string(config).with_context(|| format!("read {}", config.display()))?;
    let is_set = |wanted: &str| match wanted.strip_suffix("=n") {
        Some(name) => !config.lines().any(|line| line.starts_with(&format!("{name}="))),
        None => config.lines().any(|line| line == wanted),
    };
    let wanted = fragments.lines().filter(|line| line.starts_with("CONFIG_"));
    let refused: Vec<&str> = wanted.filter(|line| !is_set(line)).collect();
    if !refused.is_empty() {
        bail!("{PACKAGE} did not take {}; see guest-images/linux/", refused.join(", "));
    }
    Ok(())
}

/// Puts the files of an entry among the images, as links where the file system can.
fn place(entry: &Path, images: &Path, variant: Variant) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(images).with_context(|| format!("make {}", images.display()))?;
    let mut placed = Vec::new();
    for name in FILES {
        let (from, to) = (entry.join(name), images.join(variant.file(name)));
        let new = images.join(format!("{}.{}", variant.file(name), std::process::id()));
        fs::hard_link(&from, &new)
            .or_else(|_| fs::copy(&from, &new).map(drop))
            .and_then(|()| fs::rename(&new, &to))
            .with_context(|| format!("put {} at {}", from.display(), to.display()))?;
        // Nothing is renamed where both were one file already.
        let _gone = fs::remove_file(&new);
        placed.push(to);
    }
    Ok(placed)
}

/// The cache's name.
const CACHE: &str = "linux";

/// What an entry holds for the suite.
const FILES: [&str; 2] = ["vmlinux", "bzImage"];

const PACKAGE: &str = "linux-source-6.1";

const SOURCE: &str = "/usr/src/linux-source-6.1.tar.xz";

/// The Debian packages of all that building needs.
pub(crate) const PACKAGES: &[&str] = &[
    PACKAGE,
    "make",
    "gcc",
    "binutils",
    "flex",
    "bison",
    "bc",
    "xz-utils",
    "lz4",
    "libelf-dev",
];

/// Programs that building needs, with their Debian packages.
const TOOLS: [(&str, &str); 8] = [
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("xz", "xz-utils"),
    ("lz4", "lz4"),
];

/// The same in every build, so that its bytes are.
const ALWAYS: [(&str, &str); 5] = [
    ("KBUILD_BUILD_HOST", "touchstone"),
    ("KBUILD_BUILD_TIMESTAMP", "2000-01-01"),
    ("KBUILD_BUILD_USER", "touchstone"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LC_ALL", "C"),
];

/// Counted up when this file changes what comes out of the same sources.
const RECIPE: u32 = 1;

/// Lines that a build prints, about: for the progress bar only.
const LINES: u64 = 1230;
