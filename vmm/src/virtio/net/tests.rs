use super::*;
use crate::device::laws::check_laws;
use crate::device::{Device, Event};
use crate::units::{Nanos, Width};
use crate::virtio::driver::{Bench, NEXT, Ring, WRITE};

const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

/// A started device: receive queue, transmit queue, and what was made available on each.
struct Wire {
    bench: Bench,
    rx: Ring,
    tx: Ring,
    given: u16,
    sent: u16,
}

const RX_BUFFERS: u64 = 0x4_0000;
const TX_BUFFERS: u64 = 0x8_0000;

fn net(legacy: bool, peer: Peer) -> Net {
    Net::new(NetConfig { mac: MAC, legacy, peer })
}

impl Wire {
    fn new(peer: Peer, features: u64) -> Wire {
        let mut bench = Bench::new(true, Some(Box::new(net(false, peer))));
        let (rx, tx) = (Ring::at(0x1_0000, 8), Ring::at(0x2_0000, 8));
        bench.start_modern(rx, features);
        bench.write(0x030, u32::from(TRANSMITQ));
        bench.write(0x038, u32::from(tx.size));
        for (offset, address) in
            [0x080, 0x090, 0x0a0]
                .into_iter()
                .zip([tx.layout.desc, tx.layout.avail, tx.layout.used])
        {
            bench.write(offset, address as u32);
            bench.write(offset + 4, 0);
        }
        bench.write(0x044, 1);
        Wire {
            bench,
            rx,
            tx,
            given: 0,
            sent: 0,
        }
    }

    /// Makes a buffer to receive into available; it lies in a page of its own.
    fn give(&mut self, length: u32) {
        let index = self.given % self.rx.size;
        let at = RX_BUFFERS + 0x1000 * u64::from(index);
        self.rx.describe(&self.bench.memory, index, at, length, WRITE, 0);
        self.rx.offer(&self.bench.memory, self.given, index);
        self.given += 1;
        self.bench.write(0x050, u32::from(RECEIVEQ));
    }

    /// Sends header and frame in one buffer.
    fn send(&mut self, header_bytes: usize, frame: &[u8]) {
        let bytes = [&vec![0; header_bytes][..], frame].concat();
        self.bench.memory.write(TX_BUFFERS, &bytes).expect("RAM");
        let index = self.sent % self.tx.size;
        let length = bytes.len() as u32;
        self.tx.describe(&self.bench.memory, index, TX_BUFFERS, length, 0, 0);
        self.tx.offer(&self.bench.memory, self.sent, index);
        self.sent += 1;
        self.bench.write(0x050, u32::from(TRANSMITQ));
    }

    fn buffer(&self, index: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let at = RX_BUFFERS + 0x1000 * index;
        self.bench.memory.read(at, &mut bytes).expect("RAM");
        bytes
    }

    fn host_sends(&mut self, frame: &[u8]) -> usize {
        self.bench.with(|device, ctx| device.receive(frame, ctx))
    }

    fn is_broken(&mut self) -> bool {
        self.bench.read(0x070) & 0x40 != 0
    }
}

#[test]
fn generic_laws_hold() {
    for legacy in [false, true] {
        for peer in [Peer::Nobody, Peer::Loopback, Peer::Host] {
            check_laws(|| Bench::new(!legacy, Some(Box::new(net(legacy, peer)))).device);
        }
    }
}

#[test]
fn features_and_configuration_space_are_what_is_done() {
    let net = net(false, Peer::Nobody);
    assert_eq!(net.features().modern, 0x1_3001_8020);
    assert_eq!(net.features().legacy, 0x3901_8020);
    assert_eq!(net.config(), [0x52, 0x54, 0, 1, 2, 3, 1, 0]);
}

#[test]
fn address_is_written_by_legacy_drivers_only_and_comes_back_at_reset() {
    for legacy in [false, true] {
        let mut bench = Bench::new(!legacy, Some(Box::new(net(legacy, Peer::Nobody))));
        bench.write_width(0x100, Width::Dword, 0x4433_2211);
        bench.write_width(0x104, Width::Dword, 0x8877_6655);
        let want = if legacy { 0x0001_6655 } else { 0x0001_0302 };
        assert_eq!(bench.read(0x104), want, "status is never written");
        bench.write(0x070, 0);
        assert_eq!(bench.read(0x100), 0x0100_5452);
    }
}

