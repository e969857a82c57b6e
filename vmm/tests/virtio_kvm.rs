//! virtio devices on /dev/kvm: guests see the same with `ioeventfd=on` and `off`, and a disk keeps what it was given
//! when the guest ends or resets the machine right behind a request.
//!
//! Guests are put together out of stores and polls; what they saw they gather at [`SEEN`] and send out of the serial
//! port. Without a usable /dev/kvm every test passes after saying why it did nothing.

mod guest;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use guest::{Guest, LOAD_ADDRESS, SEEN, exit, seen};

#[test]
fn guest_sees_the_same_and_exits_less() {
    const REQUESTS: u16 = 40;
    let mut exits = Vec::new();
    for ioeventfd in MODES {
        let run = Run::new(ioeventfd);
        let marks = run.folder.join("marks");
        let mut code = start_device(0);
        for number in 0..REQUESTS {
            let at = SEEN + 16 * u32::from(number);
            code.extend(describe(0, BUFFER, 32, WRITE, 0));
            code.extend(offer(number, 0));
            code.extend(store(TRANSPORT + QUEUE_NOTIFY, 0));
            // A register read right behind the notification sees what it did; so does memory from then on.
            code.extend(copy(TRANSPORT + INTERRUPT_STATUS, at));
            code.extend(copy(USED, at + 4));
            code.extend(copy(USED + 8 + 8 * u32::from(number % QUEUE_SIZE), at + 8));
            code.extend(store(TRANSPORT + INTERRUPT_ACK, 1));
            code.extend(copy(TRANSPORT + INTERRUPT_STATUS, at + 12));
        }
        code.extend(seen(16 * u32::from(REQUESTS)));
        let arguments = [
            "--device",
            "virtio-rng",
            "--boot-marks",
            marks.to_str().expect("a plain path"),
        ];
        let Some(output) = run.guest(&code, &arguments) else {
            return;
        };
        let want = (1..=u32::from(REQUESTS)).flat_map(|number| [1, number << 16, 32, 0]);
        assert_eq!(words(&output), want.collect::<Vec<_>>(), "ioeventfd={ioeventfd}");
        let text = fs::read_to_string(&marks).expect("the marks");
        // The last line has the counts of the whole run.
        let (_, counts) = text.rsplit_once("\"virtio_mmio.7\":").expect("the device was used");
        let (counts, _) = counts.split_once('}').expect("an object of counts by kind");
        let numbers = counts.split(|other: char| !other.is_ascii_digit());
        exits.push(numbers.filter_map(|digits| digits.parse::<u16>().ok()).sum::<u16>());
    }
    assert_eq!(exits[0] - exits[1], REQUESTS, "one exit less for each notification");
}

#[test]
fn guest_that_only_watches_memory_is_served() {
    for ioeventfd in MODES {
        let mut code = start_device(0);
        for number in 0..100 {
            code.extend(describe(0, BUFFER, 32, WRITE, 0));
            code.extend(offer(number, 0));
            code.extend(store(TRANSPORT + QUEUE_NOTIFY, 0));
            code.extend(wait_for_used(number + 1));
        }
        code.extend(copy(TRANSPORT + INTERRUPT_STATUS, SEEN));
        code.extend(seen(4));
        let Some(output) = Run::new(ioeventfd).guest(&code, &["--device", "virtio-rng"]) else {
            return;
        };
        assert_eq!(words(&output), [1], "ioeventfd={ioeventfd}");
    }
}

#[test]
fn reset_of_the_device_comes_behind_the_notification_before_it() {
    const ROUNDS: u32 = 40;
    for ioeventfd in MODES {
        let mut code = Vec::new();
        for round in 0..ROUNDS {
            code.extend(start_device(0));
            for slot in 0..QUEUE_SIZE {
                code.extend(describe(slot, BUFFER + 0x100 * u32::from(slot), 32, WRITE, 0));
                code.extend(offer(slot, slot));
            }
            code.extend(store(TRANSPORT + QUEUE_NOTIFY, 0));
            code.extend(store(TRANSPORT + STATUS, 0));
            code.extend(copy(USED, SEEN + 8 * round));
            code.extend(copy(TRANSPORT + INTERRUPT_STATUS, SEEN + 8 * round + 4));
        }
        code.extend(seen(8 * ROUNDS));
        let Some(output) = Run::new(ioeventfd).guest(&code, &["--device", "virtio-rng"]) else {
            return;
        };
        let want = [u32::from(QUEUE_SIZE) << 16, 0].repeat(ROUNDS as usize);
        assert_eq!(words(&output), want, "ioeventfd={ioeventfd}");
    }
}

