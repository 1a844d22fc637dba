//! Checkpoints: one safetensors file with everything that a run needs to go on as if it had never stopped.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use adautomix_ops::overwrite;
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The key of the metadata under which [`Progress`] stands. There is one key only: with more, their order in the file
/// would be left to chance.
const KEY: &str = "adautomix";

/// How far a run has come: all state that isn't a tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The recipe, resolved.
    pub recipe: String,
    /// Classes that the networks tell apart.
    pub classes: usize,
    /// Steps made.
    pub steps: usize,
    /// How often weights have moved.
    pub updates: usize,
    /// Length of `metrics.jsonl` at this point, in bytes.
    pub metrics_length: u64,
    /// Sums of the losses since the last line of metrics, and how many steps they are of.
    pub window: (Vec<(String, f64)>, usize),
    /// For each evaluation so far, the accuracies of each network and head.
    pub history: Vec<Vec<(String, String, f64, f64)>>,
    /// The highest top-1 accuracy so far of the network that counts.
    pub best: Option<f64>,
}

/// Writes a checkpoint: aside first, flushed, then renamed, so that a file of this name is always whole.
///
/// # Errors
/// If it can't be written; nothing is left behind then, and an older checkpoint stays.
pub fn save(path: &Path, tensors: &[(String, Tensor)], progress: &Progress) -> Result<()> {
    let mut detached = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        detached.push((name.as_str(), tensor.detach().to_device(&Device::Cpu)?));
    }
    let broken = |reason: String| Error::Checkpoint { path: path.to_owned(), reason };
    let text = serde_json::to_string(progress).map_err(|error| broken(error.to_string()))?;
    let metadata = HashMap::from([(KEY.to_owned(), text)]);
    let bytes =
        safetensors::serialize(detached, Some(metadata)).map_err(|error| broken(error.to_string()))?;
    write_whole(path, &bytes)
}

/// Writes a file aside and renames it when it is whole and on the disk.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        // A temporary file is private; what a run leaves behind is as readable as any other file.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(Error::at(path))
}

/// The file of a run's checkpoint: `last`, `best`, or `epoch-N` after N epochs.
pub fn path(run: &Path, name: &str) -> PathBuf {
    run.join("checkpoints").join(format!("{name}.safetensors"))
}

/// The epochs after which a run has kept its networks, from the first on.
///
/// # Errors
/// If its folder can't be read.
pub fn kept(run: &Path) -> Result<Vec<usize>> {
    let folder = run.join("checkpoints");
    let mut epochs = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Error::at(&folder))? {
        let name = entry.map_err(Error::at(&folder))?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix("epoch-").and_then(|name| name.strip_suffix(".safetensors"));
        epochs.extend(number.and_then(|number| number.parse::<usize>().ok()));
    }
    epochs.sort_unstable();
    Ok(epochs)
}

/// Reads how far a run had come.
///
/// # Errors
/// If the file can't be read or isn't a checkpoint of this program.
pub fn progress(path: &Path) -> Result<Progress> {
    let bytes = std::fs::read(path).map_err(Error::at(path))?;
    let broken = |reason: String| Error::Checkpoint { path: path.to_owned(), reason };
    let (_, metadata) = SafeTensors::read_metadata(&bytes)
        .map_err(|error| broken(format!("not a whole safetensors file ({error})")))?;
    let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let Some(text) = text else {
        return Err(broken("not a checkpoint of this program: no progress in it".into()));
    };
    serde_json::from_str(text).map_err(|error| broken(format!("unreadable progress ({error})")))
}

/// Overwrites `tensors` with those of a checkpoint, in place.
///
/// # Errors
/// If the checkpoint lacks one, has it in another shape, or has one that isn't expected; it names the first.
pub fn restore(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    fill(path, tensors, |_| true)
}

/// [`restore`] for networks alone, as `student.conv1.weight`: what a checkpoint has besides them is left where it is.
///
/// # Errors
/// As [`restore`], of the parts that `tensors` are of.
pub fn restore_networks(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let part = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let parts: HashSet<String> = tensors.iter().map(|(name, _)| part(name)).collect();
    fill(path, tensors, |name| parts.contains(&part(name)))
}

/// Overwrites `tensors`; each stored name that `counts` must be among them.
fn fill(path: &Path, tensors: &[(String, Tensor)], counts: impl Fn(&str) -> bool) -> Result<()> {
    let broken = |reason: String| Error::Checkpoint { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(Error::at(path))?;
    let stored = SafeTensors::deserialize(&bytes)
        .map_err(|error| broken(format!("not a whole safetensors file ({error})")))?;
    for (name, tensor) in tensors {
        let Ok(view) = stored.tensor(name) else { return Err(broken(format!("no tensor `{name}`"))) };
        if view.shape() != tensor.dims() {
            let text = format!("`{name}` is {:?}; expected {:?}", view.shape(), tensor.dims());
            return Err(broken(text));
        }
        use candle_core::safetensors::Load;
        overwrite(tensor, &view.load(tensor.device())?.to_dtype(tensor.dtype())?)?;
    }
    let expected: HashSet<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    match stored.names().into_iter().find(|name| !expected.contains(name) && counts(name)) {
        Some(name) => Err(broken(format!("holds `{name}`, which this network does not have"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(values: &[f32]) -> Vec<(String, Tensor)> {
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        vec![
            ("a".into(), tensor.clone()),
            ("b".into(), tensor.reshape((1, values.len())).unwrap().copy().unwrap()),
        ]
    }

    #[test]
    fn what_was_saved_comes_back_and_is_the_same_file_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        let progress =
            Progress { steps: 7, window: (vec![("x".into(), 0.1 + 0.2)], 3), ..Progress::default() };
        save(&path, &tensors(&[1.0, 2.0]), &progress).unwrap();
        let first = std::fs::read(&path).unwrap();
        save(&path, &tensors(&[1.0, 2.0]), &progress).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        let target = tensors(&[0.0, 0.0]);
        restore(&path, &target).unwrap();
        assert_eq!(target[1].1.to_vec2::<f32>().unwrap(), [[1.0, 2.0]]);
        assert_eq!(super::progress(&path).unwrap(), progress);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_network_or_a_cut_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        save(&path, &tensors(&[1.0, 2.0]), &Progress::default()).unwrap();
        let message = |tensors: &[(String, Tensor)]| restore(&path, tensors).unwrap_err().to_string();
        assert!(message(&tensors(&[0.0; 3])).ends_with("`a` is [2]; expected [3]"));
        assert!(message(&tensors(&[0.0; 2])[..1]).ends_with("holds `b`, which this network does not have"));
        let mut more = tensors(&[0.0; 2]);
        more.push(("c".into(), more[0].1.clone()));
        assert!(message(&more).ends_with("no tensor `c`"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(message(&more).contains("not a whole safetensors file"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/last.safetensors");
        let message = save(&path, &tensors(&[1.0]), &Progress::default()).unwrap_err().to_string();
        assert!(message.contains("missing/last.safetensors"), "{message}");
    }
}
