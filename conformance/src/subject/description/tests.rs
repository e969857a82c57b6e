use rstest::rstest;

use super::*;
use crate::layout::{QEMU_7_2, RUST_VMM};

const SMALL: &str = r#"
name = "mine"
title = "A VMM"
profiles = ["qemu-7.2"]
[arguments]
ram = ["--memory", "{ram-mib}"]
[machine-options]
rtc = ",rtc={value}"
[devices]
virtio-rng = ["--rng"]
virtio-blk = ["--disk", "{device}:{disk}"]
[[wire]]
command = ["mine", "--machine=microvm{machine-options}", "{setup}", "--listen", "{socket}"]
"#;

fn words(setup: &Setup) -> Result<Vec<String>, Stop> {
    let description = Description::parse("small.toml", SMALL).expect("parses");
    let places = Places {
        socket: "/s".to_owned(),
        ..Places::default()
    };
    description.prepare(&description.wire[0], setup, &QEMU_7_2, &places)
}

#[test]
fn command_template_is_filled_from_the_set_up() {
    let words = words(&Setup::DEFAULT).expect("can be had");
    assert_eq!(
        words,
        ["mine", "--machine=microvm,rtc=on", "--memory", "128", "--listen", "/s"]
    );
}

#[test]
fn profile_without_a_part_is_not_asked_for_it() {
    let words = r#"
firmware = ["--rom", "{halt-bios}"]
modern = ["--v2"]
rtc-base = ["--date", "{rtc-base}"]
[machine-options]"#;
    let text = SMALL.replace("[machine-options]", words);
    let text = text.replace("[[wire]]", "[[wire]]\ncaps = [\"firmware\"]");
    let description = Description::parse("small.toml", &text).expect("parses");
    let line = |layout| {
        let places = Places {
            halt_bios: "/rom".to_owned(),
            ..Places::default()
        };
        let line = description.prepare(&description.wire[0], &Setup::DEFAULT, layout, &places);
        line.expect("can be had").join(" ")
    };
    assert_eq!(
        line(&QEMU_7_2),
        "mine --machine=microvm,rtc=on --memory 128 --date 2020-02-28T23:59:50 --rom /rom --listen "
    );
    assert_eq!(line(&RUST_VMM), "mine --machine=microvm --memory 128 --v2 --listen ");
}

#[test]
fn way_of_starting_may_name_its_profiles() {
    let text = SMALL.replace("[\"qemu-7.2\"]", "[\"microvm-2019\", \"qemu-7.2\", \"rust-vmm\"]");
    let first = Description::parse("small.toml", &text).expect("parses");
    assert!(first.wire[0].is_started_as("microvm-2019", true));
    assert!(!first.wire[0].is_started_as("rust-vmm", false), "the first only");
    let named = text.replace("[[wire]]", "[[wire]]\nprofiles = [\"rust-vmm\"]");
    let named = Description::parse("small.toml", &named).expect("parses");
    assert!(!named.wire[0].is_started_as("microvm-2019", true));
    assert!(named.wire[0].is_started_as("rust-vmm", false));
    let unknown = SMALL.replace("[[wire]]", "[[wire]]\nprofiles = [\"rust-vmm\"]");
    let error = Description::parse("small.toml", &unknown).expect_err("not the subject's");
    assert_eq!(
        error.to_string(),
        "small.toml: [[wire]] number 1: profiles: 'rust-vmm' is no profile of the subject; choose from qemu-7.2"
    );
}

#[test]
fn each_disk_has_its_own_image() {
    let text = SMALL.replace("[machine-options]", "modern = []\n[machine-options]");
    let description = Description::parse("small.toml", &text).expect("parses");
    let setup = Setup {
        modern: true,
        devices: &["virtio-blk", "virtio-blk"],
        ..Setup::DEFAULT
    };
    let places = Places {
        disks: vec![Some("/a".to_owned()), Some("/b".to_owned())],
        ..Places::default()
    };
    let line = description.prepare(&description.wire[0], &setup, &QEMU_7_2, &places);
    let line = line.expect("can be had").join(" ");
    assert!(line.contains("--disk 0:/a --disk 1:/b"), "{line}");
    let wrong = text.replace("--rng", "{disc}");
    let error = Description::parse("small.toml", &wrong).expect_err("stands for nothing");
    assert!(error.problem.contains("'{disc}' in"), "{error}");
    let elsewhere = text.replace("--listen", "{disk}");
    Description::parse("small.toml", &elsewhere).expect_err("a command has no disk of its own");
}

