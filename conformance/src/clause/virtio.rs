//! Virtual I/O Device (VIRTIO) Version 1.2.

use super::{Clause, Document, Origin};

/// The specification.
pub static DOCUMENT: Document = Document {
    name: "virtio",
    title: "Virtual I/O Device (VIRTIO) Version 1.2, Committee Specification 01",
    url: "https://docs.oasis-open.org/virtio/virtio/v1.2/cs01/virtio-v1.2-cs01.html",
    origin: Origin::Virtio,
};

clauses! { "virtio", DOCUMENT;
    MAGIC = "mmio-magic", "4.2.2.1, MagicValue",
        "MagicValue reads 0x74726976 on every transport.";
    VERSION_MODERN = "mmio-version", "4.2.2.1, Version",
        "Version reads 2.";
    VERSION_LEGACY = "mmio-version-legacy", "4.2.4, Version",
        "Version of a legacy transport reads 1.";
    EMPTY_SLOT = "mmio-empty", "4.2.2, DeviceID",
        "DeviceID 0 means a transport without a device; it answers with MagicValue and Version all the same.";
    DEVICE_ID = "device-id", "5, Device Types",
        "DeviceID names the type of the device: 1 for a network, 2 for a disk, 3 for a console, 4 for entropy.";
    FEATURE_SELECT = "mmio-features", "4.2.2, DeviceFeatures and DeviceFeaturesSel",
        "DeviceFeatures gives the 32 feature bits that the selector chooses; bits that do not exist read 0.";
    VERSION_1_OFFERED = "version-1-offered", "6.2, VIRTIO_F_VERSION_1",
        "A device of this version offers VIRTIO_F_VERSION_1.";
    VERSION_1_REFUSED = "version-1-refused", "6.2, VIRTIO_F_VERSION_1",
        "A device may fail to operate further if VIRTIO_F_VERSION_1 is not accepted.";
    FEATURES_SUBSET = "features-subset", "2.2.2",
        "A device refuses FEATURES_OK when the driver accepts a feature that was not offered.";
    STATUS_RESET = "status-reset", "2.1.2 and 2.4.1",
        "Writing 0 to Status resets the device, and Status reads 0 afterwards.";
    STATUS_HOLDS = "status-holds", "2.1 Device Status Field",
        "Status reads back the bits that the driver has set.";
    RESET_CLEARS = "reset-clears", "4.2.2.1",
        "Upon reset the device clears InterruptStatus and QueueReady of every queue.";
    QUEUE_MAX = "queue-max", "4.2.2, QueueNumMax",
        "QueueNumMax reads the largest size of the selected queue, or 0 when there is no such queue.";
    QUEUE_READY = "queue-ready", "4.2.2, QueueReady",
        "QueueReady reads back what was written for the selected queue.";
    QUEUE_NOTIFY = "queue-notify", "4.2.2, QueueNotify",
        "Notifying a queue that does not exist has no effect.";
    WRITE_ONLY = "mmio-write-only", "4.2.2, register table",
        "Registers for writing only, and offsets without a register, read 0 and keep the device as it is.";
    READ_ONLY = "mmio-read-only", "4.2.2, register table",
        "Registers for reading only are not changed by writes.";
    ACCESS_WIDTH = "mmio-access-width", "4.2.2.2",
        "The driver accesses control registers by aligned 32 bits only; what other accesses do is left open.";
    CONFIG = "config", "2.5 Device Configuration Space",
        "Reading beyond the device's configuration has no effect on it.";
    CONFIG_GENERATION = "config-generation", "4.2.2.1, ConfigGeneration",
        "ConfigGeneration changes only when the configuration may have changed.";
    SHM_ABSENT = "shm-absent", "4.2.2, SHMLenLow and SHMLenHigh",
        "The length of a shared memory region that does not exist reads as all ones.";
    SHM_ABSENT_BASE = "shm-absent-base", "4.2.2, SHMBaseLow and SHMBaseHigh",
        "The base address of a shared memory region that does not exist reads as all ones.";
    INTERRUPT_ACK = "interrupt-ack", "4.2.2, InterruptACK",
        "Writing InterruptACK clears exactly the bits given; reading InterruptStatus clears none.";
    LEGACY_PFN = "legacy-pfn", "4.2.4, QueuePFN",
        "QueuePFN of a legacy transport reads back the page number of the selected queue; writing 0 stops it.";
    LEGACY_LAYOUT = "legacy-layout", "2.7.2 Legacy Interfaces: A Note on Virtqueue Layout",
        "The avail ring lies right behind the descriptors, and the used ring at the next multiple of QueueAlign.";
    QUEUE_ADDRESS = "queue-address", "4.2.2, QueueDescLow, QueueDriverLow, QueueDeviceLow and High",
        "The two halves of each address of a queue are registers of their own.";
    QUEUE_NOT_READY = "queue-not-ready", "4.2.2.1 Device Requirements: MMIO Device Register Layout",
        "The device does not access a queue whose QueueReady is 0.";
    INTERRUPT_EVENTS = "interrupt-events", "4.2.2.1 Device Requirements: MMIO Device Register Layout",
        "Bits of InterruptStatus that stand for no event that took place are 0.";
    USED_FLAGS = "used-flags", "2.7.10.2 Device Requirements: Available Buffer Notification Suppression",
        "The device sets flags of the used ring to 0, or, without VIRTIO_F_EVENT_IDX, to 0 or 1.";
    LEGACY_ONLY = "legacy-only", "4.2.4 and 4.2.2",
        "A legacy transport has no QueueReady, and a modern one no QueuePFN.";
    BEFORE_DRIVER_OK = "before-driver-ok", "2.1.2",
        "Before DRIVER_OK a device consumes no buffers and sends no used buffer notification.";
    RNG = "rng", "5.4.6 Device Operation",
        "The entropy device places random data into the buffers and returns their length, at least 1.";
    USED_RING = "used-ring", "2.7.8 The Virtqueue Used Ring",
        "A returned chain appears in the used ring by its head and the number of bytes written.";
    NO_INTERRUPT = "no-interrupt", "2.7.7 Used Buffer Notification Suppression",
        "With the avail ring's no-interrupt flag set the device should not notify.";
    INTERRUPT = "interrupt", "2.7.7.2 Device Requirements: Used Buffer Notification Suppression",
        "Without VIRTIO_F_EVENT_IDX and with flags 0 the device notifies of each used entry, whatever used_event says.";
    USED_EVENT = "used-event", "2.7.7.2 Device Requirements: Used Buffer Notification Suppression",
        "With VIRTIO_F_EVENT_IDX the device notifies when it writes the entry that used_event names, whatever flags \
         says.";
    USED_EVENT_QUIET = "used-event-quiet", "2.7.7.2 Device Requirements: Used Buffer Notification Suppression",
        "With VIRTIO_F_EVENT_IDX the device should not notify of other entries than the one that used_event names.";
    AVAIL_EVENT = "avail-event", "2.7.10.2 Device Requirements: Available Buffer Notification Suppression",
        "With VIRTIO_F_EVENT_IDX the device asks by avail_event for the notifications that it needs, and flags are 0.";
    NOTIFY_SPURIOUS = "notify-spurious", "2.7.10.2 Device Requirements: Available Buffer Notification Suppression",
        "The device handles notifications when there is nothing new.";
    INDEX_WRAPS = "index-wraps", "2.7.13.3 Updating idx",
        "The index of a ring always increases, and goes from 65535 to 0.";
    NOTIFY_ON_EMPTY = "notify-on-empty", "6.3 Legacy Interface: Reserved Feature Bits",
        "With VIRTIO_F_NOTIFY_ON_EMPTY the device notifies when it runs out of descriptors, even if suppressed.";
    LEGACY_FEATURES = "legacy-features", "4.2.4, GuestFeatures and GuestFeaturesSel",
        "GuestFeatures takes the 32 feature bits that GuestFeaturesSel chooses, and lets the others be.";
    FEATURES_FINAL = "features-final", "3.1.1 Driver Requirements: Device Initialization",
        "No features are accepted after FEATURES_OK; a device should go on by those that it agreed to.";
    INDIRECT = "indirect", "2.7.5.3 Indirect Descriptors",
        "With VIRTIO_F_INDIRECT_DESC a descriptor may point to a table of descriptors.";
    NEEDS_RESET = "needs-reset", "2.1.2, DEVICE_NEEDS_RESET",
        "A device that meets an error it cannot recover from should set DEVICE_NEEDS_RESET.";
    NEEDS_RESET_NOTIFIED = "needs-reset-notified", "2.1.2, DEVICE_NEEDS_RESET",
        "When DRIVER_OK is set, a device that sets DEVICE_NEEDS_RESET sends a configuration change notification.";
    SURVIVES = "survives", "2.7 Split Virtqueues",
        "A ring that breaks the rules costs at most its own device, and a reset brings that back.";
    USED_LENGTH = "used-length", "2.7.8.2",
        "The device writes at least as many bytes as the used ring's length says, from the first writable buffer on.";
    FRAMING = "framing", "2.7.4.1 Device Requirements: Message Framing",
        "The device makes no assumptions about the particular arrangement of descriptors.";
    RESET_QUIET = "reset-quiet", "2.4.1 Device Requirements: Device Reset",
        "After Status reads 0 a device that was reset does not touch the queues until it is initialised again.";
    BLK_CAPACITY = "blk-capacity", "5.2.4 Device configuration layout",
        "The capacity is the size of the device in sectors of 512 bytes, and is always there.";
    BLK_FLUSH_OFFERED = "blk-flush-offered", "5.2.5.2 Device Requirements: Device Initialization",
        "A device offers VIRTIO_BLK_F_FLUSH if it offers VIRTIO_BLK_F_CONFIG_WCE.";
    BLK_WRITEBACK = "blk-writeback", "5.2.5.2 Device Requirements: Device Initialization",
        "If CONFIG_WCE is negotiated but FLUSH is not, the device initialises writeback to 0.";
    BLK_WRITEBACK_SET = "blk-writeback-set", "5.2.5 Device Initialization",
        "With VIRTIO_BLK_F_CONFIG_WCE the driver reads and sets the cache mode in writeback: 0 through, 1 back.";
    BLK_LIMITS = "blk-limits", "5.2.3 Feature bits and 5.2.4 Device configuration layout",
        "seg_max, and the max_ fields of discard and write zeroes, say how large a request may be.";
    BLK_SHAPE = "blk-shape", "5.2.3 Feature bits and 5.2.5 Device Initialization",
        "With VIRTIO_BLK_F_GEOMETRY and BLK_SIZE the fields hold the disk's geometry and the block size to use.";
    BLK_TOPOLOGY = "blk-topology", "5.2.3 Feature bits and 5.2.4 Device configuration layout",
        "With VIRTIO_BLK_F_TOPOLOGY physical_block_exp says how many blocks a physical one has, as a power of two, and \
         alignment_offset which block is the first aligned one.";
    BLK_PACKET = "blk-packet", "5.2.3.1 Legacy Interface: Feature bits and 5.2.6.3 Legacy Interface: Device Operation",
        "With VIRTIO_BLK_F_SCSI a legacy device takes packet commands, and tells by the status how one went.";
    BLK_PADDING = "blk-padding", "5.2.5.2 Device Requirements: Device Initialization",
        "The device initialises the padding bytes unused0 and unused1 to 0.";
    BLK_REQUEST = "blk-request", "5.2.6 Device Operation",
        "A read request gets the contents of sectors, and a write request puts its data there.";
    BLK_STATUS = "blk-status", "5.2.6 Device Operation",
        "The status is OK for success, IOERR for an error of device or driver, UNSUPP for what it does not support.";
    BLK_ID = "blk-id", "5.2.6 Device Operation, VIRTIO_BLK_T_GET_ID",
        "The device ID is an ASCII string of up to 20 bytes, padded with NUL.";
    BLK_FLUSH = "blk-flush", "5.2.6.2 Device Requirements: Device Operation",
        "A flush makes the writes stable that completed before it was sent, before it completes itself.";
    BLK_READ_ONLY = "blk-read-only", "5.2.6.2 Device Requirements: Device Operation",
        "A device that offers VIRTIO_BLK_F_RO fails a write request with IOERR and writes no data.";
    BLK_FLAGS = "blk-flags", "5.2.6.2 Device Requirements: Device Operation",
        "Unknown flags of discard and write zeroes requests, and unmap in a discard request, give UNSUPP.";
    BLK_WRITE_ZEROES = "blk-write-zeroes", "5.2.6.2 Device Requirements: Device Operation",
        "After a write zeroes request the sectors read as zeros, whether or not unmap was set.";
    FEATURES_RESERVED = "features-reserved", "2.2 Feature Bits and 6 Reserved Feature Bits",
        "Bits 24 to 49 are reserved for what the standard says of all devices, and those without a meaning stay clear.";
    FEATURES_NEED = "features-need", "2.2.1 and 5.1.3.1 Feature bit requirements",
        "A device does not offer a feature that requires another one which it does not offer.";
    NET_MAC = "net-mac", "5.1.4 Device configuration layout",
        "With VIRTIO_NET_F_MAC the configuration space begins with the device's address.";
    NET_CONFIG_READ_ONLY = "net-config-read-only", "5.1.4 Device configuration layout",
        "The fields of the configuration space are read-only for a driver.";
    NET_MAC_LEGACY = "net-mac-legacy", "5.1.6.5.2.2 Legacy Interface: Setting MAC Address Filtering",
        "Without VIRTIO_NET_F_CTRL_MAC_ADDR a legacy driver changes the address by writing the configuration space.";
    NET_STATUS = "net-status", "5.1.4 Device configuration layout",
        "With VIRTIO_NET_F_STATUS the status says whether the link is up.";
    NET_TRANSMIT = "net-transmit", "5.1.6.2 Packet Transmission",
        "A frame that the driver puts into the transmit queue behind its header is sent, and its buffer used.";
    NET_RECEIVE = "net-receive", "5.1.6.4 Processing of Incoming Packets",
        "A frame that comes is put into a buffer of the receive queue behind its header.";
    NET_HEADER = "net-header", "5.1.6.4.1 Device Requirements: Processing of Incoming Packets",
        "Where no offload was negotiated, flags are 0 and gso_type is VIRTIO_NET_HDR_GSO_NONE.";
    NET_NUM_BUFFERS = "net-num-buffers", "5.1.6.4.1 Device Requirements: Processing of Incoming Packets",
        "If VIRTIO_NET_F_MRG_RXBUF was not negotiated, the device sets num_buffers to 1.";
    NET_UNMERGED = "net-unmerged", "5.1.6.3.2 Device Requirements: Setting Up Receive Buffers",
        "Without VIRTIO_NET_F_MRG_RXBUF the device uses a single buffer for a frame.";
    NET_MERGED = "net-merged", "5.1.6.4.1 Device Requirements: Processing of Incoming Packets",
        "With VIRTIO_NET_F_MRG_RXBUF num_buffers counts the buffers of a frame, all but the last of which are full.";
    NET_LEGACY_HEADER = "net-legacy-header", "5.1.6.1 Legacy Interface: Device Operation",
        "The legacy header has num_buffers only if VIRTIO_NET_F_MRG_RXBUF was negotiated, and 10 bytes otherwise.";
    CONSOLE_PORT = "console-port", "5.3.6 Device Operation",
        "What the driver puts into the transmit queue is sent, and what comes is put into the receive queue's buffers.";
    CONSOLE_CONFIG = "console-config", "5.3.4 Device configuration layout",
        "Of the configuration space only emerg_wr is for writing; cols, rows and max_nr_ports tell, and send nothing.";
    CONSOLE_EMERGENCY_ALLOWED = "console-emergency-allowed", "5.3.5.1 Device Requirements: Device Initialization",
        "With VIRTIO_CONSOLE_F_EMERG_WRITE the device allows writes to emerg_wr, even when it is not configured.";
    CONSOLE_EMERGENCY = "console-emergency", "5.3.5.1 Device Requirements: Device Initialization",
        "With VIRTIO_CONSOLE_F_EMERG_WRITE the low byte written to emerg_wr is sent, even by an unconfigured device.";
}
