//! Memory for kernels: buffers for results that needn't be cleared, and working memory that is reused, since a step asks for
//! the same sizes again and again, and fresh pages cost more than the arithmetic of a small layer.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

static FREE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// How many buffers wait for their next use at most; more are given back to the allocator.
const KEPT: usize = 32;

/// A buffer of arbitrary content that goes back to the pool when dropped.
pub struct Scratch {
    data: Vec<f32>,
    len: usize,
}

/// Takes a buffer of `len` elements; what is in it is whatever was last written there.
pub fn take(len: usize) -> Scratch {
    let mut free = FREE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // The tightest fit, and nothing larger than twice the need: memory would pile up under small requests.
    let fit = (0..free.len())
        .filter(|&i| free[i].len() >= len && free[i].len() / 2 <= len.max(4096))
        .min_by_key(|&i| free[i].len());
    let data = fit.map(|i| free.swap_remove(i));
    drop(free);
    Scratch { data: data.unwrap_or_else(|| vec![0.0; len]), len }
}

/// A new buffer of `len` elements, for a kernel that writes them all; until then they are arbitrary, and NaN in a build with
/// debug assertions.
pub fn unwritten(len: usize) -> Vec<f32> {
    if cfg!(debug_assertions) {
        return vec![f32::NAN; len];
    }
    let mut data = Vec::<f32>::with_capacity(len);
    // SAFETY: there is room for `len` elements, and all bits are one. The assembly is empty, but as far as the compiler knows it
    // writes them, so that reading one gives a number and isn't undefined.
    unsafe {
        std::arch::asm!("/* {0} */", in(reg) data.as_mut_ptr(), options(nostack, preserves_flags));
        data.set_len(len);
    }
    data
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[..self.len]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[..self.len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut free = FREE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if free.len() >= KEPT {
            // The smallest is the cheapest to make again.
            if let Some(smallest) = (0..free.len()).min_by_key(|&i| free[i].len()) {
                free.swap_remove(smallest);
            }
        }
        free.push(std::mem::take(&mut self.data));
    }
}
