//! What recipes can say and training can't do yet: refused by name, not left out.

use adautomix_recipes::{Method, Recipe};

use crate::{Error, Result};

/// Refuses what isn't there of the way from files to batches.
///
/// # Errors
/// For the first of it that the recipe asks for.
pub(crate) fn refuse_data(recipe: &Recipe) -> Result<()> {
    let data = &recipe.data;
    refuse(&[
        (data.train_resize.is_some(), "`data.train_resize`"),
        (data.resized_crop.is_some(), "`data.resized_crop`"),
        (data.rand_augment.is_some(), "`data.rand_augment`"),
        (data.test_resize.is_some(), "`data.test_resize`"),
    ])
}

/// Refuses what isn't there of networks, optimizers and methods.
///
/// # Errors
/// For the first of it that the recipe asks for.
pub(crate) fn refuse_training(recipe: &Recipe) -> Result<()> {
    refuse(&[(recipe.network.pretrained.is_some(), "`network.pretrained`")])?;
    let adversarial = matches!(recipe.method, Method::MeAda(_) | Method::Dada(_));
    let drop_path = recipe.network.drop_path.is_some_and(|rate| rate > 0.0);
    refuse(&[(adversarial && drop_path, "`network.drop_path` for adversarial augmentation")])
}

fn refuse(asked: &[(bool, &str)]) -> Result<()> {
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(Error::Recipe(format!("it asks for {what}, which isn't there yet"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use adautomix_recipes::{Library, Override};

    use super::*;

    fn refusal(name: &str, overrides: &[&str]) -> Option<String> {
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        let recipe = Library::embedded().load(name, &overrides).unwrap();
        refuse_data(&recipe).and(refuse_training(&recipe)).err().map(|error| error.to_string())
    }

    #[test]
    fn every_recipe_names_a_mixer_that_there_is_and_its_parameters() {
        let library = Library::embedded();
        for name in library.names().unwrap() {
            let recipe = library.load(&name, &[]).unwrap();
            if let Method::Mixer { .. } = recipe.method {
                assert!(
                    crate::method::mixer(&recipe).is_ok(),
                    "{name}: {:?}",
                    crate::method::mixer(&recipe).err()
                );
            }
        }
    }

    #[test]
    fn what_isnt_there_is_named() {
        assert_eq!(refusal("quick/adautomix", &[]), None);
        assert_eq!(refusal("cifar100/resnet18/puzzlemix", &[]), None);
        let cases: [(&str, &[&str], &str); 4] = [
            ("cifar100/convnext_t/mixup", &[], "`data.rand_augment`"),
            ("imagenet/resnet18/mixup", &[], "`data.resized_crop`"),
            ("quick/mixup", &["network.pretrained=torchvision"], "`network.pretrained`"),
            ("quick/dada", &["network.drop_path=0.1"], "`network.drop_path` for adversarial augmentation"),
        ];
        for (name, overrides, what) in cases {
            let expected = format!("recipe: it asks for {what}, which isn't there yet");
            assert_eq!(refusal(name, overrides), Some(expected), "{name}");
        }
    }
}
