//! The command line of `microvm`: long options named after QEMU's, so that fingers know them.
//!
//! Everything is parsed and every file read here; below, a [`Config`] is all there is. An option that this VMM does not
//! offer is an error that says so, never ignored.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::board::BuildError;
use crate::board::config::{
    BOOT_MARK_PORT, Blob, Config, ConsoleTo, DeviceConfig, DeviceKind, DiskConfig, KernelIrqchip, NetworkConfig,
    NetworkTo, OnOffAuto, round_ram,
};
use crate::board::profile::Profile;
use crate::boot::firmware;
use crate::chip::debug_console;
use crate::host::disk::HostDisk;
use crate::host::options::{DebugConsoleTo, RtcClock, RunOptions, SerialTo};
use crate::host::privileges::User;
use crate::virtio::Peer;

mod values;

use values::{Pairs, parse_date_time, parse_decimal, parse_mac, parse_number, parse_size};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "microvm", version, about = "The reference VMM of the microvm machine model.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `microvm` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a guest on KVM.
    Run(RunArgs),
    /// Serve the machine over the qtest line protocol, with virtual time and without a CPU; needs no KVM.
    Qtest(QtestArgs),
    /// Print a table of the machine; needs no KVM.
    Inspect(InspectArgs),
}

/// Options that say what the machine is; the same for every command.
#[derive(Args, Clone, Debug, Default)]
pub struct MachineArgs {
    /// Machine and its options: profile=P, pic|pit|rtc=on|off|auto,
    /// isa-serial|x-option-roms|auto-kernel-cmdline=on|off, kernel-irqchip=split|on, max-ram-below-4g=SIZE,
    /// virtio-mmio=modern|legacy, ioeventfd=on|off.
    #[arg(long, value_name = "microvm[,OPTION=VALUE]...")]
    pub machine: Option<String>,
    /// RAM; a bare number is MiB. Rounded up to 8 KiB [default: 128M].
    #[arg(
        short = 'm',
        long = "memory",
        value_name = "SIZE[K|M|G|T]",
        allow_hyphen_values = true
    )]
    pub memory: Option<String>,
    /// CPUs, and the most there can be [default: 1].
    #[arg(long, value_name = "N[,maxcpus=M]", allow_hyphen_values = true)]
    pub smp: Option<String>,
    /// What the RTC shows at power-on and what drives it: base=utc|localtime|YYYY-MM-DDTHH:MM:SS, clock=host|vm.
    #[arg(long, value_name = "OPTION=VALUE[,...]")]
    pub rtc: Option<String>,
    /// Kernel image: an ELF file with a PVH note, or a Linux bzImage.
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk; needs --kernel.
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Kernel command line; needs --kernel.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Firmware ROM, a multiple of 64 KiB: the CPU starts in it, and it gets the kernel by fw_cfg.
    #[arg(long, value_name = "FILE")]
    pub bios: Option<PathBuf>,
    /// Option ROM to offer to a firmware by fw_cfg as genroms/NAME; may be given more than once. One named pvh.bin or
    /// linuxboot_dma.bin is what starts the kernel, for a firmware that needs it.
    #[arg(long, value_name = "FILE")]
    pub option_rom: Vec<PathBuf>,
    /// virtio device; the first goes to the last transport: virtio-rng, virtio-blk,file=FILE[,readonly=on],
    /// virtio-net[,tap=INTERFACE|loopback=on][,mac=ADDRESS] or
    /// virtio-console[,to=stdio|null|file:FILE|unix:SOCKET|loopback=on], each [,bus=virtio-mmio-bus.N]. A network or
    /// console that is connected to nothing is there, and what it sends vanishes.
    #[arg(long, value_name = "KIND[,OPTION=VALUE]...")]
    pub device: Vec<String>,
    /// Port whose written value ends the VMM with status (value << 1) | 1, as QEMU's isa-debug-exit.
    #[arg(long, value_name = "PORT", allow_hyphen_values = true)]
    pub debug_exit: Option<String>,
    /// Further fw_cfg file: name=opt/NAME,file=FILE or name=opt/NAME,string=TEXT (a comma in TEXT is written twice).
    #[arg(long, value_name = "name=NAME,file=FILE|string=TEXT")]
    pub fw_cfg: Vec<String>,
}

