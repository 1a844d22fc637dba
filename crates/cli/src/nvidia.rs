//! What this machine has for CUDA, found without using it: so the program that is built without CUDA finds it too.

use std::process::Command;

/// Lines of `doctor` on CUDA: what there is, and what is wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// What there is, as `driver 580.65.06`.
    pub(crate) found: Vec<String>,
    /// What is wrong, and what to do about it.
    pub(crate) wrong: Vec<String>,
}

/// The libraries that the CUDA program is linked to, with what each belongs to.
const LIBRARIES: [(&str, &str); 7] = [
    ("libcuda.so.1", "the driver"),
    ("libcudart.so.13", "the CUDA toolkit"),
    ("libcublas.so.13", "the CUDA toolkit"),
    ("libcublasLt.so.13", "the CUDA toolkit"),
    ("libcurand.so.10", "the CUDA toolkit"),
    ("libnvrtc.so.13", "the CUDA toolkit"),
    ("libcudnn.so.9", "cuDNN"),
];

/// The oldest compute capability that TF32 and bf16 have.
const AMPERE: f64 = 8.0;

/// Looks for driver, devices, toolkit and libraries.
pub(crate) fn look() -> Findings {
    let mut findings = Findings::default();
    let query = "--query-gpu=index,name,driver_version,compute_cap,memory.total,memory.free";
    match output("nvidia-smi", &[query, "--format=csv,noheader,nounits"]) {
        Some(devices) => devices.lines().for_each(|line| device(line, &mut findings)),
        None => findings.wrong.push("nvidia-smi doesn't run: no NVIDIA driver, or no device".to_owned()),
    }
    match output("nvcc", &["--version"]).as_deref().map(release) {
        Some(Some(release)) => findings.found.push(format!("toolkit {release} (nvcc)")),
        _ => findings.found.push("no nvcc on the path: it is needed to build, not to run".to_owned()),
    }
    for (library, of) in LIBRARIES {
        if !loads(library) {
            let wrong = format!("{library} isn't found: install {of}, or add its folder to LD_LIBRARY_PATH");
            findings.wrong.push(wrong);
        }
    }
    findings
}

/// Reads a line of `nvidia-smi`.
fn device(line: &str, findings: &mut Findings) {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [index, name, driver, capability, total, free] = fields[..] else {
        findings.wrong.push(format!("nvidia-smi says `{line}`, expected six fields"));
        return;
    };
    findings.found.push(format!(
        "cuda:{index}: {name}, compute capability {capability}, {free} of {total} MiB free, driver {driver}"
    ));
    if capability.parse::<f64>().is_ok_and(|capability| capability < AMPERE) {
        findings.wrong.push(format!("cuda:{index} has no TF32: expected compute capability 8.0 or higher"));
    }
}

/// The release in what `nvcc --version` prints.
fn release(text: &str) -> Option<String> {
    let rest = text.split("release ").nth(1)?;
    Some(rest.split(',').next()?.trim().to_owned())
}

/// What a program prints, if it runs and succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the loader finds a library.
#[cfg(unix)]
fn loads(library: &str) -> bool {
    let Ok(name) = std::ffi::CString::new(library) else { return false };
    // SAFETY: the name ends in zero; the libraries asked for are those that the CUDA program is linked to anyway, and
    // loading one does nothing but fill its own tables.
    unsafe {
        let handle = libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL);
        if !handle.is_null() {
            libc::dlclose(handle);
        }
        !handle.is_null()
    }
}

#[cfg(not(unix))]
fn loads(_: &str) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_old_ones_noted() {
        let mut findings = Findings::default();
        device("0, NVIDIA H100 80GB HBM3, 580.159.04, 9.0, 81559, 81000", &mut findings);
        assert!(findings.wrong.is_empty());
        assert_eq!(
            findings.found,
            [
                "cuda:0: NVIDIA H100 80GB HBM3, compute capability 9.0, 81000 of 81559 MiB free, driver 580.159.04"
            ]
        );
        device("1, Tesla V100, 550.1, 7.0, 16160, 16000", &mut findings);
        device("No devices were found", &mut findings);
        assert_eq!(findings.wrong.len(), 2, "{findings:?}");
    }

    #[test]
    fn the_release_of_nvcc() {
        let text = "Cuda compilation tools, release 13.0, V13.0.88\nBuild cuda_13.0";
        assert_eq!(release(text).as_deref(), Some("13.0"));
        assert_eq!(release("something else"), None);
    }
}
