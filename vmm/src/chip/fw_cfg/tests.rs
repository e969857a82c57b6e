use super::*;
use crate::device::Event;
use crate::device::laws::check_laws;
use crate::irq::Lines;
use crate::units::Nanos;

const RAM_END: u64 = 0x10_0000;

struct Bench {
    fw_cfg: FwCfg,
    memory: Memory,
    lines: Lines,
    events: Vec<Event>,
}

impl Bench {
    fn new() -> Bench {
        let mut items = Items::new();
        items.set(key::SIGNATURE, *b"QEMU");
        items.set(key::IRQ0_OVERRIDE, 1_u32.to_le_bytes());
        items.add_file("opt/b", *b"second").expect("room");
        items.add_file("opt/a", *b"first").expect("room");
        items.add_file("bootorder", []).expect("room");
        Bench {
            fw_cfg: FwCfg::new(items),
            memory: Memory::new(&[(0, RAM_END), (1 << 32, 0x1000)]).expect("1 MiB fits"),
            lines: Lines::default(),
            events: Vec::new(),
        }
    }

    fn call<R>(&mut self, f: impl FnOnce(&mut FwCfg, &mut Ctx<'_>) -> R) -> R {
        let mut ctx = Ctx {
            now: Nanos(0),
            lines: &mut self.lines,
            memory: &self.memory,
            events: &mut self.events,
        };
        f(&mut self.fw_cfg, &mut ctx)
    }

    fn read(&mut self, region: usize, offset: u64, width: Width) -> u64 {
        self.call(|fw_cfg, ctx| fw_cfg.read(Access { region, offset, width }, ctx))
    }

    fn write(&mut self, region: usize, offset: u64, width: Width, value: u64) {
        self.call(|fw_cfg, ctx| fw_cfg.write(Access { region, offset, width }, value, ctx));
    }

    fn select(&mut self, key: u16) {
        self.write(REGION_SELECTOR, 0, Width::Word, u64::from(key));
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| self.read(REGION_SELECTOR, 1, Width::Byte) as u8)
            .collect()
    }

    /// Runs a descriptor placed at `at`; answers the control word afterwards.
    fn transfer_at(&mut self, at: u64, control: u32, length: u32, address: u64) -> u32 {
        let mut descriptor = control.to_be_bytes().to_vec();
        descriptor.extend(length.to_be_bytes());
        descriptor.extend(address.to_be_bytes());
        let _may_straddle = self.memory.write(at, &descriptor);
        self.write(REGION_DMA, 0, Width::Dword, u64::from(((at >> 32) as u32).swap_bytes()));
        self.write(REGION_DMA, 4, Width::Dword, u64::from((at as u32).swap_bytes()));
        let mut word = [0; 4];
        let _may_straddle = self.memory.read(at, &mut word);
        u32::from_be_bytes(word)
    }

    fn transfer(&mut self, control: u32, length: u32, address: u64) -> u32 {
        self.transfer_at(0x1001, control, length, address)
    }

    fn ram(&self, gpa: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.memory.read(gpa, &mut bytes).expect("RAM");
        bytes
    }
}

fn selecting(key: u16) -> u32 {
    dma::SELECT | u32::from(key) << 16
}

#[test]
fn data_is_read_byte_by_byte_from_either_port_and_zero_past_the_end() {
    let mut bench = Bench::new();
    assert_eq!(bench.read(REGION_SELECTOR, 0, Width::Byte), u64::from(b'Q'));
    assert_eq!(bench.bytes(5), *b"EMU\0\0");
    bench.select(key::SIGNATURE);
    assert_eq!(bench.bytes(1), *b"Q");
}

#[test]
fn wide_reads_are_rejected_and_wide_or_byte_writes_ignored() {
    let mut bench = Bench::new();
    assert_eq!(bench.read(REGION_SELECTOR, 0, Width::Word), 0);
    assert_eq!(bench.read(REGION_SELECTOR, 0, Width::Dword), 0);
    bench.write(REGION_SELECTOR, 0, Width::Dword, 0x8002);
    bench.write(REGION_SELECTOR, 0, Width::Byte, 0x19);
    bench.write(REGION_SELECTOR, 1, Width::Byte, 0x19);
    assert_eq!(bench.bytes(4), *b"QEMU", "nothing moved");
}

