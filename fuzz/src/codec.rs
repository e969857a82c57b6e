//! Programs as bytes, for an engine that mutates bytes.
//!
//! The first byte names the set-up; then comes one action after another, each an operation byte and its arguments.
//! Every byte string decodes to some program: numbers are taken modulo what they index, and a cut-off argument is
//! filled up with zeros. Integers come from the front of the input, least significant byte first, so that [`encode`]
//! can write them: `decode(encode(program)) == program` for every program that [`encode`] takes.
//!
//! Short forms save the engine from guessing: an address is a number in one of the target's windows, a value may be one
//! byte or an address in scratch RAM, and the structure that the device reads has its fields apart. The absolute forms
//! say everything else.

use arbitrary::Unstructured;
use conformance::machine::Width;
use conformance::program::Action;

use crate::program::Program;
use crate::target::{Record, SCRATCH, Target, WINDOWS_MAX, Window};

/// An action that inputs cannot say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("action {number} ('{action}') cannot be encoded: {reason}")]
pub struct Inexpressible {
    /// Counted from 1.
    pub number: usize,
    /// The action.
    pub action: String,
    /// Which limit it exceeds.
    pub reason: String,
}

/// Reads an input; every input is a program of at most [`ACTIONS_MAX`] actions.
pub fn decode(target: &Target, input: &[u8]) -> Program {
    let mut input = Input(Unstructured::new(input));
    let setup = target.setup_of_byte(input.byte());
    let mut actions = Vec::new();
    while !input.0.is_empty() && actions.len() < ACTIONS_MAX {
        actions.push(action(target, &mut input));
    }
    Program { setup, actions }
}

/// Writes a program so that [`decode`] reads the same.
///
/// # Errors
/// [`Inexpressible`] names the first action that is too long or that is one too many.
pub fn encode(target: &Target, program: &Program) -> Result<Vec<u8>, Inexpressible> {
    let mut bytes = vec![program.setup];
    for (index, action) in program.actions.iter().enumerate() {
        let fail = |reason| Inexpressible {
            number: index + 1,
            action: action.to_string(),
            reason,
        };
        if ACTIONS_MAX <= index {
            return Err(fail(format!("a program has at most {ACTIONS_MAX} actions")));
        }
        encode_action(target, action, &mut bytes).map_err(fail)?;
    }
    Ok(bytes)
}

/// Integers from the front of an input; after its end they are 0.
struct Input<'a>(Unstructured<'a>);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    fn word(&mut self) -> u16 {
        self.0.arbitrary().unwrap_or_default()
    }

    fn dword(&mut self) -> u32 {
        self.0.arbitrary().unwrap_or_default()
    }

    fn qword(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// `length` bytes, fewer at the end of the input but at least one.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = self.0.bytes(length.min(self.0.len())).unwrap_or_default().to_vec();
        if bytes.is_empty() {
            bytes.push(0);
        }
        bytes
    }
}

/// What an operation byte's low five bits say; the upper three are its form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    PortRead(Width),
    PortWrite(Width),
    Load(Width),
    Store(Width),
    Write,
    Record,
    Read,
    Fill,
    Advance,
    SerialInput,
    Reset,
}

fn action(target: &Target, input: &mut Input<'_>) -> Action {
    let byte = input.byte();
    let form = byte >> FORM_SHIFT;
    match operations(target)[usize::from(byte & OPERATION_MASK)] {
        Operation::PortRead(width) => Action::PortRead {
            port: port(target, form, input),
            width,
        },
        Operation::PortWrite(width) => Action::PortWrite {
            port: port(target, form, input),
            width,
            value: value(width, input) as u32,
        },
        Operation::Load(width) => Action::Load {
            gpa: gpa(target, form, input),
            width,
        },
        Operation::Store(width) => Action::Store {
            gpa: gpa(target, form, input),
            width,
            value: value(width, input),
        },
        Operation::Write => {
            let gpa = gpa(target, form, input);
            let length = usize::from(input.word()) % DATA_LENGTH_MAX + 1;
            let bytes = input.bytes(length);
            Action::WriteMemory { gpa, bytes }
        }
        Operation::Record => Action::WriteMemory {
            gpa: gpa(target, form, input),
            bytes: record(target.record, input),
        },
        Operation::Read => Action::ReadMemory {
            gpa: gpa(target, form, input),
            length_bytes: u32::from(input.word()) + 1,
        },
        Operation::Fill => Action::FillMemory {
            gpa: gpa(target, form, input),
            length_bytes: u32::from(input.word()),
            byte: input.byte(),
        },
        Operation::Advance if form == FORM_ABSOLUTE => Action::Advance {
            by_ns: input.qword().max(1),
        },
        Operation::Advance => Action::Advance {
            by_ns: u64::from(input.dword()).max(1),
        },
        Operation::SerialInput => {
            let length = usize::from(input.byte()) + 1;
            let bytes = input.bytes(length);
            Action::SerialInput { bytes }
        }
        Operation::Reset => Action::Reset,
    }
}