/// Options of `microvm run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Peer of the serial port.
    #[arg(long, value_name = "stdio|null|file:FILE|unix:SOCKET", default_value = "stdio")]
    pub serial: String,
    /// End with status 0 when the guest resets the machine.
    #[arg(long)]
    pub no_reboot: bool,
    /// Where to print what the guest writes to port 0x402, the debug console; absent without this option.
    #[arg(long, value_name = "stdio|file:FILE")]
    pub debug_console: Option<String>,
    /// Note the time of every byte the guest writes to port 0x3f0, one line each.
    #[arg(long, value_name = "FILE")]
    pub boot_marks: Option<PathBuf>,
    /// Confine the VMM once everything is opened: a system call filter for each thread, no capabilities, no core dumps.
    #[arg(long, value_name = "on|off", default_value = "on")]
    pub sandbox: String,
    /// Become this user and group, by numbers, once everything is opened; needs root.
    #[arg(long, value_name = "UID:GID")]
    pub user: Option<String>,
}

/// Options of `microvm qtest`.
#[derive(Args, Debug)]
pub struct QtestArgs {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Speak over a stream socket instead of standard input and output: connect to a listening test, or listen
    /// with server=on.
    #[arg(long, value_name = "unix:PATH[,server=on]")]
    pub socket: Option<String>,
}

/// Options of `microvm inspect`.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Which table.
    #[arg(value_enum)]
    pub table: Table,
    /// Show the machine as `run` makes it, on KVM: no RTC unless rtc=on, and KVM's own pages reserved.
    #[arg(long)]
    pub kvm: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// The tables `microvm inspect` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Table {
    /// The memory map given to the guest.
    E820,
    /// The 128 bytes of CMOS.
    Cmos,
    /// The kernel command line the guest gets.
    Cmdline,
    /// Every key and file of fw_cfg.
    FwCfg,
    /// Devices, addresses, interrupts and RAM.
    Layout,
}

/// How a table is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs; sorted keys.
    Json,
}

/// Why a command ended; printed as one line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line cannot be understood or asks for what the machine cannot be: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// A file, a socket or the host failed: exit status 1.
    #[error("{0}")]
    Failed(String),
}

/// Where the RTC starts when `--rtc` says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcDefault {
    /// The host's time in UTC: for a guest that runs.
    HostUtc,
    /// [`Config::new`]'s fixed instant: for answers that are the same twice.
    Fixed,
}

impl CliError {
    /// The process's exit status.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => 2,
            CliError::Failed(_) => 1,
        }
    }
}

impl From<BuildError> for CliError {
    fn from(error: BuildError) -> CliError {
        match error {
            BuildError::Memory(error) => CliError::Failed(error.to_string()),
            other => CliError::Usage(other.to_string()),
        }
    }
}

impl Cli {
    /// Parses arguments, the program's name first. `Ok(Err(text))` is help or version, to be printed to standard
    /// output.
    ///
    /// # Errors
    /// [`CliError::Usage`] in one line.
    pub fn parse_arguments<I>(arguments: I) -> Result<Result<Cli, String>, CliError>
    where
        I: IntoIterator,
        I::Item: Into<std::ffi::OsString> + Clone,
    {
        match Cli::try_parse_from(arguments) {
            Ok(cli) => Ok(Ok(cli)),
            Err(error) => match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Err(error.to_string())),
                // Clap's text is the whole help here.
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(CliError::Usage(
                    "there is nothing to do: write microvm run, qtest or inspect; see microvm --help".into(),
                )),
                _ => Err(CliError::Usage(one_line(&error.to_string()))),
            },
        }
    }
}

