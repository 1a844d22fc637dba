//! Requests: repeated where that helps, redirected by hand, with the token for the endpoint alone.

use std::io::Read;
use std::time::Duration;

use reqwest::Url;
use ureq::http;
use ureq::http::Method;

use crate::refusal::{Refusal, What, hidden};
use crate::settings::{Settings, Token};
use crate::{Error, Repository, Result};

/// How long a server may take to accept a connection, to take the next bytes, or to send them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Redirects of one request.
const REDIRECTS: usize = 5;

/// What this program calls itself.
pub(crate) const USER_AGENT: &str = concat!("adautomix/", env!("CARGO_PKG_VERSION"));

/// Sends requests to a Hub and to the storage that it points to.
pub(crate) struct Http {
    agent: ureq::Agent,
    endpoint: Url,
    settings: Settings,
}

/// Which redirects are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Those within the Hub: a model that has moved. What leads to the storage is the answer.
    Within,
    /// All.
    All,
    /// None: a redirect is an error.
    Nothing,
}

/// A request.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) what: What<'a>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) follow: Follow,
    /// Whether to send it again after an answer that leaves open whether the first was heeded.
    pub(crate) repeat: bool,
}

/// An answer of success, or a redirect that isn't followed.
pub(crate) struct Answer {
    inner: http::Response<ureq::Body>,
}

impl Answer {
    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.inner, name)
    }

    /// The body as JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(mut self, what: What<'_>) -> Result<T> {
        let broken = |reason: String| Error::answer(&what.to_string(), format!("no valid JSON ({reason})"));
        let bytes = self.inner.body_mut().read_to_vec().map_err(|error| broken(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))
    }

    /// The body as it comes.
    pub(crate) fn into_reader(self) -> impl Read {
        self.inner.into_body().into_reader()
    }
}

/// How one try failed.
pub(crate) struct Failure {
    error: Error,
    /// Whether the server did surely nothing.
    refused: bool,
    /// Whether another try may end differently.
    passing: bool,
    /// How long the server wants to be left alone.
    wait: Option<Duration>,
}

impl Failure {
    /// A failure that stays one.
    pub(crate) fn lasting(error: Error) -> Self {
        Self { error, refused: false, passing: false, wait: None }
    }

    /// A connection that didn't come about or was lost.
    pub(crate) fn lost(error: Error) -> Self {
        Self { error, refused: false, passing: true, wait: None }
    }

    /// An answer that isn't success.
    pub(crate) fn refused(refusal: &Refusal<'_>, what: What<'_>, token: Option<&Token>) -> Self {
        Self {
            error: refusal.to_error(what, token),
            refused: matches!(refusal.status, 429 | 503),
            passing: matches!(refusal.status, 408 | 429 | 500 | 502..=504),
            wait: refusal.wait,
        }
    }
}