fn port(target: &Target, form: u8, input: &mut Input<'_>) -> u16 {
    address(target.ports, form, input).map_or_else(|| input.word(), |port| port as u16)
}

fn gpa(target: &Target, form: u8, input: &mut Input<'_>) -> u64 {
    address(target.memory, form, input).unwrap_or_else(|| input.qword())
}

/// The address in a window; `None` for the absolute form.
fn address(windows: &[Window], form: u8, input: &mut Input<'_>) -> Option<u64> {
    if form == FORM_ABSOLUTE || windows.is_empty() {
        return None;
    }
    let window = &windows[usize::from(form) % windows.len()];
    let number = if window.count <= 0x100 {
        u16::from(input.byte())
    } else {
        input.word()
    };
    Some(window.address(number))
}

/// A byte stands for itself; wider values start with a byte that says how they are written.
fn value(width: Width, input: &mut Input<'_>) -> u64 {
    if width == Width::Byte {
        return u64::from(input.byte());
    }
    let value = match input.byte() % 4 {
        VALUE_SMALL => u64::from(input.byte()),
        VALUE_SCRATCH => SCRATCH.address(input.word()),
        VALUE_SCRATCH_SWAPPED => u64::from((SCRATCH.address(input.word()) as u32).swap_bytes()),
        _ => match width {
            Width::Byte | Width::Word => u64::from(input.word()),
            Width::Dword => u64::from(input.dword()),
            Width::Qword => input.qword(),
        },
    };
    value & width.mask()
}

fn record(record: Record, input: &mut Input<'_>) -> Vec<u8> {
    let address = SCRATCH.address(input.word());
    match record {
        Record::SplitDescriptor => {
            let length = u32::from(input.word());
            let (flags, next) = (u16::from(input.byte()), u16::from(input.byte()));
            let fields = [
                &address.to_le_bytes()[..],
                &length.to_le_bytes(),
                &flags.to_le_bytes(),
                &next.to_le_bytes(),
            ];
            fields.concat()
        }
        Record::FwCfgDma => {
            let length = u32::from(input.word());
            let control = u32::from(input.byte()) | u32::from(input.word()) << 16;
            let fields = [
                &control.to_be_bytes()[..],
                &length.to_be_bytes(),
                &address.to_be_bytes(),
            ];
            fields.concat()
        }
    }
}

