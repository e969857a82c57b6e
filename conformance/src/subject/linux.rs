//! Linux as a resident image: a kernel, and an initramfs whose first program is the boot probe.
//!
//! Source: Linux, Documentation/x86/boot.rst, "The Real-Mode Kernel Header", and
//! Documentation/admin-guide/kernel-parameters.txt.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::peer::{CONSOLE, NETWORK};
use crate::case::{Feature, Setup};
use crate::layout::Layout;
use crate::machine::Stop;

/// How a kernel is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An ELF file with a PVH note.
    Elf,
    /// Compressed, with a real-mode header.
    BzImage,
}

/// The files of one boot.
#[derive(Clone, Debug)]
pub struct Linux {
    /// The kernel.
    pub kernel: PathBuf,
    /// The archive with the boot probe.
    pub initramfs: PathBuf,
}

impl Form {
    /// The form of a kernel that an image's name stands for; `None` when it is the name of a bare-metal image.
    pub fn of_image(image: &str) -> Option<Form> {
        match image.strip_suffix("-up").unwrap_or(image) {
            "vmlinux" => Some(Form::Elf),
            "bzImage" => Some(Form::BzImage),
            _ => None,
        }
    }

    /// The form of a file that is to be a kernel.
    ///
    /// # Errors
    /// Says why the file is none.
    pub fn of_file(path: &Path) -> Result<Form, String> {
        let mut start = Vec::new();
        let read = File::open(path).and_then(|file| file.take(HEADER_END).read_to_end(&mut start));
        read.map_err(|error| format!("{}: {error}", path.display()))?;
        if start.starts_with(b"\x7fELF") {
            Ok(Form::Elf)
        } else if start.get(MAGIC_AT..MAGIC_AT + 4) == Some(b"HdrS") {
            Ok(Form::BzImage)
        } else {
            let path = path.display();
            Err(format!(
                "{path}: this is neither an ELF file nor a bzImage; give a vmlinux or a distribution's vmlinuz"
            ))
        }
    }

    fn words(self) -> &'static str {
        match self {
            Form::Elf => "an ELF file",
            Form::BzImage => "a bzImage",
        }
    }
}

impl Linux {
    /// The files for an image: from the folder of images, or with a kernel of the user's.
    ///
    /// # Errors
    /// [`Stop::Unavailable`] when one is not there, or when the user's kernel has another form.
    pub fn find(images: &Path, image: &str, form: Form, own: Option<&Path>) -> Result<Linux, Stop> {
        let linux = Linux {
            kernel: own.map_or_else(|| images.join(image), Path::to_owned),
            initramfs: images.join("initramfs.cpio"),
        };
        if let Some(own) = own {
            let is = Form::of_file(own).map_err(Stop::Unavailable)?;
            if is != form {
                let (path, is, wanted) = (own.display(), is.words(), form.words());
                return Err(Stop::Unavailable(format!(
                    "the kernel given, {path}, is {is}, and this case boots {wanted}"
                )));
            }
        }
        if !linux.kernel.is_file() {
            let option = if image.ends_with("-up") { " --up" } else { "" };
            let text = format!("Linux is not built: run cargo xtask guest-images linux{option}, or give --kernel FILE");
            return Err(Stop::Unavailable(text));
        }
        if !linux.initramfs.is_file() {
            let path = linux.initramfs.display();
            return Err(Stop::Unavailable(format!(
                "{path} is not built: run cargo xtask guest-images"
            )));
        }
        Ok(linux)
    }
}

/// What Linux and the boot probe are told on the command line, before what the machine adds.
pub fn command_line(setup: &Setup, layout: &Layout) -> String {
    // On a busy host an emulated timer may come too late for the look that Linux takes at it.
    let mut words = vec!["console=ttyS0", "quiet", "panic=-1", "no_timer_check"];
    // Without either Linux tries what this machine has not.
    words.push(if layout.has(Feature::I8042) {
        "reboot=k"
    } else {
        "reboot=t"
    });
    let echoes = [(NETWORK, "net"), (CONSOLE, "console")];
    let echoes: Vec<_> = echoes
        .iter()
        .filter(|(device, _)| setup.devices.contains(device))
        .map(|(_, word)| *word)
        .collect();
    let echo = format!("touchstone.echo={}", echoes.join(","));
    if !echoes.is_empty() {
        words.push(&echo);
    }
    words.extend(setup.append);
    words.join(" ")
}

/// Why KVM cannot run Linux on this host, if it cannot: without the CPU's help it interprets the guest's kernel, and
/// its interpreter lacks instructions that Linux needs.
pub fn kvm_refusal() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut flags = text
        .lines()
        .filter(|line| line.starts_with("flags"))
        .flat_map(str::split_whitespace);
    let has_help = flags.any(|flag| flag == "vmx" || flag == "svm");
    (!has_help).then(|| {
        format!("{NO_HELP} (neither vmx nor svm in /proc/cpuinfo) and cannot run Linux; `cargo xtask lab` can")
    })
}

/// How the reason begins that is given where KVM interprets a guest's kernel.
pub const NO_HELP: &str = "KVM of this host has no help of a CPU";

/// Where a bzImage has its magic number, and the end of what is read.
const MAGIC_AT: usize = 0x202;
const HEADER_END: u64 = 0x206;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::kernel;

    #[test]
    fn forms_are_told_from_the_first_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kernel");
        for (bytes, form) in [(kernel::pvh_kernel(), Form::Elf), (kernel::bz_image(), Form::BzImage)] {
            std::fs::write(&path, bytes).expect("writes");
            assert_eq!(Form::of_file(&path), Ok(form));
        }
        std::fs::write(&path, "neither").expect("writes");
        assert!(
            Form::of_file(&path)
                .expect_err("no kernel")
                .contains("neither an ELF file nor a bzImage")
        );
    }

    #[test]
    fn user_kernel_of_the_other_form_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kernel");
        std::fs::write(&path, kernel::bz_image()).expect("writes");
        let found = Linux::find(folder.path(), "vmlinux", Form::Elf, Some(&path));
        let Err(Stop::Unavailable(text)) = found else {
            panic!("{found:?}")
        };
        assert!(
            text.ends_with("is a bzImage, and this case boots an ELF file"),
            "{text}"
        );
    }

    #[test]
    fn machine_with_a_keyboard_controller_is_reset_by_it() {
        let setup = Setup {
            devices: &["virtio-blk", CONSOLE],
            ..Setup::DEFAULT
        };
        let by_fault = command_line(&setup, &crate::layout::MICROVM_2019);
        assert_eq!(
            by_fault,
            "console=ttyS0 quiet panic=-1 no_timer_check reboot=t touchstone.echo=console"
        );
        let by_controller = command_line(&Setup::DEFAULT, &crate::layout::RUST_VMM);
        assert_eq!(by_controller, "console=ttyS0 quiet panic=-1 no_timer_check reboot=k");
    }
}
