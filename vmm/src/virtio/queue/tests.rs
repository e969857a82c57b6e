use super::*;
use crate::virtio::driver::{INDIRECT, NEXT, Ring, WRITE, describe, get, put, ram};
use crate::virtio::rng::Xorshift;

const NO_FEATURES: u64 = 0;

/// A queue given to the device, and one round over it by `process`.
struct Fixture {
    queue: Virtqueue,
    ring: Ring,
    memory: Memory,
    features: u64,
}

impl Fixture {
    fn new(size: u16, features: u64) -> Fixture {
        let ring = Ring::at(0x1_0000, size);
        let mut queue = Virtqueue::new(size);
        queue.layout = Some(ring.layout);
        Fixture {
            queue,
            ring,
            memory: ram(),
            features,
        }
    }

    fn pop(&mut self) -> Result<Option<Chain>, Broken> {
        self.queue.pop(0, &self.memory, self.features)
    }

    fn complete(&mut self, chain: Chain, written_bytes: u32) -> Result<(), Broken> {
        self.queue
            .complete(std::iter::once((chain.head, written_bytes)), &self.memory)
    }

    fn take_notification(&mut self) -> bool {
        self.queue
            .take_notification(&self.memory, self.features)
            .expect("the ring lies in RAM")
    }

    /// One writable descriptor of 16 bytes as the first request.
    fn offer_one(&self) {
        self.ring.describe(&self.memory, 0, 0x2000, 16, WRITE, 0);
        self.ring.offer(&self.memory, 0, 0);
    }

    fn use_one(&mut self) {
        let chain = self.pop().expect("the ring is sound").expect("a request waits");
        self.complete(chain, 0).expect("the used ring lies in RAM");
    }
}

#[test]
fn chain_keeps_order_and_completes_in_the_used_ring() {
    let mut it = Fixture::new(8, NO_FEATURES);
    it.ring.describe(&it.memory, 3, 0x2000, 4, NEXT, 5);
    it.ring.describe(&it.memory, 5, 0x3000, 8, NEXT | WRITE, 1);
    it.ring.describe(&it.memory, 1, 0x4000, 16, WRITE, 0);
    it.ring.offer(&it.memory, 0, 3);
    it.memory.write(0x2000, b"abcd").expect("RAM");

    let chain = it.pop().expect("sound").expect("one request");
    assert_eq!((chain.readable_bytes(), chain.writable_bytes()), (4, 24));
    let mut read = [0; 8];
    assert_eq!(chain.read(&it.memory, 1, &mut read), 3, "the readable part ends");
    assert_eq!(&read[..3], b"bcd");
    assert_eq!(chain.write(&it.memory, 6, &[7; 40]), 18, "from offset 6 of 24");
    let mut written = [0; 8];
    it.memory.read(0x3000, &mut written).expect("RAM");
    assert_eq!(written, [0, 0, 0, 0, 0, 0, 7, 7]);

    it.complete(chain, 24).expect("the used ring lies in RAM");
    assert_eq!(
        (it.ring.used_idx(&it.memory), it.ring.used(&it.memory, 0)),
        (1, (3, 24))
    );
    assert_eq!(it.pop(), Ok(None));
}

#[test]
fn indices_wrap_after_65536_requests() {
    let mut it = Fixture::new(4, NO_FEATURES);
    it.ring.describe(&it.memory, 2, 0x2000, 16, WRITE, 0);
    for number in 0..=u16::MAX {
        it.ring.offer(&it.memory, number, 2);
        it.use_one();
    }
    it.ring.offer(&it.memory, 0, 2);
    it.use_one();
    assert_eq!(it.ring.used_idx(&it.memory), 1);
}

#[test]
fn queue_that_was_not_set_up_has_no_requests() {
    let mut it = Fixture::new(8, NO_FEATURES);
    it.queue.layout = None;
    assert_eq!(it.pop(), Ok(None));
}

