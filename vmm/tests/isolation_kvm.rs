//! A guest on /dev/kvm that attacks costs itself: it may die, the VMM may not, nor grow, nor stop listening.
//!
//! Guests are a few bytes each. Without a usable /dev/kvm every test passes after saying why it did nothing.

mod guest;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use guest::{Guest, LOAD_ADDRESS, SEEN, exit, seen};

#[test]
fn every_thread_is_confined_and_the_process_has_no_privileges() {
    let Some(mut running) = Running::start(&[&mark(), SPIN], &["--serial", "null", "--smp", "3"]) else {
        return;
    };
    running.wait_for_mark();
    let ours = field(&running.proc("self/status"), "Seccomp_filters:");
    let tasks = fs::read_dir(format!("/proc/{}/task", running.child.id())).expect("it runs");
    let tasks = tasks.map(|task| task.expect("a thread").path());
    // KVM's own workers show as threads of the process that has the machine, and never run its code.
    let is_ours = |task: &PathBuf| {
        !fs::read_to_string(task.join("comm"))
            .expect("it runs")
            .starts_with("kvm-")
    };
    let tasks: Vec<PathBuf> = tasks.filter(is_ours).collect();
    assert_eq!(tasks.len(), 4, "three CPUs and the main thread: {tasks:?}");
    for task in tasks {
        let status = fs::read_to_string(task.join("status")).expect("it runs");
        assert_eq!(field(&status, "NoNewPrivs:"), 1, "{status}");
        assert_eq!(field(&status, "Seccomp:"), 2, "{status}");
        // Kernels before 5.9 do not count filters; this process may be in some itself.
        if status.contains("Seccomp_filters:") {
            assert_eq!(field(&status, "Seccomp_filters:"), ours + 1, "{status}");
        }
        for set in ["CapInh:", "CapPrm:", "CapEff:"] {
            assert!(status.contains(&format!("{set}\t0000000000000000")), "{status}");
        }
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.child.id())).expect("it runs");
    for (name, want) in [("Max core file size", "0"), ("Max open files", "64")] {
        let line = limits.lines().find(|line| line.starts_with(name)).expect(name);
        assert_eq!(line[name.len()..].split_whitespace().next(), Some(want), "{line}");
    }
    running.ends_by_signal();
}

#[test]
fn sandbox_can_be_switched_off() {
    let arguments = ["--serial", "null", "--sandbox", "off"];
    let Some(mut running) = Running::start(&[&mark(), SPIN], &arguments) else {
        return;
    };
    running.wait_for_mark();
    let (ours, theirs) = (running.proc("self/status"), running.status());
    for name in ["Seccomp:", "NoNewPrivs:"] {
        assert_eq!(field(&ours, name), field(&theirs, name), "{theirs}");
    }
    running.ends_by_signal();
}

#[test]
fn root_becomes_the_user_asked_for() {
    let arguments = ["--serial", "null", "--user", "65534:65533"];
    let Some(mut running) = Running::start(&[&mark(), SPIN], &arguments) else {
        return;
    };
    if rustix::process::geteuid().is_root() {
        running.wait_for_mark();
        let status = running.status();
        assert!(status.contains("Uid:\t65534\t65534\t65534\t65534\n"), "{status}");
        assert!(status.contains("Gid:\t65533\t65533\t65533\t65533\n"), "{status}");
        assert!(
            status.contains("Groups:\t \n") || status.contains("Groups:\t\n"),
            "{status}"
        );
        running.ends_by_signal();
    } else {
        let output = running.end();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.starts_with("microvm: --user 65534:65533: leave all groups: "),
            "{stderr}"
        );
    }
}