#[rstest]
#[case(Setup { devices: &["virtio-gpu"], ..Setup::DEFAULT }, "transports of version 1")]
#[case(Setup { modern: true, ..Setup::DEFAULT }, "transports of version 2")]
#[case(Setup { cpus: 2, cpus_max: 2, ..Setup::DEFAULT }, "a number of CPUs")]
#[case(Setup { options: &[("pic", "off")], ..Setup::DEFAULT }, "machine option 'pic'")]
fn set_up_without_words_is_unavailable(#[case] setup: Setup, #[case] reason: &str) {
    match words(&setup) {
        Err(Stop::Unavailable(text)) => assert!(text.contains(reason), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case("name = ", "f.toml:1:8: ")]
#[case("name = 3", "f.toml:1:8: invalid type: integer `3`, expected a string")]
#[case(
    "name = \"x\"\ntitle = \"x\"\nprofiles = []\nwheels = 4",
    "f.toml:4:1: unknown field `wheels`"
)]
#[case("name = \"x\"\nprofiles = []", "f.toml:1:1: missing field `title`")]
#[case(
    "name = \"X\"\ntitle = \"x\"\nprofiles = [\"qemu-7.2\"]",
    "f.toml: name = \"X\": use lower-case"
)]
#[case(
    "name = \"x\"\ntitle = \"x\"\nprofiles = [\"pc\"]",
    "f.toml: profiles: 'pc' is no profile; choose from microvm-2019"
)]
#[case(
    "name = \"x\"\ntitle = \"x\"\nprofiles = [\"qemu-7.2\"]",
    "f.toml: nothing to start: add a [[wire]]"
)]
#[case(
    "name = \"x\"\ntitle = \"x\"\nprofiles = [\"qemu-7.2\"]\n[[wire]]\ncommand = []",
    "f.toml: [[wire]] number 1: command is empty"
)]
#[case(
    "name = \"x\"\ntitle = \"x\"\nprofiles = [\"qemu-7.2\"]\n[[wire]]\ncommand = [\"a\"]\ncaps = [\"wings\"]",
    "f.toml: [[wire]] number 1: caps: 'wings' is no capability; choose from clock"
)]
#[case(
    "name = \"x\"\ntitle = \"x\"\nprofiles = [\"qemu-7.2\"]\n[[wire]]\ncommand = [\"a\", \"{sock}\"]",
    "f.toml: [[wire]] number 1: '{sock}' in \"{sock}\" stands for nothing"
)]
#[case(
    "name = \"x\"\ntitle = \"x\"\nprofiles = [\"qemu-7.2\"]\n[[cpu]]\ncommand = [\"a\"]\n[[cpu]]\ncommand = [\"b\"]",
    "f.toml: [[cpu]] number 2: name = \"\" is taken"
)]
fn malformed_file_is_one_line_with_the_place(#[case] text: &str, #[case] start: &str) {
    let message = Description::parse("f.toml", text).expect_err("malformed").to_string();
    assert!(message.starts_with(start), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn second_way_of_starting_may_be_for_some_areas_and_without_some_options() {
    let limits = "areas = [\"ioapic\"]\ncannot = [\"rtc=on\"]\n[[wire]]\nname = \"first\"\ncommand = [\"mine\"]\n";
    let text = format!("{SMALL}{limits}");
    let description = Description::parse("small.toml", &text).expect("parses");
    assert_eq!(description.wire[0].areas, ["ioapic"]);
    let refusal = description.prepare(&description.wire[0], &Setup::DEFAULT, &QEMU_7_2, &Places::default());
    let expected = Stop::Unavailable("subject 'mine' started as '' cannot be given rtc=on".to_owned());
    assert_eq!(refusal.expect_err("the default has a clock"), expected);
    let off = Setup {
        options: &[("rtc", "off")],
        ..Setup::DEFAULT
    };
    let line = description.prepare(&description.wire[0], &off, &QEMU_7_2, &Places::default());
    line.expect("can be had");
}

#[rstest]
#[case::area(
    "areas = [\"frob\"]",
    "[[wire]] number 1: areas: 'frob' is the area of no case; choose from absent,"
)]
#[case::areas("areas = \"rtc\"", "invalid type: string \"rtc\", expected a sequence")]
#[case::word(
    "cannot = [\"rtc\"]",
    "[[wire]] number 1: cannot: \"rtc\" is no OPTION=VALUE, such as \"pic=off\""
)]
#[case::option("cannot = [\"pic=off\"]", "cannot: \"pic=off\": [machine-options] has no 'pic'")]
fn limits_of_a_way_of_starting_are_checked(#[case] line: &str, #[case] part: &str) {
    let error = Description::parse("small.toml", &format!("{SMALL}{line}\n")).expect_err("names nothing");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn device_that_opens_but_is_not_kvm_is_no_kvm() {
    let problem = kvm_problem_at(c"/dev/null").expect("not KVM");
    assert!(
        problem.starts_with("/dev/kvm cannot be used here: it is not KVM: "),
        "{problem}"
    );
    let problem = kvm_problem_at(c"/dev/no-such-device").expect("not there");
    assert!(problem.contains("No such file or directory"), "{problem}");
}

#[rstest]
#[case::file_name("[files]\n\"a/b\" = \"x\"\n", "[files] 'a/b': a name is letters, digits")]
#[case::file_unused("[files]\n\"a.json\" = \"{}\"\n", "[files] 'a.json': no command has {file:a.json}")]
#[case::file_unknown(
    "[[cpu]]\ncommand = [\"x\", \"{file:b}\"]\n",
    "'{file:b}' in \"{file:b}\" stands for nothing; choose"
)]
#[case::in_file(
    "[files]\na = \"{ram}\"\n[[cpu]]\ncommand = [\"x\", \"{file:a}\"]\n",
    "[files] 'a': '{ram}' in \"{ram}\" stands for nothing; choose from profile,"
)]
#[case::device(
    "[devices.virtio-net]\nwords = 3\n",
    "words such as [\"--rng\"], or a piece of a file as { insert"
)]
#[case::lost(
    "[devices.virtio-net]\ninsert = \"nets\"\ntext = \"x\"\n",
    "devices: virtio-net: no text of [files] has {insert:nets}, so its piece would be lost"
)]
#[case::initrd_lost(
    "[arguments.initrd]\ninsert = \"initrd\"\ntext = \"x\"\n",
    "arguments: initrd: no text of [files] has {insert:initrd}, so its piece would be lost"
)]
#[case::initrd_names(
    "[arguments.initrd]\ninsert = \"initrd\"\ntext = \"{disk}\"\n[files]\na = \"{insert:initrd}\"\n\
     [[cpu]]\ncommand = [\"x\", \"{file:a}\"]\n",
    "'{disk}' in \"{disk}\" stands for nothing; choose from profile,"
)]
#[case::ends_by(
    "[[guest]]\ncommand = [\"x\"]\nends-by = \"acpi\"\n",
    "ends-by: 'acpi' ends no machine; choose from debug-exit, i8042, triple-fault, halt, or write PORT:BYTE"
)]
#[case::ends_by_byte(
    "[[cpu]]\ncommand = [\"x\"]\nends-by = \"0x64:0x100\"\n",
    "'0x64:0x100' ends no machine"
)]
#[case::serial(
    "[[cpu]]\ncommand = [\"x\"]\nserial = \"tty\"\n",
    "unknown variant `tty`, expected one of `none`, `stdio`, `pty`,"
)]
#[case::qtest(
    "[[cpu]]\ncommand = [\"x\"]\nserial = \"qtest\"\n",
    "[[cpu]] number 1: serial: \"qtest\" is for [[wire]]"
)]
#[case::no_socket(
    "[[cpu]]\ncommand = [\"x\"]\nserial = \"listens\"\n",
    "but the command does not say {socket}"
)]
#[case::socket(
    "[[cpu]]\ncommand = [\"x\", \"{socket}\"]\n",
    "command: {socket} is nobody's; say serial ="
)]
#[case::profile(
    "[[profile]]\nname = \"x\"\nbase = \"qemu-7.2\"\n",
    "[[profile]] 'x' is not among profiles; add it there"
)]
fn what_a_stranger_may_get_wrong_is_named(#[case] lines: &str, #[case] part: &str) {
    let text = format!(
        "{}{lines}",
        SMALL
            .replace("[devices]\nvirtio-rng = [\"--rng\"]\n", "")
            .replace("virtio-blk = [\"--disk\", \"{device}:{disk}\"]\n", "")
    );
    let error = Description::parse("small.toml", &text).expect_err("wrong");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn values_in_a_json_file_are_escaped_and_pieces_have_commas() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = r#"
name = "mine"
title = "A VMM"
profiles = ["rust-vmm"]
[arguments]
modern = []
kernel = []
append = []
[files]
"vm.json" = '{ "append": "{append}", "disks": [{insert:disks}] }'
[devices]
virtio-blk = { insert = "disks", text = '{ "id": {device}, "path": "{disk}" }' }
[[cpu]]
command = ["mine", "{setup}", "{file:vm.json}"]
"#;
    let description = Description::parse("small.toml", text).expect("parses");
    let setup = Setup {
        devices: &["virtio-blk", "virtio-blk"],
        ..Setup::DEFAULT
    };
    let places = Places {
        folder: folder.path().to_owned(),
        kernel: Some("k".to_owned()),
        append: "a=\"b\" \\".to_owned(),
        disks: vec![Some("/a".to_owned()), Some("/b".to_owned())],
        ..Places::default()
    };
    let line = description
        .prepare(&description.cpu[0], &setup, &RUST_VMM, &places)
        .expect("can be had");
    assert_eq!(line.len(), 2);
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&line[1]).expect("written")).expect("JSON");
    assert_eq!(json["append"], places.append);
    assert_eq!(json["disks"][1]["path"], "/b");
}

