//! The virtio-mmio transport: registers, interrupt line and queue set-up, in both versions of the interface.
//!
//! Source: virtio 1.2, 4.2 "Virtio Over MMIO", with 4.2.4 "Legacy interface" for version 1, 2.1 to 2.7 and 3.1 for what
//! the registers mean. Where the standard is silent: the microvm machine as first released (QEMU 4.2), measured.
//!
//! Deviations: none from virtio 1.2.
//!
//! Where virtio 1.2 and the machine first released disagree, the standard was followed (for version 2, unless
//! said otherwise):
//!
//! - `QueueReady` after a reset: MUST be cleared (4.2.2.1). It stayed set.
//! - A queue with `QueueReady` 0: MUST NOT be accessed (4.2.2.1). It was processed.
//! - FEATURES_OK when the driver accepted a bit that was not offered: MUST not be set (2.2.2); the other status
//!   bits are stored. It was set and the bit dropped.
//! - `DeviceFeatures` with a selector from 2 on: bits 32*Sel and up (4.2.2), of which none is offered. It
//!   repeated word 1.
//! - `DriverFeatures` with a selector from 2 on: accepts bits that were not offered (4.2.2). It overwrote word 1.
//! - `QueueSel` from 1024 on: selects a queue that is not available, `QueueNumMax` 0 (4.2.2). It kept the old
//!   selection. Also in version 1.
//! - `SHMLen` and `SHMBase`: all ones for a region that does not exist (4.2.2). They read 0.
//! - `InterruptStatus` on a configuration change: bits of events that did not take place MUST be zero (4.2.2.1),
//!   so 2. It was 3.
//! - `ConfigGeneration` when the device comes to need a reset: same value while no field changed (4.2.2). It
//!   counted up.
//! - `ConfigGeneration` on a change before DRIVER_OK: MUST change (4.2.2.1). It did not.
//! - A notification before DRIVER_OK: buffers MUST NOT be consumed (2.1.2). It depended on the device. Also in
//!   version 1.
//!
//! Where the standard leaves the choice, the machine first released was followed:
//!
//! - FEATURES_OK without VERSION_1: the device MAY refuse (6.2). It is set.
//! - A broken ring in version 2: once VERSION_1 is negotiated, DEVICE_NEEDS_RESET and a configuration change
//!   notification, as 2.1.2 asks; otherwise, and in version 1, the device stops without a word.
//! - Status bits set out of order or cleared are stored: the order is the driver's duty (2.1.1).
//! - `QueueNum` 0 or above 1024 is ignored; so is an address or a size written while `QueueReady` is 1, until the
//!   next write to `QueueReady` (drivers' duties, 4.2.2.2).
//! - `QueueReady` 0 and 1 again without a reset: the ring indices go on.
//! - `QueueReady` of a queue that the device lacks, below 1024: reads 1 after a write of anything but 0.
//! - `QueuePFN` written 0 in version 1: resets the device.
//! - `InterruptStatus` on a configuration change in version 1: 3.
//! - `SHMLen` in version 1, which has no such register: [`TransportConfig::legacy_shm_len`].
//! - A register accessed in another width or misaligned (drivers' duty, 4.2.2.2): reads 0 and ignores writes; an
//!   empty slot gives the low bytes of a register that starts there.
//! - The configuration space past its end reads all ones and ignores writes.
//! - A ready queue whose descriptor table is at address 0 is one that was not set up: nothing happens.
//! - A reset by `Status` keeps the selectors, `GuestPageSize`, `QueueAlign` and `ConfigGeneration`; a system
//!   reset clears them.
//!
//! Where neither says one thing:
//!
//! - A reset by `Status` clears the queue registers (version 2), so that a second driver starts from nothing. The
//!   machine first released remembers them.
//! - A ring outside RAM is noticed when the device first looks at it, so that DEVICE_NEEDS_RESET comes with its
//!   notification. The machine first released notices some at `QueueReady`, where the write of DRIVER_OK hides it
//!   again, and reads others as zero.
//! - Buffers made available before DRIVER_OK are looked for when it is set, for every kind of device. On the
//!   machine first released that depends on the device and on ioeventfd.