/// Each way to break a ring that one descriptor table can express, by name. The first request is chain 0.
#[test]
fn broken_chains_are_named() {
    type Break = fn(&Ring, &Memory);
    let table: [(&str, Break, Broken); 12] = [
        (
            "next outside the table",
            |ring, memory| ring.describe(memory, 0, 0x2000, 16, NEXT, 8),
            Broken::Chain,
        ),
        (
            "descriptor that follows itself",
            |ring, memory| ring.describe(memory, 0, 0x2000, 16, NEXT, 0),
            Broken::Chain,
        ),
        (
            "loop of two",
            |ring, memory| {
                ring.describe(memory, 0, 0x2000, 16, NEXT, 1);
                ring.describe(memory, 1, 0x2000, 16, NEXT, 0);
            },
            Broken::Chain,
        ),
        (
            "empty buffer",
            |ring, memory| ring.describe(memory, 0, 0x2000, 0, WRITE, 0),
            Broken::EmptyBuffer,
        ),
        (
            "readable after writable",
            |ring, memory| {
                ring.describe(memory, 0, 0x2000, 16, NEXT | WRITE, 1);
                ring.describe(memory, 1, 0x2000, 16, 0, 0);
            },
            Broken::Order,
        ),
        (
            "buffer across the end of RAM",
            |ring, memory| ring.describe(memory, 0, 0xf_fff8, 16, WRITE, 0),
            Broken::BufferOutsideRam,
        ),
        (
            "buffer across the end of the address space",
            |ring, memory| ring.describe(memory, 0, u64::MAX - 7, 16, WRITE, 0),
            Broken::BufferOutsideRam,
        ),
        (
            "indirect table of no descriptors",
            |ring, memory| ring.describe(memory, 0, 0x2000, 0, INDIRECT, 0),
            Broken::Chain,
        ),
        (
            "indirect table of one and a half descriptors",
            |ring, memory| {
                describe(memory, 0x2000, 0, 0x3000, 16, WRITE, 0);
                ring.describe(memory, 0, 0x2000, 24, INDIRECT, 0);
            },
            Broken::Chain,
        ),
        (
            "indirect table outside RAM",
            |ring, memory| ring.describe(memory, 0, 0x10_0000, 16, INDIRECT, 0),
            Broken::Chain,
        ),
        (
            "indirect table in an indirect table",
            |ring, memory| {
                describe(memory, 0x2000, 0, 0x3000, 16, INDIRECT, 0);
                describe(memory, 0x3000, 0, 0x4000, 16, WRITE, 0);
                ring.describe(memory, 0, 0x2000, 16, INDIRECT, 0);
            },
            Broken::Chain,
        ),
        (
            "next outside the indirect table",
            |ring, memory| {
                describe(memory, 0x2000, 0, 0x3000, 16, NEXT | WRITE, 1);
                ring.describe(memory, 0, 0x2000, 16, INDIRECT, 0);
            },
            Broken::Chain,
        ),
    ];
    for (name, break_it, expected) in table {
        let mut it = Fixture::new(8, feature::INDIRECT_DESC);
        break_it(&it.ring, &it.memory);
        it.ring.offer(&it.memory, 0, 0);
        assert_eq!(it.pop(), Err(expected), "{name}");
    }
}

#[test]
fn head_outside_the_table_breaks() {
    let mut it = Fixture::new(8, NO_FEATURES);
    it.ring.offer(&it.memory, 0, 8);
    assert_eq!(it.pop(), Err(Broken::Head));
}

#[test]
fn available_index_may_jump_by_the_queue_size_and_no_further() {
    let mut it = Fixture::new(8, NO_FEATURES);
    it.offer_one();
    it.ring.set_avail_idx(&it.memory, 9);
    assert_eq!(it.pop(), Err(Broken::AvailableIndex));
    it.ring.set_avail_idx(&it.memory, 8);
    for _ in 0..8 {
        it.use_one();
    }
    it.ring.set_avail_idx(&it.memory, 7);
    assert_eq!(it.pop(), Err(Broken::AvailableIndex), "it also may not go back");
}

#[test]
fn more_requests_in_flight_than_descriptors_break() {
    let mut it = Fixture::new(2, NO_FEATURES);
    it.ring.describe(&it.memory, 0, 0x2000, 16, WRITE, 0);
    let mut held = Vec::new();
    for number in 0..2 {
        it.ring.offer(&it.memory, number, 0);
        held.push(it.pop().expect("sound").expect("one request"));
    }
    it.ring.offer(&it.memory, 2, 0);
    assert_eq!(it.pop(), Err(Broken::InFlight));
}