#[test]
fn looped_frame_comes_back_behind_a_header_with_one_buffer() {
    for (features, header) in [
        (RING_FEATURES.modern, 12),
        (0, 10),
        (bit::MRG_RXBUF, 12),
        (feature::VERSION_1 | bit::MRG_RXBUF, 12),
    ] {
        let mut wire = Wire::new(Peer::Loopback, features);
        wire.bench.memory.write(RX_BUFFERS, &[0xa5; 64]).expect("RAM");
        wire.give(64);
        wire.send(header, b"a frame of any kind");
        let mut want = vec![0; header];
        if header == 12 {
            want[10] = 1;
        }
        want.extend(b"a frame of any kind");
        assert_eq!(wire.buffer(0, want.len()), want);
        assert_eq!(wire.buffer(0, 64)[want.len()..], vec![0xa5; 64 - want.len()]);
        assert_eq!(wire.rx.used(&wire.bench.memory, 0), (0, want.len() as u32));
        assert_eq!(wire.tx.used(&wire.bench.memory, 0), (0, 0));
    }
}

#[test]
fn frame_is_spread_over_mergeable_buffers_and_they_come_at_once() {
    let mut wire = Wire::new(Peer::Loopback, feature::VERSION_1 | bit::MRG_RXBUF);
    let frame: Vec<u8> = (0..50).collect();
    wire.give(20);
    wire.give(20);
    wire.send(12, &frame);
    assert_eq!(wire.rx.used_idx(&wire.bench.memory), 0, "62 bytes do not fit 40");
    wire.give(40);
    assert_eq!(wire.rx.used_idx(&wire.bench.memory), 3);
    let used = [0, 1, 2].map(|number| wire.rx.used(&wire.bench.memory, number));
    assert_eq!(used, [(0, 20), (1, 20), (2, 22)]);
    let got = [wire.buffer(0, 20), wire.buffer(1, 20), wire.buffer(2, 22)].concat();
    assert_eq!(got[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
    assert_eq!(got[12..], frame);
}

#[test]
fn frame_that_cannot_fit_is_dropped_and_the_next_gets_its_buffer() {
    for features in [feature::VERSION_1, feature::VERSION_1 | bit::MRG_RXBUF] {
        let mut wire = Wire::new(Peer::Loopback, features);
        for _ in 0..wire.rx.size {
            wire.give(32);
        }
        wire.send(12, &[7; 300]);
        assert_eq!(wire.rx.used_idx(&wire.bench.memory), 0);
        wire.send(12, b"short");
        assert_eq!(wire.rx.used(&wire.bench.memory, 0), (0, 17));
        assert_eq!(&wire.buffer(0, 17)[12..], b"short");
        assert!(!wire.is_broken());
    }
}

#[test]
fn frames_wait_for_buffers_within_bounds() {
    let mut wire = Wire::new(Peer::Host, RING_FEATURES.modern);
    let mut taken = 0;
    while wire.host_sends(&[taken as u8; 100]) != 0 {
        taken += 1;
        assert!(taken <= FRAMES_MAX);
    }
    assert_eq!((taken, wire.bench.device.room()), (FRAMES_MAX, 0));
    wire.give(200);
    assert_eq!(wire.buffer(0, 13)[12], 0, "the first that came");
    assert_eq!(wire.rx.used(&wire.bench.memory, 0), (0, 112));
    assert_eq!(wire.bench.device.room(), FRAME_BYTES_MAX);

    let mut wire = Wire::new(Peer::Host, RING_FEATURES.modern);
    let mut bytes = 0;
    while wire.host_sends(&[0; 60_000]) != 0 {
        bytes += 60_000;
    }
    assert!((1..=FRAMES_BYTES_MAX).contains(&bytes), "{bytes}");
}

#[test]
fn frame_before_the_driver_is_ready_or_too_long_is_dropped() {
    let mut bench = Bench::new(true, Some(Box::new(net(false, Peer::Host))));
    assert_eq!(bench.with(|device, ctx| device.receive(&[1; 60], ctx)), 60);
    let mut wire = Wire::new(Peer::Host, RING_FEATURES.modern);
    let long = vec![1; FRAME_BYTES_MAX + 1];
    assert_eq!(wire.host_sends(&long), long.len());
    wire.give(200);
    assert_eq!(wire.rx.used_idx(&wire.bench.memory), 0);
}

#[test]
fn frames_for_the_host_are_announced_and_taken_whole() {
    let mut wire = Wire::new(Peer::Host, RING_FEATURES.modern);
    wire.send(12, b"one");
    wire.send(12, b"two");
    assert!(wire.bench.events.contains(&Event::VirtioOut));
    assert_eq!(wire.bench.device.take_output(), [b"one".to_vec(), b"two".to_vec()]);
    assert!(wire.bench.device.take_output().is_empty());
}

#[test]
fn host_that_takes_nothing_makes_the_driver_wait() {
    let mut wire = Wire::new(Peer::Host, RING_FEATURES.modern);
    let mut used = 0;
    for sent in 1..=FRAMES_MAX as u16 + 1 {
        wire.send(12, &[1; 60]);
        used = wire.tx.used_idx(&wire.bench.memory);
        if used < sent {
            break;
        }
    }
    assert_eq!(usize::from(used), FRAMES_MAX);
    assert_eq!(wire.bench.device.take_output().len(), FRAMES_MAX);
    let deadline = wire.bench.device.deadline().expect("it goes on by itself");
    wire.bench.now = deadline.max(Nanos(1));
    wire.bench.with(Device::tick);
    assert_eq!(usize::from(wire.tx.used_idx(&wire.bench.memory)), FRAMES_MAX + 1);
}

#[test]
fn chain_may_be_cut_anywhere() {
    let mut wire = Wire::new(Peer::Loopback, RING_FEATURES.modern);
    wire.give(64);
    wire.bench.memory.write(TX_BUFFERS, &[0; 12]).expect("RAM");
    wire.bench.memory.write(TX_BUFFERS + 12, b"frame").expect("RAM");
    let memory = &wire.bench.memory;
    wire.tx.describe(memory, 0, TX_BUFFERS, 5, NEXT, 1);
    wire.tx.describe(memory, 1, TX_BUFFERS + 5, 9, NEXT, 2);
    wire.tx.describe(memory, 2, TX_BUFFERS + 14, 3, 0, 0);
    wire.tx.offer(memory, 0, 0);
    wire.bench.write(0x050, u32::from(TRANSMITQ));
    assert_eq!(&wire.buffer(0, 17)[12..], b"frame");
}

#[test]
fn oversized_and_empty_frames_are_used_and_dropped() {
    let mut wire = Wire::new(Peer::Loopback, RING_FEATURES.modern);
    wire.give(64);
    let length = (12 + FRAME_BYTES_MAX + 1) as u32;
    wire.tx.describe(&wire.bench.memory, 0, TX_BUFFERS, length, 0, 0);
    wire.tx.offer(&wire.bench.memory, 0, 0);
    wire.sent = 1;
    wire.send(12, b"");
    assert_eq!(wire.tx.used_idx(&wire.bench.memory), 2);
    assert_eq!(wire.rx.used_idx(&wire.bench.memory), 0);
    assert!(!wire.is_broken());
}

#[test]
fn request_without_a_header_and_buffer_to_read_break_the_device_until_reset() {
    let mut wire = Wire::new(Peer::Loopback, RING_FEATURES.modern);
    wire.send(11, b"");
    assert!(wire.is_broken());

    let mut wire = Wire::new(Peer::Loopback, RING_FEATURES.modern);
    wire.rx.describe(&wire.bench.memory, 0, RX_BUFFERS, 64, 0, 0);
    wire.rx.offer(&wire.bench.memory, 0, 0);
    wire.send(12, b"frame");
    assert!(wire.is_broken());
    wire.bench.write(0x070, 0);
    assert!(!wire.is_broken());
}

#[test]
fn reset_forgets_frames_and_buffers() {
    let mut wire = Wire::new(Peer::Loopback, RING_FEATURES.modern);
    wire.give(16);
    wire.send(12, b"does not fit");
    wire.send(12, b"nor does this");
    wire.bench.write(0x070, 0);
    let mut fresh = Inspector::new();
    net(false, Peer::Loopback).inspect(&mut fresh);
    let mut after = Inspector::new();
    wire.bench.device.backend().expect("there").inspect(&mut after);
    assert_eq!(after, fresh);
}