use std::collections::BTreeSet;

use crate::device::{Access, Ctx, Device, Event, Region, Space};
use crate::inspect::Inspector;
use crate::irq::Line;
use crate::units::{Nanos, Width};
use crate::virtio::queue::{Broken, Layout, QUEUE_SIZE_MAX, Queues, Virtqueue};
use crate::virtio::{VirtioDevice, feature};

/// Number of addresses one transport decodes.
pub const REGION_BYTES: u64 = 0x200;

/// Offset of the register that takes the index of a queue with something new.
pub const QUEUE_NOTIFY: u64 = reg::QUEUE_NOTIFY;

/// Queue indices that `QueueSel` can name, whether or not the device has such a queue.
pub const QUEUES_MAX: u32 = 1024;

/// How long the transport waits before it goes on with a queue whose share of one round was used up.
pub const RESUME_AFTER: Nanos = Nanos(100_000);

/// Where a transport is and which of its two interfaces it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportConfig {
    /// Guest-physical address of the first register.
    pub base: u64,
    /// The interrupt line.
    pub line: Line,
    /// True: version 2 of the interface; false: version 1, "legacy".
    pub modern: bool,
    /// What `SHMLenLow` and `SHMLenHigh` read in version 1, which does not have them: 0 on the machine first released,
    /// all ones from QEMU 6.0 on.
    pub legacy_shm_len: u32,
}

/// One transport, with or without a device behind it.
pub struct VirtioMmio {
    // Configuration, fixed at construction.
    config: TransportConfig,
    regions: [Region; 1],
    // Connections.
    backend: Option<Box<dyn VirtioDevice>>,
    // State, all of it.
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    driver_features_beyond: bool,
    features: u64,
    guest_page_shift: u32,
    queue_sel: u32,
    interrupt_status: u32,
    status: u8,
    config_generation: u32,
    broken: Option<Broken>,
    queues: Vec<QueueRegisters>,
    rings: Vec<Virtqueue>,
    absent_queues_ready: BTreeSet<u32>,
    resume_at: Option<Nanos>,
}

/// What the driver wrote about one queue. The device uses it from `QueueReady` or `QueuePFN` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct QueueRegisters {
    num: u32,
    align: u32,
    pfn_address: u64,
    parts: Layout,
    ready: bool,
}

impl VirtioMmio {
    /// A transport; `backend` is `None` for an empty slot, which answers with device ID 0.
    ///
    /// # Panics
    /// When the back end breaks the contract of [`VirtioDevice::queue_sizes`] or [`VirtioDevice::device_id`].
    pub fn new(config: TransportConfig, backend: Option<Box<dyn VirtioDevice>>) -> VirtioMmio {
        if let Some(backend) = &backend {
            assert!(backend.device_id() != 0, "device ID 0 means an empty slot");
            for &size in backend.queue_sizes() {
                assert!(
                    size.is_power_of_two() && size <= QUEUE_SIZE_MAX,
                    "a queue size is a power of two up to {QUEUE_SIZE_MAX}"
                );
            }
        }
        let state = State::power_on(backend.as_deref());
        VirtioMmio {
            config,
            regions: [Region::dword(Space::Mmio, config.base, REGION_BYTES)],
            backend,
            state,
        }
    }

    /// Where the transport is and which interface it shows.
    pub fn config(&self) -> TransportConfig {
        self.config
    }

    /// The back end, `None` for an empty slot.
    pub fn backend(&self) -> Option<&dyn VirtioDevice> {
        self.backend.as_deref()
    }

    /// The back end, for what only a host can do to it. After that call [`VirtioMmio::run`].
    pub fn backend_mut(&mut self) -> Option<&mut (dyn VirtioDevice + 'static)> {
        self.backend.as_deref_mut()
    }

