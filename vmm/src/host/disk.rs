//! Disk images for virtio-blk: a file or a block device of the host, as it is, without a format.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::virtio::blk::{Disk, DiskError, FlushCall};

/// An open disk image. Clones share it.
#[derive(Clone, Debug)]
pub struct HostDisk {
    image: Arc<Image>,
}

#[derive(Debug)]
struct Image {
    name: String,
    file: File,
    size_bytes: u64,
    has_complained: AtomicBool,
}

/// Bytes of zeros written at a time where the host cannot make a range read as zeros by itself.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

impl HostDisk {
    /// Opens an image and locks it: one writer, or any number of readers.
    ///
    /// # Errors
    /// What is wrong and what to do, to be read on from the file's name.
    pub fn open(path: &Path, read_only: bool) -> Result<HostDisk, String> {
        // Asked before it is opened: opening a pipe would wait for its other end.
        let kind = path.metadata().map_err(|error| error.to_string())?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err("not a disk image; give a regular file or a block device".to_owned());
        }
        let opened = OpenOptions::new().read(true).write(!read_only).open(path);
        let mut file = opened.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem if !read_only => {
                format!("{error}; make it writable or add readonly=on")
            }
            _ => error.to_string(),
        })?;
        let locked = if read_only {
            file.try_lock_shared()
        } else {
            file.try_lock()
        };
        locked.map_err(|error| match error {
            TryLockError::WouldBlock => {
                "in use by another device or VMM; two may share an image only if both have readonly=on".to_owned()
            }
            TryLockError::Error(error) => format!("lock it: {error}"),
        })?;
        // The length in the metadata of a block device is 0.
        let size_bytes = file.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
        let image = Image {
            name: path.display().to_string(),
            file,
            size_bytes,
            has_complained: AtomicBool::new(false),
        };
        Ok(HostDisk { image: Arc::new(image) })
    }

    fn zero(&self, mut offset: u64, length_bytes: u64) -> std::io::Result<()> {
        let end = offset + length_bytes;
        while offset < end {
            let length = (end - offset).min(ZEROS.len() as u64);
            self.image.file.write_all_at(&ZEROS[..length as usize], offset)?;
            offset += length;
        }
        Ok(())
    }
}

impl Disk for HostDisk {
    fn size_bytes(&self) -> u64 {
        self.image.size_bytes
    }

    fn read_at(&mut self, mut offset: u64, mut into: &mut [u8]) -> Result<(), DiskError> {
        while !into.is_empty() {
            match self.image.file.read_at(into, offset) {
                // Behind the end of the file, in what the last sector is rounded up by.
                Ok(0) => {
                    into.fill(0);
                    break;
                }
                Ok(count) => {
                    offset += count as u64;
                    into = &mut into[count..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.image.complain("read", &error)),
            }
        }
        Ok(())
    }

    fn write_at(&mut self, offset: u64, from: &[u8]) -> Result<(), DiskError> {
        let written = self.image.file.write_all_at(from, offset);
        written.map_err(|error| self.image.complain("write", &error))
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.image.flush()
    }

    fn flush_call(&self) -> Option<FlushCall> {
        let image = Arc::clone(&self.image);
        Some(Box::new(move || image.flush()))
    }

    fn write_zeroes(&mut self, offset: u64, length_bytes: u64, may_unmap: bool) -> Result<(), DiskError> {
        if length_bytes == 0 {
            return Ok(());
        }
        let flags = if may_unmap {
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE
        } else {
            FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE
        };
        let zeroed = match rustix::fs::fallocate(&self.image.file, flags, offset, length_bytes) {
            Ok(()) => Ok(()),
            Err(error) if cannot(error) => self.zero(offset, length_bytes),
            Err(error) => Err(error.into()),
        };
        zeroed.map_err(|error| self.image.complain("write zeros", &error))
    }

    fn discard(&mut self, offset: u64, length_bytes: u64) -> Result<(), DiskError> {
        if length_bytes == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.image.file, flags, offset, length_bytes) {
            Ok(()) => Ok(()),
            // Keeping the storage is allowed.
            Err(error) if cannot(error) => Ok(()),
            Err(error) => Err(self.image.complain("discard", &error.into())),
        }
    }
}

impl Image {
    fn flush(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|error| self.complain("flush", &error))
    }

    /// Tells the user once: the guest can cause errors without end.
    fn complain(&self, what: &str, error: &std::io::Error) -> DiskError {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            eprintln!(
                "microvm: warning: --device virtio-blk,file='{}': {what}: {error}; the guest sees an I/O error, and \
                 further ones are not reported",
                self.name
            );
        }
        DiskError
    }
}

/// Whether the file system lacks the operation, rather than having failed at it.
fn cannot(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A file that goes away with the test.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str, bytes: &[u8]) -> Temporary {
            let path = std::env::temp_dir().join(format!("microvm-disk-{}-{name}", std::process::id()));
            fs::write(&path, bytes).expect("a temporary file");
            Temporary(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            // A test that failed early has told why.
            let _removed = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn sector_that_the_file_ends_in_reads_zeros_and_can_be_written() {
        let file = Temporary::new("odd", &[7; 700]);
        let mut disk = HostDisk::open(&file.0, false).expect("opens");
        assert_eq!(disk.size_bytes(), 700);
        let mut sector = [1; 512];
        disk.read_at(512, &mut sector).expect("reads");
        assert_eq!((&sector[..188], &sector[188..]), (&[7; 188][..], &[0; 324][..]));
        disk.write_at(512, &[9; 512]).expect("writes");
        disk.flush().expect("flushes");
        assert_eq!(fs::read(&file.0).expect("there")[512..], [9; 512]);
    }

    #[test]
    fn zeroed_and_discarded_ranges_keep_the_length() {
        let file = Temporary::new("zero", &[7; 8192]);
        let mut disk = HostDisk::open(&file.0, false).expect("opens");
        for (offset, may_unmap) in [(512, false), (1536, true)] {
            disk.write_zeroes(offset, 512, may_unmap).expect("zeroes");
        }
        disk.discard(4096, 4096).expect("discards");
        disk.write_zeroes(0, 0, true).expect("nothing to do");
        let bytes = fs::read(&file.0).expect("there");
        assert_eq!(bytes.len(), 8192);
        for (sector, want) in [(0, 7), (1, 0), (2, 7), (3, 0), (4, 7)] {
            assert!(
                bytes[sector * 512..][..512].iter().all(|&byte| byte == want),
                "{sector}"
            );
        }
    }

    #[test]
    fn image_has_one_writer_or_many_readers() {
        let file = Temporary::new("lock", &[0; 512]);
        let open = |read_only| HostDisk::open(&file.0, read_only);
        let writer = open(false).expect("the first");
        for read_only in [false, true] {
            let error = open(read_only).expect_err("taken");
            assert!(error.starts_with("in use by another device or VMM"), "{error}");
        }
        drop(writer);
        let _reader = open(true).expect("free again");
        open(true).expect("readers share");
        open(false).expect_err("readers are there");
    }

    #[test]
    fn what_is_no_image_is_refused_in_one_line() {
        let open = |path: &str| HostDisk::open(Path::new(path), true).expect_err("refused");
        assert_eq!(
            open("/dev/null"),
            "not a disk image; give a regular file or a block device"
        );
        assert_eq!(open("/"), "not a disk image; give a regular file or a block device");
        assert!(open("/nonexistent/disk").starts_with("No such file"));
    }
}
