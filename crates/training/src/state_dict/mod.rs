//! State dicts as timm and torchvision write them: safetensors without anything but a network's tensors.

mod names;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use adautomix_ops::overwrite;
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::{Error, Parameters, Result};
use names::Dialect;

/// The heads of a network that has two; the first is the one that a state dict has.
const TWO_HEADS: [&str; 2] = ["head_one", "head_mix"];

/// Ends of the names of buffers that follow from the network's sizes, or that nothing reads.
const IGNORED: [&str; 3] = ["num_batches_tracked", "relative_position_index", "attn_mask"];

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Tensors that were taken.
    pub tensors: usize,
    /// What became of the classifier.
    pub classifier: LoadedClassifier,
}

/// What became of a file's classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadedClassifier {
    /// It was taken, by both heads where there are two.
    Taken,
    /// The file's has another number of classes, or it has none, so the network's own stays as it was drawn.
    Drawn {
        /// Classes of the file; 0 without a classifier.
        file: usize,
        /// Classes of the network.
        network: usize,
    },
    /// The network has no classifier.
    Unused,
}

/// Fills a network with the tensors of a safetensors file with the names of timm or torchvision.
///
/// `head` is what the classifier is called there ([`Backbone::head_name`](adautomix_backbones::Backbone::head_name)). Every
/// tensor must fit, except a classifier of another number of classes, which leaves the network's own as it was drawn.
/// Floats of other widths are converted. Buffers that follow from the sizes are ignored, and so may be the norm of Swin's
/// mixing map, which only this program has.
///
/// # Errors
/// If the file can't be read, or a tensor is missing, too many or of another shape; it names the first, and the network is as
/// it was.
pub fn load(path: &Path, parameters: &Parameters, head: &str) -> Result<Loaded> {
    read(&std::fs::read(path).map_err(Error::at(path))?, path, parameters, head)
}

/// [`load`] of a file that has been read, or made by [`export`]; `path` is what errors call it.
///
/// # Errors
/// As [`load`].
pub fn read(bytes: &[u8], path: &Path, parameters: &Parameters, head: &str) -> Result<Loaded> {
    let broken = |reason: String| Error::Checkpoint { path: path.to_owned(), reason };
    let stored = SafeTensors::deserialize(bytes)
        .map_err(|error| broken(format!("not a whole safetensors file ({error})")))?;
    let mut file = translated(&stored);
    let network = parameters.entries();
    let fits = |name: &str, tensor: &Tensor, view: &TensorView<'_>| {
        let (found, expected) = (shape(name, view), tensor.dims());
        if found == expected {
            Ok(())
        } else {
            Err(broken(format!("`{name}` is {found:?}; expected {expected:?}")))
        }
    };
    let mut taken = Vec::new();
    let classifier = classifier(&network, &mut file, head, &fits, &mut taken)?;
    for (name, tensor) in network.iter().filter(|(name, _)| head_part(name, head).is_none()) {
        match file.remove(name) {
            Some(view) => {
                fits(name, tensor, &view)?;
                taken.push((tensor, view));
            }
            None if name.starts_with("norm2.") => {}
            None => return Err(broken(format!("no tensor `{name}`"))),
        }
    }
    if let Some(name) = file.keys().next() {
        return Err(broken(format!("holds `{name}`, which this network does not have")));
    }
    let values = taken
        .iter()
        .map(|(tensor, view)| view.load(tensor.device())?.to_dtype(tensor.dtype())?.reshape(tensor.shape()));
    // All are read before the first is written.
    let values: Vec<Tensor> = values.collect::<Result<_, _>>()?;
    for ((tensor, _), value) in taken.iter().zip(values) {
        overwrite(tensor, &value)?;
    }
    Ok(Loaded { tensors: taken.len(), classifier })
}

/// The file's tensors by timm's names.
fn translated<'a>(stored: &SafeTensors<'a>) -> BTreeMap<String, TensorView<'a>> {
    let dialect = Dialect::of(|name| stored.tensor(name).is_ok());
    let wanted = |(name, _): &(String, TensorView<'a>)| !IGNORED.iter().any(|end| name.ends_with(end));
    stored.tensors().into_iter().filter(wanted).map(|(name, view)| (dialect.translate(&name), view)).collect()
}

/// torchvision's layer scale is `[C, 1, 1]`.
fn shape(name: &str, view: &TensorView<'_>) -> Vec<usize> {
    match view.shape() {
        &[channels, 1, 1] if name.ends_with(".gamma") => vec![channels],
        shape => shape.to_vec(),
    }
}