#[test]
fn other_stores_to_the_notify_register_do_nothing() {
    for ioeventfd in MODES {
        let mut code = start_device(0);
        code.extend(describe(0, BUFFER, 32, WRITE, 0));
        code.extend(offer(0, 0));
        code.extend(store_byte(TRANSPORT + QUEUE_NOTIFY, 0));
        code.extend(store_half(TRANSPORT + QUEUE_NOTIFY, 0));
        for value in [1, 0x1_0000, u32::MAX] {
            code.extend(store(TRANSPORT + QUEUE_NOTIFY, value));
        }
        code.extend(copy(TRANSPORT + INTERRUPT_STATUS, SEEN));
        code.extend(copy(USED, SEEN + 4));
        code.extend(store(TRANSPORT + QUEUE_NOTIFY, 0));
        code.extend(copy(TRANSPORT + INTERRUPT_STATUS, SEEN + 8));
        code.extend(seen(12));
        let Some(output) = Run::new(ioeventfd).guest(&code, &["--device", "virtio-rng"]) else {
            return;
        };
        assert_eq!(words(&output), [0, 0, 1], "ioeventfd={ioeventfd}");
    }
}

#[test]
fn legacy_transport_is_notified() {
    for ioeventfd in MODES {
        let mut code = [
            store(TRANSPORT + STATUS, 3),
            store(TRANSPORT + 0x28, 0x1000), // GuestPageSize
            store(TRANSPORT + 0x20, 0),      // DriverFeatures
            store(TRANSPORT + QUEUE_NUM, u32::from(QUEUE_SIZE)),
            store(TRANSPORT + 0x3c, 0x1000), // QueueAlign
            store(TRANSPORT + 0x40, RING >> 12),
            store(TRANSPORT + STATUS, 7),
            describe(0, BUFFER, 32, WRITE, 0),
        ]
        .concat();
        let avail = RING + 16 * u32::from(QUEUE_SIZE);
        code.extend(store(avail, 1 << 16));
        code.extend(store(TRANSPORT + QUEUE_NOTIFY, 0));
        code.extend(copy(TRANSPORT + INTERRUPT_STATUS, SEEN));
        code.extend(copy(RING + 0x1000, SEEN + 4));
        code.extend(seen(8));
        let mut run = Run::new(ioeventfd);
        run.version = "legacy";
        let Some(output) = run.guest(&code, &["--device", "virtio-rng"]) else {
            return;
        };
        assert_eq!(words(&output), [1, 1 << 16], "ioeventfd={ioeventfd}");
    }
}

#[test]
fn writes_and_flushes_are_in_the_file() {
    for ioeventfd in MODES {
        let run = Run::new(ioeventfd);
        let mut code = start_device(FEATURE_FLUSH);
        for number in 0..8 {
            code.extend(fill(BUFFER, 0x0101_0101 * (u32::from(number) + 1)));
            code.extend(request(2 * number, OUT, u32::from(number)));
            code.extend(wait_for_used(2 * number + 1));
            code.extend(request(2 * number + 1, FLUSH, 0));
            code.extend(wait_for_used(2 * number + 2));
            code.extend(copy(STATUSES, SEEN + 4 * u32::from(number)));
        }
        code.extend(seen(32));
        let Some(output) = run.guest(&code, &["--device", &run.disk()]) else {
            return;
        };
        assert_eq!(words(&output), [0; 8], "ioeventfd={ioeventfd}");
        for sector in 0..8 {
            assert_eq!(run.sector(sector), [sector as u8 + 1; 512], "ioeventfd={ioeventfd}");
        }
        assert_eq!(run.sector(8), [0; 512]);
    }
}

#[test]
fn driver_that_cannot_flush_has_its_writes_completed() {
    for ioeventfd in MODES {
        let run = Run::new(ioeventfd);
        let mut code = start_device(0);
        for number in 0..4 {
            code.extend(fill(BUFFER, 0x2121_2121));
            code.extend(request(number, OUT, u32::from(number)));
            code.extend(wait_for_used(number + 1));
        }
        code.extend(copy(STATUSES, SEEN));
        code.extend(seen(4));
        let Some(output) = run.guest(&code, &["--device", &run.disk()]) else {
            return;
        };
        assert_eq!(words(&output), [0], "ioeventfd={ioeventfd}");
        assert_eq!(run.sector(3), [0x21; 512], "ioeventfd={ioeventfd}");
    }
}

