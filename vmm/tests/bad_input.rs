//! Honest but wrong command lines of `microvm`: each ends with one line that says where, what and what to do, and with
//! its exit status: 2 for what the user wrote, 1 for what the host could not do.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rstest::rstest;
use tempfile::TempDir;
use vmm::board::config::{Blob, Config};
use vmm::boot::direct::{self, Payload};
use vmm::machine::Machine;

#[rstest]
// No command, no such command, no such option.
#[case::nothing(&[], "there is nothing to do: write microvm run, qtest or inspect; see microvm --help")]
#[case::command(&["frob"], "unrecognized subcommand 'frob'; see --help")]
#[case::option(&["run", "--frob"], "unexpected argument '--frob' found; see --help")]
#[case::table(&["inspect"], "the following required arguments were not provided: <TABLE>; see --help")]
#[case::format(&["inspect", "e820", "--format", "xml"], "[possible values: text, json]; see --help")]
#[case::twice(&["inspect", "e820", "-m", "1G", "-m", "2G"], "cannot be used multiple times; see --help")]
// Sizes.
#[case::suffix(&["inspect", "e820", "-m", "12Q"], "-m '12Q': the value is a size such as 512K, 128M, 1.5G or 1T")]
#[case::negative(&["inspect", "e820", "-m", "-5M"], "-m '-5M': the value is a size such as")]
#[case::no_size(&["inspect", "e820", "-m", ""], "-m '': the value is a size such as")]
#[case::beyond_64_bits(
    &["inspect", "e820", "-m", "99999999999999999999"],
    "-m '99999999999999999999': this machine takes up to 16T"
)]
#[case::product_beyond_64_bits(&["inspect", "e820", "-m", "16777216T"], "-m '16777216T': this machine takes up to 16T")]
#[case::too_large(&["run", "--kernel", "ok.elf", "-m", "900T"], "-m '900T': this machine takes up to 16T")]
#[case::too_small(
    &["run", "--kernel", "ok.elf", "-m", "8K"],
    "--kernel 'ok.elf': ELF segment at 0x100000+0x40 does not lie in RAM; give more RAM"
)]
#[case::smaller_than_initrd(
    &["inspect", "fw-cfg", "--kernel", "ok.elf", "-m", "2M", "--initrd", "4m"],
    "give more RAM"
)]
// The machine.
#[case::machine(&["inspect", "e820", "--machine", "pc"], "'pc' is not understood: the machine is `microvm`")]
#[case::property(
    &["inspect", "e820", "--machine", "microvm,foo=bar"],
    "--machine: option 'foo' not found; there are profile, pic,"
)]
#[case::value(&["inspect", "e820", "--machine", "microvm,pic=maybe"], "--machine pic='maybe': pic is on, off or auto")]
#[case::not_in_profile(
    &["inspect", "e820", "--machine", "microvm,profile=qemu-7.2,max-ram-below-4g=1G"],
    "max-ram-below-4g is not an option of profile qemu-7.2; drop it"
)]
#[case::rtc_not_in_profile(
    &["inspect", "e820", "--machine", "microvm,profile=rust-vmm,rtc=on"],
    "--machine rtc='on': rtc is not an option of profile rust-vmm; drop it"
)]
#[case::legacy_not_in_profile(
    &["inspect", "e820", "--machine", "microvm,profile=rust-vmm,virtio-mmio=legacy"],
    "virtio-mmio=legacy: transports of profile rust-vmm are version 2 only; write modern or drop it"
)]
#[case::firmware_not_in_profile(
    &["run", "--machine", "microvm,profile=rust-vmm", "--bios", "ok.elf"],
    "--bios: profile rust-vmm starts a kernel directly and has no firmware; give --kernel FILE instead"
)]
#[case::fw_cfg_not_in_profile(
    &["inspect", "fw-cfg", "--machine", "microvm,profile=rust-vmm", "--fw-cfg", "name=opt/x,string=y"],
    "--fw-cfg: profile rust-vmm has no fw_cfg; drop it"
)]
#[case::bus_not_in_profile(
    &["inspect", "layout", "--machine", "microvm,profile=rust-vmm", "--device", "virtio-rng,bus=virtio-mmio-bus.3"],
    "profile rust-vmm has a transport for each device in their order, drop bus="
)]
#[case::cpus_not_in_profile(&["inspect", "e820", "--machine", "microvm,profile=rust-vmm", "--smp", "33"], "is 32")]
#[case::never_there(&["inspect", "e820", "--machine", "microvm,usb=on"], "usb is never there on this machine; drop it")]
#[case::limit(
    &["inspect", "e820", "--machine", "microvm,max-ram-below-4g=5G"],
    "expects a size less than or equal to 4G"
)]
#[case::cpus(&["inspect", "e820", "--smp", "0"], "'0' is not a number of CPUs from 1 to 65535")]
#[case::negative_cpus(&["inspect", "e820", "--smp", "-1"], "'-1' is not a number of CPUs")]
#[case::signed_cpus(&["inspect", "e820", "--smp", "+2"], "'+2' is not a number of CPUs")]
#[case::cpus_twice(&["inspect", "e820", "--smp", "1,cpus=2"], "the number of CPUs is given twice; drop one")]
#[case::too_few_maxcpus(&["inspect", "e820", "--smp", "2,maxcpus=1"], "maxcpus must be equal to or greater")]
#[case::too_many_cpus(
    &["run", "--kernel", "ok.elf", "--smp", "289"],
    "The max CPUs supported by machine 'microvm' is 288"
)]
#[case::sandbox(&["run", "--kernel", "ok.elf", "--sandbox", "yes"], "--sandbox 'yes': write on or off")]
#[case::user_by_name(&["run", "--kernel", "ok.elf", "--user", "nobody"], "--user 'nobody': write UID:GID in numbers")]
#[case::user_unchanged(&["run", "--kernel", "ok.elf", "--user", "4294967295:0"], "write UID:GID in numbers")]
#[case::topology(&["inspect", "e820", "--smp", "4,cores=2"], "cores is CPU topology, which is not offered; drop it")]
#[case::date(&["inspect", "cmos", "--rtc", "base=2020-02-30"], "base is utc, localtime or a date such as")]
#[case::rtc_key(&["inspect", "cmos", "--rtc", "driftfix=slew"], "'driftfix' is not understood")]
#[case::port(&["inspect", "layout", "--debug-exit", "-1"], "--debug-exit '-1': write a port from 0 to 0xffff")]
#[case::port_taken(&["inspect", "layout", "--debug-exit", "0x70"], "overlaps")]
#[case::serial(&["run", "--kernel", "ok.elf", "--serial", "tcp:1"], "write stdio, null, file:FILE or unix:SOCKET")]
// Devices.
#[case::device(&["inspect", "layout", "--device", "virtio-foo"], "unknown device; there are ")]
#[case::device_key(&["inspect", "layout", "--device", "virtio-rng,foo=1"], "'foo' is not understood")]
#[case::no_such_bus(
    &["inspect", "layout", "--device", "virtio-rng,bus=virtio-mmio-bus.8"],
    "the last is virtio-mmio-bus.7"
)]
#[case::signed_bus(&["inspect", "layout", "--device", "virtio-rng,bus=virtio-mmio-bus.+1"], "bus is virtio-mmio-bus.N")]
// fw_cfg.
#[case::fw_cfg_words(
    &["inspect", "fw-cfg", "--fw-cfg", "name=opt/a"],
    "write name=NAME,file=FILE or name=NAME,string=TEXT"
)]
#[case::fw_cfg_long(
    &["inspect", "fw-cfg", "--fw-cfg", "name=opt/0123456789012345678901234567890123456789012345678901,string=x"],
    "is too long (max. 55 char); rename or drop it"
)]
#[case::fw_cfg_taken(
    &["inspect", "fw-cfg", "--fw-cfg", "name=etc/e820,string=x"],
    "duplicate fw_cfg file name: etc/e820; rename or drop it"
)]
// Kernels.
#[case::no_kernel(&["run"], "there is nothing to run; give --kernel FILE")]
#[case::initrd_alone(&["inspect", "fw-cfg", "--initrd", "ok.elf"], "--initrd is only allowed with --kernel")]
#[case::empty(&["run", "--kernel", "empty"], "neither a Linux bzImage nor an ELF file with a PVH note")]
#[case::no_elf(&["run", "--kernel", "4m"], "neither a Linux bzImage nor an ELF file with a PVH note")]
#[case::no_note(&["run", "--kernel", "no-note.elf"], "without PVH ELF Note; Linux has it with CONFIG_PVH=y")]
#[case::cut_short(&["run", "--kernel", "cut.elf"], "--kernel 'cut.elf': broken ELF file: ")]
#[case::class(&["run", "--kernel", "class.elf"], "--kernel 'class.elf': broken ELF file: ")]
#[case::cpu(&["run", "--kernel", "arm.elf"], "ELF machine 40 is neither i386 (3) nor x86-64 (62)")]
#[case::cut_bz_image(&["run", "--kernel", "cut.bz"], "--kernel 'cut.bz': the file ends after 1000 bytes of the kernel")]
#[case::old_bz_image(&["run", "--kernel", "old.bz"], "boot protocol 2.11 is older than 2.12, which direct boot needs")]
#[case::bz_image_32(&["run", "--kernel", "bits-32.bz"], "no 64-bit entry point; start it through a firmware")]
#[case::bz_image_ram(&["run", "--kernel", "ok.bz", "-m", "2M"], "up to 0x300000, RAM below 4 GiB ends at 0x200000")]
#[case::bz_image_initrd(
    &["run", "--kernel", "ok.bz", "-m", "6M", "--initrd", "4m"],
    "its initrd and the kernel both need memory at 0x200000; give more RAM with -m"
)]
#[case::bz_image_line(
    &["run", "--kernel", "short-line.bz", "--append", &["x"; 256].concat()],
    "its command line has 256 bytes, at most 255 fit; shorten --append"
)]
#[case::overlap(&["run", "--kernel", "overlap.elf"], "ELF segment at 0x100020+0x40 overlaps another")]
fn wrong_usage_is_one_line_and_status_2(#[case] arguments: &[&str], #[case] part: &str) {
    assert_refused(&microvm(arguments), 2, part);
}

