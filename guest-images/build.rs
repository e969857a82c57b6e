//! Linker arguments of the image binaries, and of nothing else in this package.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
    for image in ["agent", "halt", "probe"] {
        for argument in [
            "-nostdlib",
            "-nostartfiles",
            "-static",
            "-no-pie",
            "-Wl,-z,norelro",
            "-Wl,-z,max-page-size=4096",
            "-Wl,--build-id=none",
            // Relative to the package, where cargo links: an absolute path would be one more machine name.
            concat!("-Wl,-T,", env!("CARGO_MANIFEST_DIR"), "/link.ld"),
        ] {
            println!("cargo:rustc-link-arg-bin={image}={argument}");
        }
    }
}
