//! The pictures of a recipe.

use std::path::Path;
use std::sync::Arc;

use adautomix_datasets::{
    Crop, Interpolation, Loader, LoaderOptions, RandAugment, Resize, ResizedCrop, Side, Source, Split,
    Subset, Synthetic, Transform, facts, open,
};
use adautomix_recipes::{self as recipes, Recipe};

use crate::{Error, Result};

/// The two parts of a recipe's data set.
#[derive(Clone)]
pub struct Pictures {
    /// What the network learns from.
    pub train: Arc<dyn Source>,
    /// What it is judged by.
    pub test: Arc<dyn Source>,
}

impl Pictures {
    /// Opens the data set of a recipe, looking for its files in `folder`.
    ///
    /// # Errors
    /// If it can't be read or is unknown, or if its pictures have another size than the recipe's and nothing brings them
    /// to it.
    pub fn open(recipe: &Recipe, folder: &Path) -> Result<Self> {
        let data = &recipe.data;
        let part = |split, limit: Option<usize>| -> Result<Arc<dyn Source>> {
            let drawn = data.name == "synthetic";
            let mut source: Arc<dyn Source> = match limit {
                // Drawn, not taken from a file: another seed of the run has the same pictures.
                Some(len) if drawn => Arc::new(Synthetic::new(0, split, len)),
                _ => open(&data.name, folder, split)?,
            };
            if let Some(classes) = &data.classes {
                source = Arc::new(Subset::classes(source, classes)?);
            }
            if let (Split::Train, Some(share)) = (split, data.share) {
                source = Arc::new(Subset::share(source, share, recipe.training.seed)?);
            }
            if let Some(len) = limit.filter(|_| !drawn) {
                source = Arc::new(Subset::first(source, len));
            }
            let resized = match split {
                Split::Train => data.train_resize.is_some() || data.resized_crop.is_some(),
                Split::Test => data.test_resize.is_some(),
            };
            match source.size() {
                // A window of them would be seen, which nobody asked for.
                Some(size) if !resized && size != [data.input_size; 2] => {
                    let text =
                        format!("data.input_size is {}, but the pictures are {size:?}", data.input_size);
                    Err(Error::Recipe(text))
                }
                _ => Ok(source),
            }
        };
        Ok(Self {
            train: part(Split::Train, data.train_pictures)?,
            test: part(Split::Test, data.test_pictures)?,
        })
    }

    /// The loader of training batches.
    ///
    /// # Errors
    /// If the recipe's options don't fit the pictures.
    pub fn training(&self, recipe: &Recipe) -> Result<Loader> {
        let options = LoaderOptions {
            drop_last: recipe.training.drop_last,
            ..LoaderOptions::training(recipe.training.batch_size, recipe.training.seed)
        };
        Ok(Loader::new(self.train.clone(), training_transform(recipe), options)?)
    }

    /// The loader of test batches.
    ///
    /// # Errors
    /// If there is no test picture.
    pub fn testing(&self, recipe: &Recipe) -> Result<Loader> {
        let options = LoaderOptions::evaluation(recipe.training.batch_size);
        Ok(Loader::new(self.test.clone(), test_transform(recipe), options)?)
    }
}

/// How many classes the pictures of a recipe are of, as far as the recipe tells.
///
/// # Errors
/// If the data set is unknown, or only its files tell.
pub fn classes(recipe: &Recipe) -> Result<usize> {
    let data = &recipe.data;
    let classes = data.classes.as_ref().map_or(facts(&data.name)?.classes, Vec::len);
    match classes {
        0 => Err(Error::Recipe(format!("data.name is `{}`, whose files alone tell its classes", data.name))),
        _ => Ok(classes),
    }
}

/// What is done to training pictures.
fn training_transform(recipe: &Recipe) -> Transform {
    let data = &recipe.data;
    let crop = data.resized_crop.as_ref().map_or(Crop::Padded(data.pad), |crop| {
        let interpolation = interpolation(crop.interpolation);
        Crop::Resized(ResizedCrop { scale: crop.scale, ratio: crop.ratio, interpolation })
    });
    let augment = data.rand_augment.as_ref().map(|augment| RandAugment {
        operations: augment.operations,
        magnitude: augment.magnitude,
        deviation: augment.deviation,
        fill: augment.fill,
        interpolation: interpolation(augment.interpolation),
    });
    let resize = data.train_resize.as_ref().map(resize);
    Transform { resize, crop, flip: data.flip, augment, ..test_transform(recipe) }
}

