//! Parser targets: an input is a file or a text that a user or a test hands over, as it is.
//!
//! Each must come to an answer or to an error, without a panic and in bounded time and memory. The canaries are the
//! ways an input can be refused, and that one is taken.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use conformance::subject::description::Description;
use conformance::subject::kernel as sample;
use vmm::board::config::Config;
use vmm::board::profile::MICROVM_2019;
use vmm::board::{e820, ram::RamLayout};
use vmm::boot::direct::{self, BootError, Payload};
use vmm::boot::elf::ElfError;
use vmm::boot::kernel::{Kernel, KernelError};
use vmm::cli::{CliError, MachineArgs, RtcDefault};
use vmm::machine::Machine;
use vmm::memory::Memory;
use vmm::qtest::Server;

use crate::canary::Canary;
use crate::target::registers;

/// Where a parser says which canary an input reached.
pub type Reached<'a> = &'a mut dyn FnMut(&'static str);

/// One parser target.
#[derive(Debug)]
pub struct Parser {
    /// One word.
    pub name: &'static str,
    /// One line for `fuzz list`.
    pub title: &'static str,
    /// States that a campaign must reach.
    pub canaries: &'static [Canary],
    /// Inputs to start from, by name.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
    /// Parses one input, panics on what must not be, and names what was reached.
    pub check: fn(&[u8], Reached<'_>),
}

/// All parsers, sorted by name.
pub const ALL: [&Parser; 4] = [&CMDLINE, &LOADER, &QTEST, &SUBJECT_FILE];

/// The parser of that name.
pub fn by_name(name: &str) -> Option<&'static Parser> {
    ALL.into_iter().find(|parser| parser.name == name)
}

/// Options of the command line.
pub static CMDLINE: Parser = Parser {
    name: "cmdline",
    title: "options of a machine, one a line: `machine microvm,pic=off`",
    canaries: &[
        Canary::new("accepted", "The options make a configuration."),
        Canary::new("built", "The configuration makes a machine."),
        Canary::new("device-refused", "A value of --device is wrong."),
        Canary::new("fw-cfg-refused", "A value of --fw-cfg is wrong."),
        Canary::new("machine-refused", "A value of --machine is wrong."),
        Canary::new("memory-refused", "A value of -m is wrong."),
        Canary::new("not-built", "The configuration makes no machine."),
        Canary::new("rtc-refused", "A value of --rtc is wrong."),
        Canary::new("smp-refused", "A value of --smp is wrong."),
    ],
    seeds: || {
        texts(&[
            (
                "plain",
                "machine microvm,pic=off,pit=on,rtc=auto,isa-serial=off\nmemory 16M\nsmp 2,maxcpus=4\n",
            ),
            (
                "profile",
                "machine microvm,profile=qemu-7.2,max-ram-below-4g=1G,virtio-mmio=legacy\n",
            ),
            (
                "devices",
                "device virtio-rng\ndevice virtio-net,loopback=on,mac=52:54:00:00:00:01\ndevice virtio-console\n",
            ),
            (
                "too-many",
                "device virtio-rng,bus=virtio-mmio-bus.3\ndevice virtio-rng,bus=virtio-mmio-bus.3\n",
            ),
            (
                "rtc",
                "rtc base=2020-02-28T23:59:50,clock=vm\ndebug-exit 0xf4\nfw-cfg name=opt/a,string=b,,c\n",
            ),
            ("bad-machine", "machine microvm,pic=perhaps\n"),
            ("bad-memory", "memory 1.5X\n"),
            ("bad-smp", "smp 0\n"),
            ("bad-rtc", "rtc base=2020-02-30\n"),
            ("bad-device", "device virtio-gpu\n"),
            ("bad-fw-cfg", "fw-cfg name=a\n"),
        ])
    },
    check: cmdline,
};

/// Kernel images.
pub static LOADER: Parser = Parser {
    name: "loader",
    title: "kernel images: ELF files, PVH notes, bzImages",
    canaries: &[
        Canary::new("bz-image-refused", "A bzImage cannot be started."),
        Canary::new("bz-image-starts", "A bzImage is in memory, ready to start."),
        Canary::new("bz-image-too-short", "A bzImage is shorter than its setup part."),
        Canary::new("elf-broken", "An ELF file is broken."),
        Canary::new("elf-for-another-machine", "An ELF file is for another processor."),
        Canary::new("elf-segment-refused", "A segment cannot be where it wants to be."),
        Canary::new("elf-starts", "An ELF file is in memory, ready to start."),
        Canary::new("elf-without-note", "An ELF file has no PVH entry."),
        Canary::new("unknown", "The file is no kernel."),
    ],
    seeds: || {
        let (elf, bz_image) = (sample::pvh_kernel(), sample::bz_image());
        let changed = |file: &[u8], at: usize, byte: u8| {
            let mut file = file.to_vec();
            file[at] = byte;
            file
        };
        [
            ("elf", elf.clone()),
            ("elf-cut", elf[..80].to_vec()),
            // e_machine, the note's type in its program header, and the highest byte of p_paddr.
            ("elf-arm", changed(&elf, 18, 40)),
            ("elf-no-note", changed(&elf, 64 + 56, 0)),
            ("elf-high", changed(&elf, 64 + 24 + 5, 1)),
            // boot_flag's neighbour setup_sects; version.
            ("bz-image-short", changed(&bz_image, 0x1f1, 0x40)),
            ("bz-image-old", changed(&bz_image, 0x207, 1)),
            ("bz-image-32-bits", bz_image.clone()),
            ("bz-image", sixty_four_bits(bz_image)),
            ("nothing", vec![0; 16]),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .to_vec()
    },
    check: loader,
};

/// Lines of the qtest protocol.
pub static QTEST: Parser = Parser {
    name: "qtest",
    title: "lines of the qtest protocol",
    canaries: &[
        Canary::new("bytes-read", "A bulk read was answered."),
        Canary::new("carried-out", "A line was carried out."),
        Canary::new("interrupt-shown", "A line that is intercepted changed."),
        Canary::new("refused", "A line was refused."),
        Canary::new("serial-output", "What the serial port sent was asked for."),
        Canary::new("time-passed", "The clock was stepped."),
        Canary::new("unknown-command", "A line is no command."),
    ],
    seeds: || {
        texts(&[
            (
                "ports",
                "outb 0x3f8 0x41\ninb 0x3fd\nserial_out\nserial_in 0x4142\ninw 0x3f8\n",
            ),
            (
                "memory",
                "write 0x1000 0x4 0x01020304\nread 0x1000 0x4\nb64read 0x1000 4\nmemset 0x2000 16 0xaa\n\
                 b64write 0x1000 3 QUJD\n",
            ),
            (
                "interrupts",
                "irq_intercept_in ioapic\noutb 0x3f9 2\nclock_step 1000000\nset_irq_in ioapic unnamed-gpio-in 4 1\n\
                 system_reset\n",
            ),
            (
                "wrong",
                "inb\ninb 0x10000\nfly\nread 0 0\nclock_set 5\nendianness\nextensions\nmodule_load a b\n",
            ),
        ])
    },
    check: qtest,
};

/// Subject descriptions.
pub static SUBJECT_FILE: Parser = Parser {
    name: "subject_file",
    title: "subject descriptions of the suite, in TOML",
    canaries: &[
        Canary::new("accepted", "The file describes a subject."),
        Canary::new("not-toml", "The file is not TOML."),
        Canary::new("started", "The subject can be started at some depth."),
        Canary::new("unknown-field", "A field is none that there is."),
        Canary::new("wrong-value", "A value is of the wrong kind, missing or not possible."),
    ],
    seeds: || {
        let mut seeds = texts(&[
            ("no-toml", "name = \n"),
            ("unknown", "name = \"a\"\ncolour = 1\n"),
            ("wrong", "name = 1\n"),
        ]);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/subjects");
        for name in ["null", "reference", "qemu"] {
            let file = fs::read(folder.join(format!("{name}.toml")));
            seeds.extend(file.ok().map(|bytes| (name.to_owned(), bytes)));
        }
        seeds
    },
    check: subject_file,
};

/// Parses one input: libFuzzer's way in, which keeps an input that makes it panic.
///
/// # Panics
/// When the parser does, or its answer is none it may give.
pub fn check_or_panic(parser: &Parser, input: &[u8]) {
    (parser.check)(input, &mut |_| {});
}

/// How many inputs of a corpus reach each canary.
pub fn tally<'a>(parser: &Parser, inputs: impl IntoIterator<Item = &'a [u8]>) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&'static str, u64> = parser.canaries.iter().map(|canary| (canary.name, 0)).collect();
    for input in inputs {
        for name in reached(parser, input) {
            *counts.entry(name).or_default() += 1;
        }
    }
    counts
}