fn encode_action(target: &Target, action: &Action, out: &mut Vec<u8>) -> Result<(), String> {
    match action {
        Action::PortRead { port, width } => {
            encode_address(
                target,
                target.ports,
                Operation::PortRead(*width),
                u64::from(*port),
                2,
                out,
            )?;
        }
        Action::PortWrite { port, width, value } => {
            encode_address(
                target,
                target.ports,
                Operation::PortWrite(*width),
                u64::from(*port),
                2,
                out,
            )?;
            encode_value(u64::from(*value), *width, out)?;
        }
        Action::Load { gpa, width } => encode_address(target, target.memory, Operation::Load(*width), *gpa, 8, out)?,
        Action::Store { gpa, width, value } => {
            encode_address(target, target.memory, Operation::Store(*width), *gpa, 8, out)?;
            encode_value(*value, *width, out)?;
        }
        Action::WriteMemory { gpa, bytes } => {
            if let Some(short) = encode_record(target.record, bytes) {
                encode_address(target, target.memory, Operation::Record, *gpa, 8, out)?;
                out.extend(short);
            } else {
                encode_address(target, target.memory, Operation::Write, *gpa, 8, out)?;
                let length = within("bytes", bytes.len() as u64, 1, DATA_LENGTH_MAX as u64)?;
                out.extend((length as u16 - 1).to_le_bytes());
                out.extend(bytes);
            }
        }
        Action::ReadMemory { gpa, length_bytes } => {
            encode_address(target, target.memory, Operation::Read, *gpa, 8, out)?;
            let length = within("bytes", u64::from(*length_bytes), 1, 1 << 16)?;
            out.extend(((length - 1) as u16).to_le_bytes());
        }
        Action::FillMemory {
            gpa,
            length_bytes,
            byte,
        } => {
            encode_address(target, target.memory, Operation::Fill, *gpa, 8, out)?;
            let length = within("bytes", u64::from(*length_bytes), 0, u64::from(u16::MAX))?;
            out.extend((length as u16).to_le_bytes());
            out.push(*byte);
        }
        Action::Advance { by_ns } => {
            within("nanoseconds", *by_ns, 1, u64::MAX)?;
            match u32::try_from(*by_ns) {
                Ok(short) => {
                    out.push(operation_byte(target, Operation::Advance, 0)?);
                    out.extend(short.to_le_bytes());
                }
                Err(_) => {
                    out.push(operation_byte(target, Operation::Advance, FORM_ABSOLUTE)?);
                    out.extend(by_ns.to_le_bytes());
                }
            }
        }
        Action::SerialInput { bytes } => {
            out.push(operation_byte(target, Operation::SerialInput, 0)?);
            let length = within("bytes", bytes.len() as u64, 1, 1 << 8)?;
            out.push((length - 1) as u8);
            out.extend(bytes);
        }
        Action::Reset => out.push(operation_byte(target, Operation::Reset, 0)?),
    }
    Ok(())
}

/// The operation byte and the address, in the first window that has it.
fn encode_address(
    target: &Target,
    windows: &[Window],
    operation: Operation,
    address: u64,
    absolute_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let place = windows
        .iter()
        .take(WINDOWS_MAX)
        .enumerate()
        .find_map(|(form, window)| Some((form, window, window.number(address)?)));
    let Some((form, window, number)) = place else {
        out.push(operation_byte(target, operation, FORM_ABSOLUTE)?);
        out.extend(&address.to_le_bytes()[..absolute_bytes]);
        return Ok(());
    };
    out.push(operation_byte(target, operation, form as u8)?);
    let number_bytes = if window.count <= 0x100 { 1 } else { 2 };
    out.extend(&number.to_le_bytes()[..number_bytes]);
    Ok(())
}

fn encode_value(value: u64, width: Width, out: &mut Vec<u8>) -> Result<(), String> {
    within("as value", value, 0, width.mask())?;
    let swapped = u64::from((value as u32).swap_bytes());
    if width == Width::Byte {
        out.push(value as u8);
    } else if let Ok(small) = u8::try_from(value) {
        out.extend([VALUE_SMALL, small]);
    } else if let Some(number) = SCRATCH.number(value) {
        out.push(VALUE_SCRATCH);
        out.extend(number.to_le_bytes());
    } else if let (Width::Dword, Some(number)) = (width, SCRATCH.number(swapped)) {
        out.push(VALUE_SCRATCH_SWAPPED);
        out.extend(number.to_le_bytes());
    } else {
        out.push(VALUE_FULL);
        out.extend(&value.to_le_bytes()[..width.bytes()]);
    }
    Ok(())
}