/// What a recipe does to test pictures.
pub fn test_transform(recipe: &Recipe) -> Transform {
    let data = &recipe.data;
    let [mean, std] = [data.mean, data.std].map(|values| values.map(|value| value as f32));
    let resize = data.test_resize.as_ref().map(resize);
    Transform { resize, ..Transform::evaluation([data.input_size; 2], mean, std) }
}

fn resize(resize: &recipes::Resize) -> Resize {
    Resize { to: Side::Shorter(resize.size), interpolation: interpolation(resize.interpolation) }
}

fn interpolation(name: recipes::Interpolation) -> Interpolation {
    match name {
        recipes::Interpolation::Bilinear => Interpolation::Bilinear,
        recipes::Interpolation::Bicubic => Interpolation::Bicubic,
    }
}

#[cfg(test)]
mod tests {
    use adautomix_recipes::{Library, Override};

    use super::*;

    fn recipe(name: &str, overrides: &[&str]) -> Recipe {
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        Library::embedded().load(name, &overrides).unwrap()
    }

    #[test]
    fn small_pictures_are_enlarged_changed_and_batched_as_the_recipe_says() {
        let overrides =
            ["data.name=synthetic", "data.train_pictures=8", "data.test_pictures=3", "training.batch_size=4"];
        let recipe = recipe("cifar100/swin_t/mixup", &overrides);
        let transform = training_transform(&recipe);
        assert!(transform.augment.is_some() && transform.resize.is_none() && transform.flip);
        assert!(matches!(transform.crop, Crop::Resized(crop) if crop.scale == [0.8, 1.0]));
        let pictures = Pictures::open(&recipe, Path::new("nowhere")).unwrap();
        for (loader, batches) in
            [(pictures.training(&recipe).unwrap(), 2), (pictures.testing(&recipe).unwrap(), 1)]
        {
            let epoch: Vec<_> = loader.epoch(0, 0).collect::<Result<_, _>>().unwrap();
            assert_eq!(epoch.len(), batches);
            let batch = &epoch[0];
            assert_eq!((batch.height, batch.width), (224, 224));
            assert!(batch.images.iter().all(|number| number.is_finite()));
        }
    }

    #[test]
    fn some_classes_and_a_share_of_their_training_pictures_are_used() {
        let drawn = ["data.name=synthetic", "data.train_pictures=100", "data.test_pictures=50"];
        let open = |overrides: &[&str]| {
            Pictures::open(&recipe("quick/mixup", &[&drawn[..], overrides].concat()), Path::new("nowhere"))
        };
        let names = open(&[]).unwrap().train.class_names().to_vec();
        let classes = format!("data.classes=['{}', '{}']", names[7], names[2]);
        let pictures = open(&[&classes, "data.share=0.3"]).unwrap();
        assert_eq!(pictures.train.class_names(), [&*names[7], &*names[2]]);
        // Of ten training pictures each three; all five test pictures.
        let labels =
            |source: &Arc<dyn Source>| (0..source.len()).map(|at| source.label(at).unwrap()).sum::<usize>();
        assert_eq!((pictures.train.len(), labels(&pictures.train)), (6, 3));
        assert_eq!((pictures.test.len(), labels(&pictures.test)), (10, 5));
        let error = open(&["data.classes=['no such']"]).err().unwrap().to_string();
        assert!(error.contains("a class is `no such`, expected one of the 10 classes"), "{error}");
    }

    #[test]
    fn a_size_that_nothing_leads_to_is_refused() {
        let recipe = recipe("quick/mixup", &["data.input_size=24"]);
        let error = Pictures::open(&recipe, Path::new("nowhere")).err().unwrap().to_string();
        assert_eq!(error, "recipe: data.input_size is 24, but the pictures are [32, 32]");
    }
}