/// The canaries that one input reaches, sorted.
pub fn reached(parser: &Parser, input: &[u8]) -> Vec<&'static str> {
    let mut names = Vec::new();
    (parser.check)(input, &mut |name| names.push(name));
    names.sort_unstable();
    names.dedup();
    names
}

/// A bzImage with what a 64-bit entry needs. The Linux/x86 Boot Protocol: kernel_alignment, relocatable_kernel,
/// xloadflags, pref_address, init_size; the entry is 512 bytes into the kernel.
fn sixty_four_bits(mut file: Vec<u8>) -> Vec<u8> {
    for (at, field) in [
        (0x230, &0x20_0000_u32.to_le_bytes()[..]),
        (0x234, &[1]),
        (0x236, &[1, 0]),
        (0x258, &0x20_0000_u64.to_le_bytes()),
        (0x260, &0x1_0000_u32.to_le_bytes()),
    ] {
        file[at..at + field.len()].copy_from_slice(field);
    }
    file.resize(file.len() + 0x400, 0xf4);
    file
}

fn texts(seeds: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    let seed = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
    seeds.iter().map(seed).collect()
}

fn cmdline(input: &[u8], reached: Reached<'_>) {
    let text = String::from_utf8_lossy(input);
    let mut arguments = MachineArgs::default();
    for line in text.lines().take(LINES_MAX) {
        // An input must not open what lies on this host.
        let Some((option, value)) = line.split_once(' ') else {
            continue;
        };
        if value.split(',').any(|item| item.starts_with("file=")) {
            continue;
        }
        let value = value.to_owned();
        match option {
            "machine" => arguments.machine = Some(value),
            "memory" => arguments.memory = Some(value),
            "smp" => arguments.smp = Some(value),
            "rtc" => arguments.rtc = Some(value),
            "device" => arguments.device.push(value),
            "debug-exit" => arguments.debug_exit = Some(value),
            "fw-cfg" => arguments.fw_cfg.push(value),
            _ => {}
        }
    }
    let config = match arguments.config(RtcDefault::Fixed) {
        Ok((config, _)) => config,
        Err(error @ (CliError::Usage(_) | CliError::Failed(_))) => {
            let text = error.to_string();
            assert!(!text.contains('\n'), "one line: {text}");
            let options = [
                ("--machine", "machine-refused"),
                ("-m", "memory-refused"),
                ("--smp", "smp-refused"),
                ("--rtc", "rtc-refused"),
                ("--device", "device-refused"),
                ("--fw-cfg", "fw-cfg-refused"),
            ];
            let canary = options.into_iter().find(|(option, _)| text.starts_with(option));
            if let Some((_, name)) = canary {
                reached(name);
            }
            return;
        }
    };
    reached("accepted");
    check_memory_map(&config);
    if RAM_BYTES_MAX < config.ram_bytes {
        return;
    }
    match Machine::new(&config) {
        Ok(_) => reached("built"),
        Err(_) => reached("not-built"),
    }
}

