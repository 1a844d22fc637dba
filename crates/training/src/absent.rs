//! What recipes can say and training can't do yet: refused by name, not left out.

use adautomix_recipes::{Method, Recipe};

use crate::{Error, Result};

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
        refuse_training(&recipe).err().map(|error| error.to_string())
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
        assert_eq!(refusal("cifar100/swin_t/mixup", &[]), None);
        let cases: [(&str, &[&str], &str); 2] = [
            ("quick/mixup", &["network.pretrained=torchvision"], "`network.pretrained`"),
            ("quick/dada", &["network.drop_path=0.1"], "`network.drop_path` for adversarial augmentation"),
        ];
        for (name, overrides, what) in cases {
            let expected = format!("recipe: it asks for {what}, which isn't there yet");
            assert_eq!(refusal(name, overrides), Some(expected), "{name}");
        }
    }
}
