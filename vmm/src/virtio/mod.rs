//! Virtio: the MMIO transport, split virtqueues and the devices behind them.
//!
//! [`mmio::VirtioMmio`] is the guest-visible device: it owns the registers, the interrupt line and the queues'
//! configuration. What it does not know is what a request means; that is a [`VirtioDevice`], its back end.
//!
//! Source: Virtual I/O Device (VIRTIO) Version 1.2, cited below as "virtio 1.2".
//! Deviations: listed in [`mmio`] and [`queue`].

use std::sync::Arc;

use crate::inspect::Inspector;

pub mod blk;
pub mod console;
pub mod mmio;
pub mod net;
pub mod queue;
pub mod rng;

#[cfg(test)]
mod driver;

use queue::{Broken, Queues};

/// The back end of a transport: what a kind of virtio device does with its requests.
///
/// A back end sees descriptor chains that were checked (bounded, in RAM, readable parts first) and never touches a
/// register, a line or a ring itself. It may answer a request at once, or keep its [`queue::Chain`] and complete it in
/// a later call; the transport is made to call again by [`mmio::VirtioMmio::run`].
pub trait VirtioDevice: Send {
    /// The device's one short word: `rng`, `blk`, `net`, `console`.
    fn name(&self) -> &'static str;

    /// The device type of virtio 1.2, 5 "Device Types"; never 0, which means an empty slot.
    fn device_id(&self) -> u32;

    /// What the device offers.
    fn features(&self) -> Features;

    /// The size of each queue that the device has, in queue order, for a driver that never writes `QueueNum`. Fixed
    /// for the life of the device; each is a power of two and at most [`queue::QUEUE_SIZE_MAX`].
    fn queue_sizes(&self) -> &[u16];

    /// The device configuration space as it is now, little endian, at most 256 bytes. Its length is fixed.
    fn config(&self) -> &[u8] {
        &[]
    }

    /// The driver wrote `data` (1, 2 or 4 bytes) at `offset`, which lies wholly inside [`VirtioDevice::config`].
    fn config_write(&mut self, _offset: usize, _data: &[u8]) {}

    /// Version 2: the driver has accepted `features` and FEATURES_OK was set. Version 1 has no such step.
    fn features_ok(&mut self, _features: u64) {}

    /// The driver set DRIVER_OK after accepting `features`; requests may follow.
    fn activate(&mut self, _features: u64) {}

    /// Looks for requests in queue `index`. Called for a driver's notification, for every queue when the driver sets
    /// DRIVER_OK, and when the host side has something new; finding nothing is normal.
    ///
    /// # Errors
    /// [`Broken`] when the driver's ring cannot be followed; the transport then stops the device until it is reset.
    fn process(&mut self, index: u16, queues: &mut Queues<'_>) -> Result<(), Broken>;

    /// Gives the back end somewhere to leave host calls that take long. Without it, as in the deterministic machine, it
    /// makes them itself while it processes.
    fn use_background(&mut self, _background: Arc<dyn Background>) {}

    /// Whether requests were kept until a call that was left behind has been made.
    fn waits_for_host(&self) -> bool {
        false
    }

    /// Whether [`VirtioDevice::take_output`] has something to give.
    fn has_output(&self) -> bool {
        false
    }

    /// Takes what the driver has sent to the host's side since the last call, oldest first: each a frame of a network,
    /// or a run of bytes of a console.
    fn take_output(&mut self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// The most bytes that [`VirtioDevice::receive`] takes now; 0 means to ask again when the driver has done
    /// something.
    fn room(&self) -> usize {
        0
    }

    /// Takes a frame of a network or a run of bytes of a console from the host's side; returns how many bytes were
    /// taken (a frame is taken whole or not at all). The driver gets them by [`VirtioDevice::process`].
    fn receive(&mut self, _data: &[u8]) -> usize {
        0
    }

    /// Forgets everything the driver negotiated and every request that was kept.
    fn reset(&mut self) {}

    /// Shows the back end's own state.
    fn inspect(&self, out: &mut Inspector);
}

/// A host call that takes long and needs nothing of the machine.
pub type Job = Box<dyn FnOnce() + Send>;

/// Where a back end leaves a [`Job`]. When it has been made, the back end is made to process again, provided that
/// [`VirtioDevice::waits_for_host`].
pub trait Background: Send + Sync {
    /// Takes a job.
    ///
    /// # Errors
    /// Gives the job back when too many wait: the caller makes the call itself.
    fn later(&self, job: Job) -> Result<(), Job>;
}

/// What is at the other end of a device that speaks to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nobody: what is sent vanishes, and nothing ever comes.
    Nobody,
    /// The device itself: what is sent comes back.
    Loopback,
    /// The host, by [`VirtioDevice::take_output`] and [`VirtioDevice::receive`]. A host that takes nothing makes the
    /// driver wait.
    Host,
}

/// Feature bits a device offers on each version of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Version 1: the 32 bits that legacy drivers see.
    pub legacy: u32,
    /// Version 2: all bits, [`feature::VERSION_1`] among them.
    pub modern: u64,
}

/// Device-independent feature bits. Source: virtio 1.2, 6 "Reserved Feature Bits" and 6.3 "Legacy Interface: Reserved
/// Feature Bits".
pub mod feature {
    /// Legacy: notify when the available ring runs empty, even though suppressed.
    pub const NOTIFY_ON_EMPTY: u64 = 1 << 24;
    /// Legacy: no assumption about message framing.
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// Descriptors may refer to a table of descriptors.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// `used_event` and `avail_event` are in use.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// The device and the driver follow virtio 1.0 or later.
    pub const VERSION_1: u64 = 1 << 32;
}

/// What every device of this machine offers beside its own bits.
pub const RING_FEATURES: Features = Features {
    legacy: (feature::NOTIFY_ON_EMPTY | feature::ANY_LAYOUT | feature::INDIRECT_DESC | feature::EVENT_IDX) as u32,
    modern: feature::INDIRECT_DESC | feature::EVENT_IDX | feature::VERSION_1,
};