#[rstest]
#[case::missing(&["run", "--kernel", "missing"], "--kernel 'missing': No such file or directory")]
#[case::folder(&["run", "--kernel", "."], "--kernel '.': Is a directory")]
#[case::endless(&["run", "--kernel", "/dev/zero"], "--kernel '/dev/zero': this is a device; give a file")]
#[case::huge(&["run", "--kernel", "huge"], "--kernel 'huge': the file is larger than 1073741824 bytes, the most")]
#[case::huge_rom(&["run", "--bios", "huge"], "--bios 'huge': the file is larger than 16777216 bytes, the most")]
#[case::initrd(&["inspect", "fw-cfg", "--kernel", "ok.elf", "--initrd", "missing"], "--initrd 'missing': No such file")]
#[case::fw_cfg(&["inspect", "fw-cfg", "--fw-cfg", "name=opt/a,file=missing"], "--fw-cfg 'missing': No such file")]
#[case::socket(&["qtest", "--socket", "unix:missing"], "let the test listen first, or add server=on")]
#[case::socket_taken(&["qtest", "--socket", "unix:ok.elf,server=on"], "remove the path or choose another")]
fn host_failure_is_one_line_and_status_1(#[case] arguments: &[&str], #[case] part: &str) {
    assert_refused(&microvm(arguments), 1, part);
}