impl MachineArgs {
    /// Reads the files and builds the configuration, together with what drives the RTC.
    ///
    /// # Errors
    /// [`CliError`] naming option, value and fix.
    pub fn config(&self, rtc_default: RtcDefault) -> Result<(Config, RtcClock), CliError> {
        let machine = Pairs::parse("--machine", self.machine.as_deref().unwrap_or("microvm"))?;
        let mut config = machine_config(&machine)?;
        if let Some(text) = &self.memory {
            config.ram_bytes = memory_size(text)?;
        }
        if let Some(text) = &self.smp {
            (config.cpus, config.cpus_max) = cpus(text)?;
        }
        let rtc = Pairs::parse("--rtc", self.rtc.as_deref().unwrap_or(""))?;
        let clock = rtc_config(&rtc, rtc_default, &mut config)?;
        if self.kernel.is_none() {
            for (given, option) in [(self.initrd.is_some(), "--initrd"), (self.append.is_some(), "--append")] {
                if given {
                    return Err(CliError::Usage(format!(
                        "{option} is only allowed with --kernel: give --kernel or drop it"
                    )));
                }
            }
        }
        config.bios = read_blob("--bios", self.bios.as_deref())?;
        config.kernel = read_blob("--kernel", self.kernel.as_deref())?;
        config.initrd = read_blob("--initrd", self.initrd.as_deref())?;
        config.append = self.append.clone().unwrap_or_default();
        if config.append.contains('\0') {
            return Err(CliError::Usage("--append: the text must not hold a NUL byte".into()));
        }
        for path in &self.option_rom {
            config.option_roms.extend(read_blob("--option-rom", Some(path))?);
        }
        for text in &self.device {
            config.devices.push(device_config(text)?);
        }
        if let Some(text) = &self.debug_exit {
            config.debug_exit = Some(port("--debug-exit", text)?);
        }
        for text in &self.fw_cfg {
            config.fw_cfg_files.push(fw_cfg_file(text)?);
        }
        Ok((config, clock))
    }
}

impl RunArgs {
    /// The machine and the options of a run on KVM.
    ///
    /// # Errors
    /// [`CliError`] naming option, value and fix.
    pub fn parse(&self) -> Result<(Config, RunOptions), CliError> {
        if !self.machine.option_rom.is_empty() && self.machine.bios.is_none() {
            return Err(CliError::Usage(
                "--option-rom: without a firmware nothing runs an option ROM; give --bios FILE or drop it".into(),
            ));
        }
        let (mut config, rtc_clock) = self.machine.config(RtcDefault::HostUtc)?;
        config.kvm = true;
        if self.boot_marks.is_some() {
            config.boot_marks = Some(BOOT_MARK_PORT);
        }
        if config.kernel.is_none() && config.bios.is_none() {
            return Err(CliError::Usage(
                "run: without a kernel there is nothing to run; give --kernel FILE or --bios FILE".into(),
            ));
        }
        let debug_console = self.debug_console.as_deref().map(debug_console_to).transpose()?;
        config.debug_console = debug_console.is_some().then_some(debug_console::PORT);
        let serial = serial_to(&self.serial)?;
        let is_stdio = |device: &&DeviceConfig| matches!(device.kind, DeviceKind::Console(ConsoleTo::Stdio));
        if 1 < config.devices.iter().filter(is_stdio).count() + usize::from(serial == SerialTo::Stdio) {
            return Err(CliError::Usage(
                "--device virtio-console,to=stdio: standard input has a reader already; add --serial null or choose \
                 another peer"
                    .into(),
            ));
        }
        let options = RunOptions {
            serial,
            debug_console,
            no_reboot: self.no_reboot,
            boot_marks: self.boot_marks.clone(),
            rtc_clock,
            sandbox: on_off("--sandbox", &self.sandbox)?,
            user: self.user.as_deref().map(user).transpose()?,
        };
        Ok((config, options))
    }
}

