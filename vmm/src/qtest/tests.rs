use super::*;
use crate::board::config::Config;

fn server() -> Server {
    let config = Config {
        ram_bytes: 1 << 20,
        ..Config::default()
    };
    Server::new(Machine::new(&config).expect("1 MiB fits"))
}

fn ask(server: &mut Server, line: &str) -> String {
    let answer = server.handle(line.as_bytes());
    answer.strip_suffix('\n').expect("a line").to_owned()
}

#[test]
fn replies_have_qemus_form() {
    let mut server = server();
    for (line, want) in [
        ("endianness", "OK little"),
        ("outw 0x510 25", "OK"),
        ("outw 0x510 0", "OK"),
        ("inb 0x511", "OK 0x0051"),
        ("inl 0x514", "OK 0x554d4551"),
        ("inw 0177777", "OK 0xffff"),
        ("writeq 0x1000 -2", "OK"),
        ("readq 0x1000", "OK 0xfffffffffffffffe"),
        ("readb 4096", "OK 0x00000000000000fe"),
        ("write 0x2000 4 zzABcd", "OK"),
        ("read 0x2000 5", "OK 0xabcd000000"),
        ("b64read 0x2000 2", "OK q80="),
        ("b64write 0x3000 3 Zm9v", "OK"),
        ("read 0x3000 3", "OK 0x666f6f"),
        ("memset 0x3000 0 1", "OK"),
        ("memset 0x3000 2 0x1aa", "OK"),
        ("read 0x3000 3 and more", "OK 0xaaaa6f"),
        ("write 0x2000 4 0x", "ERR invalid argument size"),
        ("module_load a b", "FAIL"),
        ("foo bar", "FAIL Unknown command 'foo'"),
        ("INB 0x80", "FAIL Unknown command 'INB'"),
        (" ", "FAIL Unknown command ''"),
        ("irq_intercept_in nosuch", "FAIL Unknown device"),
        ("irq_intercept_out ioapic", "FAIL No intercepts installed"),
    ] {
        assert_eq!(ask(&mut server, line), want, "{line}");
    }
    assert_eq!(server.handle(b""), "", "an empty line is ignored");
}

#[test]
fn lines_that_make_qemu_abort_are_answered_with_fail() {
    let mut server = server();
    for line in [
        "inb",
        "inb 0x",
        "inb 0x10000",
        "inb -1",
        "inb  0x80",
        "inb ++1",
        "inb 0x+1",
        "inb 1_0",
        "inb 99999999999999999999",
        "outb 0x80",
        "read 0x1000",
        "read 0x1000 0",
        "read 0x1000 0xffffffffffffffff",
        "write 0 0x10000000000 0x00",
        "write 0 1 0xgg",
        "memset 0 0xffffffffffffffff 0",
        "memset 0xd0000000 0x10000001 0",
        "b64write 0 3 ???=",
        "clock_step x",
        "clock_step 0",
        "clock_step -1",
        "clock_set 0xffffffffffffffff",
        "set_irq_in ioapic unnamed-gpio-in 24 1",
        "set_irq_in ioapic named 1 1",
        "set_irq_in ioapic unnamed-gpio-in 1",
        "serial_in 0x0",
        "serial_in zz",
        "\u{663}",
        "inb \u{663}",
    ] {
        let answer = ask(&mut server, line);
        assert!(answer.starts_with("FAIL") && !answer.contains('\n'), "{line}: {answer}");
    }
    assert!(server.handle(b"inb \xff\xfe").starts_with("FAIL"));
    assert!(server.handle(b"inb \0").starts_with("FAIL"));
    assert!(server.handle(&vec![b'x'; LINE_BYTES_MAX + 1]).starts_with("FAIL"));
}

#[test]
fn clock_moves_by_command_only() {
    let mut server = server();
    assert_eq!(ask(&mut server, "clock_step 1000"), "OK 1000");
    assert_eq!(ask(&mut server, "clock_set 5000"), "OK 5000");
    assert_eq!(ask(&mut server, "clock_set 4000"), "FAIL 5000");
}

#[test]
fn interception_shows_changes_before_the_reply() {
    let mut server = server();
    assert_eq!(ask(&mut server, "set_irq_in ioapic unnamed-gpio-in 20 1"), "OK");
    assert_eq!(ask(&mut server, "irq_intercept_in ioapic"), "OK");
    assert_eq!(ask(&mut server, "irq_intercept_in /machine/ioapic"), "OK");
    assert_eq!(
        ask(&mut server, "set_irq_in ioapic unnamed-gpio-in 20 0"),
        "OK",
        "interception starts from all low"
    );
    assert_eq!(
        ask(&mut server, "set_irq_in ioapic unnamed-gpio-in 20 1"),
        "IRQ raise 20\nOK"
    );
    assert_eq!(ask(&mut server, "set_irq_in ioapic unnamed-gpio-in 20 1"), "OK");
}

#[test]
fn block_over_device_registers_is_made_of_accesses() {
    let mut server = server();
    assert_eq!(ask(&mut server, "read 0xc0000e00 8"), "OK 0x7669727401000000");
    assert_eq!(ask(&mut server, "read 0xd0000000 3"), "OK 0x000000");
    assert_eq!(ask(&mut server, "read 0xffffe 4"), "OK 0x00000000");
}

#[test]
fn serve_answers_line_by_line_and_skips_what_is_too_long() {
    let mut server = server();
    let mut input = b"endianness\n\n".to_vec();
    input.extend(vec![b'y'; 2 * LINE_BYTES_MAX]);
    input.extend(b"\ninb 0x80\nendianness");
    let mut output = Vec::new();
    server.serve(&input[..], &mut output).expect("memory does not fail");
    let text = String::from_utf8(output).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[1].starts_with("FAIL line longer than"));
    assert_eq!((lines[0], lines[2], lines[3]), ("OK little", "OK 0x00ff", "OK little"));
}