    /// Lets the back end look at all its queues: the host side has something new.
    pub fn run(&mut self, ctx: &mut Ctx<'_>) {
        self.process(None, ctx);
    }

    /// Takes what the driver sent to the host's side, oldest first. [`Event::VirtioOut`] says that there is something.
    pub fn take_output(&mut self) -> Vec<Vec<u8>> {
        let backend = self.backend.as_deref_mut();
        backend.map(VirtioDevice::take_output).unwrap_or_default()
    }

    /// How many bytes [`VirtioMmio::receive`] takes now.
    pub fn room(&self) -> usize {
        self.backend.as_deref().map_or(0, VirtioDevice::room)
    }

    /// Hands over a frame or a run of bytes from the host's side; returns how many bytes were taken.
    pub fn receive(&mut self, data: &[u8], ctx: &mut Ctx<'_>) -> usize {
        let taken = self.backend.as_deref_mut().map_or(0, |backend| backend.receive(data));
        if 0 < taken {
            self.process(None, ctx);
        }
        taken
    }

    /// Tells the driver that the configuration space is no longer what it was.
    pub fn config_changed(&mut self, ctx: &mut Ctx<'_>) {
        self.state.config_generation = self.state.config_generation.wrapping_add(1);
        self.notify_config(ctx);
    }

    fn read_register(&self, backend: &dyn VirtioDevice, offset: u64) -> u32 {
        let state = &self.state;
        match offset {
            reg::DEVICE_ID => backend.device_id(),
            reg::DEVICE_FEATURES => word(self.offered(backend), state.device_features_sel),
            reg::QUEUE_NUM_MAX if state.selected().is_some() => u32::from(QUEUE_SIZE_MAX),
            reg::QUEUE_PFN if !self.config.modern => {
                let address = state.selected().map_or(0, |queue| queue.pfn_address);
                (address >> state.guest_page_shift) as u32
            }
            reg::QUEUE_READY if self.config.modern => match state.selected() {
                Some(queue) => u32::from(queue.ready),
                None => u32::from(state.absent_queues_ready.contains(&state.queue_sel)),
            },
            reg::INTERRUPT_STATUS => state.interrupt_status,
            reg::STATUS => u32::from(state.status),
            reg::SHM_LEN_LOW | reg::SHM_LEN_HIGH if !self.config.modern => self.config.legacy_shm_len,
            reg::SHM_LEN_LOW | reg::SHM_LEN_HIGH | reg::SHM_BASE_LOW | reg::SHM_BASE_HIGH if self.config.modern => {
                u32::MAX
            }
            reg::CONFIG_GENERATION if self.config.modern => state.config_generation,
            _ => self.identity(offset),
        }
    }

