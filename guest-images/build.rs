//! Linker arguments of the image binaries, and of nothing else in this package.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
    let script = format!("-Wl,-T,{package}/link.ld");
    for image in ["agent", "delivery", "halt", "probe", "reset", "smp", "toll"] {
        for argument in [
            "-nostdlib",
            "-nostartfiles",
            "-static",
            "-no-pie",
            "-Wl,-z,norelro",
            "-Wl,-z,max-page-size=4096",
            "-Wl,--build-id=none",
            &script,
        ] {
            println!("cargo:rustc-link-arg-bin={image}={argument}");
        }
    }
}