#[test]
fn selector_ignores_bit_14_and_knows_nothing_past_the_files() {
    let mut bench = Bench::new();
    for (key, want) in [
        (0x4000, b'Q'),
        (0xc002, 1),
        (0x8002, 1),
        (0x0040, 0),
        (0x8000, 0),
        (0xffff, 0),
        (0x8019, 0),
        (0x8021, 0),
        (0x21, b'f'),
        (0x4022, b's'),
        (0x20, 0),
        (0x3f, 0),
    ] {
        bench.select(key);
        assert_eq!(bench.bytes(1), [want], "key {key:#x}");
    }
}

#[test]
fn directory_is_sorted_and_always_full_size() {
    let mut bench = Bench::new();
    bench.select(key::FILE_DIR);
    let directory = bench.bytes(DIRECTORY_BYTES + 1);
    assert_eq!(directory[..4], [0, 0, 0, 3]);
    let entry = |index: usize| &directory[4 + 64 * index..][..64];
    assert_eq!(entry(0)[..18], *b"\0\0\0\0\0\x20\0\0bootorder\0");
    assert_eq!(entry(1)[..14], *b"\0\0\0\x05\0\x21\0\0opt/a\0");
    assert_eq!(entry(2)[..14], *b"\0\0\0\x06\0\x22\0\0opt/b\0");
    assert!(directory[4 + 3 * 64..].iter().all(|&byte| byte == 0));
    assert_eq!(bench.fw_cfg.items().directory().len(), 2052);
}

#[test]
fn files_that_do_not_fit_the_directory_are_refused() {
    let mut items = Items::new();
    let long = "x".repeat(56);
    assert_eq!(items.add_file(&long, []), Err(FileError::NameTooLong(long.clone())));
    assert_eq!(items.add_file(&long[1..], []), Ok(()));
    assert_eq!(items.add_file("a\0b", []), Err(FileError::NameInvalid("a\0b".into())));
    assert_eq!(
        items.add_file(&long[1..], []),
        Err(FileError::Duplicate(long[1..].into()))
    );
    for index in 1..FILE_COUNT_MAX {
        assert_eq!(items.add_file(&format!("opt/{index}"), []), Ok(()));
    }
    assert_eq!(items.add_file("opt/33", []), Err(FileError::TooMany("opt/33".into())));
}

#[test]
fn dma_register_reads_its_signature_at_any_width() {
    let mut bench = Bench::new();
    assert_eq!(bench.read(REGION_DMA, 0, Width::Dword), 0x554d_4551);
    assert_eq!(bench.read(REGION_DMA, 4, Width::Dword), 0x4746_4320);
    assert_eq!(bench.read(REGION_DMA, 6, Width::Word), 0x4746);
    assert_eq!(bench.read(REGION_DMA, 4, Width::Byte), u64::from(b' '));
}

#[test]
fn dma_read_copies_then_fills_with_zeros_and_keeps_its_place() {
    let mut bench = Bench::new();
    bench.memory.write(0x2000, &[0xaa; 16]).expect("RAM");
    assert_eq!(bench.transfer(selecting(0x21) | dma::READ, 2, 0x2000), 0);
    assert_eq!(bench.ram(0x2000, 3), *b"fi\xaa");
    assert_eq!(bench.transfer(dma::READ | dma::WRITE, 5, 0x2000), 0, "READ wins");
    assert_eq!(bench.ram(0x2000, 6), *b"rst\0\0\xaa");
    assert_eq!(bench.ram(0x1001, 4), [0; 4], "only the control word is written back");
    assert_eq!(bench.ram(0x1005, 4), 5_u32.to_be_bytes());
}

#[test]
fn dma_skip_select_and_nothing_succeed() {
    let mut bench = Bench::new();
    assert_eq!(bench.transfer(selecting(0x22), 9, 0x2000), 0);
    assert_eq!(bench.transfer(dma::SKIP, 3, u64::MAX), 0);
    assert_eq!(bench.bytes(1), *b"o");
    assert_eq!(
        bench.transfer(dma::ERROR, 2, 0x2000),
        0,
        "an ERROR bit without operation is cleared"
    );
    assert_eq!(bench.bytes(1), *b"n");
    assert_eq!(bench.transfer(dma::SKIP, u32::MAX, 0), 0);
    assert_eq!(bench.bytes(1), *b"\0");
}

