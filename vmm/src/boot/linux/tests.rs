use std::sync::Arc;

use rstest::rstest;

use super::super::direct::{self, Payload};
use super::super::kernel::{self, tests_support};
use super::*;

const RAM_BYTES: u64 = 64 << 20;

/// A 64-bit bzImage of 4 KiB that prefers 16 MiB and takes 1 MiB there.
fn image() -> Vec<u8> {
    let mut file = tests_support::bz_image(0x20f, LOADED_HIGH, XLF_KERNEL_64 as u8).to_vec();
    file.resize(5 * 512 + 4096, 0x90);
    put(&mut file, 0x201, &[0x6a]);
    put(&mut file, SYSSIZE, &256_u32.to_le_bytes());
    put(&mut file, INITRD_ADDR_MAX, &0x7fff_ffff_u32.to_le_bytes());
    put(&mut file, KERNEL_ALIGNMENT, &0x20_0000_u32.to_le_bytes());
    put(&mut file, RELOCATABLE, &[1]);
    put(&mut file, CMDLINE_SIZE, &2047_u32.to_le_bytes());
    put(&mut file, PREF_ADDRESS, &0x100_0000_u64.to_le_bytes());
    put(&mut file, INIT_SIZE, &0x10_0000_u32.to_le_bytes());
    file
}

fn image_with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = image();
    put(&mut file, at, bytes);
    file
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Boots an image on a machine of [`RAM_BYTES`].
fn boot(file: &[u8], initrd: Option<&[u8]>, command_line: &str) -> Result<(Memory, direct::Entry), BootError> {
    let memory = Memory::new(&[(0, RAM_BYTES)]).expect("64 MiB fit");
    let file: Arc<[u8]> = file.into();
    let kernel = kernel::Kernel::new(&file, None, "", RAM_BYTES).expect("a bzImage");
    let ram = e820::Entry {
        address: 0,
        length_bytes: RAM_BYTES,
        kind: e820::RAM,
    };
    let payload = Payload {
        kernel: &kernel,
        initrd,
        command_line: command_line.as_bytes(),
        cpus: 1,
        e820: &[ram],
    };
    let entry = direct::load(&memory, &payload)?;
    Ok((memory, entry))
}

fn read<const N: usize>(memory: &Memory, address: u64) -> [u8; N] {
    let mut bytes = [0; N];
    memory.read(address, &mut bytes).expect("RAM");
    bytes
}

fn u32_at(memory: &Memory, address: u64) -> u32 {
    u32::from_le_bytes(read(memory, address))
}

fn u64_at(memory: &Memory, address: u64) -> u64 {
    u64::from_le_bytes(read(memory, address))
}

#[test]
fn zero_page_has_header_memory_map_command_line_and_initrd() {
    let (memory, entry) = boot(&image(), Some(&[0xa5; 5000]), "a=b").expect("a good image");
    let direct::Entry::Linux64(entry) = entry else {
        panic!("{entry:?}");
    };
    assert_eq!(entry.rip, 0x100_0200);
    let page = entry.zero_page;
    assert_eq!(read(&memory, page + 0x202), *b"HdrS");
    assert_eq!(read(&memory, page + 0x210), [0xff], "type_of_loader");
    assert_eq!(
        read(&memory, page + 0x1ef),
        [0],
        "the sentinel says that the page was cleared"
    );
    let command_line = u64::from(u32_at(&memory, page + 0x228));
    assert_eq!(read(&memory, command_line), *b"a=b\0");
    let (initrd, initrd_bytes) = (u32_at(&memory, page + 0x218), u32_at(&memory, page + 0x21c));
    assert_eq!((initrd, initrd_bytes), (0x3ff_e000, 5000));
    assert_eq!(read(&memory, u64::from(initrd) + 4999), [0xa5]);
    assert_eq!(read(&memory, page + 0x1e8), [3], "entries of the memory map");
    let entry = |index| {
        let at = page + 0x2d0 + 20 * index;
        (u64_at(&memory, at), u64_at(&memory, at + 8), u32_at(&memory, at + 16))
    };
    assert_eq!(
        [0_u64, 1, 2, 3].map(entry),
        [
            (0, 0x9_fc00, 1),
            (0x9_fc00, 0x6_0400, 2),
            (0x10_0000, 0x3f0_0000, 1),
            (0, 0, 0)
        ]
    );
    assert_eq!(read(&memory, 0x9_fc00), *b"_MP_");
}

#[test]
fn page_tables_map_4_gib_to_themselves() {
    let (memory, entry) = boot(&image(), None, "").expect("a good image");
    let direct::Entry::Linux64(entry) = entry else {
        panic!("{entry:?}");
    };
    for address in [
        0,
        0x7000,
        0x100_0200,
        0x3fff_ffff,
        0x4000_0000,
        0xfee0_0030,
        0xffff_ffff_u64,
    ] {
        let index = |shift: u64| 8 * (address >> shift & 0x1ff);
        let fourth = u64_at(&memory, entry.page_tables + index(39));
        let third = u64_at(&memory, (fourth & !0xfff) + index(30));
        let second = u64_at(&memory, (third & !0xfff) + index(21));
        assert!(
            [fourth, third, second].iter().all(|entry| entry & 3 == 3),
            "{address:#x}"
        );
        assert_eq!(second, address & !0x1f_ffff | 0x83, "{address:#x}");
    }
    assert_eq!(u64_at(&memory, entry.page_tables + 8), 0);
    let code = u64_at(&memory, entry.descriptors + u64::from(entry.code_selector));
    assert_eq!(code >> 53 & 1, 1, "64-bit");
}

