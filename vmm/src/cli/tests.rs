use super::*;

fn config(arguments: &[&str]) -> Result<Config, CliError> {
    let all = ["microvm", "qtest"].iter().chain(arguments);
    match Cli::parse_arguments(all)?.expect("not help").command {
        Command::Qtest(args) => Ok(args.parse()?.0),
        _ => panic!("qtest was asked for"),
    }
}

fn error(arguments: &[&str]) -> String {
    let error = config(arguments).expect_err("a usage error");
    assert_eq!(error.exit_code(), 2, "{error}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    text
}

#[test]
fn memory_takes_suffixes_and_rounds_up_to_eight_kibibytes() {
    let ram = |text| config(&["-m", text]).expect("a size").ram_bytes;
    assert_eq!(ram("64"), 64 << 20);
    assert_eq!(ram("2883580K"), 0xb000_0000);
    assert_eq!(ram("1.5G"), 1536 << 20);
    assert_eq!(ram("8193b"), 16384);
    assert_eq!(ram("0"), 128 << 20);
    for text in ["", "M", "-1", "1..2G", "1 G", "12Q", "1.G", "99999999999T", "17T", "٣M"] {
        assert!(
            error(&["-m", text]).starts_with(&format!("-m '{text}':")) || text == "-1",
            "{text}"
        );
    }
}

#[test]
fn machine_options_reach_the_configuration() {
    let machine =
        "microvm,profile=microvm-2019,pic=off,pit=auto,rtc=on,isa-serial=off,max-ram-below-4g=1537M,virtio-mmio=modern";
    let config = config(&["--machine", machine]).expect("valid");
    assert_eq!(
        (config.pic, config.pit, config.rtc),
        (OnOffAuto::Off, OnOffAuto::Auto, OnOffAuto::On)
    );
    assert_eq!(config.max_ram_below_4g, Some(1537 << 20));
    assert!(config.virtio_modern && !config.isa_serial);
}

#[test]
fn networks_and_consoles_reach_the_configuration() {
    let devices = [
        "--device",
        "virtio-net",
        "--device",
        "virtio-net,loopback=on,mac=52:54:00:AB:cd:01",
        "--device",
        "virtio-net",
        "--device",
        "virtio-console",
        "--device",
        "virtio-console,to=null,bus=virtio-mmio-bus.0",
        "--device",
        "virtio-console,loopback=on",
    ];
    let config = config(&devices).expect("valid");
    let peers: Vec<Peer> = config.devices.iter().map(|device| device.kind.peer()).collect();
    use Peer::{Loopback, Nobody};
    assert_eq!(peers, [Nobody, Loopback, Nobody, Nobody, Nobody, Loopback]);
    assert_eq!(config.mac(0), [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    assert_eq!(config.mac(1), [0x52, 0x54, 0, 0xab, 0xcd, 1]);
    assert_eq!(config.mac(2), [0x52, 0x54, 0, 0x12, 0x34, 0x58]);
    assert_eq!(config.devices[4].transport, Some(0));
}

#[test]
fn standard_input_has_one_reader() {
    let folder = tempfile::tempdir().expect("a folder");
    let bios = folder.path().join("bios.rom");
    std::fs::write(&bios, [0xf4; 0x1_0000]).expect("a small file");
    let bios = bios.to_str().expect("a plain path");
    let parse = |serial: &[&str]| {
        let program = ["microvm", "run", "--bios", bios, "--device", "virtio-console,to=stdio"];
        let cli = Cli::parse_arguments(program.iter().chain(serial))
            .expect("options")
            .expect("no help");
        let Command::Run(args) = cli.command else {
            panic!("it says run")
        };
        args.parse().map(|_| ())
    };
    let error = parse(&[]).expect_err("two readers").to_string();
    assert!(error.contains("standard input has a reader already"), "{error}");
    parse(&["--serial", "null"]).expect("one reader");
}

#[test]
fn wrong_values_name_option_value_and_fix() {
    for (arguments, want) in [
        (
            ["--machine", "pc"],
            "--machine: 'pc' is not understood: the machine is `microvm`, options are OPTION=VALUE",
        ),
        (
            ["--machine", "microvm,pic=bogus"],
            "--machine pic='bogus': pic is on, off or auto",
        ),
        (
            ["--machine", "microvm,isa-serial=2"],
            "--machine isa-serial='2': isa-serial is on or off",
        ),
        (
            ["--machine", "microvm,profile=x"],
            "--machine profile='x': profile is one of microvm-2019, qemu-7.2, rust-vmm",
        ),
        (
            ["--machine", "microvm,max-ram-below-4g=4296015872"],
            "--machine max-ram-below-4g='4296015872': max-ram-below-4g expects a size less than or equal to 4G",
        ),
        (
            ["--machine", "microvm,kernel-irqchip=off"],
            "--machine kernel-irqchip='off': kernel-irqchip is split or on: this VMM has no local APIC of its own and \
             takes KVM's",
        ),
        (["--smp", "0"], "--smp '0': '0' is not a number of CPUs from 1 to 65535"),
        (
            ["--rtc", "base=2020-02-30"],
            "--rtc base='2020-02-30': base is utc, localtime or a date such as 2020-02-28T23:59:50",
        ),
        (
            ["--rtc", "clock=host"],
            "--rtc clock=host: qtest knows virtual time only; write clock=vm or drop it",
        ),
        (
            ["--device", "virtio-gpu"],
            "--device 'virtio-gpu': unknown device; there are virtio-rng, virtio-blk, virtio-net, virtio-console",
        ),
        (
            ["--device", "virtio-net,mac=01:00:00:00:00:01"],
            "--device mac='01:00:00:00:00:01': mac is such as 52:54:00:12:34:56",
        ),
        (
            ["--device", "virtio-net,tap=a-name-of-sixteen"],
            "--device tap='a-name-of-sixteen': tap is a network interface's name, of 1 to 15 bytes",
        ),
        (
            ["--device", "virtio-net,tap=tap0,loopback=on"],
            "--device 'virtio-net,tap=tap0,loopback=on': loopback=on leaves no other end to connect; drop one of the \
             two",
        ),
        (
            ["--device", "virtio-net,tap=tap0"],
            "--device virtio-net: qtest has no host side to connect it to; write loopback=on instead",
        ),
        (
            ["--device", "virtio-console,to=tty"],
            "--device to='tty': to is stdio, null, file:FILE or unix:SOCKET",
        ),
        (
            ["--device", "virtio-console,to=stdio"],
            "--device virtio-console: qtest has no host side to connect it to; write loopback=on instead",
        ),
        (
            ["--device", "virtio-blk,readonly=on"],
            "--device 'virtio-blk,readonly=on': a block device needs its disk image; add file=FILE",
        ),
        (
            ["--device", "virtio-blk,file=x,cache=none"],
            "--device 'virtio-blk,file=x,cache=none': 'cache' is not understood; there are file=FILE, readonly=on|off \
             and bus=virtio-mmio-bus.N",
        ),
        (
            ["--device", "virtio-rng,file=x"],
            "--device 'virtio-rng,file=x': 'file' is not understood; there is bus=virtio-mmio-bus.N",
        ),
        (
            ["--device", "virtio-rng,bus=pci.0"],
            "--device bus='pci.0': bus is virtio-mmio-bus.N",
        ),
        (
            ["--append", "x"],
            "--append is only allowed with --kernel: give --kernel or drop it",
        ),
        (
            ["--debug-exit", "0x10000"],
            "--debug-exit '0x10000': write a port from 0 to 0xffff, as 0xf4",
        ),
    ] {
        assert_eq!(error(&arguments), want);
    }
    assert!(error(&["--nosuch", "1"]).starts_with("unexpected argument '--nosuch' found"));
}

#[test]
fn missing_file_is_a_failure_not_a_usage_error() {
    let error = config(&["--kernel", "/nonexistent/kernel"]).expect_err("no such file");
    assert_eq!(error.exit_code(), 1);
    assert!(
        error
            .to_string()
            .starts_with("--kernel '/nonexistent/kernel': No such file"),
        "{error}"
    );
}

#[test]
fn dates_count_from_1970() {
    let seconds = |text| parse_date_time(text).ok();
    assert_eq!(seconds("1970-01-01"), Some(0));
    assert_eq!(seconds("2000-01-01T00:00:00"), Some(946_684_800));
    assert_eq!(seconds("2020-02-28T23:59:50"), Some(1_582_934_390));
    assert_eq!(seconds("2020-02-29T00:00:00"), Some(1_582_934_400));
    assert_eq!(seconds("2019-02-29"), None);
    assert_eq!(seconds("2019-02-28T24:00:00"), None);
}

#[test]
fn doubled_comma_stands_for_one() {
    let config = config(&["--fw-cfg", "name=opt/a,string=x,,y"]).expect("valid");
    assert_eq!(config.fw_cfg_files, [("opt/a".to_owned(), b"x,y".to_vec())]);
}

#[test]
fn socket_listens_only_when_told() {
    let socket = |server| QtestSocket {
        path: "/s".into(),
        server,
    };
    assert_eq!(qtest_socket("unix:/s").expect("valid"), socket(false));
    assert_eq!(qtest_socket("unix:/s,server=on").expect("valid"), socket(true));
    assert!(qtest_socket("tcp:1").is_err());
}

#[test]
fn debug_console_prints_to_a_file_or_to_standard_output() {
    assert_eq!(debug_console_to("stdio").expect("valid"), DebugConsoleTo::Stdio);
    assert_eq!(
        debug_console_to("file:/f").expect("valid"),
        DebugConsoleTo::File("/f".into())
    );
    for text in ["", "file:", "null", "unix:/s"] {
        let error = debug_console_to(text).expect_err("refused").to_string();
        assert!(error.ends_with("write stdio or file:FILE"), "{error}");
    }
}

#[test]
fn ioeventfd_is_off_unless_asked_for() {
    let ioeventfd = |machine: &str| config(&["--machine", machine]).expect("valid").ioeventfd;
    assert!(!ioeventfd("microvm") && !ioeventfd("microvm,ioeventfd=off"));
    assert!(ioeventfd("microvm,ioeventfd=on"));
    assert_eq!(
        error(&["--machine", "microvm,ioeventfd=auto"]),
        "--machine ioeventfd='auto': ioeventfd is on or off"
    );
}