impl QtestArgs {
    /// The machine, and the socket to speak over.
    ///
    /// # Errors
    /// [`CliError`] naming option, value and fix.
    pub fn parse(&self) -> Result<(Config, Option<QtestSocket>), CliError> {
        let config = self.machine.config_without_host("qtest")?;
        if let Some(device) = config.devices.iter().find(|device| device.kind.peer() == Peer::Host) {
            return Err(CliError::Usage(format!(
                "--device {}: qtest has no host side to connect it to; write loopback=on instead",
                device.kind
            )));
        }
        let socket = self.socket.as_deref().map(qtest_socket).transpose()?;
        Ok((config, socket))
    }
}

impl MachineArgs {
    /// The configuration for a command that never looks at a clock.
    ///
    /// # Errors
    /// [`CliError`] as [`MachineArgs::config`], or `clock=host`.
    pub fn config_without_host(&self, command: &str) -> Result<Config, CliError> {
        let (config, _) = self.config(RtcDefault::Fixed)?;
        if self.rtc.as_deref().is_some_and(|text| text.contains("clock=host")) {
            return Err(CliError::Usage(format!(
                "--rtc clock=host: {command} knows virtual time only; write clock=vm or drop it"
            )));
        }
        Ok(config)
    }
}

/// The socket of `microvm qtest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QtestSocket {
    /// Path of the UNIX stream socket.
    pub path: PathBuf,
    /// Listen for one test instead of connecting to it.
    pub server: bool,
}

fn machine_config(machine: &Pairs) -> Result<Config, CliError> {
    let profile = match machine.value_of("profile") {
        None => Profile::ALL[0],
        Some(name) => Profile::by_name(name).ok_or_else(|| {
            let names: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
            machine.bad("profile", name, &format!("is one of {}", names.join(", ")))
        })?,
    };
    let mut config = Config::new(profile);
    for (index, (key, value)) in machine.iter().enumerate() {
        let Some(value) = value else {
            if index == 0 && key == "microvm" {
                continue;
            }
            let fix = "the machine is `microvm`, options are OPTION=VALUE";
            return Err(CliError::Usage(format!("--machine: '{key}' is not understood: {fix}")));
        };
        if !profile.has_option(key) {
            let fix = format!("is not an option of profile {}; drop it", profile.name);
            return Err(machine.bad(key, value, &fix));
        }
        match key {
            "type" if value == "microvm" => {}
            "type" => return Err(machine.bad(key, value, "is microvm")),
            "profile" => {}
            "pic" => config.pic = machine.on_off_auto(key, value)?,
            "pit" => config.pit = machine.on_off_auto(key, value)?,
            "rtc" => config.rtc = machine.on_off_auto(key, value)?,
            "isa-serial" => config.isa_serial = machine.on_off(key, value)?,
            "x-option-roms" => config.x_option_roms = machine.on_off(key, value)?,
            "auto-kernel-cmdline" => config.auto_kernel_cmdline = machine.on_off(key, value)?,
            "kernel-irqchip" | "kernel_irqchip" => match value {
                "split" => config.kernel_irqchip = KernelIrqchip::Split,
                "on" => config.kernel_irqchip = KernelIrqchip::On,
                "off" => {
                    let fix = "is split or on: this VMM has no local APIC of its own and takes KVM's";
                    return Err(machine.bad(key, value, fix));
                }
                _ => return Err(machine.bad(key, value, "is split or on")),
            },
            "max-ram-below-4g" => {
                let bytes = parse_size(value, 1).map_err(|fix| machine.bad(key, value, &fix))?;
                if crate::board::ram::HIGH_BASE < bytes {
                    return Err(machine.bad(key, value, "expects a size less than or equal to 4G"));
                }
                config.max_ram_below_4g = Some(bytes);
            }
            "ioeventfd" => config.ioeventfd = machine.on_off(key, value)?,
            "virtio-mmio" => {
                config.virtio_modern = match value {
                    "modern" => true,
                    "legacy" => false,
                    _ => return Err(machine.bad(key, value, "is modern or legacy")),
                }
            }
            "acpi" | "pcie" | "ioapic2" | "usb" => {
                return Err(machine.bad(key, value, "is never there on this machine; drop it"));
            }
            _ => {
                return Err(CliError::Usage(format!(
                    "--machine: option '{key}' not found; there are {MACHINE_OPTIONS}"
                )));
            }
        }
    }
    Ok(config)
}

