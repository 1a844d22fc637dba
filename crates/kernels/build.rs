//! Compiles the kernels with nvcc, where the feature `cuda` is on.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=cuda");
    for variable in ["CUDA_COMPUTE_CAP", "CUDA_HOME", "CUDA_PATH", "NVCC"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    if let Err(error) = compile() {
        println!("cargo::error={error}");
    }
}

/// Machine code for the device at hand, or the one that `CUDA_COMPUTE_CAP` names, and PTX for later ones.
fn compile() -> Result<(), String> {
    let folder = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let capability = capability()?;
    let target = format!("arch=compute_{capability},code=[sm_{capability},compute_{capability}]");
    let nvcc = nvcc();
    let output = Command::new(&nvcc)
        .args(["-std=c++17", "-O3", "-lineinfo", "-Werror", "all-warnings", "-gencode", &target, "-fatbin"])
        .arg("cuda/kernels.cu")
        .arg("-o")
        .arg(folder.join("kernels.fatbin"))
        .output()
        .map_err(|error| format!("{}: {error}; the feature `cuda` needs the CUDA toolkit", nvcc.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("nvcc: {}", text.lines().take(5).collect::<Vec<_>>().join("; ")))
}

fn nvcc() -> PathBuf {
    if let Some(nvcc) = env::var_os("NVCC") {
        return nvcc.into();
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os);
    homes
        .map(|home| PathBuf::from(home).join("bin/nvcc"))
        .find(|path| path.is_file())
        .unwrap_or("nvcc".into())
}

/// The compute capability as two digits, as `90`.
fn capability() -> Result<String, String> {
    let digits = |text: &str| text.trim().chars().filter(char::is_ascii_digit).collect::<String>();
    if let Ok(given) = env::var("CUDA_COMPUTE_CAP") {
        return Ok(digits(&given));
    }
    let asked =
        Command::new("nvidia-smi").args(["--query-gpu=compute_cap", "--format=csv,noheader"]).output();
    let line =
        asked.ok().and_then(|output| String::from_utf8(output.stdout).ok()?.lines().next().map(digits));
    line.filter(|digits| !digits.is_empty())
        .ok_or_else(|| "no device to ask for its compute capability: set CUDA_COMPUTE_CAP, as 90".to_owned())
}
