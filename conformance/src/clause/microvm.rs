//! The machine model as first specified (October 2019) and released in QEMU 4.2.0.

use super::{Clause, Document, Origin};

/// The machine model.
pub static DOCUMENT: Document = Document {
    name: "microvm",
    title: "microvm machine model, patch series of October 2019 as released in QEMU 4.2.0",
    url: "https://www.qemu.org/docs/master/system/i386/microvm.html",
    origin: Origin::MachineModel,
};

clauses! { "microvm", DOCUMENT;
    RAM_SPLIT = "ram-split", "memory initialisation",
        "RAM starts at address 0; what does not fit below the split lies from 4 GiB on, and nothing is lost.";
    RAM_LIMIT = "ram-limit", "memory initialisation, max-ram-below-4g",
        "max-ram-below-4g lowers the split to the size given and never raises it.";
    E820 = "e820", "e820 table in etc/e820",
        "The e820 table lists RAM as one entry from 0 and, if RAM is split, one from 4 GiB, and overlaps with nothing.";
    E820_KVM = "e820-kvm", "e820 table under KVM",
        "Under KVM four pages at 0xfeffc000 are reserved, in the e820 table and in the item of fw_cfg key 0x8003.";
    CMOS_MEMORY = "cmos-memory", "CMOS memory size bytes",
        "CMOS bytes 0x15-0x18, 0x30, 0x31, 0x34, 0x35 and 0x5b-0x5d hold the sizes of base, extended and high RAM.";
    CMOS_UNUSED = "cmos-unused", "CMOS bytes that a PC's firmware uses",
        "CMOS bytes for boot device, equipment, drives, CPU count and checksum are not set by this machine.";
    FW_CFG_KEYS = "fw-cfg-keys", "fw_cfg items of the machine",
        "fw_cfg offers RAM size, CPU counts, UUID and the other fixed items under their keys.";
    FW_CFG_FILES = "fw-cfg-files", "fw_cfg files of the machine",
        "fw_cfg lists etc/e820, bootorder, bios-geometry and etc/boot-fail-wait.";
    FW_CFG_KERNEL = "fw-cfg-kernel", "kernel loading, PVH ELF",
        "A PVH ELF kernel's entry, load range and command line are offered under their fw_cfg keys.";
    FW_CFG_BZ_IMAGE = "fw-cfg-bz-image", "kernel loading, bzImage",
        "A bzImage is for 0x10000 (setup part, header filled in) and 0x100000 (rest), its command line for 0x20000.";
    CPUS = "cpus", "CPU topology",
        "The number of CPUs present and the most there can be are offered by fw_cfg as given.";
    CMDLINE = "cmdline", "kernel command line",
        "Each transport with a device is appended to the kernel command line as virtio_mmio.device=SIZE@0xADDR:IRQ.";
    CMDLINE_AUTO = "cmdline-auto", "kernel command line, auto-kernel-cmdline",
        "With auto-kernel-cmdline=off the kernel gets the user's command line and nothing else.";
    TRANSPORTS = "transports", "virtio-mmio transports",
        "Eight transports of 512 bytes lie side by side; a device without a bus takes the highest free one.";
    FIRMWARE_ALIAS = "firmware-alias", "firmware",
        "The firmware ends at 4 GiB, and its last 128 KiB, or all of a smaller one, are seen below 1 MiB too.";
    FIRMWARE_WRITABLE = "firmware-writable", "firmware",
        "The firmware lies in memory that CPUs and devices can write, the same bytes at both places.";
    FIRMWARE_RESET = "firmware-reset", "reset",
        "A reset puts the firmware's bytes back.";
    ABSENT_PORTS = "absent-ports", "I/O port map",
        "The machine has no other ports than its devices'; reading an unclaimed port gives all ones.";
    ABSENT_MEMORY = "absent-memory", "physical memory map",
        "Reading guest-physical memory where nothing is gives zero, and writing there changes nothing.";
    PORT_STRADDLE = "port-straddle", "I/O port map, wide accesses",
        "A wide port access that straddles a device's edge gives each byte what its own port gives.";
    OPTIONS = "options", "machine options pic, pit, rtc, isa-serial",
        "A device switched off by its machine option is absent: its ports answer as an empty bus does.";
    OPTIONS_AUTO = "options-auto", "machine options pic, pit, rtc",
        "With auto the 8259 pair and the 8254 are there always, and the clock unless the machine runs on KVM.";
    OPTIONS_IRQCHIP = "options-irqchip", "machine option kernel-irqchip",
        "Where the interrupt controllers are emulated makes no difference to what they answer.";
    REFUSED = "refused", "command line",
        "What the machine cannot be is refused with a reason, before anything starts.";
    DEBUG_DEVICES = "debug-devices", "isa-debug-exit and isa-debugcon",
        "The debugging devices are there when asked for: one at port 0xf4 reads 0, one at port 0x402 reads 0xe9.";
    DEBUG_OUTPUT = "debug-output", "isa-debug-exit and isa-debugcon",
        "What a guest writes to the debug console and to the debug-exit port reaches the host.";
    OPTION_ROM_HEADER = "option-rom-header", "option ROM; BIOS Boot Specification 1.01, Expansion Header",
        "The option ROM begins with 0x55 0xaa and its length in units of 512 bytes, and its bytes sum to zero.";
    OPTION_ROMS_GIVEN = "option-roms-given", "option-rom",
        "An option ROM of the user's is offered by fw_cfg as genroms/NAME, NAME being that of its file.";
    OPTION_ROMS = "option-roms", "machine option x-option-roms",
        "The option ROM that starts a kernel is offered by fw_cfg as genroms/NAME unless x-option-roms is off.";
    RTC_BASE = "rtc-base", "RTC start date",
        "The clock shows at power-on what the start date says.";
    SHUTDOWN_STATUS = "shutdown-status", "CMOS byte 0x0f, reset",
        "A reset clears CMOS byte 0x0f unless it is 0xfe, by which a firmware knows a guest that resumes.";
    PIC_POWER_ON = "pic-power-on", "8259 pair at power-on",
        "At power-on no input is masked, nothing is requested, and every input is edge-triggered.";
    ELCR = "elcr", "edge/level control registers at 0x4d0 and 0x4d1",
        "Inputs 0, 1, 2, 8 and 13 are always edge-triggered: their bits cannot be set.";
    ELCR_RESET = "elcr-reset", "82371AB, ELCR1 and ELCR2, default value",
        "A reset clears the edge/level registers.";
    PIT_POWER_ON = "pit-power-on", "8254 at power-on",
        "At power-on each counter runs in mode 3 over 65536 clocks, so that counter 0 ticks 18.2 times a second.";
    PIT_GATES = "pit-gates", "8254 gates, no port 0x61",
        "There is no port for the gate of counter 2, and it counts.";
    PIT_CLOCK = "pit-clock", "8254 clock",
        "All three counters are fed by one clock of 1193182 Hz.";
    IOAPIC_DECODING = "ioapic-decoding", "IOAPIC at 0xfec00000",
        "The IOAPIC decodes the low eight address bits of its 4 KiB, and its select register takes a byte.";
    IOAPIC_STORM = "ioapic-storm", "IOAPIC, interrupts of a guest that never quiets a level",
        "A level that interrupts again at 10000 EOIs in a row waits 10 ms, so that the guest's other work goes on.";
    GSI_WIRING = "gsi-wiring", "interrupt routing",
        "GSI n drives input n of the 8259 pair and of the IOAPIC, but GSI 0 drives the IOAPIC's input 2.";
    KVMCLOCK = "kvmclock", "kvmclock",
        "Under KVM the guest is offered KVM's paravirtual clock.";
}