fn memory_size(text: &str) -> Result<u64, CliError> {
    let bad = |fix: &str| CliError::Usage(format!("-m '{text}': {fix}"));
    let bytes = parse_size(text, 1 << 20).map_err(|fix| bad(&format!("the value {fix}")))?;
    match round_ram(bytes) {
        Some(0) => Ok(Config::default().ram_bytes),
        Some(bytes) if bytes <= RAM_BYTES_MAX => Ok(bytes),
        _ => Err(bad("this machine takes up to 16T")),
    }
}

fn cpus(text: &str) -> Result<(u16, u16), CliError> {
    let pairs = Pairs::parse("--smp", text)?;
    let (mut cpus, mut cpus_max) = (None, None);
    for (index, (key, value)) in pairs.iter().enumerate() {
        let (into, digits) = match (key, value) {
            (digits, None) if index == 0 => (&mut cpus, digits),
            ("cpus", Some(digits)) => (&mut cpus, digits),
            ("maxcpus", Some(digits)) => (&mut cpus_max, digits),
            ("sockets" | "dies" | "cores" | "threads", Some(value)) => {
                return Err(pairs.bad(key, value, "is CPU topology, which is not offered; drop it"));
            }
            _ => return Err(CliError::Usage(format!("--smp '{text}': write N or N,maxcpus=M"))),
        };
        let number = parse_decimal(digits).and_then(|number| u16::try_from(number).ok());
        let number = number.filter(|&number| number != 0);
        let fix = || {
            CliError::Usage(format!(
                "--smp '{text}': '{digits}' is not a number of CPUs from 1 to 65535"
            ))
        };
        if into.replace(number.ok_or_else(fix)?).is_some() {
            return Err(CliError::Usage(format!(
                "--smp '{text}': the number of CPUs is given twice; drop one"
            )));
        }
    }
    let cpus = cpus.or(cpus_max).unwrap_or(1);
    Ok((cpus, cpus_max.unwrap_or(cpus)))
}

fn rtc_config(rtc: &Pairs, default: RtcDefault, config: &mut Config) -> Result<RtcClock, CliError> {
    let mut clock = RtcClock::Host;
    let mut base = None;
    for (key, value) in rtc.iter() {
        match (key, value) {
            ("base", Some(value)) => base = Some(value),
            ("clock", Some("host")) => clock = RtcClock::Host,
            ("clock", Some("vm")) => clock = RtcClock::Vm,
            ("clock", Some(value)) => return Err(rtc.bad(key, value, "is host or vm")),
            _ => {
                return Err(CliError::Usage(format!(
                    "--rtc: '{key}' is not understood; there are base=VALUE and clock=host|vm"
                )));
            }
        }
    }
    config.rtc_start_seconds = match base {
        None if default == RtcDefault::Fixed => return Ok(clock),
        None | Some("utc") => host_seconds()?,
        Some("localtime") => host_seconds()? + local_offset_seconds()?,
        Some(text) => parse_date_time(text).map_err(|fix| rtc.bad("base", text, &fix))?,
    };
    Ok(clock)
}

