//! What steps measure, and when it is read.

use candle_core::Tensor;

use crate::Result;

/// A number that a step has measured.
#[derive(Clone, Debug)]
pub enum Measured {
    /// The number.
    Number(f64),
    /// A scalar on a device, which nobody has waited for yet.
    OnDevice(Tensor),
}

impl Measured {
    /// What a scalar says: at once on the processor, where it is known; on a device the scalar stays where it is, since
    /// whoever reads it waits for everything before it.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn of(scalar: &Tensor) -> Result<Self> {
        Ok(match stays(scalar) {
            true => Self::OnDevice(scalar.detach()),
            false => Self::Number(f64::from(scalar.to_scalar::<f32>()?)),
        })
    }

    /// The number, where it is known without waiting.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::OnDevice(_) => None,
        }
    }
}

impl From<f64> for Measured {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// The losses of a step, by name, and what else was measured of it.
pub type Losses = Vec<(&'static str, Measured)>;

/// The numbers of steps. A device is waited for once.
///
/// # Errors
/// If they can't be read.
pub fn read_losses(steps: &[Losses]) -> Result<Vec<Vec<(&'static str, f64)>>> {
    let on_device = |(_, measured): &'_ (&'static str, Measured)| match measured {
        Measured::OnDevice(scalar) => Some(scalar.clone()),
        Measured::Number(_) => None,
    };
    let scalars: Vec<Tensor> = steps.iter().flatten().filter_map(on_device).collect();
    let numbers = match scalars.is_empty() {
        true => Vec::new(),
        false => Tensor::stack(&scalars, 0)?.to_vec1::<f32>()?,
    };
    let mut numbers = numbers.into_iter().map(f64::from);
    let mut read = |(name, measured): &(&'static str, Measured)| {
        let number = measured.number().or_else(|| numbers.next());
        (*name, number.unwrap_or(f64::NAN))
    };
    Ok(steps.iter().map(|losses| losses.iter().map(&mut read).collect()).collect())
}

/// Whether reading a tensor would wait for a device.
pub(super) fn stays(tensor: &Tensor) -> bool {
    !tensor.device().is_cpu() || deferring()
}

#[cfg(test)]
thread_local! {
    static DEFERRING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `test` with tensors on the processor treated as those on a device are.
#[cfg(test)]
pub(crate) fn deferred<T>(test: impl FnOnce() -> T) -> T {
    DEFERRING.set(true);
    let result = test();
    DEFERRING.set(false);
    result
}

#[cfg(test)]
fn deferring() -> bool {
    DEFERRING.get()
}

#[cfg(not(test))]
fn deferring() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn numbers_keep_their_names_and_places_wherever_they_are() -> Result<()> {
        let scalar = |value: f32| Tensor::new(value, &Device::Cpu);
        let later = |value: f32| deferred(|| Measured::of(&scalar(value)?));
        assert!(later(1.0)?.number().is_none());
        assert_eq!(Measured::of(&scalar(1.0)?)?.number(), Some(1.0));
        let steps =
            [vec![("a", later(1.0)?), ("b", 2.0.into()), ("c", later(3.0)?)], vec![("a", later(4.0)?)]];
        assert_eq!(read_losses(&steps)?, [vec![("a", 1.0), ("b", 2.0), ("c", 3.0)], vec![("a", 4.0)]]);
        Ok(())
    }
}
