//! QEMU's description of the fw_cfg device.

use super::{Clause, Document, Origin};

/// The interface description.
pub static DOCUMENT: Document = Document {
    name: "fw_cfg",
    title: "QEMU Firmware Configuration (fw_cfg) Device",
    url: "https://www.qemu.org/docs/master/specs/fw_cfg.html",
    origin: Origin::QemuDocumentation,
};

clauses! { "fw_cfg", DOCUMENT;
    SELECTOR = "selector", "Selector (Control) Register",
        "Writing 16 bits to port 0x510 selects an item and puts the read offset at its start.";
    SELECTOR_ARCHITECTURE = "selector-architecture", "Selector (Control) Register",
        "Bit 15 of the selector chooses the architecture's own items.";
    SELECTOR_WRITE_BIT = "selector-write-bit", "Selector (Control) Register",
        "Bit 14 of the selector is ignored.";
    SELECTOR_WIDTH = "selector-width", "Register Locations",
        "The selector is written with 16 bits; accesses of other widths select nothing.";
    DATA = "data", "Data Register",
        "Each byte read from port 0x511 is the selected item's next byte; past its end zeros are read.";
    DATA_UNKNOWN = "data-unknown", "Data Register",
        "An item that does not exist reads as zeros.";
    DATA_WRITE = "data-write", "Data Register",
        "Writes to the data register are ignored.";
    SIGNATURE = "signature", "Signature (Key 0x0000, FW_CFG_SIGNATURE)",
        "Item 0 is the four bytes QEMU.";
    ID = "id", "Revision / feature bitmap (Key 0x0001, FW_CFG_ID)",
        "Item 1 is a little-endian 32-bit bitmap: bit 0 the traditional interface, bit 1 the DMA interface.";
    DIRECTORY = "directory", "File Directory (Key 0x0019, FW_CFG_FILE_DIR)",
        "Item 0x19 is a big-endian count and 64-byte entries of size, selector, reserved and NUL-terminated name.";
    DIRECTORY_KEYS = "directory-keys", "File Directory (Key 0x0019, FW_CFG_FILE_DIR)",
        "Files have selectors from 0x20 on, one each.";
    STRING_IO = "string-io", "Data Register",
        "A string instruction reads what as many single reads give.";
    DMA_SIGNATURE = "dma-signature", "Guest-side DMA Interface",
        "Reading the DMA address register at 0x514 gives the eight bytes QEMU CFG.";
    DMA_ADDRESS = "dma-address", "Guest-side DMA Interface",
        "The descriptor's address is written big-endian, high half first; writing the low half starts the transfer.";
    DMA_ADDRESS_ONCE = "dma-address-once", "Guest-side DMA Interface",
        "A transfer uses the address once: the next low half alone means an address below 4 GiB.";
    DMA_READ = "dma-read", "Guest-side DMA Interface",
        "READ copies the item's next bytes to the buffer and zeros past its end.";
    DMA_SKIP = "dma-skip", "Guest-side DMA Interface",
        "SKIP moves the read offset without a copy.";
    DMA_SELECT = "dma-select", "Guest-side DMA Interface",
        "SELECT takes the selector from the control word's upper half before the operation.";
    DMA_WRITE = "dma-write", "Guest-side DMA Interface",
        "WRITE to an item that is not writable fails.";
    DMA_CONTROL = "dma-control", "Guest-side DMA Interface",
        "When the transfer is over the control word is 0, or has bit 0 set after an error; the rest stays.";
    DMA_FAULT = "dma-fault", "Guest-side DMA Interface",
        "A transfer to memory that is not there ends with the error bit, and the machine goes on.";
    DMA_PRIORITY = "dma-priority", "Guest-side DMA Interface",
        "Of several operations in one control word READ comes before WRITE, and WRITE before SKIP.";
    DMA_REENTRY = "dma-reentry", "Guest-side DMA Interface",
        "DMA reaches memory only: a buffer on a device's registers does not operate the device.";
}
