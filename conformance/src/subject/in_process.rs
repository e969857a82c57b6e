//! Depth bus: the reference machine, linked. The only file of the suite that names `vmm`.

use std::collections::VecDeque;
use std::sync::Arc;

use vmm::board::config::{
    Blob, Config, ConsoleTo, DeviceConfig, DeviceKind, DiskConfig, NetworkConfig, NetworkTo, OnOffAuto, round_ram,
};
use vmm::board::profile::Profile;
use vmm::chip::ioapic::is_extint;
use vmm::chip::pic::Pic;
use vmm::device::Event;
use vmm::units::Nanos;
use vmm::virtio::blk::MemoryDisk;

use super::date::seconds_of;
use super::disk;
use super::kernel;
use super::options;
use super::peer;
use crate::case::{Feature, Setup};
use crate::layout::Layout;
use crate::machine::{
    Adapter, BootFailure, Caps, Depth, Facts, HostAction, LineEvent, Machine, Output, Stop, Width, Wire,
};

/// Powers on reference machines.
pub struct InProcessAdapter;

impl Adapter for InProcessAdapter {
    fn depth(&self) -> Depth {
        Depth::Bus
    }

    fn caps(&self) -> Caps {
        CAPS
    }

    fn boot(&self, setup: &Setup, layout: &Layout) -> Result<Box<dyn Machine>, BootFailure> {
        let config = config(setup, layout)?;
        let mut machine =
            vmm::machine::Machine::new(&config).map_err(|error| Stop::Unavailable(format!("build it: {error}")))?;
        machine.watch_lines();
        let facts = Facts {
            append: setup.append.map(str::to_owned),
            kernel_entry: kernel::entry_of_setup(setup),
            kvm: config.kvm,
            ..Facts::default()
        };
        Ok(Box::new(InProcess {
            machine,
            layout: layout.clone(),
            facts,
            sent: Vec::new(),
            coming_back: VecDeque::new(),
            outputs: VecDeque::new(),
            ext_ints: 0,
        }))
    }
}

struct InProcess {
    machine: vmm::machine::Machine,
    layout: Layout,
    facts: Facts,
    /// What the serial port sent and nobody asked for yet.
    sent: Vec<u8>,
    /// What networks and consoles sent to the host, which sends it back: transport and data, oldest first.
    coming_back: VecDeque<(u8, Vec<u8>)>,
    /// What went to CPUs and to the debugging devices' host, and nobody asked for yet.
    outputs: VecDeque<Output>,
    /// Messages with delivery mode ExtINT that no INTA cycle has answered yet.
    ext_ints: u32,
}

impl InProcess {
    /// Takes what the devices told the world, so that the machine's own log stays short, and does the host's part.
    fn collect(&mut self) {
        loop {
            let mut has_output = false;
            for event in self.machine.take_events() {
                match event {
                    Event::SerialOut(byte) => self.sent.push(byte),
                    Event::Reset => self.machine.reset(),
                    Event::VirtioOut => has_output = true,
                    Event::Msi { address, data } => {
                        self.ext_ints += u32::from(is_extint(data));
                        self.outputs.push_back(Output::Message { address, data });
                    }
                    Event::Intr { level } => self.outputs.push_back(Output::Int { level }),
                    Event::DebugOut(byte) => self.outputs.push_back(Output::DebugConsole(byte)),
                    Event::DebugExit { value } => self.outputs.push_back(Output::DebugExit(value)),
                    Event::BootMark { mark } => self.outputs.push_back(Output::BootMark(mark)),
                }
            }
            if has_output {
                self.coming_back.extend(self.machine.take_output());
            }
            if !self.send_back() {
                break;
            }
        }
        let excess = self.outputs.len().saturating_sub(OUTPUTS_MAX);
        self.outputs.drain(..excess);
        let excess = self.sent.len().saturating_sub(SENT_BYTES_MAX);
        self.sent.drain(..excess);
        let excess = self.coming_back.len().saturating_sub(COMING_BACK_MAX);
        self.coming_back.drain(..excess);
    }

    /// Hands back what the oldest sender has room for; says whether it took anything.
    fn send_back(&mut self) -> bool {
        let Some((transport, data)) = self.coming_back.front_mut() else {
            return false;
        };
        let room = self.machine.room(*transport);
        if room == 0 {
            return false;
        }
        let now = &data[..data.len().min(room)];
        let taken = self.machine.receive(*transport, now);
        data.drain(..taken);
        if data.is_empty() {
            self.coming_back.pop_front();
        }
        taken != 0
    }
}

