//! The pair of interrupt controllers and their edge/level registers, as one device.
//!
//! Source: Intel 8259A Programmable Interrupt Controller, "Programming the 8259A" and "Operation Command Words"; the
//! edge/level control registers (ELCR) and the fixed cascade on IR2 as in Intel 82371AB (PIIX4), "Interrupt
//! Controller". The machine model fixes the ELCR masks and the state at power-on.
//!
//! Deviations:
//! - An edge stays requested after its line falls. The 8259A wants the line high until INTA and answers a shorter pulse
//!   with the default IR7; the machine's lines pulse (the timer's for one clock), so it latches, as QEMU does.
//! - LTIM (ICW1 bit 3) is ignored: a chip with an ELCR has it disabled, "its function is replaced by" the ELCR, and
//!   QEMU 4.2 ignores it. QEMU 8.0 and later honour it.
//! - ICW3 is accepted and not evaluated, as are BUF, M/S and the 8085 mode of ICW4: the cascade is wired, and the CPU
//!   takes one vector byte.
//! - Polling while nothing is requested reads 0; the data sheet leaves bits 0..=6 open.
//!
//! Deviations from QEMU, which the data sheet overrules:
//! - In special fully nested mode only the slave's own input passes its in-service bit; QEMU lets every lower
//!   priority pass it too.
//! - In special mask mode a non-specific EOI skips masked in-service bits.
//! - An input that is level-triggered is requested exactly while it is high, from the write to the ELCR on.
//! - INT follows every command; QEMU overlooks a change of special mask mode until something else happens.
//! - A slave's INT that stays high over the master's ICW1 is no new edge; QEMU makes one at the slave's next change.
//! - The slave's INT falls at its INTA and rises again for the next request, so that the master sees an edge for each.
//!   QEMU loses the second of two slave requests in automatic EOI mode.

use crate::device::{Access, Ctx, Device, Event, Region};
use crate::inspect::Inspector;

/// First of the master's two ports.
pub const MASTER_PORT: u16 = 0x20;

/// First of the slave's two ports.
pub const SLAVE_PORT: u16 = 0xa0;

/// The master's edge/level register; the slave's is the next port.
pub const ELCR_PORT: u16 = 0x4d0;

/// Both 8259A. Inputs are GSI 0..=15 but 2, where the slave's INT arrives; the output is [`Event::Intr`].
#[derive(Clone, Debug)]
pub struct Pic {
    // Configuration, fixed at construction.
    regions: [Region; 3],
    // State, all of it.
    state: State,
}

/// The whole device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    master: Controller,
    slave: Controller,
    /// INT of the master, as last told.
    intr: bool,
}

/// One 8259A.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Controller {
    role: Role,
    initialization: Step,
    /// IC4 of ICW1: an ICW4 follows.
    needs_icw4: bool,
    /// SNGL of ICW1: no ICW3 follows.
    single: bool,
    /// T7..T3 of ICW2.
    vector_base: u8,
    auto_eoi: bool,
    special_fully_nested: bool,

    /// Levels of the inputs.
    inputs: u8,
    /// Rises of edge-triggered inputs that wait for INTA.
    edges: u8,
    isr: u8,
    imr: u8,
    elcr: u8,

    /// The input with the lowest priority, 7 unless rotated; the next one has the highest.
    lowest: u8,
    rotate_in_auto_eoi: bool,
    special_mask: bool,
    /// The next read is an interrupt acknowledge.
    poll: bool,
    /// RIS of OCW3: reads give ISR instead of IRR.
    reads_isr: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Master,
    Slave,
}

/// Which word a write to the odd port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// OCW1.
    Ready,
    Icw2,
    Icw3,
    Icw4,
}

impl Pic {
    /// Both controllers after power-on, not initialised: no input is masked, vectors start at 0.
    pub fn new() -> Pic {
        Pic {
            regions: [
                Region::byte_ports(MASTER_PORT, 2),
                Region::byte_ports(SLAVE_PORT, 2),
                Region::byte_ports(ELCR_PORT, 2),
            ],
            state: State {
                master: Controller::power_on(Role::Master),
                slave: Controller::power_on(Role::Slave),
                intr: false,
            },
        }
    }

    /// The state, for comparison.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether INT is high: an interrupt waits for [`Pic::acknowledge`].
    pub fn intr(&self) -> bool {
        self.state.intr
    }

