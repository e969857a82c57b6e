//! `microvm run --bios` on /dev/kvm: firmwares of a few bytes that are put together here, and the distribution's qboot
//! and SeaBIOS.
//!
//! Without a usable /dev/kvm, or without a file that a test needs, the test passes after saying why it did nothing. The
//! images `halt` and `probe` are built by `cargo xtask guest-images`; a stock kernel is the file that the environment
//! variable MICROVM_TEST_BZIMAGE names, a bzImage as a distribution ships it.

mod guest;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use guest::{Guest, SEEN, exit, seen};
use rstest::rstest;

#[test]
fn firmware_starts_at_the_reset_vector_and_is_the_same_in_both_places() {
    let code: &[u8] = &[
        0x66, 0x89, 0xd5, // mov ebp, edx       the signature, which is never 0
        0xb8, 0x00, 0xf0, // mov ax, 0xf000
        0x8e, 0xd8, // mov ds, ax
        0xc6, 0x06, 0x00, 0x00, b'W', // mov byte [0], 'W'         below 1 MiB
        0x2e, 0xa0, 0x00, 0x00, // mov al, cs:[0]                  cs is still based at 0xffff0000
        0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xee, // out dx, al
        0x8c, 0xc8, // mov ax, cs
        0x88, 0xe0, // mov al, ah
        0xee, // out dx, al                     0xf0
        0x66, 0x85, 0xed, // test ebp, ebp
        0x0f, 0x95, 0xc0, // setnz al
        0x04, b'0', // add al, '0'
        0xee, // out dx, al
    ];
    let Some(output) = run_rom(&[code, EXIT_16], &[]) else {
        return;
    };
    assert_eq!((status(&output), &*output.stdout), (0x21, &b"W\xf01"[..]));
}

#[test]
fn reset_puts_the_firmware_back_and_keeps_ram() {
    let code: &[u8] = &[
        0x31, 0xc0, // xor ax, ax
        0x8e, 0xc0, // mov es, ax
        0xb8, 0x00, 0xf0, // mov ax, 0xf000
        0x8e, 0xd8, // mov ds, ax
        0xa0, 0x00, 0x00, // mov al, [0]        0 in the file
        0x04, b'0', // add al, '0'
        0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xee, // out dx, al
        0xfe, 0x06, 0x00, 0x00, // inc byte [0]
        0x26, 0xfe, 0x06, 0x00, 0x05, // inc byte es:[0x500]
        0x26, 0x80, 0x3e, 0x00, 0x05, 0x03, // cmp byte es:[0x500], 3
        0x74, 0x12, // je past the fault
        0x2e, 0x0f, 0x01, 0x1e, 0x00, 0x01, // lidt cs:[0x100]     limit 0
        0x0f, 0x20, 0xc0, // mov eax, cr0
        0x0c, 0x01, // or al, 1                 an interrupt table with a limit is protected mode's
        0x0f, 0x22, 0xc0, // mov cr0, eax
        0x26, 0xa1, 0xff, 0xff, // mov ax, es:[0xffff]  one byte past the limit
    ];
    let Some(output) = run_rom(&[code, EXIT_16], &[]) else {
        return;
    };
    let all = (status(&output), text(&output.stdout));
    assert_eq!(all, (0x21, "000".into()), "{}", text(&output.stderr));
}

#[test]
fn debug_console_shows_what_firmware_prints_and_is_found_by_its_value() {
    let code: &[u8] = &[
        0xba, 0x02, 0x04, // mov dx, 0x402
        0xec, // in al, dx
        0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xee, // out dx, al
        0xba, 0x02, 0x04, // mov dx, 0x402
        0xb0, b'h', // mov al, 'h'
        0xee, // out dx, al
        0xb0, b'i', // mov al, 'i'
        0xee, // out dx, al
    ];
    let folder = guest::folder();
    let path = folder.join("console");
    let to = format!("file:{}", path.display());
    let with = run_rom(&[code, EXIT_16], &["--debug-console", &to]);
    let printed = fs::read(&path).unwrap_or_default();
    let _leftover = fs::remove_dir_all(&folder);
    let Some(with) = with else {
        return;
    };
    assert_eq!((&*with.stdout, text(&printed)), (&b"\xe9"[..], "hi".into()));
    let without = run_rom(&[code, EXIT_16], &[]).expect("KVM was there a moment ago");
    assert_eq!(without.stdout, b"\xff", "absent unless asked for");
    let shown = run_rom(&[code, EXIT_16], &["--debug-console", "stdio", "--serial", "null"]);
    assert_eq!(text(&shown.expect("KVM was there a moment ago").stdout), "hi");
}

