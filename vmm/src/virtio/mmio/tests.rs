use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::device::laws::check_laws;
use crate::virtio::Features;
use crate::virtio::driver::{Bench, NEXT, Ring, WRITE, ram};
use crate::virtio::rng::{Rng, Xorshift};

/// A device with a configuration space and two queues, whose requests it keeps or answers as told.
#[derive(Default)]
struct Probe {
    config: Vec<u8>,
    keep: Arc<AtomicBool>,
    kept: Vec<crate::virtio::queue::Chain>,
    grow_config: bool,
}

impl VirtioDevice for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn device_id(&self) -> u32 {
        42
    }

    fn features(&self) -> Features {
        Features {
            legacy: 0x3900_0001,
            modern: 0x1_3000_0001,
        }
    }

    fn queue_sizes(&self) -> &[u16] {
        &[8, 16]
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn config_write(&mut self, offset: usize, data: &[u8]) {
        self.config[offset..offset + data.len()].copy_from_slice(data);
    }

    fn process(&mut self, index: u16, queues: &mut Queues<'_>) -> Result<(), Broken> {
        while let Some(chain) = queues.pop(index)? {
            if self.keep.load(Ordering::Relaxed) {
                self.kept.push(chain);
            } else {
                queues.complete(chain, 0)?;
            }
        }
        if !self.keep.load(Ordering::Relaxed) {
            for chain in self.kept.drain(..) {
                queues.complete(chain, 0)?;
            }
        }
        if self.grow_config {
            queues.config_changed();
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.kept.clear();
    }

    fn inspect(&self, out: &mut Inspector) {
        out.text("kept", self.kept.len());
    }
}

fn rng(modern: bool) -> Bench {
    Bench::new(modern, Some(Box::new(Rng::new(Box::new(Xorshift::new(1))))))
}

fn probe(modern: bool, probe: Probe) -> Bench {
    Bench::new(modern, Some(Box::new(probe)))
}

fn empty(modern: bool) -> Bench {
    Bench::new(modern, None)
}

const FEATURES: u64 = 0x1_3000_0000;

/// Queue 0 with one writable buffer of 16 bytes at 0x2000 as its first request.
fn ring_with_request(bench: &Bench) -> Ring {
    let ring = Ring::at(0x1_0000, 8);
    ring.describe(&bench.memory, 0, 0x2000, 16, WRITE, 0);
    ring.offer(&bench.memory, 0, 0);
    ring
}

#[test]
fn identity_of_both_versions() {
    for (modern, version) in [(false, 1), (true, 2)] {
        let mut bench = rng(modern);
        let identity: Vec<u32> = (0..4).map(|index| bench.read(4 * index)).collect();
        assert_eq!(identity, [0x7472_6976, version, 4, 0x554d_4551]);
    }
}

#[test]
fn empty_slot_answers_identity_and_zero() {
    for (modern, version) in [(false, 1), (true, 2)] {
        let mut bench = empty(modern);
        for offset in (0..REGION_BYTES).step_by(4) {
            bench.write(offset, 0xffff_ffff);
            let expected = match offset {
                0x00 => 0x7472_6976,
                0x04 => version,
                0x0c => 0x554d_4551,
                _ => 0,
            };
            assert_eq!(bench.read(offset), expected, "offset {offset:#x}");
        }
        assert!(!bench.line());
    }
}

#[test]
fn narrow_read_gives_the_register_only_in_an_empty_slot() {
    let cases = [
        (0x0, 0x76, 0x6976),
        (0x4, 1, 1),
        (0xc, 0x51, 0x4551),
        (0x2, 0, 0),
        (0x100, 0, 0),
    ];
    for (offset, byte, word) in cases {
        let mut bench = empty(false);
        assert_eq!(bench.read_width(offset, Width::Byte), byte, "offset {offset:#x}");
        assert_eq!(bench.read_width(offset, Width::Word), word, "offset {offset:#x}");
    }
    let mut bench = rng(false);
    for offset in 0..0x100 {
        assert_eq!(bench.read_width(offset, Width::Byte), 0, "offset {offset:#x}");
    }
}

#[test]
fn narrow_write_to_a_register_is_ignored() {
    let mut bench = rng(true);
    bench.write_width(0x70, Width::Byte, 3);
    bench.write_width(0x70, Width::Word, 3);
    assert_eq!(bench.read(0x70), 0);
}

#[test]
fn device_features_by_selector() {
    for (modern, words) in [(false, [0x3900_0000, 0]), (true, [0x3000_0000, 1])] {
        let mut bench = rng(modern);
        for (select, expected) in [(0, words[0]), (1, words[1]), (2, 0), (0x8000_0000, 0), (u32::MAX, 0)] {
            bench.write(0x014, select);
            assert_eq!(bench.read(0x010), expected, "modern {modern}, select {select:#x}");
        }
    }
}

#[test]
fn write_only_and_unknown_registers_read_zero() {
    let write_only = [
        0x014, 0x020, 0x024, 0x028, 0x030, 0x038, 0x03c, 0x050, 0x064, 0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x0ac,
        0x0c0, 0x018, 0x01c, 0x02c, 0x048, 0x0f8,
    ];
    for modern in [false, true] {
        let mut bench = rng(modern);
        for offset in write_only {
            bench.write(offset, 1);
            assert_eq!(bench.read(offset), 0, "modern {modern}, offset {offset:#x}");
        }
    }
}

/// Virtio 1.2, 4.2.2, SHMLen and SHMBase: an absent region is all ones. Version 1 has no such registers.
#[test]
fn absent_shared_memory_region_is_all_ones() {
    for (modern, length, base) in [(true, u32::MAX, u32::MAX), (false, 0, 0)] {
        let mut bench = rng(modern);
        let read: Vec<u32> = [0x0b0, 0x0b4, 0x0b8, 0x0bc].map(|offset| bench.read(offset)).into();
        assert_eq!(read, [length, length, base, base]);
    }
}

/// Virtio 1.2, 4.2.2, QueueNumMax: 0 where the selected queue is not available, whatever number that is.
#[test]
fn queue_num_max_of_absent_queues_is_zero() {
    let mut bench = rng(true);
    for (select, expected) in [
        (0, 1024),
        (1, 0),
        (1023, 0),
        (1024, 0),
        (0xffff, 0),
        (u32::MAX, 0),
        (0, 1024),
    ] {
        bench.write(0x030, select);
        assert_eq!(bench.read(0x034), expected, "queue {select:#x}");
    }
}

#[test]
fn queue_ready_reads_back_one_until_cleared() {
    let mut bench = rng(true);
    for (select, kept) in [(0, 1), (7, 1), (1023, 1), (1024, 0), (u32::MAX, 0)] {
        bench.write(0x030, select);
        bench.write(0x044, 0x8000_0000);
        assert_eq!(bench.read(0x044), kept, "queue {select:#x}");
    }
    bench.write(0x030, 7);
    bench.write(0x044, 0);
    assert_eq!(bench.read(0x044), 0);
    bench.write(0x030, 0);
    assert_eq!(bench.read(0x044), 1, "only the selected queue changed");
}

/// Virtio 1.2, 4.2.2.1: a reset clears InterruptStatus and every QueueReady; the selectors stay, as measured.
#[test]
fn reset_by_status_clears_all_but_the_selectors() {
    let mut bench = rng(true);
    let ring = ring_with_request(&bench);
    bench.start_modern(ring, FEATURES);
    bench.write(0x030, 5);
    bench.write(0x044, 1);
    bench.write(0x014, 1);
    assert!(bench.line());
    bench.write(0x070, 0);
    assert!(!bench.line());
    assert_eq!((bench.read(0x060), bench.read(0x070)), (0, 0));
    for queue in [0, 5] {
        bench.write(0x030, queue);
        assert_eq!(bench.read(0x044), 0, "queue {queue}");
    }
    assert_eq!(bench.read(0x010), 1, "DeviceFeaturesSel is still 1");
}

#[test]
fn device_works_again_after_a_reset() {
    let mut bench = rng(true);
    for round in 0..2 {
        let ring = ring_with_request(&bench);
        bench.start_modern(ring, FEATURES);
        assert_eq!(ring.used(&bench.memory, 0), (0, 16), "round {round}");
        assert!(bench.line(), "round {round}");
        bench.write(0x070, 0);
        bench.memory = ram();
    }
}

/// Virtio 1.2, 2.2.2: accepted features must be a subset of those offered. VERSION_1 may be left out (6.2).
#[test]
fn features_ok_only_for_a_subset_of_the_offer() {
    let cases = [
        (0x1_3000_0000, true),
        (0x1_0000_0000, true),
        (0x0_2000_0000, true),
        (0, true),
        (0x1_3000_0001, false),
        (0x3_0000_0000, false),
        (u64::MAX, false),
    ];
    for (features, accepted) in cases {
        let mut bench = rng(true);
        bench.write(0x070, 3);
        for select in 0..2 {
            bench.write(0x024, select);
            bench.write(0x020, (features >> (32 * select)) as u32);
        }
        bench.write(0x070, 0xb);
        assert_eq!(bench.read(0x070), if accepted { 0xb } else { 3 }, "{features:#x}");
    }
}

#[test]
fn features_beyond_64_bits_are_refused() {
    for (value, status) in [(0, 0xb), (1, 3)] {
        let mut bench = rng(true);
        bench.write(0x024, 2);
        bench.write(0x020, value);
        bench.write(0x070, 0xb);
        assert_eq!(bench.read(0x070), status);
        bench.write(0x070, 0);
        bench.write(0x070, 0xb);
        assert_eq!(bench.read(0x070), 0xb, "a reset forgets them");
    }
}

#[test]
fn status_keeps_eight_bits_and_no_order() {
    for modern in [false, true] {
        let mut bench = rng(modern);
        for (written, read) in [(0x80, 0x80), (4, 4), (0x103, 3), (0x40, 0x40), (0x100, 0)] {
            bench.write(0x070, written);
            assert_eq!(bench.read(0x070), read, "modern {modern}, {written:#x}");
        }
    }
}

#[test]
fn request_fills_buffer_and_raises_the_line() {
    let mut bench = rng(true);
    let ring = Ring::at(0x1_0000, 8);
    bench.start_modern(ring, 0x1_0000_0000);
    assert!(!bench.line());
    ring_with_request(&bench);
    bench.kick();
    assert_eq!(
        (ring.used_idx(&bench.memory), ring.used(&bench.memory, 0)),
        (1, (0, 16))
    );
    let mut bytes = [0; 17];
    bench.memory.read(0x2000, &mut bytes).expect("RAM");
    assert_ne!(bytes[..16], [0; 16]);
    assert_eq!(bytes[16], 0, "only the buffer");
    assert_eq!((bench.read(0x060), bench.line()), (1, true));
    bench.write(0x064, 2);
    assert_eq!((bench.read(0x060), bench.line()), (1, true), "ACK of another bit");
    bench.write(0x064, 1);
    assert_eq!((bench.read(0x060), bench.line()), (0, false));
}

#[test]
fn notification_before_driver_ok_is_not_served() {
    let mut bench = rng(true);
    let ring = ring_with_request(&bench);
    bench.start_modern(ring, FEATURES);
    bench.write(0x070, 0xb);
    ring.offer(&bench.memory, 1, 0);
    bench.kick();
    assert_eq!(ring.used_idx(&bench.memory), 1);
    bench.write(0x070, 0xf);
    assert_eq!(ring.used_idx(&bench.memory), 2, "what waited is found at DRIVER_OK");
}

/// Virtio 1.2, 4.2.2.1: the device must not touch a queue whose QueueReady is 0.
#[test]
fn queue_that_is_not_ready_is_not_touched() {
    let mut bench = rng(true);
    let ring = Ring::at(0x1_0000, 8);
    bench.start_modern(ring, FEATURES);
    bench.write(0x044, 0);
    ring_with_request(&bench);
    bench.kick();
    assert_eq!(ring.used_idx(&bench.memory), 0);
    bench.write(0x044, 1);
    bench.kick();
    assert_eq!(ring.used_idx(&bench.memory), 1);
}

#[test]
fn ready_queue_that_was_never_placed_does_nothing() {
    let mut bench = rng(true);
    bench.write(0x070, 0xb);
    bench.write(0x044, 1);
    bench.write(0x070, 0xf);
    bench.kick();
    assert_eq!((bench.read(0x070), bench.read(0x060)), (0xf, 0));
}

#[test]
fn queue_registers_take_effect_with_queue_ready() {
    let mut bench = rng(true);
    let ring = Ring::at(0x1_0000, 8);
    bench.start_modern(ring, FEATURES);
    for offset in [0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4] {
        bench.write(offset, 0xffff_ffff);
    }
    bench.write(0x038, 2);
    ring_with_request(&bench);
    bench.kick();
    assert_eq!((ring.used_idx(&bench.memory), bench.read(0x070)), (1, 0xf));
    bench.write(0x044, 1);
    bench.kick();
    assert_eq!(bench.read(0x070), 0x4f, "now the ring lies outside RAM");
}

#[test]
fn notification_of_an_absent_queue_is_ignored() {
    let mut bench = rng(true);
    let ring = Ring::at(0x1_0000, 8);
    bench.start_modern(ring, FEATURES);
    ring_with_request(&bench);
    for index in [1, 1023, 1024, 0xffff, 0x1_0000, 0x8000_0000, u32::MAX] {
        bench.write(0x050, index);
    }
    assert_eq!((ring.used_idx(&bench.memory), bench.read(0x070)), (0, 0xf));
}

/// Virtio 1.2, 2.1.2: DEVICE_NEEDS_RESET, then a configuration change notification; after that only a reset helps.
#[test]
fn broken_ring_needs_a_reset() {
    let mut bench = rng(true);
    let ring = Ring::at(0x1_0000, 8);
    bench.start_modern(ring, FEATURES);
    let generation = bench.read(0x0fc);
    ring.offer(&bench.memory, 0, 99);
    bench.kick();
    assert_eq!((bench.read(0x070), bench.read(0x060), bench.line()), (0x4f, 2, true));
    assert_eq!(
        bench.read(0x0fc),
        generation,
        "no field of the configuration space changed"
    );
    bench.write(0x064, 2);
    ring_with_request(&bench);
    bench.kick();
    assert_eq!(
        (ring.used_idx(&bench.memory), bench.line()),
        (0, false),
        "the device is stopped"
    );
    bench.write(0x070, 0);
    bench.start_modern(ring, FEATURES);
    assert_eq!((ring.used_idx(&bench.memory), bench.read(0x070)), (1, 0xf));
}

#[test]
fn requests_served_before_the_ring_broke_are_notified() {
    let mut bench = rng(true);
    let ring = ring_with_request(&bench);
    ring.offer(&bench.memory, 1, 99);
    bench.start_modern(ring, 0x1_0000_0000);
    assert_eq!((ring.used_idx(&bench.memory), bench.read(0x060)), (1, 3));
}

#[test]
fn broken_ring_without_version_1_or_in_legacy_is_silent() {
    let mut bench = rng(true);
    let ring = Ring::at(0x1_0000, 8);
    bench.start_modern(ring, 0);
    ring.offer(&bench.memory, 0, 99);
    bench.kick();
    assert_eq!((bench.read(0x070), bench.read(0x060)), (0xf, 0));

    let mut bench = rng(false);
    let ring = bench.start_legacy(0x1_0000, 8, 4096, 0);
    ring.offer(&bench.memory, 0, 99);
    bench.kick();
    assert_eq!((bench.read(0x070), bench.read(0x060)), (7, 0));
    ring.describe(&bench.memory, 0, 0x2000, 16, WRITE, 0);
    ring.offer(&bench.memory, 1, 0);
    bench.kick();
    assert_eq!(ring.used_idx(&bench.memory), 0, "the device is stopped");
}

#[test]
fn legacy_queue_lies_where_pfn_and_align_say() {
    for align in [1, 2, 3, 4, 5, 64, 4096, 0x1_0000] {
        for size in [1, 8, 1024] {
            let mut bench = rng(false);
            let ring = bench.start_legacy(0x2_0000, size, align, 0);
            assert_eq!(bench.read(0x040), 0x20);
            ring.describe(&bench.memory, 0, 0x2000, 16, WRITE, 0);
            ring.offer(&bench.memory, 0, 0);
            bench.kick();
            assert_eq!(ring.used_idx(&bench.memory), 1, "align {align}, size {size}");
            assert_eq!(ring.used(&bench.memory, 0), (0, 16), "align {align}, size {size}");
            assert_eq!((bench.read(0x060), bench.line()), (1, true));
        }
    }
}

#[test]
fn legacy_queue_has_the_default_size_until_told() {
    let mut bench = rng(false);
    bench.write(0x028, 0x1000);
    bench.write(0x038, 0);
    bench.write(0x038, 1025);
    bench.write(0x040, 0x10);
    bench.write(0x070, 7);
    let layout = Layout {
        desc: 0x1_0000,
        avail: 0x1_0080,
        used: 0x1_1000,
    };
    let ring = Ring { size: 8, layout };
    ring.describe(&bench.memory, 7, 0x2000, 16, WRITE, 0);
    ring.offer(&bench.memory, 0, 7);
    bench.kick();
    assert_eq!(ring.used(&bench.memory, 0), (7, 16));
}

#[test]
fn legacy_pfn_zero_resets_the_device() {
    let mut bench = rng(false);
    let ring = bench.start_legacy(0x1_0000, 8, 4096, 0);
    ring.describe(&bench.memory, 0, 0x2000, 16, WRITE, 0);
    ring.offer(&bench.memory, 0, 0);
    bench.kick();
    assert!(bench.line());
    bench.write(0x040, 0);
    assert_eq!((bench.read(0x040), bench.read(0x070), bench.line()), (0, 0, false));
    bench.write(0x040, 0x11);
    assert_eq!(bench.read(0x040), 0x11, "the page size is kept");
}

#[test]
fn legacy_page_number_is_read_with_the_page_size_of_now() {
    let mut bench = rng(false);
    for (size, pfn, read_size, read) in [(0x1000, 3, 0x1000, 3), (0x1000, 3, 0x400, 12), (0, 0x1234, 3, 0x1234)] {
        bench.write(0x028, size);
        bench.write(0x040, pfn);
        bench.write(0x028, read_size);
        assert_eq!(bench.read(0x040), read);
    }
    bench.write(0x028, 0x8000_0000);
    bench.write(0x040, 0xffff_ffff);
    bench.write(0x070, 7);
    bench.kick();
    assert_eq!(bench.read(0x070), 7);
}

#[test]
fn each_version_rejects_the_registers_of_the_other() {
    let mut bench = rng(true);
    bench.write(0x028, 0x1000);
    bench.write(0x03c, 0x1000);
    bench.write(0x040, 5);
    assert_eq!((bench.read(0x040), bench.read(0x044)), (0, 0));
    bench.write(0x070, 3);
    bench.write(0x040, 0);
    assert_eq!(bench.read(0x070), 3, "QueuePFN does not reset a version 2 device");

    let mut bench = rng(false);
    bench.write(0x044, 1);
    assert_eq!((bench.read(0x044), bench.read(0x040), bench.read(0x0fc)), (0, 0, 0));
}

#[test]
fn legacy_features_apply_at_once_and_only_the_offered_ones() {
    let mut bench = rng(false);
    bench.write(0x020, 0xffff_ffff);
    assert_eq!(bench.device.state.features, 0x3900_0000);
    bench.write(0x024, 1);
    bench.write(0x020, 0);
    assert_eq!(bench.device.state.features, 0x3900_0000, "word 1 does not exist");
    bench.write(0x024, 0);
    bench.write(0x020, 0x1000_0000);
    assert_eq!(bench.device.state.features, 0x1000_0000);
}

#[test]
fn configuration_space_reads_ones_past_its_end() {
    let mut bench = probe(
        true,
        Probe {
            config: vec![1, 2, 3, 4, 5, 6],
            ..Probe::default()
        },
    );
    assert_eq!(bench.read(0x100), 0x0403_0201);
    assert_eq!(bench.read(0x104), 0xffff_ffff, "half a field is none");
    assert_eq!(bench.read_width(0x104, Width::Word), 0x0605);
    assert_eq!(bench.read_width(0x105, Width::Byte), 6);
    assert_eq!(bench.read_width(0x106, Width::Byte), 0xff);
    assert_eq!(bench.read(0x1fc), 0xffff_ffff);
    bench.write(0x104, 0);
    bench.write_width(0x102, Width::Word, 0xaabb);
    assert_eq!(bench.read(0x100), 0xaabb_0201);
    assert_eq!(
        bench.read_width(0x104, Width::Word),
        0x0605,
        "a write across the end is dropped"
    );
}

#[test]
fn configuration_change_counts_and_notifies_after_driver_ok() {
    for (modern, bits, generations) in [(true, 2, [1, 2]), (false, 3, [0, 0])] {
        let mut bench = probe(modern, Probe::default());
        bench.with(|device, ctx| device.config_changed(ctx));
        assert_eq!((bench.read(0x0fc), bench.read(0x060)), (generations[0], 0));
        bench.write(0x070, 7);
        bench.with(|device, ctx| device.config_changed(ctx));
        assert_eq!((bench.read(0x0fc), bench.read(0x060)), (generations[1], bits));
        assert!(bench.line());
        bench.write(0x070, 0);
        assert_eq!(bench.read(0x0fc), generations[1], "a reset does not count back");
    }
}

#[test]
fn back_end_announces_a_configuration_change() {
    let mut bench = probe(
        true,
        Probe {
            grow_config: true,
            ..Probe::default()
        },
    );
    bench.start_modern(Ring::at(0x1_0000, 8), FEATURES);
    assert_ne!(bench.read(0x060) & 2, 0);
}

/// A back end may answer later: the request is kept, and the host side asks for another look.
#[test]
fn kept_request_completes_when_the_host_is_ready() {
    let keep = Arc::new(AtomicBool::new(true));
    let mut bench = probe(
        true,
        Probe {
            keep: keep.clone(),
            ..Probe::default()
        },
    );
    let ring = ring_with_request(&bench);
    bench.start_modern(ring, 0x1_0000_0000);
    assert_eq!((ring.used_idx(&bench.memory), bench.line()), (0, false));
    let mut out = Inspector::new();
    bench.device.inspect(&mut out);
    assert!(out.to_string().contains("probe.kept = 1"));
    keep.store(false, Ordering::Relaxed);
    bench.with(|device, ctx| device.run(ctx));
    assert_eq!((ring.used_idx(&bench.memory), bench.line()), (1, true));
}

#[test]
fn host_side_run_completes_and_notifies() {
    let mut bench = probe(true, Probe::default());
    let ring = Ring::at(0x1_0000, 8);
    bench.start_modern(ring, 0x1_0000_0000);
    ring_with_request(&bench);
    bench.with(|device, ctx| device.run(ctx));
    assert_eq!((ring.used_idx(&bench.memory), bench.line()), (1, true));
}

/// A ring that the device itself extends, by writing to it, is served in shares: no access runs for ever.
#[test]
fn ring_that_feeds_itself_is_served_in_shares() {
    struct Refill {
        ring: Ring,
        given: u16,
    }
    impl VirtioDevice for Refill {
        fn name(&self) -> &'static str {
            "refill"
        }
        fn device_id(&self) -> u32 {
            42
        }
        fn features(&self) -> Features {
            crate::virtio::RING_FEATURES
        }
        fn queue_sizes(&self) -> &[u16] {
            &[8]
        }
        fn process(&mut self, index: u16, queues: &mut Queues<'_>) -> Result<(), Broken> {
            while let Some(chain) = queues.pop(index)? {
                self.given = self.given.wrapping_add(1);
                self.ring.set_avail_idx(queues.memory(), self.given.wrapping_add(1));
                queues.complete(chain, 0)?;
            }
            Ok(())
        }
        fn inspect(&self, _out: &mut Inspector) {}
    }
    let ring = Ring::at(0x1_0000, 8);
    let mut bench = Bench::new(true, Some(Box::new(Refill { ring, given: 0 })));
    ring_with_request(&bench);
    bench.start_modern(ring, FEATURES);
    assert_eq!(ring.used_idx(&bench.memory), 8);
    assert_eq!(bench.device.deadline(), Some(RESUME_AFTER));
    bench.now = RESUME_AFTER;
    bench.with(|device, ctx| device.tick(ctx));
    assert_eq!(ring.used_idx(&bench.memory), 16);
    assert_eq!(bench.device.deadline(), Some(Nanos(2 * RESUME_AFTER.0)));
    bench.write(0x070, 0);
    assert_eq!(bench.device.deadline(), None);
}

