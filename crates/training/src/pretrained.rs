//! The weights that a run begins with, where they aren't drawn.

use std::path::PathBuf;

use adautomix_ops::overwrite;
use candle_core::Device;

use crate::method::Method;
use crate::state_dict::{self, Loaded};
use crate::{Error, Parameters, Result, load};

/// Where trained weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pretrained {
    /// In a safetensors file with the names of timm or torchvision.
    File(PathBuf),
    /// In the last checkpoint of the run in a folder: its teacher, or its student where it has no teacher.
    Run(PathBuf),
}

impl Pretrained {
    /// Fills the student of a method, and its teacher, which begins as a copy. Strict, as [`state_dict::load`] is: only a
    /// classifier of other classes stays as it was drawn.
    ///
    /// # Errors
    /// If the weights can't be read, or aren't those of the method's network.
    pub fn fill(&self, method: &dyn Method) -> Result<Loaded> {
        let (student, head) = part(method, "student")?;
        let loaded = match self {
            Self::File(path) => state_dict::load(path, &student, head)?,
            Self::Run(folder) => {
                let run = load(folder, "last", &Device::Cpu)?;
                let counts = run.method.evaluated().last().map_or("student", |(network, _)| network);
                let (trained, head_there) = part(&*run.method, counts)?;
                let bytes = state_dict::export(&trained, head_there)?;
                state_dict::read(&bytes, folder, &student, head)?
            }
        };
        if let Ok((teacher, _)) = part(method, "teacher") {
            for (name, tensor) in teacher.entries() {
                if let Some(value) = student.get(&name) {
                    overwrite(&tensor, &value.detach())?;
                }
            }
        }
        Ok(loaded)
    }
}

/// The tensors of one of a method's networks, and what its classifier is called in state dicts.
fn part(method: &dyn Method, network: &str) -> Result<(Parameters, &'static str)> {
    let parameters = method.state().into_iter().find(|(name, _)| *name == network);
    let classifier = method.evaluated().into_iter().find(|(name, _)| *name == network);
    match (parameters, classifier) {
        (Some((_, parameters)), Some((_, classifier))) => {
            Ok((parameters.clone(), classifier.backbone.head_name()))
        }
        _ => Err(Error::Recipe(format!("the method has no {network}"))),
    }
}

#[cfg(test)]
mod tests {
    use adautomix_recipes::{Library, Override};

    use super::*;
    use crate::Stepper;
    use crate::state_dict::LoadedClassifier;

    fn stepper(recipe: &str, seed: &str, classes: usize) -> Stepper {
        let overrides: Vec<Override> = vec![format!("training.seed={seed}").parse().unwrap()];
        let recipe = Library::embedded().load(recipe, &overrides).unwrap();
        Stepper::new(&recipe, classes, 10, 10, &Device::Cpu).unwrap()
    }

    fn weights(stepper: &Stepper, network: &str, name: &str) -> Vec<f32> {
        let (parameters, _) = part(stepper.method(), network).unwrap();
        parameters.get(name).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_file_fills_student_and_teacher_and_leaves_a_head_of_other_classes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let trained = stepper("quick/vanilla", "1", 10);
        let (parameters, head) = part(trained.method(), "student").unwrap();
        std::fs::write(&path, state_dict::export(&parameters, head).unwrap()).unwrap();
        let new = stepper("quick/adautomix", "2", 7);
        let head = weights(&new, "student", "head_one.weight");
        let loaded = Pretrained::File(path).fill(new.method()).unwrap();
        assert_eq!(loaded.classifier, LoadedClassifier::Drawn { file: 10, network: 7 });
        let expected = weights(&trained, "student", "layer3.0.conv1.weight");
        for network in ["student", "teacher"] {
            assert_eq!(weights(&new, network, "layer3.0.conv1.weight"), expected, "{network}");
            assert_eq!(weights(&new, network, "head_one.weight"), head, "{network}");
        }
        let missing = Pretrained::Run(folder.path().to_owned()).fill(new.method()).unwrap_err().to_string();
        assert!(missing.contains("recipe.toml"), "{missing}");
    }
}
