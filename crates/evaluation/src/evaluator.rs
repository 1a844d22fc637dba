//! A network over all pictures of a source.

use std::sync::Arc;

use adautomix_backbones::{Classifier, Head, Pass};
use adautomix_datasets::corruptions::{Corrupted, Corruption};
use adautomix_datasets::{Loader, LoaderOptions, Source, Transform};
use adautomix_random::{Key, Purpose};
use adautomix_recipes::{Head as HeadName, Recipe};
use adautomix_training::{Inputs, heads, inputs, test_transform};
use candle_core::{Device, Tensor};
use rand::Rng;

use crate::{Cells, Pgd, Predictions, Result, Space, fgsm, gradient, occlude, pgd};

/// Called after each batch with what is being measured and how many pictures have been done since the last call.
pub type Progress<'a> = dyn FnMut(&str, usize) + 'a;

/// A network and the pictures that it is judged by.
pub struct Evaluator<'a> {
    classifier: &'a Classifier,
    source: Arc<dyn Source>,
    transform: Transform,
    batch_size: usize,
    device: &'a Device,
    seed: u64,
}

/// A batch on its way to the network.
struct Batch<'a> {
    inputs: &'a Inputs,
    /// The pictures' indices in their source.
    indices: &'a [usize],
    /// The batch's number, from 0.
    number: usize,
}

impl<'a> Evaluator<'a> {
    /// Judges `classifier`, which should be built on constants, by `source`, normalised and batched as a recipe has it. The
    /// recipe's seed is that of every draw.
    pub fn new(
        classifier: &'a Classifier,
        source: Arc<dyn Source>,
        recipe: &Recipe,
        device: &'a Device,
    ) -> Self {
        let transform = test_transform(recipe);
        let (batch_size, seed) = (recipe.training.batch_size, recipe.training.seed);
        Self { classifier, source, transform, batch_size, device, seed }
    }

    /// Height and width of the pictures.
    pub fn size(&self) -> [usize; 2] {
        self.transform.size
    }

    /// How many pictures there are.
    pub fn pictures(&self) -> usize {
        self.source.len()
    }