/// The short form of a record, if it has one.
fn encode_record(record: Record, bytes: &[u8]) -> Option<Vec<u8>> {
    let (words, []) = bytes.as_chunks::<4>() else {
        return None;
    };
    let &[a, b, c, d] = words else {
        return None;
    };
    let (address, length, rest) = match record {
        Record::SplitDescriptor => {
            let [flags, 0, next, 0] = d else {
                return None;
            };
            let address = u64::from(u32::from_le_bytes(b)) << 32 | u64::from(u32::from_le_bytes(a));
            (address, u32::from_le_bytes(c), vec![flags, next])
        }
        Record::FwCfgDma => {
            let [high, low, 0, control] = a else {
                return None;
            };
            let address = u64::from(u32::from_be_bytes(c)) << 32 | u64::from(u32::from_be_bytes(d));
            (address, u32::from_be_bytes(b), vec![control, low, high])
        }
    };
    let mut out = SCRATCH.number(address)?.to_le_bytes().to_vec();
    out.extend(u16::try_from(length).ok()?.to_le_bytes());
    out.extend(rest);
    Some(out)
}

/// The byte of an operation that has one in this form.
fn operation_byte(target: &Target, operation: Operation, form: u8) -> Result<u8, String> {
    let index = operations(target).iter().position(|other| *other == operation);
    let index = index.ok_or("the target has no such action")?;
    Ok(index as u8 | form << FORM_SHIFT)
}

fn within(what: &str, number: u64, least: u64, most: u64) -> Result<u64, String> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{number} {what} are not within {least}..={most}"))
    }
}

/// Most actions of a program; what follows in an input is ignored.
pub const ACTIONS_MAX: usize = 512;

/// Most bytes of one write to memory.
pub const DATA_LENGTH_MAX: usize = 1024;

/// Longest input that a campaign makes. Seeds are no longer.
pub const INPUT_LENGTH_MAX: usize = 2048;

/// The form that gives an address, or a time, in full.
const FORM_ABSOLUTE: u8 = 7;
const FORM_SHIFT: u8 = 5;
const OPERATION_MASK: u8 = 31;

const VALUE_SMALL: u8 = 0;
const VALUE_FULL: u8 = 1;
const VALUE_SCRATCH: u8 = 2;
const VALUE_SCRATCH_SWAPPED: u8 = 3;

/// A target that names no memory is about ports alone.
fn operations(target: &Target) -> &'static [Operation; 32] {
    if target.memory.is_empty() {
        &PORT_OPERATIONS
    } else {
        &OPERATIONS
    }
}

/// What operation bytes mean; what devices mostly get stands here more than once.
const OPERATIONS: [Operation; 32] = [
    Operation::PortRead(Width::Byte),
    Operation::PortRead(Width::Word),
    Operation::PortRead(Width::Dword),
    Operation::PortWrite(Width::Byte),
    Operation::PortWrite(Width::Word),
    Operation::PortWrite(Width::Dword),
    Operation::Load(Width::Byte),
    Operation::Load(Width::Word),
    Operation::Load(Width::Dword),
    Operation::Load(Width::Qword),
    Operation::Store(Width::Byte),
    Operation::Store(Width::Word),
    Operation::Store(Width::Dword),
    Operation::Store(Width::Qword),
    Operation::Write,
    Operation::Record,
    Operation::Read,
    Operation::Fill,
    Operation::Advance,
    Operation::SerialInput,
    Operation::Reset,
    Operation::PortRead(Width::Byte),
    Operation::PortWrite(Width::Word),
    Operation::PortWrite(Width::Dword),
    Operation::Load(Width::Dword),
    Operation::Store(Width::Word),
    Operation::Store(Width::Dword),
    Operation::Store(Width::Dword),
    Operation::Store(Width::Dword),
    Operation::Record,
    Operation::Record,
    Operation::Advance,
];

/// The same for targets of ports: bytes mostly, and time.
const PORT_OPERATIONS: [Operation; 32] = {
    let mut operations = [Operation::PortWrite(Width::Byte); 32];
    let mut index = 0;
    while index < 10 {
        operations[index] = Operation::PortRead(Width::Byte);
        index += 1;
    }
    operations[25] = Operation::PortRead(Width::Word);
    operations[26] = Operation::PortRead(Width::Dword);
    operations[27] = Operation::PortWrite(Width::Word);
    operations[28] = Operation::PortWrite(Width::Dword);
    operations[29] = Operation::Advance;
    operations[30] = Operation::SerialInput;
    operations[31] = Operation::Reset;
    operations
};

#[cfg(test)]
mod tests;
