//! The waiting thread: deadlines, typed bytes, signals, and the end.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::peers::PeerInputs;
use super::run::{End, Shared};
use super::settle::{nanos, serial_room};
use crate::chip::serial::FIFO_LENGTH;
use crate::host::serial::{Input, SerialInput};
use crate::host::signals::{SIGQUIT, Signals};
use crate::machine::Machine;
use crate::units::Nanos;

/// Bytes read from the host that the serial port has not taken yet: `start..end` of them.
#[derive(Default)]
struct Typed {
    bytes: [u8; FIFO_LENGTH],
    start: usize,
    end: usize,
}

impl Shared {
    /// Waits for deadlines, typed bytes and signals until the run ends.
    pub(super) fn wait(&self, signals: &Signals, mut input: Option<SerialInput>, mut peers: PeerInputs) {
        let mut typed = Typed::default();
        while self.end.get().is_none() {
            let Some((timeout, room)) = self.prepare_to_wait(&mut typed, &mut peers, signals) else {
                self.look_for_signals(signals);
                continue;
            };
            let mut fds = vec![
                PollFd::new(signals, PollFlags::IN),
                PollFd::new(&*self.wake, PollFlags::IN),
            ];
            let peers_at = fds.len();
            fds.extend(peers.poll_fds(&self.peers));
            let input_at = fds.len();
            if let Some(input) = input.as_ref().filter(|_| room) {
                fds.push(PollFd::new(input, PollFlags::IN));
            }
            let output_at = fds.len();
            if let Some(output) = self.output.fd() {
                // Asks for nothing and still learns of the other end's disappearance.
                fds.push(PollFd::from_borrowed_fd(output, PollFlags::empty()));
            }
            let _interrupted_is_looked_at_below = poll(&mut fds, timeout.as_ref());
            let happened = |index: usize| fds.get(index).map_or(PollFlags::empty(), PollFd::revents);
            let readable = input_at != output_at && !happened(input_at).is_empty();
            let hung_up = !happened(output_at).is_empty();
            let announced = fds[peers_at..input_at]
                .iter()
                .map(|fd| (fd.as_fd().as_raw_fd(), !fd.revents().is_empty()));
            let announced: Vec<(i32, bool)> = announced.collect();
            drop(fds);
            peers.read(&announced);

            self.wake.lower();
            self.look_for_signals(signals);
            if readable && let Some(from) = &mut input {
                match from.read(&mut typed.bytes) {
                    Input::Bytes(count) => (typed.start, typed.end) = (0, count),
                    Input::Later => {}
                    Input::End if from.ends_peer() => self.end(End::hung_up()),
                    Input::End => input = None,
                }
            }
            if hung_up || self.output.is_gone() {
                self.end(End::hung_up());
            }
        }
    }

    /// Lets due deadlines happen and hands over what was typed as far as the port takes it. Returns how long to wait at
    /// most, and whether to read more; `None` when the run has ended or is to end, which then comes first.
    fn prepare_to_wait(
        &self,
        typed: &mut Typed,
        peers: &mut PeerInputs,
        signals: &Signals,
    ) -> Option<(Option<Timespec>, bool)> {
        let mut machine = self.machine_or_signal(signals)?;
        let waiting = &typed.bytes[typed.start..typed.end];
        typed.start += machine.with_board(|board, ctx| match &mut board.serial {
            Some(serial) => serial.receive(waiting, ctx),
            None => 0,
        });
        peers.feed(&mut machine, &self.peers);
        // What settle would raise the flag for is looked at here.
        self.timer.store(0, Ordering::SeqCst);
        self.input_waits.store(false, Ordering::SeqCst);
        self.settle(&mut machine);
        let room = serial_room(&machine) != 0;
        self.input_waits.store(!room, Ordering::SeqCst);
        let deadline = machine.deadline();
        self.timer
            .store(deadline.map_or(u64::MAX, |deadline| deadline.0), Ordering::SeqCst);
        let timeout = deadline.map(|deadline| {
            let wait = deadline.0.saturating_sub(nanos(self.power_on.elapsed()));
            Timespec {
                tv_sec: (wait / Nanos::SECOND.0) as i64,
                tv_nsec: (wait % Nanos::SECOND.0) as i64,
            }
        });
        Some((timeout, room && typed.start == typed.end))
    }

    /// The machine; `None` once the run has ended or is to end. A guest that keeps its CPU's thread at work, by one
    /// transfer of gigabytes after the other, could keep this thread from the lock: signals do not wait for it.
    fn machine_or_signal(&self, signals: &Signals) -> Option<MutexGuard<'_, Machine>> {
        loop {
            if self.end.get().is_some() || signals.received().is_some() {
                return None;
            }
            if let Some(machine) = self.try_machine_now() {
                return Some(machine);
            }
            let mut fds = [PollFd::new(signals, PollFlags::IN)];
            let _then_try_again = poll(&mut fds, Some(&TRY_AGAIN_AFTER));
        }
    }

    fn look_for_signals(&self, signals: &Signals) {
        if let Some(signal) = signals.received() {
            let mut message = format!("microvm: ended by signal {signal}\n");
            if signal == SIGQUIT {
                message.push_str(&self.registers_of_all());
            }
            self.end(End::outside("signal", message));
        }
    }

    /// Stops the CPUs for good and describes where each is; one that does not stop in time is named.
    fn registers_of_all(&self) -> String {
        self.stop.store(true, Ordering::SeqCst);
        self.kick_all();
        let shown = self.registers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.kickers.len();
        let waited = self
            .shown
            .wait_timeout_while(shown, REGISTERS_LIMIT, |shown| shown.len() < count);
        let (shown, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let texts = (0..count).map(|apic_id| match shown.get(&(apic_id as u16)) {
            Some(text) => text.clone(),
            None => format!("microvm: cpu {apic_id} does not stop\n"),
        });
        texts.collect()
    }

    /// Flushes everything a finished run leaves behind.
    pub(super) fn finish(&self) -> End {
        let mut end = self.end.get().cloned().expect("wait returns once the run has ended");
        let waiting = self.output.drain(DRAIN_LIMIT) as u64;
        let lost = self.output.dropped_bytes() + if self.output.is_gone() { 0 } else { waiting };
        if lost != 0 {
            let text = format!("microvm: {lost} bytes of serial output were not taken and are lost\n");
            end.message = Some(end.message.unwrap_or_default() + &text);
        }
        let waiting = self.debug_output.drain(DRAIN_LIMIT) as u64;
        let lost = self.debug_output.dropped_bytes() + waiting;
        if lost != 0 {
            let text = format!("microvm: {lost} bytes of the debug console were not taken and are lost\n");
            end.message = Some(end.message.unwrap_or_default() + &text);
        }
        let lost = self.peers.drain(DRAIN_LIMIT);
        if lost != 0 {
            let text = format!("microvm: {lost} bytes of virtio consoles were not taken and are lost\n");
            end.message = Some(end.message.unwrap_or_default() + &text);
        }
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(marks) = marks.as_mut() {
            marks.end(end.reason, end.status, &self.exits_json());
        }
        end
    }
}

/// How soon this thread asks again for a machine that somebody had: exits take it for microseconds.
const TRY_AGAIN_AFTER: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000,
};

/// How long CPUs may take to stop for a look at their registers.
const REGISTERS_LIMIT: Duration = Duration::from_millis(500);

/// How long the host may take none of the serial output left at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
