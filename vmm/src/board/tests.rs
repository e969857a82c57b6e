use std::sync::Arc;

use super::config::{Blob, DeviceConfig, DiskConfig};
use super::profile::{MICROVM_2019, QEMU_7_2, RUST_VMM};
use super::*;
use crate::chip::fw_cfg::{Items, key};
use crate::virtio::blk::MemoryDisk;

fn board(config: &Config) -> Board {
    Board::new(config).expect("a good configuration").0
}

fn items(board: &Board) -> &Items {
    board.fw_cfg.as_ref().expect("this machine has fw_cfg").items()
}

fn u32_of(board: &Board, key: u16) -> u32 {
    let bytes = items(board).get(key).expect("the key is there");
    u32::from_le_bytes(bytes[..].try_into().expect("four bytes"))
}

fn names(board: &Board) -> Vec<(String, u16, usize)> {
    let files = items(board).all();
    let files = files
        .iter()
        .filter_map(|item| Some((item.file?.to_owned(), item.key, item.bytes.len())));
    files.collect()
}

fn named(files: &[(&str, u16, usize)]) -> Vec<(String, u16, usize)> {
    files
        .iter()
        .map(|&(name, key, length)| (name.to_owned(), key, length))
        .collect()
}

fn rng() -> DeviceConfig {
    DeviceConfig {
        kind: DeviceKind::Rng,
        transport: None,
    }
}

fn with_kernel() -> Config {
    Config {
        kernel: Some(Blob {
            name: "vmlinux".into(),
            bytes: crate::boot::kernel::tests_support::pvh_kernel(),
        }),
        append: "x".into(),
        devices: vec![rng()],
        ..Config::default()
    }
}

#[test]
fn files_without_kernel_are_the_measured_ones() {
    let seed = [
        ("bios-geometry", 0x20, 0),
        ("bootorder", 0x21, 0),
        ("etc/boot-fail-wait", 0x22, 4),
        ("etc/e820", 0x23, 20),
    ];
    assert_eq!(names(&board(&Config::default())), named(&seed));
    let later = [&seed[..], &[("etc/fdt", 0x24, 1 << 20)]].concat();
    assert_eq!(names(&board(&Config::new(&QEMU_7_2))), named(&later));
}

#[test]
fn legacy_e820_key_goes_with_the_profile() {
    assert_eq!(
        items(&board(&Config::default()))
            .get(key::E820_TABLE)
            .map(|table| table.len()),
        Some(324)
    );
    assert_eq!(items(&board(&Config::new(&QEMU_7_2))).get(key::E820_TABLE), None);
}

#[test]
fn cpu_counts_are_those_asked_for() {
    let config = Config {
        cpus: 5,
        cpus_max: 8,
        ..Config::default()
    };
    let board = board(&config);
    assert_eq!(
        items(&board).get(key::NB_CPUS).map(|bytes| bytes.to_vec()),
        Some(vec![5, 0])
    );
    assert_eq!(
        items(&board).get(key::MAX_CPUS).map(|bytes| bytes.to_vec()),
        Some(vec![8, 0])
    );
}

