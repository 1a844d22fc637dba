//! The digests by which the Hub names contents: SHA-256 for large files, git's SHA-1 for small ones.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// A content's name. In the cache its file is called by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    /// Of a file in large file storage.
    Sha256(String),
    /// Of a file in git: SHA-1 over `blob LENGTH\0` and the content.
    Git(String),
}

impl Digest {
    /// The digest in an entity tag, with or without quotes.
    pub(crate) fn parse(tag: &str) -> Option<Self> {
        let text = tag.trim().trim_start_matches("W/").trim_matches('"');
        if !text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            return None;
        }
        match text.len() {
            64 => Some(Self::Sha256(text.to_owned())),
            40 => Some(Self::Git(text.to_owned())),
            _ => None,
        }
    }

    /// Its digits.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::Git(text) => text,
        }
    }

    /// The digest of the same kind of a file.
    pub(crate) fn of_file(&self, path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        self.of(file, length)
    }

    /// The digest of the same kind of `bytes`.
    pub(crate) fn of_bytes(&self, bytes: &[u8]) -> Self {
        self.of(bytes, bytes.len() as u64).expect("memory can be read")
    }

    fn of(&self, content: impl Read, length: u64) -> io::Result<Self> {
        Ok(match self {
            Self::Sha256(_) => Self::Sha256(sum(Sha256::new(), content)?),
            Self::Git(_) => Self::Git(sum(Sha1::new().chain_update(format!("blob {length}\0")), content)?),
        })
    }
}

/// SHA-256 of `bytes`, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn sum<D: sha2::Digest>(mut digest: D, mut content: impl Read) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(hexadecimal(&digest.finalize())),
            Ok(bytes) => digest.update(&buffer[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_git_and_sha256sum() {
        let git = Digest::parse("\"ce013625030ba8dba906f756967f9e9ca394464a\"").unwrap();
        assert_eq!(git.of_bytes(b"hello\n"), git);
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let large = Digest::parse(&format!("W/\"{sha256}\"")).unwrap();
        assert_eq!(large.of_bytes(b"hello\n"), large);
        assert_eq!(super::sha256(b"hello\n"), sha256);
        assert_ne!(large.of_bytes(b"hello"), large);
        for tag in ["", "\"abc\"", "../../etc/passwd", &"A".repeat(40), &"g".repeat(64)] {
            assert_eq!(Digest::parse(tag), None, "{tag}");
        }
    }
}
