//! What makes a start short, where the linker can: each command is one.
//!
//! The unwinder of C is linked in rather than loaded: a tenth of a millisecond, and nothing else needs it. The functions
//! that short commands run lie side by side (`benches/order.py` says why, and which they are).

fn main() {
    let told = |name| std::env::var(name).unwrap_or_default();
    let gnu = told("CARGO_CFG_TARGET_OS") == "linux" && told("CARGO_CFG_TARGET_ENV") == "gnu";
    if gnu {
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
    // Where Rust links with its own lld, unless another is asked for.
    let lld = gnu && told("CARGO_CFG_TARGET_ARCH") == "x86_64" && !told("CARGO_ENCODED_RUSTFLAGS").contains("link");
    if lld && told("PROFILE") == "release" {
        println!(
            "cargo::rustc-link-arg-bins=-Wl,--symbol-ordering-file={}/benches/start.order",
            told("CARGO_MANIFEST_DIR")
        );
        println!("cargo::rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=benches/start.order");
}
