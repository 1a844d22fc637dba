//! The archive in which a data set is published, and the check that a copy of it is whole.

use crate::{Error, Result};
use md5::{Digest, Md5};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A published archive: where it is, and what its content must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Its file name.
    pub file: &'static str,
    /// Its MD5 digest in hexadecimal, as its publisher gives it.
    pub md5: &'static str,
    /// Addresses that serve it, in the order in which they are tried. The digest makes them equally good.
    pub mirrors: &'static [&'static str],
}

impl Archive {
    /// Reads a copy of the archive and compares its digest.
    ///
    /// # Errors
    /// When the file cannot be read or has another digest.
    pub fn verify(&self, path: &Path) -> Result<()> {
        let mut file = File::open(path).map_err(|cause| Error::io(path, cause))?;
        let mut digest = Md5::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer).map_err(|cause| Error::io(path, cause))? {
                0 => return self.compare(digest, path),
                bytes => digest.update(&buffer[..bytes]),
            }
        }
    }

    /// Refuses a digest that is not the published one; `path` is what the message names.
    pub(crate) fn compare(&self, digest: Md5, path: &Path) -> Result<()> {
        let found: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if found == self.md5 {
            return Ok(());
        }
        Err(Error::Digest { path: path.to_owned(), found, expected: self.md5 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_content_from_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        // The digest of these three bytes is in RFC 1321.
        let archive = Archive { file: "a", md5: "900150983cd24fb0d6963f7d28e17f72", mirrors: &[] };
        std::fs::write(&path, "abc").unwrap();
        archive.verify(&path).unwrap();
        std::fs::write(&path, "abd").unwrap();
        let error = archive.verify(&path).unwrap_err().to_string();
        let end =
            "has the MD5 digest 4911e516e5aa21d327512e0c8b197616, expected 900150983cd24fb0d6963f7d28e17f72";
        assert!(error.ends_with(end), "{error}");
    }
}
