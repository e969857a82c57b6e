//! `microvm run` with KVM's interrupt controllers and with ours, and with more CPUs than 8-bit APIC IDs name.
//!
//! What interrupts do is looked at in `run_kvm.rs`, both ways. Without a usable /dev/kvm every test passes after saying
//! why it did nothing.

mod guest;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use guest::{Guest, LOAD_ADDRESS, SEEN, exit, folder, kvm_problem, seen};
use rstest::rstest;

#[rstest]
fn reset_puts_the_chips_back(#[values(SPLIT, ON)] irqchip: &str) {
    let look: &[u8] = &[
        0xfc, // cld
        0xbf, 0x00, 0x00, 0x20, 0x00, // mov edi, SEEN
        0xe4, 0x21, 0xaa, // in al, 0x21; stosb              masks
        0xe4, 0xa1, 0xaa, // in al, 0xa1; stosb
        0x66, 0xba, 0xd0, 0x04, // mov dx, 0x4d0
        0xec, 0xaa, 0x42, // in al, dx; stosb; inc edx       edge/level control
        0xec, 0xaa, // in al, dx; stosb
        0xb0, 0xe2, 0xe6, 0x43, // mov al, 0xe2; out 0x43, al
        0xe4, 0x40, 0x24, 0x3f, 0xaa, // in al, 0x40; and al, 0x3f; stosb     status of channel 0
        0xb0, 0xe8, 0xe6, 0x43, // mov al, 0xe8; out 0x43, al
        0xe4, 0x42, 0x24, 0x3f, 0xaa, // in al, 0x42; and al, 0x3f; stosb     status of channel 2
        0xe4, 0x61, 0xaa, // in al, 0x61; stosb              nobody
        0xc6, 0x05, 0x00, 0x00, 0xc0, 0xfe, 0x18, // mov byte [IOREGSEL], 0x18
        0xa1, 0x10, 0x00, 0xc0, 0xfe, 0xab, // mov eax, [IOWIN]; stosd        pin 4, low half
        0xc6, 0x05, 0x00, 0x00, 0xc0, 0xfe, 0x19, // mov byte [IOREGSEL], 0x19
        0xa1, 0x10, 0x00, 0xc0, 0xfe, 0xab, // mov eax, [IOWIN]; stosd        and its high half
        0xc6, 0x05, 0x00, 0x00, 0xc0, 0xfe, 0x00, // mov byte [IOREGSEL], 0
        0xa1, 0x10, 0x00, 0xc0, 0xfe, 0xab, // mov eax, [IOWIN]; stosd        identification
    ];
    let change: &[u8] = &[
        0xb0, 0x11, 0xe6, 0x20, 0xe6, 0xa0, // ICW1 of both
        0xb0, 0x20, 0xe6, 0x21, // ICW2
        0xb0, 0x04, 0xe6, 0x21, // ICW3
        0xb0, 0x01, 0xe6, 0x21, // ICW4
        0xb0, 0x5a, 0xe6, 0x21, // masks
        0xb0, 0xa5, 0xe6, 0xa1, //
        0x66, 0xba, 0xd0, 0x04, // mov dx, 0x4d0
        0xb0, 0x28, 0xee, 0x42, // mov al, 0x28; out dx, al; inc edx
        0xb0, 0x02, 0xee, // mov al, 2; out dx, al
        0xb0, 0x34, 0xe6, 0x43, // channel 0: both bytes, mode 2
        0xb0, 0x10, 0xe6, 0x40, 0xe6, 0x40, // count 0x1010
        0xb0, 0xb0, 0xe6, 0x43, // channel 2: both bytes, mode 0
        0xb0, 0x10, 0xe6, 0x42, 0xe6, 0x42, // count 0x1010
        0xc6, 0x05, 0x00, 0x00, 0xc0, 0xfe, 0x18, // mov byte [IOREGSEL], 0x18
        0xc7, 0x05, 0x10, 0x00, 0xc0, 0xfe, 0x44, 0x80, 0x00, 0x00, // mov dword [IOWIN], 0x8044
        0xc6, 0x05, 0x00, 0x00, 0xc0, 0xfe, 0x19, // mov byte [IOREGSEL], 0x19
        0xc7, 0x05, 0x10, 0x00, 0xc0, 0xfe, 0x00, 0x00, 0x00, 0x05, // mov dword [IOWIN], 5 << 24
        0xc6, 0x05, 0x00, 0x00, 0xc0, 0xfe, 0x00, // mov byte [IOREGSEL], 0
        0xc7, 0x05, 0x10, 0x00, 0xc0, 0xfe, 0x00, 0x00, 0x00, 0x07, // mov dword [IOWIN], 7 << 24
    ];
    // The jump over all that follows when this is the second start.
    let skipped = (change.len() + TRIPLE_FAULT.len()) as u32;
    let code = [
        look,
        &seen(19),
        JUMP_FROM_THE_SECOND_START_ON,
        &skipped.to_le_bytes(),
        change,
        TRIPLE_FAULT,
        &exit(0),
    ];
    let Some(output) = run(&code, &["--machine", irqchip]) else {
        return;
    };
    let power_on = [
        0, 0, 0, 0, // nothing masked, all edge-triggered
        6, 6,    // square wave, and no byte of a count was chosen
        0xff, // an empty port
        0, 0, 1, 0, 0, 0, 0, 0, // masked, nothing else
        0, 0, 0, 0, // identification 0
    ];
    assert_eq!(output.stdout.len(), 2 * power_on.len(), "{}", text(&output.stderr));
    let (first, second) = output.stdout.split_at(power_on.len());
    assert_eq!(first, power_on, "at power-on");
    assert_eq!(second, power_on, "after a reset");
}