fn device_config(text: &str) -> Result<DeviceConfig, CliError> {
    let pairs = Pairs::parse("--device", text)?;
    let mut pairs_left = pairs.iter();
    let Some((name, options)) = pairs_left
        .next()
        .and_then(|(name, value)| DEVICES.into_iter().find(|(known, _)| *known == name && value.is_none()))
    else {
        let names = DEVICES.map(|(name, _)| name).join(", ");
        return Err(CliError::Usage(format!(
            "--device '{text}': unknown device; there are {names}"
        )));
    };
    let mut transport = None;
    let (mut file, mut read_only) = (None, false);
    let (mut mac, mut tap, mut to, mut loopback) = (None, None, None, false);
    for (key, value) in pairs_left {
        match (name, key, value) {
            (BLK, "file", Some(path)) => file = Some(path),
            (BLK, "readonly", Some(value)) => read_only = pairs.on_off(key, value)?,
            (NET, "mac", Some(value)) => {
                let address = parse_mac(value).ok_or_else(|| pairs.bad(key, value, "is such as 52:54:00:12:34:56"))?;
                mac = Some(address);
            }
            (NET, "tap", Some(name)) => {
                let fits = (1..=INTERFACE_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(['/', '\0']);
                tap = Some(name).filter(|_| fits);
                tap.ok_or_else(|| pairs.bad(key, name, "is a network interface's name, of 1 to 15 bytes"))?;
            }
            (CONSOLE, "to", Some(value)) => {
                let fix = "is stdio, null, file:FILE or unix:SOCKET";
                to = Some(console_to(value).ok_or_else(|| pairs.bad(key, value, fix))?);
            }
            (NET | CONSOLE, "loopback", Some(value)) => loopback = pairs.on_off(key, value)?,
            (_, "bus", Some(name)) => {
                let index = name
                    .strip_prefix("virtio-mmio-bus.")
                    .and_then(parse_decimal)
                    .and_then(|index| u8::try_from(index).ok());
                transport = Some(index.ok_or_else(|| pairs.bad("bus", name, "is virtio-mmio-bus.N"))?);
            }
            _ => {
                return Err(CliError::Usage(format!(
                    "--device '{text}': '{key}' is not understood; {options}"
                )));
            }
        }
    }
    if loopback && (tap.is_some() || to.is_some()) {
        return Err(CliError::Usage(format!(
            "--device '{text}': loopback=on leaves no other end to connect; drop one of the two"
        )));
    }
    let kind = match name {
        BLK => {
            let path = file.ok_or_else(|| {
                CliError::Usage(format!(
                    "--device '{text}': a block device needs its disk image; add file=FILE"
                ))
            })?;
            DeviceKind::Blk(disk(path, read_only)?)
        }
        NET => {
            let to = match tap {
                Some(name) => NetworkTo::Tap(name.to_owned()),
                None if loopback => NetworkTo::Loopback,
                None => NetworkTo::Null,
            };
            DeviceKind::Net(NetworkConfig { mac, to })
        }
        CONSOLE if loopback => DeviceKind::Console(ConsoleTo::Loopback),
        CONSOLE => DeviceKind::Console(to.unwrap_or(ConsoleTo::Null)),
        _ => DeviceKind::Rng,
    };
    Ok(DeviceConfig { kind, transport })
}

fn console_to(text: &str) -> Option<ConsoleTo> {
    match serial_to(text).ok()? {
        SerialTo::Stdio => Some(ConsoleTo::Stdio),
        SerialTo::Null => Some(ConsoleTo::Null),
        SerialTo::File(path) => Some(ConsoleTo::File(path)),
        SerialTo::Unix(path) => Some(ConsoleTo::Unix(path)),
    }
}

fn disk(path: &str, read_only: bool) -> Result<DiskConfig, CliError> {
    let disk = HostDisk::open(Path::new(path), read_only)
        .map_err(|problem| CliError::Failed(format!("--device virtio-blk,file='{path}': {problem}")))?;
    Ok(DiskConfig {
        name: path.to_owned(),
        read_only,
        open: Arc::new(move || Box::new(disk.clone())),
    })
}

fn fw_cfg_file(text: &str) -> Result<(String, Vec<u8>), CliError> {
    let bad = |fix: &str| CliError::Usage(format!("--fw-cfg '{text}': {fix}"));
    let pairs = Pairs::parse("--fw-cfg", text)?;
    let (mut name, mut contents) = (None, None);
    for (key, value) in pairs.iter() {
        match (key, value) {
            ("name", Some(value)) => name = Some(value.to_owned()),
            ("string", Some(value)) if contents.is_none() => contents = Some(value.as_bytes().to_vec()),
            ("file", Some(value)) if contents.is_none() => {
                contents = Some(read_file("--fw-cfg", Path::new(value))?);
            }
            _ => return Err(bad("write name=NAME,file=FILE or name=NAME,string=TEXT")),
        }
    }
    match (name, contents) {
        (Some(name), Some(contents)) => Ok((name, contents)),
        _ => Err(bad("write name=NAME,file=FILE or name=NAME,string=TEXT")),
    }
}

fn port(option: &str, text: &str) -> Result<u16, CliError> {
    let number = parse_number(text).and_then(|number| u16::try_from(number).ok());
    number.ok_or_else(|| CliError::Usage(format!("{option} '{text}': write a port from 0 to 0xffff, as 0xf4")))
}

fn on_off(option: &str, text: &str) -> Result<bool, CliError> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(CliError::Usage(format!("{option} '{text}': write on or off"))),
    }
}

