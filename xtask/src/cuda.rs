//! Whether this machine can build for CUDA, and has a device.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result};

/// What was found; asking takes a process each.
static NVCC: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = homes.map(|home| PathBuf::from(home).join("bin")).chain(std::env::split_paths(&path));
    let mut candidates = folders.map(|folder| folder.join("nvcc")).filter(|nvcc| nvcc.is_file());
    candidates.find(|nvcc| prints(nvcc.as_os_str(), &["--version"]).is_some())
});

/// What a build is told where there is no toolkit, so that types can be checked: a compiler that makes empty files, and
/// answers to what would be asked of the toolkit and the device.
///
/// # Errors
/// If the compiler can't be written to `folder`.
pub(crate) fn stand_in(folder: &Path) -> Result<[(&'static str, String); 3]> {
    let path = folder.join("nvcc");
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(&path, STAND_IN)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    };
    write().with_context(|| path.display().to_string())?;
    let nvcc = path.to_str().context("the target folder's name is not UTF-8")?.to_owned();
    Ok([("NVCC", nvcc), ("CUDARC_CUDA_VERSION", "13000".to_owned()), ("CUDA_COMPUTE_CAP", "90".to_owned())])
}

/// `-o FILE`, or `--output-directory FOLDER` with `NAME.cu` for `FOLDER/NAME.ptx`.
const STAND_IN: &str = r#"#!/bin/sh
# Not a compiler: makes the files that nvcc would make, empty, so that types are checked without the CUDA toolkit.
folder=
while [ $# -gt 0 ]; do
    case "$1" in
        --version) echo "a stand-in, release 13.0, V13.0.0" ;;
        --list-gpu-code) echo sm_90 ;;
        -o) shift; : > "$1" ;;
        --output-directory) shift; folder=$1 ;;
        *.cu) if [ -n "$folder" ]; then : > "$folder/$(basename "$1" .cu).ptx"; fi ;;
    esac
    shift
done
"#;

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
