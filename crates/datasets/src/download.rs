//! Fetching an archive: mirror after mirror, written aside, and named only when its digest is right.

use crate::{Archive, Error, Result};
use md5::{Digest, Md5};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a server may take to accept a connection, and then to send the next bytes.
const PATIENCE: Duration = Duration::from_secs(60);

impl Archive {
    /// Puts the archive into `folder`, which is made where it is missing, and returns its path.
    ///
    /// A copy that is there already and whole is left alone. `progress` hears how many bytes have come, and of how
    /// many where the server says so.
    ///
    /// # Errors
    /// When the folder cannot be written to, or no mirror gives the whole, right file; nothing is left behind then.
    pub fn download(&self, folder: &Path, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<PathBuf> {
        let target = folder.join(self.file);
        if target.exists() && self.verify(&target).is_ok() {
            return Ok(target);
        }
        std::fs::create_dir_all(folder).map_err(|cause| Error::io(folder, cause))?;
        let aside = folder.join(format!("{}.{}.part", self.file, std::process::id()));
        let fetched = self.fetch(&aside, progress);
        let named = fetched
            .and_then(|()| std::fs::rename(&aside, &target).map_err(|cause| Error::io(&target, cause)));
        if named.is_err() {
            // Whatever stood in the way of the file may stand in the way of this too; the first error is the news.
            let _ = std::fs::remove_file(&aside);
        }
        named.map(|()| target)
    }

    /// Writes the archive to `aside` from the first mirror that gives it.
    fn fetch(&self, aside: &Path, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<()> {
        let mut problems = Vec::new();
        for url in self.mirrors {
            match self.fetch_from(url, aside, progress) {
                Err(error @ (Error::Mirror { .. } | Error::Digest { .. })) => {
                    tracing::warn!(url, %error, "mirror failed");
                    problems.push(error.to_string());
                }
                // The disk's faults are the same with every mirror.
                other => return other,
            }
        }
        Err(Error::Download { file: self.file, problem: problems.join("; ") })
    }

    fn fetch_from(
        &self,
        url: &'static str,
        aside: &Path,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<()> {
        let refused = |problem: String| Error::Mirror { url, problem };
        let failed = |cause| Error::io(aside, cause);
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder()
                .timeout_connect(Some(PATIENCE))
                .timeout_per_read(Some(PATIENCE))
                .build(),
        );
        let response = agent.get(url).call().map_err(|error| refused(error.to_string()))?;
        let total = response.body().content_length();
        let mut body = response.into_body().into_reader();
        let mut file = File::create(aside).map_err(failed)?;
        let (mut digest, mut received) = (Md5::new(), 0);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let bytes = body.read(&mut buffer).map_err(|error| refused(error.to_string()))?;
            if bytes == 0 {
                break;
            }
            file.write_all(&buffer[..bytes]).map_err(failed)?;
            digest.update(&buffer[..bytes]);
            received += bytes as u64;
            progress(received, total);
        }
        if total.is_some_and(|total| total != received) {
            return Err(refused(format!("sent {received} bytes, expected {}", total.unwrap_or_default())));
        }
        self.compare(digest, Path::new(url))?;
        file.sync_all().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    /// `abc` and its digest.
    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";
    const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    const CUT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nab";
    const WRONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabd";
    const MISSING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    /// An archive whose mirrors give these answers, one each, and then listen no more.
    fn served(answers: &'static [&'static str]) -> Archive {
        let mirrors = answers.iter().map(|answer| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while !lines.next().unwrap().unwrap().is_empty() {}
                stream.write_all(answer.as_bytes()).unwrap();
            });
            &*format!("http://{address}/a").leak()
        });
        Archive { file: "a", md5: MD5, mirrors: mirrors.collect::<Vec<_>>().leak() }
    }

    fn files(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_whole_file_gets_its_name_and_is_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new/folder");
        let archive = served(&[WHOLE]);
        let mut heard = Vec::new();
        let path = archive.download(&folder, &mut |now, total| heard.push((now, total))).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(heard.last(), Some(&(3, Some(3))));
        assert_eq!(files(&folder), ["a"]);
        // The server has gone, so that this works only without it.
        archive.download(&folder, &mut |_, _| panic!("fetched again")).unwrap();
    }

    #[test]
    fn a_faulty_mirror_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let archive = served(&[MISSING, CUT, WRONG, WHOLE]);
        archive.download(folder.path(), &mut |_, _| ()).unwrap();
        assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"abc");
        assert_eq!(files(folder.path()), ["a"]);
    }

    #[test]
    fn faults_are_told_and_leave_nothing_behind() {
        let cases: [(&'static [&'static str], &str); 3] = [
            (&[MISSING], "404"),
            (&[CUT], "disconnect"),
            (&[WRONG], "has the MD5 digest 4911e516e5aa21d327512e0c8b197616, expected 9001"),
        ];
        for (answers, expected) in cases {
            let folder = tempfile::tempdir().unwrap();
            let error = served(answers).download(folder.path(), &mut |_, _| ()).unwrap_err().to_string();
            assert!(error.starts_with("cannot download `a`: ") && error.contains(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
            assert_eq!(files(folder.path()), [""; 0]);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = served(&[WHOLE]).download(&file.join("below"), &mut |_, _| ()).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("file/below")), "{error}");
    }
}
