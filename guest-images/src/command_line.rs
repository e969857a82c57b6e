//! The command line: which ports an image may use, and which virtio devices the VMM names.

/// What the command line tells an image about the machine; of a repeated option the last counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'a> {
    /// `channel=PORT`: base of the 16550 for frames or text. 0x3f8 when absent.
    pub channel: u16,
    /// `exit=PORT`, `exit=PORT:BYTE` or `exit=triple-fault`: the image's last act. Absent: it halts instead.
    pub exit: Option<Exit>,
    /// `marks=PORT`: port for boot marks.
    pub marks: Option<u16>,
    /// `virtio-base=`, `virtio-stride=`, `virtio-count=`: transports to look at, occupied or not.
    pub virtio_window: Option<VirtioWindow>,
    /// The first of these options whose value is no number of its range; it counts as absent.
    pub wrong: Option<&'a str>,
}

/// How an image ends the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A byte to a port.
    Port {
        /// The port, not 0.
        port: u16,
        /// The byte; without one, the image's verdict, which a debug-exit device makes a status.
        byte: Option<u8>,
    },
    /// A fault that cannot be delivered.
    TripleFault,
}

/// Transports at `base`, `base + stride`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioWindow {
    /// Guest-physical address of the first.
    pub base: u64,
    /// Bytes from one to the next; 512 when not told.
    pub stride: u64,
    /// Number of transports, at most [`VIRTIO_COUNT_MAX`]; 8 when not told.
    pub count: u32,
}

/// One `virtio_mmio.device=SIZE@BASE:IRQ[:ID]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioDevice {
    /// Size of its registers in bytes.
    pub size: u64,
    /// Guest-physical address of its registers.
    pub base: u64,
    /// Its interrupt.
    pub irq: u32,
}

/// Most transports of a [`VirtioWindow`].
pub const VIRTIO_COUNT_MAX: u32 = 64;

impl<'a> Options<'a> {
    /// Reads the options in `text`; what is not for the images is passed over.
    pub fn parse(text: &'a str) -> Self {
        let mut options = Self {
            channel: 0x3f8,
            exit: None,
            marks: None,
            virtio_window: None,
            wrong: None,
        };
        let mut window = VirtioWindow {
            base: 0,
            stride: 512,
            count: 8,
        };
        for word in words(text) {
            let Some((name, value)) = word.split_once('=') else {
                continue;
            };
            let number = number(value);
            let port = number
                .and_then(|number| u16::try_from(number).ok())
                .filter(|&port| port != 0);
            let accepted = match name {
                "channel" => port.map(|port| options.channel = port),
                "exit" => exit_way(value).map(|exit| options.exit = Some(exit)),
                "marks" => port.map(|port| options.marks = Some(port)),
                "virtio-base" => number.filter(|&base| base != 0).map(|base| window.base = base),
                "virtio-stride" => number.filter(|stride| (1..=1 << 32).contains(stride)).map(|stride| {
                    window.stride = stride;
                }),
                "virtio-count" => number
                    .and_then(|count| u32::try_from(count).ok())
                    .filter(|&count| count <= VIRTIO_COUNT_MAX)
                    .map(|count| window.count = count),
                _ => continue,
            };
            if accepted.is_none() {
                options.wrong = options.wrong.or(Some(word));
            }
        }
        if window.base != 0 {
            options.virtio_window = Some(window);
        }
        options
    }
}

/// The virtio-mmio devices that `text` names, in order; `Err` with the word for one that is not of that form.
pub fn virtio_devices(text: &str) -> impl Iterator<Item = Result<VirtioDevice, &str>> {
    words(text).filter_map(|word| {
        let value = word.strip_prefix("virtio_mmio.device=")?;
        Some(virtio_device(value).ok_or(word))
    })
}

/// Words up to `--`, behind which stands what Linux hands to init.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace().take_while(|&word| word != "--")
}

fn virtio_device(value: &str) -> Option<VirtioDevice> {
    let (size, rest) = value.split_once('@')?;
    let (base, rest) = rest.split_once(':')?;
    let irq = match rest.split_once(':') {
        Some((irq, id)) => number(id).and(Some(irq))?,
        None => rest,
    };
    Some(VirtioDevice {
        size: number(size)?,
        base: number(base)?,
        irq: u32::try_from(number(irq)?).ok()?,
    })
}

/// The way that a value of `exit=` names: `PORT`, `PORT:BYTE` or `triple-fault`.
pub fn exit_way(value: &str) -> Option<Exit> {
    if value == "triple-fault" {
        return Some(Exit::TripleFault);
    }
    let (port, byte) = match value.split_once(':') {
        Some((port, byte)) => (port, Some(u8::try_from(number(byte)?).ok()?)),
        None => (value, None),
    };
    let port = u16::try_from(number(port)?).ok().filter(|&port| port != 0)?;
    Some(Exit::Port { port, byte })
}

/// Hexadecimal with `0x`, else decimal; `K`, `M` or `G` multiply, as Linux's memparse has it.
fn number(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn nothing_told_means_the_defaults() {
        let options = Options::parse("console=ttyS0 quiet");
        assert_eq!(
            options,
            Options {
                channel: 0x3f8,
                exit: None,
                marks: None,
                virtio_window: None,
                wrong: None
            }
        );
    }

    #[test]
    fn ports_and_window_are_read() {
        let options = Options::parse("channel=0x2f8 exit=244 marks=0x80 exit=0xf5 virtio-base=0xfeb00000 -- exit=1");
        assert_eq!(
            (options.channel, options.exit, options.marks),
            (0x2f8, Some(Exit::Port { port: 0xf5, byte: None }), Some(0x80))
        );
        assert_eq!(
            options.virtio_window,
            Some(VirtioWindow {
                base: 0xfeb0_0000,
                stride: 512,
                count: 8
            })
        );
        assert_eq!(options.wrong, None);
    }

    #[test]
    fn machines_without_a_debug_exit_are_ended_otherwise() {
        let reset = Exit::Port {
            port: 0x64,
            byte: Some(0xfe),
        };
        assert_eq!(Options::parse("exit=0x64:0xfe").exit, Some(reset));
        assert_eq!(Options::parse("exit=100:254").exit, Some(reset));
        assert_eq!(Options::parse("exit=triple-fault").exit, Some(Exit::TripleFault));
    }

    #[test]
    fn wrong_numbers_are_named_and_count_as_absent() {
        for text in [
            "exit=0x",
            "exit=",
            "exit=65536",
            "exit=0",
            "exit=+4",
            "exit=0xfg",
            "exit=0x64:",
            "exit=:0xfe",
            "exit=0x64:256",
            "exit=triple",
            "virtio-count=65",
            "exit=99999999999999999999",
        ] {
            let options = Options::parse(text);
            assert_eq!((options.exit, options.wrong), (None, Some(text)));
        }
    }

    #[test]
    fn virtio_devices_of_qemu_and_of_firecracker_are_read() {
        let text =
            "virtio_mmio.device=512@0xfeb00e00:12 ro virtio_mmio.device=4K@0xd0000000:5:1 virtio_mmio.device=512@x:1";
        let devices: Vec<_> = virtio_devices(text).collect();
        assert_eq!(
            devices,
            [
                Ok(VirtioDevice {
                    size: 512,
                    base: 0xfeb0_0e00,
                    irq: 12
                }),
                Ok(VirtioDevice {
                    size: 4096,
                    base: 0xd000_0000,
                    irq: 5
                }),
                Err("virtio_mmio.device=512@x:1"),
            ]
        );
    }
}
