//! Kernels on the processor: their text, compiled by the system's C++ compiler and run thread by thread, for tests.
//!
//! `cuda/emulator.h` gives them what CUDA gives them, and looks for missing barriers and wrong arguments.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{Argument, Fault, KERNELS, Launch, Result};

/// Launches kernels on the processor; a launch has ended when it returns.
#[derive(Debug)]
pub struct Emulator {
    /// `emulate(kernel, columns, rows, block, arguments, kinds, reversed)` gives a message or null.
    emulate: Emulate,
    /// How often each kernel has been launched. Emulated blocks share memory, so one launch runs at a time.
    launches: Mutex<HashMap<&'static str, usize>>,
}

type Emulate = unsafe extern "C" fn(
    *const c_char,
    u32,
    u32,
    u32,
    *const *mut c_void,
    *const c_char,
    bool,
) -> *const c_char;

impl Emulator {
    /// The emulator, compiled when it is first asked for.
    ///
    /// # Errors
    /// If there is no C++ compiler, or it doesn't compile the kernels.
    pub fn get() -> Result<&'static Self> {
        static EMULATOR: OnceLock<Result<Emulator>> = OnceLock::new();
        EMULATOR.get_or_init(Self::build).as_ref().map_err(Fault::clone)
    }

    fn build() -> Result<Self> {
        let library = compile().map_err(|error| Fault::new(format!("emulator: {error}")))?;
        let path = CString::new(library.to_string_lossy().as_bytes())
            .map_err(|_| Fault::new("emulator: its path has a zero in it"))?;
        // SAFETY: both strings end in zero; the library is the one that was just compiled, and has no initialiser that
        // does more than fill its own variables.
        let symbol = unsafe {
            let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
            if library.is_null() {
                return Err(Fault::new(format!("emulator: {} can't be loaded", path.to_string_lossy())));
            }
            libc::dlsym(library, c"emulate".as_ptr())
        };
        // What is loaded needs no file any more.
        library.parent().map_or(Ok(()), std::fs::remove_dir_all).ok();
        if symbol.is_null() {
            return Err(Fault::new("emulator: it has no function to call"));
        }
        // SAFETY: `driver` below gives the function this type; the library is never closed.
        let emulate = unsafe { std::mem::transmute::<*mut c_void, Emulate>(symbol) };
        Ok(Self { emulate, launches: Mutex::default() })
    }

    /// How often a kernel has been launched.
    pub fn launches(&self, kernel: &str) -> usize {
        let launches = self.launches.lock().unwrap_or_else(PoisonError::into_inner);
        launches.get(kernel).copied().unwrap_or(0)
    }
}

impl Launch for Emulator {
    unsafe fn launch(
        &self,
        kernel: &'static str,
        [columns, rows]: [u32; 2],
        block: u32,
        arguments: &[Argument<'_>],
    ) -> Result<()> {
        let kinds: String = arguments
            .iter()
            .map(|argument| match argument {
                Argument::Address(_) => "p".to_owned(),
                Argument::Int(_) => "i".to_owned(),
                Argument::Float(_) => "f".to_owned(),
                Argument::Structure(_, size, _) => format!("s{size}"),
            })
            .collect();
        let string = |text: &str| CString::new(text).map_err(|_| Fault::new("a name with a zero in it"));
        let (name, kinds) = (string(kernel)?, string(&kinds)?);
        let pointers: Vec<*mut c_void> = arguments.iter().map(Argument::pointer).collect();
        let mut launches = self.launches.lock().unwrap_or_else(PoisonError::into_inner);
        let number = launches.entry(kernel).or_default();
        *number += 1;
        // SAFETY: the emulator compares the arguments' kinds with the kernel's; the rest is the caller's word.
        let fault = unsafe {
            let (name, kinds) = (name.as_ptr(), kinds.as_ptr());
            (self.emulate)(name, columns, rows, block, pointers.as_ptr(), kinds, number.is_multiple_of(2))
        };
        if fault.is_null() {
            return Ok(());
        }
        // SAFETY: what isn't null is a string of the library's own, which stays until the next launch.
        let fault = unsafe { CStr::from_ptr(fault) }.to_string_lossy().into_owned();
        Err(Fault::new(format!("{kernel}: {fault}")))
    }
}

/// What the library has besides the kernels: the function that finds one by its name.
fn driver() -> String {
    let kernels: String = KERNELS.iter().map(|kernel| format!("EMULATED({kernel}), ")).collect();
    format!(
        r#"#include "emulator.h"
#include "kernels.cu"
using namespace emulator;
static const Kernel kernels[] = {{ {kernels} }};
extern "C" const char* emulate(const char* name, unsigned columns, unsigned rows, unsigned block, void** arguments,
    const char* kinds, bool reversed) {{
  fault = "no such kernel";
  for (const Kernel& kernel : kernels) {{
    if (std::strcmp(kernel.name, name) != 0) continue;
    std::string expected;
    for (const Parameter& parameter : kernel.parameters) expected += parameter.text();
    if (expected != kinds) fault = "arguments " + std::string(kinds) + ", expected " + expected;
    else if (block % 32 != 0) fault = "a block that isn't made of whole warps";
    else launch(kernel, {{columns, rows, 1}}, {{block, 1, 1}}, arguments, reversed);
  }}
  return fault.empty() ? nullptr : fault.c_str();
}}
"#
    )
}

/// Compiles the library to a file of its own in the folder for temporary files.
fn compile() -> std::io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("adautomix-emulator-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (source, library) = (folder.join("driver.cpp"), folder.join("emulator.so"));
    std::fs::write(&source, driver())?;
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
    let output = Command::new("c++")
        .args(["-std=c++17", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-w", "-fPIC", "-shared"])
        // Where a compiler checks jumps by itself, those from fiber to fiber end the program.
        .args(["-U_FORTIFY_SOURCE", "-I"])
        .arg(&kernels)
        .arg(&source)
        .arg("-o")
        .arg(&library)
        .output()?;
    if !output.status.success() {
        let first = String::from_utf8_lossy(&output.stderr).lines().take(3).collect::<Vec<_>>().join("; ");
        return Err(std::io::Error::other(first));
    }
    Ok(library)
}
