//! `cargo xtask setup`: which optional tools are here, and what each one unlocks.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::{Result, bail};

use crate::lab::stock_kernel::StockKernel;
use crate::{fuzz, guest_images, shell};

/// One optional tool.
struct Tool {
    name: &'static str,
    unlocks: &'static str,
    /// Finds it and says what it is.
    find: fn() -> Option<String>,
    /// How to get it.
    from: From,
}

enum From {
    /// Debian packages.
    Apt(&'static [&'static str]),
    /// A crate with a binary.
    Cargo(&'static str),
    /// This program gets it; says how else to.
    Here(fn() -> Result<()>, &'static str),
    /// Nothing here can install it; says what to do.
    Hand(&'static str),
}

const TOOLS: [Tool; 12] = [
    Tool {
        name: "C++ compiler",
        unlocks: "building libFuzzer for `cargo xtask fuzz run`",
        find: || shell::first_line("c++", &["--version"]),
        from: From::Apt(&["g++"]),
    },
    Tool {
        name: "/dev/kvm",
        unlocks: "depths cpu and guest of the reference and of QEMU with KVM",
        find: || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open("/dev/kvm")
                .ok()
                .map(|_| "usable".to_owned())
        },
        from: From::Hand("needs a host with virtualisation, and membership of the group `kvm`"),
    },
    Tool {
        name: "qemu-system-x86_64",
        unlocks: "subject `qemu`, `golden verify --subject qemu`, and `cargo xtask lab`",
        find: || shell::first_line("qemu-system-x86_64", &["--version"]),
        from: From::Apt(&["qemu-system-x86"]),
    },
    Tool {
        name: "firmware for microvm",
        unlocks: "booting images under QEMU, and the reference's tests with qboot and SeaBIOS",
        find: || {
            let files = ["/usr/share/qemu/qboot.rom", "/usr/share/seabios/bios-microvm.bin"];
            files
                .iter()
                .all(|file| Path::new(file).exists())
                .then(|| files.join(", "))
        },
        from: From::Apt(&["qemu-system-data", "seabios"]),
    },
    Tool {
        name: "Linux's source",
        unlocks: "`cargo xtask guest-images linux`: the cases that boot Linux",
        find: || {
            let is_whole = guest_images::missing_for_linux().is_empty();
            is_whole.then(|| "linux-source-6.1 and what builds it".to_owned())
        },
        from: From::Apt(guest_images::PACKAGES_FOR_LINUX),
    },
    Tool {
        name: "Debian's cloud kernel",
        unlocks: "`cargo xtask lab`, and the reference's tests with a stock kernel",
        find: || StockKernel::cached().map(|kernel| kernel.name()),
        from: From::Here(
            || StockKernel::get().map(drop),
            "cargo xtask setup --install, where apt-get knows it",
        ),
    },
    Tool {
        name: "cargo-fuzz",
        unlocks: "`cargo xtask fuzz run`",
        find: || shell::first_line("cargo", &["fuzz", "--version"]),
        from: From::Cargo("cargo-fuzz"),
    },
    Tool {
        name: "zip",
        unlocks: "`cargo xtask fuzz engines`",
        find: || shell::first_line("zip", &["-v"]).and_then(|_| shell::first_line("unzip", &["-v"])),
        from: From::Apt(&["zip", "unzip"]),
    },
    Tool {
        name: "llvm-cov",
        unlocks: "`cargo xtask fuzz cover`",
        find: fuzz::Tools::describe,
        from: From::Hand(fuzz::TOOLS_FROM),
    },
    Tool {
        name: "nightly Rust",
        unlocks: "`cargo xtask fuzz run --sanitizer address`",
        find: fuzz::nightly,
        from: From::Hand("`rustup toolchain install nightly`"),
    },
    Tool {
        name: "chromium",
        unlocks: "the test that looks at the HTML report in a browser",
        find: || shell::first_line("chromium", &["--version"]),
        from: From::Apt(&["chromium"]),
    },
    Tool {
        name: "git",
        unlocks: "`cargo xtask golden diff`, and the commit in reports",
        find: || shell::first_line("git", &["--version"]),
        from: From::Apt(&["git"]),
    },
];

/// Prints the table; with `install`, gets what is missing first.
pub(crate) fn run(install: bool) -> Result<()> {
    if install {
        let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| (tool.find)().is_none()).collect();
        let packages: Vec<&str> = missing
            .iter()
            .flat_map(|tool| match tool.from {
                From::Apt(packages) => packages,
                From::Cargo(_) | From::Here(..) | From::Hand(_) => &[],
            })
            .copied()
            .collect();
        if !packages.is_empty() {
            apt_get(&packages)?;
        }
        for tool in &missing {
            match tool.from {
                From::Cargo(name) => {
                    shell::succeed(&mut shell::cargo(&["install", "--quiet", "--locked", name]))?;
                }
                // What needs it says so once more.
                From::Here(get, _) => get().unwrap_or_else(|error| eprintln!("{}: {error:#}", tool.name)),
                From::Apt(_) | From::Hand(_) => {}
            }
        }
    }
    for tool in &TOOLS {
        match (tool.find)() {
            Some(what) => println!("found    {:<26} {what}", tool.name),
            None => println!(
                "missing  {:<26} unlocks {}; {}",
                tool.name,
                tool.unlocks,
                how(&tool.from)
            ),
        }
    }
    Ok(())
}

fn apt_get(packages: &[&str]) -> Result<()> {
    if shell::first_line("apt-get", &["--version"]).is_none() {
        bail!("no apt-get here: install by hand what holds {}", packages.join(", "));
    }
    let sudo = shell::first_line("id", &["-u"]).is_some_and(|id| id != "0");
    let run = |arguments: &[&str]| {
        let mut command = if sudo {
            shell::program("sudo", &["apt-get"])
        } else {
            shell::program("apt-get", &[])
        };
        shell::succeed(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    run(&["update", "-qq"])?;
    run(&[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat())
}

fn how(from: &From) -> String {
    match from {
        From::Apt(packages) => format!("apt-get install {}", packages.join(" ")),
        From::Cargo(name) => format!("cargo install --locked {name}"),
        From::Here(_, text) | From::Hand(text) => (*text).to_owned(),
    }
}
