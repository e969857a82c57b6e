//! National Semiconductor PC16550D.

use super::{Clause, Document, Origin};

/// The data sheet.
pub static DOCUMENT: Document = Document {
    name: "ns16550",
    title: "National Semiconductor PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs (June 1995)",
    url: "",
    origin: Origin::DataSheet,
};

clauses! { "ns16550", DOCUMENT;
    RESET = "reset", "Table III, UART Reset Configuration",
        "After reset no interrupt is enabled or pending, the transmitter is empty and DLAB is 0.";
    SCRATCH = "scratch", "8.10 Scratchpad Register",
        "The scratch register holds any byte and controls nothing.";
    DIVISOR = "divisor", "8.3 Programmable Baud Generator",
        "While DLAB is 1 the first two registers are the divisor latches, which hold what is written.";
    LINE_CONTROL = "line-control", "8.1 Line Control Register",
        "The line control register reads back as written.";
    LINE_STATUS = "line-status", "8.4 Line Status Register",
        "THRE and TEMT are 1 while nothing waits to be sent; reading clears the error bits.";
    INTERRUPT_ENABLE = "interrupt-enable", "8.7 Interrupt Enable Register",
        "The low four bits of IER enable the interrupts; the high four are always 0.";
    INTERRUPT_IDENT = "interrupt-ident", "8.6 Interrupt Identification Register",
        "IIR names the pending interrupt of the highest priority; bit 0 is 1 when there is none.";
    DATA_INTERRUPT = "data-interrupt", "8.6 Interrupt Identification Register, Table V",
        "Received data is pending until the receiver buffer is read, or the FIFO down below its trigger level.";
    THRE_INTERRUPT = "thre-interrupt", "8.6 Interrupt Identification Register, Table V",
        "Enabling the THRE interrupt while the transmitter is empty raises it; reading IIR or writing THR clears it.";
    FIFO = "fifo", "8.5 FIFO Control Register",
        "Bit 0 of FCR enables both FIFOs, which bits 6 and 7 of IIR show; changing it empties them.";
    FIFO_PROGRAMMING = "fifo-programming", "8.5 FIFO Control Register, bit 0",
        "Bit 0 of FCR must be 1 when its other bits are written, or they are not programmed.";
    FIFO_TRIGGER = "fifo-trigger", "8.5 FIFO Control Register, bits 6 and 7",
        "The received-data interrupt comes when the FIFO holds 1, 4, 8 or 14 bytes, as chosen.";
    FIFO_TIMEOUT = "fifo-timeout", "8.11 FIFO Interrupt Mode Operation",
        "A time-out interrupt comes when bytes lie in the FIFO for four character times untouched.";
    OVERRUN = "overrun", "8.4 Line Status Register, bit 1",
        "A byte that finds no room sets OE; the FIFO keeps its 16 bytes.";
    MODEM_CONTROL = "modem-control", "8.8 Modem Control Register",
        "The low five bits of MCR hold what is written; the high three are always 0.";
    LOOPBACK = "loopback", "8.8 Modem Control Register, bit 4",
        "In loopback the transmitter feeds the receiver, and DTR, RTS, OUT1, OUT2 feed DSR, CTS, RI, DCD.";
    MODEM_STATUS = "modem-status", "8.9 Modem Status Register",
        "Delta bits record changes of the modem lines until MSR is read.";
    RECEIVE = "receive", "8.4 Line Status Register, bit 0",
        "DR is 1 while a received byte waits, and bytes are read in the order they came.";
    TRANSMIT = "transmit", "8.4 Line Status Register, bit 5",
        "A byte written to THR is sent.";
}