#[test]
fn write_right_before_the_end_is_carried_out() {
    for ioeventfd in MODES {
        for _ in 0..5 {
            let run = Run::new(ioeventfd);
            let mut code = start_device(FEATURE_FLUSH);
            code.extend(fill(BUFFER, 0x5a5a_5a5a));
            code.extend(request(0, OUT, 3));
            let Some(_) = run.guest(&code, &["--device", &run.disk()]) else {
                return;
            };
            assert_eq!(run.sector(3), [0x5a; 512], "ioeventfd={ioeventfd}");
        }
    }
}

#[test]
fn reset_of_the_machine_during_io_keeps_the_disk() {
    // The first life flushes one sector, asks for another, and faults before that can be answered. The second reads
    // both back.
    for ioeventfd in MODES {
        let run = Run::new(ioeventfd);
        let mut first = start_device(FEATURE_FLUSH);
        first.extend(fill(BUFFER, 0x1111_1111));
        first.extend(request(0, OUT, 1));
        first.extend(wait_for_used(1));
        first.extend(request(1, FLUSH, 0));
        first.extend(wait_for_used(2));
        first.extend(fill(BUFFER, 0x2222_2222));
        first.extend(request(2, OUT, 2));
        // Another flush is under way when the machine goes.
        first.extend(request(3, FLUSH, 0));
        first.extend(store(LIVES, 1));
        first.extend(TRIPLE_FAULT);
        // RAM keeps over a reset: what was seen before is known by it.
        let is_second: &[u8] = &[
            0x83, 0x3d, 0x00, 0x00, 0x5f, 0x00, 0x01, // cmp dword [LIVES], 1
            0x0f, 0x84, // je over the first life
        ];
        let mut code = [is_second, &(first.len() as u32).to_le_bytes(), &first].concat();
        code.extend(copy(TRANSPORT + STATUS, SEEN));
        code.extend(start_device(FEATURE_FLUSH));
        for (number, sector) in [(0, 1), (1, 2), (2, 3)] {
            code.extend(fill(BUFFER, 0x7777_7777));
            code.extend(request(number, IN, sector));
            code.extend(wait_for_used(number + 1));
            code.extend(copy(BUFFER + 508, SEEN + 4 * sector));
        }
        code.extend(seen(16));
        let Some(output) = run.guest(&code, &["--device", &run.disk()]) else {
            return;
        };
        // Status 0, then the sectors; both modes carry a notification out before the reset behind it.
        assert_eq!(
            words(&output),
            [0, 0x1111_1111, 0x2222_2222, 0],
            "ioeventfd={ioeventfd}"
        );
        assert_eq!(run.sector(1), [0x11; 512], "ioeventfd={ioeventfd}");
        assert_eq!(run.sector(2), [0x22; 512], "ioeventfd={ioeventfd}");
    }
}

#[test]
fn reset_of_the_device_during_a_flush_leaves_its_memory_alone() {
    for ioeventfd in MODES {
        let run = Run::new(ioeventfd);
        let mut code = Vec::new();
        for round in 0..20 {
            code.extend(start_device(FEATURE_FLUSH));
            code.extend(fill(BUFFER, 0x3333_3333));
            code.extend(request(0, OUT, round));
            code.extend(request(1, FLUSH, 0));
            code.extend(store(TRANSPORT + STATUS, 0));
            code.extend(store(USED, 0xdead_0000));
            code.extend(store(STATUSES, 0xeeee_eeee));
            // A second driver with its own memory gets everything.
            code.extend(start_device_at(FEATURE_FLUSH, RING + 0x8000));
            code.extend(request_at(RING + 0x8000, 0, FLUSH, 0, STATUSES + 8));
            code.extend(wait_for_half(RING + 0x8000 + 0x2002, 1));
            code.extend(copy(USED, SEEN + 8 * round));
            code.extend(copy(STATUSES, SEEN + 8 * round + 4));
        }
        code.extend(seen(160));
        let Some(output) = run.guest(&code, &["--device", &run.disk()]) else {
            return;
        };
        assert_eq!(
            words(&output),
            [0xdead_0000, 0xeeee_eeee].repeat(20),
            "ioeventfd={ioeventfd}"
        );
    }
}

