//! Large files: git's large file storage, with its transfers `basic` and the Hub's `multipart`.
//!
//! A content is named by its SHA-256, and the storage says first which ones it lacks; only those are sent.

use std::collections::BTreeMap;

use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::http::{Answer, Follow, Request};
use crate::plan::Planned;
use crate::refusal::What;
use crate::{Error, Hub, Progress, Repository, Result};

const JSON: &str = "application/vnd.git-lfs+json";

#[derive(Deserialize)]
struct Batch {
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    actions: Option<Actions>,
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    code: u16,
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

impl Hub {
    /// Sends those of `files` that the storage lacks.
    pub(crate) fn store(
        &self,
        repository: &Repository,
        files: &[&Planned],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let what = What { repository, subject: "large file storage" };
        let objects: Vec<Value> = files
            .iter()
            .map(|file| json!({ "oid": file.sha256, "size": file.upload.content.len() }))
            .collect();
        let body = json!({
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "objects": objects,
            "hash_algo": "sha256",
            "ref": { "name": repository.revision() },
        });
        let name = format!("{}.git", repository.name());
        let url = self.http.url(&[repository.owner(), &name, "info", "lfs", "objects", "batch"]);
        let batch: Batch = self.post(what, url, JSON, &body)?.json(what)?;
        if let Some(transfer) = batch.transfer.filter(|name| !["basic", "multipart"].contains(&name.as_str()))
        {
            let reason = format!("the transfer `{transfer}`, expected `basic` or `multipart`");
            return Err(Error::answer(&what.to_string(), reason));
        }
        for file in files {
            let what = What { repository, subject: &file.upload.path };
            let object = batch.objects.iter().find(|object| object.oid == file.sha256);
            let object = object.ok_or_else(|| Error::answer(&what.to_string(), "nothing about this file"))?;
            self.store_one(what, file, object, progress)?;
        }
        Ok(())
    }

    fn store_one(
        &self,
        what: What<'_>,
        file: &Planned,
        object: &Object,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<()> {
        if let Some(Problem { code, message }) = &object.error {
            return Err(Error::Refused {
                what: what.to_string(),
                status: *code,
                message: format!(": {message}"),
            });
        }
        // No action means that the storage has the content.
        let Some(actions) = &object.actions else { return Ok(()) };
        let content = &file.upload.content;
        if let Some(upload) = &actions.upload {
            let total = content.len() as u64;
            let mut heard = |done| progress(Progress { file: &file.upload.path, done, total });
            match upload.header.get("chunk_size") {
                Some(size) => self.send_parts(what, file, upload, size, &mut heard)?,
                None => {
                    let headers = upload.header.iter();
                    let headers =
                        headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
                    self.put(what, &upload.href, headers.collect(), content, &mut heard).map(drop)?;
                }
            }
        }
        if let Some(verify) = &actions.verify {
            let body = json!({ "oid": file.sha256, "size": content.len() });
            self.post(what, address(what, &verify.href)?, JSON, &body)?;
        }
        Ok(())
    }

    /// Sends a content in parts of the size that the Hub wants, each to its own address, and says so when all are there.
    fn send_parts(
        &self,
        what: What<'_>,
        file: &Planned,
        upload: &Action,
        size: &Value,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let wrong = |reason: &str| Error::answer(&what.to_string(), reason);
        let size =
            size.as_u64().or_else(|| size.as_str()?.parse().ok()).and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|&size| size > 0).ok_or_else(|| wrong("parts without a size"))?;
        let numbered = upload
            .header
            .iter()
            .filter_map(|(name, value)| Some((name.parse::<usize>().ok()?, value.as_str()?)));
        let addresses: BTreeMap<usize, &str> = numbered.collect();
        let chunks = file.upload.content.chunks(size);
        if addresses.len() != chunks.len() {
            return Err(wrong("another number of parts than the file has"));
        }
        let mut parts = Vec::new();
        for (number, (href, chunk)) in (1..).zip(addresses.values().zip(chunks)) {
            let before = ((number - 1) * size) as u64;
            let answer = self.put(what, href, Vec::new(), chunk, &mut |sent| progress(before + sent))?;
            let tag = answer.header("etag").ok_or_else(|| wrong("no entity tag for a part"))?;
            parts.push(json!({ "partNumber": number, "etag": tag }));
        }
        let body = json!({ "oid": file.sha256, "parts": parts });
        self.post(what, address(what, &upload.href)?, JSON, &body).map(drop)
    }

    fn put(
        &self,
        what: What<'_>,
        href: &str,
        headers: Vec<(String, String)>,
        body: &[u8],
        sent: &mut dyn FnMut(u64),
    ) -> Result<Answer> {
        let url = address(what, href)?;
        let (follow, body) = (Follow::Nothing, Some(body));
        // A content is named by its digest: the same one twice is one.
        self.http.send(&Request { method: Method::PUT, url, what, headers, body, follow, repeat: true }, sent)
    }

    /// Posts JSON that may come twice without harm.
    pub(crate) fn post(&self, what: What<'_>, url: Url, kind: &str, body: &Value) -> Result<Answer> {
        let headers = ["accept", "content-type"].map(|name| (name.to_owned(), kind.to_owned())).to_vec();
        let text = body.to_string();
        let (follow, body) = (Follow::Nothing, Some(text.as_bytes()));
        let request = Request { method: Method::POST, url, what, headers, body, follow, repeat: true };
        self.http.send(&request, &mut |_| {})
    }
}

fn address(what: What<'_>, href: &str) -> Result<Url> {
    // The address itself may be signed, and so is not repeated.
    Url::parse(href).map_err(|_| Error::answer(&what.to_string(), "no valid address to send it to"))
}