    /// The INTA cycle: takes the request with the highest priority into service and returns its vector. When none is
    /// left (it was masked or withdrawn after INT rose) the answer is the default IR7 of the controller asked, which
    /// does not enter service: vector base + 7 of the master, or of the slave after the master acknowledged IR2.
    pub fn acknowledge(&mut self, ctx: &mut Ctx<'_>) -> u8 {
        let State { master, slave, .. } = &mut self.state;
        let vector = match master.pending() {
            None => master.vector(SPURIOUS),
            Some(CASCADE) => {
                let ir = slave.pending();
                if let Some(ir) = ir {
                    slave.take(ir);
                }
                master.set_input(CASCADE, false);
                master.take(CASCADE);
                slave.vector(ir.unwrap_or(SPURIOUS))
            }
            Some(ir) => {
                master.take(ir);
                master.vector(ir)
            }
        };
        self.update(ctx);
        vector
    }

    /// Carries the slave's INT to the master, and the master's to the CPU.
    fn update(&mut self, ctx: &mut Ctx<'_>) {
        let State { master, slave, intr } = &mut self.state;
        master.set_input(CASCADE, slave.pending().is_some());
        let level = master.pending().is_some();
        if level != *intr {
            *intr = level;
            ctx.events.push(Event::Intr { level });
        }
    }

    fn poll(&mut self, role: Role, ctx: &mut Ctx<'_>) -> u8 {
        let State { master, slave, .. } = &mut self.state;
        let controller = if role == Role::Master { &mut *master } else { slave };
        controller.poll = false;
        let Some(ir) = controller.pending() else {
            return 0;
        };
        controller.take(ir);
        if role == Role::Slave {
            master.set_input(CASCADE, false);
        }
        self.update(ctx);
        reg::POLL_I | ir
    }
}

impl Device for Pic {
    fn name(&self) -> &'static str {
        "pic"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: Access, ctx: &mut Ctx<'_>) -> u64 {
        let State { master, slave, .. } = &self.state;
        let (controller, role) = match (at.region, at.offset) {
            (0, _) => (master, Role::Master),
            (1, _) => (slave, Role::Slave),
            (_, 0) => return u64::from(master.elcr),
            _ => return u64::from(slave.elcr),
        };
        let value = match at.offset {
            _ if controller.poll => self.poll(role, ctx),
            0 if controller.reads_isr => controller.isr,
            0 => controller.irr(),
            _ => controller.imr,
        };
        u64::from(value)
    }

    fn write(&mut self, at: Access, value: u64, ctx: &mut Ctx<'_>) {
        let State { master, slave, .. } = &mut self.state;
        let value = value as u8;
        match (at.region, at.offset) {
            (0, 0) => master.write_even(value),
            (0, _) => master.write_odd(value),
            (1, 0) => slave.write_even(value),
            (1, _) => slave.write_odd(value),
            (_, 0) => master.set_elcr(value & reg::ELCR_1_MASK),
            _ => slave.set_elcr(value & reg::ELCR_2_MASK),
        }
        self.update(ctx);
    }

    fn inputs(&self) -> &[u8] {
        &INPUTS
    }

    fn line(&mut self, gsi: u8, level: bool, ctx: &mut Ctx<'_>) {
        if !INPUTS.contains(&gsi) {
            return;
        }
        let State { master, slave, .. } = &mut self.state;
        let controller = if gsi < 8 { master } else { slave };
        controller.set_input(gsi % 8, level);
        self.update(ctx);
    }

    fn reset(&mut self, ctx: &mut Ctx<'_>) {
        let State { master, slave, .. } = &mut self.state;
        *master = Controller::power_on(Role::Master);
        *slave = Controller::power_on(Role::Slave);
        // A line that some device still drives is a high input, but no edge.
        for &gsi in INPUTS.iter().filter(|&&gsi| ctx.lines.level(gsi)) {
            let controller = if gsi < 8 { &mut *master } else { &mut *slave };
            controller.inputs |= 1 << (gsi % 8);
        }
        self.update(ctx);
    }

    fn inspect(&self, out: &mut Inspector) {
        out.within("master", |out| self.state.master.inspect(out));
        out.within("slave", |out| self.state.slave.inspect(out));
        out.text("intr", self.state.intr);
    }
}

impl Controller {
    fn power_on(role: Role) -> Controller {
        Controller {
            role,
            initialization: Step::Ready,
            needs_icw4: false,
            single: false,
            vector_base: 0,
            auto_eoi: false,
            special_fully_nested: false,
            inputs: 0,
            edges: 0,
            isr: 0,
            imr: 0,
            elcr: 0,
            lowest: 7,
            rotate_in_auto_eoi: false,
            special_mask: false,
            poll: false,
            reads_isr: false,
        }
    }

