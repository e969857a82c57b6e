use super::*;
use crate::device::laws::check_laws;
use crate::device::{Device, Event};
use crate::units::Width;
use crate::virtio::driver::{Bench, Ring, WRITE};

/// A started device and what was made available on its queues.
struct Terminal {
    bench: Bench,
    rx: Ring,
    tx: Ring,
    given: u16,
    sent: u16,
}

const RX_BUFFERS: u64 = 0x4_0000;
const TX_BUFFERS: u64 = 0x8_0000;

fn bench(peer: Peer) -> Bench {
    Bench::new(true, Some(Box::new(Console::new(peer))))
}

impl Terminal {
    fn new(peer: Peer) -> Terminal {
        let mut bench = bench(peer);
        let (rx, tx) = (Ring::at(0x1_0000, 8), Ring::at(0x2_0000, 8));
        bench.start_modern(rx, RING_FEATURES.modern);
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
        Terminal {
            bench,
            rx,
            tx,
            given: 0,
            sent: 0,
        }
    }

    fn give(&mut self, length: u32) {
        let index = self.given % self.rx.size;
        let at = RX_BUFFERS + 0x2000 * u64::from(index);
        self.rx.describe(&self.bench.memory, index, at, length, WRITE, 0);
        self.rx.offer(&self.bench.memory, self.given, index);
        self.given += 1;
        self.bench.write(0x050, u32::from(RECEIVEQ));
    }

    fn send(&mut self, bytes: &[u8]) {
        self.bench.memory.write(TX_BUFFERS, bytes).expect("RAM");
        self.send_from(TX_BUFFERS, bytes.len() as u32);
    }

    fn send_from(&mut self, at: u64, length: u32) {
        let index = self.sent % self.tx.size;
        self.tx.describe(&self.bench.memory, index, at, length, 0, 0);
        self.tx.offer(&self.bench.memory, self.sent, index);
        self.sent += 1;
        self.bench.write(0x050, u32::from(TRANSMITQ));
    }

    fn buffer(&self, index: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let at = RX_BUFFERS + 0x2000 * index;
        self.bench.memory.read(at, &mut bytes).expect("RAM");
        bytes
    }
}

#[test]
fn generic_laws_hold() {
    for modern in [false, true] {
        for peer in [Peer::Nobody, Peer::Loopback, Peer::Host] {
            check_laws(|| Bench::new(modern, Some(Box::new(Console::new(peer)))).device);
        }
    }
}

#[test]
fn features_and_configuration_space_are_what_is_done() {
    let console = Console::new(Peer::Nobody);
    assert_eq!(console.features().modern, 0x1_3000_0004);
    assert_eq!(console.features().legacy, 0x3900_0004);
    let mut bench = bench(Peer::Nobody);
    bench.write(0x108, 0x41);
    let space: Vec<u32> = [0x100, 0x104, 0x108].map(|at| bench.read(at)).to_vec();
    assert_eq!(space, [0, 1, 0], "emerg_wr is for writing only");
}

#[test]
fn typed_bytes_fill_buffers_and_wait_for_more() {
    let mut terminal = Terminal::new(Peer::Host);
    terminal.give(4);
    assert_eq!(terminal.bench.with(|device, ctx| device.receive(b"typed", ctx)), 5);
    assert_eq!(terminal.rx.used(&terminal.bench.memory, 0), (0, 4));
    terminal.give(4);
    assert_eq!(terminal.rx.used(&terminal.bench.memory, 1), (1, 1));
    assert_eq!([terminal.buffer(0, 4), terminal.buffer(1, 1)].concat(), b"typed");
}

