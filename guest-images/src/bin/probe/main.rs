#![no_std]
#![no_main]
//! x
guest_images::image!(main: main, fatal: guest_images::boot::fatal);
fn main(start_info: u64) -> ! {
    let _ = start_info;
    guest_images::runtime::install();
    guest_images::boot::exit(0)
}