/// What must hold of the memory map of any machine: in order, without gaps of nothing, no overlap, clear of the
/// transports, and all of RAM in it.
///
/// # Panics
/// When it does not.
fn check_memory_map(config: &Config) {
    let profile = config.profile;
    let ram = RamLayout::new(&profile.ram_split, config.ram_bytes, config.max_ram_below_4g);
    let entries = e820::entries(&ram, false);
    let mut end = 0;
    for entry in &entries {
        assert!(entry.length_bytes != 0 && end <= entry.address, "{entries:x?}");
        end = entry.address.checked_add(entry.length_bytes).expect("within 64 bits");
        let transports = profile.virtio_base..profile.virtio_base + profile.virtio_stride_bytes;
        assert!(
            end <= transports.start || transports.end <= entry.address,
            "{entries:x?}"
        );
    }
    let total: u64 = entries.iter().map(|entry| entry.length_bytes).sum();
    assert_eq!(total, config.ram_bytes, "{entries:x?}");
}

fn loader(input: &[u8], reached: Reached<'_>) {
    let file: Arc<[u8]> = Arc::from(input);
    let kernel = match Kernel::new(&file, None, APPEND, LOADER_RAM_BYTES) {
        Ok(kernel) => kernel,
        Err(error) => return refused(&error, reached),
    };
    let Ok(memory) = Memory::new(&[(0, LOADER_RAM_BYTES)]) else {
        return;
    };
    if let Err(error) = kernel.check_fits(&memory, &(0..0)) {
        return refused(&error, reached);
    }
    kernel.load(&memory, true);
    let profile = Config::new(&MICROVM_2019).profile;
    let ram = RamLayout::new(&profile.ram_split, LOADER_RAM_BYTES, None);
    let payload = Payload {
        kernel: &kernel,
        initrd: Some(&[0x5a; 100]),
        command_line: APPEND.as_bytes(),
        cpus: 2,
        e820: &e820::entries(&ram, false),
    };
    match direct::load(&memory, &payload) {
        Ok(direct::Entry::Pvh { .. }) => reached("elf-starts"),
        Ok(direct::Entry::Linux64(_)) => reached("bz-image-starts"),
        Err(BootError::Elf(error)) => refused(&KernelError::Elf(error), reached),
        Err(BootError::Linux(_)) => reached("bz-image-refused"),
        Err(_) => {}
    }
}