#[test]
fn ring_across_the_end_of_ram_breaks_the_device() {
    for desc in [0xf_fff0, 0x10_0000, 0xbfff_fff0, 0xffff_ffff_ffff_fff0] {
        let mut bench = rng(true);
        let mut ring = Ring::at(0x1_0000, 8);
        ring.layout.desc = desc;
        ring.offer(&bench.memory, 0, 0);
        bench.start_modern(ring, FEATURES);
        assert_eq!(bench.read(0x070), 0x4f, "descriptor table at {desc:#x}");
    }
    for pfn in [0xff, 0x100, 0xbffff, 0xffff_ffff] {
        let mut bench = rng(false);
        bench.write(0x028, 0x1000);
        bench.write(0x038, 1024);
        bench.write(0x040, pfn);
        bench.write(0x070, 7);
        bench.kick();
        assert_eq!(bench.read(0x070), 7, "page {pfn:#x}");
    }
}

#[test]
fn system_reset_equals_power_on() {
    for modern in [false, true] {
        let mut bench = rng(modern);
        let fresh = bench.device.state.clone();
        let mut random = Xorshift::new(7);
        for _ in 0..2_000 {
            let offset = random.next_u64() % 0x80 * 4;
            bench.write(offset, random.next_u64() as u32 >> (random.next_u64() % 32));
        }
        bench.with(|device, ctx| device.config_changed(ctx));
        bench.with(|device, ctx| device.reset(ctx));
        assert_eq!(bench.device.state, fresh, "modern {modern}");
        assert!(!bench.line());
    }
}

