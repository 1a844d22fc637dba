//! Uploads: large files to their storage, then one commit of what changed.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hf_hub::RepoTypeModel;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::http::{Follow, Request};
use crate::plan::{Plan, Planned, State};
use crate::refusal::What;
use crate::{Error, Hub, Progress, Result};

/// How much of a file the Hub looks at to tell text from what is large.
const SAMPLE: usize = 512;

/// How to push.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether a new model is private. A model that is there must then be.
    pub private: bool,
    /// The commit's message.
    pub message: String,
}

/// What a push came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The Hub had it all; nothing was sent.
    Nothing,
    /// A commit was made.
    Commit(String),
}

#[derive(Deserialize)]
struct Modes {
    files: Vec<Mode>,
}

/// How the Hub wants a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    path: String,
    upload_mode: String,
    #[serde(default)]
    should_ignore: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    commit_oid: String,
}

impl Hub {
    /// Sends what a plan says, in one commit, and makes the model and the branch if they aren't there. `progress` hears of
    /// each large file how much has gone.
    ///
    /// After an error the same push may be made again: contents that have arrived are not sent twice, and if nothing is
    /// missing there is no second commit.
    ///
    /// # Errors
    /// If there is no token, the Hub refuses, the connection fails, or somebody else has pushed since the plan was made.
    pub fn push(
        &self,
        plan: &Plan,
        options: &Options,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Pushed> {
        let repository = &plan.repository;
        let what = What { repository, subject: "pushing" };
        if self.settings.offline {
            return Err(Error::Offline { what: what.to_string(), cache: self.settings.cache.clone() });
        }
        if self.settings.token.is_none() {
            return Err(Error::NoToken { what: what.to_string() });
        }
        if options.private && plan.private == Some(false) {
            return Err(Error::Public { repository: repository.id() });
        }
        let changes: Vec<&Planned> = plan.changes().collect();
        if changes.is_empty() && plan.branch {
            return Ok(Pushed::Nothing);
        }
        let head = self.prepare(plan, options, what)?;
        if changes.is_empty() {
            return Ok(Pushed::Nothing);
        }
        let modes = self.modes(plan, &changes)?;
        let is_large = |file: &Planned| {
            // The storage takes nothing that is empty.
            !file.upload.content.is_empty() && modes.get(&file.upload.path).is_some_and(|mode| mode == "lfs")
        };
        let (large, small): (Vec<&Planned>, Vec<&Planned>) = changes.iter().partition(|file| is_large(file));
        self.store(repository, &large, progress)?;
        self.commit(plan, head.as_deref(), &options.message, &large, &small)
    }

    /// Makes what isn't there of model and branch, and returns the commit to go on from.
    fn prepare(&self, plan: &Plan, options: &Options, what: What<'_>) -> Result<Option<String>> {
        if plan.private.is_some() && plan.branch {
            return Ok(plan.head.clone());
        }
        let repository = &plan.repository;
        let client = self.client(what)?;
        if plan.private.is_none() {
            let (id, what) = (repository.id(), What { repository, subject: "creating the model" });
            self.asked(what, true, &mut || {
                let create = client.create_repository().repo_id(&id).repo_type(RepoTypeModel);
                create.private(options.private).exist_ok(true).send()
            })?;
        }
        let now = self.standing(repository)?;
        // The Hub takes one that is there for made, also one that can't be seen.
        if now.private.is_none() {
            return Err(Error::NoRepository { repository: repository.id() });
        }
        if options.private && now.private == Some(false) {
            return Err(Error::Public { repository: repository.id() });
        }
        if !now.branch {
            let model = client.model(repository.owner(), repository.name());
            let what = What { repository, subject: "creating the branch" };
            self.asked(what, false, &mut || model.create_branch().branch(repository.revision()).send())?;
        }
        Ok(now.head)
    }

    /// Asks which files are large.
    fn modes(&self, plan: &Plan, changes: &[&Planned]) -> Result<HashMap<String, String>> {
        let repository = &plan.repository;
        let what = What { repository, subject: "announcing the files" };
        let described = |file: &&Planned| {
            let content = &file.upload.content;
            let sample = BASE64.encode(&content[..content.len().min(SAMPLE)]);
            json!({ "path": file.upload.path, "size": content.len(), "sample": sample })
        };
        let body = json!({ "files": changes.iter().map(described).collect::<Vec<_>>() });
        let (owner, name) = (repository.owner(), repository.name());
        let url = self.http.url(&["api", "models", owner, name, "preupload", repository.revision()]);
        let modes: Modes = self.post(what, url, "application/json", &body)?.json(what)?;
        let wrong = |reason: String| Error::answer(&what.to_string(), reason);
        if let Some(ignored) = modes.files.iter().find(|mode| mode.should_ignore) {
            return Err(wrong(format!("the model's .gitignore leaves `{}` out", ignored.path)));
        }
        let modes: HashMap<_, _> =
            modes.files.into_iter().map(|mode| (mode.path, mode.upload_mode)).collect();
        match changes.iter().find(|file| !modes.contains_key(&file.upload.path)) {
            Some(file) => Err(wrong(format!("nothing about `{}`", file.upload.path))),
            None => Ok(modes),
        }
    }

    fn commit(
        &self,
        plan: &Plan,
        head: Option<&str>,
        message: &str,
        large: &[&Planned],
        small: &[&Planned],
    ) -> Result<Pushed> {
        let repository = &plan.repository;
        let what = What { repository, subject: "the commit" };
        let mut header = json!({ "summary": message, "description": "" });
        if let Some(head) = head {
            // So that the commit is refused if somebody else was faster, or if it has already been made.
            header["parentCommit"] = head.into();
        }
        let line = |key: &str, value: Value| format!("{}\n", json!({ "key": key, "value": value }));
        let mut body = line("header", header);
        for file in large {
            let (path, size) = (&file.upload.path, file.upload.content.len());
            let value = json!({ "path": path, "algo": "sha256", "oid": file.sha256, "size": size });
            body += &line("lfsFile", value);
        }
        for file in small {
            let content = BASE64.encode(&file.upload.content);
            body +=
                &line("file", json!({ "path": file.upload.path, "content": content, "encoding": "base64" }));
        }
        let (owner, name) = (repository.owner(), repository.name());
        let request = Request {
            method: Method::POST,
            url: self.http.url(&["api", "models", owner, name, "commit", repository.revision()]),
            what,
            headers: vec![("content-type".to_owned(), "application/x-ndjson".to_owned())],
            body: Some(body.as_bytes()),
            follow: Follow::Nothing,
            repeat: false,
        };
        let committed = self.http.send(&request, &mut |_| {});
        match committed.and_then(|answer| answer.json::<Committed>(what)) {
            Ok(Committed { commit_oid }) => Ok(Pushed::Commit(commit_oid)),
            Err(error) => self.arrived(plan, error),
        }
    }

    /// After a commit whose answer was lost: whether it has been made all the same.
    fn arrived(&self, plan: &Plan, error: Error) -> Result<Pushed> {
        if !matches!(error, Error::Connection { .. } | Error::Server { .. } | Error::Answer { .. }) {
            return Err(error);
        }
        let uploads = plan.files.iter().map(|file| file.upload.clone()).collect();
        match self.plan(&plan.repository, uploads) {
            Ok(now) if now.branch && now.files.iter().all(|file| file.state == State::Unchanged) => {
                now.head.map(Pushed::Commit).ok_or(error)
            }
            _ => Err(error),
        }
    }
}