#[test]
fn indirect_table_may_be_longer_than_the_queue() {
    let mut it = Fixture::new(2, feature::INDIRECT_DESC);
    let length = DESCRIPTOR_CHAIN_LENGTH_MAX as u16;
    for index in 0..length {
        let flags = if index + 1 < length { NEXT } else { 0 };
        describe(&it.memory, 0x4_0000, index, 0x2000, 1, flags, index + 1);
    }
    it.ring
        .describe(&it.memory, 0, 0x4_0000, 16 * u32::from(length), INDIRECT, 0);
    it.ring.offer(&it.memory, 0, 0);
    let chain = it.pop().expect("sound").expect("one request");
    assert_eq!(chain.readable().len(), DESCRIPTOR_CHAIN_LENGTH_MAX);
}

#[test]
fn chain_longer_than_the_limit_breaks() {
    let mut it = Fixture::new(2, feature::INDIRECT_DESC);
    let length = DESCRIPTOR_CHAIN_LENGTH_MAX as u16 + 1;
    for index in 0..length {
        let flags = if index + 1 < length { NEXT } else { 0 };
        describe(&it.memory, 0x4_0000, index, 0x2000, 1, flags, index + 1);
    }
    it.ring
        .describe(&it.memory, 0, 0x4_0000, 16 * u32::from(length), INDIRECT, 0);
    it.ring.offer(&it.memory, 0, 0);
    assert_eq!(it.pop(), Err(Broken::ChainLength));
}

/// Virtio 1.2, 2.7.5.3.2: ordinary descriptors, then one that refers to a table; its write flag means nothing.
#[test]
fn indirect_descriptor_after_ordinary_ones_is_followed() {
    let mut it = Fixture::new(8, feature::INDIRECT_DESC);
    it.ring.describe(&it.memory, 0, 0x2000, 4, NEXT, 1);
    it.ring.describe(&it.memory, 1, 0x3000, 32, INDIRECT | WRITE, 0);
    describe(&it.memory, 0x3000, 0, 0x4000, 8, NEXT, 1);
    describe(&it.memory, 0x3000, 1, 0x5000, 16, WRITE, 0);
    it.ring.offer(&it.memory, 0, 0);
    let chain = it.pop().expect("sound").expect("one request");
    assert_eq!((chain.readable_bytes(), chain.writable_bytes()), (12, 16));
}

#[test]
fn ring_that_leaves_ram_breaks() {
    let size: u16 = 8;
    let good = Ring::at(0x1_0000, size).layout;
    let across = |length: u64| 0x10_0000 - length + 16;
    let layouts = [
        Layout {
            desc: across(128),
            ..good
        },
        Layout {
            avail: across(22),
            ..good
        },
        Layout {
            used: across(70),
            ..good
        },
        Layout {
            used: 0x8000_0000,
            ..good
        },
        Layout {
            desc: u64::MAX - 15,
            ..good
        },
        Layout {
            avail: u64::MAX - 1,
            ..good
        },
        Layout {
            used: u64::MAX - 3,
            ..good
        },
    ];
    for layout in layouts {
        let mut it = Fixture::new(size, feature::EVENT_IDX);
        it.offer_one();
        it.queue.layout = Some(layout);
        assert_eq!(it.pop(), Err(Broken::RingOutsideRam), "{layout:x?}");
    }
}

#[test]
fn ring_in_a_hole_between_two_ranges_of_ram_breaks() {
    let memory = Memory::new(&[(0, 0x10_0000), (0x20_0000, 0x10_0000)]).expect("2 MiB fit");
    let mut queue = Virtqueue::new(8);
    let mut layout = Ring::at(0x1_0000, 8).layout;
    layout.desc = 0xf_ffc0;
    queue.layout = Some(layout);
    assert_eq!(queue.pop(0, &memory, NO_FEATURES), Err(Broken::RingOutsideRam));
}

#[test]
fn misaligned_ring_or_odd_size_breaks() {
    let good = Ring::at(0x1_0000, 8).layout;
    let cases = [
        (8, Layout { desc: 0x1_0008, ..good }),
        (
            8,
            Layout {
                avail: 0x1_4001,
                ..good
            },
        ),
        (8, Layout { avail: 0, ..good }),
        (3, good),
        (1023, good),
    ];
    for (size, layout) in cases {
        let mut it = Fixture::new(8, NO_FEATURES);
        it.offer_one();
        it.queue.size = size;
        it.queue.layout = Some(layout);
        assert_eq!(it.pop(), Err(Broken::Layout), "size {size}, {layout:x?}");
    }
}