/// Goal: no sequence of accesses panics or leaves the line at odds with InterruptStatus.
/// Method: random accesses of all widths, biased to the registers that start the device.
#[test]
fn random_accesses_keep_the_line_in_step() {
    let seed = 0x5eed_0002;
    for modern in [false, true] {
        let mut random = Xorshift::new(seed);
        let mut bench = rng(modern);
        let mut ring = Ring::at(0x1_0000, 8);
        let (mut offered, mut interrupts) = (0, 0);
        for step in 0..20_000_u32 {
            if step % 64 == 0 {
                bench.memory = ram();
                if modern {
                    bench.start_modern(ring, FEATURES & !feature::EVENT_IDX);
                } else {
                    ring = bench.start_legacy(0x1_0000, 8, 4096, 0);
                }
                ring.describe(&bench.memory, 0, 0x2000, 16, WRITE | NEXT, 1);
                ring.describe(&bench.memory, 1, 0x3000, 16, WRITE, 0);
                offered = 0;
            }
            let width = Width::ALL[random.next_u64() as usize % 3];
            let offset = (random.next_u64() % REGION_BYTES) & !(width.bytes() as u64 - 1);
            if random.next_u64().is_multiple_of(2) {
                bench.read_width(offset, width);
            } else {
                let value = random.next_u64() >> (random.next_u64() % 64);
                bench.write_width(offset, width, value);
                offered += 1;
                ring.set_avail_idx(&bench.memory, offered);
                bench.kick();
            }
            let pending = bench.device.state.interrupt_status != 0;
            assert_eq!(bench.line(), pending, "seed {seed:#x}, step {step}");
            interrupts += u32::from(pending);
        }
        assert!(10_000 < interrupts, "the device does work: {interrupts}");
    }
}

#[test]
fn laws_hold() {
    for modern in [false, true] {
        check_laws(|| rng(modern).device);
        check_laws(|| empty(modern).device);
        check_laws(|| probe(modern, Probe::default()).device);
    }
}