#[test]
fn ninth_device_and_second_on_a_bus_are_refused() {
    let nine = ["--device", "virtio-rng"].repeat(9);
    let output = microvm(&[&["inspect", "layout"], &nine[..]].concat());
    assert_refused(&output, 2, "this machine has 8 transports, drop a device");
    let two = ["--device", "virtio-rng,bus=virtio-mmio-bus.3"].repeat(2);
    let output = microvm(&[&["inspect", "layout"], &two[..]].concat());
    assert_refused(
        &output,
        2,
        "Bus 'virtio-mmio-bus.3' is full; name another or leave bus= out",
    );
}

#[test]
fn fw_cfg_file_that_finds_no_room_is_named() {
    let files: Vec<String> = (0..40).map(|number| format!("name=opt/{number},string=x")).collect();
    let options = files.iter().flat_map(|file| ["--fw-cfg", file]);
    let arguments: Vec<&str> = ["inspect", "fw-cfg"].into_iter().chain(options).collect();
    assert_refused(
        &microvm(&arguments),
        2,
        "is one too many: there is room for 32; rename or drop it",
    );
    let output = microvm(&[
        "inspect",
        "fw-cfg",
        "--fw-cfg",
        "name=opt/a,string=x",
        "--fw-cfg",
        "name=opt/a,string=y",
    ]);
    assert_refused(&output, 2, "duplicate fw_cfg file name: opt/a; rename or drop it");
}