#[test]
fn halted_cpu_wakes_for_each_request() {
    const REQUESTS: u16 = 6;
    for ioeventfd in MODES {
        for kernel_irqchip in ["split", "on"] {
            // Edge, then level.
            for entry in [0x40, 0x8040] {
                let mut code = take_interrupts(entry);
                code.extend(start_device(0));
                for number in 0..REQUESTS {
                    code.extend(describe(0, BUFFER, 32, WRITE, 0));
                    code.extend(offer(number, 0));
                    code.extend(store(TRANSPORT + QUEUE_NOTIFY, 0));
                    code.extend([0xfb, 0xf4]); // sti; hlt
                }
                code.extend(copy(USED, SEEN + 4));
                code.extend(seen(8));
                let mut run = Run::new(ioeventfd);
                run.kernel_irqchip = kernel_irqchip;
                let Some(output) = run.guest(&code, &["--device", "virtio-rng"]) else {
                    return;
                };
                let want = [u32::from(REQUESTS), u32::from(REQUESTS) << 16];
                assert_eq!(words(&output), want, "{ioeventfd}, {kernel_irqchip}, {entry:#x}");
            }
        }
    }
}

/// A run of one guest, with a folder of its own.
struct Run {
    ioeventfd: &'static str,
    kernel_irqchip: &'static str,
    version: &'static str,
    folder: PathBuf,
}

impl Run {
    fn new(ioeventfd: &'static str) -> Run {
        let folder = guest::folder();
        fs::write(folder.join("disk"), vec![0; 64 * 512]).expect("a small file");
        Run {
            ioeventfd,
            kernel_irqchip: "split",
            version: "modern",
            folder,
        }
    }

    /// The device on this run's disk image.
    fn disk(&self) -> String {
        format!("virtio-blk,file={}", self.folder.join("disk").display())
    }

    fn sector(&self, sector: usize) -> Vec<u8> {
        fs::read(self.folder.join("disk")).expect("the image is there")[sector * 512..][..512].to_vec()
    }

    /// Runs the code to its end, which must come within [`LIMIT`] without a word on standard error; `None` without KVM.
    fn guest(&self, code: &[u8], arguments: &[&str]) -> Option<Output> {
        if let Some(problem) = guest::kvm_problem() {
            eprintln!("skipped: {problem}");
            return None;
        }
        let image = self.folder.join("guest.elf");
        let code = [code, &exit(0x10)].concat();
        assert!(code.len() <= 0x1_0000, "{} bytes of code", code.len());
        fs::write(&image, Guest::new(&code).elf()).expect("a small file");
        let machine = format!(
            "microvm,virtio-mmio={},ioeventfd={},kernel-irqchip={}",
            self.version, self.ioeventfd, self.kernel_irqchip
        );
        let mut child = Command::new(env!("CARGO_BIN_EXE_microvm"))
            .args(["run", "--debug-exit", "0xf4", "--machine", &machine, "--kernel"])
            .arg(&image)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("microvm starts");
        let deadline = Instant::now() + LIMIT;
        while child.try_wait().expect("our own child").is_none() {
            if deadline < Instant::now() {
                child.kill().expect("still there");
                let output = child.wait_with_output().expect("its output");
                panic!(
                    "ioeventfd={}: still running after {LIMIT:?}: {output:?}",
                    self.ioeventfd
                );
            }
            thread::sleep(Duration::from_millis(2));
        }
        let output = child.wait_with_output().expect("its output");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*message), (Some(0x21), ""));
        Some(output)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _leftover = fs::remove_dir_all(&self.folder);
    }
}

/// Code that resets the device and brings it up to DRIVER_OK with a cleared queue at [`RING`].
fn start_device(features: u32) -> Vec<u8> {
    start_device_at(features, RING)
}

