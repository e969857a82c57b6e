//! A disk outlives its VMM: what a completed flush promised is in the file when the process is killed.
//!
//! The test is the driver: it speaks qtest to `microvm qtest`, which needs no KVM. SIGKILL leaves a process no time to
//! save anything. That a flush also reaches the medium under the host's page cache is for `fdatasync` to keep.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

/// The conversation with a `microvm qtest` that has one block device. Its methods give `None` once the process is gone.
struct Driver {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    requests: u16,
}

const TRANSPORT: u64 = 0xc000_0e00;
const RING: u64 = 0x1_0000;
const HEADER: u64 = 0x2_0000;
const STATUS: u64 = 0x2_1000;
const DATA: u64 = 0x3_0000;
const QUEUE_SIZE: u16 = 8;
const SECTORS: usize = 64;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const FEATURE_FLUSH: u32 = 1 << 9;

impl Driver {
    /// Starts the VMM on `disk` and the device with `features` of word 0.
    fn start(disk: &Path, features: u32) -> (Vmm, Driver) {
        let mut process = Command::new(env!("CARGO_BIN_EXE_microvm"))
            .args(["qtest", "--machine", "microvm,virtio-mmio=modern", "--device"])
            .arg(format!("virtio-blk,file={}", disk.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("microvm starts");
        let mut driver = Driver {
            input: process.stdin.take().expect("piped"),
            output: BufReader::new(process.stdout.take().expect("piped")),
            requests: 0,
        };
        driver.initialise(features).expect("microvm answers");
        (Vmm(process), driver)
    }

    fn initialise(&mut self, features: u32) -> Option<()> {
        for (offset, value) in [
            (0x70, 0),
            (0x70, 3),
            (0x24, 0),
            (0x20, features),
            (0x24, 1),
            (0x20, 1),
            (0x70, 0xb),
            (0x38, u32::from(QUEUE_SIZE)),
            (0x80, RING as u32),
            (0x90, RING as u32 + 0x1000),
            (0xa0, RING as u32 + 0x2000),
            (0x44, 1),
            (0x70, 0xf),
        ] {
            self.register(offset, value)?;
        }
        Some(())
    }

    fn ask(&mut self, line: &str) -> Option<String> {
        writeln!(self.input, "{line}").ok()?;
        let mut answer = String::new();
        self.output.read_line(&mut answer).ok()?;
        let answer = answer.strip_suffix('\n')?;
        let value = answer.strip_prefix("OK");
        let value = value.unwrap_or_else(|| panic!("'{line}' was answered '{answer}'"));
        Some(value.trim_start().to_owned())
    }

    fn register(&mut self, offset: u64, value: u32) -> Option<()> {
        self.ask(&format!("writel {:#x} {value:#x}", TRANSPORT + offset))
            .map(|_| ())
    }

    fn put(&mut self, gpa: u64, bytes: &[u8]) -> Option<()> {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.ask(&format!("write {gpa:#x} {:#x} 0x{digits}", bytes.len()))
            .map(|_| ())
    }

    /// Carries out one request with one sector of data, or none for a flush.
    fn request(&mut self, kind: u32, sector: u64) -> Option<()> {
        let header = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat();
        self.put(HEADER, &header)?;
        self.put(STATUS, &[0xee])?;
        let data_flags: u16 = if kind == IN { 3 } else { 1 };
        let after_header: u16 = if kind == FLUSH { 2 } else { 1 };
        let chain = [
            (HEADER, 16_u32, 1_u16, after_header),
            (DATA, 512, data_flags, 2),
            (STATUS, 1, 2, 0),
        ];
        for (index, (gpa, length, flags, next)) in chain.into_iter().enumerate() {
            let parts = [
                &gpa.to_le_bytes()[..],
                &length.to_le_bytes(),
                &flags.to_le_bytes(),
                &next.to_le_bytes(),
            ];
            self.put(RING + 16 * index as u64, &parts.concat())?;
        }
        self.put(RING + 0x1004 + 2 * u64::from(self.requests % QUEUE_SIZE), &[0, 0])?;
        self.requests = self.requests.wrapping_add(1);
        self.put(RING + 0x1002, &self.requests.to_le_bytes())?;
        self.register(0x50, 0)?;
        let used = self.ask(&format!("read {:#x} 2", RING + 0x2002))?;
        let [low, high] = self.requests.to_le_bytes();
        assert_eq!(used, format!("0x{low:02x}{high:02x}"), "the request is used");
        let status = self.ask(&format!("read {STATUS:#x} 1"))?;
        assert_eq!(status, "0x00", "request {} succeeds", self.requests);
        Some(())
    }

    fn write(&mut self, sector: u64, byte: u8) -> Option<()> {
        self.put(DATA, &[byte; 512])?;
        self.request(OUT, sector)
    }

    fn read(&mut self, sector: u64) -> Option<String> {
        self.request(IN, sector)?;
        self.ask(&format!("read {DATA:#x} 0x200"))
    }
}

/// The process. Dropping it kills it too, so that a failed test leaves none behind.
struct Vmm(Child);

impl Vmm {
    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().expect("it runs");
        let status = self.0.wait().expect("it ends");
        assert!(!status.success(), "{status}");
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

fn image(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{}-{name}.img", std::process::id()));
    fs::write(&path, vec![0x11; SECTORS * 512]).expect("an image in the target directory");
    path
}

fn sector(path: &Path, sector: usize) -> Vec<u8> {
    fs::read(path).expect("the image is there")[sector * 512..][..512].to_vec()
}

#[test]
fn disk_data_survives_a_killed_vmm_up_to_the_last_completed_flush() {
    let path = image("flush");
    for round in 0..5_u8 {
        let (vmm, mut driver) = Driver::start(&path, FEATURE_FLUSH);
        for at in 0..8 {
            let written = driver.write(8 * u64::from(round) + at, 0x20 + round);
            written.expect("microvm answers");
        }
        driver.request(FLUSH, 0).expect("microvm answers");
        // Written, not flushed: this may be lost, but nothing else.
        driver.write(40 + u64::from(round), 0xff).expect("microvm answers");
        vmm.kill();
        for at in 0..8 {
            let got = sector(&path, usize::from(8 * round + at));
            assert_eq!(got, [0x20 + round; 512], "round {round}");
        }
        let unflushed = sector(&path, usize::from(40 + round));
        assert!(
            unflushed == [0xff; 512] || unflushed == [0x11; 512],
            "one or the other, not a mixture"
        );
    }
    for round in 0..5 {
        let got = sector(&path, 8 * round);
        assert_eq!(got, [0x20 + round as u8; 512], "still there after later kills");
    }
    assert_eq!(sector(&path, SECTORS - 1), [0x11; 512], "what nobody wrote stays");
    // And a new VMM shows it to its guest: the lock of a killed one is gone.
    let (vmm, mut driver) = Driver::start(&path, FEATURE_FLUSH);
    assert_eq!(driver.read(0), Some(format!("0x{}", "20".repeat(512))));
    vmm.kill();
    fs::remove_file(&path).expect("the image is there");
}

#[test]
fn kill_at_any_moment_loses_no_flushed_write() {
    let mut flushed_in_all = 0;
    for round in 0..20 {
        let path = image("any-moment");
        let (vmm, mut driver) = Driver::start(&path, FEATURE_FLUSH);
        let killer = thread::spawn(move || {
            thread::sleep(Duration::from_micros(500 * (round + 1)));
            vmm.kill();
        });
        // Sector by sector, over and over; the byte tells which pass it was.
        let mut flushed = Vec::new();
        for number in 0.. {
            let (at, byte) = (number % SECTORS, (number / SECTORS) as u8);
            let done = driver.write(at as u64, byte).and_then(|()| driver.request(FLUSH, 0));
            if done.is_none() {
                break;
            }
            flushed.push((at, byte));
        }
        killer.join().expect("the process was killed");
        // The last request may or may not have been carried out, so the newest two values of a sector are both right.
        let next = flushed.len();
        let contents = fs::read(&path).expect("the image is there");
        for &(at, byte) in flushed.iter().rev().take(SECTORS) {
            let got = &contents[at * 512..][..512];
            let newer = (next % SECTORS == at).then_some((next / SECTORS) as u8);
            let whole = got.iter().all(|&got| got == byte);
            let halfway = newer.is_some_and(|newer| got.iter().all(|&got| got == newer || got == byte));
            assert!(whole || halfway, "round {round}: sector {at} lost pass {byte}: {got:?}");
        }
        flushed_in_all += flushed.len();
        fs::remove_file(&path).expect("the image is there");
    }
    assert_ne!(flushed_in_all, 0, "no round came as far as a flush");
}

#[test]
fn write_of_a_driver_that_cannot_flush_survives_without_one() {
    let path = image("write-through");
    let (vmm, mut driver) = Driver::start(&path, 0);
    driver.write(3, 0x44).expect("microvm answers");
    vmm.kill();
    assert_eq!(sector(&path, 3), [0x44; 512]);
    fs::remove_file(&path).expect("the image is there");
}

#[test]
fn one_image_is_not_written_by_two_vmms() {
    let path = image("lock");
    let (vmm, _driver) = Driver::start(&path, 0);
    let second = Command::new(env!("CARGO_BIN_EXE_microvm"))
        .args(["qtest", "--device"])
        .arg(format!("virtio-blk,file={}", path.display()))
        .stdin(Stdio::null())
        .output()
        .expect("microvm starts");
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains("in use by another device or VMM"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    vmm.kill();
    fs::remove_file(&path).expect("the image is there");
}
