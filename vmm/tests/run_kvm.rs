//! `microvm run` on /dev/kvm, driven by guests of a few bytes each that are put together here.
//!
//! A guest gathers what it saw at [`SEEN`] and sends those bytes out of the serial port, where the test looks at them.
//! Without a usable /dev/kvm every test passes after saying why it did nothing.

mod guest;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use guest::{Guest, LOAD_ADDRESS, SEEN, exit, kvm_problem, seen};
use rstest::rstest;

#[test]
fn debug_exit_sets_the_status() {
    let Some(output) = run(&[&exit(0x10)], &[]) else {
        return;
    };
    assert_eq!(status(&output), 0x21, "(0x10 << 1) | 1");
    assert_eq!((text(&output.stdout), text(&output.stderr)), Default::default());
}

#[test]
fn debug_exit_status_is_eight_bits_of_the_value() {
    let wide: &[u8] = &[
        0xb8, 0x05, 0x01, 0x00, 0x00, // mov eax, 0x105
        0xe7, 0xf4, // out 0xf4, eax
    ];
    let Some(output) = run(&[wide, &exit(0)], &[]) else {
        return;
    };
    assert_eq!(status(&output), 0x0b, "(0x105 << 1) | 1, cut to 8 bits");
}

#[test]
fn string_input_reads_as_many_elements_as_asked() {
    let code: &[u8] = &[
        0x66, 0xba, 0x10, 0x05, // mov dx, 0x510
        0x31, 0xc0, // xor eax, eax
        0x66, 0xef, // out dx, ax           select fw_cfg's signature "QEMU"
        0x42, // inc edx
        0xbf, 0x00, 0x00, 0x20, 0x00, // mov edi, SEEN
        0xb9, 0x03, 0x00, 0x00, 0x00, // mov ecx, 3
        0xf3, 0x6c, // rep insb
        0xb0, 0x2e, // mov al, '.'
        0xaa, // stosb
        0x6c, // insb                       the fourth byte has not been read yet
    ];
    let Some(output) = run(&[code, &seen(5), &exit(0)], &[]) else {
        return;
    };
    assert_eq!(text(&output.stdout), "QEM.U");
}

#[test]
fn string_input_keeps_the_element_width() {
    // Words from fw_cfg's data port: its low byte is data, the high byte comes from the empty port behind it.
    let code: &[u8] = &[
        0x66, 0xba, 0x10, 0x05, // mov dx, 0x510
        0x31, 0xc0, // xor eax, eax
        0x66, 0xef, // out dx, ax           select fw_cfg's signature "QEMU"
        0x42, // inc edx
        0xbf, 0x00, 0x00, 0x20, 0x00, // mov edi, SEEN
        0xb9, 0x02, 0x00, 0x00, 0x00, // mov ecx, 2
        0xf3, 0x66, 0x6d, // rep insw
        0x66, 0xba, 0x14, 0x05, // mov dx, 0x514
        0xb9, 0x02, 0x00, 0x00, 0x00, // mov ecx, 2
        0xf3, 0x6d, // rep insd             the same double word of the DMA port's signature twice
    ];
    let Some(output) = run(&[code, &seen(12), &exit(0)], &[]) else {
        return;
    };
    assert_eq!(output.stdout, b"Q\xffE\xffQEMUQEMU");
}

#[test]
fn string_output_writes_every_element_to_the_same_port() {
    // A double word written to 0x3f8 is four bytes to four registers; four bytes written there are four characters.
    let code: &[u8] = &[
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xc7, 0x05, 0x00, 0x00, 0x20, 0x00, b'a', b'b', b'c', b'd', // mov dword [SEEN], "abcd"
        0xbe, 0x00, 0x00, 0x20, 0x00, // mov esi, SEEN
        0xb9, 0x04, 0x00, 0x00, 0x00, // mov ecx, 4
        0xf3, 0x6e, // rep outsb
        0xb8, b'x', 0x00, 0x00, 0x03, // mov eax, 0x03000078   THR 'x', IER 0, FCR 0, LCR 3
        0xef, // out dx, eax
    ];
    let Some(output) = run(&[code, &exit(0)], &[]) else {
        return;
    };
    assert_eq!(text(&output.stdout), "abcdx");
}

#[test]
fn string_output_longer_than_a_page_arrives_whole() {
    let code: &[u8] = &[
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xbf, 0x00, 0x00, 0x20, 0x00, // mov edi, SEEN
        0xb9, 0x40, 0x1f, 0x00, 0x00, // mov ecx, 8000
        0xb0, 0x2a, // mov al, '*'
        0xf3, 0xaa, // rep stosb
        0xbe, 0x00, 0x00, 0x20, 0x00, // mov esi, SEEN
        0xb9, 0x40, 0x1f, 0x00, 0x00, // mov ecx, 8000
        0xf3, 0x6e, // rep outsb
    ];
    let Some(output) = run(&[code, &exit(0)], &[]) else {
        return;
    };
    let stars = output.stdout.iter().filter(|&&byte| byte == b'*').count();
    assert_eq!((stars, output.stdout.len()), (8000, 8000));
}

#[test]
fn mmio_reaches_the_transports_at_every_width() {
    let code: &[u8] = &[
        0xa1, 0x00, 0x0e, 0x00, 0xc0, // mov eax, [0xc0000e00]    MagicValue of the last transport
        0xa3, 0x00, 0x00, 0x20, 0x00, // mov [SEEN], eax
        0xa1, 0x08, 0x0e, 0x00, 0xc0, // mov eax, [0xc0000e08]    DeviceID
        0xa3, 0x04, 0x00, 0x20, 0x00, // mov [SEEN+4], eax
        0xa1, 0x00, 0x00, 0x00, 0xd0, // mov eax, [0xd0000000]    nobody
        0xa3, 0x08, 0x00, 0x20, 0x00, // mov [SEEN+8], eax
        0xa0, 0x00, 0x00, 0x00, 0xc0, // mov al, [0xc0000000]     a byte of an empty transport's MagicValue
        0xa2, 0x0c, 0x00, 0x20, 0x00, // mov [SEEN+12], al
    ];
    let Some(output) = run(&[code, &seen(13), &exit(0)], &["--device", "virtio-rng"]) else {
        return;
    };
    assert_eq!(output.stdout, b"virt\x04\0\0\0\0\0\0\0v");
}

