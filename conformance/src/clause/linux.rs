//! What Linux relies on.

use super::{Clause, Document, Origin};

/// The kernel that the suite boots.
pub static DOCUMENT: Document = Document {
    name: "linux",
    title: "Linux 6.1: its boot code and drivers",
    url: "https://www.kernel.org/doc/html/v6.1/",
    origin: Origin::Linux,
};

clauses! { "linux", DOCUMENT;
    BOOT = "boot", "Documentation/x86/boot.rst and arch/x86/platform/pvh",
        "A kernel that gets an initial RAM disk by either boot protocol starts the program /init in it.";
    CPUS = "cpus", "arch/x86/kernel/mpparse.c",
        "Linux starts each CPU that the MultiProcessor table names.";
    MEMORY = "memory", "arch/x86/kernel/e820.c",
        "Linux takes for RAM what its memory map says, and the map says so of all the machine has.";
    INTERRUPTS = "interrupts", "arch/x86/kernel/apic/io_apic.c",
        "Each device's interrupt reaches Linux at the IOAPIC's input that the machine model or the command line names.";
    SERIAL = "serial", "drivers/tty/serial/8250",
        "Linux finds a 16550A at 0x3f8 whose interrupt is 4.";
    RTC = "rtc", "drivers/rtc/rtc-cmos.c",
        "Linux reads the machine's date and time from its clock.";
    VIRTIO = "virtio", "drivers/virtio/virtio_mmio.c",
        "Each virtio device of the machine is found where the command line says and gets its driver.";
    RNG = "rng", "drivers/char/hw_random/virtio-rng.c",
        "Linux gets entropy from a virtio entropy device.";
    BLK = "blk", "drivers/block/virtio_blk.c",
        "Linux reads a virtio disk as it is, and what it writes is there when it is read again.";
    NET = "net", "drivers/net/virtio_net.c",
        "Linux sends frames through a virtio network device and gets those that come in.";
    CONSOLE = "console", "drivers/char/virtio_console.c",
        "Linux sends and receives bytes through a virtio console.";
    REBOOT = "reboot", "arch/x86/kernel/reboot.c",
        "Linux resets the machine by the way that it is told.";
}
