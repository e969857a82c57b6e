//! `cargo xtask lab`: the suite on real KVM, wherever QEMU is. QEMU emulates an x86 machine with SVM, a stock kernel
//! runs in it, and the suite, the VMM and the images run on that kernel's /dev/kvm; guest-images/src/bin/lab-init.rs is
//! the first program there.

mod archive;
mod arguments;
pub(crate) mod beside;
mod machine;
mod programs;
mod results;
pub(crate) mod stock_kernel;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::guest_images::TARGET;
use crate::{guest_images, shell};
use archive::Archive;
use arguments::LabArguments;
use machine::{Ended, Machine};
use results::{only_timeouts, unpack};
use stock_kernel::StockKernel;

/// What the lab needs of its kernel's modules, each after those that it needs: the ports, then KVM.
const MODULES: [&str; 9] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_console",
    "irqbypass",
    "kvm",
    "kvm-amd",
];
/// Firmware of the host that cases start, where it is.
const FIRMWARE: [&str; 6] = [
    "/usr/share/qemu/qboot.rom",
    "/usr/share/qemu/bios-microvm.bin",
    "/usr/share/qemu/linuxboot_dma.bin",
    "/usr/share/qemu/pvh.bin",
    "/usr/share/qemu/kvmvapic.bin",
    "/usr/share/seabios/bios-microvm.bin",
];
/// The limit when none is given, in seconds.
pub(crate) const LIMIT_S: u64 = 1800;
/// CPUs of the lab's machine. Two, each a thread of the emulator, take a quarter less time here, and once stood still
/// on another host; a machine with one that stands still gets the second start with two.
const CPUS: u32 = 1;
const CPUS_OF_SECOND_START: u32 = 2;
/// What of the limit is for the boot, for the cases that run when their time is over, and for bringing results back.
const AROUND_RUN: u64 = 4;
/// What the runs leave: the suite's, and that of a stock kernel.
const REPORTS: [&str; 2] = ["report.json", "stock-kernel.json"];
/// How much of a log is shown.
const TAIL_LINES: usize = 15;

/// Options of `cargo xtask lab`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Longest run of the lab in seconds, its boot included.
    #[arg(long, default_value_t = LIMIT_S, value_parser = clap::value_parser!(u64).range(60..=86_400))]
    pub(crate) limit_s: u64,
    /// Takes a program and its libraries along; may be repeated. Those that subjects start come along by themselves.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) carry: Vec<String>,
    /// Boots Debian's own kernel, too, in a second run of the cases that start a bzImage.
    #[arg(long)]
    pub(crate) stock_kernel: bool,
    /// Arguments of `touchstone run`.
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

/// Runs the lab and returns the exit code of the suite inside.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let arguments = LabArguments::new(&options.arguments, &options.carry)?;
    if shell::first_line("qemu-system-x86_64", &["--version"]).is_none() {
        bail!("the lab needs qemu-system-x86_64; `cargo xtask setup --install` gets it");
    }
    let kernel = StockKernel::get()?;
    let folder = folder();
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let carried = programs::all(&options.carry, arguments.subjects())?;
    let run_s = options.limit_s - options.limit_s / AROUND_RUN;
    let told = [
        ("lab/arguments", arguments.inside(options.stock_kernel)),
        ("lab/limit-s", run_s.to_string()),
    ];
    let archive = pack(&kernel, arguments.inputs(), &carried, &told)?;
    let initramfs = folder.join("initramfs.cpio");
    fs::write(&initramfs, archive).with_context(|| format!("write {}", initramfs.display()))?;
    let begin = Instant::now();
    eprintln!("lab: {}, at most {} s", kernel.name(), options.limit_s);
    let limit = Duration::from_secs(options.limit_s);
    let machine = Machine::new(&folder, kernel.bz_image()?, initramfs.clone());
    let mut ended = machine.run(CPUS, limit);
    if let Ok(Ended::Stalled(evidence)) = &ended {
        // No program in it can do that: it is the emulator that does not hold.
        eprintln!("lab: {evidence}\nlab: its emulator does not hold; once more, with {CPUS_OF_SECOND_START} CPUs");
        ended = machine.run(CPUS_OF_SECOND_START, limit);
    }
    let _not_needed = fs::remove_file(&initramfs);
    let code = ended.and_then(|ended| match ended {
        Ended::Itself => unpack(&machine.results(), &folder),
        Ended::Stalled(evidence) | Ended::AtLimit(evidence) => bail!("{evidence}"),
    });
    let code = match code {
        Ok(code) => code,
        Err(error) => {
            let log = machine.log();
            let (shown, tail) = (log.display(), tail(&log));
            bail!("the lab broke: {error:#}; the last lines of its kernel's log, {shown}:\n{tail}");
        }
    };
    arguments.copy_outputs(&folder)?;
    let report = folder.join("report.json");
    let seconds = begin.elapsed().as_secs_f32();
    if report.is_file() {
        eprintln!("lab: {seconds:.0} s; its report is {}", report.display());
    } else {
        eprintln!("lab: {seconds:.0} s; it ended with exit code {code} and left no report");
    }
    Ok(code)
}