    /// The registers that an empty slot has too; everything else reads 0 there.
    fn identity(&self, offset: u64) -> u32 {
        match offset {
            reg::MAGIC_VALUE => MAGIC,
            reg::VERSION if self.config.modern => 2,
            reg::VERSION => 1,
            reg::VENDOR_ID => VENDOR,
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32, ctx: &mut Ctx<'_>) {
        let state = &mut self.state;
        match offset {
            reg::DEVICE_FEATURES_SEL => state.device_features_sel = value,
            reg::DRIVER_FEATURES => self.write_driver_features(value),
            reg::DRIVER_FEATURES_SEL => state.driver_features_sel = value,
            reg::QUEUE_SEL => state.queue_sel = value,
            reg::QUEUE_NOTIFY => {
                if let Ok(index) = u16::try_from(value) {
                    self.process(Some(index), ctx);
                }
            }
            reg::INTERRUPT_ACK => {
                state.interrupt_status &= !value;
                self.drive_line(ctx);
            }
            reg::STATUS => self.write_status(value as u8, ctx),
            _ if self.config.modern => self.write_modern_queue(offset, value),
            _ => self.write_legacy_queue(offset, value, ctx),
        }
    }

    fn write_modern_queue(&mut self, offset: u64, value: u32) {
        let state = &mut self.state;
        let Some(queue) = state.queues.get_mut(state.queue_sel as usize) else {
            if offset == reg::QUEUE_READY && state.queue_sel < QUEUES_MAX {
                if value == 0 {
                    state.absent_queues_ready.remove(&state.queue_sel);
                } else {
                    state.absent_queues_ready.insert(state.queue_sel);
                }
            }
            return;
        };
        let ring = &mut state.rings[state.queue_sel as usize];
        match offset {
            reg::QUEUE_NUM => queue.num = value,
            reg::QUEUE_DESC_LOW => set_low(&mut queue.parts.desc, value),
            reg::QUEUE_DESC_HIGH => set_high(&mut queue.parts.desc, value),
            reg::QUEUE_DRIVER_LOW => set_low(&mut queue.parts.avail, value),
            reg::QUEUE_DRIVER_HIGH => set_high(&mut queue.parts.avail, value),
            reg::QUEUE_DEVICE_LOW => set_low(&mut queue.parts.used, value),
            reg::QUEUE_DEVICE_HIGH => set_high(&mut queue.parts.used, value),
            reg::QUEUE_READY => {
                queue.ready = value != 0;
                // A descriptor table at address 0 is one that the driver never placed.
                ring.layout = (queue.ready && queue.parts.desc != 0).then_some(queue.parts);
                if queue.ready {
                    ring.size = queue_size(queue.num).unwrap_or(ring.size);
                }
            }
            _ => {}
        }
    }

    fn write_legacy_queue(&mut self, offset: u64, value: u32, ctx: &mut Ctx<'_>) {
        let state = &mut self.state;
        match offset {
            reg::GUEST_PAGE_SIZE => {
                state.guest_page_shift = if value == 0 { 0 } else { value.trailing_zeros() };
                return;
            }
            // Writing 0 resets the device, whichever queue is selected.
            reg::QUEUE_PFN if value == 0 => return self.reset_device(ctx),
            _ => {}
        }
        let Some(queue) = state.queues.get_mut(state.queue_sel as usize) else {
            return;
        };
        let ring = &mut state.rings[state.queue_sel as usize];
        match offset {
            reg::QUEUE_NUM => ring.size = queue_size(value).unwrap_or(ring.size),
            reg::QUEUE_ALIGN if value != 0 => queue.align = value,
            reg::QUEUE_PFN => queue.pfn_address = u64::from(value) << state.guest_page_shift,
            _ => return,
        }
        ring.layout = legacy_layout(queue.pfn_address, ring.size, queue.align);
    }

    fn write_driver_features(&mut self, value: u32) {
        let Some(backend) = self.backend.as_deref() else {
            return;
        };
        let offered = self.offered(backend);
        let state = &mut self.state;
        if self.config.modern {
            match state.driver_features_sel {
                0 => set_low(&mut state.driver_features, value),
                1 => set_high(&mut state.driver_features, value),
                _ => state.driver_features_beyond |= value != 0,
            }
        } else if state.driver_features_sel == 0 && state.status & status::FEATURES_OK == 0 {
            state.features = u64::from(value) & offered;
        }
    }

    fn write_status(&mut self, value: u8, ctx: &mut Ctx<'_>) {
        if value == 0 {
            return self.reset_device(ctx);
        }
        let Some(backend) = self.backend.as_deref_mut() else {
            return;
        };
        let offered = offered(backend, self.config.modern);
        let state = &mut self.state;
        let mut value = value;
        if self.config.modern && !state.status & value & status::FEATURES_OK != 0 {
            if state.driver_features & !offered == 0 && !state.driver_features_beyond {
                state.features = state.driver_features;
                backend.features_ok(state.features);
            } else {
                value &= !status::FEATURES_OK;
            }
        }
        let started = !state.status & value & status::DRIVER_OK != 0;
        state.status = value;
        if started {
            backend.activate(state.features);
            self.process(None, ctx);
        }
    }

    /// What a write of 0 to `Status` does. Selectors, page size and used ring alignment stay.
    fn reset_device(&mut self, ctx: &mut Ctx<'_>) {
        let Some(backend) = self.backend.as_deref_mut() else {
            return;
        };
        backend.reset();
        let before = std::mem::replace(&mut self.state, State::power_on(Some(backend)));
        self.state.device_features_sel = before.device_features_sel;
        self.state.driver_features_sel = before.driver_features_sel;
        self.state.guest_page_shift = before.guest_page_shift;
        self.state.config_generation = before.config_generation;
        for (queue, before) in self.state.queues.iter_mut().zip(&before.queues) {
            queue.align = before.align;
        }
        self.drive_line(ctx);
    }

    /// Lets the back end process queue `index`, or all of them.
    fn process(&mut self, index: Option<u16>, ctx: &mut Ctx<'_>) {
        let state = &mut self.state;
        let Some(backend) = self.backend.as_deref_mut() else {
            return;
        };
        if state.status & status::DRIVER_OK == 0 || state.broken.is_some() {
            return;
        }
        let count = state.rings.len() as u16;
        let indices = match index {
            Some(index) if index < count => index..index + 1,
            Some(_) => return,
            None => 0..count,
        };
        let mut queues = Queues::new(&mut state.rings, state.features, ctx.memory, ctx.now, ctx.events);
        let processed = indices
            .into_iter()
            .try_for_each(|index| backend.process(index, &mut queues));
        let (outcome, finished) = queues.finish();
        if backend.has_output() {
            ctx.events.push(Event::VirtioOut);
        }
        if outcome.work_left {
            state.resume_at = Some(ctx.now.saturating_add(RESUME_AFTER));
        }
        if outcome.notify {
            state.interrupt_status |= interrupt::USED_BUFFER;
        }
        if outcome.config_changed {
            self.config_changed(ctx);
        }
        if let Err(broken) = processed.and(finished) {
            self.break_down(broken, ctx);
        }
        self.drive_line(ctx);
    }

    fn break_down(&mut self, broken: Broken, ctx: &mut Ctx<'_>) {
        self.state.broken = Some(broken);
        self.state.resume_at = None;
        if self.config.modern && self.state.features & feature::VERSION_1 != 0 {
            self.state.status |= status::DEVICE_NEEDS_RESET;
            self.notify_config(ctx);
        }
    }

    fn notify_config(&mut self, ctx: &mut Ctx<'_>) {
        if self.state.status & status::DRIVER_OK == 0 {
            return;
        }
        self.state.interrupt_status |= interrupt::CONFIGURATION_CHANGE;
        if !self.config.modern {
            self.state.interrupt_status |= interrupt::USED_BUFFER;
        }
        self.drive_line(ctx);
    }

    fn drive_line(&self, ctx: &mut Ctx<'_>) {
        ctx.lines.set(self.config.line, self.state.interrupt_status != 0);
    }

    fn offered(&self, backend: &dyn VirtioDevice) -> u64 {
        offered(backend, self.config.modern)
    }
}

impl Device for VirtioMmio {
    fn name(&self) -> &'static str {
        "virtio_mmio"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: Access, _ctx: &mut Ctx<'_>) -> u64 {
        let Some(backend) = self.backend.as_deref() else {
            return u64::from(self.identity(at.offset)) & at.width.mask();
        };
        if let Some(offset) = at.offset.checked_sub(reg::CONFIG) {
            let (offset, length) = (offset as usize, at.width.bytes());
            return match backend.config().get(offset..offset + length) {
                Some(field) => little_endian(field),
                None => at.width.mask(),
            };
        }
        match at.width {
            Width::Dword => u64::from(self.read_register(backend, at.offset)),
            _ => 0,
        }
    }

