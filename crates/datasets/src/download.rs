//! Fetching a file: mirror after mirror, resumed where it was cut off, and named only when its digest is right.
//!
//! What has come stays in `<file>.part` when a connection breaks, and the next attempt asks for the rest (`Range`), be it
//! from another mirror or on another day. A server that sends the whole file all the same is listened to from the start.
//! Before anything is fetched, the disk must have room for it.

use crate::{Archive, Digest, Error, Repository, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

/// How long a server may take to accept a connection, and then to send the next bytes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a mirror is asked again after it broke off, as long as each time something came.
const ATTEMPTS: usize = 8;
/// Where the Hub is, unless `HF_ENDPOINT` says otherwise.
const HUB: &str = "https://huggingface.co";

/// Hears how many bytes of a file have come, and of how many where the server says so.
pub type Progress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

impl Archive {
    /// Puts the archive into `folder`, which is made where it is missing, and returns its path.
    ///
    /// A copy that is there already and whole is left alone.
    ///
    /// # Errors
    /// When the folder cannot be written to or has too little room, or no mirror gives the whole, right file.
    pub fn download(&self, folder: &Path, progress: Progress<'_>) -> Result<PathBuf> {
        let target = folder.join(self.file);
        if target.exists() && self.verify(&target).is_ok() {
            return Ok(target);
        }
        let wanted = Wanted {
            file: self.file,
            urls: self.mirrors.iter().map(ToString::to_string).collect(),
            digest: self.digest,
            bytes: self.bytes,
            token: None,
        };
        wanted.download(folder, progress)
    }
}

impl Repository {
    /// Puts all files of the repository into `folder`, each below its own path, and says the name of each before it.
    ///
    /// Files that are there already, with the size that the Hub says, are left alone: they got their names when their
    /// digests were right.
    ///
    /// # Errors
    /// When the Hub refuses the token, the folder has too little room, or a file doesn't come whole.
    pub fn download(
        &self,
        folder: &Path,
        token: &str,
        progress: &mut dyn FnMut(&str, u64, Option<u64>),
    ) -> Result<()> {
        let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| HUB.to_owned());
        self.download_from(endpoint.trim_end_matches('/'), folder, token, progress)
    }

    fn download_from(
        &self,
        endpoint: &str,
        folder: &Path,
        token: &str,
        progress: &mut dyn FnMut(&str, u64, Option<u64>),
    ) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|cause| Error::io(folder, cause))?;
        let present =
            self.files().filter_map(|file| Some(folder.join(file).metadata().ok()?.len())).sum::<u64>();
        check_space(folder, self.id, self.bytes.saturating_sub(present))?;
        for file in self.files() {
            let url = format!("{endpoint}/datasets/{}/resolve/main/{file}", self.id);
            let (digest, bytes) = announced(&url, token)?;
            let target = folder.join(&file);
            if target.metadata().is_ok_and(|found| Some(found.len()) == bytes) {
                continue;
            }
            let wanted = Wanted {
                file: &file,
                urls: vec![url],
                digest: digest.as_deref().map(Digest::Sha256),
                bytes,
                token: Some(token),
            };
            wanted.download(folder, &mut |received, total| progress(&file, received, total))?;
        }
        Ok(())
    }
}

/// The digest and the size that the Hub announces for a file, before it sends one elsewhere for it.
fn announced(url: &str, token: &str) -> Result<(Option<String>, Option<u64>)> {
    let refused = |problem: String| Error::Mirror { url: url.to_owned(), problem };
    let request = agent(0).head(url).header(header::AUTHORIZATION, format!("Bearer {token}"));
    let response = request.call().map_err(|error| refused(error.to_string()))?;
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(refused("the token is not one that may read this repository".to_owned()));
        }
        status if status.is_client_error() || status.is_server_error() => {
            return Err(refused(status.to_string()));
        }
        _ => (),
    }
    let value = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    // For files in large storage the tag is the SHA-256 digest; for others it is another one.
    let tag = value("x-linked-etag").map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
    let digest = tag.filter(|tag| tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Ok((digest, value("x-linked-size").and_then(|size| size.parse().ok())))
}

/// A client that follows so many redirections; 0 gives the redirection itself. A token isn't sent to another host.
fn agent(redirections: u32) -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(redirections)
        .max_redirects_will_error(false);
    Agent::new_with_config(config.build())
}

/// A file that is to be fetched.
struct Wanted<'a> {
    /// Its path in the folder.
    file: &'a str,
    urls: Vec<String>,
    digest: Option<Digest<'a>>,
    bytes: Option<u64>,
    token: Option<&'a str>,
}

