use super::tests_support::{bz_image, pvh_kernel};
use super::*;

const BELOW_4G: u64 = 128 << 20;

fn key_of(kernel: &Kernel, wanted: u16) -> Option<u32> {
    let (_, bytes) = kernel.keys.iter().find(|(key, _)| *key == wanted)?;
    Some(u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")))
}

fn data_of(kernel: &Kernel, wanted: u16) -> &[u8] {
    &kernel
        .keys
        .iter()
        .find(|(key, _)| *key == wanted)
        .expect("the key is there")
        .1
}

fn initrd(length: usize) -> Arc<[u8]> {
    vec![0x5a; length].into()
}

#[test]
fn initrd_of_a_pvh_kernel_ends_below_the_last_byte_of_low_ram() {
    let initrd = initrd(5000);
    let kernel = Kernel::new(&pvh_kernel(), Some(&initrd), "", BELOW_4G).expect("fits");
    assert_eq!(key_of(&kernel, key::INITRD_ADDR), Some(0x7ff_e000));
    assert_eq!(key_of(&kernel, key::INITRD_SIZE), Some(5000));
    let error = Kernel::new(&pvh_kernel(), Some(&initrd), "", 4096).expect_err("too large");
    assert!(
        error
            .to_string()
            .contains("initrd is too large, cannot support.(max: 4095, need 5000)"),
        "{error}"
    );
}

#[test]
fn elf_of_32_bits_and_a_foreign_note_owner_are_handed_over() {
    let mut file = pvh_kernel().to_vec();
    let owner = file.windows(4).position(|bytes| bytes == b"Xen\0").expect("a note");
    file[owner..owner + 4].copy_from_slice(b"Foo\0");
    assert!(Kernel::new(&file.into(), None, "", BELOW_4G).is_ok());
    assert!(Kernel::new(&tests_support::pvh_kernel_32(), None, "", BELOW_4G).is_ok());
}

/// The addresses measured for each age of the boot protocol, with a command line of 5 bytes.
#[test]
fn bz_image_addresses_follow_the_protocol() {
    for (protocol, loadflags, want) in [
        (0x20c, 1, (0x1_0000, 0x2_0000, 0x10_0000)),
        (0x202, 1, (0x1_0000, 0x2_0000, 0x10_0000)),
        (0x201, 1, (0x9_0000, 0x9_9ff0, 0x10_0000)),
        (0x200, 0, (0x9_0000, 0x9_9ff0, 0x1_0000)),
        (0x20c, 0, (0x9_0000, 0x9_9ff0, 0x1_0000)),
    ] {
        let kernel = Kernel::new(&bz_image(protocol, loadflags, 0), None, "hello", BELOW_4G).expect("a good image");
        let got = [key::SETUP_ADDR, key::CMDLINE_ADDR, key::KERNEL_ADDR].map(|key| key_of(&kernel, key));
        assert_eq!(
            got,
            [Some(want.0), Some(want.1), Some(want.2)],
            "protocol {protocol:#x} flags {loadflags}"
        );
        assert_eq!(key_of(&kernel, key::SETUP_SIZE), Some(2560));
        assert_eq!(key_of(&kernel, key::KERNEL_SIZE), Some(1000));
    }
}

#[test]
fn bz_image_header_is_patched() {
    let initrd = initrd(10000);
    let mut file = bz_image(0x20c, 1, 0).to_vec();
    file[header::HEAP_END_PTR + 2] = 0x5a;
    let kernel = Kernel::new(&file.into(), Some(&initrd), "vga=ask", BELOW_4G).expect("a good image");
    let setup = data_of(&kernel, key::SETUP_DATA);
    assert_eq!(setup[header::TYPE_OF_LOADER], 0xb0);
    assert_eq!(setup[header::LOADFLAGS], 0x81);
    assert_eq!(u32_at(setup, header::HEAP_END_PTR), 0x5a_fe00, "ext_loader_ver is kept");
    assert_eq!(u32_at(setup, header::CMD_LINE_PTR), 0x2_0000);
    assert_eq!(u16_at(setup, header::VID_MODE), 0xfffd);
    assert_eq!(u32_at(setup, header::RAMDISK_IMAGE), 0x7ff_d000);
    assert_eq!(u32_at(setup, header::RAMDISK_SIZE), 10000);
    assert_eq!(data_of(&kernel, key::INITRD_DATA).len(), 10000);
}

#[test]
fn initrd_of_a_bz_image_honours_the_headers_limit() {
    let initrd = initrd(10000);
    let address = |xloadflags| {
        let kernel = Kernel::new(&bz_image(0x20c, 1, xloadflags), Some(&initrd), "", 2 << 30).expect("a good image");
        key_of(&kernel, key::INITRD_ADDR)
    };
    assert_eq!(address(CAN_BE_LOADED_ABOVE_4G), Some(0x7fff_d000));
    assert_eq!(address(0), Some(0x37ff_d000));
}

#[test]
fn bad_images_say_why() {
    let error = |file: &[u8], append: &str| {
        Kernel::new(&file.into(), None, append, BELOW_4G)
            .expect_err("bad")
            .to_string()
    };
    assert!(error(b"", "").starts_with("invalid kernel header"));
    assert!(error(&[0; 4096], "").starts_with("invalid kernel header"));
    assert!(error(&bz_image(0x20c, 1, 0)[..0x300], "").contains("the setup part has 2560 bytes, the file 768"));
    assert!(error(&bz_image(0x20c, 1, 0), "vga=8x6").contains("vga=8x6"));
    assert!(error(&bz_image(0x200, 1, 0), &"x".repeat(0x1_0000)).contains("too long"));
    assert_eq!(
        error(&tests_support::elf_64_without_note(), ""),
        ElfError::NoPvhNote.to_string()
    );
}