/// Whether all that was not as expected in the last run of the lab are timeouts.
pub(crate) fn only_timed_out() -> Result<bool> {
    let reports = REPORTS.map(|name| folder().join(name));
    let reports = reports.iter().filter(|file| file.is_file());
    let texts: Vec<String> = reports
        .map(|file| fs::read_to_string(file).with_context(|| format!("read {}", file.display())))
        .collect::<Result<_>>()?;
    only_timeouts(&texts)
}

/// Where what concerns the last run is.
fn folder() -> PathBuf {
    shell::target().join("touchstone/lab")
}

/// Builds what runs inside and puts it into an initramfs.
fn pack(
    kernel: &StockKernel,
    inputs: &[(PathBuf, String)],
    carried: &BTreeMap<PathBuf, PathBuf>,
    told: &[(&str, String)],
) -> Result<Vec<u8>> {
    let programs = build()?;
    let images = guest_images::build()?;
    let mut archive = Archive::default();
    let mut add = |path: &str, file: &Path| -> Result<()> {
        let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        archive.file(path.trim_start_matches('/'), &bytes)
    };
    add("init", &guest_images::build_lab_init()?)?;
    for program in ["touchstone", "microvm"] {
        add(&format!("bin/{program}"), &programs.join(program))?;
    }
    for (number, module) in MODULES.iter().enumerate() {
        add(&format!("lab/modules/{number:02}-{module}.ko"), &kernel.module(module)?)?;
    }
    for file in shell::files(&images)?.iter().filter(|file| is_image(file)) {
        add(&format!("lab/images/{}", shell::name_of(file)), file)?;
    }
    add("lab/stock-bzImage", &kernel.bz_image()?)?;
    for file in shell::files(&shell::root().join("golden/expectations"))? {
        add(&format!("golden/expectations/{}", shell::name_of(&file)), &file)?;
    }
    for firmware in FIRMWARE.iter().filter(|file| Path::new(file).is_file()) {
        add(firmware, Path::new(firmware))?;
    }
    for (file, path) in inputs {
        add(path, file)?;
    }
    for (path, file) in carried {
        add(&path.to_string_lossy(), file)?;
    }
    for (path, text) in told {
        archive.file(path, text.as_bytes())?;
    }
    archive.finish()
}

/// Whether a file in the folder of the images is one, and not cargo's own.
fn is_image(file: &Path) -> bool {
    file.is_file() && file.extension().is_none_or(|ending| ending == "cpio") && !shell::name_of(file).starts_with('.')
}

/// Builds the programs that run inside: static, since the lab has no libraries.
fn build() -> Result<PathBuf> {
    let target = shell::target().join("lab");
    let build = |arguments: &[&str]| {
        let mut command = shell::cargo(&["build", "--quiet", "--locked", "--target", TARGET]);
        command.arg("--target-dir").arg(&target).args(arguments);
        command
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
        // Debug information would be half of what the lab has to load.
        shell::succeed(command.env("CARGO_PROFILE_DEV_DEBUG", "false"))
    };
    build(&["--package", "vmm", "--package", "conformance", "--bins"])?;
    build(&["--package", "guest-images", "--features", "lab", "--bin", "lab-init"])?;
    Ok(target.join(TARGET).join("debug"))
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    // Behind a panic stands where the kernel was; before it stands why.
    let panic = lines.iter().position(|line| line.contains("Kernel panic"));
    let lines = &lines[..panic.map_or(lines.len(), |at| at + 1)];
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines[from..]
        .iter()
        .map(|line| format!("  {}\n", line.trim_end()))
        .collect()
}