fn user(text: &str) -> Result<User, CliError> {
    // The largest number means "leave as it is" to the kernel.
    let number = |digits: &str| {
        let number = parse_decimal(digits).and_then(|number| u32::try_from(number).ok());
        number.filter(|&number| number != u32::MAX)
    };
    let ids = text
        .split_once(':')
        .and_then(|(uid, gid)| Some((number(uid)?, number(gid)?)));
    let (uid, gid) =
        ids.ok_or_else(|| CliError::Usage(format!("--user '{text}': write UID:GID in numbers, as 65534:65534")))?;
    Ok(User { uid, gid })
}

fn serial_to(text: &str) -> Result<SerialTo, CliError> {
    match (text, text.split_once(':')) {
        ("stdio", _) => Ok(SerialTo::Stdio),
        ("null", _) => Ok(SerialTo::Null),
        (_, Some(("file", path))) if !path.is_empty() => Ok(SerialTo::File(path.into())),
        (_, Some(("unix", path))) if !path.is_empty() => Ok(SerialTo::Unix(path.into())),
        _ => Err(CliError::Usage(format!(
            "--serial '{text}': write stdio, null, file:FILE or unix:SOCKET"
        ))),
    }
}

fn debug_console_to(text: &str) -> Result<DebugConsoleTo, CliError> {
    match (text, text.split_once(':')) {
        ("stdio", _) => Ok(DebugConsoleTo::Stdio),
        (_, Some(("file", path))) if !path.is_empty() => Ok(DebugConsoleTo::File(path.into())),
        _ => Err(CliError::Usage(format!(
            "--debug-console '{text}': write stdio or file:FILE"
        ))),
    }
}

fn qtest_socket(text: &str) -> Result<QtestSocket, CliError> {
    let bad = || CliError::Usage(format!("--socket '{text}': write unix:PATH or unix:PATH,server=on"));
    let pairs = Pairs::parse("--socket", text)?;
    let mut left = pairs.iter();
    let Some((first, None)) = left.next() else {
        return Err(bad());
    };
    let path = first
        .strip_prefix("unix:")
        .filter(|path| !path.is_empty())
        .ok_or_else(bad)?;
    let mut server = false;
    for (key, value) in left {
        match (key, value) {
            ("server", Some("on")) | ("server", None) => server = true,
            ("server", Some("off")) => server = false,
            _ => return Err(bad()),
        }
    }
    Ok(QtestSocket {
        path: path.into(),
        server,
    })
}

fn read_blob(option: &str, path: Option<&Path>) -> Result<Option<Blob>, CliError> {
    let Some(path) = path else {
        return Ok(None);
    };
    let bytes = read_file(option, path)?;
    Ok(Some(Blob {
        name: path.display().to_string(),
        bytes: bytes.into(),
    }))
}