#[test]
fn option_roms_and_kernel_go_to_the_firmware_by_fw_cfg() {
    // The directory, file count and all: what is not there would shift what follows.
    let code: &[u8] = &[
        0xb8, 0x19, 0x00, // mov ax, FILE_DIR
        0xba, 0x10, 0x05, // mov dx, 0x510
        0xef, // out dx, ax
        0xbb, 0x00, 0x08, // mov bx, 2048
        0xba, 0x11, 0x05, // next: mov dx, 0x511
        0xec, // in al, dx
        0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xee, // out dx, al
        0x4b, // dec bx
        0x75, 0xf5, // jnz next
    ];
    let folder = guest::folder();
    let (rom, kernel) = (folder.join("mine.rom"), folder.join("guest.elf"));
    fs::write(&rom, [0x55, 0xaa, 1]).expect("a small file");
    fs::write(&kernel, Guest::new(&exit(1)).elf()).expect("a small file");
    let arguments = ["--option-rom", plain(&rom), "--kernel", plain(&kernel)];
    let output = run_rom(&[code, EXIT_16], &arguments);
    let _leftover = fs::remove_dir_all(&folder);
    let Some(output) = output else {
        return;
    };
    let listing = text(&output.stdout);
    for name in ["genroms/mine.rom\0", "genroms/pvh.bin\0", "bootorder\0"] {
        assert!(listing.contains(name), "{name:?} not in {listing:?}");
    }
}

#[rstest]
#[case::qboot(&QBOOT)]
#[case::seabios(&SEABIOS)]
fn firmware_starts_a_pvh_kernel_with_command_line_and_initrd(#[case] firmware: &Firmware) {
    let code: &[u8] = &[
        0x8b, 0x43, 0x18, // mov eax, [ebx+24]   address of the command line
        0x8b, 0x08, // mov ecx, [eax]
        0x89, 0x0d, 0x00, 0x00, 0x20, 0x00, // mov [SEEN], ecx
        0x8b, 0x43, 0x0c, // mov eax, [ebx+12]   number of modules
        0x04, b'0', // add al, '0'
        0xa2, 0x04, 0x00, 0x20, 0x00, // mov [SEEN+4], al
        0x8b, 0x43, 0x10, // mov eax, [ebx+16]   module list
        0x8b, 0x00, // mov eax, [eax]            address of the first
        0x8b, 0x08, // mov ecx, [eax]
        0x89, 0x0d, 0x05, 0x00, 0x20, 0x00, // mov [SEEN+5], ecx
    ];
    let folder = guest::folder();
    let (kernel, initrd) = (folder.join("guest.elf"), folder.join("initrd"));
    let kernel_code = [code, &seen(9), &exit(0x10)].concat();
    fs::write(&kernel, Guest::new(&kernel_code).elf()).expect("a small file");
    fs::write(&initrd, [b"disk".to_vec(), vec![0; 5000]].concat()).expect("a small file");
    let arguments = ["--append", "line of words", "--initrd", plain(&initrd)];
    let output = firmware.run(&kernel, Some("pvh.bin"), &arguments);
    let _leftover = fs::remove_dir_all(&folder);
    let Some(output) = output else {
        return;
    };
    let said = text(&output.stdout);
    assert_eq!(status(&output), 0x21, "{said} {}", text(&output.stderr));
    assert!(said.contains("line1disk"), "{said:?}");
}