    fn write(&mut self, at: Access, value: u64, ctx: &mut Ctx<'_>) {
        let Some(backend) = self.backend.as_deref_mut() else {
            return;
        };
        if let Some(offset) = at.offset.checked_sub(reg::CONFIG) {
            let (offset, length) = (offset as usize, at.width.bytes());
            if offset + length <= backend.config().len() {
                backend.config_write(offset, &value.to_le_bytes()[..length]);
                if backend.has_output() {
                    ctx.events.push(Event::VirtioOut);
                }
            }
        } else if at.width == Width::Dword {
            self.write_register(at.offset, value as u32, ctx);
        }
    }

    fn deadline(&self) -> Option<Nanos> {
        self.state.resume_at
    }

    fn tick(&mut self, ctx: &mut Ctx<'_>) {
        self.state.resume_at = None;
        self.process(None, ctx);
    }

    fn reset(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(backend) = &mut self.backend {
            backend.reset();
        }
        self.state = State::power_on(self.backend.as_deref());
        self.drive_line(ctx);
    }

    fn inspect(&self, out: &mut Inspector) {
        let state = &self.state;
        out.hex("base", self.config.base);
        out.text("gsi", self.config.line.gsi);
        out.text("version", self.identity(reg::VERSION));
        let Some(backend) = self.backend() else {
            out.text("backend", "none");
            return;
        };
        out.text("backend", backend.name());
        out.hex("device_features_sel", state.device_features_sel);
        out.hex("driver_features_sel", state.driver_features_sel);
        out.hex("driver_features", state.driver_features);
        out.text("driver_features_beyond", state.driver_features_beyond);
        out.hex("features", state.features);
        out.text("guest_page_shift", state.guest_page_shift);
        out.hex("queue_sel", state.queue_sel);
        out.hex("interrupt_status", state.interrupt_status);
        out.hex("status", state.status);
        out.text("config_generation", state.config_generation);
        out.text(
            "broken",
            state.broken.map_or_else(|| "no".into(), |why| why.to_string()),
        );
        out.text("absent_queues_ready", format_args!("{:?}", state.absent_queues_ready));
        if let Some(resume_at) = state.resume_at {
            out.text("resume_at", resume_at);
        }
        for (index, (queue, ring)) in state.queues.iter().zip(&state.rings).enumerate() {
            out.within(&format!("queue{index:02}"), |out| {
                out.hex("num", queue.num);
                out.hex("align", queue.align);
                out.hex("pfn_address", queue.pfn_address);
                out.text("parts", format_args!("{:x?}", queue.parts));
                out.text("ready", queue.ready);
                ring.inspect(out);
            });
        }
        out.within(backend.name(), |out| backend.inspect(out));
    }
}