#[test]
fn timer_in_the_kernel_can_be_left_out() {
    let code: &[u8] = &[
        0xfc, // cld
        0xbf, 0x00, 0x00, 0x20, 0x00, // mov edi, SEEN
        0xb0, 0x34, 0xe6, 0x43, // mov al, 0x34; out 0x43, al
        0xe4, 0x40, 0xaa, 0xe4, 0x41, 0xaa, 0xe4, 0x42, 0xaa, 0xe4, 0x43, 0xaa, // in al, 0x40..0x43; stosb
    ];
    let machine = format!("{ON},pit=off");
    let Some(output) = run(&[code, &seen(4), &exit(0)], &["--machine", &machine]) else {
        return;
    };
    assert_eq!(output.stdout, [0xff; 4], "{}", text(&output.stderr));
}

#[rstest]
#[case::pic_off("microvm,kernel-irqchip=on,pic=off", "write kernel-irqchip=split or drop pic=off")]
#[case::off(
    "microvm,kernel-irqchip=off",
    "kernel-irqchip is split or on: this VMM has no local APIC of its own"
)]
fn combination_that_cannot_be_had_is_refused(#[case] machine: &str, #[case] part: &str) {
    // Whatever the host has: the options alone say so.
    for command in [["inspect", "layout"], ["qtest", "--append=x"], ["run", "--no-reboot"]] {
        let folder = folder();
        let image = folder.join("guest.elf");
        fs::write(&image, Guest::new(&exit(0)).elf()).expect("a small file");
        let mut all = Command::new(MICROVM);
        all.args(command).args(["--machine", machine, "--kernel"]).arg(&image);
        let output = all.stdin(Stdio::null()).output();
        let _leftover = fs::remove_dir_all(&folder);
        let output = output.expect("microvm starts");
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let message = text(&output.stderr);
        assert!(message.contains(part) && message.lines().count() == 1, "{message}");
    }
}

#[rstest]
fn cpus_beyond_eight_bit_apic_ids_are_reached_one_by_one(#[values(SPLIT, ON)] irqchip: &str) {
    // Each CPU that starts notes its ID, as cpuid leaf 0xb has it, in a bit map at 0x9000 and counts itself at 0x9100.
    // Number 255 is the broadcast ID of the older APICs and must reach one CPU alone.
    let other: &[u8] = &[
        0x66, 0xb8, 0x0b, 0x00, 0x00, 0x00, // mov eax, 0xb
        0x66, 0x31, 0xc9, // xor ecx, ecx
        0x0f, 0xa2, // cpuid
        0xf0, 0x66, 0x0f, 0xab, 0x16, 0x00, 0x90, // lock bts [0x9000], edx
        0xf0, 0xff, 0x06, 0x00, 0x91, // lock inc word [0x9100]
        0xf4, 0xeb, 0xfd, // hlt; jmp back to it
    ];
    let head: &[u8] = &[
        0xfc, // cld
        0xbf, 0x00, 0x80, 0x00, 0x00, // mov edi, 0x8000
        0xb9, 0x1a, 0x00, 0x00, 0x00, // mov ecx, 26
        0xe8, 0x1a, 0x00, 0x00, 0x00, // call over the other CPUs' code
    ];
    let main: &[u8] = &[
        0x5e, // pop esi
        0xf3, 0xa4, // rep movsb
        0xb9, 0x1b, 0x00, 0x00, 0x00, // mov ecx, IA32_APIC_BASE
        0x0f, 0x32, // rdmsr
        0x0d, 0x00, 0x0c, 0x00, 0x00, // or eax, 3 << 10                 x2APIC mode
        0x0f, 0x30, // wrmsr
        0xb9, 0x0f, 0x08, 0x00, 0x00, // mov ecx, 0x80f
        0x31, 0xd2, // xor edx, edx
        0xb8, 0xff, 0x01, 0x00, 0x00, // mov eax, 0x1ff                  APIC on
        0x0f, 0x30, // wrmsr
        0xb9, 0x30, 0x08, 0x00, 0x00, // mov ecx, 0x830                  ICR
        0xba, 0xff, 0x00, 0x00, 0x00, // mov edx, 255
        0xb8, 0x00, 0x45, 0x00, 0x00, // mov eax, 0x4500                 INIT
        0x0f, 0x30, // wrmsr
        0xb8, 0x08, 0x46, 0x00, 0x00, // mov eax, 0x4608                 SIPI, 0x8000
        0x0f, 0x30, // wrmsr
        0xba, 0x1f, 0x01, 0x00, 0x00, // mov edx, 287
        0xb8, 0x00, 0x45, 0x00, 0x00, // mov eax, 0x4500
        0x0f, 0x30, // wrmsr
        0xb8, 0x08, 0x46, 0x00, 0x00, // mov eax, 0x4608
        0x0f, 0x30, // wrmsr
        0x80, 0x3d, 0x00, 0x91, 0x00, 0x00, 0x02, // again: cmp byte [0x9100], 2
        0x72, 0xf7, // jb again
        // One that should not have started would be there by now or soon.
        0xb9, 0x00, 0x00, 0x01, 0x00, // mov ecx, 0x10000
        0xe2, 0xfe, // loop $
        0xbe, 0x00, 0x90, 0x00, 0x00, // mov esi, 0x9000
        0xbf, 0x00, 0x00, 0x20, 0x00, // mov edi, SEEN
        0xb9, 0x24, 0x00, 0x00, 0x00, // mov ecx, 36
        0xf3, 0xa4, // rep movsb
        0xa0, 0x00, 0x91, 0x00, 0x00, // mov al, [0x9100]
        0xaa, // stosb
    ];
    assert_eq!(other.len(), 26, "what the copy and the call over it say");
    let stack: &[u8] = &[0xbc, 0x00, 0x00, 0x30, 0x00]; // mov esp, 0x300000
    let code = [stack, head, other, main, &seen(37), &exit(0)];
    let Some(output) = run(&code, &["--machine", irqchip, "--smp", "288"]) else {
        return;
    };
    let message = text(&output.stderr);
    if message.contains("KVM on this host") {
        eprintln!("skipped: {message}");
        return;
    }
    let mut expected = vec![0; 37];
    expected[255 / 8] = 1 << (255 % 8);
    expected[287 / 8] = 1 << (287 % 8);
    expected[36] = 2;
    assert_eq!(output.stdout, expected, "{message}");
}

