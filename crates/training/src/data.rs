//! The pictures of a recipe.

use std::path::Path;
use std::sync::Arc;

use adautomix_datasets::{Loader, LoaderOptions, Source, Split, Subset, Synthetic, Transform, open};
use adautomix_recipes::Recipe;

use crate::absent::refuse_data;
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
    /// If it can't be read, is unknown, or its pictures have another size than the recipe's.
    pub fn open(recipe: &Recipe, folder: &Path) -> Result<Self> {
        refuse_data(recipe)?;
        let data = &recipe.data;
        let part = |split, limit: Option<usize>| -> Result<Arc<dyn Source>> {
            let source: Arc<dyn Source> = match (data.name.as_str(), limit) {
                // Drawn, not taken from a file: another seed of the run has the same pictures.
                ("synthetic", Some(len)) => Arc::new(Synthetic::new(0, split, len)),
                (name, None) => open(name, folder, split)?,
                (name, Some(len)) => Arc::new(Subset::first(open(name, folder, split)?, len)),
            };
            if source.size() != Some([data.input_size; 2]) {
                let text = format!(
                    "data.input_size is {}, but the pictures are {:?}",
                    data.input_size,
                    source.size()
                );
                return Err(Error::Recipe(text));
            }
            Ok(source)
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
        let transform = Transform { pad: recipe.data.pad, flip: recipe.data.flip, ..plain(recipe) };
        Ok(Loader::new(self.train.clone(), transform, options)?)
    }

    /// The loader of test batches.
    ///
    /// # Errors
    /// If there is no test picture.
    pub fn testing(&self, recipe: &Recipe) -> Result<Loader> {
        let options = LoaderOptions::evaluation(recipe.training.batch_size);
        Ok(Loader::new(self.test.clone(), plain(recipe), options)?)
    }
}

/// Normalisation alone.
fn plain(recipe: &Recipe) -> Transform {
    let [mean, std] = [recipe.data.mean, recipe.data.std].map(|values| values.map(|value| value as f32));
    Transform::evaluation(mean, std)
}