#[test]
fn used_ring_works_at_an_odd_address() {
    let mut it = Fixture::new(8, feature::EVENT_IDX);
    it.ring.layout.used += 3;
    it.queue.layout = Some(it.ring.layout);
    it.offer_one();
    it.use_one();
    assert_eq!((it.ring.used_idx(&it.memory), it.ring.used(&it.memory, 0)), (1, (0, 0)));
    assert_eq!(it.ring.avail_event(&it.memory), 1);
}

#[test]
fn used_flags_are_cleared_once() {
    let mut it = Fixture::new(8, feature::EVENT_IDX);
    put(&it.memory, it.ring.layout.used, 0xffff);
    assert_eq!(it.pop(), Ok(None));
    assert_eq!(get(&it.memory, it.ring.layout.used), 0);
}

/// A driver may move a queue while the device holds requests of the old one; completing them must not leave the RAM.
#[test]
fn completion_into_a_queue_moved_away_breaks() {
    let mut it = Fixture::new(8, feature::EVENT_IDX);
    it.offer_one();
    let chain = it.pop().expect("sound").expect("one request");
    it.queue.layout = Some(Layout {
        desc: u64::MAX,
        avail: u64::MAX,
        used: u64::MAX,
    });
    assert_eq!(it.complete(chain, 0), Err(Broken::RingOutsideRam));
    it.queue.layout = None;
    assert_eq!(it.queue.take_notification(&it.memory, it.features), Ok(false));
}

#[test]
fn notification_follows_the_available_flags() {
    for (flags, expected) in [(0, true), (1, false)] {
        let mut it = Fixture::new(8, NO_FEATURES);
        it.offer_one();
        it.ring.set_avail_flags(&it.memory, flags);
        assert!(!it.take_notification(), "nothing was used yet");
        it.use_one();
        assert_eq!(it.take_notification(), expected, "flags {flags}");
        assert!(!it.take_notification(), "one notification for one batch");
    }
}

/// Virtio 1.2, 2.7.7.2: with EVENT_IDX the flags mean nothing, and the notification comes with entry `used_event`.
#[test]
fn notification_follows_used_event() {
    for used_event in 0..4 {
        let mut it = Fixture::new(8, feature::EVENT_IDX);
        it.ring.describe(&it.memory, 0, 0x2000, 16, WRITE, 0);
        it.ring.set_avail_flags(&it.memory, 1);
        it.ring.set_used_event(&it.memory, used_event);
        let mut sent = Vec::new();
        for number in 0..4 {
            it.ring.offer(&it.memory, number, 0);
            it.use_one();
            sent.push(it.take_notification());
            assert_eq!(it.ring.avail_event(&it.memory), number + 1);
        }
        let expected: Vec<bool> = (0..4).map(|number| number == used_event).collect();
        assert_eq!(sent, expected, "used_event {used_event}");
    }
}

#[test]
fn batch_that_passes_used_event_notifies_once() {
    let mut it = Fixture::new(8, feature::EVENT_IDX);
    it.ring.describe(&it.memory, 0, 0x2000, 16, WRITE, 0);
    it.ring.set_used_event(&it.memory, 1);
    for number in 0..4 {
        it.ring.offer(&it.memory, number, 0);
        it.use_one();
    }
    assert!(it.take_notification());
    assert!(!it.take_notification());
}

#[test]
fn notify_on_empty_overrides_suppression() {
    let mut it = Fixture::new(8, feature::NOTIFY_ON_EMPTY);
    it.ring.describe(&it.memory, 0, 0x2000, 16, WRITE, 0);
    it.ring.set_avail_flags(&it.memory, 1);
    it.ring.offer(&it.memory, 0, 0);
    it.ring.offer(&it.memory, 1, 0);
    it.use_one();
    assert!(!it.take_notification(), "a request is left");
    it.use_one();
    assert!(it.take_notification());
}

#[test]
fn round_ends_after_as_many_requests_as_the_queue_is_long() {
    let it = Fixture::new(4, NO_FEATURES);
    it.ring.describe(&it.memory, 0, 0x2000, 16, WRITE, 0);
    it.ring.set_avail_idx(&it.memory, 4);
    let mut events = Vec::new();
    let mut rings = [it.queue];
    let mut queues = Queues::new(&mut rings, NO_FEATURES, &it.memory, Nanos(0), &mut events);
    let mut served = 0;
    while let Some(chain) = queues.pop(0).expect("sound") {
        queues.complete(chain, 0).expect("sound");
        served += 1;
        it.ring.set_avail_idx(&it.memory, 4 + served);
    }
    let (outcome, readable) = queues.finish();
    assert_eq!((served, outcome.work_left, readable), (4, true, Ok(())));
}