fn start_device_at(features: u32, ring: u32) -> Vec<u8> {
    let mut code = Vec::new();
    // Only what the device looks at: `avail.idx` and, for those who look, `used`.
    for gpa in [ring + 0x1000, ring + 0x2000] {
        code.extend(store(gpa, 0));
    }
    for (offset, value) in [
        (STATUS, 0),
        (STATUS, 3),
        (0x24, 0),
        (0x20, features),
        (0x24, 1),
        (0x20, 1),
        (STATUS, 0xb),
        (QUEUE_NUM, u32::from(QUEUE_SIZE)),
        (0x80, ring),
        (0x90, ring + 0x1000),
        (0xa0, ring + 0x2000),
        (0x44, 1),
        (STATUS, 0xf),
    ] {
        code.extend(store(TRANSPORT + offset, value));
    }
    code
}

/// Code that writes a descriptor of the table at [`RING`].
fn describe(index: u16, gpa: u32, length: u32, flags: u16, next: u16) -> Vec<u8> {
    describe_at(RING, index, gpa, length, flags, next)
}

fn describe_at(ring: u32, index: u16, gpa: u32, length: u32, flags: u16, next: u16) -> Vec<u8> {
    let at = ring + 16 * u32::from(index);
    let last = u32::from(next) << 16 | u32::from(flags);
    [
        store(at, gpa),
        store(at + 4, 0),
        store(at + 8, length),
        store(at + 12, last),
    ]
    .concat()
}

/// Code that makes chain `head` available as the request of this number, without a notification.
fn offer(number: u16, head: u16) -> Vec<u8> {
    offer_at(RING, number, head)
}

fn offer_at(ring: u32, number: u16, head: u16) -> Vec<u8> {
    let entry = ring + 0x1004 + 2 * u32::from(number % QUEUE_SIZE);
    [store_half(entry, head), store_half(ring + 0x1002, number + 1)].concat()
}

/// Code that makes a block request of one sector at [`BUFFER`], or of none, and notifies.
fn request(number: u16, kind: u32, sector: u32) -> Vec<u8> {
    request_at(RING, number, kind, sector, STATUSES)
}

fn request_at(ring: u32, number: u16, kind: u32, sector: u32, status: u32) -> Vec<u8> {
    // Two requests may be under way: each has its own descriptors and header.
    let slot = number % 2;
    let (head, header) = (3 * slot, ring + 0x3000 + 16 * u32::from(slot));
    let (data_flags, after_header) = match kind {
        IN => (NEXT | WRITE, head + 1),
        OUT => (NEXT, head + 1),
        _ => (NEXT, head + 2),
    };
    let words = [
        store(header, kind),
        store(header + 4, 0),
        store(header + 8, sector),
        store(header + 12, 0),
    ];
    let mut code = words.concat();
    // A byte, which the guest copies as a double word.
    code.extend(store(status, 0xee));
    code.extend(describe_at(ring, head, header, 16, NEXT, after_header));
    code.extend(describe_at(ring, head + 1, BUFFER, 512, data_flags, head + 2));
    code.extend(describe_at(ring, head + 2, status, 1, WRITE, 0));
    code.extend(offer_at(ring, number, head));
    code.extend(store(TRANSPORT + QUEUE_NOTIFY, 0));
    code
}

/// Code that fills the 512 bytes at `gpa`.
fn fill(gpa: u32, value: u32) -> Vec<u8> {
    let mut code = vec![0xfc, 0xbf]; // cld; mov edi, gpa
    code.extend(gpa.to_le_bytes());
    code.push(0xb8); // mov eax, value
    code.extend(value.to_le_bytes());
    code.extend([0xb9, 0x80, 0x00, 0x00, 0x00]); // mov ecx, 128
    code.extend([0xf3, 0xab]); // rep stosd
    code
}

