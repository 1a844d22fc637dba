//! How many labels a network finds.

use adautomix_backbones::{Classifier, Head, Heads, Pass};
use adautomix_datasets::Loader;
use adautomix_recipes::Head as HeadName;
use candle_core::{Device, Tensor, bail};

use crate::Result;
use crate::method::Inputs;
use crate::run::inputs;

/// For each row of `logits` `[B, K]`, whether its label is the first, and whether it is among the first five; counted.
/// Among equal logits the one with the lower index comes first.
///
/// # Errors
/// If the shapes don't fit.
pub fn top_1_and_5(logits: &Tensor, labels: &[u32]) -> candle_core::Result<[usize; 2]> {
    let rows = logits.detach().to_vec2::<f32>()?;
    if rows.len() != labels.len() {
        bail!("top-k: {} rows of logits for {} labels", rows.len(), labels.len());
    }
    let mut hits = [0; 2];
    for (row, &label) in rows.iter().zip(labels) {
        let Some(&own) = row.get(label as usize) else {
            bail!("top-k: label {label} of {} classes", row.len())
        };
        let above = |(index, &logit): (usize, &f32)| logit > own || (logit == own && index < label as usize);
        let rank = row.iter().enumerate().filter(|&x| above(x)).count();
        // A network whose logits are not numbers has found nothing.
        if own.is_finite() {
            hits[0] += usize::from(rank < 1);
            hits[1] += usize::from(rank < 5);
        }
    }
    Ok(hits)
}

/// Top-1 and top-5 accuracy of one head, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadAccuracy {
    /// Which head.
    pub head: HeadName,
    /// Top-1 accuracy in percent.
    pub top1: f64,
    /// Top-5 accuracy in percent.
    pub top5: f64,
}

/// The heads that a network has: what files call them, and how to ask them.
pub fn heads(classifier: &Classifier) -> &'static [(HeadName, Head)] {
    match classifier.heads {
        Heads::One(_) => &[(HeadName::One, Head::OneHot)],
        Heads::Two { .. } => &[(HeadName::One, Head::OneHot), (HeadName::Mix, Head::Mixup)],
    }
}

/// The accuracy of each head of a network on all pictures of a loader, with running statistics. `classifier` should
/// be built on detached tensors: no graph is then recorded.
///
/// # Errors
/// If a picture can't be read, or the shapes don't fit.
pub fn evaluate(classifier: &Classifier, loader: &Loader, device: &Device) -> Result<Vec<HeadAccuracy>> {
    evaluate_on(classifier, loader.epoch(0, 0).map(|batch| inputs(batch?, device)))
}

/// [`evaluate`] on batches that are on the device.
pub(crate) fn evaluate_on(
    classifier: &Classifier,
    batches: impl Iterator<Item = Result<Inputs>>,
) -> Result<Vec<HeadAccuracy>> {
    let heads = heads(classifier);
    let (mut hits, mut count) = (vec![[0usize; 2]; heads.len()], 0);
    for batch in batches {
        let Inputs { images, labels } = batch?;
        let pooled = classifier.backbone.features(&images, &mut Pass::eval())?.pooled;
        for (hits, &(_, head)) in hits.iter_mut().zip(heads) {
            let [top1, top5] = top_1_and_5(&classifier.logits(&pooled, head)?, &labels)?;
            *hits = [hits[0] + top1, hits[1] + top5];
        }
        count += labels.len();
    }
    let percent = |hits: usize| 100.0 * hits as f64 / count as f64;
    let accuracy = |(&[top1, top5], &(head, _)): (&[usize; 2], &(HeadName, Head))| HeadAccuracy {
        head,
        top1: percent(top1),
        top5: percent(top5),
    };
    Ok(hits.iter().zip(heads).map(accuracy).collect())
}
