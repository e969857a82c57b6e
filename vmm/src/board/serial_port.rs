//! The serial port of the board: the profile says which of two models it is.

use crate::chip::serial::Serial;
use crate::chip::superio_serial::SuperioSerial;
use crate::device::{Ctx, Device};
use crate::irq::Line;

/// The models there are; a profile names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SerialModel {
    /// This project's own 16550A, [`Serial`].
    Ns16550a,
    /// Crate vm-superio's, [`SuperioSerial`].
    VmSuperio,
}

/// The serial port, whichever it is.
#[derive(Debug)]
pub enum SerialPort {
    /// [`SerialModel::Ns16550a`].
    Ns16550a(Serial),
    /// [`SerialModel::VmSuperio`].
    VmSuperio(SuperioSerial),
}

impl SerialPort {
    /// A port at power-on whose eight registers start at port `base`.
    pub fn new(model: SerialModel, base: u16, line: Line) -> SerialPort {
        match model {
            SerialModel::Ns16550a => SerialPort::Ns16550a(Serial::new(base, line)),
            SerialModel::VmSuperio => SerialPort::VmSuperio(SuperioSerial::new(base, line)),
        }
    }

    /// Takes bytes from the host as far as there is room, and says how many.
    pub fn receive(&mut self, bytes: &[u8], ctx: &mut Ctx<'_>) -> usize {
        match self {
            SerialPort::Ns16550a(port) => port.receive(bytes, ctx),
            SerialPort::VmSuperio(port) => port.receive(bytes, ctx),
        }
    }

    /// How many bytes [`SerialPort::receive`] would take.
    pub fn room(&self) -> usize {
        match self {
            SerialPort::Ns16550a(port) => port.room(),
            SerialPort::VmSuperio(port) => port.room(),
        }
    }

    /// The port as a device.
    pub fn device(&self) -> &dyn Device {
        match self {
            SerialPort::Ns16550a(port) => port,
            SerialPort::VmSuperio(port) => port,
        }
    }

    /// The port as a device to be spoken to.
    pub fn device_mut(&mut self) -> &mut dyn Device {
        match self {
            SerialPort::Ns16550a(port) => port,
            SerialPort::VmSuperio(port) => port,
        }
    }
}
