//! Devicetree Specification.

use super::{Clause, Document, Origin};

/// The specification.
pub static DOCUMENT: Document = Document {
    name: "devicetree",
    title: "Devicetree Specification, Release v0.3",
    url: "https://github.com/devicetree-org/devicetree-specification/releases/tag/v0.3",
    origin: Origin::BootProtocol,
};

clauses! { "devicetree", DOCUMENT;
    HEADER = "header", "5.2 Header",
        "The header tells version 17, compatible down to 16, the size of the whole, and where its parts lie.";
    RESERVATIONS = "reservations", "5.3 Memory Reservation Block",
        "The list of reserved memory lies at a multiple of 8 bytes and ends with an entry of zeros.";
    STRUCTURE = "structure", "5.4 Structure Block",
        "Nodes begin and end in pairs, properties have their names in the strings block, and FDT_END is the last word.";
    REG = "reg", "2.3.6 reg",
        "The reg property tells where a device's registers lie, in cells as the parent's #address-cells says.";
    INTERRUPTS = "interrupts", "2.4.1 Properties for Interrupt Generating Devices",
        "The interrupts property names the input of the controller that interrupt-parent points at by its phandle.";
}
