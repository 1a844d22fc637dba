//! CIFAR-100-C as it was published: an `.npy` array a corruption, five severities in each.
//!
//! `CIFAR-100-C.tar`, unopened, or its folder: `gaussian_noise.npy` and so on are `[5 · N, 32, 32, 3]` bytes, the N test
//! pictures at severity 1, then at 2 and so on; `labels.npy` has a label for each of them. The pictures are read from the
//! file one by one: nothing is kept in memory but the labels.

use crate::cifar::{CIFAR100, SIZE};
use crate::npy::Array;
use crate::tree::Tree;
use crate::{CHANNELS, Error, Picture, Result, Source};
use std::ops::Range;
use std::path::Path;

/// The folder inside the archive.
pub(crate) const FOLDER: &str = "CIFAR-100-C";
/// How strong each corruption comes: 1 to 5.
const SEVERITIES: usize = 5;
/// Bytes of a picture.
const BYTES: usize = SIZE[0] * SIZE[1] * CHANNELS;

/// The published test pictures of CIFAR-100-C: every corruption, each with severities 1 to 5.
#[derive(Debug)]
pub struct Cifar100C {
    tree: Tree,
    class_names: Vec<String>,
    /// Where the pictures begin in the file of each corruption.
    starts: Vec<u64>,
    /// The labels of one corruption, which all have in common.
    labels: Vec<u16>,
}

impl Cifar100C {
    /// The published corruptions, in the order of the paper's four groups and the four that are kept for validation.
    pub const KINDS: [&str; 19] = [
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "defocus_blur",
        "glass_blur",
        "motion_blur",
        "zoom_blur",
        "snow",
        "frost",
        "fog",
        "brightness",
        "contrast",
        "elastic_transform",
        "pixelate",
        "jpeg_compression",
        "speckle_noise",
        "gaussian_blur",
        "spatter",
        "saturate",
    ];

    /// Opens the archive `CIFAR-100-C.tar` or its folder.
    ///
    /// # Errors
    /// When a file is missing or cut short, or an array has another type or shape than the published one.
    pub fn open(path: &Path) -> Result<Self> {
        let mut tree = Tree::open(path)?;
        if tree.has_folder(FOLDER) {
            tree = tree.below(FOLDER);
        }
        let class_names = CIFAR100.class_names();
        let list = Array::open(&tree, "labels.npy")?;
        let mut labels = Vec::new();
        for (row, label) in list.integers(&tree)?.into_iter().enumerate() {
            let classes = class_names.len();
            let known = u16::try_from(label).ok().filter(|&label| usize::from(label) < classes);
            labels.push(known.ok_or_else(|| Error::Label {
                path: tree.path("labels.npy"),
                row,
                label,
                classes,
            })?);
        }
        if labels.is_empty() || labels.len() % SEVERITIES != 0 {
            return Err(list
                .wrong(&format!("has {} labels, expected as many for each of 5 severities", labels.len())));
        }
        let expected = [labels.len(), SIZE[0], SIZE[1], CHANNELS];
        let mut starts = Vec::new();
        for kind in Self::KINDS {
            let array = Array::open(&tree, &format!("{kind}.npy"))?;
            if array.kind != "|u1" || array.shape != expected {
                return Err(
                    array.wrong(&format!("has {} {:?}, expected |u1 {expected:?}", array.kind, array.shape))
                );
            }
            starts.push(array.start);
        }
        Ok(Self { tree, class_names, starts, labels })
    }

    /// The indices of one corruption at one severity; none where there is no such corruption or severity.
    pub fn part(&self, kind: &str, severity: usize) -> Option<Range<usize>> {
        let place = Self::KINDS.iter().position(|known| *known == kind)?;
        let count = self.labels.len() / SEVERITIES;
        let first = place * self.labels.len() + severity.checked_sub(1)? * count;
        (severity <= SEVERITIES).then_some(first..first + count)
    }
}

impl Source for Cifar100C {
    fn name(&self) -> &str {
        "cifar100c"
    }

