//! The entropy device: fills the driver's buffers with random bytes.
//!
//! Source: virtio 1.2, 5.4 "Entropy Device"; queue size and feature bits as measured on the machine first released.
//! Deviations: none from virtio 1.2. One request gets at most [`REQUEST_BYTES_MAX`] bytes, which 5.4.6.2 allows. A
//! request without a writable buffer (driver MUST NOT, 5.4.6.1) is completed with length 0; the machine first released
//! leaves it until another request comes that has room.

use crate::inspect::Inspector;
use crate::virtio::queue::{Broken, Queues};
use crate::virtio::{Features, RING_FEATURES, VirtioDevice};

/// Where random bytes come from. A deterministic machine gets [`Xorshift`], a running one the host's generator.
pub trait Entropy: Send {
    /// Fills all of `into`.
    fn fill(&mut self, into: &mut [u8]);
}

/// A virtio entropy device.
pub struct Rng {
    // Connections.
    source: Box<dyn Entropy>,
}

/// A repeatable source for tests and virtual machines under virtual time: Marsaglia's xorshift64, least significant
/// byte first. It is no source of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xorshift {
    state: u64,
}

/// The most bytes one request is given.
pub const REQUEST_BYTES_MAX: u32 = 64 * 1024;

/// Index of the only queue.
pub const REQUESTQ: u16 = 0;

impl Rng {
    /// An entropy device fed by `source`.
    pub fn new(source: Box<dyn Entropy>) -> Rng {
        Rng { source }
    }
}

impl VirtioDevice for Rng {
    fn name(&self) -> &'static str {
        "rng"
    }

    fn device_id(&self) -> u32 {
        4
    }

    fn features(&self) -> Features {
        RING_FEATURES
    }

    fn queue_sizes(&self) -> &[u16] {
        &[8]
    }

    fn process(&mut self, index: u16, queues: &mut Queues<'_>) -> Result<(), Broken> {
        while let Some(chain) = queues.pop(index)? {
            let length_bytes = chain.writable_bytes().min(u64::from(REQUEST_BYTES_MAX)) as usize;
            let mut bytes = vec![0; length_bytes];
            self.source.fill(&mut bytes);
            let written_bytes = chain.write(queues.memory(), 0, &bytes);
            queues.complete(chain, written_bytes as u32)?;
        }
        Ok(())
    }

    fn inspect(&self, _out: &mut Inspector) {}
}

impl Xorshift {
    /// A source whose bytes follow from `seed` alone.
    pub fn new(seed: u64) -> Xorshift {
        // Zero would stay zero for ever.
        Xorshift { state: seed.max(1) }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

impl Entropy for Xorshift {
    fn fill(&mut self, into: &mut [u8]) {
        for piece in into.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            piece.copy_from_slice(&bytes[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::driver::{Bench, NEXT, Ring, WRITE};

    fn bench() -> Bench {
        Bench::new(true, Some(Box::new(Rng::new(Box::new(Xorshift::new(1))))))
    }

    #[test]
    fn request_gets_the_bytes_of_the_source_across_its_buffers() {
        let mut bench = bench();
        let ring = Ring::at(0x1_0000, 8);
        ring.describe(&bench.memory, 0, 0x2000, 5, NEXT | WRITE, 1);
        ring.describe(&bench.memory, 1, 0x3000, 11, WRITE, 0);
        ring.offer(&bench.memory, 0, 0);
        bench.start_modern(ring, RING_FEATURES.modern);
        let mut expected = [0; 16];
        Xorshift::new(1).fill(&mut expected);
        let mut got = [0; 16];
        let (first, second) = got.split_at_mut(5);
        bench.memory.read(0x2000, first).expect("RAM");
        bench.memory.read(0x3000, second).expect("RAM");
        assert_eq!((got, ring.used(&bench.memory, 0)), (expected, (0, 16)));
    }

    #[test]
    fn readable_buffer_is_left_alone() {
        let mut bench = bench();
        let ring = Ring::at(0x1_0000, 8);
        ring.describe(&bench.memory, 0, 0x2000, 16, 0, 0);
        ring.offer(&bench.memory, 0, 0);
        bench.start_modern(ring, RING_FEATURES.modern);
        let mut got = [0; 16];
        bench.memory.read(0x2000, &mut got).expect("RAM");
        assert_eq!((got, ring.used(&bench.memory, 0)), ([0; 16], (0, 0)));
    }

    #[test]
    fn one_request_gets_no_more_than_the_limit() {
        let mut bench = bench();
        let ring = Ring::at(0x1_0000, 8);
        ring.describe(&bench.memory, 0, 0x2_0000, 0x8_0000, WRITE, 0);
        ring.offer(&bench.memory, 0, 0);
        bench.start_modern(ring, RING_FEATURES.modern);
        assert_eq!(ring.used(&bench.memory, 0), (0, REQUEST_BYTES_MAX));
    }

    #[test]
    fn same_seed_gives_the_same_bytes_and_zero_is_a_seed() {
        let bytes = |seed| {
            let mut bytes = [0; 11];
            Xorshift::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(bytes(5), bytes(5));
        assert_ne!(bytes(5), bytes(6));
        assert_ne!(bytes(0), [0; 11]);
    }
}
