//! Other names of the same tensors: torchvision's, and those of timm before 0.9.

/// The file in whose names a state dict is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// timm's today, which for residual networks are also torchvision's.
    Timm,
    /// A Swin transformer whose stages end with the merging of patches, as Microsoft's and timm's before 0.9.
    OldSwin,
    /// torchvision's Swin transformer.
    TorchvisionSwin,
    /// torchvision's ConvNeXt.
    TorchvisionConvNext,
}

impl Dialect {
    /// The dialect of a file that has these names.
    pub(super) fn of(has: impl Fn(&str) -> bool) -> Self {
        if has("features.1.0.attn.qkv.weight") {
            Self::TorchvisionSwin
        } else if has("features.1.0.layer_scale") {
            Self::TorchvisionConvNext
        } else if has("layers.0.downsample.reduction.weight") {
            Self::OldSwin
        } else {
            Self::Timm
        }
    }

    /// The name today; a name that isn't of the dialect stays as it is.
    pub(super) fn translate(self, name: &str) -> String {
        let translated = match self {
            Self::Timm => None,
            Self::OldSwin => old_swin(name),
            Self::TorchvisionSwin => torchvision_swin(name),
            Self::TorchvisionConvNext => torchvision_convnext(name),
        };
        translated.unwrap_or_else(|| name.to_owned())
    }
}

fn old_swin(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("head.").filter(|rest| !rest.contains('.')) {
        return Some(format!("head.fc.{rest}"));
    }
    let (stage, rest) = name.strip_prefix("layers.")?.split_once(".downsample.")?;
    Some(format!("layers.{}.downsample.{rest}", stage.parse::<usize>().ok()? + 1))
}

fn torchvision_swin(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("head.") {
        return Some(format!("head.fc.{rest}"));
    }
    let (place, rest) = feature(name)?;
    Some(match (place, rest.split_once('.')?) {
        (0, ("0", rest)) => format!("patch_embed.proj.{rest}"),
        (0, ("2", rest)) => format!("patch_embed.norm.{rest}"),
        (place, _) if place % 2 == 0 => format!("layers.{}.downsample.{rest}", place / 2),
        (place, (block, rest)) => {
            let rest = rest.replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.");
            format!("layers.{}.blocks.{block}.{rest}", place / 2)
        }
    })
}

fn torchvision_convnext(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("classifier.0.") {
        return Some(format!("head.norm.{rest}"));
    }
    if let Some(rest) = name.strip_prefix("classifier.2.") {
        return Some(format!("head.fc.{rest}"));
    }
    let (place, rest) = feature(name)?;
    if place == 0 {
        return Some(format!("stem.{rest}"));
    }
    if place % 2 == 0 {
        return Some(format!("stages.{}.downsample.{rest}", place / 2));
    }
    let (block, rest) = rest.split_once('.')?;
    let rest = match rest.strip_prefix("block.").and_then(|rest| rest.split_once('.')) {
        None if rest == "layer_scale" => "gamma".to_owned(),
        Some(("0", rest)) => format!("conv_dw.{rest}"),
        Some(("2", rest)) => format!("norm.{rest}"),
        Some(("3", rest)) => format!("mlp.fc1.{rest}"),
        Some(("5", rest)) => format!("mlp.fc2.{rest}"),
        _ => return None,
    };
    Some(format!("stages.{}.blocks.{block}.{rest}", place / 2))
}

/// The number behind `features`, which counts stages and what is between them, and the rest.
fn feature(name: &str) -> Option<(usize, &str)> {
    let (place, rest) = name.strip_prefix("features.")?.split_once('.')?;
    Some((place.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_become_timms() {
        for (dialect, theirs, ours) in [
            (Dialect::OldSwin, "layers.0.downsample.norm.bias", "layers.1.downsample.norm.bias"),
            (Dialect::OldSwin, "layers.0.blocks.0.norm1.bias", "layers.0.blocks.0.norm1.bias"),
            (Dialect::OldSwin, "head.weight", "head.fc.weight"),
            (Dialect::TorchvisionSwin, "features.0.2.bias", "patch_embed.norm.bias"),
            (Dialect::TorchvisionSwin, "features.2.reduction.weight", "layers.1.downsample.reduction.weight"),
            (Dialect::TorchvisionSwin, "features.5.3.mlp.3.bias", "layers.2.blocks.3.mlp.fc2.bias"),
            (Dialect::TorchvisionSwin, "features.7.1.attn.qkv.bias", "layers.3.blocks.1.attn.qkv.bias"),
            (Dialect::TorchvisionSwin, "norm.weight", "norm.weight"),
            (Dialect::TorchvisionConvNext, "features.0.1.bias", "stem.1.bias"),
            (Dialect::TorchvisionConvNext, "features.6.1.weight", "stages.3.downsample.1.weight"),
            (Dialect::TorchvisionConvNext, "features.1.2.layer_scale", "stages.0.blocks.2.gamma"),
            (Dialect::TorchvisionConvNext, "features.3.0.block.5.bias", "stages.1.blocks.0.mlp.fc2.bias"),
            (Dialect::TorchvisionConvNext, "classifier.2.bias", "head.fc.bias"),
            (Dialect::TorchvisionConvNext, "features.1.2.other", "features.1.2.other"),
        ] {
            assert_eq!(dialect.translate(theirs), ours);
        }
    }
}
