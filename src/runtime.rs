//! Where the arithmetic runs: device, dtype and threads, and what of libtorch and CUDA
//! this machine has.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device, Tensor};

use crate::error::{Error, Result};
use crate::shim;

pub use crate::memory::keep_memory;
pub(crate) use crate::memory::scratch;

/// The version of libtorch that this was built against.
pub const LIBTORCH_VERSION: &str = env!("CELLWAY_LIBTORCH");

/// A device as it is asked for: `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device that works, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this number; an error where it cannot be used.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(number)) => Ok(DeviceChoice::Cuda(number)),
                _ => Err(Error::Device {
                    device: text.to_owned(),
                    message: "takes auto, cpu, cuda or cuda:N".to_owned(),
                }),
            },
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl DeviceChoice {
    /// The device, after loading what CUDA needs.
    ///
    /// Errors if a CUDA device is asked for that cannot be used, with the
    /// reason; never falls back to the CPU in silence.
    pub fn resolve(self) -> Result<Device> {
        let message = match self {
            DeviceChoice::Cpu => return Ok(Device::Cpu),
            DeviceChoice::Auto => {
                return Ok(cuda().as_ref().map_or(Device::Cpu, |_| Device::Cuda(0)));
            }
            DeviceChoice::Cuda(number) => match cuda() {
                Ok(count) if number < *count => return Ok(Device::Cuda(number)),
                Ok(count) => format!("there are {count} CUDA devices, counted from cuda:0"),
                Err(reason) => reason.clone(),
            },
        };
        Err(Error::Device {
            device: self.to_string(),
            message,
        })
    }
}

/// The most threads that may be asked for.
const THREADS: usize = 1024;

/// Sets the number of threads of libtorch's operations.
pub fn set_threads(count: usize) -> Result<()> {
    if !(1..=THREADS).contains(&count) {
        let message = format!("must be 1 to {THREADS}, not {count}");
        return Err(Error::config("threads", message));
    }
    tch::set_num_threads(count as i32);
    Ok(())
}

/// Whether products of f32 on CUDA may be rounded to TF32 (10 bits), which both
/// cuDNN and cuBLAS can do; libtorch's own default is a mixture. Call it before
/// anything else of this module: the libraries ask once, when they start.
#[cfg(feature = "cli")]
pub(crate) fn set_tf32(allowed: bool) {
    let (name, value) = match allowed {
        true => ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1"),
        false => ("NVIDIA_TF32_OVERRIDE", "0"),
    };
    // SAFETY: the command line calls this while no other thread is there but one that
    // waits for signals, so that nobody reads the environment at the same time.
    unsafe { std::env::set_var(name, value) };
}

/// Only operations whose results do not depend on the order in which threads arrive,
/// as `torch.use_deterministic_algorithms`; one that has no such form is an error. The
/// same bits then come from the same device, driver and libraries, and on the CPU
/// from as many threads; not from others. Call it before anything else of this
/// module: cuBLAS asks once, when it starts.
#[cfg(feature = "cli")]
pub(crate) fn set_deterministic() -> Result<()> {
    const WORKSPACE: &str = "CUBLAS_WORKSPACE_CONFIG";
    if std::env::var_os(WORKSPACE).is_none() {
        // SAFETY: as above.
        unsafe { std::env::set_var(WORKSPACE, ":4096:8") };
    }
    shim::deterministic()
}

/// A tensor of the host on this device. The host does not wait for a copy to CUDA: it
/// goes through pinned memory, which libtorch keeps until the copy is done.
pub(crate) fn upload(host: &Tensor, device: Device) -> Tensor {
    match device {
        Device::Cuda(_) => {
            let pinned = host.pin_memory(device);
            pinned.to_device_(device, host.kind(), true, false)
        }
        _ => host.to_device(device),
    }
}