impl State {
    fn power_on(backend: Option<&dyn VirtioDevice>) -> State {
        let sizes = backend.map(VirtioDevice::queue_sizes).unwrap_or_default();
        State {
            device_features_sel: 0,
            driver_features_sel: 0,
            driver_features: 0,
            driver_features_beyond: false,
            features: 0,
            guest_page_shift: 0,
            queue_sel: 0,
            interrupt_status: 0,
            status: 0,
            config_generation: 0,
            broken: None,
            queues: sizes.iter().map(|_| QueueRegisters::power_on()).collect(),
            rings: sizes.iter().map(|&size| Virtqueue::new(size)).collect(),
            absent_queues_ready: BTreeSet::new(),
            resume_at: None,
        }
    }

    fn selected(&self) -> Option<&QueueRegisters> {
        self.queues.get(self.queue_sel as usize)
    }
}

impl QueueRegisters {
    fn power_on() -> QueueRegisters {
        QueueRegisters {
            num: 0,
            align: LEGACY_ALIGN_AT_POWER_ON,
            pfn_address: 0,
            parts: Layout::default(),
            ready: false,
        }
    }
}

fn offered(backend: &dyn VirtioDevice, modern: bool) -> u64 {
    let features = backend.features();
    if modern {
        features.modern
    } else {
        u64::from(features.legacy)
    }
}

/// The 32 feature bits from `32 * select` on.
fn word(bits: u64, select: u32) -> u32 {
    match select {
        0 => bits as u32,
        1 => (bits >> 32) as u32,
        _ => 0,
    }
}