#[test]
fn firmware_runs_again_after_a_reset() {
    // RAM at SEEN counts the starts; qboot leaves it alone.
    let code: &[u8] = &[
        0xff, 0x05, 0x00, 0x00, 0x20, 0x00, // inc dword [SEEN]
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xb0, b'.', // mov al, '.'
        0xee, // out dx, al
        0x83, 0x3d, 0x00, 0x00, 0x20, 0x00, 0x03, // cmp dword [SEEN], 3
        0x74, 0x09, // je past the fault
        0x0f, 0x01, 0x1d, 0x00, 0x90, 0x10, 0x00, // lidt [0x109000]   limit 0
        0x0f, 0x0b, // ud2
    ];
    let folder = guest::folder();
    let kernel = folder.join("guest.elf");
    fs::write(&kernel, Guest::new(&[code, &exit(0x10)].concat()).elf()).expect("a small file");
    let output = QBOOT.run(&kernel, None, &[]);
    let _leftover = fs::remove_dir_all(&folder);
    let Some(output) = output else {
        return;
    };
    let dots = output.stdout.iter().filter(|&&byte| byte == b'.').count();
    assert_eq!((status(&output), dots), (0x21, 3), "{}", text(&output.stderr));
}

#[rstest]
#[case::qboot_halt(&QBOOT, "halt", "")]
#[case::qboot_probe(&QBOOT, "probe", "\nok 14 - ports\n")]
#[case::seabios_halt(&SEABIOS, "halt", "")]
#[case::seabios_probe(&SEABIOS, "probe", "\nok 14 - ports\n")]
fn firmware_boots_the_guest_images(#[case] firmware: &Firmware, #[case] image: &str, #[case] says: &str) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target directory");
    let kernel = target.join("guest/x86_64-unknown-linux-gnu/guest").join(image);
    let Some(output) = firmware.run(&kernel, Some("pvh.bin"), &["--append", "exit=0xf4"]) else {
        return;
    };
    let said = text(&output.stdout).replace('\r', "");
    assert_eq!(status(&output), 0x21, "{said} {}", text(&output.stderr));
    assert!(said.contains(says) && !said.contains("\nnot ok"), "{said}");
}

#[rstest]
#[case::qboot(Some(&QBOOT))]
#[case::seabios(Some(&SEABIOS))]
#[case::without_firmware(None)]
fn stock_kernel_starts_until_its_own_code_prints(#[case] firmware: Option<&Firmware>) {
    let Some(kernel) = stock_kernel() else {
        return;
    };
    // The setup part in real mode, which direct boot passes over, and the decompressor in long mode.
    let setup = firmware.map(|_| "early console in setup code");
    let decompressor = "KASLR disabled: 'nokaslr' on cmdline.";
    let before: Vec<&str> = setup.into_iter().chain([decompressor]).collect();
    starts_linux(firmware, &kernel, &before);
}

#[test]
fn stock_kernel_unpacked_starts_at_its_pvh_entry() {
    let Some(kernel) = stock_kernel() else {
        return;
    };
    let Some(vmlinux) = unpacked(&fs::read(&kernel).expect("a readable kernel")) else {
        eprintln!("skipped: the kernel in {} is not packed by LZ4", kernel.display());
        return;
    };
    let folder = guest::folder();
    let path = folder.join("vmlinux");
    fs::write(&path, vmlinux).expect("some ten MiB");
    starts_linux(None, &path, &[]);
    let _leftover = fs::remove_dir_all(&folder);
}

#[test]
fn file_that_is_no_firmware_is_refused_in_one_line() {
    let folder = guest::folder();
    let path = folder.join("odd.rom");
    fs::write(&path, [0; 1000]).expect("a small file");
    let refused = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_microvm"))
            .arg("run")
            .args(arguments)
            .output();
        let output = output.expect("microvm starts");
        (status(&output), text(&output.stderr))
    };
    let odd = refused(&["--bios", plain(&path)]);
    let missing = refused(&["--bios", plain(&folder.join("none.rom"))]);
    let lonely = refused(&["--option-rom", plain(&path), "--kernel", plain(&path)]);
    let _leftover = fs::remove_dir_all(&folder);
    assert_eq!(odd.0, 2);
    assert!(
        odd.1
            .contains("odd.rom': could not load PC BIOS: 1000 bytes are not a multiple of 64 KiB"),
        "{odd:?}"
    );
    assert_eq!(missing.0, 1);
    assert!(missing.1.contains("none.rom': No such file"), "{missing:?}");
    assert_eq!(lonely.0, 2);
    assert!(lonely.1.contains("give --bios FILE"), "{lonely:?}");
    assert!([odd, missing, lonely].iter().all(|(_, text)| text.lines().count() == 1));
}

