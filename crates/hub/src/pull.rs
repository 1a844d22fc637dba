//! Downloads: a file gets its name only when it is whole and has the digest that the Hub says.

use std::fs;
use std::path::{Path, PathBuf};

use ureq::http::Method;

use crate::cache::{Cache, is_commit};
use crate::digest::Digest;
use crate::http::{Follow, Request};
use crate::partial::Partial;
use crate::refusal::What;
use crate::{Error, Hub, Progress, Repository, Result};

/// The weights.
pub(crate) const MODEL: &str = "model.safetensors";
/// What the network is.
pub(crate) const CONFIG: &str = "config.json";
/// The weights of the network that makes masks.
pub(crate) const GENERATOR: &str = "generator.safetensors";
/// The recipe of the run.
pub(crate) const RECIPE: &str = "recipe.toml";

/// A model's files in the cache. They are shared: read them, don't write to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// `model.safetensors`
    pub model: PathBuf,
    /// `config.json`, as timm writes it, if the model has one.
    pub config: Option<PathBuf>,
    /// `generator.safetensors`, if the model was trained with a generator by this program.
    pub generator: Option<PathBuf>,
    /// `recipe.toml`, if the model was trained by this program.
    pub recipe: Option<PathBuf>,
    /// The commit that they are of.
    pub commit: String,
}

