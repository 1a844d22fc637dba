//! The teacher's passes of a step: T1 over the pictures, T2 over the generator's mix.

use adautomix_backbones::{Head, Pass};
use adautomix_losses::{self as losses, Objective, gather_labels, mix_targets};
use adautomix_mixing::{Draw, DrawPair};
use adautomix_ops::{Reduction, Tape, cosine_similarity, given};
use candle_core::{Tensor, Var};

use super::Learned;
use crate::Result;
use crate::gradients::weighted;
use crate::method::replays::Work;
use crate::method::{Inputs, Passes};

/// What T1 gives.
pub(super) struct Plain {
    /// The map of the recipe's stage.
    pub(super) feature: Tensor,
    /// The logits of the pictures, if anything is compared with them.
    pub(super) logits: Option<Tensor>,
    /// The pass, of which the statistics count again later.
    pub(super) pass: Pass,
}

/// What T2 gives.
pub(super) struct Taught {
    /// Eq. 3.
    pub(super) amce: Tensor,
    /// The similarity of Eq. 11.
    pub(super) cosine: Option<Tensor>,
    /// What the generator descends of both, if that is known already; they are constants then.
    pub(super) objective: Option<Tensor>,
}

impl Learned {
    /// T1: features for the masks, logits of the plain pictures.
    pub(super) fn look(&self, images: &Tensor, passes: &Passes) -> Result<Plain> {
        let (config, teacher) = (self.config, &self.teacher.fixed);
        let see = |images: &Tensor, pass: &mut Pass| -> Result<_> {
            let features = teacher.backbone.features(images, pass)?;
            let logits = match config.compares_with_plain() {
                true => Some(teacher.logits(&features.pooled, Head::Mixup)?.detach()),
                false => None,
            };
            pass.commit(1)?;
            let stage = config.feature_stage;
            Ok((teacher.backbone.mixing_map(stage, &features.stages[stage])?.detach(), logits))
        };
        if !self.records(images) {
            let mut pass = passes.train();
            let (feature, logits) = see(images, &mut pass)?;
            return Ok(Plain { feature, logits, pass });
        }
        let make = |inputs: &[&Tensor]| {
            let mut pass = Pass::train();
            let (feature, logits) = see(inputs[0], &mut pass)?;
            let statistics = pass.statistics();
            self.known.get_or_init(|| pass);
            Ok([Some(feature), logits].into_iter().chain(statistics.into_iter().map(Some)).collect())
        };
        let (made, _) = self.replays.borrow_mut().run(Work::Plain, &[images], &make)?;
        let ([Some(feature), logits, statistics @ ..], Some(known)) = (&made[..], self.known.get()) else {
            unreachable!("a pass gives a map")
        };
        let statistics: Vec<Tensor> = statistics.iter().flatten().cloned().collect();
        let pass = known.with_statistics(&statistics)?;
        Ok(Plain { feature: feature.clone(), logits: logits.clone(), pass })
    }

    /// T2: the teacher on the generator's mix; its loss (Eq. 3) and the similarity to the plain pictures (Eq. 11), if their
    /// logits are given.
    pub(super) fn teacher_losses(
        &self,
        inputs: &Inputs,
        draws: &DrawPair,
        challenge: &Tensor,
        clean_logits: Option<&Tensor>,
        step: usize,
        passes: &Passes,
    ) -> Result<Taught> {
        let (config, draw) = (self.config, &draws.generator);
        let plain = match clean_logits {
            Some(logits) => {
                let partners: Vec<u32> = draw.partners.concat();
                Some(logits.index_select(&Tensor::new(partners, logits.device())?, 0)?)
            }
            None => None,
        };
        // A generator that isn't trained at every step would be differentiated in vain.
        let pulls = config.objective == Objective::Published && config.generator_probability >= 1.0;
        if pulls && self.records(challenge) {
            return self.recorded_teacher_losses(inputs, draw, challenge, plain.as_ref(), step);
        }
        let mut pass = passes.train();
        let logits = self.teacher.fixed.forward(challenge, Head::Mixup, &mut pass)?;
        pass.commit(1)?;
        let labels = gather_labels(&inputs.labels, &draw.partners)?;
        let amce = self.mixed_ce(&logits, &labels, &draw.lambdas)?;
        let batch = logits.dim(0)?;
        let compared = plain.map(|plain| {
            let rows = (0..draw.lambdas.len()).map(|i| plain.narrow(0, i * batch, batch));
            losses::cosine(&logits, &rows.collect::<candle_core::Result<Vec<_>>>()?, &draw.lambdas)
        });
        Ok(Taught { amce, cosine: compared.transpose()?, objective: None })
    }

    /// T2 with its backward pass, recorded: what the generator descends of it is known before.
    fn recorded_teacher_losses(
        &self,
        inputs: &Inputs,
        draw: &Draw,
        challenge: &Tensor,
        plain: Option<&Tensor>,
        step: usize,
    ) -> Result<Taught> {
        let [_, of_loss, of_cosine] = self.config.generator_weights(step);
        let (device, batch) = (challenge.device(), inputs.labels.len());
        let classes = self.teacher.fixed.head(Head::Mixup).bias().elem_count();
        let target = mix_targets(
            &inputs.labels,
            &draw.partners,
            &draw.weights(),
            classes,
            self.config.smoothing,
            device,
        )?;
        let shares = draw.lambdas.iter().flat_map(|lambda| vec![(lambda / batch as f64) as f32; batch]);
        let shares = Tensor::from_iter(shares, device)?;
        let make = |inputs: &[&Tensor]| {
            let (challenge, mut pass) = (Var::from_tensor(inputs[0])?, Pass::train());
            let (tape, (amce, cosine, total)) = Tape::record(|| -> Result<_> {
                let logits = self.teacher.fixed.forward(&challenge, Head::Mixup, &mut pass)?;
                let amce = losses::soft_ce(&logits, inputs[1])?;
                let total = weighted(&amce, of_loss)?;
                let [shares, plain] = inputs[2..] else { return Ok((amce, None, total)) };
                let rows = Tensor::cat(&vec![&logits; draw.lambdas.len()], 0)?;
                let cosine =
                    (cosine_similarity(&rows, plain, 1, 1e-8, Reduction::None)? * shares)?.sum_all()?;
                let total = if of_cosine == 0.0 { total } else { (total + weighted(&cosine, of_cosine)?)? };
                Ok((amce, Some(cosine), total))
            })?;
            pass.commit(1)?;
            let slope = tape.backward(&total)?.get(&challenge).map(Tensor::detach);
            Ok(vec![Some(amce.detach()), cosine.map(|cosine| cosine.detach()), Some(total.detach()), slope])
        };
        let read: Vec<&Tensor> =
            [challenge, &target].into_iter().chain(plain.map(|_| &shares)).chain(plain).collect();
        let work = Work::Challenge([of_loss, of_cosine].map(f64::to_bits));
        let (made, own) = self.replays.borrow_mut().run(work, &read, &make)?;
        let [Some(amce), cosine, Some(total), Some(slope)] = &made[..] else {
            unreachable!("a pass has a loss and a gradient")
        };
        let kept = |loss: &Tensor| if own { Ok(loss.clone()) } else { loss.copy() };
        Ok(Taught {
            amce: kept(amce)?,
            cosine: cosine.as_ref().map(kept).transpose()?,
            objective: Some(given(challenge, total, slope)?),
        })
    }
}
