//! Tells the linker where libtorch lies, so that the binary runs from any
//! folder without `LD_LIBRARY_PATH`, and the code which versions it is made of.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    for file in ["build.rs", "src/shim.cpp"] {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rustc-env=CELLWAY_COMMIT={}", commit());
    if env::var_os("CARGO_FEATURE_DOC_ONLY").is_some() {
        // Documentation needs neither libtorch nor a C++ compiler.
        println!("cargo:rustc-env=CELLWAY_LIBTORCH=unknown");
        return;
    }
    // torch-sys found libtorch and says where its shared libraries are.
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        panic!("torch-sys did not say where libtorch is; run scripts/setup and build again");
    };
    // The canonical path: `.libtorch` is a link that may be moved.
    let lib = fs::canonicalize(&lib).unwrap_or(lib);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    shim(&lib);
    println!(
        "cargo:rustc-env=CELLWAY_LIBTORCH={}",
        libtorch_version(&lib)
    );
}

/// Compiles the few lines of C++, as torch-sys compiles its own.
fn shim(lib: &Path) {
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .warnings(false)
        .include(lib.join("../include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .file("src/shim.cpp")
        .compile("cellway_shim");
}

/// The version that the headers state: `2.11.0`.
fn libtorch_version(lib: &Path) -> String {
    let header = lib.join("../include/torch/headeronly/version.h");
    println!("cargo:rerun-if-changed={}", header.display());
    let text = fs::read_to_string(&header).unwrap_or_default();
    let part = |name: &str| {
        let define = format!("#define TORCH_VERSION_{name} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&define))
            .map_or("?", str::trim)
    };
    format!("{}.{}.{}", part("MAJOR"), part("MINOR"), part("PATCH"))
}

/// The commit that this is built from, `-dirty` with changes beside it, or
/// `unknown` outside of a git checkout.
fn commit() -> String {
    for watched in ["HEAD", "index", "logs/HEAD"] {
        let path = Path::new(".git").join(watched);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .output();
    match described {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}