impl Machine for InProcess {
    fn caps(&self) -> Caps {
        CAPS
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop> {
        Ok(self.machine.port_read(port, theirs(width)))
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        self.machine.port_write(port, theirs(width), value);
        self.collect();
        Ok(())
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop> {
        Ok(self.machine.load(gpa, theirs(width)))
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        self.machine.store(gpa, theirs(width), value);
        self.collect();
        Ok(())
    }

    /// Beyond RAM a bulk access is what single accesses are there: zeros read, writes dropped.
    fn read_memory(&mut self, gpa: u64, into: &mut [u8]) -> Result<(), Stop> {
        into.fill(0);
        let _beyond_ram_is_zero = self.machine.memory().read(gpa, into);
        Ok(())
    }

    fn write_memory(&mut self, gpa: u64, from: &[u8]) -> Result<(), Stop> {
        let _beyond_ram_is_dropped = self.machine.memory().write(gpa, from);
        Ok(())
    }

    fn advance(&mut self, by_ns: u64) -> Result<(), Stop> {
        let then = self.machine.now().saturating_add(Nanos(by_ns));
        self.machine.advance_to(then);
        self.collect();
        Ok(())
    }

    fn line_events(&mut self) -> Result<Vec<LineEvent>, Stop> {
        let changes = self.machine.take_line_changes().into_iter();
        Ok(changes
            .map(|change| LineEvent {
                gsi: change.gsi,
                level: change.level,
            })
            .collect())
    }

    fn host(&mut self, action: &HostAction) -> Result<(), Stop> {
        let HostAction::SerialInput(bytes) = action;
        if self.machine.type_on_serial(bytes) {
            Ok(())
        } else {
            let text = "there is no serial port, or too much waits to be read from it".to_owned();
            Err(Stop::Unavailable(text))
        }
    }

    fn serial_output(&mut self) -> Result<Vec<u8>, Stop> {
        self.collect();
        Ok(std::mem::take(&mut self.sent))
    }

    fn outputs(&mut self) -> Result<Vec<Output>, Stop> {
        self.collect();
        Ok(self.outputs.drain(..).collect())
    }

    fn acknowledge(&mut self, wire: Wire) -> Result<Option<u8>, Stop> {
        self.collect();
        let asks = match wire {
            Wire::Int => self.machine.board().pic.as_ref().is_some_and(Pic::intr),
            Wire::ExtInt => 0 < self.ext_ints,
        };
        if !asks {
            return Ok(None);
        }
        if wire == Wire::ExtInt {
            self.ext_ints -= 1;
        }
        let inta = self
            .machine
            .with_board(|board, ctx| board.pic.as_mut().map(|pic| pic.acknowledge(ctx)));
        self.collect();
        Ok(inta)
    }

    fn refusal(&mut self, setup: &Setup) -> Result<Option<String>, Stop> {
        let config = config(setup, &self.layout)?;
        let built = vmm::machine::Machine::new(&config);
        Ok(built.err().map(|error| error.to_string()))
    }

    fn reset(&mut self) -> Result<(), Stop> {
        self.machine.reset();
        self.collect();
        Ok(())
    }

    fn post_mortem(&mut self) -> String {
        self.machine.inspect().to_string()
    }
}

fn config(setup: &Setup, layout: &Layout) -> Result<Config, Stop> {
    let lacks = |what: String| Stop::Unavailable(format!("the reference machine has no {what}"));
    let profile = Profile::by_name(layout.profile).ok_or_else(|| lacks(format!("profile '{}'", layout.profile)))?;
    let mut config = Config::new(profile);
    config.ram_bytes =
        round_ram(setup.ram_bytes).ok_or_else(|| lacks(format!("RAM of {:#x} bytes", setup.ram_bytes)))?;
    config.max_ram_below_4g = setup.max_ram_below_4g;
    config.cpus = setup.cpus;
    config.cpus_max = setup.cpus_max;
    config.virtio_modern = layout.is_modern(setup);
    config.rtc_start_seconds = seconds_of(setup.rtc_base).ok_or_else(|| lacks(format!("date '{}'", setup.rtc_base)))?;
    // No CPU runs it; but the ROM is memory, and DMA reaches it.
    config.bios = layout.has(Feature::Firmware).then(|| Blob {
        name: "halt.bios".to_owned(),
        bytes: Arc::from(kernel::halt_bios()),
    });
    for &(name, value) in setup.options.iter().filter(|(name, _)| layout.takes_option(name)) {
        if (name, value) == ("accel", "kvm") {
            // No KVM is there; it is what the tables say that depends on it.
            config.kvm = true;
            continue;
        }
        let switch = match value {
            "on" => OnOffAuto::On,
            "off" => OnOffAuto::Off,
            "auto" => OnOffAuto::Auto,
            _ => return Err(lacks(format!("value '{value}' for option '{name}'"))),
        };
        match name {
            "pic" => config.pic = switch,
            "pit" => config.pit = switch,
            "rtc" => config.rtc = switch,
            "isa-serial" => config.isa_serial = switch.unless_off(),
            "x-option-roms" => config.x_option_roms = switch.unless_off(),
            "auto-kernel-cmdline" => config.auto_kernel_cmdline = switch.unless_off(),
            _ => return Err(lacks(format!("option '{name}'"))),
        }
    }
    // The reference has both, and both are held to the same: devices that send back what they get themselves, and a
    // host that does.
    let loops_back = layout.profile == LOOPS_BACK;
    for &device in setup.devices {
        let kind = match device {
            "virtio-rng" => DeviceKind::Rng,
            "isa-debug-exit" => {
                config.debug_exit = Some(DEBUG_EXIT_PORT);
                continue;
            }
            "isa-debugcon" => {
                config.debug_console = Some(DEBUG_CONSOLE_PORT);
                continue;
            }
            "virtio-rng-at-2" => {
                let (kind, transport) = (DeviceKind::Rng, Some(2));
                config.devices.push(DeviceConfig { kind, transport });
                continue;
            }
            "option-rom" => {
                config.option_roms.push(Blob {
                    name: format!("roms/{}", options::OPTION_ROM.0),
                    bytes: Arc::from(options::OPTION_ROM.1),
                });
                continue;
            }
            "fw-cfg-file" => {
                let (name, text) = options::FW_CFG_FILE;
                config.fw_cfg_files.push((name.to_owned(), text.into()));
                continue;
            }
            "fw-cfg-file-without-name" => {
                config.fw_cfg_files.push((String::new(), Vec::new()));
                continue;
            }
            "fw-cfg-file-with-long-name" => {
                config
                    .fw_cfg_files
                    .push((format!("{}s", options::FW_CFG_FILE.0), Vec::new()));
                continue;
            }
            "boot-marks" => {
                config.boot_marks = Some(BOOT_MARK_PORT);
                continue;
            }
            disk::DEVICE => DeviceKind::Blk(disk_config(false)),
            disk::DEVICE_READ_ONLY => DeviceKind::Blk(disk_config(true)),
            peer::NETWORK => DeviceKind::Net(NetworkConfig {
                mac: Some(peer::MAC),
                to: if loops_back {
                    NetworkTo::Loopback
                } else {
                    NetworkTo::Tap(HOST.to_owned())
                },
            }),
            peer::CONSOLE if loops_back => DeviceKind::Console(ConsoleTo::Loopback),
            peer::CONSOLE => DeviceKind::Console(ConsoleTo::Unix(HOST.into())),
            _ => return Err(lacks(format!("device '{device}'"))),
        };
        config.devices.push(DeviceConfig { kind, transport: None });
    }
    if let Some(append) = setup.append {
        config.append = append.to_owned();
        config.kernel = Some(Blob {
            name: "kernel".to_owned(),
            bytes: Arc::from(kernel::of_setup(setup)),
        });
    }
    Ok(config)
}

fn disk_config(read_only: bool) -> DiskConfig {
    DiskConfig {
        name: "disk".to_owned(),
        read_only,
        open: Arc::new(|| Box::new(MemoryDisk::new(disk::image()))),
    }
}

fn theirs(width: Width) -> vmm::units::Width {
    match width {
        Width::Byte => vmm::units::Width::Byte,
        Width::Word => vmm::units::Width::Word,
        Width::Dword => vmm::units::Width::Dword,
        Width::Qword => vmm::units::Width::Qword,
    }
}

/// Ports of the debugging devices, as QEMU's users put them.
const DEBUG_EXIT_PORT: u16 = 0xf4;
const DEBUG_CONSOLE_PORT: u16 = 0x402;

/// The profile as which networks and consoles are their own other end.
const LOOPS_BACK: &str = "microvm-2019";

/// The host's end of networks and consoles, which nothing opens: this adapter is the host.
const HOST: &str = "touchstone";

/// Most frames of networks and runs of bytes of consoles that wait for their devices; the oldest go first.
const COMING_BACK_MAX: usize = 1024;

/// The port that the suite asks for boot marks at.
const BOOT_MARK_PORT: u16 = 0x3f0;

/// Most bytes kept of what the serial port sent; the oldest go first.
const SENT_BYTES_MAX: usize = 1 << 20;

/// Most outputs kept that nobody asked for; the oldest go first.
const OUTPUTS_MAX: usize = 1 << 16;

const CAPS: Caps = Caps::CLOCK
    .with(Caps::LINES)
    .with(Caps::SERIAL)
    .with(Caps::SERIAL_INPUT)
    .with(Caps::SERIAL_OUTPUT)
    .with(Caps::RESET)
    .with(Caps::QUEUES)
    .with(Caps::FROZEN)
    .with(Caps::FIRMWARE)
    .with(Caps::TIME)
    .with(Caps::OUTPUTS)
    .with(Caps::REFUSALS);