#[test]
fn device_that_opens_but_is_not_kvm_is_refused_with_a_reason() {
    // In a mount namespace of its own, where /dev/kvm is /dev/null.
    let within = |script: &str, image: &Path| {
        let mut command = Command::new("unshare");
        command
            .args(["-U", "-r", "-m", "sh", "-c", script, "sh", MICROVM])
            .arg(image);
        command.stdin(Stdio::null()).output()
    };
    let folder = folder();
    let image = folder.join("guest.elf");
    fs::write(&image, Guest::new(&exit(0)).elf()).expect("a small file");
    let mount = "mount --bind /dev/null /dev/kvm";
    let tried = within(mount, &image);
    let ran = within(&format!("{mount} && exec \"$1\" run --kernel \"$2\""), &image);
    let _leftover = fs::remove_dir_all(&folder);
    if !tried.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: /dev/kvm cannot be covered by another device here: {tried:?}");
        return;
    }
    let output = ran.expect("it ran a moment ago");
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("microvm: /dev/kvm is not KVM: "), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

/// A finished run within [`LIMIT`], or `None` where there is no KVM.
fn run(code: &[&[u8]], arguments: &[&str]) -> Option<Output> {
    if let Some(problem) = kvm_problem() {
        eprintln!("skipped: {problem}");
        return None;
    }
    let folder = folder();
    let image = folder.join("guest.elf");
    fs::write(&image, Guest::new(&code.concat()).elf()).expect("a small file");
    let mut child = Command::new(MICROVM)
        .args(["run", "--debug-exit", "0xf4", "--kernel"])
        .arg(&image)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("microvm starts");
    let deadline = Instant::now() + LIMIT;
    let mut late = false;
    while child.try_wait().expect("our own child").is_none() {
        if deadline < Instant::now() {
            child.kill().expect("still there");
            late = true;
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("its output");
    let _leftover = fs::remove_dir_all(&folder);
    assert!(!late, "still running after {LIMIT:?}: {output:?}");
    Some(output)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Counts the starts in RAM and, from the second on, jumps as far as the next four bytes say.
const JUMP_FROM_THE_SECOND_START_ON: &[u8] = &[
    0xff, 0x05, 0x00, 0x01, 0x20, 0x00, // inc dword [SEEN+0x100]
    0x83, 0x3d, 0x00, 0x01, 0x20, 0x00, 0x02, // cmp dword [SEEN+0x100], 2
    0x0f, 0x83, // jae
];

/// An interrupt table of no entries, then an exception: the second and third fault have nowhere to go either.
const TRIPLE_FAULT: &[u8] = &[
    0x0f, 0x01, 0x1d, 0x00, 0x90, 0x10, 0x00, // lidt [0x109000]    zeros of the image
    0x0f, 0x0b, // ud2
];

/// PIC, IOAPIC and PIT are the VMM's.
const SPLIT: &str = "microvm,kernel-irqchip=split";

/// They are KVM's.
const ON: &str = "microvm,kernel-irqchip=on";

const MICROVM: &str = env!("CARGO_BIN_EXE_microvm");

const LIMIT: Duration = Duration::from_secs(30);

/// The addresses that the machine code above spells out.
const _: () = assert!(LOAD_ADDRESS == 0x10_0000 && SEEN == 0x20_0000);
