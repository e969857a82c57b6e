//! What a case may have a subject offer by fw_cfg beside the machine's own files.

/// The option ROM of the set-up `option-rom`: its file's name and its bytes. No firmware runs it.
pub const OPTION_ROM: (&str, &[u8]) = ("touchstone.bin", b"\x55\xaa\x01 no code, and no checksum either");

/// The file of the set-up `fw-cfg-file`: its name, as long as a name may be, and its text.
pub const FW_CFG_FILE: (&str, &str) = (
    "opt/touchstone/a-name-as-long-as-the-directory-can-hold",
    "what a user gave",
);