fn read_file(option: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    let name = path.display();
    let fail = |error: std::io::Error| CliError::Failed(format!("{option} '{name}': {error}"));
    let most_bytes = match option {
        "--bios" | "--option-rom" => firmware::BYTES_MAX as u64,
        "--kernel" => KERNEL_BYTES_MAX,
        _ => FILE_BYTES_MAX,
    };
    let too_large = || {
        CliError::Failed(format!(
            "{option} '{name}': the file is larger than {most_bytes} bytes, the most this machine takes"
        ))
    };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    let kind = metadata.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        // Its end may never come. A pipe is read, up to the bound.
        return Err(CliError::Failed(format!(
            "{option} '{name}': this is a device; give a file"
        )));
    }
    if kind.is_file() && most_bytes < metadata.len() {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(most_bytes + 1).read_to_end(&mut bytes).map_err(fail)?;
    if most_bytes < bytes.len() as u64 {
        return Err(too_large());
    }
    Ok(bytes)
}

fn host_seconds() -> Result<i64, CliError> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.ok().and_then(|since| i64::try_from(since.as_secs()).ok());
    seconds.ok_or_else(|| CliError::Failed("--rtc: the host's clock lies before 1970; give base=DATE".into()))
}

fn local_offset_seconds() -> Result<i64, CliError> {
    let fail = |error: &dyn std::fmt::Display| {
        CliError::Failed(format!(
            "--rtc base=localtime: read the host's time zone: {error}; give base=utc"
        ))
    };
    let zone = tz::TimeZone::local().map_err(|error| fail(&error))?;
    let now = zone.find_current_local_time_type().map_err(|error| fail(&error))?;
    Ok(i64::from(now.ut_offset()))
}

/// Makes one line of clap's message: its paragraphs without the usage, and where to read on.
fn one_line(text: &str) -> String {
    let is_wanted = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
    let lines: Vec<&str> = text.lines().take_while(is_wanted).collect();
    let paragraphs = lines.split(|line| line.trim().is_empty());
    let paragraphs = paragraphs.map(|lines| lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" "));
    let paragraphs: Vec<String> = paragraphs.filter(|paragraph| !paragraph.is_empty()).collect();
    let line = paragraphs.join("; ");
    format!("{}; see --help", line.strip_prefix("error: ").unwrap_or(&line))
}

const RNG: &str = "virtio-rng";
const BLK: &str = "virtio-blk";
const NET: &str = "virtio-net";
const CONSOLE: &str = "virtio-console";

/// The devices, and the options of each.
const DEVICES: [(&str, &str); 4] = [
    (RNG, "there is bus=virtio-mmio-bus.N"),
    (BLK, "there are file=FILE, readonly=on|off and bus=virtio-mmio-bus.N"),
    (
        NET,
        "there are tap=INTERFACE, loopback=on|off, mac=ADDRESS and bus=virtio-mmio-bus.N",
    ),
    (
        CONSOLE,
        "there are to=stdio|null|file:FILE|unix:SOCKET, loopback=on|off and bus=virtio-mmio-bus.N",
    ),
];

/// Longest name of a network interface on Linux.
const INTERFACE_NAME_BYTES_MAX: usize = 15;

/// Most bytes of a kernel: one with all debug information has some hundred MiB.
const KERNEL_BYTES_MAX: u64 = 1 << 30;

/// Most bytes of an initial RAM disk or fw_cfg file: sizes in fw_cfg have 32 bits.
const FILE_BYTES_MAX: u64 = u32::MAX as u64;

/// Most bytes of RAM: what 44 address bits reach, more than hosts have.
const RAM_BYTES_MAX: u64 = 16 << 40;

const MACHINE_OPTIONS: &str = "profile, pic, pit, rtc, isa-serial, x-option-roms, auto-kernel-cmdline, kernel-irqchip, \
                               max-ram-below-4g, virtio-mmio, ioeventfd";

#[cfg(test)]
mod tests;
