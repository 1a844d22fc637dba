//! Unpacking a `.tar.gz` archive, which can't be read at any place without going through all that stands before.

use crate::tree::member_name;
use crate::{Error, Result};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Unpacks a `.tar.gz` or `.tgz` archive into `folder`, and returns how many files it had.
///
/// Files are written to a folder aside, and what lies at the archive's top is moved to its place when all is there: a
/// folder that has its name is whole. What is there already stays as it is, and is not replaced.
///
/// # Errors
/// When the archive is cut short or damaged, has a link or a name that leads outside, or the disk refuses; nothing is left
/// behind then.
pub fn unpack(archive: &Path, folder: &Path) -> Result<usize> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = folder.join(format!("{name}.{}.unpacking", std::process::id()));
    let done = write_all(archive, &aside).and_then(|files| move_all(&aside, folder).map(|()| files));
    // Whatever stood in the way of the files may stand in the way of this too; the first error is the news.
    let _ = std::fs::remove_dir_all(&aside);
    done
}

fn write_all(path: &Path, aside: &Path) -> Result<usize> {
    let damaged = |cause: &dyn std::fmt::Display| Error::Archive {
        path: path.to_owned(),
        problem: format!("cut short or damaged: {cause}"),
    };
    let file = File::open(path).map_err(|cause| Error::io(path, cause))?;
    std::fs::create_dir_all(aside).map_err(|cause| Error::io(aside, cause))?;
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::with_capacity(1 << 16, file)));
    let mut files = 0;
    for entry in archive.entries().map_err(|cause| damaged(&cause))? {
        let mut entry = entry.map_err(|cause| damaged(&cause))?;
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = member_name(path, &raw)?;
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let problem = format!("member `{raw}` is a link, expected a file");
            return Err(Error::Archive { path: path.to_owned(), problem });
        }
        if !kind.is_file() || name.is_empty() {
            continue;
        }
        let target = aside.join(&name);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(|cause| Error::io(parent, cause))?;
        }
        let mut out = File::create(&target).map_err(|cause| Error::io(&target, cause))?;
        std::io::copy(&mut entry, &mut out).map_err(|cause| damaged(&cause))?;
        files += 1;
    }
    if files == 0 {
        return Err(Error::Archive { path: path.to_owned(), problem: "has no files".to_owned() });
    }
    Ok(files)
}

/// Moves what lies in a folder to another, unless something of its name is there.
fn move_all(from: &Path, to: &Path) -> Result<()> {
    let failed = |cause| Error::io(from, cause);
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if !target.exists() {
            std::fs::rename(entry.path(), &target).map_err(|cause| Error::io(&target, cause))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{gzip, tar};
    use ::tar::EntryType;

    fn write(path: &Path, members: &[(&str, EntryType, &[u8])]) {
        std::fs::write(path, gzip(&tar(members))).unwrap();
    }

    #[test]
    fn files_get_their_places_and_what_is_there_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.tgz");
        write(&path, &[("./set/deep/x", EntryType::Regular, b"new"), ("note", EntryType::Regular, b"new")]);
        std::fs::write(home.path().join("note"), "old").unwrap();
        assert_eq!(unpack(&path, home.path()).unwrap(), 2);
        assert_eq!(std::fs::read(home.path().join("set/deep/x")).unwrap(), b"new");
        assert_eq!(std::fs::read(home.path().join("note")).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_leads_outside_or_is_cut_short_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let inner = home.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let path = home.path().join("a.tgz");
        let good = ("set/x", EntryType::Regular, &b"x"[..]);
        for (name, kind, problem) in [
            ("../evil", EntryType::Regular, "lies outside the archive's folder"),
            ("/evil", EntryType::Regular, "lies outside the archive's folder"),
            ("set/link", EntryType::Symlink, "is a link, expected a file"),
            ("set/link", EntryType::Link, "is a link, expected a file"),
        ] {
            write(&path, &[good, (name, kind, b"")]);
            let error = unpack(&path, &inner).unwrap_err().to_string();
            assert_eq!(error, format!("`{}`: member `{name}` {problem}", path.display()));
        }
        let random: Vec<u8> = (0..9000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        write(&path, &[("set/x", EntryType::Regular, &random)]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(unpack(&path, &inner).unwrap_err().to_string().contains("cut short or damaged"));
        assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2);
    }
}
