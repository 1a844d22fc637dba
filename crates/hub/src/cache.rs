//! The cache on disk, as Python's `huggingface_hub` lays it out.
//!
//! ```text
//! models--OWNER--NAME/blobs/DIGEST                  a content, whole
//! models--OWNER--NAME/snapshots/COMMIT/FILE         a link to it
//! models--OWNER--NAME/refs/REVISION                 the commit of a branch or tag
//! .locks/models--OWNER--NAME/DIGEST.lock            held while a content is fetched
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::{Error, Repository, Result};

/// The cache of one model.
pub(crate) struct Cache {
    folder: PathBuf,
    locks: PathBuf,
}

/// A file of a snapshot.
pub(crate) struct Pointer {
    /// The file in the snapshot.
    pub(crate) path: PathBuf,
    /// The name of its content, where the file is a link to it.
    pub(crate) digest: Option<Digest>,
}

impl Cache {
    pub(crate) fn of(root: &Path, repository: &Repository) -> Self {
        let name = format!("models--{}--{}", repository.owner(), repository.name());
        Self { folder: root.join(&name), locks: root.join(".locks").join(name) }
    }

    /// The commit that a revision was when it was last asked for.
    pub(crate) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes the commit of a branch or tag.
    pub(crate) fn note(&self, revision: &str, commit: &str) -> Result<()> {
        if is_commit(revision) || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        write_whole(&path, commit.as_bytes()).map_err(Error::at(&path))
    }

    /// The folder of a commit's files.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// A file of a commit, if it is there.
    pub(crate) fn pointer(&self, commit: &str, file: &str) -> Option<Pointer> {
        let path = self.snapshot(commit).join(file);
        if !path.is_file() {
            return None;
        }
        let content = fs::read_link(&path).ok();
        let name = content.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        Some(Pointer { digest: name.and_then(Digest::parse), path })
    }

    /// Where a content is, or will be when it is whole.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.as_str())
    }

    /// Where a content is while it is fetched. The name is this program's own: others cut theirs off when they begin.
    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(format!("{}.adautomix.incomplete", digest.as_str()))
    }

    /// Makes a file of a commit of a content that is there.
    pub(crate) fn link(&self, commit: &str, file: &str, digest: &Digest) -> Result<PathBuf> {
        let path = self.snapshot(commit).join(file);
        let make = || -> std::io::Result<()> {
            let folder = parent(&path);
            fs::create_dir_all(folder)?;
            let aside = tempfile::Builder::new().prefix(".writing-").tempdir_in(folder)?;
            let new = aside.path().join("link");
            let up = "../".repeat(2 + file.matches('/').count());
            point(&new, &format!("{up}blobs/{}", digest.as_str()), &self.blob(digest))?;
            fs::rename(&new, &path)
        };
        make().map_err(Error::at(&path))?;
        Ok(path)
    }

    /// Waits until no other program fetches this content. The lock ends with the returned file.
    pub(crate) fn lock(&self, digest: &Digest) -> Result<File> {
        let path = self.locks.join(format!("{}.lock", digest.as_str()));
        let take = || -> std::io::Result<File> {
            fs::create_dir_all(&self.locks)?;
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        take().map_err(Error::at(&path))
    }
}

/// A link where the system has links, which Python's cache expects; a copy elsewhere, as Python does there.
fn point(new: &Path, target: &str, content: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let _ = content;
        std::os::unix::fs::symlink(target, new)
    }
    #[cfg(not(unix))]
    {
        let _ = target;
        fs::copy(content, new).map(drop)
    }
}

/// Whether a revision is a commit's full name.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40
        && revision.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = parent(path);
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    // A temporary file is private; the cache may be shared.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}
