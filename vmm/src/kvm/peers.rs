//! The host's side of virtio networks and consoles.
//!
//! What a device sends goes out while the machine is settled and never waits. What comes in is read by the waiting
//! thread, only while the device has room for it, so nothing piles up here.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::board::config::{Config, ConsoleTo, DeviceKind, NetworkTo};
use crate::board::transports;
use crate::host::options::SerialTo;
use crate::host::sandbox::Sandbox;
use crate::host::serial::{self, Input, SerialInput, SerialOutput, Streams};
use crate::host::tap::Tap;
use crate::host::wake::Wake;
use crate::machine::Machine;
use crate::virtio::console::ARRIVED_BYTES_MAX;
use crate::virtio::net::FRAME_BYTES_MAX;

/// The ways from the devices to the host.
pub(super) struct Peers {
    outputs: Vec<(u8, Output)>,
    /// Transports, as bits, whose input waits for room.
    waiting: AtomicU32,
}

/// The ways from the host to the devices; the waiting thread has them.
#[derive(Default)]
pub(super) struct PeerInputs {
    inputs: Vec<PeerInput>,
}

enum Output {
    Console(SerialOutput),
    Tap(Arc<Tap>),
}

struct PeerInput {
    transport: u8,
    /// `None` once nothing can come any more.
    from: Option<Source>,
    /// Frames, or a run of bytes, that the device has not taken yet.
    read: VecDeque<Vec<u8>>,
}

enum Source {
    Console(SerialInput),
    Tap(Arc<Tap>),
}

/// The other end of a device, opened; nothing is sent or read yet.
pub(super) enum Opened {
    Console(Streams),
    Tap(Arc<Tap>),
}

/// Opens what the devices of `config` are connected to, each with its transport.
///
/// # Errors
/// Text that names the device, what is wrong and what to do.
pub(super) fn open(config: &Config) -> Result<Vec<(u8, Opened)>, String> {
    let mut opened = Vec::new();
    let places = transports::assign(config.profile, &config.devices)?;
    for (transport, device) in places.into_iter().enumerate() {
        let Some(device) = device else { continue };
        let peer = match &config.devices[device].kind {
            DeviceKind::Net(network) => match &network.to {
                NetworkTo::Tap(name) => {
                    let tap = Tap::attach(name);
                    Opened::Tap(Arc::new(
                        tap.map_err(|text| format!("--device virtio-net,tap='{name}': {text}"))?,
                    ))
                }
                NetworkTo::Null | NetworkTo::Loopback => continue,
            },
            DeviceKind::Console(to) => {
                let to = match to {
                    ConsoleTo::Null | ConsoleTo::Loopback => continue,
                    ConsoleTo::Stdio => SerialTo::Stdio,
                    ConsoleTo::File(path) => SerialTo::File(path.clone()),
                    ConsoleTo::Unix(path) => SerialTo::Unix(path.clone()),
                };
                Opened::Console(serial::open("--device virtio-console,to=", &to)?)
            }
            DeviceKind::Rng | DeviceKind::Blk(_) => continue,
        };
        opened.push((transport as u8, peer));
    }
    Ok(opened)
}

impl Peers {
    /// Starts the writers, in the sandbox.
    ///
    /// # Errors
    /// The host gives no thread.
    pub(super) fn start(
        opened: Vec<(u8, Opened)>,
        wake: &Arc<Wake>,
        sandbox: &Sandbox,
    ) -> Result<(Peers, PeerInputs), String> {
        let (mut outputs, mut inputs) = (Vec::new(), Vec::new());
        for (transport, peer) in opened {
            let (output, from) = match peer {
                Opened::Tap(tap) => (Output::Tap(Arc::clone(&tap)), Some(Source::Tap(tap))),
                Opened::Console(streams) => {
                    let (output, input) = streams.start(wake, sandbox)?;
                    (Output::Console(output), input.map(Source::Console))
                }
            };
            outputs.push((transport, output));
            if from.is_some() {
                let read = VecDeque::new();
                inputs.push(PeerInput { transport, from, read });
            }
        }
        let waiting = AtomicU32::new(0);
        Ok((Peers { outputs, waiting }, PeerInputs { inputs }))
    }