fn refused(error: &KernelError, reached: Reached<'_>) {
    match error {
        KernelError::Unknown => reached("unknown"),
        KernelError::Setup { .. } => reached("bz-image-too-short"),
        KernelError::Elf(ElfError::Broken(_)) => reached("elf-broken"),
        KernelError::Elf(ElfError::Machine(_)) => reached("elf-for-another-machine"),
        KernelError::Elf(ElfError::NoPvhNote) => reached("elf-without-note"),
        KernelError::Elf(ElfError::Segment { .. }) => reached("elf-segment-refused"),
        _ => {}
    }
}

fn qtest(input: &[u8], reached: Reached<'_>) {
    let config = Config {
        isa_serial: true,
        ..registers()
    };
    let machine = Machine::new(&config).expect("a small machine");
    let mut server = Server::new(machine);
    for line in input.split(|byte| *byte == b'\n').take(LINES_MAX) {
        let before = server.machine().now();
        let reply = server.handle(line);
        if server.machine().now() != before {
            reached("time-passed");
        }
        assert_eq!(
            reply.is_empty(),
            line.is_empty(),
            "an answer to each line that is not empty"
        );
        let Some((answer, interrupts)) = reply
            .lines()
            .collect::<Vec<_>>()
            .split_last()
            .map(|(last, rest)| (*last, rest.len()))
        else {
            continue;
        };
        if interrupts != 0 {
            reached("interrupt-shown");
        }
        if answer.starts_with("OK") {
            reached("carried-out");
            let bytes = answer.starts_with("OK 0x");
            if bytes && line.starts_with(b"serial_out") {
                reached("serial-output");
            }
            if bytes && line.starts_with(b"read ") {
                reached("bytes-read");
            }
        } else {
            assert!(answer.starts_with("FAIL") || answer.starts_with("ERR"), "{answer}");
            reached(if answer.contains("Unknown command") {
                "unknown-command"
            } else {
                "refused"
            });
        }
    }
}

fn subject_file(input: &[u8], reached: Reached<'_>) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match Description::parse("input", text) {
        Ok(description) => {
            reached("accepted");
            if !(description.wire.is_empty() && description.cpu.is_empty() && description.guest.is_empty()) {
                reached("started");
            }
        }
        Err(error) => {
            assert!(error.place.starts_with("input"), "{error}");
            let wrong_value = ["missing field", "invalid type", "invalid value", "unknown variant"];
            if error.problem.contains("unknown field") {
                reached("unknown-field");
            } else if error.place == "input" || wrong_value.iter().any(|text| error.problem.contains(text)) {
                reached("wrong-value");
            } else {
                reached("not-toml");
            }
        }
    }
}

/// Lines of one input that are looked at.
const LINES_MAX: usize = 64;

/// Largest machine that is built for a command line.
const RAM_BYTES_MAX: u64 = 1 << 30;

/// RAM that a kernel is loaded into.
const LOADER_RAM_BYTES: u64 = 16 << 20;

const APPEND: &str = "console=ttyS0";