/// Takes the file's classifier out, and for each head of the network notes it if the classes fit.
fn classifier<'a, 'b>(
    network: &'a [(String, Tensor)],
    file: &mut BTreeMap<String, TensorView<'b>>,
    head: &str,
    fits: &dyn Fn(&str, &Tensor, &TensorView<'_>) -> Result<()>,
    taken: &mut Vec<(&'a Tensor, TensorView<'b>)>,
) -> Result<LoadedClassifier> {
    let mut own = Vec::new();
    for (name, tensor) in network {
        own.extend(head_part(name, head).map(|part| (format!("{head}.{part}"), tensor)));
    }
    let weight = format!("{head}.weight");
    let theirs = file.get(&weight).and_then(|view| view.shape().first().copied()).unwrap_or(0);
    let parts: HashMap<String, TensorView<'b>> =
        ["weight", "bias"].iter().filter_map(|part| file.remove_entry(&format!("{head}.{part}"))).collect();
    let Some((_, tensor)) = own.iter().find(|(name, _)| *name == weight) else {
        return Ok(LoadedClassifier::Unused);
    };
    let classes = tensor.dims()[0];
    if theirs != classes {
        return Ok(LoadedClassifier::Drawn { file: theirs, network: classes });
    }
    for (name, tensor) in own {
        if let Some(view) = parts.get(&name) {
            fits(&name, tensor, view)?;
            taken.push((tensor, view.clone()));
        }
    }
    Ok(LoadedClassifier::Taken)
}

/// `weight` or `bias`, if that is a tensor of a head.
fn head_part<'a>(name: &'a str, head: &str) -> Option<&'a str> {
    let heads = TWO_HEADS.into_iter().chain([head]);
    heads
        .filter_map(|head| name.strip_prefix(head)?.strip_prefix('.'))
        .find(|part| ["weight", "bias"].contains(part))
}