    /// A write to the port with A0 = 0: bits 4 and 3 tell ICW1, OCW3 and OCW2 apart.
    fn write_even(&mut self, value: u8) {
        if value & reg::ICW1 != 0 {
            self.write_icw1(value);
        } else if value & reg::OCW3 != 0 {
            self.write_ocw3(value);
        } else {
            self.write_ocw2(value);
        }
    }

    /// A write to the port with A0 = 1: the next word of an initialisation, else OCW1.
    fn write_odd(&mut self, value: u8) {
        let after_icw3 = if self.needs_icw4 { Step::Icw4 } else { Step::Ready };
        match self.initialization {
            Step::Ready => self.imr = value,
            Step::Icw2 => {
                self.vector_base = value & reg::ICW2_VECTOR;
                self.initialization = if self.single { after_icw3 } else { Step::Icw3 };
            }
            Step::Icw3 => self.initialization = after_icw3,
            Step::Icw4 => {
                self.auto_eoi = value & reg::ICW4_AEOI != 0;
                self.special_fully_nested = value & reg::ICW4_SFNM != 0;
                self.initialization = Step::Ready;
            }
        }
    }

    /// Everything starts anew but what the chip does not own: input levels and the ELCR. Edges seen before are
    /// forgotten, so an edge-triggered input has to rise again.
    fn write_icw1(&mut self, value: u8) {
        *self = Controller {
            initialization: Step::Icw2,
            needs_icw4: value & reg::ICW1_IC4 != 0,
            single: value & reg::ICW1_SNGL != 0,
            inputs: self.inputs,
            elcr: self.elcr,
            ..Controller::power_on(self.role)
        };
    }

    fn write_ocw2(&mut self, value: u8) {
        let level = value & reg::OCW2_LEVEL;
        match value & reg::OCW2_COMMAND {
            reg::OCW2_ROTATE_IN_AEOI_CLEAR => self.rotate_in_auto_eoi = false,
            reg::OCW2_ROTATE_IN_AEOI_SET => self.rotate_in_auto_eoi = true,
            reg::OCW2_NON_SPECIFIC_EOI => {
                self.non_specific_eoi();
            }
            reg::OCW2_ROTATE_ON_NON_SPECIFIC_EOI => {
                if let Some(ir) = self.non_specific_eoi() {
                    self.lowest = ir;
                }
            }
            reg::OCW2_SPECIFIC_EOI => self.isr &= !(1 << level),
            reg::OCW2_ROTATE_ON_SPECIFIC_EOI => {
                self.isr &= !(1 << level);
                self.lowest = level;
            }
            reg::OCW2_SET_PRIORITY => self.lowest = level,
            // R, SL, EOI = 0, 1, 0 is no operation.
            _ => {}
        }
    }

    fn write_ocw3(&mut self, value: u8) {
        if value & reg::OCW3_P != 0 {
            self.poll = true;
        }
        if value & reg::OCW3_RR != 0 {
            self.reads_isr = value & reg::OCW3_RIS != 0;
        }
        if value & reg::OCW3_ESMM != 0 {
            self.special_mask = value & reg::OCW3_SMM != 0;
        }
    }

    fn set_elcr(&mut self, value: u8) {
        self.elcr = value;
        self.edges &= !value;
    }

    fn set_input(&mut self, ir: u8, level: bool) {
        let bit = 1 << ir;
        if level && self.inputs & bit == 0 {
            self.edges |= bit & !self.elcr;
        }
        self.inputs = if level { self.inputs | bit } else { self.inputs & !bit };
    }

    fn irr(&self) -> u8 {
        self.edges | self.inputs & self.elcr
    }

    /// The request that INT stands for, `None` while INT is low.
    fn pending(&self) -> Option<u8> {
        let request = self.highest(self.irr() & !self.imr)?;
        let Some(served) = self.highest(self.blocking()) else {
            return Some(request);
        };
        // The master does not tell the slave's inputs apart; in this mode it leaves that to the slave.
        let nests = self.special_fully_nested && self.role == Role::Master && request == CASCADE && served == CASCADE;
        (nests || self.rank(request) < self.rank(served)).then_some(request)
    }

    /// The in-service bits that keep lower priorities back, and that a non-specific EOI looks at.
    fn blocking(&self) -> u8 {
        if self.special_mask {
            self.isr & !self.imr
        } else {
            self.isr
        }
    }

