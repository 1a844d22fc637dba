//! `config.json` as timm writes and reads it.

use adautomix_recipes::Recipe;
use serde_json::json;

/// A network as timm describes it.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    /// The recipe it was trained by.
    pub recipe: &'a Recipe,
    /// Its classes.
    pub classes: usize,
    /// What its classifier reads, in numbers for each picture.
    pub features: usize,
    /// The classifier's name in the state dict, as `fc`.
    pub classifier: &'a str,
    /// The name of the convolution that sees the picture, as `conv1`.
    pub first_conv: &'a str,
}

impl Description<'_> {
    /// Whether `timm.create_model` builds the network by this name. The stems for small pictures are not timm's.
    pub fn is_timm(&self) -> bool {
        !self.recipe.network.name.ends_with("-cifar")
    }

    /// The text of `config.json`, by which `timm.create_model("hf-hub:OWNER/NAME", pretrained=True)` builds and fills the
    /// network, and prepares pictures as they were in training.
    pub fn to_json(&self) -> String {
        let data = &self.recipe.data;
        let config = json!({
            "architecture": self.recipe.network.name,
            "num_classes": self.classes,
            "num_features": self.features,
            "pretrained_cfg": {
                "input_size": [3, data.input_size, data.input_size],
                // A transformer's positions belong to one size.
                "fixed_input_size": self.first_conv == "patch_embed.proj",
                "crop_pct": 1.0,
                "crop_mode": "center",
                "interpolation": "bilinear",
                "mean": data.mean,
                "std": data.std,
                "num_classes": self.classes,
                "classifier": self.classifier,
                "first_conv": self.first_conv,
            },
        });
        format!("{config:#}\n")
    }
}