#[test]
fn typed_bytes_wait_at_the_host_beyond_the_bound_and_before_the_driver() {
    let mut early = bench(Peer::Host);
    assert_eq!(early.with(|device, ctx| device.receive(b"typed", ctx)), 0);
    let mut terminal = Terminal::new(Peer::Host);
    let many = vec![b'x'; 2 * ARRIVED_BYTES_MAX];
    let taken = terminal.bench.with(|device, ctx| device.receive(&many, ctx));
    assert_eq!((taken, terminal.bench.device.room()), (ARRIVED_BYTES_MAX, 0));
    terminal.give(100);
    assert_eq!(terminal.bench.device.room(), 100);
}

#[test]
fn sent_bytes_are_announced_and_the_buffer_comes_back_empty() {
    let mut terminal = Terminal::new(Peer::Host);
    terminal.send(b"hello ");
    terminal.send(b"world");
    assert!(terminal.bench.events.contains(&Event::VirtioOut));
    assert_eq!(terminal.bench.device.take_output(), [b"hello world".to_vec()]);
    assert_eq!(terminal.tx.used(&terminal.bench.memory, 1), (1, 0));
}

#[test]
fn long_request_goes_out_in_parts_as_the_host_takes_them() {
    let mut terminal = Terminal::new(Peer::Host);
    let length = 5 * SENT_BYTES_MAX as u32 / 2;
    terminal.send_from(TX_BUFFERS, length);
    let mut taken = Vec::new();
    for _ in 0..3 {
        assert_eq!(
            terminal.tx.used_idx(&terminal.bench.memory),
            u16::from(taken.len() == 2)
        );
        taken.extend(terminal.bench.device.take_output().iter().map(Vec::len));
        if let Some(deadline) = terminal.bench.device.deadline() {
            terminal.bench.now = deadline;
            terminal.bench.with(|device, ctx| device.tick(ctx));
        }
    }
    assert_eq!(taken, [SENT_BYTES_MAX, SENT_BYTES_MAX, SENT_BYTES_MAX / 2]);
    assert_eq!(terminal.bench.device.deadline(), None);
}

#[test]
fn nobody_takes_four_gigabytes_at_once() {
    let mut terminal = Terminal::new(Peer::Nobody);
    terminal.send_from(0, 0x10_0000);
    assert_eq!(terminal.tx.used(&terminal.bench.memory, 0), (0, 0));
    assert!(terminal.bench.device.take_output().is_empty());
}

#[test]
fn loop_longer_than_the_device_holds_goes_on_as_buffers_come() {
    let mut terminal = Terminal::new(Peer::Loopback);
    let bytes: Vec<u8> = (0..3 * ARRIVED_BYTES_MAX).map(|at| (at / 7) as u8).collect();
    terminal.send(&bytes);
    assert_eq!(terminal.tx.used_idx(&terminal.bench.memory), 0);
    for _ in 0..3 {
        terminal.give(0x2000);
    }
    assert_eq!(terminal.tx.used_idx(&terminal.bench.memory), 1);
    let used: Vec<(u32, u32)> = (0..3).map(|at| terminal.rx.used(&terminal.bench.memory, at)).collect();
    assert_eq!(used, [(0, 4096), (1, 4096), (2, 4096)]);
    let got = [0, 1, 2].map(|index| terminal.buffer(index, 4096)).concat();
    assert_eq!(got, bytes);
}

#[test]
fn emergency_character_is_sent_at_any_time_and_nul_is_not() {
    let mut bench = bench(Peer::Host);
    bench.write_width(0x108, Width::Dword, 0x1234_5641);
    bench.write_width(0x108, Width::Byte, u64::from(b'B'));
    bench.write_width(0x109, Width::Byte, u64::from(b'C'));
    bench.write_width(0x108, Width::Dword, 0);
    assert!(bench.events.contains(&Event::VirtioOut));
    assert_eq!(bench.device.take_output(), [b"AB".to_vec()]);
    for _ in 0..=SENT_BYTES_MAX {
        bench.write_width(0x108, Width::Byte, 0x2e);
    }
    assert_eq!(bench.device.take_output()[0].len(), SENT_BYTES_MAX);
}