/// Device memory is nothing to execute; a string that leaves RAM goes on where nobody answers.
#[test]
fn wild_code_ends_in_a_report_or_goes_on() {
    let outsb: &[u8] = &[
        0xbe, 0x00, 0xff, 0xff, 0x00, // mov esi, 0xffff00    256 bytes below the end of RAM
        0xb9, 0x00, 0x04, 0x00, 0x00, // mov ecx, 1024
        0x66, 0xba, 0x80, 0x00, // mov dx, 0x80
        0xf3, 0x6e, // rep outsb
    ];
    let insb: &[u8] = &[
        0xbf, 0x00, 0xff, 0xff, 0x00, // mov edi, 0xffff00
        0xb9, 0x00, 0x04, 0x00, 0x00, // mov ecx, 1024
        0x66, 0xba, 0x11, 0x05, // mov dx, 0x511
        0xf3, 0x6c, // rep insb
    ];
    let movs_between_devices: &[u8] = &[
        0xbe, 0x00, 0x00, 0x00, 0xc0, // mov esi, 0xc0000000
        0xbf, 0x00, 0x0e, 0x00, 0xc0, // mov edi, 0xc0000e00
        0xb9, 0x80, 0x00, 0x00, 0x00, // mov ecx, 128
        0xf3, 0xa5, // rep movsd
    ];
    let call_device: &[u8] = &[
        0xb8, 0x00, 0x0e, 0x00, 0xc0, // mov eax, 0xc0000e00
        0xff, 0xd0, // call eax
    ];
    let stack_in_device: &[u8] = &[
        0xbc, 0x80, 0x0e, 0x00, 0xc0, // mov esp, 0xc0000e80
        0x60, // pusha
        0x9c, // pushf
        0x61, // popa
    ];
    let tables_in_device: &[u8] = &[
        0x0f, 0x01, 0x1d, 0x00, 0x0e, 0x00, 0xc0, // lidt [0xc0000e00]
        0x0f, 0x01, 0x15, 0x00, 0x0e, 0x00, 0xc0, // lgdt [0xc0000e00]
        0x0f, 0x0b, // ud2
    ];
    for (name, code) in [
        ("rep outsb at the end of RAM", outsb),
        ("rep insb at the end of RAM", insb),
        ("rep movsd from device to device", movs_between_devices),
        ("call into a device", call_device),
        ("a stack in a device", stack_in_device),
        ("descriptor tables in a device", tables_in_device),
    ] {
        let arguments = ["--serial", "null", "--no-reboot", "--device", "virtio-rng"];
        let Some(running) = Running::start(&[code, &exit(0x10)], &arguments) else {
            return;
        };
        // Some of it keeps KVM itself busy for ever on some hosts; then a signal must end it.
        let output = running.end_or_signal(WILD_LIMIT);
        let stderr = text(&output.stderr);
        match output.status.code() {
            Some(0x21) => assert_eq!(stderr, "", "{name}"),
            Some(0) => assert!(
                ["", "microvm: ended by signal 15\n"].contains(&&*stderr),
                "{name}: {stderr}"
            ),
            Some(1) => assert!(stderr.starts_with("microvm: cpu 0 cannot go on: "), "{name}: {stderr}"),
            _ => panic!("{name}: {:?}, {stderr}", output.status),
        }
    }
}

#[test]
fn port_storm_without_end_costs_no_memory_and_a_signal_ends_it() {
    // A page at a time to the serial port, whose peer takes nothing or does not exist, for ever.
    let storm = |port: u16| {
        let mut page = seen(0x1000);
        page[3..5].copy_from_slice(&port.to_le_bytes());
        page.extend([0x4d, 0x75, 0xec]); // dec ebp; jnz back to its beginning
        page
    };
    for (port, serial) in [(0x3f8, "null"), (0x3f8, "stdio"), (0x402, "null"), (0x43, "null")] {
        let again = storm(port);
        let first = [&[0xbd, 0x14, 0x00, 0x00, 0x00], again.as_slice()].concat(); // mov ebp, 20
        let code = [&first, mark().as_slice(), &[0xbd, 0, 0, 0, 0], &again].concat();
        let Some(mut running) = Running::start(&[&code], &["--serial", serial, "--debug-console", "stdio"]) else {
            return;
        };
        // 80 KiB are through, more than a pipe holds.
        running.wait_for_mark();
        running.ends_by_signal();
    }
}