/// Code that lets the device's line reach the CPU by this entry of the IOAPIC, vector 0x40; to stand at the beginning.
/// The handler counts at [`SEEN`] and acknowledges, and leaves interrupts off: it ends by `retf 4`, since KVM's
/// emulator, which runs such guests on some hosts, has no `iret` in protected mode.
fn take_interrupts(entry: u32) -> Vec<u8> {
    let count: &[u8] = &[0xff, 0x05, 0x00, 0x00, 0x20, 0x00]; // inc dword [SEEN]
    let handler = [
        count,
        &store(TRANSPORT + INTERRUPT_ACK, 1),
        &store(0xfee0_00b0, 0), // EOI
        &[0xca, 0x04, 0x00],    // retf 4
    ]
    .concat();
    let jump = [0xeb, handler.len() as u8];
    let at = LOAD_ADDRESS + jump.len() as u32;
    [
        &jump[..],
        &handler,
        &store(TABLES, 0),
        &store(TABLES + 4, 0),
        &store(TABLES + 8, 0x0000_ffff), // selector 8: flat code
        &store(TABLES + 12, 0x00cf_9a00),
        &store(TABLES + 0x200, 8 << 16 | at & 0xffff), // vector 0x40: 32-bit interrupt gate
        &store(TABLES + 0x204, at & 0xffff_0000 | 0x8e00),
        &store_half(TABLES + 0x300, 0x000f),
        &store(TABLES + 0x302, TABLES),
        &store_half(TABLES + 0x308, 0x0207),
        &store(TABLES + 0x30a, TABLES),
        &[0x0f, 0x01, 0x15, 0x00, 0x03, 0x5d, 0x00], // lgdt [0x5d0300]
        &[0x0f, 0x01, 0x1d, 0x08, 0x03, 0x5d, 0x00], // lidt [0x5d0308]
        &[0xbc, 0x00, 0x00, 0x5c, 0x00],             // mov esp, 0x5c0000
        &[0xb0, 0xff, 0xe6, 0x21, 0xe6, 0xa1],       // mov al, 0xff; out 0x21, al; out 0xa1, al   no PIC
        &store(0xfee0_00f0, 0x1ff),                  // the local APIC on
        &store(0xfec0_0000, 0x10 + 2 * 12),          // pin 12, low half
        &store(0xfec0_0010, entry),
    ]
    .concat()
}

fn store(gpa: u32, value: u32) -> Vec<u8> {
    [&[0xc7, 0x05], &gpa.to_le_bytes()[..], &value.to_le_bytes()].concat() // mov dword [gpa], value
}

fn store_half(gpa: u32, value: u16) -> Vec<u8> {
    [&[0x66, 0xc7, 0x05], &gpa.to_le_bytes()[..], &value.to_le_bytes()].concat() // mov word [gpa], value
}

fn store_byte(gpa: u32, value: u8) -> Vec<u8> {
    [&[0xc6, 0x05], &gpa.to_le_bytes()[..], &[value]].concat() // mov byte [gpa], value
}

fn copy(from: u32, to: u32) -> Vec<u8> {
    [&[0xa1], &from.to_le_bytes()[..], &[0xa3], &to.to_le_bytes()].concat() // mov eax, [from]; mov [to], eax
}

/// Code that waits until the queue at [`RING`] has used so many requests.
fn wait_for_used(count: u16) -> Vec<u8> {
    wait_for_half(USED + 2, count)
}

fn wait_for_half(gpa: u32, value: u16) -> Vec<u8> {
    // again: cmp word [gpa], value; jne again
    [
        &[0x66, 0x81, 0x3d],
        &gpa.to_le_bytes()[..],
        &value.to_le_bytes(),
        &[0x75, 0xf5],
    ]
    .concat()
}

fn words(output: &Output) -> Vec<u32> {
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    output.stdout.chunks_exact(4).map(word).collect()
}

/// Values of the option; what a guest sees is the same.
const MODES: [&str; 2] = ["off", "on"];

/// The transport of the only device, and registers.
const TRANSPORT: u32 = 0xc000_0e00;
const QUEUE_NUM: u32 = 0x38;
const QUEUE_NOTIFY: u32 = 0x50;
const INTERRUPT_STATUS: u32 = 0x60;
const INTERRUPT_ACK: u32 = 0x64;
const STATUS: u32 = 0x70;

/// Descriptors; the available ring 4 KiB behind them, the used ring 8 KiB, headers 12 KiB.
const RING: u32 = 0x40_0000;
const USED: u32 = RING + 0x2000;
const QUEUE_SIZE: u16 = 8;
const STATUSES: u32 = 0x42_0000;
const BUFFER: u32 = 0x43_0000;
/// Descriptors of segments and interrupts.
const TABLES: u32 = 0x5d_0000;
/// Counts the guest's lives.
const LIVES: u32 = 0x5f_0000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const FEATURE_FLUSH: u32 = 1 << 9;

/// An interrupt table of no entries, then an exception: the second and third fault have nowhere to go either.
const TRIPLE_FAULT: &[u8] = &[
    0x0f, 0x01, 0x1d, 0x00, 0x00, 0x5e, 0x00, // lidt [0x5e0000]    zeros
    0x0f, 0x0b, // ud2
];

const LIMIT: Duration = Duration::from_secs(30);
