//! Every case as one trial against the reference machine: `cargo nextest run rtc/` just works.

fn main() {}