#[test]
fn entropy_of_four_gigabytes_again_and_again_costs_no_memory_and_a_signal_ends_it() {
    let ring = SEEN;
    let mut code = Vec::new();
    // Descriptors of all lengths from 16 MiB - 1 down, all of them writable, and an available ring of all of them.
    for index in 0..8 {
        code.extend(store(ring + 16 * index, 0));
        code.extend(store(ring + 16 * index + 4, 0));
        code.extend(store(ring + 16 * index + 8, 0xffff_ffff >> index));
        code.extend(store(ring + 16 * index + 12, 2));
    }
    for index in 0..4 {
        code.extend(store(ring + 0x1004 + 4 * index, ((2 * index + 1) << 16) | (2 * index)));
    }
    code.extend(set_up_queue(ring));
    code.extend(store(ring + 0x1000, 8 << 16));
    let again = [
        mark(),
        store(TRANSPORT + 0x50, 0),
        // Starts the device anew: its ring is broken, or empty.
        store(TRANSPORT + 0x70, 0),
    ]
    .concat();
    code.extend(repeat(&[again, set_up_queue(ring)].concat()));
    let arguments = ["--serial", "null", "--device", "virtio-rng"];
    let Some(mut running) = Running::start(&[&code], &arguments) else {
        return;
    };
    running.wait_for_marks(100);
    running.ends_by_signal();
}

#[test]
fn firmware_dma_of_four_gigabytes_again_and_again_leaves_the_vmm_in_command() {
    // Zeros to nearly all of RAM each time.
    let descriptor = SEEN;
    let mut code = Vec::new();
    // Control READ | SELECT of an item that is not there; length; address, all big-endian.
    code.extend(store(descriptor, 0x0a00_00ff_u32));
    code.extend(store(descriptor + 4, 0xffff_ffff));
    code.extend(store(descriptor + 8, 0));
    // From 4 MiB on: this code stays.
    code.extend(store(descriptor + 12, 0x0040_0000_u32.swap_bytes()));
    code.extend(repeat(
        &[
            // mov eax, SEEN big-endian; mov dx, 0x518; out dx, eax
            &[0xb8][..],
            &descriptor.swap_bytes().to_le_bytes(),
            &[0x66, 0xba, 0x18, 0x05, 0xef],
            &store(descriptor, 0x0a00_00ff_u32),
            &mark(),
        ]
        .concat(),
    ));
    let Some(mut running) = Running::start_with_ram(&[&code], &["--serial", "null"], 2 << 10) else {
        return;
    };
    // The second one is then under way.
    running.wait_for_marks(1);
    running.ends_by_signal();
}

/// Code that sets the last transport's only queue up at `ring` and starts the device.
fn set_up_queue(ring: u32) -> Vec<u8> {
    let register = |offset: u32, value: u32| store(TRANSPORT + offset, value);
    [
        register(0x70, 1),
        register(0x70, 3),
        register(0x24, 1),
        register(0x20, 1),
        register(0x70, 0xb),
        register(0x30, 0),
        register(0x38, 8),
        register(0x80, ring),
        register(0x90, ring + 0x1000),
        register(0xa0, ring + 0x2000),
        register(0x44, 1),
        register(0x70, 0xf),
    ]
    .concat()
}

/// `mov dword [address], value`
fn store(address: u32, value: u32) -> Vec<u8> {
    [&[0xc7, 0x05][..], &address.to_le_bytes(), &value.to_le_bytes()].concat()
}

/// Code, and a jump back to its beginning.
fn repeat(code: &[u8]) -> Vec<u8> {
    let back = -(code.len() as i32 + 5);
    [code, &[0xe9], &back.to_le_bytes()].concat()
}

/// Code that writes a boot mark.
fn mark() -> Vec<u8> {
    vec![
        0x66, 0xba, 0xf0, 0x03, // mov dx, 0x3f0
        0xee, // out dx, al
    ]
}

/// A guest that is running, with 16 MiB of RAM and its standard output blocked.
struct Running {
    child: Child,
    folder: PathBuf,
    ram_kib: u64,
}

impl Running {
    fn start(code: &[&[u8]], arguments: &[&str]) -> Option<Running> {
        Running::start_with_ram(code, arguments, 16)
    }