/// A network as a safetensors file with timm's names: the one-hot head as `head`, without the mixup head and without the norm
/// of Swin's mixing map. The same tensors give the same bytes.
///
/// # Errors
/// If a tensor can't be copied to the CPU.
pub fn export(parameters: &Parameters, head: &str) -> Result<Vec<u8>> {
    let [one, mix] = TWO_HEADS.map(|head| format!("{head}."));
    let renamed = |name: &str| match name.strip_prefix(&one) {
        Some(part) => format!("{head}.{part}"),
        None => name.to_owned(),
    };
    let entries = parameters.entries();
    let kept = entries.iter().filter(|(name, _)| !name.starts_with(&mix) && !name.starts_with("norm2."));
    let tensors = kept.map(|(name, tensor)| {
        Ok((renamed(name), tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?))
    });
    let tensors = tensors.collect::<candle_core::Result<Vec<_>>>()?;
    // Loaders of PyTorch ask for this.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(tensors, Some(metadata));
    Ok(bytes.map_err(candle_core::Error::wrap)?)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use adautomix_backbones::{Classifier, Head, Pass};
    use tempfile::TempDir;

    use super::*;
    use crate::{Network, named};

    fn network(classes: usize, two_heads: bool, seed: u64) -> Network {
        Network::new(&*named("resnet20-cifar", classes, two_heads), seed, &Device::Cpu).unwrap()
    }

    fn logits(classifier: &Classifier) -> Vec<Vec<f32>> {
        let values: Vec<f32> = (0..3 * 32 * 32).map(|i| (i as f32 * 0.37).sin()).collect();
        let images = Tensor::from_vec(values, (1, 3, 32, 32), &Device::Cpu).unwrap();
        classifier.forward(&images, Head::OneHot, &mut Pass::eval()).unwrap().to_vec2().unwrap()
    }

    /// A file with these changes: a tensor of no shape is left out.
    fn file(folder: &TempDir, network: &Network, changes: &[(&str, Option<Tensor>)]) -> PathBuf {
        let bytes = export(&network.parameters, "fc").unwrap();
        let mut tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        for (name, tensor) in changes {
            match tensor {
                Some(tensor) => drop(tensors.insert((*name).to_owned(), tensor.clone())),
                None => drop(tensors.remove(*name).unwrap()),
            }
        }
        let path = folder.path().join("model.safetensors");
        candle_core::safetensors::save(&tensors, &path).unwrap();
        path
    }

    fn zeros(shape: &[usize]) -> Option<Tensor> {
        Some(Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap())
    }

    #[test]
    fn what_is_exported_loads_with_the_same_logits() {
        let (folder, trained) = (tempfile::tempdir().unwrap(), network(10, true, 1));
        let path = folder.path().join("model.safetensors");
        let bytes = export(&trained.parameters, "fc").unwrap();
        assert_eq!(export(&trained.parameters, "fc").unwrap(), bytes);
        std::fs::write(&path, bytes).unwrap();
        let names: Vec<String> =
            candle_core::safetensors::load(&path, &Device::Cpu).unwrap().into_keys().collect();
        assert!(names.contains(&"fc.bias".to_owned()) && !names.iter().any(|name| name.starts_with("head_")));
        for two_heads in [false, true] {
            let new = network(10, two_heads, 2);
            assert_ne!(logits(&new.fixed), logits(&trained.fixed));
            let loaded = load(&path, &new.parameters, "fc").unwrap();
            assert_eq!(loaded.classifier, LoadedClassifier::Taken);
            assert_eq!(loaded.tensors, new.parameters.entries().len());
            assert_eq!(logits(&new.fixed), logits(&trained.fixed));
        }
    }

    #[test]
    fn a_classifier_of_other_classes_stays_as_it_was_drawn() {
        let (folder, trained, new) =
            (tempfile::tempdir().unwrap(), network(10, true, 1), network(7, false, 2));
        let own = |network: &Network| network.parameters.get("fc.weight").unwrap().to_vec2::<f32>().unwrap();
        let before = own(&new);
        let loaded = load(&file(&folder, &trained, &[]), &new.parameters, "fc").unwrap();
        assert_eq!(loaded.classifier, LoadedClassifier::Drawn { file: 10, network: 7 });
        assert_eq!(own(&new), before);
        let first =
            |network: &Network| network.parameters.get("conv1.weight").unwrap().flatten_all().unwrap();
        assert_eq!(first(&new).to_vec1::<f32>().unwrap(), first(&trained).to_vec1::<f32>().unwrap());
        let headless = file(&folder, &trained, &[("fc.weight", None), ("fc.bias", None)]);
        let loaded = load(&headless, &new.parameters, "fc").unwrap();
        assert_eq!(loaded.classifier, LoadedClassifier::Drawn { file: 0, network: 7 });
    }

    #[test]
    fn a_tensor_that_does_not_fit_is_named_and_nothing_is_changed() {
        let (folder, trained, new) =
            (tempfile::tempdir().unwrap(), network(10, true, 1), network(10, false, 2));
        let before = logits(&new.fixed);
        let message = |changes: &[(&str, Option<Tensor>)]| {
            let path = file(&folder, &trained, changes);
            let message = load(&path, &new.parameters, "fc").unwrap_err().to_string();
            assert!(message.contains("model.safetensors: "), "{message}");
            assert_eq!(logits(&new.fixed), before);
            message
        };
        assert!(message(&[("layer3.2.bn2.bias", None)]).ends_with("no tensor `layer3.2.bn2.bias`"));
        let extra = "holds `layer4.0.conv1.weight`, which this network does not have";
        assert!(message(&[("layer4.0.conv1.weight", zeros(&[2]))]).ends_with(extra));
        let shape = "`conv1.weight` is [16, 3, 7, 7]; expected [16, 3, 3, 3]";
        assert!(message(&[("conv1.weight", zeros(&[16, 3, 7, 7]))]).ends_with(shape));
        assert!(
            message(&[("fc.weight", zeros(&[10, 65]))])
                .ends_with("`fc.weight` is [10, 65]; expected [10, 64]")
        );
        let path = folder.path().join("cut.safetensors");
        std::fs::write(&path, &export(&trained.parameters, "fc").unwrap()[..1000]).unwrap();
        let message = load(&path, &new.parameters, "fc").unwrap_err().to_string();
        assert!(message.contains("not a whole safetensors file"), "{message}");
    }

    #[test]
    fn counters_are_ignored_and_halves_converted() {
        let (folder, trained, new) =
            (tempfile::tempdir().unwrap(), network(10, false, 1), network(10, false, 2));
        let half = trained.parameters.get("conv1.weight").unwrap().detach().to_dtype(DType::F16).unwrap();
        let counter = Tensor::new(7i64, &Device::Cpu).unwrap();
        let changes = [("bn1.num_batches_tracked", Some(counter)), ("conv1.weight", Some(half.clone()))];
        load(&file(&folder, &trained, &changes), &new.parameters, "fc").unwrap();
        let loaded = new.parameters.get("conv1.weight").unwrap().flatten_all().unwrap();
        let expected = half.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        assert_eq!(loaded.to_vec1::<f32>().unwrap(), expected.to_vec1::<f32>().unwrap());
    }
}