#[rstest]
#[case::relocatable(1, 0x110_0000, 0x120_0000)]
#[case::fixed(0, 0x110_0000, 0x110_0000)]
#[case::aligned(1, 0x120_0000, 0x120_0000)]
fn kernel_lies_where_its_header_wants_it(#[case] relocatable: u8, #[case] preferred: u64, #[case] start: u64) {
    let mut file = image_with(RELOCATABLE, &[relocatable]);
    put(&mut file, PREF_ADDRESS, &preferred.to_le_bytes());
    let kernel = Kernel::parse(&file).expect("a good image");
    assert_eq!(kernel.memory(), start..start + 0x10_0000);
}

#[rstest]
#[case::old(image_with(0x206, &[0x0b, 0x02]), "boot protocol 2.11 is older than 2.12")]
#[case::low(image_with(0x211, &[0]), "a zImage is loaded low")]
#[case::bits_32(image_with(0x236, &[0]), "a 32-bit kernel (XLF_KERNEL_64 is clear)")]
#[case::short(image()[..5 * 512 + 4000].to_vec(), "4000 bytes of the kernel, its header announces 4096")]
#[case::no_entry(image_with(SYSSIZE, &[0; 4])[..5 * 512 + 512].to_vec(), "the file ends after 512 bytes")]
#[case::alignment(image_with(KERNEL_ALIGNMENT, &[3]), "kernel_alignment 0x200003 is not a power of two")]
#[case::alignment_none(image_with(KERNEL_ALIGNMENT, &[0; 4]), "kernel_alignment 0x0 is not a power of two")]
#[case::place_low(image_with(PREF_ADDRESS, &[0; 8]), "pref_address 0x0 does not lie between 1 MiB and 4 GiB")]
#[case::place_high(image_with(PREF_ADDRESS, &[0xff; 8]), "pref_address 0xffffffffffffffff does not lie")]
#[case::ram(image_with(INIT_SIZE, &0x300_0001_u32.to_le_bytes()), "to 0x4000001, RAM below 4 GiB ends at 0x4000000")]
#[case::header_cut(image_with(0x201, &[0]), "boot protocol 0.00 is older than 2.12")]
fn what_cannot_start_at_its_64_bit_entry_says_why(#[case] file: Vec<u8>, #[case] part: &str) {
    let error = boot(&file, None, "").expect_err("refused").to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn command_line_and_initrd_have_limits() {
    let error = |initrd: Option<&[u8]>, line: &str| boot(&image(), initrd, line).expect_err("refused").to_string();
    assert!(boot(&image(), None, &"x".repeat(2047)).is_ok());
    let text = error(None, &"x".repeat(2048));
    assert!(
        text.contains("2048 bytes, at most 2047 fit; shorten --append"),
        "{text}"
    );
    let text = error(Some(&vec![0; 64 << 20]), "");
    assert!(
        text.contains("do not fit between 1 MiB and 0x4000000; give more RAM"),
        "{text}"
    );
    // 47 MiB would begin inside the kernel's 1 MiB from 16 MiB on, 60 MiB below it.
    for mib in [47, 48] {
        let text = error(Some(&vec![0; mib << 20]), "");
        assert!(
            text.contains("its initrd and the kernel both need memory at 0x1"),
            "{text}"
        );
    }
    let low = image_with(INITRD_ADDR_MAX, &0xff_ffff_u32.to_le_bytes());
    let (memory, _) = boot(&low, Some(&[0; 5000]), "").expect("a good image");
    assert_eq!(
        u32_at(&memory, ZERO_PAGE + 0x218),
        0xff_e000,
        "below the header's limit"
    );
}

#[test]
fn every_truncation_and_every_broken_byte_is_an_answer() {
    let good = image();
    // Less than the last paragraph may be missing.
    for length in (0..good.len() - 15).step_by(7) {
        let file: Arc<[u8]> = good[..length].into();
        assert!(
            kernel::Kernel::new(&file, None, "", RAM_BYTES).is_err() || Kernel::parse(&file).is_err(),
            "cut to {length} bytes"
        );
    }
    for at in HEADER_AT..0x270 {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let _either_way = Kernel::parse(&image_with(at, &[value])).map(|kernel| kernel.check_fits(RAM_BYTES));
        }
    }
}

const SYSSIZE: usize = 0x1f4;
const INITRD_ADDR_MAX: usize = 0x22c;
const KERNEL_ALIGNMENT: usize = 0x230;
const RELOCATABLE: usize = 0x234;
const CMDLINE_SIZE: usize = 0x238;
const PREF_ADDRESS: usize = 0x258;
const INIT_SIZE: usize = 0x260;