/// A firmware of the distribution.
struct Firmware {
    file: &'static str,
    /// Whether it needs the real option ROM to start a kernel.
    option_roms: bool,
}

impl Firmware {
    /// A finished run, or `None` where something is missing.
    fn run(&self, kernel: &Path, option_rom: Option<&str>, arguments: &[&str]) -> Option<Output> {
        self.start(kernel, option_rom, arguments).map(Running::finish)
    }

    fn start(&self, kernel: &Path, option_rom: Option<&str>, arguments: &[&str]) -> Option<Running> {
        let rom = Path::new("/usr/share/qemu").join(option_rom.unwrap_or_default());
        let rom = self.option_roms.then_some(rom);
        for file in [Some(Path::new(self.file)), Some(kernel), rom.as_deref()]
            .into_iter()
            .flatten()
        {
            if !file.is_file() {
                eprintln!("skipped: {} is not there", file.display());
                return None;
            }
        }
        let mut all = vec!["--bios", self.file, "--kernel", plain(kernel)];
        if let Some(rom) = &rom {
            all.extend(["--option-rom", plain(rom)]);
        }
        all.extend(arguments);
        start(&all, None)
    }
}

/// A guest that is running.
struct Running {
    child: Option<Child>,
    folder: Option<PathBuf>,
}

/// A run of a firmware of 64 KiB that begins with this 16-bit code, which its reset vector jumps to.
fn run_rom(code: &[&[u8]], arguments: &[&str]) -> Option<Output> {
    let mut rom = vec![0; 0x1_0000];
    let code = code.concat();
    rom[CODE_AT..CODE_AT + code.len()].copy_from_slice(&code);
    let distance = (CODE_AT as u16).wrapping_sub(0xfff3).to_le_bytes();
    rom[0xfff0..0xfff3].copy_from_slice(&[0xe9, distance[0], distance[1]]); // jmp CODE_AT
    let folder = guest::folder();
    let path = folder.join("bios");
    fs::write(&path, rom).expect("a small file");
    let all = [&["--bios", plain(&path)], arguments].concat();
    start(&all, Some(folder)).map(Running::finish)
}