/// Whether a message of libtorch means that memory does not suffice, of the CPU or of
/// a CUDA device.
pub fn says_out_of_memory(message: &str) -> bool {
    [
        "out of memory",
        "can't allocate memory",
        "not enough memory",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// Ends the process. libtorch's own way out takes its tables of operations apart, a
/// quarter of the time of a small command; the memory goes back to the system anyway.
///
/// Nothing is dropped: call it where `main` would return.
pub fn leave(code: u8) -> ! {
    // Where nobody reads any more there is nobody to tell.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
    // SAFETY: ends the process at once; nothing of it runs afterwards.
    unsafe { nix::libc::_exit(code.into()) }
}

/// The number of usable CUDA devices, or why there is none. The first call
/// loads libtorch's CUDA half where the machine has a driver.
pub fn cuda() -> &'static Result<usize, String> {
    static CUDA: OnceLock<Result<usize, String>> = OnceLock::new();
    CUDA.get_or_init(|| {
        if !has_driver() {
            return Err("no NVIDIA driver here (libcuda.so.1 does not load); \
                        install it, or use `device` cpu"
                .to_owned());
        }
        load_libtorch_cuda()?;
        match Cuda::device_count() {
            count if count > 0 && Cuda::is_available() => Ok(count as usize),
            _ => Err(
                "libtorch finds no CUDA device; see whether nvidia-smi lists one, \
                      and what CUDA_VISIBLE_DEVICES says"
                    .to_owned(),
            ),
        }
    })
}

/// Whether the NVIDIA driver's library loads.
pub fn has_driver() -> bool {
    open("libcuda.so.1").is_ok()
}

/// The linker drops `libtorch_cuda.so`, since no symbol of it is named in our
/// binary, and libtorch finds CUDA only if it is in the process before the first
/// question about CUDA. Loaded here and not linked, one binary starts quickly
/// and serves machines with and without CUDA.
fn load_libtorch_cuda() -> Result<(), String> {
    let name = "libtorch_cuda.so";
    let path = libtorch_folder().map_or_else(|| name.into(), |folder| folder.join(name));
    open(&path).map_err(|error| {
        format!(
            "there is a driver, but this libtorch has no usable CUDA half ({error}); \
             run scripts/setup without --cpu"
        )
    })
}

fn open(name: impl AsRef<Path>) -> Result<(), String> {
    // SAFETY: runs the initialisers of NVIDIA's driver library or of libtorch's
    // CUDA half, which are made to be loaded at any time; nothing is called
    // through the handle, and it is never closed.
    let library = unsafe { Library::open(Some(name.as_ref()), RTLD_NOW | RTLD_GLOBAL) };
    library
        .map(std::mem::forget)
        .map_err(|error| error.to_string())
}

/// The folder of the libtorch that runs in this process.
pub fn libtorch_folder() -> Option<PathBuf> {
    loaded("libtorch_cpu.so").and_then(|path| path.parent().map(PathBuf::from))
}

/// Where a shared library of this process was loaded from, by the start of its
/// file name.
pub fn loaded(name: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines()
        .filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])))
        .find(|path| {
            path.file_name()
                .is_some_and(|file| file.to_string_lossy().starts_with(name))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda:3", DeviceChoice::Cuda(3)),
        ] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap(), choice);
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!(
            "cuda".parse::<DeviceChoice>().unwrap(),
            DeviceChoice::Cuda(0)
        );
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            let error = wrong.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains("takes auto, cpu, cuda or cuda:N"), "{error}");
        }
    }

    #[test]
    fn a_missing_cuda_device_is_an_error_with_the_reason() {
        let far = DeviceChoice::Cuda(4096).resolve().unwrap_err().to_string();
        match cuda() {
            Ok(_) => assert!(far.contains("CUDA devices"), "{far}"),
            Err(reason) => {
                assert_eq!(far, format!("device cuda:4096: {reason}"));
                assert_eq!(DeviceChoice::Auto.resolve().unwrap(), Device::Cpu);
            }
        }
        assert_eq!(DeviceChoice::Cpu.resolve().unwrap(), Device::Cpu);
    }

    #[test]
    fn libtorch_is_found_in_the_process() {
        let _ = tch::Tensor::from(1.0);
        assert!(libtorch_folder().unwrap().join("libtorch_cpu.so").exists());
    }

    #[test]
    fn no_threads_are_refused() {
        assert!(
            set_threads(0)
                .unwrap_err()
                .to_string()
                .contains("1 to 1024")
        );
    }
}
