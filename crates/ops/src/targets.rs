//! The targets of mixed samples, made where they are read: on a device of a few numbers instead of a row for each sample.

use candle_core::{Device, Result, Tensor, bail};

/// `target[b] = sum_i weights[b, i] e(labels[i][b])`, `[B, K]` of `f32`, where `e(y)` is `1 - smoothing + smoothing / K` at `y` and
/// `smoothing / K` elsewhere: `labels` are `N` lists of `B`, `weights` `[N]` for the whole batch or `[B, N]`. A constant.
///
/// # Errors
/// If lists or weights don't fit, or a label is not below `K`.
pub fn mixed_targets(
    labels: &[Vec<u32>],
    weights: &[f32],
    classes: usize,
    smoothing: f64,
    device: &Device,
) -> Result<Tensor> {
    let Some(first) = labels.first() else { bail!("mixed_targets: no lists of labels") };
    let (n, batch) = (labels.len(), first.len());
    if let Some(other) = labels.iter().find(|list| list.len() != batch) {
        bail!("mixed_targets: lists of {batch} and {} labels", other.len());
    }
    let weights = match weights.len() {
        len if len == n => weights.repeat(batch),
        len if len == batch * n => weights.to_vec(),
        len => bail!("mixed_targets: expected {n} or {batch}x{n} weights, got {len}"),
    };
    if let Some(label) = labels.iter().flatten().find(|&&label| label as usize >= classes) {
        bail!("label {label} is out of range, expected 0 to {}", classes as i64 - 1);
    }
    let (keep, floor) = ((1.0 - smoothing) as f32, (smoothing / classes as f64) as f32);
    #[cfg(any(feature = "cuda", test))]
    if crate::device::launches(device) {
        return crate::device::cross_entropy::mixed_targets(labels, &weights, classes, [keep, floor], device);
    }
    let mut target = vec![0f32; batch * classes];
    for (b, (row, weights)) in target.chunks_mut(classes.max(1)).zip(weights.chunks(n)).enumerate() {
        row.fill(floor * weights.iter().sum::<f32>());
        for (labels, weight) in labels.iter().zip(weights) {
            row[labels[b] as usize] += keep * weight;
        }
    }
    Tensor::from_vec(target, (batch, classes), device)
}