    fn len(&self) -> usize {
        self.starts.len() * self.labels.len()
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn size(&self) -> Option<[usize; 2]> {
        Some(SIZE)
    }

    fn label(&self, index: usize) -> Result<usize> {
        if index >= self.len() {
            return Err(Error::Index { name: self.name().to_owned(), index, len: self.len() });
        }
        Ok(usize::from(self.labels[index % self.labels.len()]))
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        let label = self.label(index)?;
        let (place, row) = (index / self.labels.len(), index % self.labels.len());
        picture.resize(SIZE[0], SIZE[1]);
        let name = format!("{}.npy", Self::KINDS[place]);
        self.tree.read_part(&name, self.starts[place] + (row * BYTES) as u64, &mut picture.pixels)?;
        Ok(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array as NumPy writes it.
    fn npy(kind: &str, shape: &str, numbers: &[u8]) -> Vec<u8> {
        let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
        while (10 + text.len() + 1) % 64 != 0 {
            text.push(' ');
        }
        text.push('\n');
        let mut bytes = b"\x93NUMPY\x01\0".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.bytes());
        bytes.extend(numbers);
        bytes
    }

    /// Two pictures a severity, whose first byte says the corruption and whose second the row.
    fn write(folder: &Path) {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("labels.npy"), npy("|u1", "(10,)", &[7, 99, 7, 99, 7, 99, 7, 99, 7, 99]))
            .unwrap();
        for (kind, name) in Cifar100C::KINDS.iter().enumerate() {
            let pictures: Vec<u8> = (0..10u8)
                .flat_map(|row| [kind as u8, row].into_iter().chain(std::iter::repeat_n(1, BYTES - 2)))
                .collect();
            std::fs::write(folder.join(format!("{name}.npy")), npy("|u1", "(10, 32, 32, 3)", &pictures))
                .unwrap();
        }
    }

    #[test]
    fn every_corruption_and_severity_is_read_from_the_folder_and_the_archive() {
        let home = tempfile::tempdir().unwrap();
        let (folder, archive) = (home.path().join(FOLDER), home.path().join("CIFAR-100-C.tar"));
        write(&folder);
        let mut builder = tar::Builder::new(std::fs::File::create(&archive).unwrap());
        builder.append_dir_all(FOLDER, &folder).unwrap();
        builder.into_inner().unwrap();
        for path in [folder, archive] {
            let source = Cifar100C::open(&path).unwrap();
            assert_eq!((source.len(), source.size()), (190, Some(SIZE)));
            let part = source.part("fog", 3).unwrap();
            assert_eq!(part, 94..96);
            let mut picture = Picture::default();
            assert_eq!(source.read(95, &mut picture).unwrap(), 99);
            assert_eq!(picture.pixels[..3], [9, 5, 1]);
            assert_eq!(
                (source.part("fog", 0), source.part("fog", 6), source.part("rain", 1)),
                (None, None, None)
            );
            assert!(source.read(190, &mut picture).is_err());
        }
    }

    #[test]
    fn a_missing_or_short_array_and_wrong_labels_are_named() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(FOLDER);
        write(&folder);
        let refusal = || Cifar100C::open(&folder).unwrap_err().to_string();
        let labels = folder.join("labels.npy");
        std::fs::write(&labels, npy("|u1", "(10,)", &[7, 100, 7, 9, 7, 9, 7, 9, 7, 9])).unwrap();
        assert!(refusal().ends_with("row 1: label 100, expected 0 to 99"), "{}", refusal());
        std::fs::write(&labels, npy("|u1", "(4,)", &[7, 9, 7, 9])).unwrap();
        assert!(refusal().contains("has 4 labels, expected as many"), "{}", refusal());
        std::fs::write(&labels, npy("|u1", "(15,)", &[7; 15])).unwrap();
        assert!(
            refusal().contains("gaussian_noise.npy` has |u1 [10, 32, 32, 3], expected |u1 [15"),
            "{}",
            refusal()
        );
        std::fs::write(&labels, npy("|u1", "(10,)", &[7; 10])).unwrap();
        let fog = std::fs::read(folder.join("fog.npy")).unwrap();
        std::fs::write(folder.join("fog.npy"), &fog[..fog.len() - 1]).unwrap();
        assert!(refusal().contains("fog.npy` has 30847 bytes, expected 30848"), "{}", refusal());
        std::fs::remove_file(folder.join("fog.npy")).unwrap();
        assert!(refusal().contains("fog.npy`"), "{}", refusal());
    }
}
