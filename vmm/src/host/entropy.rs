//! Random bytes from the host for virtio-rng.

use crate::virtio::rng::Entropy;

/// The host's entropy pool.
#[derive(Clone, Copy, Debug)]
pub struct HostEntropy;

impl Entropy for HostEntropy {
    /// Waits for the host's pool to be initialised, once after its boot.
    fn fill(&mut self, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            match rustix::rand::getrandom(&mut into[done..], rustix::rand::GetRandomFlags::empty()) {
                Ok(count) => done += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("getrandom on Linux 3.17 or later: {error}"),
            }
        }
    }
}