#[test]
fn reader_that_has_seen_enough_is_no_failure() {
    let mut child = command(&["inspect", "fw-cfg"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("microvm starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("microvm ends");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[rstest]
#[case::output(&["inspect", "fw-cfg"], true, 1)]
#[case::help(&["--help"], true, 1)]
#[case::message(&["run", "--kernel", "missing"], false, 1)]
#[case::warning(&["inspect", "e820", "--machine", "microvm,max-ram-below-4g=512K"], false, 0)]
fn full_disk_behind_a_stream_ends_without_panic(
    #[case] arguments: &[&str],
    #[case] is_output: bool,
    #[case] status: i32,
) {
    let full = || File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut command = command(arguments);
    if is_output {
        command.stdout(full());
    } else {
        command.stderr(full());
    }
    let output = command.output().expect("microvm starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert_eq!(text.contains("No space left on device"), is_output, "{text}");
}

/// A kernel file is as hostile as its maker likes: the machine and direct boot refuse or load it, without panic, and
/// never take memory that the file merely claims to need.
#[rstest]
#[case::elf(&pvh_kernel(&[0x10_0000, 0x20_0000]), 0..64 + 56 * 3 + 20)]
#[case::bz_image(&bz_image(), 0x1f0..0x270)]
fn mutated_kernel_is_refused_or_loaded(#[case] good: &[u8], #[case] header: Range<usize>) {
    let mut random = SEED;
    let mut next = |below: usize| {
        // Xorshift, 64 bits.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 8) as usize % below
    };
    let before = peak_kib();
    let (mut loaded, mut refused) = (0, 0);
    for _ in 0..KERNELS {
        let mut bytes = good.to_vec();
        for _ in 0..=next(4) {
            let at = header.start + next(header.len());
            match next(5) {
                0 => bytes[at] ^= 1 << next(8),
                1 => bytes[at] = [0x00, 0x01, 0x7f, 0x80, 0xff][next(5)],
                2 => bytes[at & !3..][..4].copy_from_slice(&(u32::MAX << next(32)).to_le_bytes()),
                3 => bytes[at & !7..][..8].copy_from_slice(&u64::MAX.to_le_bytes()),
                _ => bytes[at & !7..][..8].copy_from_slice(&(1_u64 << next(64)).to_le_bytes()),
            }
        }
        if next(8) == 0 {
            bytes.truncate(next(good.len()));
        }
        if boots(&bytes) {
            loaded += 1;
        } else {
            refused += 1;
        }
    }
    assert!(
        KERNELS / 20 < loaded && KERNELS / 20 < refused,
        "{loaded} loaded, {refused} refused"
    );
    let taken = peak_kib() - before;
    assert!(taken < PEAK_KIB_MAX, "{taken} KiB of memory were taken");
}

/// Whether a machine takes this kernel and direct boot loads it.
fn boots(kernel: &[u8]) -> bool {
    let config = Config {
        ram_bytes: 4 << 20,
        kernel: Some(Blob {
            name: "hostile".into(),
            bytes: kernel.into(),
        }),
        ..Config::default()
    };
    let Ok(machine) = Machine::new(&config) else {
        return false;
    };
    let payload = Payload {
        kernel: machine.board().kernel.as_ref().expect("it was given"),
        initrd: Some(&[0; 100]),
        command_line: b"a=b",
        cpus: 1,
        e820: &machine.board().e820,
    };
    direct::load(machine.memory(), &payload).is_ok()
}

/// A `microvm` in a folder of its own with good and bad kernels.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microvm"));
    command.args(arguments).current_dir(folder()).stdin(Stdio::null());
    command
}

fn microvm(arguments: &[&str]) -> Output {
    command(arguments).output().expect("microvm starts")
}

fn assert_refused(output: &Output, status: i32, part: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(text.contains(part), "{text}");
    assert!(
        text.starts_with("microvm: ") && text.lines().count() == 1,
        "one line: {text}"
    );
    assert!(output.stdout.is_empty(), "nothing but the message");
}

fn folder() -> &'static Path {
    static FOLDER: std::sync::OnceLock<TempDir> = std::sync::OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            let mut file = File::create(folder.path().join(name)).expect("a file");
            file.write_all(bytes).expect("written");
        };
        let good = pvh_kernel(&[0x10_0000]);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        write("ok.elf", &good);
        write("empty", &[]);
        write("4m", &[0x55; 4 << 20]);
        let huge = File::create(folder.path().join("huge")).expect("a file");
        huge.set_len(3 << 30).expect("a file of holes");
        let bz_image = bz_image();
        let bz_with = |at: usize, byte: u8| {
            let mut bytes = bz_image.clone();
            bytes[at] = byte;
            bytes
        };
        write("ok.bz", &bz_image);
        write("cut.bz", &bz_image[..5 * 512 + 1000]);
        write("old.bz", &bz_with(0x206, 0x0b));
        write("bits-32.bz", &bz_with(0x236, 0));
        write("short-line.bz", &bz_with(0x239, 0));
        write("cut.elf", &good[..100]);
        write("class.elf", &with(4, 1));
        write("arm.elf", &with(18, 40));
        write("no-note.elf", &with(NOTE_TYPE_AT, 0));
        write("overlap.elf", &pvh_kernel(&[0x10_0000, 0x10_0020]));
        folder
    });
    folder.path()
}