impl Http {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let agent = ureq::Agent::new_with_config(
            ureq::Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .timeout_connect(Some(PATIENCE))
                .timeout_recv_response(Some(PATIENCE))
                .timeout_per_read(Some(PATIENCE))
                .timeout_per_write(Some(PATIENCE))
                // A compressed body would have another length and another digest than the file.
                .accept_encoding("identity")
                .user_agent(USER_AGENT)
                .build(),
        );
        let wrong = || Error::Name {
            name: settings.endpoint.clone(),
            expected: "the Hub's address, as https://huggingface.co",
        };
        let endpoint = Url::parse(&settings.endpoint).map_err(|_| wrong())?;
        if !endpoint.has_host() || !["http", "https"].contains(&endpoint.scheme()) {
            return Err(wrong());
        }
        Ok(Self { agent, endpoint, settings: settings.clone() })
    }

    /// The endpoint's address with `segments` behind it, each percent-encoded as one.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        url.path_segments_mut().expect("the endpoint has a host").pop_if_empty().extend(segments);
        url
    }

    /// The address of a file at a commit.
    pub(crate) fn file_url(&self, repository: &Repository, commit: &str, file: &str) -> Url {
        let mut segments = vec![repository.owner(), repository.name(), "resolve", commit];
        segments.extend(file.split('/'));
        self.url(&segments)
    }

    /// Sends a request until it succeeds or another try is of no use. `sent` hears how much of the body has gone.
    pub(crate) fn send(&self, request: &Request<'_>, sent: &mut dyn FnMut(u64)) -> Result<Answer> {
        self.persist(request.repeat, &mut || self.followed(request, sent))
    }

    /// Tries until it succeeds or another try is of no use. Without `repeat`, what may have been heeded is not tried again.
    pub(crate) fn persist<T>(
        &self,
        repeat: bool,
        attempt: &mut dyn FnMut() -> Result<T, Failure>,
    ) -> Result<T> {
        let mut tries = 0;
        loop {
            let failure = match attempt() {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let again = failure.passing && (repeat || failure.refused) && tries < self.settings.retries;
            let wait = failure.wait.unwrap_or_else(|| self.pause(tries));
            if !again || wait > PATIENCE {
                return Err(failure.error);
            }
            tracing::warn!(error = %failure.error, seconds = wait.as_secs_f64(), "trying again");
            std::thread::sleep(wait);
            tries += 1;
        }
    }

    /// The wait after so many tries.
    pub(crate) fn pause(&self, tries: u32) -> Duration {
        self.settings.backoff.saturating_mul(1 << tries.min(6)).min(PATIENCE)
    }

    fn followed(&self, request: &Request<'_>, sent: &mut dyn FnMut(u64)) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            let answer = self.once(request, &url, sent)?;
            if !(300..400).contains(&answer.status()) {
                return Ok(answer);
            }
            let next = answer.header("location").and_then(|location| url.join(location).ok());
            let Some(next) = next else {
                return Err(unusable(request.what, "a redirect without an address"));
            };
            match request.follow {
                Follow::Nothing => {
                    return Err(unusable(request.what, "a redirect; has the model been renamed?"));
                }
                Follow::Within if next.origin() != self.endpoint.origin() => return Ok(answer),
                Follow::Within | Follow::All => url = next,
            }
        }
        Err(unusable(request.what, "more than 5 redirects"))
    }

    fn once(&self, request: &Request<'_>, url: &Url, sent: &mut dyn FnMut(u64)) -> Result<Answer, Failure> {
        let mut builder = http::Request::builder().method(&request.method).uri(url.as_str());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let own = url.origin() == self.endpoint.origin();
        if let Some(token) = self.settings.token.as_ref().filter(|_| own) {
            builder = builder.header("authorization", format!("Bearer {}", token.secret()));
        }
        let wrong = |error: http::Error| unusable(request.what, &error.to_string());
        let result = match request.body {
            None => self.agent.run(builder.body(()).map_err(wrong)?),
            Some(bytes) => {
                let mut body = Counted { bytes, at: 0, sent };
                // With a length it isn't sent in chunks, which storage refuses.
                builder = builder.header("content-length", bytes.len());
                self.agent.run(builder.body(ureq::SendBody::from_reader(&mut body)).map_err(wrong)?)
            }
        };
        let response = result.map_err(|error| self.lost(request.what, &error))?;
        if response.status().as_u16() < 400 {
            return Ok(Answer { inner: response });
        }
        Err(self.refused(request.what, response))
    }

    fn lost(&self, what: What<'_>, error: &ureq::Error) -> Failure {
        let passing = matches!(
            error,
            ureq::Error::Io(_)
                | ureq::Error::Timeout(_)
                | ureq::Error::HostNotFound
                | ureq::Error::ConnectionFailed
                | ureq::Error::Protocol(_)
        );
        let text = error.to_string();
        let reason = hidden(text.trim_start_matches("io: "), self.settings.token.as_ref());
        let error = Error::Connection { what: what.to_string(), reason };
        if passing { Failure::lost(error) } else { Failure::lasting(error) }
    }

    fn refused(&self, what: What<'_>, mut response: http::Response<ureq::Body>) -> Failure {
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(1 << 16).read_to_string().unwrap_or_default();
        let json: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let wait = header(&response, "retry-after").and_then(|text| text.trim().parse().ok());
        let wait = wait.map(Duration::from_secs);
        let refusal = Refusal {
            status,
            code: header(&response, "x-error-code"),
            message: header(&response, "x-error-message").or_else(|| json["error"].as_str()),
            wait,
        };
        Failure::refused(&refusal, what, self.settings.token.as_ref())
    }
}

fn unusable(what: What<'_>, reason: &str) -> Failure {
    Failure::lasting(Error::answer(&what.to_string(), reason))
}

fn header<'a>(response: &'a http::Response<ureq::Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// A body that says how much of it has been read.
struct Counted<'a> {
    bytes: &'a [u8],
    at: usize,
    sent: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = (&self.bytes[self.at..]).read(buffer)?;
        self.at += read;
        (self.sent)(self.at as u64);
        Ok(read)
    }
}