/// Goal: no ring content panics, hangs or makes the device follow more than its bounds.
/// Method: 10,000 rings of random bytes, biased so that many are nearly right; each is served for three rounds.
#[test]
fn random_rings_are_served_within_bounds() {
    let seed = 0x5eed_0001;
    let mut random = Xorshift::new(seed);
    let memory = ram();
    let (mut completed, mut broken) = (0_u32, std::collections::BTreeSet::new());
    for round in 0..10_000_u32 {
        let mut rings = [Virtqueue::new(random_size(&mut random))];
        let size = rings[0].size;
        let ring = random_ring(&mut random, &memory, size);
        rings[0].layout = Some(ring.layout);
        let features = [NO_FEATURES, feature::EVENT_IDX, feature::NOTIFY_ON_EMPTY][random.next_u64() as usize % 3];
        for _ in 0..3 {
            let mut events = Vec::new();
            let mut queues = Queues::new(&mut rings, features, &memory, Nanos(0), &mut events);
            let mut served = 0;
            let result = loop {
                match queues.pop(0) {
                    Ok(Some(chain)) => {
                        let buffers = chain.readable().len() + chain.writable().len();
                        assert!(buffers <= DESCRIPTOR_CHAIN_LENGTH_MAX, "seed {seed:#x}, ring {round}");
                        // Random bytes into random buffers: often into the ring itself.
                        let bytes = random.next_u64().to_le_bytes();
                        let written_bytes = chain.write(&memory, 0, &bytes) as u32;
                        if let Err(error) = queues.complete(chain, written_bytes) {
                            break Err(error);
                        }
                        served += 1;
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            assert!(served <= size, "seed {seed:#x}, ring {round}");
            completed += u32::from(served);
            let (_, readable) = queues.finish();
            if let Err(error) = result.and(readable) {
                broken.insert(error.to_string());
                break;
            }
        }
    }
    assert!(5_000 < completed, "the rings are sane often enough: {completed}");
    assert!(8 <= broken.len(), "and broken in many ways: {broken:?}");
}

fn random_size(random: &mut Xorshift) -> u16 {
    match random.next_u64() % 8 {
        0 => (random.next_u64() % 1024) as u16 + 1,
        exponent => 1 << exponent,
    }
}

fn random_ring(random: &mut Xorshift, memory: &Memory, size: u16) -> Ring {
    let mut ring = Ring::at(0x1_0000, size);
    if random.next_u64().is_multiple_of(16) {
        let mut anywhere = || random.next_u64() >> (random.next_u64() % 64);
        ring.layout = Layout {
            desc: anywhere() & !0xf,
            avail: anywhere() & !1,
            used: anywhere(),
        };
    }
    for index in 0..size.min(32) {
        let gpa = match random.next_u64() % 16 {
            0 => random.next_u64(),
            1 => 0x1_0000 + random.next_u64() % 0x9000,
            _ => random.next_u64() % 0xf_0000,
        };
        let length = match random.next_u64() % 16 {
            0 => random.next_u64() as u32,
            1 => 0,
            _ => 16 * (random.next_u64() % 8 + 1) as u32,
        };
        let flags = match random.next_u64() % 16 {
            0 => random.next_u64() as u16,
            1 => INDIRECT,
            2..6 => NEXT | WRITE,
            _ => WRITE,
        };
        let next = random.next_u64() as u16 % (size + 1);
        let table = ring.layout.desc;
        let mut descriptor = [0; 16];
        descriptor[..8].copy_from_slice(&gpa.to_le_bytes());
        descriptor[8..12].copy_from_slice(&length.to_le_bytes());
        descriptor[12..14].copy_from_slice(&flags.to_le_bytes());
        descriptor[14..].copy_from_slice(&next.to_le_bytes());
        let _may_miss_ram = memory.write(table.saturating_add(16 * u64::from(index)), &descriptor);
        let slot = ring.layout.avail.saturating_add(4 + 2 * u64::from(index));
        let head = random.next_u64() as u16 % (size + 1).min(34);
        let _may_miss_ram = memory.write(slot, &head.to_le_bytes());
    }
    let idx = random.next_u64() as u16 % (size + 2);
    let _may_miss_ram = memory.write(ring.layout.avail.saturating_add(2), &idx.to_le_bytes());
    ring
}
