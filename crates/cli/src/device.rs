//! Where to compute.

use anyhow::{Result, bail};
use candle_core::Device;

/// Where a program computes that isn't told: on what it was built for.
const HOME: &str = if cfg!(feature = "cuda") { "cuda" } else { "cpu" };

/// The device of a command, and how it calculates.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DeviceArgs {
    /// Where to compute: `cpu`, `cuda` or `cuda:N`.
    #[arg(long = "device", default_value = HOME, value_name = "DEVICE")]
    pub(crate) name: String,
    /// CUDA: the same numbers on every run of the same device; slower.
    #[arg(long)]
    deterministic: bool,
    /// CUDA: factors of products keep all digits of f32, instead of TF32's ten bits; slower.
    #[arg(long)]
    no_tf32: bool,
    /// CUDA: launch every kernel by itself, instead of passes that are recorded once (CUDA graphs).
    #[arg(long)]
    no_graphs: bool,
}

impl DeviceArgs {
    /// Opens the device.
    pub(crate) fn open(&self) -> Result<Device> {
        let name = &self.name;
        let number = match name.split_once(':') {
            None if name == "cpu" => return Ok(Device::Cpu),
            None if name == "cuda" => Some(0),
            Some(("cuda", number)) => number.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => self.open_cuda(number),
            None => bail!("device `{name}`: expected `cpu`, `cuda` or `cuda:N`"),
        }
    }

    #[cfg(feature = "cuda")]
    fn open_cuda(&self, number: usize) -> Result<Device> {
        let settings = adautomix_ops::cuda::Settings {
            tf32: !self.no_tf32,
            deterministic: self.deterministic,
            record: !self.no_graphs,
        };
        adautomix_ops::cuda::open(number, settings)
            .map_err(|error| anyhow::anyhow!("device `{}`: {error}; run `adautomix doctor`", self.name))
    }

    #[cfg(not(feature = "cuda"))]
    fn open_cuda(&self, _: usize) -> Result<Device> {
        bail!("device `{}`: this program is built without CUDA; use `--device cpu`", self.name)
    }

    /// Whether products may be rounded to TF32.
    pub(crate) fn rounds(&self) -> bool {
        self.name != "cpu" && !self.no_tf32
    }
}