/// A file as the Hub describes it.
pub(crate) struct Remote {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// What a revision is.
struct Snapshot {
    commit: String,
    /// Its files; `None` if only the cache was asked.
    files: Option<Vec<String>>,
}

impl Hub {
    /// Fetches a model, all files of one commit, or finds it in the cache. `progress` hears of each file how much has come.
    ///
    /// A branch or tag is looked up each time; if the Hub can't be reached, the cache answers. A full commit that is in the
    /// cache needs no connection. Every file is compared with its digest, also one that was there.
    ///
    /// # Errors
    /// If there is no such model, revision or `model.safetensors`; if the connection fails or a file is not what the Hub says
    /// it is. What has come of a file is then kept aside, and the next call goes on from there.
    pub fn pull(&self, repository: &Repository, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Weights> {
        let cache = Cache::of(&self.settings.cache, repository);
        let snapshot = self.snapshot(repository, &cache)?;
        let mut fetch = |file: &str| -> Result<Option<PathBuf>> {
            if snapshot.files.as_ref().is_some_and(|files| files.iter().any(|listed| listed == file)) {
                return self.fetch(repository, &cache, &snapshot.commit, file, progress).map(Some);
            }
            match (cached(&cache, &snapshot.commit, file)?, &snapshot.files) {
                (Some(Ok(path)), None) => Ok(Some(path)),
                (Some(Err(found)), None) => Err(found),
                _ => Ok(None),
            }
        };
        let Some(model) = fetch(MODEL)? else { return Err(self.no_model(repository, &snapshot)) };
        let (config, generator, recipe) = (fetch(CONFIG)?, fetch(GENERATOR)?, fetch(RECIPE)?);
        cache.note(repository.revision(), &snapshot.commit)?;
        Ok(Weights { model, config, generator, recipe, commit: snapshot.commit })
    }

    /// The commit and the files of a revision, from the Hub or, where that must or may do, from the cache.
    fn snapshot(&self, repository: &Repository, cache: &Cache) -> Result<Snapshot> {
        let known = cache.commit(repository.revision());
        let known = known.filter(|commit| cache.pointer(commit, MODEL).is_some());
        let from_cache = |commit| Snapshot { commit, files: None };
        let whole = |commit: &String| cache.pointer(commit, CONFIG).is_some();
        match known {
            Some(commit) if self.settings.offline => Ok(from_cache(commit)),
            Some(commit) if is_commit(repository.revision()) && whole(&commit) => Ok(from_cache(commit)),
            known => match (self.listing(repository), known) {
                (Ok((commit, files)), _) => Ok(Snapshot { commit, files: Some(files) }),
                (Err(error), Some(commit)) if error.is_absence() => {
                    tracing::warn!(%error, %commit, "the cache answers in place of the Hub");
                    Ok(from_cache(commit))
                }
                (Err(error), _) => Err(error),
            },
        }
    }

    /// The commit of a revision and the names of its files.
    fn listing(&self, repository: &Repository) -> Result<(String, Vec<String>)> {
        let what = What { repository, subject: MODEL };
        let client = self.client(what)?;
        let model = client.model(repository.owner(), repository.name());
        let info = self.asked(what, true, &mut || model.info().revision(repository.revision()).send())?;
        let commit = info.sha.filter(|commit| is_commit(commit));
        let commit = commit.ok_or_else(|| Error::answer(&what.to_string(), "no commit"))?;
        let files = info.siblings.unwrap_or_default().into_iter().map(|file| file.rfilename).collect();
        Ok((commit, files))
    }

    fn no_model(&self, repository: &Repository, snapshot: &Snapshot) -> Error {
        let what = format!("{repository}: {MODEL}");
        let Some(files) = &snapshot.files else {
            return Error::Offline { what, cache: self.settings.cache.clone() };
        };
        let weights = |name: &&String| {
            [".safetensors", ".bin", ".pth", ".pt"].iter().any(|extension| name.ends_with(extension))
        };
        let others: Vec<&str> = files.iter().filter(weights).take(4).map(String::as_str).collect();
        let found = if others.is_empty() { String::new() } else { format!("; it has {}", others.join(", ")) };
        Error::NoFile { repository: repository.id(), file: MODEL.to_owned(), found }
    }

    /// What the Hub says of a file at a commit.
    pub(crate) fn remote(&self, what: What<'_>, commit: &str) -> Result<Remote> {
        let file = what.subject;
        let answer = self.http.send(
            &Request {
                method: Method::HEAD,
                url: self.http.file_url(what.repository, commit, file),
                what,
                headers: Vec::new(),
                body: None,
                follow: Follow::Within,
                repeat: true,
            },
            &mut |_| {},
        )?;
        let wrong = |reason: &str| Error::answer(&what.to_string(), reason);
        if answer.header("x-repo-commit").is_some_and(|found| found != commit) {
            return Err(wrong("the file of another commit"));
        }
        let digest = answer.header("x-linked-etag").or_else(|| answer.header("etag")).and_then(Digest::parse);
        let digest =
            digest.ok_or_else(|| wrong("no entity tag that is a digest, so the file can't be checked"))?;
        // Where the file is elsewhere, the length is that of the redirect.
        let own = answer.header("content-length").filter(|_| answer.status() == 200);
        let size = answer.header("x-linked-size").or(own).and_then(|text| text.parse().ok());
        Ok(Remote { digest, size: size.ok_or_else(|| wrong("no length"))? })
    }

    fn fetch(
        &self,
        repository: &Repository,
        cache: &Cache,
        commit: &str,
        file: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf> {
        match cached(cache, commit, file)? {
            Some(Ok(path)) => return Ok(path),
            Some(Err(error)) => tracing::warn!(%error, "fetching it again"),
            None => {}
        }
        let what = What { repository, subject: file };
        let remote = self.remote(what, commit)?;
        let _lock = cache.lock(&remote.digest)?;
        let blob = cache.blob(&remote.digest);
        if !holds(&blob, &remote.digest)? {
            let partial = cache.partial(&remote.digest);
            let url = self.http.file_url(repository, commit, file);
            let request = Request {
                method: Method::GET,
                url,
                what,
                headers: Vec::new(),
                body: None,
                follow: Follow::All,
                repeat: true,
            };
            let mut heard = |done| progress(Progress { file, done, total: remote.size });
            self.complete(request, &remote, &partial, &mut heard)?;
            fs::rename(&partial, &blob).map_err(Error::at(&blob))?;
        }
        cache.link(commit, file, &remote.digest)
    }

    /// Makes the file at `path` whole and compares its digest. What was begun is gone on with; if that can't be, or turns out
    /// to be of another file, it is begun anew.
    fn complete(
        &self,
        mut request: Request<'_>,
        remote: &Remote,
        path: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let mut partial = Partial::open(path, remote.size)?;
        let mut tries = 0;
        loop {
            if !partial.is_full() {
                request.headers = partial.range();
                let answer = self.http.send(&request, &mut |_| {});
                match answer.and_then(|answer| partial.receive(answer, request.what, progress)) {
                    Err(Error::Answer { .. } | Error::Refused { status: 416, .. }) if partial.have > 0 => {
                        partial.cut(0)?;
                        continue;
                    }
                    received => received?,
                }
            }
            if partial.is_full() {
                partial.flush()?;
                let found = remote.digest.of_file(path).map_err(Error::at(path))?;
                if found == remote.digest {
                    return Ok(());
                }
                if !partial.pieced {
                    fs::remove_file(path).map_err(Error::at(path))?;
                    let (found, expected) = (found.as_str().to_owned(), remote.digest.as_str().to_owned());
                    return Err(Error::Digest { what: request.what.to_string(), found, expected });
                }
                partial.cut(0)?;
            } else if tries >= self.settings.retries {
                let (what, received) = (request.what.to_string(), partial.have);
                return Err(Error::Cut { what, received, expected: remote.size });
            }
            tracing::warn!(what = %request.what, have = partial.have, of = remote.size, "going on");
            std::thread::sleep(self.http.pause(tries));
            tries += 1;
        }
    }
}

/// The file of a commit, if it is there; the inner error says that it isn't what its name says.
fn cached(cache: &Cache, commit: &str, file: &str) -> Result<Option<Result<PathBuf>>> {
    let Some(pointer) = cache.pointer(commit, file) else { return Ok(None) };
    let Some(expected) = pointer.digest else { return Ok(Some(Ok(pointer.path))) };
    let found = expected.of_file(&pointer.path).map_err(Error::at(&pointer.path))?;
    if found == expected {
        return Ok(Some(Ok(pointer.path)));
    }
    let (found, expected) = (found.as_str().to_owned(), expected.as_str().to_owned());
    Ok(Some(Err(Error::Digest { what: pointer.path.display().to_string(), found, expected })))
}

/// Whether a content is there and is what its name says.
fn holds(blob: &Path, digest: &Digest) -> Result<bool> {
    if !blob.is_file() {
        return Ok(false);
    }
    Ok(digest.of_file(blob).map_err(Error::at(blob))? == *digest)
}