    fn start_with_ram(code: &[&[u8]], arguments: &[&str], ram_mib: u64) -> Option<Running> {
        if let Some(problem) = guest::kvm_problem() {
            eprintln!("skipped: {problem}");
            return None;
        }
        let folder = guest::folder();
        let image = folder.join("guest.elf");
        fs::write(&image, Guest::new(&code.concat()).elf()).expect("a small file");
        let child = Command::new(env!("CARGO_BIN_EXE_microvm"))
            .args([
                "run",
                "--machine",
                "microvm,virtio-mmio=modern",
                "--debug-exit",
                "0xf4",
                "-m",
            ])
            .arg(format!("{ram_mib}M"))
            .arg("--kernel")
            .arg(&image)
            .arg("--boot-marks")
            .arg(folder.join("marks"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("microvm starts");
        Some(Running {
            child,
            folder,
            ram_kib: ram_mib << 10,
        })
    }

    fn wait_for_mark(&mut self) {
        self.wait_for_marks(1);
    }

    fn wait_for_marks(&mut self, count: usize) {
        self.until("the guest's marks", |running| {
            let marks = fs::read_to_string(running.folder.join("marks"));
            marks.is_ok_and(|marks| count <= marks.matches("\"mark\"").count())
        });
    }

    /// SIGTERM ends it in order, soon, and without having used more memory than it may.
    fn ends_by_signal(mut self) {
        let peak_kib = field(&self.status(), "VmHWM:");
        assert!(peak_kib <= self.ram_kib + BEYOND_RAM_KIB_MAX, "{peak_kib} KiB");
        let begin = Instant::now();
        let sent = Command::new("kill")
            .args(["-s", "TERM", &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
        self.until("the end after SIGTERM", Running::has_ended);
        // How long draining into a blocked standard output may take is the VMM's to say.
        let took = begin.elapsed();
        eprintln!(
            "ended {took:?} after SIGTERM, peak {peak_kib} KiB of {} KiB of RAM",
            self.ram_kib
        );
        assert!(took < END_LIMIT, "{took:?}");
        let output = self.end();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(stderr.starts_with("microvm: ended by signal 15\n"), "{stderr}");
    }

    fn signal(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(sent.expect("kill is there").success());
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }

    fn until(&mut self, what: &str, done: impl Fn(&mut Running) -> bool) {
        assert!(self.is_done_within(LIMIT, done), "{what} did not come within {LIMIT:?}");
    }

    fn is_done_within(&mut self, limit: Duration, done: impl Fn(&mut Running) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        while !done(self) {
            if deadline < Instant::now() {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Waits for the end, and asks for it once `limit` is over.
    fn end_or_signal(mut self, limit: Duration) -> Output {
        if !self.is_done_within(limit, Running::has_ended) {
            self.signal();
        }
        self.end()
    }

    /// Waits for the end.
    fn end(mut self) -> Output {
        self.until("the end", Running::has_ended);
        let mut output = Output {
            status: self.child.wait().expect("our own child"),
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_end(&mut output.stderr).expect("a pipe");
        }
        output
    }

    fn status(&self) -> String {
        self.proc(&format!("{}/status", self.child.id()))
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(Path::new("/proc").join(name)).expect("it runs")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        let _leftover = fs::remove_dir_all(&self.folder);
    }
}

/// The number behind a name in a file of /proc; 0 where there is none.
fn field(status: &str, name: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SPIN: &[u8] = &[0xeb, 0xfe];

/// The last transport, which gets the first device.
const TRANSPORT: u32 = 0xc000_0e00;

/// What a VMM may use beyond its guest's RAM.
const BEYOND_RAM_KIB_MAX: u64 = 16 << 10;

const LIMIT: Duration = Duration::from_secs(20);

/// How long wild code may take to end by itself.
const WILD_LIMIT: Duration = Duration::from_secs(1);

/// For the end after a signal: a second, and what a busy host and a blocked output add.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The addresses that the machine code above spells out.
const _: () = assert!(LOAD_ADDRESS == 0x10_0000 && SEEN == 0x20_0000);
