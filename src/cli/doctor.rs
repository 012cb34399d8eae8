//! `cellway doctor`: what this program is made of and what the machine has.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tch::utils;

use super::{say, say_json};
use crate::report::Table;
use crate::runtime;

/// The arguments of `cellway doctor`.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Findings {
    cellway: String,
    libtorch: String,
    libtorch_folder: Option<String>,
    onednn: bool,
    mkl: bool,
    openmp: bool,
    cpu_features: Vec<&'static str>,
    cores: usize,
    threads: i32,
    driver: Option<String>,
    cuda_runtime: Option<String>,
    cudnn: Option<String>,
    cuda_devices: usize,
    /// What does not work, and what to do.
    advice: Vec<String>,
}

impl Doctor {
    pub fn run(&self) -> Result<()> {
        let findings = examine();
        if self.json {
            return say_json(&findings);
        }
        let yes = |there: bool| if there { "yes" } else { "no" }.to_owned();
        let none = || "none".to_owned();
        let mut table = Table::new("", ["what", "found"]);
        for (what, found) in [
            ("cellway", findings.cellway),
            ("libtorch", findings.libtorch),
            ("loaded from", findings.libtorch_folder.unwrap_or_else(none)),
            ("oneDNN", yes(findings.onednn)),
            ("MKL", yes(findings.mkl)),
            ("OpenMP", yes(findings.openmp)),
            ("CPU features", findings.cpu_features.join(" ")),
            ("cores", findings.cores.to_string()),
            ("threads", findings.threads.to_string()),
            ("NVIDIA driver", findings.driver.unwrap_or_else(none)),
            ("CUDA runtime", findings.cuda_runtime.unwrap_or_else(none)),
            ("cuDNN", findings.cudnn.unwrap_or_else(none)),
            ("CUDA devices", findings.cuda_devices.to_string()),
        ] {
            table.row([what.to_owned(), found]);
        }
        say(&table)?;
        for advice in findings.advice {
            say(format!("\n{advice}"))?;
        }
        Ok(())
    }
}

fn examine() -> Findings {
    let cuda = runtime::cuda();
    let has_cuda = cuda.is_ok();
    let mut advice = Vec::new();
    if let Err(reason) = cuda {
        advice.push(format!("CUDA cannot be used: {reason}"));
    }
    let version = |number: i64, unit: i64| {
        format!("{}.{}.{}", number / unit, number % unit / 100, number % 100)
    };
    Findings {
        cellway: super::VERSION.to_owned(),
        libtorch: runtime::LIBTORCH_VERSION.to_owned(),
        libtorch_folder: runtime::libtorch_folder().map(|path| path.display().to_string()),
        onednn: utils::has_mkldnn(),
        mkl: utils::has_mkl(),
        openmp: utils::has_openmp(),
        cpu_features: cpu_features(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        threads: tch::get_num_threads(),
        driver: driver(),
        // libtorch aborts when it is asked for versions that it does not have.
        cuda_runtime: has_cuda.then(|| {
            let number = utils::version_cudart();
            format!("{}.{}", number / 1000, number % 1000 / 10)
        }),
        cudnn: has_cuda.then(|| version(utils::version_cudnn(), 10_000)),
        cuda_devices: *cuda.as_ref().unwrap_or(&0),
        advice,
    }
}

/// The driver's version, as its kernel module tells, or that it is there.
fn driver() -> Option<String> {
    if let Ok(text) = std::fs::read_to_string("/sys/module/nvidia/version") {
        return Some(text.trim().to_owned());
    }
    runtime::has_driver().then(|| "loads, its version is unknown".to_owned())
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let features = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
    ];
    features
        .into_iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| name)
        .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}