#[test]
fn pvh_kernel_comes_with_its_keys_and_option_rom() {
    let board = board(&with_kernel());
    assert_eq!(u32_of(&board, key::KERNEL_ENTRY), 0x10_0000);
    assert_eq!(u32_of(&board, key::KERNEL_ADDR), 0x10_0000);
    assert_eq!(u32_of(&board, key::KERNEL_SIZE), 0x1000);
    assert_eq!(u32_of(&board, key::SETUP_SIZE), 8192);
    let line = b"x virtio_mmio.device=512@0xc0000e00:12\0";
    assert_eq!(u32_of(&board, key::CMDLINE_SIZE), line.len() as u32);
    assert_eq!(
        items(&board).get(key::CMDLINE_DATA).map(|bytes| bytes.to_vec()),
        Some(line.to_vec())
    );
    for absent in [key::CMDLINE_ADDR, key::KERNEL_DATA, key::SETUP_ADDR, key::INITRD_ADDR] {
        assert_eq!(items(&board).get(absent), None, "{absent:#x}");
    }
    assert_eq!(
        items(&board).file("bootorder").map(|bytes| bytes.to_vec()),
        Some(b"/rom@genroms/pvh.bin\0".to_vec())
    );
    let rom = items(&board).file("genroms/pvh.bin").expect("offered");
    assert_eq!((rom.len(), &rom[..3]), (1536, &[0x55, 0xaa, 3][..]));
    assert_eq!(rom.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
}

#[test]
fn options_take_option_roms_and_command_line_entries_away() {
    let config = Config {
        x_option_roms: false,
        auto_kernel_cmdline: false,
        ..with_kernel()
    };
    let board = board(&config);
    assert_eq!(board.command_line.as_deref(), Some("x"));
    assert_eq!(items(&board).file("genroms/pvh.bin"), None);
    assert_eq!(items(&board).file("bootorder").map(|bytes| bytes.len()), Some(0));
    assert_eq!(u32_of(&board, key::KERNEL_ENTRY), 0x10_0000, "the loader's keys stay");
}

#[test]
fn users_option_rom_takes_the_place_of_the_loaders() {
    let rom = |name: &str| Blob {
        name: name.into(),
        bytes: Arc::from(*b"rom"),
    };
    let config = Config {
        option_roms: vec![rom("dir/pvh.bin"), rom("dir/net.rom")],
        ..with_kernel()
    };
    let board = board(&config);
    assert_eq!(items(&board).file("genroms/pvh.bin").map(|bytes| bytes.len()), Some(3));
    assert_eq!(items(&board).file("genroms/net.rom").map(|bytes| bytes.len()), Some(3));
}

#[test]
fn firmware_changes_nothing_but_memory() {
    let with = Config {
        bios: Some(rom_file(128 << 10)),
        ..with_kernel()
    };
    let facts = |config: &Config| {
        let board = board(config);
        let table = items(&board).file("etc/e820").map(|bytes| bytes.to_vec());
        (table, cmos::presets(&board.ram), u32_of(&board, key::KERNEL_ENTRY))
    };
    assert_eq!(facts(&with), facts(&with_kernel()));
    let (_, _, memory) = Board::new(&with).expect("a good configuration");
    let ram = 128 << 20;
    assert_eq!(
        memory.ranges(),
        [
            (0, 0xe_0000),
            (0xe_0000, 0x2_0000),
            (0x10_0000, ram - 0x10_0000),
            (0xfffe_0000, 0x2_0000)
        ]
    );
}

#[test]
fn firmware_that_cannot_be_mapped_is_refused() {
    let error = |bytes| {
        let config = Config {
            bios: Some(rom_file(bytes)),
            ..Config::default()
        };
        Board::new(&config).err().expect("refused").to_string()
    };
    assert_eq!(
        error(1000),
        "--bios 'rom': could not load PC BIOS: 1000 bytes are not a multiple of 64 KiB, as a firmware's size must be"
    );
    assert!(error(0).contains("the file is empty"));
    assert!(error(17 << 20).contains("are too many"));
}

fn rom_file(bytes: usize) -> Blob {
    Blob {
        name: "rom".into(),
        bytes: vec![0x90; bytes].into(),
    }
}

#[test]
fn configurations_the_machine_cannot_be_are_refused() {
    let error = |config: Config| Board::new(&config).err().expect("refused").to_string();
    let smp = |cpus, cpus_max| Config {
        cpus,
        cpus_max,
        ..Config::default()
    };
    assert!(error(smp(289, 289)).contains("Invalid SMP CPUs 289. The max CPUs supported by machine 'microvm' is 288"));
    assert!(error(smp(2, 1)).contains("maxcpus must be equal to or greater"));
    assert!(Board::new(&smp(288, 288)).is_ok());
    let file = |name: &str| Config {
        fw_cfg_files: vec![(name.into(), Vec::new())],
        ..Config::default()
    };
    assert!(error(file("etc/e820")).contains("duplicate fw_cfg file name: etc/e820"));
    assert!(error(file(&"x".repeat(56))).contains("is too long (max. 55 char)"));
    let port = Config {
        debug_exit: Some(0x511),
        ..Config::default()
    };
    assert!(error(port).contains("overlaps"));
    let too_small = Config {
        ram_bytes: 1 << 20,
        ..with_kernel()
    };
    assert!(error(too_small).contains("does not lie in RAM"));
}

#[test]
fn foreign_file_name_draws_a_warning() {
    let config = Config {
        fw_cfg_files: vec![("etc/mine".into(), Vec::new())],
        ..Config::default()
    };
    assert_eq!(board(&config).warnings.len(), 1);
}

#[test]
fn profile_without_a_part_refuses_what_is_for_it() {
    let error = |config: Config| Board::new(&config).err().expect("refused").to_string();
    let firecracker = || Config::new(&RUST_VMM);
    assert!(Board::new(&firecracker()).is_ok());
    assert!(
        error(Config {
            bios: Some(rom_file(128 << 10)),
            ..firecracker()
        })
        .contains("has no firmware; give --kernel FILE instead")
    );
    assert!(
        error(Config {
            rtc: OnOffAuto::On,
            ..firecracker()
        })
        .contains("has no RTC")
    );
    assert!(
        error(Config {
            virtio_modern: false,
            ..firecracker()
        })
        .contains("version 2 only")
    );
    assert!(
        error(Config {
            fw_cfg_files: vec![("opt/x".into(), Vec::new())],
            ..firecracker()
        })
        .contains("has no fw_cfg")
    );
}

#[test]
fn parts_are_the_profiles() {
    let config = Config {
        profile: &RUST_VMM,
        virtio_modern: true,
        ..with_kernel()
    };
    let board = board(&config);
    assert!(board.fw_cfg.is_none() && board.rtc.is_none() && board.i8042.is_some());
    assert_eq!(
        board.command_line.as_deref(),
        Some("x virtio_mmio.device=4K@0xd0000000:5")
    );
    assert_eq!((board.transports.len(), board.gsi(Slot::VirtioMmio(0))), (1, Some(5)));
    let seed = self::board(&Config::default());
    assert!(seed.fw_cfg.is_some() && seed.rtc.is_some() && seed.i8042.is_none());
    let large = Config {
        ram_bytes: 4 << 30,
        ..Config::new(&RUST_VMM)
    };
    assert_eq!(
        self::board(&large).ram.ranges(),
        [(0, 0xd000_0000), (1 << 32, 0x3000_0000)],
        "768 MiB below 4 GiB are left out"
    );
}

#[test]
fn block_device_has_the_queue_size_of_its_profile() {
    for (profile, seg_max) in [(&MICROVM_2019, 0x7e), (&QEMU_7_2, 0xfe)] {
        let disk = DiskConfig {
            name: "disk".into(),
            read_only: true,
            open: Arc::new(|| Box::new(MemoryDisk::new(vec![0; 512]))),
        };
        let device = DeviceConfig {
            kind: DeviceKind::Blk(disk),
            transport: Some(3),
        };
        let config = Config {
            devices: vec![device],
            ..Config::new(profile)
        };
        let board = board(&config);
        let blk = board.transports[3].backend().expect("there it is");
        assert_eq!((blk.name(), blk.queue_sizes()), ("blk", &[seg_max + 2][..]));
        assert_eq!(blk.config()[12..16], u32::from(seg_max).to_le_bytes());
    }
}
