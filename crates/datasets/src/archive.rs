//! The archives and repositories in which data sets are published, and the check that a copy of one is whole.

use crate::{Error, Result};
use md5::Md5;
use sha2::Sha256;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A published archive: where it is, and what its content must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Its file name.
    pub file: &'static str,
    /// Its digest; none where nobody has published one.
    pub digest: Option<Digest<'static>>,
    /// Its size in bytes, where it is known.
    pub bytes: Option<u64>,
    /// Addresses that serve it, in the order in which they are tried. The digest makes them equally good.
    pub mirrors: &'static [&'static str],
}

/// A repository of the Hugging Face Hub with the parquet files of a data set.
///
/// The Hub itself says the SHA-256 digest of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Owner and name.
    pub id: &'static str,
    /// The beginning of the shards' names, and how many there are: `data/train` and 2 are
    /// `data/train-00000-of-00002.parquet` and `data/train-00001-of-00002.parquet`.
    pub shards: &'static [(&'static str, usize)],
    /// About how many bytes there are in all.
    pub bytes: u64,
}

impl Repository {
    /// The names of all files.
    pub fn files(&self) -> impl Iterator<Item = String> + use<> {
        self.shards.iter().flat_map(|&(prefix, count)| {
            (0..count).map(move |shard| format!("{prefix}-{shard:05}-of-{count:05}.parquet"))
        })
    }
}

/// A digest of a file in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest<'a> {
    /// By MD5, RFC 1321.
    Md5(&'a str),
    /// By SHA-256, FIPS 180-4.
    Sha256(&'a str),
}

impl Digest<'_> {
    /// What it is called.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Md5(_) => "MD5",
            Self::Sha256(_) => "SHA-256",
        }
    }

    /// Reads a file and compares its digest.
    ///
    /// # Errors
    /// When the file cannot be read or has another digest.
    pub fn verify(self, path: &Path) -> Result<()> {
        let (found, expected) = match self {
            Self::Md5(expected) => (hexadecimal::<Md5>(path)?, expected),
            Self::Sha256(expected) => (hexadecimal::<Sha256>(path)?, expected),
        };
        if found == expected {
            return Ok(());
        }
        Err(Error::Digest { path: path.to_owned(), kind: self.kind(), found, expected: expected.to_owned() })
    }
}

impl Archive {
    /// Reads a copy of the archive and compares its size and digest, as far as they are known.
    ///
    /// # Errors
    /// When the file cannot be read or has another size or digest.
    pub fn verify(&self, path: &Path) -> Result<()> {
        let found = path.metadata().map_err(|cause| Error::io(path, cause))?.len();
        match self.bytes {
            Some(expected) if found != expected => {
                Err(Error::FileSize { path: path.to_owned(), found, expected })
            }
            _ => self.digest.map_or(Ok(()), |digest| digest.verify(path)),
        }
    }
}

fn hexadecimal<D: md5::Digest>(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|cause| Error::io(path, cause))?;
    let mut digest = D::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(|cause| Error::io(path, cause))? {
            0 => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            bytes => digest.update(&buffer[..bytes]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_content_from_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        // The digests of these three bytes are in RFC 1321 and FIPS 180-4.
        let md5 = Digest::Md5("900150983cd24fb0d6963f7d28e17f72");
        let sha256 = Digest::Sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        std::fs::write(&path, "abc").unwrap();
        for digest in [md5, sha256] {
            Archive { file: "a", digest: Some(digest), bytes: Some(3), mirrors: &[] }.verify(&path).unwrap();
        }
        let archive = Archive { file: "a", digest: Some(md5), bytes: None, mirrors: &[] };
        std::fs::write(&path, "abd").unwrap();
        let error = archive.verify(&path).unwrap_err().to_string();
        let end =
            "has the MD5 digest 4911e516e5aa21d327512e0c8b197616, expected 900150983cd24fb0d6963f7d28e17f72";
        assert!(error.ends_with(end), "{error}");
        let error = Archive { bytes: Some(4), ..archive }.verify(&path).unwrap_err().to_string();
        assert!(error.ends_with("has 3 bytes, expected 4"), "{error}");
    }

    #[test]
    fn shards_are_numbered_with_their_total() {
        let repository =
            Repository { id: "a/b", shards: &[("data/train", 2), ("data/validation", 1)], bytes: 0 };
        let files: Vec<String> = repository.files().collect();
        let expected = [
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
            "data/validation-00000-of-00001.parquet",
        ];
        assert_eq!(files, expected);
    }
}
