//! Each deed is done in a process of its own: this test binary, started again for [`deed_of_a_child`] alone.

use std::fs::File;
use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt;
use std::panic::catch_unwind;
use std::process::{Command, Output};
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::*;
use crate::host::sandbox::Sandbox;

#[test]
fn forbidden_system_call_ends_the_process_and_is_named() {
    let vcpu = "a CPU's thread";
    for (role, deed, who, call) in [
        ("vcpu", "open", vcpu, libc::SYS_openat),
        ("vcpu", "socket", vcpu, libc::SYS_socket),
        ("vcpu", "executable", vcpu, libc::SYS_mmap),
        ("vcpu", "signal-another", vcpu, libc::SYS_tgkill),
        ("vcpu", "other-ioctl", vcpu, libc::SYS_ioctl),
        ("vcpu", "poll", vcpu, libc::SYS_poll),
        ("io", "run-a-cpu", "the I/O thread", libc::SYS_ioctl),
        ("main", "open", "the main thread", libc::SYS_openat),
        ("main", "run-a-cpu", "the main thread", libc::SYS_ioctl),
        ("output", "open", "an output thread", libc::SYS_openat),
        ("output", "disk", "an output thread", libc::SYS_pread64),
    ] {
        let output = child(role, deed);
        let want = format!("microvm: {who} may not make system call {call}; ended by its sandbox\n");
        let (code, stderr) = (output.status.code(), String::from_utf8_lossy(&output.stderr));
        assert!(
            code == Some(i32::from(TRAP_STATUS)) && stderr.ends_with(&want),
            "{role} {deed}: {:?}, {stderr}",
            output.status
        );
    }
}

#[test]
fn thread_cannot_start_another() {
    for role in ["main", "vcpu", "io", "output"] {
        let output = child(role, "thread");
        let stderr = String::from_utf8_lossy(&output.stderr);
        // The C library holds all signals back while it starts a thread; then the kernel itself kills.
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGSYS),
            "{role}: {:?}, {stderr}",
            output.status
        );
    }
}

#[test]
fn what_a_thread_has_to_do_is_allowed() {
    for role in ["main", "vcpu", "io", "output"] {
        for (deed, want, says) in [
            ("panic", 7, "microvm: thread '?' panicked at "),
            ("memory", 7, ""),
            ("lock", 7, ""),
            ("exit", 7, ""),
        ] {
            let output = child(role, deed);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(want), "{role} {deed}: {stderr}");
            assert!(stderr.contains(says), "{role} {deed}: {stderr}");
        }
        assert_eq!(child(role, "abort").status.signal(), Some(libc::SIGABRT), "{role}");
    }
    for role in ["main", "vcpu", "io"] {
        assert_eq!(child(role, "disk").status.code(), Some(7), "{role}");
    }
}

/// Not a test of its own: what [`child`] starts. Without its variable it has nothing to do.
#[test]
fn deed_of_a_child() {
    let Ok(words) = std::env::var(DEED) else {
        return;
    };
    let (role, deed) = words.split_once(' ').expect("role and deed");
    let role = match role {
        "main" => Role::Main,
        "vcpu" => Role::Vcpu,
        "io" => Role::Io,
        _ => Role::Output,
    };
    // As a machine does it: files are open before.
    let file = File::open("/dev/zero").expect("every host has it");
    prepare().expect("a handler");
    let sandbox = Sandbox::new().expect("filters");
    // A thread of its own: the test harness needs the others.
    let body = move || {
        sandbox.enter(role).expect("a kernel with seccomp");
        perform(deed, &file);
        // SAFETY: ends the process; no preconditions.
        unsafe { libc::_exit(7) }
    };
    thread::scope(|scope| {
        let _never_ends = scope.spawn(body).join();
    });
}

fn perform(deed: &str, file: &File) {
    match deed {
        "open" => drop(File::open("/dev/null")),
        "socket" => drop(UdpSocket::bind("127.0.0.1:0")),
        "thread" => drop(thread::spawn(|| {})),
        // SAFETY: no descriptor is looked at.
        "poll" => unsafe {
            libc::poll(ptr::null_mut(), 0, 0);
        },
        "disk" => drop(std::os::unix::fs::FileExt::read_at(file, &mut [0], 0)),
        "executable" => {
            let protection = libc::PROT_READ | libc::PROT_EXEC;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping, wherever the kernel likes.
            unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
        }
        // SAFETY: signal 0 is never delivered.
        "signal-another" => unsafe {
            libc::syscall(libc::SYS_tgkill, 1, 1, 0);
        },
        // SAFETY: the descriptor is none of KVM's or a terminal's, so nothing is read or written.
        "other-ioctl" => unsafe {
            libc::ioctl(2, libc::TIOCSTI, c"x".as_ptr());
        },
        // SAFETY: as above; KVM_RUN takes no argument.
        "run-a-cpu" => unsafe {
            libc::ioctl(2, 0xae80, 0);
        },
        "panic" => assert!(catch_unwind(|| panic!("on purpose")).is_err()),
        "memory" => {
            // Small and large, so that the allocator grows its arena and maps pages.
            let blocks: Vec<Vec<u8>> = (0..64).map(|index| vec![1; 1 << (index % 23)]).collect();
            assert_ne!(blocks.iter().map(Vec::len).sum::<usize>(), 0);
        }
        "lock" => {
            let lock = Mutex::new(0);
            *lock.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            thread::park_timeout(std::time::Duration::from_millis(1));
        }
        // SAFETY: no preconditions.
        "abort" => unsafe { libc::abort() },
        "exit" => {}
        other => panic!("no deed {other}"),
    }
}

fn child(role: &str, deed: &str) -> Output {
    let myself = std::env::current_exe().expect("a test binary");
    let output = Command::new(myself)
        .args(["--exact", "kvm::trap::tests::deed_of_a_child", "--nocapture"])
        .env(DEED, format!("{role} {deed}"))
        .output();
    output.expect("the test binary starts")
}

const DEED: &str = "MICROVM_TEST_DEED";