#[test]
fn triple_fault_with_no_reboot_ends_the_run() {
    let Some(output) = run(&[TRIPLE_FAULT], &["--no-reboot"]) else {
        return;
    };
    assert_eq!(status(&output), 0);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn keyboard_controllers_reset_command_resets_the_machine() {
    // As below: RAM at SEEN counts the starts. Each says what IER is, and enables all interrupts.
    let code: &[u8] = &[
        0x66, 0xba, 0xf9, 0x03, // mov dx, 0x3f9
        0xec, // in al, dx               IER
        0x04, b'0', // add al, '0'
        0x4a, // dec edx
        0xee, // out dx, al
        0x42, // inc edx
        0xb0, 0x0f, // mov al, 0x0f
        0xee, // out dx, al
        0xff, 0x05, 0x00, 0x00, 0x20, 0x00, // inc dword [SEEN]
        0x83, 0x3d, 0x00, 0x00, 0x20, 0x00, 0x03, // cmp dword [SEEN], 3
        0x74, 0x06, // je past the reset
        0xb0, 0xfe, // mov al, 0xfe
        0xe6, 0x64, // out 0x64, al
        0xeb, 0xfe, // jmp here
    ];
    let machine = ["--machine", "microvm,profile=rust-vmm"];
    let Some(output) = run(&[code, &exit(0x10)], &machine) else {
        return;
    };
    assert_eq!((status(&output), text(&output.stdout)), (0x21, "000".into()));
    let output = run(&[code], &[&machine[..], &["--no-reboot"]].concat()).expect("as before");
    assert_eq!((status(&output), text(&output.stdout)), (0, "0".into()));
}

#[rstest]
fn reset_starts_the_kernel_afresh_and_keeps_ram(#[values(SPLIT, ON)] irqchip: &str) {
    // RAM at SEEN counts the starts. Code, data and zeros of the image are restored each time, so the guest can only
    // know by RAM that lies outside. It says what it finds in its own .bss, dirties it, and faults twice.
    let code: &[u8] = &[
        0xa0, 0x00, 0x80, 0x10, 0x00, // mov al, [0x108000]       .bss
        0x04, b'0', // add al, '0'
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xee, // out dx, al
        0xc6, 0x05, 0x00, 0x80, 0x10, 0x00, 0x07, // mov byte [0x108000], 7
        0xff, 0x05, 0x00, 0x00, 0x20, 0x00, // inc dword [SEEN]
        0x83, 0x3d, 0x00, 0x00, 0x20, 0x00, 0x03, // cmp dword [SEEN], 3
        0x74, 0x09, // je past the fault
        0x0f, 0x01, 0x1d, 0x00, 0x90, 0x10, 0x00, // lidt [0x109000]   limit 0
        0x0f, 0x0b, // ud2
    ];
    let Some(output) = run(&[code, &exit(0x10)], &["--machine", irqchip]) else {
        return;
    };
    assert_eq!((status(&output), text(&output.stdout)), (0x21, "000".into()));
}

#[test]
fn instruction_that_kvm_cannot_run_is_reported() {
    // Whether `int3` through a good IDT works depends on the host; fetching code from where no memory is works nowhere.
    let code: &[u8] = &[
        0xb8, 0x78, 0x56, 0x34, 0x12, // mov eax, 0x12345678
        0xbb, 0x00, 0x00, 0x00, 0xd0, // mov ebx, 0xd0000000
        0xff, 0xe3, // jmp ebx
    ];
    let Some(output) = run(&[code], &[]) else {
        return;
    };
    let report = text(&output.stderr);
    assert_eq!(status(&output), 1, "{report}");
    for part in [
        "microvm: cpu 0 cannot go on: KVM_EXIT_INTERNAL_ERROR, suberror 1",
        "bytes at rip",
    ] {
        assert!(report.contains(part), "{part:?} not in\n{report}");
    }
    assert!(report.contains("rip 00000000d0000000"), "{report}");
    assert!(report.contains("rax 0000000012345678"), "{report}");
}

#[test]
fn entry_state_is_what_the_pvh_abi_says() {
    let code: &[u8] = &[
        0x89, 0x1d, 0x00, 0x00, 0x20, 0x00, // mov [SEEN], ebx
        0x0f, 0x20, 0xc0, // mov eax, cr0
        0xa3, 0x04, 0x00, 0x20, 0x00, // mov [SEEN+4], eax
        0x0f, 0x20, 0xe0, // mov eax, cr4
        0xa3, 0x08, 0x00, 0x20, 0x00, // mov [SEEN+8], eax
        0xbc, 0x00, 0x00, 0x30, 0x00, // mov esp, 0x300000
        0x9c, // pushf
        0x8f, 0x05, 0x0c, 0x00, 0x20, 0x00, // pop dword [SEEN+12]
        // The start info itself, 56 bytes.
        0x89, 0xde, // mov esi, ebx
        0xbf, 0x10, 0x00, 0x20, 0x00, // mov edi, SEEN+16
        0xb9, 0x38, 0x00, 0x00, 0x00, // mov ecx, 56
        0xf3, 0xa4, // rep movsb
    ];
    let Some(output) = run(&[code, &seen(16 + 56), &exit(0)], &[]) else {
        return;
    };
    let words: Vec<u32> = output.stdout.chunks_exact(4).map(word).collect();
    assert_eq!(words.len(), 18);
    assert_ne!(words[0], 0);
    assert_eq!(words[1] & !0x10, 1, "CR0: PE; ET may be hard-wired");
    assert_eq!(words[2], 0, "CR4");
    assert_eq!(words[3] & (1 << 17 | 1 << 9 | 1 << 8), 0, "EFLAGS: VM, IF and TF clear");
    let info = &words[4..];
    assert_eq!(
        (info[0], info[1], info[3]),
        (0x336e_c578, 1, 0),
        "magic, version, no module"
    );
    assert_eq!((info[8], info[9]), (0, 0), "no RSDP");
}

#[test]
fn entry_state_and_zero_page_are_what_the_64_bit_boot_protocol_says() {
    let code: &[u8] = &[
        0xbf, 0x00, 0x00, 0x20, 0x00, // mov edi, SEEN
        0x8c, 0xc8, 0xab, // mov eax, cs; stosd
        0x8c, 0xd8, 0xab, // mov eax, ds; stosd
        0x8c, 0xc0, 0xab, // mov eax, es; stosd
        0x8c, 0xd0, 0xab, // mov eax, ss; stosd
        0x0f, 0x20, 0xc0, 0xab, // mov rax, cr0; stosd
        0xb9, 0x80, 0x00, 0x00, 0xc0, // mov ecx, EFER
        0x0f, 0x32, 0xab, // rdmsr; stosd
        0xbc, 0x00, 0x00, 0x21, 0x00, // mov esp, SEEN + 0x10000
        0x9c, 0x58, 0xab, // pushfq; pop rax; stosd
        0x89, 0xf3, // mov ebx, esi                         the zero page
        // Both descriptors are in memory: load them again.
        0x6a, 0x10, // push 0x10
        0x48, 0x8d, 0x05, 0x03, 0x00, 0x00, 0x00, // lea rax, [rip + 3]
        0x50, 0x48, 0xcb, // push rax; retfq
        0xb8, 0x18, 0x00, 0x00, 0x00, // mov eax, 0x18
        0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, // mov ds, eax; mov es, eax; mov ss, eax
        // The local APIC's version: the map goes up to 4 GiB.
        0xba, 0x30, 0x00, 0xe0, 0xfe, // mov edx, 0xfee00030
        0x8b, 0x02, 0xab, // mov eax, [rdx]; stosd
        0x0f, 0xb6, 0x83, 0xe8, 0x01, 0x00, 0x00, 0xab, // movzx eax, byte [rbx + 0x1e8]; stosd
        0x8d, 0xb3, 0xd0, 0x02, 0x00, 0x00, // lea esi, [rbx + 0x2d0]  memory map
        0xb9, 0x50, 0x00, 0x00, 0x00, 0xf3, 0xa4, // mov ecx, 80; rep movsb
        0x8b, 0x83, 0x18, 0x02, 0x00, 0x00, 0xab, // mov eax, [rbx + 0x218]; stosd  initrd
        0x8b, 0x30, // mov esi, [rax]
        0x8b, 0x83, 0x1c, 0x02, 0x00, 0x00, 0xab, // mov eax, [rbx + 0x21c]; stosd  its length
        0x89, 0xf0, 0xab, // mov eax, esi; stosd                its first bytes
        0x8b, 0xb3, 0x28, 0x02, 0x00, 0x00, // mov esi, [rbx + 0x228]  command line
        0xb9, 0x08, 0x00, 0x00, 0x00, 0xf3, 0xa4, // mov ecx, 8; rep movsb
    ];
    let folder = guest::folder();
    let initrd = folder.join("initrd");
    fs::write(&initrd, [b"disk".as_slice(), &[0; 9996]].concat()).expect("a small file");
    let seen_bytes = 4 * 9 + 80 + 12 + 8;
    let arguments = [
        "--initrd",
        initrd.to_str().expect("a plain path"),
        "--append",
        "a=b c=d",
    ];
    let output = run_bz_image(&[code, &seen(seen_bytes), &exit(0x10)], &arguments);
    let _leftover = fs::remove_dir_all(&folder);
    let Some(output) = output else {
        return;
    };
    assert_eq!(status(&output), 0x21, "{}", text(&output.stderr));
    assert_eq!(output.stdout.len(), seen_bytes as usize);
    let words: Vec<u32> = output.stdout.chunks_exact(4).map(word).collect();
    assert_eq!(words[..4], [0x10, 0x18, 0x18, 0x18], "CS, DS, ES, SS");
    assert_eq!(words[4] & 0x8000_0001, 0x8000_0001, "CR0: paging and protection");
    assert_eq!(words[5] & 0x500, 0x500, "EFER: long mode enabled and active");
    assert_eq!(words[6] & (1 << 17 | 1 << 9 | 1 << 8), 0, "RFLAGS: VM, IF and TF clear");
    assert!(
        (0x10..=0x15).contains(&(words[7] & 0xff)),
        "local APIC: {:#x}",
        words[7]
    );
    assert_eq!(words[8], 4, "entries of the memory map");
    let entry = |at: usize| (words[9 + 5 * at], words[11 + 5 * at], words[13 + 5 * at]);
    assert_eq!(
        [0, 1, 2, 3].map(entry),
        [
            (0, 0x9_fc00, 1),
            (0x9_fc00, 0x6_0400, 2),
            (0x10_0000, 0x7f0_0000, 1),
            (0xfeff_c000, 0x4000, 2)
        ]
    );
    assert_eq!(words[29..31], [0x7ff_d000, 10_000]);
    assert_eq!(output.stdout[124..], *b"diska=b c=d\0");
}

#[test]
fn reset_loads_a_bz_image_and_its_zero_page_again() {
    let code: &[u8] = &[
        0x8b, 0x86, 0x28, 0x02, 0x00, 0x00, // mov eax, [rsi + 0x228]   command line
        0x8a, 0x00, // mov al, [rax]
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xee, // out dx, al
        0xff, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00, // inc dword [SEEN]
        0x83, 0x3c, 0x25, 0x00, 0x00, 0x20, 0x00, 0x02, // cmp dword [SEEN], 2
        0x74, 0x1d, // je past the fault
        0xc6, 0x04, 0x25, 0x00, 0x02, 0x10, 0x00, 0xf4, // mov byte [LOAD_ADDRESS + 0x200], hlt
        0xc7, 0x86, 0x28, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // mov dword [rsi + 0x228], 0
        0x0f, 0x01, 0x1c, 0x25, 0x00, 0x90, 0x10, 0x00, // lidt [0x109000]   limit 0
        0x0f, 0x0b, // ud2
        0x90, // nop
    ];
    let Some(output) = run_bz_image(&[code, &exit(0x10)], &["--append", "z"]) else {
        return;
    };
    let all = (status(&output), text(&output.stdout));
    assert_eq!(all, (0x21, "zz".into()), "{}", text(&output.stderr));
}

#[test]
fn elf_of_32_bits_starts_as_one_of_64_bits_does() {
    let code = [&exit(0x10)[..], &[0; 8]].concat();
    let note: Vec<u8> = [4_u32, 4, 18].iter().flat_map(|word| word.to_le_bytes()).collect();
    let (headers_at, note_at) = (52_u32, 52 + 2 * 32);
    let code_at = note_at + 20;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0".to_vec();
    for word in [1, LOAD_ADDRESS, headers_at, 0, 0] {
        file.extend(word.to_le_bytes()); // version, entry, program headers, no section headers, flags
    }
    for half in [52_u16, 32, 2, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let code_bytes = code.len() as u32;
    for header in [
        [1, code_at, LOAD_ADDRESS, LOAD_ADDRESS, code_bytes, code_bytes, 7, 4], // PT_LOAD
        [4, note_at, 0, 0, 20, 20, 4, 4],                                       // PT_NOTE
    ] {
        file.extend(header.iter().flat_map(|word| word.to_le_bytes()));
    }
    file.extend(note.iter().chain(b"Xen\0").chain(&LOAD_ADDRESS.to_le_bytes()));
    file.extend(code);
    let Some(output) = run_file(&file, &[]) else {
        return;
    };
    assert_eq!(status(&output), 0x21, "{}", text(&output.stderr));
}

#[test]
fn initrd_is_module_zero_and_its_bytes_are_there() {
    let code: &[u8] = &[
        0x8b, 0x43, 0x10, // mov eax, [ebx+16]          module list
        0x8b, 0x30, // mov esi, [eax]                   paddr
        0x8b, 0x48, 0x08, // mov ecx, [eax+8]           size
        0x89, 0x35, 0x00, 0x00, 0x20, 0x00, // mov [SEEN], esi
        0x89, 0x0d, 0x04, 0x00, 0x20, 0x00, // mov [SEEN+4], ecx
        0x8b, 0x43, 0x0c, // mov eax, [ebx+12]          module count
        0xa3, 0x08, 0x00, 0x20, 0x00, // mov [SEEN+8], eax
        0xbf, 0x0c, 0x00, 0x20, 0x00, // mov edi, SEEN+12
        0xb9, 0x05, 0x00, 0x00, 0x00, // mov ecx, 5
        0xf3, 0xa4, // rep movsb
    ];
    let folder = guest::folder();
    let initrd = folder.join("initrd");
    fs::write(&initrd, [b"hello".as_slice(), &[0; 9995]].concat()).expect("a small file");
    let arguments = ["--initrd", initrd.to_str().expect("a plain path")];
    let output = run(&[code, &seen(17), &exit(0)], &arguments);
    let _leftover = fs::remove_dir_all(&folder);
    let Some(output) = output else {
        return;
    };
    let words: Vec<u32> = output.stdout.chunks_exact(4).map(word).collect();
    assert_eq!(words[..3], [0x7ff_d000, 10_000, 1], "{}", text(&output.stderr));
    assert_eq!(&output.stdout[12..], b"hello");
}

#[test]
fn command_line_names_the_occupied_transports() {
    let expected = "x=1 virtio_mmio.device=512@0xc0000e00:12";
    let code: &[u8] = &[
        0x8b, 0x73, 0x18, // mov esi, [ebx+24]          command line
        0xbf, 0x00, 0x00, 0x20, 0x00, // mov edi, SEEN
        0xb9, 0x00, 0x01, 0x00, 0x00, // mov ecx, 256
        0xf3, 0xa4, // rep movsb
    ];
    let length = expected.len() as u32 + 1;
    let arguments = ["--append", "x=1", "--device", "virtio-rng"];
    let Some(output) = run(&[code, &seen(length), &exit(0)], &arguments) else {
        return;
    };
    assert_eq!(text(&output.stdout), format!("{expected}\0"));
}

#[test]
fn memory_map_and_memory_reach_above_four_gigabytes() {
    // 5 GiB: 2 GiB below, 3 GiB above.
    let code: &[u8] = &[
        0x8b, 0x73, 0x28, // mov esi, [ebx+40]          memory map
        0x8b, 0x4b, 0x30, // mov ecx, [ebx+48]          entries
        0x6b, 0xc9, 0x18, // imul ecx, ecx, 24
        0xbf, 0x00, 0x00, 0x20, 0x00, // mov edi, SEEN
        0xf3, 0xa4, // rep movsb
    ];
    let Some(output) = run(&[code, &seen(24 * 5), &exit(0)], &["-m", "5G"]) else {
        return;
    };
    let entries: Vec<(u64, u64, u32)> = output
        .stdout
        .chunks_exact(24)
        .map(|entry| (long(&entry[..8]), long(&entry[8..16]), word(&entry[16..20])))
        .collect();
    assert_eq!(
        entries,
        [
            (0, 0x9_fc00, 1),
            (0x9_fc00, 0x6_0400, 2),
            (0x10_0000, 0x7ff0_0000, 1),
            (0xfeff_c000, 0x4000, 2),
            (0x1_0000_0000, 0xc000_0000, 1),
        ],
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn memory_above_four_gigabytes_can_be_written_and_read() {
    // Long mode's paging under 32-bit code (compatibility mode): some hosts' KVM has no other paging.
    let code: &[u8] = &[
        // Tables at 0x300000, 0x301000, 0x302000: 0..4 MiB as they are, 4 MiB..6 MiB to 4 GiB + 4 MiB.
        0xc7, 0x05, 0x00, 0x00, 0x30, 0x00, 0x03, 0x10, 0x30, 0x00, // mov dword [0x300000], 0x301000|P|RW
        0xc7, 0x05, 0x00, 0x10, 0x30, 0x00, 0x03, 0x20, 0x30, 0x00, // mov dword [0x301000], 0x302000|P|RW
        0xc7, 0x05, 0x00, 0x20, 0x30, 0x00, 0x83, 0x00, 0x00, 0x00, // mov dword [0x302000], P|RW|PS
        0xc7, 0x05, 0x08, 0x20, 0x30, 0x00, 0x83, 0x00, 0x20, 0x00, // mov dword [0x302008], 2 MiB|P|RW|PS
        0xc7, 0x05, 0x10, 0x20, 0x30, 0x00, 0x83, 0x00, 0x40, 0x00, // mov dword [0x302010], 4 MiB|P|RW|PS
        0xc7, 0x05, 0x14, 0x20, 0x30, 0x00, 0x01, 0x00, 0x00, 0x00, // mov dword [0x302014], 1    bit 32
        0x0f, 0x20, 0xe0, // mov eax, cr4
        0x83, 0xc8, 0x20, // or eax, PAE
        0x0f, 0x22, 0xe0, // mov cr4, eax
        0xb8, 0x00, 0x00, 0x30, 0x00, // mov eax, 0x300000
        0x0f, 0x22, 0xd8, // mov cr3, eax
        0xb9, 0x80, 0x00, 0x00, 0xc0, // mov ecx, EFER
        0x0f, 0x32, // rdmsr
        0x0d, 0x00, 0x01, 0x00, 0x00, // or eax, LME
        0x0f, 0x30, // wrmsr
        0xc6, 0x05, 0x00, 0x00, 0x40, 0x00, b'l', // mov byte [0x400000], 'l'   still 4 MiB
        0x0f, 0x20, 0xc0, // mov eax, cr0
        0x0d, 0x00, 0x00, 0x00, 0x80, // or eax, PG
        0x0f, 0x22, 0xc0, // mov cr0, eax
        0xa0, 0x00, 0x00, 0x40, 0x00, // mov al, [0x400000]        4 GiB + 4 MiB: zero
        0xa2, 0x00, 0x00, 0x20, 0x00, // mov [SEEN], al
        0xc6, 0x05, 0x00, 0x00, 0x40, 0x00, b'h', // mov byte [0x400000], 'h'
        0xa0, 0x00, 0x00, 0x40, 0x00, // mov al, [0x400000]
        0xa2, 0x01, 0x00, 0x20, 0x00, // mov [SEEN+1], al
    ];
    let Some(output) = run(&[code, &seen(2), &exit(0)], &["-m", "5G"]) else {
        return;
    };
    assert_eq!(text(&output.stdout), "\0h", "{}", text(&output.stderr));
}

#[rstest]
fn halted_cpu_wakes_for_the_timer_through_the_ioapic(#[values(SPLIT, ON)] irqchip: &str) {
    // The timer ticks 18.2 times a second after power-on without being programmed; GSI 0 is wired to pin 2.
    let main: &[u8] = &[
        0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, // mov dword [0xfee000f0], 0x1ff   APIC on
        0xc7, 0x05, 0x00, 0x00, 0xc0, 0xfe, 0x14, 0x00, 0x00,
        0x00, // mov dword [IOREGSEL], 0x14      pin 2, low half
        0xc7, 0x05, 0x10, 0x00, 0xc0, 0xfe, 0x40, 0x00, 0x00,
        0x00, // mov dword [IOWIN], 0x40         edge, unmasked
        0xfb, 0xf4, // sti; hlt
        0xfb, 0xf4, // sti; hlt
    ];
    let handler: &[u8] = &[
        0xfe, 0x05, 0x00, 0x00, 0x20, 0x00, // inc byte [SEEN]
        0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x00, // mov dword [0xfee000b0], 0      EOI
        0xca, 0x04, 0x00, // retf 4
    ];
    let main = [main, &seen(1), &exit(0)].concat();
    let Some(output) = run(&[&with_interrupts(&main, handler)], &["--machine", irqchip]) else {
        return;
    };
    assert_eq!(output.stdout, [2], "{}", text(&output.stderr));
}

#[rstest]
fn halted_cpu_wakes_for_the_timer_through_the_pic(#[values(SPLIT, ON)] irqchip: &str) {
    let main: &[u8] = &[
        0xb0, 0x11, 0xe6, 0x20, // ICW1: edge, cascade, ICW4
        0xb0, 0x20, 0xe6, 0x21, // ICW2: vectors from 0x20
        0xb0, 0x04, 0xe6, 0x21, // ICW3
        0xb0, 0x01, 0xe6, 0x21, // ICW4: 8086
        0xb0, 0xfe, 0xe6, 0x21, // OCW1: only IR0
        0xfb, 0xf4, // sti; hlt
        0xfb, 0xf4, // sti; hlt
    ];
    let handler: &[u8] = &[
        0xfe, 0x05, 0x00, 0x00, 0x20, 0x00, // inc byte [SEEN]
        0xb0, 0x20, 0xe6, 0x20, // OCW2: EOI
        0xca, 0x04, 0x00, // retf 4
    ];
    let main = [main, &seen(1), &exit(0)].concat();
    let Some(output) = run(&[&with_interrupts(&main, handler)], &["--machine", irqchip]) else {
        return;
    };
    assert_eq!(output.stdout, [2], "{}", text(&output.stderr));
}

#[rstest]
fn pic_interrupt_waits_until_the_guest_allows_interrupts(#[values(SPLIT, ON)] irqchip: &str) {
    // The timer's request is waiting long before `sti`; without an interrupt window nobody would look at it again.
    let main: &[u8] = &[
        0xb0, 0x11, 0xe6, 0x20, // ICW1
        0xb0, 0x20, 0xe6, 0x21, // ICW2: vectors from 0x20
        0xb0, 0x04, 0xe6, 0x21, // ICW3
        0xb0, 0x01, 0xe6, 0x21, // ICW4
        0xb0, 0xfe, 0xe6, 0x21, // OCW1: only IR0
        0xb0, 0x0a, 0xe6, 0x20, // OCW3: read IRR
        0xe4, 0x20, // again: in al, 0x20
        0xa8, 0x01, // test al, IR0
        0x74, 0xfa, // jz again
        0xfb, // sti
        0xb9, 0x10, 0x27, 0x00, 0x00, // mov ecx, 10000
        0xe2, 0xfe, // loop $
        0xfa, // cli
    ];
    let handler: &[u8] = &[
        0xc6, 0x05, 0x00, 0x00, 0x20, 0x00, b'!', // mov byte [SEEN], '!'
        0xb0, 0x20, 0xe6, 0x20, // OCW2: EOI
        0xca, 0x04, 0x00, // retf 4
    ];
    let main = [main, &seen(1), &exit(0)].concat();
    let Some(output) = run(&[&with_interrupts(&main, handler)], &["--machine", irqchip]) else {
        return;
    };
    assert_eq!(text(&output.stdout), "!", "{}", text(&output.stderr));
}

#[rstest]
fn level_triggered_interrupt_comes_again_after_its_eoi(#[values(SPLIT, ON)] irqchip: &str) {
    // The serial port's "transmitter empty" on pin 4, level-triggered: the handler quiets it by reading IIR, sends a
    // character, which raises it again, and ends the interrupt. The second one comes only if the EOI reached the
    // IOAPIC.
    let main: &[u8] = &[
        0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, // mov dword [0xfee000f0], 0x1ff   APIC on
        0xc7, 0x05, 0x00, 0x00, 0xc0, 0xfe, 0x18, 0x00, 0x00,
        0x00, // mov dword [IOREGSEL], 0x18      pin 4, low half
        0xc7, 0x05, 0x10, 0x00, 0xc0, 0xfe, 0x40, 0x80, 0x00,
        0x00, // mov dword [IOWIN], 0x8040       level, unmasked
        0x66, 0xba, 0xf9, 0x03, // mov dx, 0x3f9
        0xb0, 0x02, // mov al, 2
        0xee, // out dx, al             IER: transmitter empty
        // Interrupts come between these two only: the handler does not keep the flags of the comparison.
        0xfb, // again: sti
        0x90, // nop
        0xfa, // cli
        0x80, 0x3d, 0x00, 0x00, 0x20, 0x00, 0x05, // cmp byte [SEEN], 5
        0x72, 0xf4, // jb again
    ];
    let handler: &[u8] = &[
        0xfe, 0x05, 0x00, 0x00, 0x20, 0x00, // inc byte [SEEN]
        0x66, 0xba, 0xfa, 0x03, // mov dx, 0x3fa
        0xec, // in al, dx              IIR
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xb0, b'.', // mov al, '.'
        0xee, // out dx, al
        0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x00, // mov dword [0xfee000b0], 0      EOI
        0xca, 0x04, 0x00, // retf 4
    ];
    let main = [main, &exit(0)].concat();
    let Some(output) = run(&[&with_interrupts(&main, handler)], &["--machine", irqchip]) else {
        return;
    };
    assert_eq!(text(&output.stdout), ".....", "{}", text(&output.stderr));
}

#[rstest]
fn typed_byte_wakes_a_halted_cpu(#[values(SPLIT, ON)] irqchip: &str) {
    let main: &[u8] = &[
        0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, // mov dword [0xfee000f0], 0x1ff   APIC on
        0xc7, 0x05, 0x00, 0x00, 0xc0, 0xfe, 0x18, 0x00, 0x00,
        0x00, // mov dword [IOREGSEL], 0x18      pin 4, low half
        0xc7, 0x05, 0x10, 0x00, 0xc0, 0xfe, 0x40, 0x00, 0x00,
        0x00, // mov dword [IOWIN], 0x40         edge, unmasked
        0x66, 0xba, 0xf9, 0x03, // mov dx, 0x3f9
        0xb0, 0x01, // mov al, 1
        0xee, // out dx, al             IER: data available
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xb0, b'?', // mov al, '?'
        0xee, // out dx, al             ask for a byte
        0xfb, 0xf4, // sti; hlt
    ];
    let handler: &[u8] = &[
        0xec, // in al, dx
        0xee, // out dx, al             echo
        0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x00, // mov dword [0xfee000b0], 0      EOI
        0xca, 0x04, 0x00, // retf 4
    ];
    let main = [main, &exit(0)].concat();
    let Some(mut running) = start(&[&with_interrupts(&main, handler)], &["--machine", irqchip]) else {
        return;
    };
    let mut asked = [0];
    let stdout = running.child().stdout.as_mut().expect("piped");
    stdout.read_exact(&mut asked).expect("the guest asks");
    running
        .child()
        .stdin
        .as_mut()
        .expect("piped")
        .write_all(b"k")
        .expect("it reads");
    let output = running.finish();
    assert_eq!((asked, text(&output.stdout)), ([b'?'], "k".into()));
}

#[rstest]
fn second_cpu_starts_by_message_and_again_after_a_reset(#[values(SPLIT, ON)] irqchip: &str) {
    // The boot CPU puts five instructions for the other one at 0x8000, sends INIT and SIPI, waits for its sign, and
    // resets the machine twice by a triple fault.
    let code: &[u8] = &[
        0xc7, 0x05, 0x00, 0x80, 0x00, 0x00, 0xba, 0xf8, 0x03,
        0xb0, // mov dword [0x8000], mov dx, 0x3f8; mov al, ..
        0xc7, 0x05, 0x04, 0x80, 0x00, 0x00, b'A', 0xee, 0xc6,
        0x06, // mov dword [0x8004], .. 'A'; out dx, al; mov ..
        0xc7, 0x05, 0x08, 0x80, 0x00, 0x00, 0x00, 0x90, 0x01,
        0xf4, // mov dword [0x8008], .. byte [0x9000], 1; hlt
        0xc6, 0x05, 0x00, 0x90, 0x00, 0x00, 0x00, // mov byte [0x9000], 0
        0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, // mov dword [0xfee000f0], 0x1ff   APIC on
        0xc7, 0x05, 0x10, 0x03, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x01, // mov dword [ICR high], 1 << 24
        0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0x00, 0x00, // mov dword [ICR low], 0x4500     INIT
        0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x08, 0x46, 0x00,
        0x00, // mov dword [ICR low], 0x4608     SIPI, 0x8000
        0x80, 0x3d, 0x00, 0x90, 0x00, 0x00, 0x01, // again: cmp byte [0x9000], 1
        0x75, 0xf7, // jne again
        0xff, 0x05, 0x00, 0x00, 0x20, 0x00, // inc dword [SEEN]
        0x83, 0x3d, 0x00, 0x00, 0x20, 0x00, 0x03, // cmp dword [SEEN], 3
        0x74, 0x09, // je past the fault
    ];
    let Some(output) = run(
        &[code, TRIPLE_FAULT, &exit(0x10)],
        &["--machine", irqchip, "--smp", "2"],
    ) else {
        return;
    };
    assert_eq!((status(&output), text(&output.stdout)), (0x21, "AAA".into()));
}

#[test]
fn real_time_clock_counts_on_the_hosts_time() {
    // Waits until the seconds change, which must take a second at most; a VMM whose clock stands still is killed.
    let code: &[u8] = &[
        0x31, 0xc0, // xor eax, eax
        0xe6, 0x70, // out 0x70, al
        0xe4, 0x71, // in al, 0x71
        0x88, 0xc4, // mov ah, al
        0xe4, 0x71, // again: in al, 0x71
        0x38, 0xe0, // cmp al, ah
        0x74, 0xfa, // je again
        0xb0, 0x09, // mov al, 9
        0xe6, 0x70, // out 0x70, al
        0xe4, 0x71, // in al, 0x71      year
        0xa2, 0x00, 0x00, 0x20, 0x00, // mov [SEEN], al
    ];
    let arguments = ["--machine", "microvm,rtc=on", "--rtc", "base=2031-05-06T07:08:09"];
    let Some(output) = run(&[code, &seen(1), &exit(0)], &arguments) else {
        return;
    };
    assert_eq!(output.stdout, [0x31], "{}", text(&output.stderr));
}

#[test]
fn host_that_takes_no_output_does_not_stall_the_guest() {
    // 96 KiB go out while nobody reads from a pipe that holds 64; the guest must reach its end, and the run must say
    // what was lost.
    let code: &[u8] = &[
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xbe, 0x00, 0x00, 0x20, 0x00, // mov esi, SEEN
        0xb9, 0x00, 0x80, 0x01, 0x00, // mov ecx, 96 << 10
        0xf3, 0x6e, // rep outsb
    ];
    let Some(mut running) = start(&[code, &exit(0x10)], &[]) else {
        return;
    };
    let stdout = running.child().stdout.take().expect("piped");
    let output = running.finish();
    drop(stdout);
    assert_eq!(status(&output), 0x21);
    let message = text(&output.stderr);
    assert!(
        message.ends_with(" bytes of serial output were not taken and are lost\n"),
        "{message}"
    );
}

#[test]
fn timer_too_fast_for_the_host_leaves_the_run_in_command() {
    let main: &[u8] = &[
        0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, // mov dword [0xfee000f0], 0x1ff   APIC on
        0xc7, 0x05, 0x00, 0x00, 0xc0, 0xfe, 0x14, 0x00, 0x00,
        0x00, // mov dword [IOREGSEL], 0x14      pin 2, low half
        0xc7, 0x05, 0x10, 0x00, 0xc0, 0xfe, 0x40, 0x00, 0x00,
        0x00, // mov dword [IOWIN], 0x40         edge, unmasked
        0xb0, 0x34, 0xe6, 0x43, // control word: counter 0, two bytes, mode 2
        0xb0, 0x02, 0xe6, 0x40, // count 2: every 1.7 microseconds
        0xb0, 0x00, 0xe6, 0x40, //
        0xb0, b'.', // mov al, '.'
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xee, // out dx, al
        0xfb, // again: sti
        0xeb, 0xfd, // jmp again
    ];
    let handler: &[u8] = &[
        0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x00, // mov dword [0xfee000b0], 0      EOI
        0xca, 0x04, 0x00, // retf 4
    ];
    let Some(mut running) = start(&[&with_interrupts(main, handler)], &[]) else {
        return;
    };
    let mut ready = [0];
    let stdout = running.child().stdout.as_mut().expect("piped");
    stdout.read_exact(&mut ready).expect("the guest says so");
    thread::sleep(Duration::from_millis(300));
    let sent = Instant::now();
    running.signal("INT");
    let output = running.finish();
    assert_eq!(text(&output.stderr), "microvm: ended by signal 2\n");
    assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
}

#[test]
fn kernel_too_large_for_ram_is_refused_with_a_reason() {
    let Some(output) = run(&[&exit(0)], &["-m", "1M"]) else {
        return;
    };
    assert_ne!(status(&output), 0);
    let message = text(&output.stderr);
    assert!(
        message.starts_with("microvm: ") && message.lines().count() == 1,
        "{message}"
    );
}

#[rstest]
fn signal_ends_a_guest_that_spins(#[values(SPLIT, ON)] irqchip: &str) {
    let spin: &[u8] = &[0xeb, 0xfe]; // jmp $
    let Some(mut running) = start(&[&send(b"!"), spin], &["--machine", irqchip]) else {
        return;
    };
    // Signals are caught before the first CPU runs.
    let stdout = running.child().stdout.as_mut().expect("piped");
    stdout.read_exact(&mut [0]).expect("the guest says that it runs");
    running.signal("TERM");
    let output = running.finish();
    assert_eq!(status(&output), 0);
    assert_eq!(text(&output.stderr), "microvm: ended by signal 15\n");
}

#[test]
fn closing_the_output_ends_a_guest_that_spins() {
    let spin: &[u8] = &[0xeb, 0xfe]; // jmp $
    let Some(mut running) = start(&[spin], &[]) else {
        return;
    };
    drop(running.child().stdout.take());
    let output = running.finish();
    assert_eq!(text(&output.stderr), "microvm: the serial port's peer hung up\n");
}

#[test]
fn end_of_input_does_not_end_the_run() {
    let Some(mut running) = start(&[&send(b"up"), &exit(0x10)], &[]) else {
        return;
    };
    drop(running.child().stdin.take());
    let output = running.finish();
    assert_eq!((status(&output), text(&output.stdout)), (0x21, "up".into()));
}

#[test]
fn typed_bytes_wait_for_room_and_none_is_lost() {
    // More bytes than the FIFO holds are typed before the guest looks; it then reads them one by one by polling LSR.DR.
    let code: &[u8] = &[
        0xbf, 0x00, 0x00, 0x20, 0x00, // mov edi, SEEN
        0xbe, 0xc8, 0x00, 0x00, 0x00, // mov esi, 200
        0x66, 0xba, 0xfd, 0x03, // next: mov dx, 0x3fd
        0xec, // wait: in al, dx
        0xa8, 0x01, // test al, DR
        0x74, 0xfb, // jz wait
        0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xec, // in al, dx
        0xaa, // stosb
        0x4e, // dec esi
        0x75, 0xee, // jnz next
    ];
    let Some(mut running) = start(&[code, &seen(200), &exit(0)], &[]) else {
        return;
    };
    let typed: Vec<u8> = (0..200).collect();
    let mut stdin = running.child().stdin.take().expect("piped");
    stdin.write_all(&typed).expect("a pipe holds more");
    let output = running.finish();
    assert!(output.stdout == typed, "{} of 200 bytes", output.stdout.len());
}

#[test]
fn serial_port_speaks_over_a_socket() {
    let folder = guest::folder();
    let path = folder.join("serial");
    let listener = UnixListener::bind(&path).expect("a short path");
    let argument = format!("unix:{}", path.display());
    let running = start(&[&send(b"hello"), &exit(0)], &["--serial", &argument]);
    let Some(running) = running else {
        let _leftover = fs::remove_dir_all(&folder);
        return;
    };
    let (mut peer, _address) = listener.accept().expect("microvm connects");
    let mut heard = String::new();
    peer.read_to_string(&mut heard).expect("until microvm ends");
    assert_eq!(heard, "hello");
    assert_eq!(status(&running.finish()), 1);
    let _leftover = fs::remove_dir_all(&folder);
}

#[test]
fn boot_marks_file_has_marks_in_order_and_the_end() {
    let code: &[u8] = &[
        0x66, 0xba, 0xf0, 0x03, // mov dx, 0x3f0
        0xb0, 0x41, // mov al, 0x41
        0xee, // out dx, al
        0xfe, 0xc0, // inc al
        0xee, // out dx, al
    ];
    let folder = guest::folder();
    let path = folder.join("marks");
    let output = run(
        &[code, &exit(0x10)],
        &["--boot-marks", path.to_str().expect("a plain path")],
    );
    let lines = fs::read_to_string(&path).unwrap_or_default();
    let _leftover = fs::remove_dir_all(&folder);
    if output.is_none() {
        return;
    }
    let (phases, lines): (Vec<&str>, Vec<&str>) = lines.lines().partition(|line| line.starts_with("{\"phase\":"));
    let names = phases.iter().filter_map(|line| line.split('"').nth(3));
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["process", "memory", "image", "vm", "cpus", "run"]
    );
    let ns = |line: &&str| {
        line.split("\"ns\":")
            .nth(1)?
            .split([',', '}'])
            .next()?
            .parse::<u64>()
            .ok()
    };
    assert!(phases.iter().chain(&lines).map(ns).is_sorted(), "{phases:?} {lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("{\"mark\":65,\"ns\":"), "{}", lines[0]);
    assert!(
        lines[1].starts_with("{\"mark\":66,") && lines[1].contains("\"port_out\":2"),
        "{}",
        lines[1]
    );
    assert!(lines[2].starts_with("{\"end\":\"debug-exit\",\"ns\":"), "{}", lines[2]);
    assert!(
        lines[2].contains("\"status\":33,") && lines[2].contains("\"debug_exit\":{\"port_out\":1}"),
        "{}",
        lines[2]
    );
}

#[test]
fn sigquit_ends_a_run_and_shows_where_each_cpu_is() {
    // mov eax, 0x5eed; jmp $
    let spin: &[u8] = &[0xb8, 0xed, 0x5e, 0, 0, 0xeb, 0xfe];
    let Some(mut running) = start(&[&send(b"."), spin], &["--smp", "2"]) else {
        return;
    };
    let mut first = [0; 1];
    let stdout = running.child().stdout.as_mut().expect("piped");
    stdout.read_exact(&mut first).expect("the guest speaks");
    running.signal("QUIT");
    let output = running.finish();
    let text = text(&output.stderr);
    assert_eq!(status(&output), 0, "{text}");
    assert!(text.contains("microvm: ended by signal 3\n"), "{text}");
    assert!(text.contains("microvm: cpu 0 was stopped\n"), "{text}");
    assert!(text.contains("rax 0000000000005eed"), "{text}");
    assert!(text.contains("microvm: cpu 1 was stopped\n"), "{text}");
}

/// A finished run within [`LIMIT`], or `None` where there is no KVM.
fn run(code: &[&[u8]], arguments: &[&str]) -> Option<Output> {
    start(code, arguments).map(Running::finish)
}

/// A guest that is running.
struct Running {
    child: Option<Child>,
    folder: PathBuf,
}

/// A run of a bzImage of protocol 2.15 that prefers [`LOAD_ADDRESS`], with this 64-bit code at its entry point.
fn run_bz_image(code: &[&[u8]], arguments: &[&str]) -> Option<Output> {
    let setup_bytes = 5 * 512;
    let mut file = vec![0; setup_bytes + 0x200];
    file.extend(code.concat());
    file.resize(file.len().next_multiple_of(16), 0);
    let paragraphs = ((file.len() - setup_bytes) / 16) as u32;
    for (at, field) in [
        (0x1f1, &[4][..]),                       // setup sectors behind the first
        (0x1f4, &paragraphs.to_le_bytes()),      // syssize
        (0x201, b"\x6aHdrS\x0f\x02"),            // the header's end, magic, version
        (0x211, &[1]),                           // loaded high
        (0x22c, &0x7fff_ffff_u32.to_le_bytes()), // initrd_addr_max
        (0x236, &[1]),                           // 64-bit entry point
        (0x238, &2047_u32.to_le_bytes()),        // cmdline_size
        (0x258, &LOAD_ADDRESS.to_le_bytes()),    // pref_address
        (0x260, &0x1_0000_u32.to_le_bytes()),    // init_size
    ] {
        file[at..at + field.len()].copy_from_slice(field);
    }
    run_file(&file, arguments)
}

fn run_file(kernel: &[u8], arguments: &[&str]) -> Option<Output> {
    start_file(kernel, arguments).map(Running::finish)
}

fn start(code: &[&[u8]], arguments: &[&str]) -> Option<Running> {
    start_file(&Guest::new(&code.concat()).elf(), arguments)
}

fn start_file(kernel: &[u8], arguments: &[&str]) -> Option<Running> {
    if let Some(problem) = kvm_problem() {
        eprintln!("skipped: {problem}");
        return None;
    }
    let folder = guest::folder();
    let image = folder.join("kernel");
    fs::write(&image, kernel).expect("a small file");
    Some(start_image(&image, folder, arguments))
}

fn start_image(image: &Path, folder: PathBuf, arguments: &[&str]) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_microvm"))
        .args(["run", "--debug-exit", "0xf4", "--kernel"])
        .arg(image)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("microvm starts");
    Running {
        child: Some(child),
        folder,
    }
}

impl Running {
    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("not finished yet")
    }

    fn signal(&mut self, name: &str) {
        let id = self.child().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for the end and collects output; a run past [`LIMIT`] is killed and fails the test.
    fn finish(mut self) -> Output {
        let deadline = Instant::now() + LIMIT;
        while self.child().try_wait().expect("our own child").is_none() {
            if deadline < Instant::now() {
                self.child().kill().expect("still there");
                let output = self.child.take().expect("not finished yet").wait_with_output();
                panic!("still running after {LIMIT:?}: {output:?}");
            }
            thread::sleep(Duration::from_millis(2));
        }
        let child = self.child.take().expect("not finished yet");
        child.wait_with_output().expect("its output")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ended_already = child.kill();
            let _reaped = child.wait();
        }
        let _leftover = fs::remove_dir_all(&self.folder);
    }
}

/// Code that takes interrupts at vectors 0x20 and 0x40 with `handler` and goes on with `main`, interrupts off.
///
/// Handlers end by `retf 4`, which leaves interrupts off: KVM's emulator, which runs such guests on some hosts, has no
/// `iret` in protected mode.
fn with_interrupts(main: &[u8], handler: &[u8]) -> Vec<u8> {
    let set_up: &[u8] = &[
        0x0f, 0x01, 0x15, 0x18, 0x04, 0x10, 0x00, // lgdt [0x100418]
        0x0f, 0x01, 0x1d, 0x20, 0x04, 0x10, 0x00, // lidt [0x100420]
        0xbc, 0x00, 0x00, 0x30, 0x00, // mov esp, 0x300000
        0xb8, 0x00, 0x03, 0x08, 0x00, // mov eax, 8 << 16 | 0x0300      selector, handler's low half
        0xbb, 0x00, 0x8e, 0x10, 0x00, // mov ebx, 0x10 << 16 | 0x8e00   handler's high half, 32-bit interrupt gate
        0xa3, 0x00, 0x81, 0x10, 0x00, // mov [0x108100], eax            vector 0x20 of the table at 0x108000
        0x89, 0x1d, 0x04, 0x81, 0x10, 0x00, // mov [0x108104], ebx
        0xa3, 0x00, 0x82, 0x10, 0x00, // mov [0x108200], eax            vector 0x40
        0x89, 0x1d, 0x04, 0x82, 0x10, 0x00, // mov [0x108204], ebx
        0xb0, 0xff, // mov al, 0xff
        0xe6, 0x21, // out 0x21, al     the PIC starts with nothing masked and vectors from 0
        0xe6, 0xa1, // out 0xa1, al
    ];
    let mut code = [set_up, main].concat();
    assert!(code.len() <= 0x300 && handler.len() <= 0x100);
    code.resize(0x300, 0xf4);
    code.extend(handler);
    code.resize(0x400, 0xf4);
    for descriptor in [0, 0x00cf_9a00_0000_ffff_u64, 0x00cf_9200_0000_ffff] {
        code.extend(descriptor.to_le_bytes()); // null, flat code, flat data
    }
    code.extend([0x17, 0, 0x00, 0x04, 0x10, 0, 0, 0]); // 0x100418: limit and base of the descriptors above
    code.extend([0xff, 0x07, 0x00, 0x80, 0x10, 0, 0, 0]); // 0x100420: limit and base of the interrupt table
    code
}

/// Code that sends bytes out of the serial port one by one.
fn send(bytes: &[u8]) -> Vec<u8> {
    let mut code = vec![0x66, 0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    for byte in bytes {
        code.extend([0xb0, *byte, 0xee]); // mov al, byte; out dx, al
    }
    code
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

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

fn long(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// An interrupt table of no entries, then an exception: the second and third fault have nowhere to go either.
const TRIPLE_FAULT: &[u8] = &[
    0x0f, 0x01, 0x1d, 0x00, 0x90, 0x10, 0x00, // lidt [0x109000]    zeros of the image
    0x0f, 0x0b, // ud2
];

/// PIC, IOAPIC and PIT are the VMM's.
const SPLIT: &str = "microvm,kernel-irqchip=split";

/// They are KVM's.
const ON: &str = "microvm,kernel-irqchip=on";

const LIMIT: Duration = Duration::from_secs(30);

/// The addresses that the machine code above spells out.
const _: () = assert!(LOAD_ADDRESS == 0x10_0000 && SEEN == 0x20_0000);