fn start(arguments: &[&str], folder: Option<PathBuf>) -> Option<Running> {
    if let Some(problem) = guest::kvm_problem() {
        eprintln!("skipped: {problem}");
        return None;
    }
    let child = Command::new(env!("CARGO_BIN_EXE_microvm"))
        .args(["run", "--debug-exit", "0xf4"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("microvm starts");
    Some(Running {
        child: Some(child),
        folder,
    })
}

impl Running {
    /// Waits for the end and collects output; a run past [`LIMIT`] is killed and fails the test.
    fn finish(mut self) -> Output {
        let deadline = Instant::now() + LIMIT;
        let child = self.child.as_mut().expect("not finished yet");
        while child.try_wait().expect("our own child").is_none() {
            if deadline < Instant::now() {
                child.kill().expect("still there");
                let output = self.child.take().expect("not finished yet").wait_with_output();
                panic!("still running after {LIMIT:?}: {output:?}");
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.child
            .take()
            .expect("not finished yet")
            .wait_with_output()
            .expect("its output")
    }
}

impl Running {
    /// Ends the run if it has not ended, and collects output.
    fn stop(&mut self) -> Output {
        let mut child = self.child.take().expect("not finished yet");
        let _ended_already = child.kill();
        child.wait_with_output().expect("its output")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ended_already = child.kill();
            let _reaped = child.wait();
        }
        if let Some(folder) = &self.folder {
            let _leftover = fs::remove_dir_all(folder);
        }
    }
}

/// A bzImage as a distribution ships it, if one is named.
fn stock_kernel() -> Option<PathBuf> {
    let kernel = std::env::var_os("MICROVM_TEST_BZIMAGE").map(PathBuf::from);
    if kernel.is_none() {
        eprintln!("skipped: MICROVM_TEST_BZIMAGE names no kernel");
    }
    kernel
}

/// The vmlinux in a bzImage that is packed in LZ4's legacy format: the length of each block, the block.
fn unpacked(file: &[u8]) -> Option<Vec<u8>> {
    let field = |at: usize| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?) as usize);
    let start = (usize::from(*file.get(0x1f1)?) + 1) * 512 + field(0x248)?;
    // The last word is the unpacked length.
    let packed = file.get(start..start + field(0x24c)? - 4)?;
    let mut packed = packed.strip_prefix(b"\x02\x21\x4c\x18")?;
    let mut vmlinux = Vec::new();
    while let Some((length, rest)) = packed.split_first_chunk() {
        let (block, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        vmlinux.extend(lz4_flex::block::decompress(block, 8 << 20).ok()?);
        packed = rest;
    }
    Some(vmlinux)
}

/// Starts a Linux and waits for these texts on its serial port, then for what the kernel proper says of itself and of
/// what it was handed; what comes after that needs instructions that not every host runs.
fn starts_linux(firmware: Option<&Firmware>, kernel: &Path, before: &[&str]) {
    let append = "debug nokaslr edd=off earlyprintk=serial,ttyS0,115200";
    let folder = guest::folder();
    let path = folder.join("serial");
    let serial = format!("file:{}", path.display());
    let arguments = ["-m", "512M", "--append", append, "--serial", &serial];
    let started = match firmware {
        Some(firmware) => firmware.start(kernel, Some("linuxboot_dma.bin"), &arguments),
        None => start(&[&["--kernel", plain(kernel)], &arguments[..]].concat(), None),
    };
    let Some(mut running) = started else {
        let _leftover = fs::remove_dir_all(&folder);
        return;
    };
    running.folder = Some(folder);
    let command_line = format!("Command line: {append}");
    let proper = ["Linux version ", &command_line, RAM_IN_512_MIB];
    let deadline = Instant::now() + STOCK_LIMIT;
    loop {
        let said = once(&text(&fs::read(&path).unwrap_or_default()));
        let is_said = |wanted: &&str| said.contains(&once(wanted));
        if before.iter().chain(&proper).all(is_said) {
            return;
        }
        let child = running.child.as_mut().expect("not finished yet");
        let ended = child.try_wait().expect("our own child");
        if ended.is_some() || deadline < Instant::now() {
            let output = running.stop();
            panic!("{ended:?}: {said} {}", text(&output.stderr));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A text without letters that come twice in a row: qboot's video service prints on the serial port, as the kernel's
/// setup part does itself.
fn once(text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    letters.dedup();
    letters.into_iter().collect()
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn status(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("no exit status: {output:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const QBOOT: Firmware = Firmware {
    file: "/usr/share/qemu/qboot.rom",
    option_roms: false,
};

const SEABIOS: Firmware = Firmware {
    file: "/usr/share/seabios/bios-microvm.bin",
    option_roms: true,
};

/// 16-bit code that ends the run with status 0x21.
const EXIT_16: &[u8] = &[
    0xb0, 0x10, // mov al, 0x10
    0xe6, 0xf4, // out 0xf4, al
    0xfa, // cli
    0xf4, // hlt
    0xeb, 0xfc, // jmp back to cli
];

/// Where a firmware's code begins, behind data at 0 and zeros at 0x100.
const CODE_AT: usize = 0x1000;

/// SeaBIOS takes seconds where an emulator runs it, and longer on a busy host.
const LIMIT: Duration = Duration::from_secs(55);

/// A host that emulates the guest takes a minute for the decompressor alone, and several when it is busy.
const STOCK_LIMIT: Duration = Duration::from_secs(600);

/// What a kernel prints of its memory map on a machine of 512 MiB, whoever made the map.
const RAM_IN_512_MIB: &str = "BIOS-e820: [mem 0x0000000000100000-0x000000001ff";

/// The address that the machine code above spells out.
const _: () = assert!(SEEN == 0x20_0000);