    /// The network's heads.
    pub fn heads(&self) -> &'static [(HeadName, Head)] {
        heads(self.classifier)
    }

    /// What each head says of the pictures as they are.
    ///
    /// # Errors
    /// If a picture can't be read or an operation fails.
    pub fn clean(&self, progress: &mut Progress<'_>) -> Result<Vec<Predictions>> {
        let as_they_are = |batch: &Batch<'_>| Ok(vec![batch.inputs.images.clone()]);
        Ok(self.predict(&self.source, self.heads(), "accuracy", progress, as_they_are)?.swap_remove(0))
    }

    /// What each head says under a corruption.
    ///
    /// # Errors
    /// If a picture can't be read or an operation fails.
    pub fn corrupted(&self, corruption: Corruption, progress: &mut Progress<'_>) -> Result<Vec<Predictions>> {
        let source: Arc<dyn Source> = Arc::new(Corrupted::new(self.source.clone(), corruption, self.seed));
        let as_they_are = |batch: &Batch<'_>| Ok(vec![batch.inputs.images.clone()]);
        Ok(self
            .predict(&source, self.heads(), corruption.kind().name(), progress, as_they_are)?
            .swap_remove(0))
    }

    /// For each ratio, what each head says with that share of the cells hidden.
    ///
    /// # Errors
    /// If the cells don't divide the pictures, a picture can't be read or an operation fails.
    pub fn occluded(
        &self,
        ratios: &[f64],
        patch: usize,
        drawn: Cells,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Vec<Predictions>>> {
        let cells = crate::cells(self.size(), patch)?;
        self.predict(&self.source, self.heads(), "occlusion", progress, |batch| {
            let hide = |&ratio: &f64| {
                let hidden = drawn.draw(cells, ratio, self.seed, batch.number, batch.indices);
                occlude(&batch.inputs.images, &hidden, patch)
            };
            ratios.iter().map(hide).collect()
        })
    }

    /// For each space, what a head says after one step of FGSM against it.
    ///
    /// # Errors
    /// If a picture can't be read or an operation fails.
    pub fn fgsm(
        &self,
        head: (HeadName, Head),
        epsilon: f64,
        spaces: &[Space],
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Predictions>> {
        let attacked = self.predict(&self.source, &[head], "fgsm", progress, |batch| {
            let Inputs { images, labels } = batch.inputs;
            let gradient = gradient(self.classifier, head.1, images, labels)?;
            spaces.iter().map(|space| fgsm(images, &gradient, epsilon, space)).collect()
        })?;
        Ok(attacked.into_iter().flatten().collect())
    }

    /// What a head says after projected gradient ascent in pixels against it.
    ///
    /// # Errors
    /// If a picture can't be read or an operation fails.
    pub fn pgd(
        &self,
        head: (HeadName, Head),
        settings: &Pgd,
        progress: &mut Progress<'_>,
    ) -> Result<Predictions> {
        let space = self.pixels();
        let mut attacked = self.predict(&self.source, &[head], "pgd", progress, |batch| {
            let Inputs { images, labels } = batch.inputs;
            let noise = self.start(images, batch.indices)?;
            let gradient = |moved: &Tensor| gradient(self.classifier, head.1, moved, labels);
            Ok(vec![pgd(images, &noise, settings, &space, gradient)?])
        })?;
        Ok(attacked.swap_remove(0).swap_remove(0))
    }

    /// The pictures' normalisation.
    pub fn pixels(&self) -> Space {
        let [mean, std] = [self.transform.mean, self.transform.std].map(|values| values.map(f64::from));
        Space::Normalized { mean, std }
    }

    /// Where PGD starts: uniform between -1 and 1, by each picture's index.
    fn start(&self, images: &Tensor, indices: &[usize]) -> Result<Tensor> {
        let numbers = images.elem_count() / indices.len().max(1);
        let mut noise = Vec::with_capacity(images.elem_count());
        for &index in indices {
            let mut rng = Key::new(self.seed, Purpose::Attack).sample(index).rng();
            noise.extend((0..numbers).map(|_| 2.0 * rng.random::<f32>() - 1.0));
        }
        Ok(Tensor::from_vec(noise, images.dims(), self.device)?)
    }

    /// What some heads say of the variants that `change` makes of each batch: a list for each variant.
    fn predict(
        &self,
        source: &Arc<dyn Source>,
        heads: &[(HeadName, Head)],
        task: &str,
        progress: &mut Progress<'_>,
        mut change: impl FnMut(&Batch<'_>) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Vec<Predictions>>> {
        let options = LoaderOptions::evaluation(self.batch_size);
        let loader = Loader::new(source.clone(), self.transform, options)?;
        let mut all: Vec<Vec<Predictions>> = Vec::new();
        for (number, batch) in loader.epoch(0, 0).enumerate() {
            let mut batch = batch?;
            let indices = std::mem::take(&mut batch.indices);
            let inputs = inputs(batch, self.device)?;
            let variants = change(&Batch { inputs: &inputs, indices: &indices, number })?;
            all.resize(variants.len(), vec![Predictions::default(); heads.len()]);
            for (predictions, images) in all.iter_mut().zip(&variants) {
                let pooled = self.classifier.backbone.features(images, &mut Pass::eval())?.pooled;
                for (predictions, &(_, head)) in predictions.iter_mut().zip(heads) {
                    predictions.add(&self.classifier.logits(&pooled, head)?, &inputs.labels)?;
                }
            }
            progress(task, inputs.labels.len());
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use adautomix_datasets::corruptions::Kind;
    use adautomix_datasets::{Split, Synthetic};
    use adautomix_recipes::Library;
    use adautomix_training::{Network, named};

    use super::*;
    use crate::{Metric, Settings};

    /// A new network: its residual branches are 0, but its shortcuts let pictures through.
    fn classifier() -> Classifier {
        let build = named("resnet20-cifar", 10, true);
        Network::new(&*build, 3, &Device::Cpu).unwrap().fixed
    }

    fn nothing(_: &str, _: usize) {}

    #[test]
    fn every_measure_gives_a_number_for_every_head_and_attacks_do_harm() {
        let classifier = classifier();
        let recipe = Library::embedded().load("quick/mixup", &[]).unwrap();
        let source: Arc<dyn Source> = Arc::new(Synthetic::new(0, Split::Test, 6));
        let evaluator = Evaluator::new(&classifier, source.clone(), &recipe, &Device::Cpu);
        let metrics = Metric::ALL.into_iter().filter(|metric| *metric != Metric::Corruption).collect();
        let settings = Settings { metrics, ratios: vec![0.0, 1.0], ..Settings::default() };
        let mut done = 0;
        let reports = evaluator.report(&settings, &mut |_, pictures| done += pictures).unwrap();
        assert_eq!(done, 6 * Settings::passes(&settings, reports.len()));
        for (_, report) in &reports {
            let occlusion = report.occlusion.as_ref().unwrap();
            assert_eq!(Some(occlusion.per_picture[0]), report.top1);
            // Nothing to see: all pictures get the same guess.
            assert_eq!(occlusion.per_picture[1], occlusion.published[1]);
            let ece = report.ece.as_ref().unwrap();
            assert_eq!(ece.reliability.bins.iter().map(|bin| bin.count).sum::<usize>(), 6);
        }
        assert_eq!(reports.len(), 2);
    }

    #[test]
    fn an_attack_raises_the_loss_and_the_order_of_batches_changes_nothing() {
        let classifier = classifier();
        let recipe = Library::embedded().load("quick/mixup", &[]).unwrap();
        let labels = [0u32, 1, 2, 3];
        let images = (0..4 * 3072).map(|at| ((at * 37 % 97) as f32 / 48.0) - 1.0).collect();
        let images = Tensor::from_vec(images, (4, 3, 32, 32), &Device::Cpu).unwrap();
        let loss = |images: &Tensor| -> f32 {
            let logits = classifier.forward(images, Head::OneHot, &mut Pass::eval()).unwrap();
            let labels = Tensor::new(&labels, &Device::Cpu).unwrap();
            adautomix_ops::cross_entropy(&logits, &labels, 0.0, adautomix_ops::Reduction::Mean)
                .and_then(|loss| loss.to_scalar())
                .unwrap()
        };
        let source: Arc<dyn Source> = Arc::new(Synthetic::new(0, Split::Test, 5));
        let evaluator = Evaluator::new(&classifier, source.clone(), &recipe, &Device::Cpu);
        let step = gradient(&classifier, Head::OneHot, &images, &labels).unwrap();
        let attacked = fgsm(&images, &step, 1.0 / 255.0, &evaluator.pixels()).unwrap();
        assert!(loss(&attacked) > loss(&images), "{} {}", loss(&attacked), loss(&images));
        // Batches of another size see the same draws.
        let mut small = recipe.clone();
        small.training.batch_size = 2;
        let other = Evaluator::new(&classifier, source, &small, &Device::Cpu);
        let corruption = Corruption::new(Kind::SpeckleNoise, 5).unwrap();
        let confidences = |evaluator: &Evaluator<'_>| {
            let head = evaluator.heads()[0];
            let pgd = evaluator.pgd(head, &Pgd { steps: 1, ..Pgd::default() }, &mut nothing).unwrap();
            let hidden = evaluator.occluded(&[0.5], 4, Cells::PerPicture, &mut nothing).unwrap();
            let corrupted = evaluator.corrupted(corruption, &mut nothing).unwrap();
            [&pgd, &hidden[0][0], &corrupted[0]].map(|predictions| predictions.confidences.clone())
        };
        for (a, b) in confidences(&evaluator).iter().flatten().zip(confidences(&other).iter().flatten()) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}
