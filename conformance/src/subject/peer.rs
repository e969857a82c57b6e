//! The other end of networks and consoles: every subject's sends back what it gets.
//!
//! A machine that cannot do that by itself is given `{peer}`, the path of a socket: a network binds a datagram socket
//! there and sends to it, a console connects to a stream socket at which an echo listens.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use crate::case::Setup;
use crate::machine::{Broken, Stop};

/// A network device, as a set-up names it: what is sent comes back, and its address is [`MAC`].
pub const NETWORK: &str = "virtio-net";

/// A console with one port, as a set-up names it: what is sent comes back.
pub const CONSOLE: &str = "virtio-console";

/// The address of a network device: one of the locally administered.
pub const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0xa5, 0x5a, 0x01];

/// The other ends of one machine's devices; they go with the value.
#[derive(Debug, Default)]
pub(super) struct Peers {
    paths: Vec<Option<String>>,
    echoes: Vec<String>,
}

impl Peers {
    /// Starts an echo for each console of a set-up, and chooses paths in `folder` for all that need one.
    ///
    /// # Errors
    /// [`Broken::Start`] when a socket cannot be made.
    pub(super) fn start(folder: &Path, setup: &Setup) -> Result<Peers, Stop> {
        let mut peers = Peers::default();
        for (index, device) in setup.devices.iter().enumerate() {
            let path = folder.join(format!("peer{index}")).display().to_string();
            if *device == CONSOLE {
                let start = |error: io::Error| Broken::Start(format!("start a console's echo: {error}"));
                let listener = UnixListener::bind(&path).map_err(start)?;
                let echo = thread::Builder::new().name("echo".to_owned());
                echo.spawn(move || echo_one(&listener)).map_err(start)?;
                peers.echoes.push(path.clone());
            }
            peers.paths.push(has_peer(device).then_some(path));
        }
        Ok(peers)
    }

    /// `{peer}` of each device of the set-up that has one.
    pub(super) fn paths(&self) -> Vec<Option<String>> {
        self.paths.clone()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for path in &self.echoes {
            // An echo that nobody came to waits for this; for every other it means nothing.
            let _nobody_waits = UnixStream::connect(path);
        }
    }
}

/// Whether a device of a set-up has another end.
fn has_peer(device: &str) -> bool {
    [NETWORK, CONSOLE].contains(&device)
}

/// Sends back what the first to connect sends, until it goes.
fn echo_one(listener: &UnixListener) {
    let Ok((mut stream, _)) = listener.accept() else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_gets_back_what_it_sends_and_a_network_gets_a_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let setup = Setup {
            devices: &["virtio-rng", NETWORK, CONSOLE],
            ..Setup::DEFAULT
        };
        let peers = Peers::start(folder.path(), &setup).expect("starts");
        let paths = peers.paths();
        assert_eq!(
            paths.iter().map(Option::is_some).collect::<Vec<_>>(),
            [false, true, true]
        );
        let mut stream = UnixStream::connect(paths[2].as_ref().expect("a path")).expect("it listens");
        stream.write_all(b"hello").expect("sends");
        let mut back = [0; 5];
        stream.read_exact(&mut back).expect("comes back");
        assert_eq!(&back, b"hello");
    }
}
