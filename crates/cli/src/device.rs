//! Where to compute.

use anyhow::{Result, bail};
use candle_core::Device;

/// The device of a name: `cpu`, `cuda` or `cuda:1`.
pub(crate) fn open(name: &str) -> Result<Device> {
    let number = match name.split_once(':') {
        None if name == "cpu" => return Ok(Device::Cpu),
        None if name == "cuda" => Some(0),
        Some(("cuda", number)) => number.parse().ok(),
        _ => None,
    };
    let Some(number) = number else { bail!("device `{name}`: expected `cpu`, `cuda` or `cuda:N`") };
    match Device::new_cuda(number) {
        Ok(device) => Ok(device),
        Err(candle_core::Error::NotCompiledWithCudaSupport) => {
            bail!("device `{name}`: this program is built without CUDA; use `--device cpu`")
        }
        Err(error) => bail!("device `{name}`: {error}"),
    }
}