    /// Sends what the devices have for the host; never waits for it.
    pub(super) fn send(&self, output: Vec<(u8, Vec<u8>)>) {
        for (transport, data) in output {
            match self.outputs.iter().find(|(index, _)| *index == transport) {
                Some((_, Output::Console(console))) => console.send(&data),
                Some((_, Output::Tap(tap))) => {
                    let _dropped_unless_sent = tap.send(&data);
                }
                None => {}
            }
        }
    }

    /// Whether a device has room again for what waits for it; says so once.
    pub(super) fn take_room(&self, machine: &Machine) -> bool {
        let waiting = self.waiting.load(Ordering::SeqCst);
        let has_room = |transport: u8| waiting & bit(transport) != 0 && machine.room(transport) != 0;
        let found = waiting != 0 && self.outputs.iter().any(|(transport, _)| has_room(*transport));
        if found {
            self.waiting.store(0, Ordering::SeqCst);
        }
        found
    }

    /// Waits until the consoles' peers have taken what was sent, or take none of it for `limit`; returns how many bytes
    /// are lost.
    pub(super) fn drain(&self, limit: Duration) -> u64 {
        let consoles = self.outputs.iter().filter_map(|(_, output)| match output {
            Output::Console(console) => Some(console),
            Output::Tap(_) => None,
        });
        consoles
            .map(|console| {
                let left = console.drain(limit) as u64;
                console.dropped_bytes() + if console.is_gone() { 0 } else { left }
            })
            .sum()
    }
}

impl PeerInputs {
    /// Hands over what was read as far as the devices take it, and notes who waits for room.
    pub(super) fn feed(&mut self, machine: &mut Machine, peers: &Peers) {
        let mut waiting = 0;
        for input in &mut self.inputs {
            while let Some(data) = input.read.front_mut() {
                let taken = machine.receive(input.transport, data);
                if taken < data.len() {
                    data.drain(..taken);
                    break;
                }
                input.read.pop_front();
            }
            if machine.room(input.transport) == 0 || !input.read.is_empty() {
                waiting |= bit(input.transport);
            }
        }
        peers.waiting.store(waiting, Ordering::SeqCst);
    }

    /// What to poll: the inputs whose devices have room.
    pub(super) fn poll_fds(&self, peers: &Peers) -> Vec<PollFd<'_>> {
        let waiting = peers.waiting.load(Ordering::SeqCst);
        let inputs = self.inputs.iter().map(|input| {
            let from = input.from.as_ref().filter(|_| waiting & bit(input.transport) == 0);
            from.map(|from| PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN))
        });
        inputs.flatten().collect()
    }

    /// Reads from the inputs that poll announced: those of [`PeerInputs::poll_fds`], in order.
    pub(super) fn read(&mut self, announced: &[(i32, bool)]) {
        for input in &mut self.inputs {
            let Some(from) = &mut input.from else { continue };
            let fd = from.as_fd().as_raw_fd();
            if announced.contains(&(fd, true)) && !from.read_into(&mut input.read) {
                input.from = None;
            }
        }
    }
}

impl Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Source::Console(console) => console.as_fd(),
            Source::Tap(tap) => tap.as_fd(),
        }
    }

    /// Reads what is there, within bounds; false when nothing can come any more.
    fn read_into(&mut self, read: &mut VecDeque<Vec<u8>>) -> bool {
        match self {
            Source::Console(console) => {
                let mut bytes = vec![0; ARRIVED_BYTES_MAX];
                match console.read(&mut bytes) {
                    Input::Bytes(count) => {
                        bytes.truncate(count);
                        read.push_back(bytes);
                        true
                    }
                    Input::Later => true,
                    Input::End => false,
                }
            }
            Source::Tap(tap) => {
                let mut frame = vec![0; FRAME_BYTES_MAX];
                for _ in 0..FRAMES_READ_MAX {
                    match tap.receive(&mut frame) {
                        Ok(Some(length)) => read.push_back(frame[..length].to_vec()),
                        Ok(None) => break,
                        Err(_) => return false,
                    }
                }
                true
            }
        }
    }
}

fn bit(transport: u8) -> u32 {
    1_u32.checked_shl(u32::from(transport)).unwrap_or(0)
}

/// Most frames read from an interface before the device sees them.
const FRAMES_READ_MAX: usize = 64;