/// A static ELF64 whose segments of [`SEGMENT_BYTES`] bytes are loaded at these addresses, with a PVH note for the
/// first.
fn pvh_kernel(addresses: &[u64]) -> Vec<u8> {
    let headers = 1 + addresses.len();
    let note_at = 64 + 56 * headers as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let mut put = |bytes: &[u8]| file.extend(bytes);
    // ET_EXEC, EM_X86_64, EV_CURRENT, e_entry, e_phoff, e_shoff.
    [2_u16, 62].into_iter().for_each(|half| put(&half.to_le_bytes()));
    put(&1_u32.to_le_bytes());
    [addresses[0], 64, 0]
        .into_iter()
        .for_each(|long| put(&long.to_le_bytes()));
    put(&0_u32.to_le_bytes());
    [64, 56, headers as u16, 0, 0, 0]
        .into_iter()
        .for_each(|half| put(&half.to_le_bytes()));
    // PT_NOTE.
    [4_u32, 4].into_iter().for_each(|word| put(&word.to_le_bytes()));
    [note_at, 0, 0, 20, 20, 4]
        .into_iter()
        .for_each(|long| put(&long.to_le_bytes()));
    for &address in addresses {
        // PT_LOAD, readable and executable.
        [1_u32, 5].into_iter().for_each(|word| put(&word.to_le_bytes()));
        let offset = note_at + 20;
        [offset, address, address, SEGMENT_BYTES, SEGMENT_BYTES, 1]
            .into_iter()
            .for_each(|long| put(&long.to_le_bytes()));
    }
    // XEN_ELFNOTE_PHYS32_ENTRY.
    [4_u32, 4, 18].into_iter().for_each(|word| put(&word.to_le_bytes()));
    put(b"Xen\0");
    put(&(addresses[0] as u32).to_le_bytes());
    // Interrupts off, and halt for good.
    put(&[0xfa, 0xf4, 0xeb, 0xfc]);
    let end = file.len() + SEGMENT_BYTES as usize - 4;
    file.resize(end, 0);
    file
}

/// A bzImage with a 64-bit entry point that prefers 2 MiB and takes 1 MiB there.
fn bz_image() -> Vec<u8> {
    let mut file = vec![0; 5 * 512 + 1024];
    for (at, bytes) in [
        (0x1f1, &[4][..]),
        (0x1f4, &64_u32.to_le_bytes()),
        (0x201, &[0x6a]),
        (0x202, b"HdrS\x0f\x02"),
        (0x211, &[1]),
        (0x22c, &0x7fff_ffff_u32.to_le_bytes()),
        (0x230, &0x20_0000_u32.to_le_bytes()),
        (0x234, &[1]),
        (0x236, &[1]),
        (0x238, &2047_u32.to_le_bytes()),
        (0x258, &0x20_0000_u64.to_le_bytes()),
        (0x260, &0x10_0000_u32.to_le_bytes()),
    ] {
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }
    file
}

/// The most memory this process ever had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the process's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect("VmHWM in KiB")
}

const SEED: u64 = 0x7075_6c6c_6564_5f69;

const KERNELS: u32 = 10_000;

/// RAM of one machine and what the tests beside this one take; a claim that was believed costs a gigabyte.
const PEAK_KIB_MAX: u64 = 64 << 10;

const SEGMENT_BYTES: u64 = 64;

/// Where the type of the only note of a kernel with one segment stands.
const NOTE_TYPE_AT: usize = 64 + 56 * 2 + 8;
