//! What can go wrong between here and the Hub.

use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the Hub, in one line with a hint. No error holds a token or a signed address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that can't be one on the Hub.
    #[error("`{name}`: expected {expected}")]
    Name {
        /// What was given.
        name: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A request that only a known user may make, without a token.
    #[error("{what}: there is no token; set HF_TOKEN, or log in by `hf auth login`")]
    NoToken {
        /// What was to be done.
        what: String,
    },
    /// 401: the Hub doesn't know who asks.
    #[error(
        "{what}: not authorised (401){message}; the token is wrong, has expired or is missing: set HF_TOKEN"
    )]
    Unauthorised {
        /// What was asked for.
        what: String,
        /// The server's words, after a colon, or nothing.
        message: String,
    },
    /// 403: the Hub knows who asks, and refuses.
    #[error(
        "{what}: forbidden (403){message}; does the token have this right, and are the model's terms accepted on its page?"
    )]
    Forbidden {
        /// What was asked for.
        what: String,
        /// The server's words, after a colon, or nothing.
        message: String,
    },
    /// There is no such model, or none that may be seen.
    #[error("no model `{repository}` on the Hub; if it is private, set HF_TOKEN to a token that may read it")]
    NoRepository {
        /// The model.
        repository: String,
    },
    /// The model has no such revision.
    #[error("`{repository}` has no revision `{revision}`; expected a branch, a tag or a commit")]
    NoRevision {
        /// The model.
        repository: String,
        /// The revision.
        revision: String,
    },
    /// The model has no such file.
    #[error("`{repository}` has no file `{file}`{found}")]
    NoFile {
        /// The model.
        repository: String,
        /// The file.
        file: String,
        /// What it has instead, after a semicolon, or nothing.
        found: String,
    },
    /// 409 or 412: the model isn't what it was when the request was prepared.
    #[error("{what}: conflict ({status}){message}; somebody else has pushed meanwhile, so push again")]
    Conflict {
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The server's words, after a colon, or nothing.
        message: String,
    },
    /// 429: too many requests.
    #[error("{what}: too many requests (429); try again in {wait}")]
    TooMany {
        /// What was asked for.
        what: String,
        /// How long the server wants to be left alone.
        wait: String,
    },
    /// 5xx: the server failed, also when asked again.
    #[error("{what}: the server failed ({status}){message}; try again later")]
    Server {
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The server's words, after a colon, or nothing.
        message: String,
    },
    /// Any other status that isn't success.
    #[error("{what}: refused ({status}){message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The server's words, after a colon, or nothing.
        message: String,
    },
    /// No connection, or one that was lost, also when tried again.
    #[error("{what}: no connection: {reason}")]
    Connection {
        /// What was asked for.
        what: String,
        /// What the system said.
        reason: String,
    },
    /// A connection that ended before the file did, also when tried again. What came is kept and gone on with.
    #[error(
        "{what}: the connection ended after {received} of {expected} bytes; the next try goes on from there"
    )]
    Cut {
        /// The file.
        what: String,
        /// Bytes that came.
        received: u64,
        /// Bytes of the whole file.
        expected: u64,
    },
    /// A file that isn't what the Hub says it is.
    #[error("{what} has the digest {found}, expected {expected}; it has not been kept")]
    Digest {
        /// The file.
        what: String,
        /// Its digest.
        found: String,
        /// What the Hub says.
        expected: String,
    },
    /// An answer that can't be understood.
    #[error("{what}: unexpected answer: {reason}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What was found, and what was expected.
        reason: String,
    },
    /// A file that isn't in the cache, when only that may be used.
    #[error("{what} is not in the cache `{}`, and the Hub is not asked (offline)", cache.display())]
    Offline {
        /// The file.
        what: String,
        /// The cache.
        cache: PathBuf,
    },
    /// A private upload into a public model.
    #[error("`{repository}` is public, but a private model was asked for; nothing was sent")]
    Public {
        /// The model.
        repository: String,
    },
    /// A file or folder of the cache could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Names the file of an input or output error.
    pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// An answer that can't be understood.
    pub(crate) fn answer(what: &str, reason: impl Into<String>) -> Self {
        Self::Answer { what: what.to_owned(), reason: reason.into() }
    }

    /// Whether the Hub could not be asked, so that the cache may answer in its place.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Server { .. } | Self::TooMany { .. })
    }
}