#[test]
fn dma_write_fails_unless_it_writes_nothing() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.transfer(selecting(0x21) | dma::WRITE | dma::SKIP, 2, 0x2000),
        dma::ERROR
    );
    assert_eq!(bench.bytes(1), *b"r", "the offset has moved all the same");
    assert_eq!(bench.transfer(dma::WRITE, 0, 0x2000), 0);
    assert_eq!(bench.transfer(selecting(0xffff) | dma::WRITE, 1, 0x2000), dma::ERROR);
}

#[test]
fn dma_read_outside_ram_fails_and_does_the_part_in_ram() {
    let mut bench = Bench::new();
    assert_eq!(bench.transfer(selecting(0x21) | dma::READ, 3, 0x9000_0000), dma::ERROR);
    assert_eq!(bench.bytes(1), *b"s", "the offset has moved all the same");
    assert_eq!(bench.transfer(selecting(0x21) | dma::READ, 5, RAM_END - 2), dma::ERROR);
    assert_eq!(bench.ram(RAM_END - 2, 2), *b"fi");
    bench.memory.write(1 << 32, &[0xaa; 4]).expect("RAM");
    assert_eq!(
        bench.transfer(selecting(0xffff) | dma::READ, 4, (1 << 32) - 2),
        dma::ERROR
    );
    assert_eq!(bench.ram(1 << 32, 3), [0, 0, 0xaa], "RAM behind the hole is reached");
    bench.memory.write(0, &[0xaa; 4]).expect("RAM");
    assert_eq!(bench.transfer(selecting(0xffff) | dma::READ, 3, u64::MAX), dma::ERROR);
    assert_eq!(bench.ram(0, 3), [0, 0, 0xaa], "the address wraps");
}

#[test]
fn dma_of_four_gigabytes_ends() {
    let mut bench = Bench::new();
    bench.memory.write(0x8_0000, &[0xaa; 4]).expect("RAM");
    assert_eq!(
        bench.transfer(selecting(0xffff) | dma::READ, u32::MAX, 0x4000),
        dma::ERROR
    );
    assert_eq!(bench.ram(0x8_0000, 4), [0; 4]);
}

#[test]
fn dma_descriptor_outside_ram_reports_where_it_can() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.transfer_at(RAM_END - 8, selecting(0x21) | dma::READ, 1, 0x2000),
        dma::ERROR
    );
    assert_eq!(bench.ram(0x2000, 1), [0], "nothing was read");
    bench.transfer_at(0x9000_0000, selecting(0x21) | dma::READ, 1, 0x2000);
    assert_eq!(bench.ram(0x2000, 1), [0], "nothing was read");
    bench.transfer_at(u64::MAX - 1, selecting(0x21) | dma::READ, 1, 0x2000);
    assert_eq!(bench.ram(0x2000, 1), [0], "nothing was read");
}

#[test]
fn dma_high_half_is_used_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.transfer_at(1 << 32, selecting(0x21) | dma::READ, 5, 0x2000), 0);
    assert_eq!(bench.ram(0x2000, 5), *b"first");
    let mut descriptor = (selecting(0x22) | dma::READ).to_be_bytes().to_vec();
    descriptor.extend([0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0x20, 0]);
    bench.memory.write(0x3000, &descriptor).expect("RAM");
    bench.write(REGION_DMA, 4, Width::Dword, u64::from(0x3000_u32.swap_bytes()));
    assert_eq!(bench.ram(0x2000, 6), *b"second");
}

#[test]
fn laws_hold() {
    check_laws(|| Bench::new().fw_cfg);
}

#[test]
fn reset_returns_to_the_signature() {
    let mut bench = Bench::new();
    bench.select(0x21);
    bench.bytes(2);
    bench.call(|fw_cfg, ctx| fw_cfg.reset(ctx));
    assert_eq!(bench.bytes(4), *b"QEMU");
    bench.call(|fw_cfg, ctx| fw_cfg.reset(ctx));
    assert_eq!(bench.fw_cfg.state, Bench::new().fw_cfg.state);
}

#[test]
fn items_are_listed_by_key() {
    let bench = Bench::new();
    let keys: Vec<u16> = bench.fw_cfg.items().all().iter().map(|item| item.key).collect();
    assert_eq!(keys, [key::SIGNATURE, 0x20, 0x21, 0x22, key::IRQ0_OVERRIDE]);
    assert_eq!(
        bench.fw_cfg.items().file("opt/b").map(|bytes| &bytes[..]),
        Some(&b"second"[..])
    );
}