    /// The input with the highest priority among `bits`.
    fn highest(&self, bits: u8) -> Option<u8> {
        (0..8).filter(|ir| bits & 1 << ir != 0).min_by_key(|&ir| self.rank(ir))
    }

    /// 0 for the input with the highest priority, 7 for that with the lowest.
    fn rank(&self, ir: u8) -> u8 {
        ir.wrapping_sub(self.lowest + 1) & 7
    }

    /// Takes a request into service.
    fn take(&mut self, ir: u8) {
        self.edges &= !(1 << ir);
        if !self.auto_eoi {
            self.isr |= 1 << ir;
        } else if self.rotate_in_auto_eoi {
            self.lowest = ir;
        }
    }

    fn non_specific_eoi(&mut self) -> Option<u8> {
        let ir = self.highest(self.blocking())?;
        self.isr &= !(1 << ir);
        Some(ir)
    }

    fn vector(&self, ir: u8) -> u8 {
        self.vector_base | ir
    }

    fn inspect(&self, out: &mut Inspector) {
        out.text("initialization", format_args!("{:?}", self.initialization));
        out.text("needs_icw4", self.needs_icw4);
        out.text("single", self.single);
        out.hex("vector_base", self.vector_base);
        out.text("auto_eoi", self.auto_eoi);
        out.text("special_fully_nested", self.special_fully_nested);
        out.hex("inputs", self.inputs);
        out.hex("irr", self.irr());
        out.hex("edges", self.edges);
        out.hex("isr", self.isr);
        out.hex("imr", self.imr);
        out.hex("elcr", self.elcr);
        out.text("lowest", self.lowest);
        out.text("rotate_in_auto_eoi", self.rotate_in_auto_eoi);
        out.text("special_mask", self.special_mask);
        out.text("poll", self.poll);
        out.text("reads_isr", self.reads_isr);
    }
}

const INPUTS: [u8; 15] = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The master's input for the slave's INT.
const CASCADE: u8 = 2;

/// What a controller answers when nothing is requested any more: the default IR7.
const SPURIOUS: u8 = 7;

/// Command words, named as in the 8259A data sheet.
mod reg {
    /// Bit 4 of a write to the even port: this is ICW1.
    pub(super) const ICW1: u8 = 1 << 4;
    pub(super) const ICW1_IC4: u8 = 1 << 0;
    pub(super) const ICW1_SNGL: u8 = 1 << 1;

    pub(super) const ICW2_VECTOR: u8 = 0xf8;

    pub(super) const ICW4_AEOI: u8 = 1 << 1;
    pub(super) const ICW4_SFNM: u8 = 1 << 4;

    // OCW2: R, SL and EOI in bits 7..=5.
    pub(super) const OCW2_COMMAND: u8 = 7 << 5;
    pub(super) const OCW2_ROTATE_IN_AEOI_CLEAR: u8 = 0b000 << 5;
    pub(super) const OCW2_NON_SPECIFIC_EOI: u8 = 0b001 << 5;
    pub(super) const OCW2_SPECIFIC_EOI: u8 = 0b011 << 5;
    pub(super) const OCW2_ROTATE_IN_AEOI_SET: u8 = 0b100 << 5;
    pub(super) const OCW2_ROTATE_ON_NON_SPECIFIC_EOI: u8 = 0b101 << 5;
    pub(super) const OCW2_SET_PRIORITY: u8 = 0b110 << 5;
    pub(super) const OCW2_ROTATE_ON_SPECIFIC_EOI: u8 = 0b111 << 5;
    pub(super) const OCW2_LEVEL: u8 = 7;

    /// Bit 3 of a write to the even port that is no ICW1: this is OCW3.
    pub(super) const OCW3: u8 = 1 << 3;
    pub(super) const OCW3_RIS: u8 = 1 << 0;
    pub(super) const OCW3_RR: u8 = 1 << 1;
    pub(super) const OCW3_P: u8 = 1 << 2;
    pub(super) const OCW3_SMM: u8 = 1 << 5;
    pub(super) const OCW3_ESMM: u8 = 1 << 6;

    /// The poll word: an interrupt was requested.
    pub(super) const POLL_I: u8 = 1 << 7;

    // 82371AB: timer, keyboard and cascade are always edge-triggered, and so are RTC and coprocessor.
    pub(super) const ELCR_1_MASK: u8 = 0xf8;
    pub(super) const ELCR_2_MASK: u8 = 0xde;
}

#[cfg(test)]
mod tests;
