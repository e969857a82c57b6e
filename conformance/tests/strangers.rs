//! Subject files of VMMs that cannot be had everywhere, run against stand-ins: this very program under the name of
//! Firecracker or Cloud Hypervisor takes their command line and configuration, as strictly as they do, and becomes
//! `microvm`. What it shows is that the files, the consoles and the ends work; the machine is the reference's.
//!
//! Without KVM, the built images or `microvm` the trials are ignored, and say why.

use std::fs::{self, File};
use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use conformance::subject::description::kvm_problem;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde::Deserialize;

fn main() -> ExitCode {
    let name = std::env::args_os().next().map(PathBuf::from);
    let name = name.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let words: Vec<String> = std::env::args().skip(1).collect();
    let refusal = match name {
        Some("firecracker") => firecracker(&words),
        Some("cloud-hypervisor") => cloud_hypervisor(&words),
        _ => return libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    };
    eprintln!("{refusal}");
    ExitCode::from(152)
}

// The stand-ins. Each becomes `microvm`, or returns why it does not.

/// Firecracker's configuration; a field that it does not know is an error there, too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    boot_source: BootSource,
    machine_config: MachineConfig,
    drives: Vec<Drive>,
    entropy: Option<Entropy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BootSource {
    kernel_image_path: String,
    boot_args: String,
    initrd_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineConfig {
    vcpu_count: u8,
    mem_size_mib: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drive {
    #[expect(dead_code, reason = "it has to be there")]
    drive_id: String,
    path_on_host: String,
    is_root_device: bool,
    is_read_only: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entropy {}

fn firecracker(words: &[String]) -> String {
    let file = match words {
        [version] if version == "--version" => {
            println!("Firecracker v0.0.0-stand-in");
            std::process::exit(0)
        }
        [no_api, option, file, level, error]
            if [no_api.as_str(), option, level, error] == ["--no-api", "--config-file", "--level", "error"] =>
        {
            file
        }
        _ => return format!("Arguments parsing error: {words:?}"),
    };
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return format!("Unable to open or read from the configuration file: {error}"),
    };
    let config: Config = match serde_json::from_str(&text) {
        Ok(config) => config,
        Err(error) => return format!("Configuration for VMM from one single json failed: {error}"),
    };
    let mut microvm = microvm(
        config.machine_config.mem_size_mib,
        u32::from(config.machine_config.vcpu_count),
    );
    microvm.args(["--kernel", &config.boot_source.kernel_image_path]);
    microvm.args(["--append", &config.boot_source.boot_args]);
    if let Some(initrd) = &config.boot_source.initrd_path {
        microvm.args(["--initrd", initrd]);
    }
    for drive in &config.drives {
        assert!(!drive.is_root_device, "the suite's disks are no root devices");
        let readonly = if drive.is_read_only { ",readonly=on" } else { "" };
        microvm.args(["--device", &format!("virtio-blk,file={}{readonly}", drive.path_on_host)]);
    }
    if config.entropy.is_some() {
        microvm.args(["--device", "virtio-rng"]);
    }
    microvm.exec().to_string()
}

fn cloud_hypervisor(words: &[String]) -> String {
    let value = |option: &str| {
        let at = words.iter().position(|word| word == option);
        at.and_then(|at| words.get(at + 1)).cloned().unwrap_or_default()
    };
    if words == ["--version"] {
        println!("cloud-hypervisor v0.0.0-stand-in");
        std::process::exit(0)
    }
    let kib = value("--memory")
        .strip_prefix("size=")
        .and_then(|size| size.strip_suffix('K')?.parse::<u32>().ok());
    let (Some(kib), "off") = (kib, value("--console").as_str()) else {
        return format!("error: {words:?}");
    };
    let mut microvm = microvm(kib >> 10, 1);
    microvm.args(["--kernel", &value("--kernel")]);
    microvm.args(["--append", &value("--cmdline")]);
    if !value("--initramfs").is_empty() {
        microvm.args(["--initrd", &value("--initramfs")]);
    }
    match value("--serial").as_str() {
        // Without a terminal it would print, and never read.
        "tty" if std::io::stdin().is_terminal() => {}
        "tty" => {
            microvm.stdin(Stdio::null());
        }
        serial => {
            let listener = serial.strip_prefix("socket=").map(UnixListener::bind);
            let Some(Ok(listener)) = listener else {
                return format!("error: --serial {serial}");
            };
            let stream = match listener
                .accept()
                .and_then(|(stream, _)| Ok((stream.try_clone()?, stream)))
            {
                Ok((copy, stream)) => {
                    microvm.stdin(OwnedFd::from(copy));
                    stream
                }
                Err(error) => return error.to_string(),
            };
            microvm.stdout(OwnedFd::from(stream));
        }
    }
    microvm.exec().to_string()
}

fn microvm(ram_mib: u32, cpus: u32) -> Command {
    let mut command = Command::new(beside("microvm"));
    command.args([
        "run",
        "--machine",
        "microvm,profile=rust-vmm",
        "--serial",
        "stdio",
        "--no-reboot",
    ]);
    command.args(["-m", &format!("{ram_mib}M"), "--smp", &cpus.to_string()]);
    command
}

/// A binary of this build; test programs stand one folder below.
fn beside(program: &str) -> PathBuf {
    let this = File::open("/proc/self/exe")
        .and_then(|_| std::env::current_exe())
        .unwrap_or_default();
    let this = fs::canonicalize(&this).unwrap_or(this);
    this.ancestors().nth(2).unwrap_or_else(|| Path::new("")).join(program)
}

// The trials.

const FIRECRACKER: &str = include_str!("../subjects/firecracker.toml");
const CLOUD_HYPERVISOR: &str = include_str!("../subjects/cloud-hypervisor.toml");

fn trials() -> Vec<Trial> {
    let trial = |name: &str, body: fn() -> Result<(), Failed>| {
        Trial::ignorable_test(name, move || match missing() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => body().map(|()| Completion::Completed),
        })
    };
    vec![
        trial("firecracker/every_way_works", || {
            let output = check(&of_stand_in(FIRECRACKER), true);
            holds(
                &output,
                0,
                &[
                    "version   Firecracker v0.0.0-stand-in",
                    "cpu.kvm as rust-vmm",
                    "guest.kvm as rust-vmm",
                ],
            )?;
            each_ends_with(&output, 2, "exited    exit status: 0")
        }),
        trial("firecracker/cases_run_with_devices_of_the_file", || {
            let cases = [
                "virtio-blk/config/capacity",
                "virtio-blk/read-only/refuses-writes",
                "virtqueue/rng/fills",
            ];
            holds(
                &run(&of_stand_in(FIRECRACKER), &cases, &[]),
                0,
                &["3 passed, 0 failed, 0 skipped"],
            )
        }),
        trial("firecracker/a_second_entropy_device_cannot_be_had", || {
            let file = of_stand_in(FIRECRACKER).replace("most = 1", "most = 0");
            let output = run(&file, &["virtqueue/rng/fills"], &[]);
            holds(
                &output,
                0,
                &[
                    "cannot be given 1 devices 'virtio-rng', 0 at most",
                    "0 passed, 0 failed, 1 skipped",
                ],
            )
        }),
        trial("firecracker/a_field_that_it_does_not_know_is_told", || {
            let file = of_stand_in(FIRECRACKER).replace("boot_args", "bootargs");
            holds(
                &check(&file, true),
                3,
                &["FAILED", "unknown field `bootargs`", "fix: the VMM ended before"],
            )
        }),
        trial("firecracker/text_that_is_no_json_is_told", || {
            let file = of_stand_in(FIRECRACKER).replace("\"drives\": [", "\"drives\": ");
            holds(
                &check(&file, true),
                3,
                &["[files] 'config.json': with its values it is no JSON: "],
            )
        }),
        trial("firecracker/a_wrong_end_is_told", || {
            let file = of_stand_in(FIRECRACKER).replace("\"i8042\"", "\"0x60:0x00\"");
            let output = check(&file, true);
            holds(
                &output,
                3,
                &[
                    "exited    FAILED: it still runs 2 s after",
                    "fix: ends-by says how a guest ends",
                ],
            )
        }),
        trial("firecracker/no_end_is_an_end_of_ours", || {
            let file = of_stand_in(FIRECRACKER).replace("\"i8042\"", "\"halt\"");
            each_ends_with(&check(&file, true), 2, "exited    not asked: by ends-by = \"halt\"")?;
            holds(
                &run(&file, &["boot/memory-map/no-overlap"], &["--depth", "guest"]),
                0,
                &["1 passed, 0 failed"],
            )
        }),
        trial("firecracker/absent_it_is_told", || {
            let output = check(&of_stand_in(FIRECRACKER), false);
            let words = "program   FAILED: 'firecracker' is neither beside this program nor in PATH";
            holds(&output, 3, &[words, "not tried: 'firecracker' is neither"])
        }),
        trial("cloud_hypervisor/every_way_works", || {
            let output = check(CLOUD_HYPERVISOR, true);
            each_ends_with(&output, 2, "exited    exit status: 0")?;
            holds(&output, 0, &["version   cloud-hypervisor v0.0.0-stand-in"])
        }),
        trial("cloud_hypervisor/cases_run_over_a_terminal_and_a_socket", || {
            for way in ["kvm", "socket"] {
                let output = run(
                    CLOUD_HYPERVISOR,
                    &["ioapic/id/bits"],
                    &["--depth", "cpu", "--accel", way],
                );
                holds(&output, 0, &["1 passed, 0 failed, 0 skipped"])?;
            }
            Ok(())
        }),
        trial("cloud_hypervisor/without_a_terminal_it_does_not_answer", || {
            let file = CLOUD_HYPERVISOR.replace("serial = \"pty\"", "serial = \"stdio\"\nanswer-ms = 500");
            let output = check(&file.replace("answer-ms = 20000", ""), true);
            holds(
                &output,
                1,
                &[
                    "answered  FAILED: no answer: ",
                    "does the VMM read its input as `serial` says?",
                ],
            )
        }),
    ]
}

/// The shipped file for the stand-in's machine, which is as Firecracker's was before 1.13.
fn of_stand_in(file: &str) -> String {
    let (head, rest) = file.split_once("\n[[profile]]").expect("it has a profile");
    let (_, tail) = rest.split_once("\n[arguments]").expect("and arguments");
    let text = format!("{head}\n[arguments]{tail}");
    text.replace("profiles = [\"firecracker\"]", "profiles = [\"rust-vmm\"]")
}

fn missing() -> Option<String> {
    let agent = beside("../guest/x86_64-unknown-linux-gnu/guest/agent");
    let file = [beside("microvm"), agent].into_iter().find(|path| !path.is_file());
    let file = file.map(|path| format!("{} is not built", path.display()));
    kvm_problem().or(file)
}

fn check(file: &str, with_stand_ins: bool) -> Output {
    touchstone(file, with_stand_ins, |file| {
        vec!["subject".to_owned(), "check".to_owned(), file]
    })
}

fn run(file: &str, cases: &[&str], options: &[&str]) -> Output {
    touchstone(file, true, |file| {
        let words = ["run", "--subject", &file, "--no-expectations"].map(str::to_owned);
        let options = options.iter().map(|&option| option.to_owned());
        let filters = cases.iter().flat_map(|&case| ["--filter".to_owned(), case.to_owned()]);
        words.into_iter().chain(options).chain(filters).collect()
    })
}

fn touchstone(file: &str, with_stand_ins: bool, words: impl Fn(String) -> Vec<String>) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file.toml");
    fs::write(&path, file).expect("written");
    if with_stand_ins {
        let this = std::env::current_exe().expect("a program");
        for name in ["firecracker", "cloud-hypervisor"] {
            symlink(&this, folder.path().join(name)).expect("linked");
        }
    }
    let images = beside("../guest/x86_64-unknown-linux-gnu/guest").display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    command
        .args(words(path.display().to_string()))
        .args(["--images", &images]);
    command.env("PATH", folder.path()).stdin(Stdio::null());
    command.output().expect("it runs")
}

fn holds(output: &Output, code: i32, parts: &[&str]) -> Result<(), Failed> {
    let text = text(output);
    match parts.iter().find(|part| !text.contains(*part)) {
        Some(part) => Err(format!("no '{part}' in\n{text}").into()),
        None if output.status.code() != Some(code) => Err(format!("{}, not {code}:\n{text}", output.status).into()),
        None => Ok(()),
    }
}

fn each_ends_with(output: &Output, count: usize, words: &str) -> Result<(), Failed> {
    let text = text(output);
    if text.matches(words).count() == count {
        Ok(())
    } else {
        Err(format!("not {count} of '{words}' in\n{text}").into())
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}
