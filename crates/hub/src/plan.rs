//! What a push would send: the files that the Hub doesn't have as they are.

use crate::cache::is_commit;
use crate::digest::sha256;
use crate::refusal::What;
use crate::{Error, Hub, Repository, Result};

/// A file to be pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its name in the model.
    pub path: String,
    /// What it holds.
    pub content: Vec<u8>,
}

/// What the Hub has of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing of this name.
    New,
    /// Another content.
    Changed,
    /// The same content.
    Unchanged,
}

/// A file of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The file.
    pub upload: Upload,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
    /// What the Hub has of it.
    pub state: State,
}

/// What a push would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where to.
    pub repository: Repository,
    /// All files.
    pub files: Vec<Planned>,
    /// Whether the model is private; `None` if it isn't there, or can't be seen without a token, or the Hub wasn't asked.
    pub private: Option<bool>,
    /// Whether its branch is there.
    pub branch: bool,
    /// The commit that the files were compared with.
    pub(crate) head: Option<String>,
}

impl Plan {
    /// The files that would be sent.
    pub fn changes(&self) -> impl Iterator<Item = &Planned> {
        self.files.iter().filter(|file| file.state != State::Unchanged)
    }
}

/// What is known of a model before a push.
pub(crate) struct Standing {
    pub(crate) private: Option<bool>,
    pub(crate) branch: bool,
    pub(crate) head: Option<String>,
    files: Vec<String>,
}

impl Hub {
    /// Compares files with what the Hub has, and changes nothing there. Offline, every file counts as new.
    ///
    /// # Errors
    /// If the Hub can't be asked, or refuses.
    pub fn plan(&self, repository: &Repository, uploads: Vec<Upload>) -> Result<Plan> {
        let standing = self.standing(repository)?;
        let planned = |upload: Upload| -> Result<Planned> {
            let state = self.state(repository, &standing, &upload)?;
            Ok(Planned { sha256: sha256(&upload.content), state, upload })
        };
        let files = uploads.into_iter().map(planned).collect::<Result<_>>()?;
        let Standing { private, branch, head, .. } = standing;
        Ok(Plan { repository: repository.clone(), files, private, branch, head })
    }

    /// Looks up what the model is now.
    pub(crate) fn standing(&self, repository: &Repository) -> Result<Standing> {
        let nothing = Standing { private: None, branch: false, head: None, files: Vec::new() };
        if self.settings.offline {
            return Ok(nothing);
        }
        let what = What { repository, subject: "looking the model up" };
        let model = self.client(what)?.model(repository.owner(), repository.name());
        let found = match self.asked(what, true, &mut || model.info().send()) {
            Ok(found) => found,
            // The Hub doesn't tell a stranger a private model from one that isn't there.
            Err(Error::NoRepository { .. }) => return Ok(nothing),
            Err(Error::Unauthorised { .. }) if self.settings.token.is_none() => return Ok(nothing),
            Err(error) => return Err(error),
        };
        let private = Some(found.private.unwrap_or(false));
        let mut at_revision = || model.info().revision(repository.revision()).send();
        let (info, branch) = match self.asked(what, true, &mut at_revision) {
            Ok(info) => (info, true),
            // A new branch begins where `main` is.
            Err(Error::NoRevision { .. }) => (found, false),
            Err(error) => return Err(error),
        };
        let head = info.sha.filter(|commit| is_commit(commit));
        let files = info.siblings.unwrap_or_default().into_iter().map(|file| file.rfilename).collect();
        Ok(Standing { private, branch, head, files })
    }

    fn state(&self, repository: &Repository, standing: &Standing, upload: &Upload) -> Result<State> {
        let Some(head) = standing.head.as_ref().filter(|_| standing.files.contains(&upload.path)) else {
            return Ok(State::New);
        };
        let remote = self.remote(What { repository, subject: &upload.path }, head)?;
        let same = remote.digest.of_bytes(&upload.content) == remote.digest;
        Ok(if same { State::Unchanged } else { State::Changed })
    }
}
