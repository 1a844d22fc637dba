//! Whether this machine can build for CUDA, and has a device.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// What was found; asking takes a process each.
static NVCC: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    let candidates = homes.map(|home| PathBuf::from(home).join("bin/nvcc")).chain([PathBuf::from("nvcc")]);
    candidates.into_iter().find(|nvcc| prints(nvcc.as_os_str(), &["--version"]).is_some())
});

static DEVICE: LazyLock<Option<String>> = LazyLock::new(|| {
    nvcc()?;
    let devices = prints("nvidia-smi".as_ref(), &["--query-gpu=name", "--format=csv,noheader"])?;
    devices.lines().next().map(str::to_owned).filter(|name| !name.is_empty())
});

/// The compiler of the CUDA toolkit: that of `CUDA_HOME` or `CUDA_PATH`, or the one on the path.
pub(crate) fn nvcc() -> Option<&'static PathBuf> {
    NVCC.as_ref()
}

/// The first device, where there are a compiler and a device.
pub(crate) fn found() -> Option<&'static str> {
    DEVICE.as_deref()
}

/// Where runs compute unless somebody says otherwise.
pub(crate) fn default_device() -> &'static str {
    if found().is_some() { "cuda" } else { "cpu" }
}

/// What a program prints, if it runs and succeeds.
fn prints(program: &std::ffi::OsStr, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