impl Wanted<'_> {
    fn download(&self, folder: &Path, progress: Progress<'_>) -> Result<PathBuf> {
        let target = folder.join(self.file);
        let home = target.parent().unwrap_or(folder);
        std::fs::create_dir_all(home).map_err(|cause| Error::io(home, cause))?;
        let aside = folder.join(format!("{}.part", self.file));
        let present = aside.metadata().map_or(0, |part| part.len());
        check_space(home, self.file, self.bytes.unwrap_or(0).saturating_sub(present))?;
        let mut part = Part::open(&aside)?;
        let fetched = self.fetch(&mut part, &aside, progress);
        let named = fetched
            .and_then(|()| part.file.sync_all().map_err(|cause| Error::io(&aside, cause)))
            .and_then(|()| std::fs::rename(&aside, &target).map_err(|cause| Error::io(&target, cause)));
        if named.is_err() && aside.metadata().is_ok_and(|part| part.len() == 0) {
            // Whatever stood in the way of the file may stand in the way of this too; the first error is the news.
            let _ = std::fs::remove_file(&aside);
        }
        named.map(|()| target)
    }

    /// Fills the part from the first mirror that gives the right file.
    fn fetch(&self, part: &mut Part, aside: &Path, progress: Progress<'_>) -> Result<()> {
        let mut problems = Vec::new();
        for url in &self.urls {
            let fetched = self.fetch_from(url, part, aside, progress);
            match fetched.and_then(|()| self.digest.map_or(Ok(()), |digest| digest.verify(aside))) {
                Err(error @ (Error::Mirror { .. } | Error::Digest { .. })) => {
                    tracing::warn!(url, %error, "mirror failed");
                    if matches!(error, Error::Digest { .. }) {
                        // Nothing can be made of a wrong file.
                        part.restart(aside)?;
                    }
                    problems.push(match error {
                        Error::Digest { kind, found, expected, .. } => {
                            format!("{url}: has the {kind} digest {found}, expected {expected}")
                        }
                        error => error.to_string(),
                    });
                }
                // The disk's faults are the same with every mirror.
                other => return other,
            }
        }
        Err(Error::Download { file: self.file.to_owned(), problem: problems.join("; ") })
    }

    /// Asks one mirror until the file is whole, or an attempt brought nothing.
    fn fetch_from(&self, url: &str, part: &mut Part, aside: &Path, progress: Progress<'_>) -> Result<()> {
        let mut attempt = 0;
        loop {
            let before = part.len;
            match self.request(url, part, aside, progress) {
                Err(Error::Mirror { problem, .. }) if part.len > before && attempt < ATTEMPTS => {
                    tracing::info!(url, problem, received = part.len, "resume");
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// One request for what is still missing.
    fn request(&self, url: &str, part: &mut Part, aside: &Path, progress: Progress<'_>) -> Result<()> {
        let refused = |problem: String| Error::Mirror { url: url.to_owned(), problem };
        if part.len > 0 && self.bytes == Some(part.len) {
            return Ok(());
        }
        let mut request = agent(10).get(url);
        if let Some(token) = self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if part.len > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", part.len));
        }
        let response = request.call().map_err(|error| refused(error.to_string()))?;
        let total = match response.status() {
            StatusCode::PARTIAL_CONTENT => match content_range(&response) {
                Some((start, total)) if start == part.len => total,
                _ => {
                    part.restart(aside)?;
                    return Err(refused("sent another part than was asked for".to_owned()));
                }
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                // There is nothing after what has come: the digest says whether that is the file.
                return if self.digest.is_some() { Ok(()) } else { part.restart(aside) };
            }
            StatusCode::OK => {
                part.restart(aside)?;
                response.body().content_length()
            }
            status => return Err(refused(format!("answered {status}"))),
        };
        if let (Some(total), Some(expected)) = (total, self.bytes)
            && total != expected
        {
            return Err(refused(format!("offers {total} bytes, expected {expected}")));
        }
        part.receive(response, url, aside, total, progress)
    }
}

/// The start and the total length of `Content-Range: bytes 5-9/10`.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let text = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.parse().ok()?;
    Some((start, total.parse().ok()))
}

/// The part of a file that has come.
struct Part {
    file: File,
    len: u64,
}

impl Part {
    /// Opens what is there, or begins; only one process at a time may.
    fn open(path: &Path) -> Result<Self> {
        let failed = |cause| Error::io(path, cause);
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = options.map_err(failed)?;
        file.try_lock()
            .map_err(|cause| failed(std::io::Error::other(format!("another download is at it: {cause}"))))?;
        let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { file, len })
    }

    /// Forgets what has come.
    fn restart(&mut self, path: &Path) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        self.len = 0;
        emptied.map_err(|cause| Error::io(path, cause))
    }

    /// Adds what a server sends; `total` is the length of the whole file.
    fn receive(
        &mut self,
        response: Response<Body>,
        url: &str,
        path: &Path,
        total: Option<u64>,
        progress: Progress<'_>,
    ) -> Result<()> {
        let refused = |problem: String| Error::Mirror { url: url.to_owned(), problem };
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let bytes = body.read(&mut buffer).map_err(|error| refused(error.to_string()))?;
            if bytes == 0 {
                break;
            }
            self.file.write_all(&buffer[..bytes]).map_err(|cause| Error::io(path, cause))?;
            self.len += bytes as u64;
            progress(self.len, total);
        }
        match total {
            Some(total) if total != self.len => {
                Err(refused(format!("sent {} bytes, expected {total}", self.len)))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a download that the disk has no room for.
fn check_space(folder: &Path, file: &str, needed: u64) -> Result<()> {
    let Some(free) = free_bytes(folder)? else { return Ok(()) };
    if needed <= free {
        return Ok(());
    }
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let (free, needed) = (megabytes(free), needed.div_ceil(1_000_000));
    Err(Error::Space { folder: folder.to_owned(), file: file.to_owned(), free, needed })
}

/// How many bytes can be written below a folder, where the system says it.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Result<Option<u64>> {
    let found = rustix::fs::statvfs(folder).map_err(|cause| Error::io(folder, cause.into()))?;
    Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
}

/// How many bytes can be written below a folder: not known here.
#[cfg(not(unix))]
fn free_bytes(_folder: &Path) -> Result<Option<u64>> {
    Ok(None)
}

#[cfg(test)]
mod tests;
