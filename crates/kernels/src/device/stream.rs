//! Launching on an NVIDIA device: the compiled kernels, and the stream on which they run.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaStream, result, sys};

use super::{Argument, Fault, KERNELS, Launch, Result};

/// The kernels, compiled by `build.rs`: machine code for the device that was built for, and PTX for later ones.
static IMAGE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin")));

/// Bytes whose place is a multiple of 16: the driver reads wider fields of them.
#[repr(C, align(16))]
struct Aligned<Bytes: ?Sized>(Bytes);

/// Launches kernels on a stream, in order.
#[derive(Clone, Debug)]
pub struct Stream {
    stream: Arc<CudaStream>,
    functions: Arc<Functions>,
}

/// The kernels in a context, by name. They stay loaded as long as the program runs.
#[derive(Debug)]
struct Functions(HashMap<&'static str, Function>);

#[derive(Clone, Copy, Debug)]
struct Function(sys::CUfunction);

// SAFETY: a function handle may be used from any thread in which its context is current.
unsafe impl Send for Function {}
// SAFETY: as above; the driver guards itself.
unsafe impl Sync for Function {}

impl Stream {
    /// Launches on `stream`; the kernels are loaded when a context is first used.
    ///
    /// # Errors
    /// If the driver can't load the kernels: it is older than the toolkit that built them, or the device too old.
    pub fn new(stream: Arc<CudaStream>) -> Result<Self> {
        // A context in which kernels are loaded is kept, so that none can come at its address.
        static LOADED: Mutex<Vec<(Arc<CudaContext>, Arc<Functions>)>> = Mutex::new(Vec::new());
        let context = stream.context();
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, functions)) = loaded.iter().find(|(known, _)| known.cu_ctx() == context.cu_ctx()) {
            return Ok(Self { functions: functions.clone(), stream });
        }
        let functions = Arc::new(load(context)?);
        loaded.push((context.clone(), functions.clone()));
        drop(loaded);
        Ok(Self { stream, functions })
    }

    /// The stream.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }
}

fn load(context: &CudaContext) -> Result<Functions> {
    let driver = |error: result::DriverError| {
        Fault::new(format!("the kernels can't be loaded ({error}); run `adautomix doctor`"))
    };
    context.bind_to_thread().map_err(driver)?;
    // SAFETY: the image is a whole fat binary, which knows its own length.
    let module = unsafe { result::module::load_data(IMAGE.0.as_ptr().cast()) }.map_err(driver)?;
    let mut functions = HashMap::new();
    for &kernel in KERNELS {
        let name = CString::new(kernel).map_err(|_| Fault::new("a kernel's name has a zero in it"))?;
        // SAFETY: the module was loaded above and is never unloaded.
        let function = unsafe { result::module::get_function(module, name) }.map_err(driver)?;
        functions.insert(kernel, Function(function));
    }
    Ok(Functions(functions))
}

impl Launch for Stream {
    unsafe fn launch(
        &self,
        kernel: &'static str,
        [columns, rows]: [u32; 2],
        block: u32,
        arguments: &[Argument<'_>],
    ) -> Result<()> {
        let Some(function) = self.functions.0.get(kernel) else {
            return Err(Fault::new(format!("{kernel}: no such kernel")));
        };
        let driver = |error: result::DriverError| Fault::new(format!("{kernel}: {error}"));
        self.stream.context().bind_to_thread().map_err(driver)?;
        let mut pointers: Vec<*mut c_void> = arguments.iter().map(Argument::pointer).collect();
        // SAFETY: the arguments are the kernel's by the caller's word, and are copied before the call returns.
        unsafe {
            result::launch_kernel(
                function.0,
                (columns, rows, 1),
                (block, 1, 1),
                0,
                self.stream.cu_stream(),
                &mut pointers,
            )
        }
        .map_err(driver)
    }
}