#[test]
fn initial_ram_disk_may_be_a_piece_of_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = include_str!("../../../subjects/firecracker.toml");
    let description = Description::parse("firecracker.toml", text).expect("parses");
    let layout = description.layout("firecracker").expect("its own");
    let mut places = Places {
        folder: folder.path().to_owned(),
        kernel: Some("k".to_owned()),
        append: "a".to_owned(),
        ..Places::default()
    };
    let config = |places: &Places| -> serde_json::Value {
        let words = description.prepare(&description.guest[0], &Setup::DEFAULT, layout, places);
        assert!(!words.expect("can be had").iter().any(|word| word.contains("/i\"")));
        let file = folder.path().join("config.json");
        serde_json::from_str(&std::fs::read_to_string(file).expect("written")).expect("JSON")
    };
    assert!(config(&places)["boot-source"].get("initrd_path").is_none());
    places.initrd = Some("/i\"".to_owned());
    assert_eq!(config(&places)["boot-source"]["initrd_path"], "/i\"");
}

#[test]
fn machine_may_have_its_own_order_of_devices() {
    let text = include_str!("../../../subjects/firecracker.toml");
    let description = Description::parse("firecracker.toml", text).expect("parses");
    let setup = |devices| Setup {
        devices,
        ..Setup::DEFAULT
    };
    let given = description.devices_of(&setup(&["virtio-rng", "virtio-blk", "virtio-net", "virtio-blk-ro"]));
    assert_eq!(given, ["virtio-blk", "virtio-rng", "virtio-blk-ro"]);
    let small = Description::parse("small.toml", SMALL).expect("parses");
    let given = small.devices_of(&setup(&["virtio-rng", "virtio-blk", "virtio-net"]));
    assert_eq!(given, ["virtio-rng", "virtio-blk"]);
    let wrong = text.replace("[\"virtio-blk\", ", "[\"virtio-gpu\", ");
    let error = Description::parse("firecracker.toml", &wrong).expect_err("no such device");
    assert_eq!(error.problem, "device-order: 'virtio-gpu' is not among [devices]");
}

#[test]
fn bz_image_has_words_of_its_own() {
    let text = SMALL.replace(
        "[machine-options]",
        "modern = []\nkernel = [\"--elf\", \"{kernel}\"]\n[machine-options]",
    );
    let line = |text: &str, is_bz_image| {
        let places = Places {
            kernel: Some("k".to_owned()),
            is_bz_image,
            ..Places::default()
        };
        let description = Description::parse("small.toml", text).expect("parses");
        let words = description.prepare(&description.wire[0], &Setup::DEFAULT, &RUST_VMM, &places);
        words.map(|words| words.join(" "))
    };
    assert!(line(&text, false).expect("can be had").contains(" --elf k "));
    let refused = Stop::Unavailable("subject 'mine' cannot be given a bzImage".to_owned());
    assert_eq!(line(&text, true), Err(refused));
    let both = text.replace("kernel = ", "bz-image = [\"--bz\", \"{kernel}\"]\nkernel = ");
    assert!(line(&both, true).expect("can be had").contains(" --bz k "));
}
