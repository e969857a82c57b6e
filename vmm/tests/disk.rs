//! A disk outlives its VMM: what a completed flush promised is in the file when the process is killed.
//!
//! The test is the driver: it speaks qtest to `microvm qtest`, which needs no KVM. SIGKILL leaves a process no time to
//! save anything. That a flush also reaches the medium under the host's page cache is for `fdatasync` to keep.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// `microvm qtest` with one block device, driven over its standard input and output.
struct Driver {
    process: Child,
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
    fn start(disk: &Path, features: u32) -> Driver {
        let mut process = Command::new(env!("CARGO_BIN_EXE_microvm"))
            .args(["qtest", "--machine", "microvm,virtio-mmio=modern", "--device"])
            .arg(format!("virtio-blk,file={}", disk.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("microvm starts");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let mut driver = Driver {
            process,
            input,
            output,
            requests: 0,
        };
        for (offset, value) in [
            (0x70, 0),
            (0x70, 3),
            (0x24, 0),
            (0x20, features),
            (0x24, 1),
            (0x20, 1),
            (0x70, 0xb),
        ] {
            driver.register(offset, value);
        }
        driver.register(0x38, u32::from(QUEUE_SIZE));
        for (offset, gpa) in [(0x80, RING), (0x90, RING + 0x1000), (0xa0, RING + 0x2000)] {
            driver.register(offset, gpa as u32);
        }
        driver.register(0x44, 1);
        driver.register(0x70, 0xf);
        driver
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").expect("microvm listens");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("microvm answers");
        let value = answer.trim_end().strip_prefix("OK");
        value
            .unwrap_or_else(|| panic!("'{line}' was answered '{answer}'"))
            .trim_start()
            .to_owned()
    }

    fn register(&mut self, offset: u64, value: u32) {
        self.ask(&format!("writel {:#x} {value:#x}", TRANSPORT + offset));
    }

    fn put(&mut self, gpa: u64, bytes: &[u8]) {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.ask(&format!("write {gpa:#x} {:#x} 0x{digits}", bytes.len()));
    }

    /// Carries out one request with one sector of data, or none for a flush.
    fn request(&mut self, kind: u32, sector: u64) {
        let header = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat();
        self.put(HEADER, &header);
        self.put(STATUS, &[0xee]);
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
            self.put(RING + 16 * index as u64, &parts.concat());
        }
        self.put(RING + 0x1004 + 2 * u64::from(self.requests % QUEUE_SIZE), &[0, 0]);
        self.requests += 1;
        self.put(RING + 0x1002, &self.requests.to_le_bytes());
        self.register(0x50, 0);
        let used = self.ask(&format!("readw {:#x}", RING + 0x2002));
        assert_eq!(
            u64::from_str_radix(used.trim_start_matches("0x"), 16),
            Ok(u64::from(self.requests))
        );
        assert_eq!(
            self.ask(&format!("read {STATUS:#x} 1")),
            "0x00",
            "request {} succeeds",
            self.requests
        );
    }

    fn write(&mut self, sector: u64, byte: u8) {
        self.put(DATA, &[byte; 512]);
        self.request(OUT, sector);
    }

    fn read(&mut self, sector: u64) -> String {
        self.request(IN, sector);
        self.ask(&format!("read {DATA:#x} 0x200"))
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.process.kill().expect("it runs");
        let status = self.process.wait().expect("it ends");
        assert!(!status.success(), "{status}");
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
        let mut driver = Driver::start(&path, FEATURE_FLUSH);
        for at in 0..8 {
            driver.write(8 * u64::from(round) + at, 0x20 + round);
        }
        driver.request(FLUSH, 0);
        // Written, not flushed: this may be lost, but nothing else.
        driver.write(40 + u64::from(round), 0xff);
        driver.kill();
        for at in 0..8 {
            assert_eq!(
                sector(&path, usize::from(8 * round + at)),
                [0x20 + round; 512],
                "round {round}"
            );
        }
        let unflushed = sector(&path, usize::from(40 + round));
        assert!(
            unflushed == [0xff; 512] || unflushed == [0x11; 512],
            "one or the other, not a mixture"
        );
    }
    for round in 0..5 {
        assert_eq!(
            sector(&path, 8 * round),
            [0x20 + round as u8; 512],
            "still there after later kills"
        );
    }
    assert_eq!(sector(&path, SECTORS - 1), [0x11; 512], "what nobody wrote stays");
    // And a new VMM shows it to its guest: the lock of a killed one is gone.
    let mut driver = Driver::start(&path, FEATURE_FLUSH);
    assert_eq!(driver.read(0), format!("0x{}", "20".repeat(512)));
    driver.kill();
    fs::remove_file(&path).expect("the image is there");
}

#[test]
fn write_of_a_driver_that_cannot_flush_survives_without_one() {
    let path = image("write-through");
    let mut driver = Driver::start(&path, 0);
    driver.write(3, 0x44);
    driver.kill();
    assert_eq!(sector(&path, 3), [0x44; 512]);
    fs::remove_file(&path).expect("the image is there");
}

#[test]
fn one_image_is_not_written_by_two_vmms() {
    let path = image("lock");
    let driver = Driver::start(&path, 0);
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
    driver.kill();
    fs::remove_file(&path).expect("the image is there");
}
