//! The board: a profile and a configuration become devices at addresses, wired to lines.

use crate::bus::{AddressMap, Overlap};
use crate::chip::debug_exit::{self, DebugExit};
use crate::device::Device;
use crate::memory::{MapError, Memory};

pub mod config;
pub mod profile;
pub mod ram;

use config::Config;
use ram::RamLayout;

/// The devices of one machine. Absent devices are `None`; their addresses answer as an empty bus.
pub struct Board {
    /// The debug-exit port.
    pub debug_exit: Option<DebugExit>,
    /// Where RAM lies.
    pub ram: RamLayout,
}

/// Names a device of the board; the order is the order of ticks that fall on the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// [`Board::debug_exit`].
    DebugExit,
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Slot::DebugExit => f.write_str("debug_exit"),
        }
    }
}

/// A machine that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The host has no memory for the guest.
    #[error(transparent)]
    Memory(#[from] MapError),
    /// Two devices claim an address.
    #[error("place a device: {0}")]
    Overlap(#[from] Overlap),
    /// The configuration asks for something the machine does not have; the text names option, value and fix.
    #[error("{0}")]
    Config(String),
}

impl Board {
    /// Builds the devices, the address map and guest memory.
    ///
    /// # Errors
    /// [`BuildError`]: memory refused by the host, addresses claimed twice, or a configuration the machine cannot be.
    pub fn new(config: &Config) -> Result<(Board, AddressMap<Slot>, Memory), BuildError> {
        let ram = RamLayout::new(&config.profile.ram_split, config.ram_bytes, config.max_ram_below_4g);
        let memory = Memory::new(&ram.ranges())?;
        let debug_exit = config.debug_exit.map(|port| DebugExit::new(port, debug_exit::LENGTH));
        let board = Board { debug_exit, ram };
        let mut map = AddressMap::new();
        for slot in board.slots() {
            if let Some(device) = board.device(slot) {
                map.add(slot, device.regions())?;
            }
        }
        Ok((board, map, memory))
    }

    /// All slots that may hold a device, in tick order.
    pub fn slots(&self) -> Vec<Slot> {
        vec![Slot::DebugExit]
    }

    /// The device in a slot.
    pub fn device(&self, slot: Slot) -> Option<&dyn Device> {
        match slot {
            Slot::DebugExit => self.debug_exit.as_ref().map(|device| device as &dyn Device),
        }
    }

    /// The device in a slot, to be spoken to.
    pub fn device_mut(&mut self, slot: Slot) -> Option<&mut dyn Device> {
        match slot {
            Slot::DebugExit => self.debug_exit.as_mut().map(|device| device as &mut dyn Device),
        }
    }
}
