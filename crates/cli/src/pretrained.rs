//! The weights that `network.pretrained` names.

use std::path::{Path, PathBuf};

use adautomix_recipes::Recipe;
use adautomix_training::{Pretrained, checkpoint};
use anyhow::{Result, bail, ensure};

/// Where weights are, as the text of `network.pretrained` says.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// `hub:OWNER/NAME` or `hub:OWNER/NAME@REVISION`
    Hub(String),
    /// `run:DIR`, or the default folder of a recipe's run.
    Run(PathBuf),
    /// A safetensors file.
    File(PathBuf),
}

impl Place {
    fn of(name: &str, network: &str, seed: u64) -> Result<Self> {
        if name == "torchvision" {
            // timm keeps torchvision's first weights of ImageNet-1K under this tag; the others' are of other training.
            ensure!(
                ["resnet18", "resnet34", "resnet50", "resnext50_32x4d"].contains(&network),
                "network.pretrained is `torchvision`, which there is for ResNet and ResNeXt, not for `{network}`"
            );
            return Ok(Self::Hub(format!("timm/{network}.tv_in1k")));
        }
        Ok(match (name.strip_prefix("hub:"), name.strip_prefix("run:")) {
            (Some(model), _) => Self::Hub(model.to_owned()),
            (None, Some(folder)) => Self::Run(folder.into()),
            _ if name.ends_with(".safetensors") => Self::File(name.into()),
            _ => Self::Run(Path::new("runs").join(format!("{name}-seed{seed}"))),
        })
    }
}

/// The weights that the recipe of a run in the folder `out` begins with. A run that goes on needs none.
pub(crate) fn find(recipe: &Recipe, out: &Path) -> Result<Option<Pretrained>> {
    let Some(name) = &recipe.network.pretrained else { return Ok(None) };
    if checkpoint::path(out, "last").exists() {
        return Ok(None);
    }
    Ok(Some(match Place::of(name, &recipe.network.name, recipe.training.seed)? {
        Place::Hub(model) => Pretrained::File(pull(&model)?),
        Place::File(path) => Pretrained::File(path),
        Place::Run(folder) if folder.join("recipe.toml").exists() => Pretrained::Run(folder),
        Place::Run(folder) => bail!(
            "network.pretrained is `{name}`, but `{}` holds no run: train it there, or name another by --pretrained run:DIR",
            folder.display()
        ),
    }))
}

#[cfg(feature = "hub")]
fn pull(model: &str) -> Result<PathBuf> {
    use adautomix_hub::{Hub, Settings};
    let repository = model.parse()?;
    let weights = crate::commands::hub::shown(|progress| {
        Hub::new(Settings::from_environment())?.pull(&repository, progress)
    })?;
    Ok(weights.model)
}

#[cfg(not(feature = "hub"))]
fn pull(model: &str) -> Result<PathBuf> {
    bail!("weights of `hub:{model}`: this program is built without the feature `hub`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_name_is_told_apart() {
        let place = |name| Place::of(name, "resnet50", 3).unwrap();
        assert_eq!(place("torchvision"), Place::Hub("timm/resnet50.tv_in1k".into()));
        assert_eq!(place("hub:timm/resnet50.a1_in1k@main"), Place::Hub("timm/resnet50.a1_in1k@main".into()));
        assert_eq!(place("run:results/a"), Place::Run("results/a".into()));
        assert_eq!(place("weights/model.safetensors"), Place::File("weights/model.safetensors".into()));
        assert_eq!(place("imagenet/resnet50/mixup"), Place::Run("runs/imagenet/resnet50/mixup-seed3".into()));
        let error = Place::of("torchvision", "swin_tiny_patch4_window7_224", 0).unwrap_err().to_string();
        assert!(error.contains("not for `swin_tiny_patch4_window7_224`"), "{error}");
    }
}