fn set_low(address: &mut u64, low: u32) {
    *address = *address & !0xffff_ffff | u64::from(low);
}

fn set_high(address: &mut u64, high: u32) {
    *address = *address & 0xffff_ffff | u64::from(high) << 32;
}

/// What `QueueNum` may be; `None` leaves the size as it is.
fn queue_size(value: u32) -> Option<u16> {
    match u16::try_from(value) {
        Ok(size @ 1..=QUEUE_SIZE_MAX) => Some(size),
        _ => None,
    }
}

/// The legacy layout: descriptor table, available ring, and the used ring at the next multiple of `align`, which a
/// driver may have chosen freely. Virtio 1.2, 2.7.2.
fn legacy_layout(desc: u64, size: u16, align: u32) -> Option<Layout> {
    if desc == 0 {
        return None;
    }
    let avail = desc + 16 * u64::from(size);
    let used = (avail + 4 + 2 * u64::from(size)).next_multiple_of(u64::from(align));
    Some(Layout { desc, avail, used })
}

fn little_endian(field: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..field.len()].copy_from_slice(field);
    u64::from_le_bytes(bytes)
}

/// "virt", little endian.
const MAGIC: u32 = 0x7472_6976;
/// "QEMU", little endian: the vendor of this machine's transports.
const VENDOR: u32 = 0x554d_4551;
const LEGACY_ALIGN_AT_POWER_ON: u32 = 4096;

mod reg {
    pub(super) const MAGIC_VALUE: u64 = 0x000;
    pub(super) const VERSION: u64 = 0x004;
    pub(super) const DEVICE_ID: u64 = 0x008;
    pub(super) const VENDOR_ID: u64 = 0x00c;
    pub(super) const DEVICE_FEATURES: u64 = 0x010;
    pub(super) const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub(super) const DRIVER_FEATURES: u64 = 0x020;
    pub(super) const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub(super) const GUEST_PAGE_SIZE: u64 = 0x028;
    pub(super) const QUEUE_SEL: u64 = 0x030;
    pub(super) const QUEUE_NUM_MAX: u64 = 0x034;
    pub(super) const QUEUE_NUM: u64 = 0x038;
    pub(super) const QUEUE_ALIGN: u64 = 0x03c;
    pub(super) const QUEUE_PFN: u64 = 0x040;
    pub(super) const QUEUE_READY: u64 = 0x044;
    pub(super) const QUEUE_NOTIFY: u64 = 0x050;
    pub(super) const INTERRUPT_STATUS: u64 = 0x060;
    pub(super) const INTERRUPT_ACK: u64 = 0x064;
    pub(super) const STATUS: u64 = 0x070;
    pub(super) const QUEUE_DESC_LOW: u64 = 0x080;
    pub(super) const QUEUE_DESC_HIGH: u64 = 0x084;
    pub(super) const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub(super) const QUEUE_DRIVER_HIGH: u64 = 0x094;
    pub(super) const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub(super) const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
    pub(super) const SHM_LEN_LOW: u64 = 0x0b0;
    pub(super) const SHM_LEN_HIGH: u64 = 0x0b4;
    pub(super) const SHM_BASE_LOW: u64 = 0x0b8;
    pub(super) const SHM_BASE_HIGH: u64 = 0x0bc;
    pub(super) const CONFIG_GENERATION: u64 = 0x0fc;
    pub(super) const CONFIG: u64 = 0x100;
}

/// Bits of `Status`. Virtio 1.2, 2.1.
mod status {
    pub(super) const DRIVER_OK: u8 = 1 << 2;
    pub(super) const FEATURES_OK: u8 = 1 << 3;
    pub(super) const DEVICE_NEEDS_RESET: u8 = 1 << 6;
}

/// Bits of `InterruptStatus`. Virtio 1.2, 4.2.2.
mod interrupt {
    pub(super) const USED_BUFFER: u32 = 1 << 0;
    pub(super) const CONFIGURATION_CHANGE: u32 = 1 << 1;
}

#[cfg(test)]
mod tests;
