//! What a status of the Hub means.

use std::fmt;
use std::time::Duration;

use hf_hub::HFError;

use crate::http::Failure;
use crate::settings::Token;
use crate::{Error, Repository};

/// What is asked for, in words for an error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct What<'a> {
    /// The model.
    pub(crate) repository: &'a Repository,
    /// The file, or what else it is.
    pub(crate) subject: &'a str,
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.repository, self.subject)
    }
}

/// An answer that isn't success.
pub(crate) struct Refusal<'a> {
    pub(crate) status: u16,
    /// `X-Error-Code`
    pub(crate) code: Option<&'a str>,
    /// `X-Error-Message`, or `error` of the JSON body.
    pub(crate) message: Option<&'a str>,
    /// `Retry-After`
    pub(crate) wait: Option<Duration>,
}

impl Refusal<'_> {
    /// The error that says what to do about it.
    pub(crate) fn to_error(&self, what: What<'_>, token: Option<&Token>) -> Error {
        let repository = what.repository.id();
        let message = words(self.message, token);
        let (status, words) = (self.status, what.to_string());
        match (status, self.code) {
            (401 | 403 | 404, Some("RepoNotFound")) => Error::NoRepository { repository },
            (404, Some("RevisionNotFound")) => {
                Error::NoRevision { repository, revision: what.repository.revision().to_owned() }
            }
            (404, Some("EntryNotFound")) => {
                Error::NoFile { repository, file: what.subject.to_owned(), found: String::new() }
            }
            (401, _) => Error::Unauthorised { what: words, message },
            (403, _) => Error::Forbidden { what: words, message },
            (404, _) => Error::NoRepository { repository },
            (409 | 412, _) => Error::Conflict { what: words, status, message },
            (429, _) => {
                let wait =
                    self.wait.map_or("a few minutes".to_owned(), |wait| format!("{} s", wait.as_secs()));
                Error::TooMany { what: words, wait }
            }
            (500.., _) => Error::Server { what: words, status, message },
            _ => Error::Refused { what: words, status, message },
        }
    }
}

/// A server's words on one line behind a colon, without the token if they repeat it, or nothing.
fn words(message: Option<&str>, token: Option<&Token>) -> String {
    let line: String = message.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let line = hidden(&line, token);
    let short: String = line.trim_end_matches('.').chars().take(200).collect();
    if short.is_empty() { short } else { format!(": {short}") }
}

/// The text without the token.
pub(crate) fn hidden(text: &str, token: Option<&Token>) -> String {
    token.map_or_else(|| text.to_owned(), |token| text.replace(token.secret(), "[token]"))
}

/// The same of an error of `hf-hub`, whose own words hold addresses and bodies.
pub(crate) fn of_client(error: &HFError, what: What<'_>, token: Option<&Token>) -> Failure {
    let context = match error {
        HFError::Http { context }
        | HFError::AuthRequired { context }
        | HFError::Forbidden { context }
        | HFError::Conflict { context }
        | HFError::RateLimited { context, .. } => Some(context),
        HFError::RepoNotFound { context, .. }
        | HFError::RevisionNotFound { context, .. }
        | HFError::EntryNotFound { context, .. } => context.as_ref(),
        _ => None,
    };
    if let Some(context) = context {
        let wait = match error {
            HFError::RateLimited { retry_after, .. } => *retry_after,
            _ => None,
        };
        let (code, message) = (context.error_code.as_deref(), context.server_message.as_deref());
        let refusal = Refusal { status: context.status.as_u16(), code, message, wait };
        return Failure::refused(&refusal, what, token);
    }
    match error {
        HFError::Request { source, .. } if source.is_decode() => {
            Failure::lasting(Error::answer(&what.to_string(), hidden(&innermost(source), token)))
        }
        HFError::Request { source, .. } => {
            let reason = hidden(&innermost(source), token);
            Failure::lost(Error::Connection { what: what.to_string(), reason })
        }
        other => {
            let words = words(Some(&other.to_string()), token);
            Failure::lasting(Error::answer(&what.to_string(), words.trim_start_matches(": ")))
        }
    }
}

/// The cause at the bottom, which names no address.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
