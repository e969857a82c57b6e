//! `cargo xtask ci`: what CI runs, in one place, so that a desk can run the same.

use anyhow::{Result, bail};

use crate::{bench, conformance, fuzz, golden, guest_images, lab, shell, test};

/// Runs all steps and lists the failed ones at the end. `after_test` leaves the tests out, which hold the goldens too:
/// for a caller that ran them.
pub(crate) fn run(after_test: bool) -> Result<()> {
    let steps: [test::Step; 8] = [
        ("test", test::run),
        ("guest images are reproducible", guest_images::check_reproducible),
        ("golden facts against live QEMU", || verify(&["--subject", "qemu"])),
        ("fuzz smoke", fuzz_smoke),
        ("boot time and footprint", || {
            bench::boot(&["--ratio-max", "2.5", "--beyond-max-kib", "5120"])
        }),
        ("conformance of QEMU", || {
            conform(&["--subject", "qemu", "--require", "wire"])
        }),
        ("conformance of the reference", || conform(&["--require", "bus,wire"])),
        ("the lab: real KVM, Linux, a stock kernel", in_lab),
    ];
    test::run_all(&steps[usize::from(after_test)..])
}

fn conform(arguments: &[&str]) -> Result<()> {
    let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    let code = conformance::try_run(&arguments)?;
    if code != 0 {
        bail!(
            "`cargo xtask conformance {}` ended with exit code {code}",
            arguments.join(" ")
        );
    }
    Ok(())
}

/// Several times what the lab takes here, so that one that hangs does not take CI with it.
const LAB_LIMIT_S: u64 = 900;

/// Images and Linux on real KVM, on any host that has QEMU.
fn in_lab() -> Result<()> {
    guest_images::build_linux()?;
    let arguments = ["--depth", "guest", "--require", "guest"];
    let options = lab::Options {
        limit_s: LAB_LIMIT_S,
        carry: Vec::new(),
        stock_kernel: true,
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
    };
    let mut code = lab::run(&options)?;
    if code == conformance::UNEXPECTED && lab::only_timed_out()? {
        // The emulator loses an interrupt now and then, and a guest in it that waits for one comes to no end. Any other
        // result stands.
        eprintln!("the lab: some came to no end, see above, and nothing else is wrong; once more");
        code = lab::run(&options)?;
    }
    if code != 0 {
        bail!(
            "`cargo xtask lab -- {}` ended with exit code {code}",
            arguments.join(" ")
        );
    }
    Ok(())
}

fn verify(arguments: &[&str]) -> Result<()> {
    golden::run(&golden::Verb::Verify {
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
    })
}

/// Guest programs where KVM is, ten seconds for each target where cargo-fuzz is installed, and a few planted bugs that
/// a campaign must find; where cargo-fuzz is not, the tests have replayed the corpus.
fn fuzz_smoke() -> Result<()> {
    fuzz::guest(&["--runs", "160"])?;
    if shell::first_line("cargo", &["fuzz", "--version"]).is_none() {
        eprintln!("skipped: cargo-fuzz is not installed (`cargo xtask setup --install` gets it)");
        return Ok(());
    }
    fuzz::smoke()?;
    fuzz::smoke_planted()
}
