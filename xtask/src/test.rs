//! `cargo xtask test`: everything a contributor runs before a commit.

use anyhow::{Result, bail};

use crate::lab::stock_kernel::StockKernel;
use crate::{golden, guest_images, shell};

/// A step's name and what it does.
pub(crate) type Step = (&'static str, fn() -> Result<()>);

/// Runs all steps and lists the failed ones at the end.
pub(crate) fn run() -> Result<()> {
    let steps: [Step; 4] = [
        ("format", || {
            shell::succeed(&mut shell::cargo(&["fmt", "--all", "--", "--check"]))
        }),
        ("clippy", clippy),
        ("guest-images", || guest_images::build().map(|_| ())),
        ("tests", tests),
    ];
    run_all(&steps)
}

/// Runs named steps; a failure does not stop the ones after it.
pub(crate) fn run_all(steps: &[Step]) -> Result<()> {
    let mut failed = Vec::new();
    for (name, step) in steps {
        let start = std::time::Instant::now();
        eprintln!("== {name}");
        let result = step();
        eprintln!(
            "== {name}: {} in {:.1} s",
            if result.is_ok() { "ok" } else { "FAILED" },
            start.elapsed().as_secs_f32()
        );
        if let Err(error) = result {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    if !failed.is_empty() {
        bail!(
            "{} of {} steps failed:\n  {}",
            failed.len(),
            steps.len(),
            failed.join("\n  ")
        );
    }
    Ok(())
}

fn clippy() -> Result<()> {
    let arguments = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ];
    shell::succeed(&mut shell::cargo(&arguments))
}

/// All tests of the workspace; goldens are compared, never written. Where a stock kernel was fetched, it is booted.
fn tests() -> Result<()> {
    let mut command = shell::cargo(&["test", "--quiet", "--workspace"]);
    command.env("INSTA_UPDATE", golden::NEVER_WRITE);
    if std::env::var_os(STOCK_KERNEL).is_none()
        && let Some(kernel) = StockKernel::cached()
    {
        command.env(STOCK_KERNEL, kernel.bz_image()?);
    }
    shell::succeed(&mut command)
}

/// Names a stock kernel to the reference's tests.
const STOCK_KERNEL: &str = "MICROVM_TEST_BZIMAGE";
