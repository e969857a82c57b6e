//! `cargo xtask fuzz cover`: which lines of the machine a target's corpus reaches, as HTML.
//!
//! Source-based coverage by the compiler: the helper program is built with its counters, runs the seeds and what the
//! last campaign kept, and LLVM's own tools make the pages. No engine takes part.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::campaign::{self, Folders};
use super::engine::Sanitizer;
use super::{fuzzer, targets};
use crate::shell;

/// LLVM's tools that understand this compiler's counters.
pub(crate) struct Tools {
    profdata: PathBuf,
    cov: PathBuf,
}

impl Tools {
    /// rustup's, or the distribution's of the same major version.
    pub(crate) fn find() -> Option<Tools> {
        let sysroot = PathBuf::from(shell::first_line("rustc", &["--print", "sysroot"])?);
        let about = Command::new("rustc").arg("-vV").stderr(Stdio::null()).output().ok()?;
        let about = String::from_utf8_lossy(&about.stdout).into_owned();
        let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name));
        let (host, llvm) = (field("host: ")?, field("LLVM version: ")?);
        let major = llvm.split('.').next()?;
        let bin = sysroot.join("lib/rustlib").join(host).join("bin");
        [
            (bin.join("llvm-profdata"), bin.join("llvm-cov")),
            (
                format!("llvm-profdata-{major}").into(),
                format!("llvm-cov-{major}").into(),
            ),
        ]
        .into_iter()
        .map(|(profdata, cov)| Tools { profdata, cov })
        .find(|tools| {
            let answers = |tool: &Path| shell::first_line(&tool.to_string_lossy(), &["--version"]).is_some();
            answers(&tools.profdata) && answers(&tools.cov)
        })
    }

    /// For `setup`.
    pub(crate) fn describe() -> Option<String> {
        Tools::find().map(|tools| tools.cov.display().to_string())
    }
}

/// How to get the tools.
pub(crate) const TOOLS_FROM: &str = "`rustup component add llvm-tools`, or the distribution's LLVM of the version that \
                                     `rustc -vV` names, such as Debian's llvm-22";

/// Makes the pages, and prints what share of each file's lines was reached.
pub(super) fn run(target: &str) -> Result<()> {
    let known = targets()?;
    if !known.iter().any(|name| name == target) {
        bail!("no fuzz target '{target}'; there are: {}", known.join(", "));
    }
    let tools = Tools::find().with_context(|| format!("no llvm-cov for this compiler; {TOOLS_FROM}"))?;
    let folder = campaign::folder().join("cover").join(target);
    campaign::empty(&folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let own = Folders::of(target, Sanitizer::None);
    fuzzer(&["seeds", target, &own.seeds.to_string_lossy()])?;
    let binary = build()?;
    replay(target, &own, &binary, &folder)?;
    let profile = folder.join("all.profdata");
    let raw: Vec<PathBuf> = fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "profraw"))
        .collect();
    shell::succeed(
        shell::program(&tools.profdata, &["merge", "--sparse", "-o"])
            .arg(&profile)
            .args(&raw),
    )?;
    for path in raw {
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    let sources = shell::root().join("vmm/src");
    let shared = |verb: &str| {
        let mut command = shell::program(&tools.cov, &[verb]);
        command.arg(&binary).arg("--instr-profile").arg(&profile);
        // No target has a guest or a host.
        command.arg("--ignore-filename-regex=vmm/src/(kvm|host|main)");
        command
    };
    let title = format!("Fuzz target {target}");
    shell::succeed(
        shared("show")
            .args(["--format=html", "--show-instantiations=false"])
            .arg(format!("--project-title={title}"))
            .arg(format!("--output-dir={}", folder.display()))
            .arg(&sources)
            .stdout(Stdio::null()),
    )?;
    let report = shared("report").arg(&sources).output().context("start llvm-cov")?;
    print!("{}", lines(&String::from_utf8_lossy(&report.stdout)));
    println!("{}", folder.join("index.html").display());
    Ok(())
}

/// The helper program with counters in the workspace's own crates: what they depend on is compiled once for all.
fn build() -> Result<PathBuf> {
    let wrapper = campaign::folder().join("cover").join("rustc");
    fs::write(&wrapper, WRAPPER).with_context(|| format!("write {}", wrapper.display()))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} a program", wrapper.display()))?;
    let mut command = shell::cargo(&["build", "--quiet", "--package", "fuzz", "--bin", "fuzzer"]);
    // Build scripts of these crates count, too, and would leave their counters in the sources' folders.
    command.env("LLVM_PROFILE_FILE", "/dev/null");
    shell::succeed(command.env("RUSTC_WORKSPACE_WRAPPER", &wrapper))?;
    // The next build without the wrapper puts its own in that place.
    let binary = campaign::folder().join("cover").join("fuzzer");
    let built = shell::target().join("debug/fuzzer");
    fs::copy(&built, &binary).with_context(|| format!("copy {}", built.display()))?;
    Ok(binary)
}

/// Runs the seeds, and what the last campaign kept.
fn replay(target: &str, own: &Folders, binary: &Path, folder: &Path) -> Result<()> {
    for (name, inputs) in [("seeds", &own.seeds), ("corpus", &own.corpus)] {
        if !inputs.exists() {
            println!("no {name}: {} is not there", inputs.display());
            continue;
        }
        let status = shell::program(binary, &["canaries", target])
            .arg(inputs)
            .env("LLVM_PROFILE_FILE", folder.join(format!("{name}.profraw")))
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("start {}", binary.display()))?;
        // A canary that is missed is no matter here; a crash has no counters to show.
        if status.code().is_none_or(|code| 1 < code) {
            bail!("{} on {}: {status}", binary.display(), inputs.display());
        }
    }
    Ok(())
}

/// What cargo calls in place of the compiler, for the workspace's crates.
const WRAPPER: &str = "#!/bin/sh\nexec \"$@\" -C instrument-coverage\n";

/// File and share of lines out of llvm-cov's wide table: columns 1 and 10.
fn lines(report: &str) -> String {
    let mut text = String::new();
    for line in report.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if let (Some(file), Some(share)) = (fields.first(), fields.get(9))
            && share.ends_with('%')
            && *share != "0.00%"
        {
            text.push_str(&format!("{file:<40} {share:>8} of lines\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_cut_to_files_that_were_reached() {
        let report = "\
Filename  Regions  Missed Regions  Cover  Functions  Missed Functions  Executed  Lines  Missed Lines  Cover  Branches
-----------------------------------------------------------------------------------------------------------
chip/rtc.rs  404  10  97.52%  40  0  100.00%  399  9  97.74%  0  0  -
main.rs  404  404  0.00%  40  40  0.00%  399  399  0.00%  0  0  -
";
        assert_eq!(lines(report), format!("{:<40}   97.74% of lines\n", "chip/rtc.rs"));
    }
}
