//! Models from and to the Hugging Face Hub.
//!
//! [`pull`] fetches a model into the cache that Python's `huggingface_hub` uses too, and gives the files' paths. A file has
//! its final name only when it is whole and has the digest that the Hub says; an interrupted download goes on.
//! [`Hub::plan`] and [`Hub::push`] send a model's files, of these only what the Hub doesn't have. [`Card`] writes the page
//! that goes with them.
//!
//! ```no_run
//! # fn main() -> adautomix_hub::Result<()> {
//! let weights = adautomix_hub::pull("timm/resnet18.tv_in1k")?;
//! println!("{} of commit {}", weights.model.display(), weights.commit);
//! # Ok(())
//! # }
//! ```
//!
//! Management of repositories is `hf-hub`'s: looking revisions up, making models and branches. The transfer of files is
//! this crate's own, because `hf-hub` 1.0 takes an error's body for the file, compares no digest, goes on with nothing, and
//! without its own protocol sends large files inside the commit.

mod cache;
mod card;
mod config;
mod digest;
mod error;
mod http;
mod lfs;
mod partial;
mod plan;
mod pull;
mod push;
mod refusal;
mod repository;
mod settings;

use hf_hub::{HFClient, HFClientSync, HFError};

pub use card::Card;
pub use config::Description;
pub use error::{Error, Result};
pub use plan::{Plan, Planned, State, Upload};
pub use pull::Weights;
pub use push::{Options, Pushed};
pub use repository::Repository;
pub use settings::{Settings, Token};

use refusal::What;

/// Fetches a model by the settings of the environment, `OWNER/NAME` or `OWNER/NAME@REVISION`.
///
/// # Errors
/// Those of [`Hub::pull`].
pub fn pull(name: &str) -> Result<Weights> {
    Hub::new(Settings::from_environment())?.pull(&name.parse()?, &mut |_| {})
}

/// How much of a file has come or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name in the model.
    pub file: &'a str,
    /// Bytes so far.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// A Hub.
pub struct Hub {
    settings: Settings,
    http: http::Http,
}

impl Hub {
    /// The Hub of some settings. It isn't asked anything yet.
    ///
    /// # Errors
    /// If the endpoint is no address.
    pub fn new(settings: Settings) -> Result<Self> {
        Ok(Self { http: http::Http::new(&settings)?, settings })
    }

    /// `hf-hub`'s client, unless the Hub isn't to be asked.
    fn client(&self, what: What<'_>) -> Result<HFClientSync> {
        let settings = &self.settings;
        if settings.offline {
            return Err(Error::Offline { what: what.to_string(), cache: settings.cache.clone() });
        }
        let build = || {
            // By itself it has no time limit, and would wait for a dead server for ever.
            let requests = reqwest::Client::builder()
                .connect_timeout(http::PATIENCE)
                .read_timeout(http::PATIENCE)
                .user_agent(http::USER_AGENT)
                .build()?;
            // Without a token it would look for one itself. A line break is none that can be sent.
            let token = settings.token.as_ref().map_or("\n", Token::secret);
            let client = HFClient::builder().client(requests).endpoint(&settings.endpoint).token(token);
            // It is asked again here, after the wait that the server wants.
            client.cache_dir(&settings.cache).retry_max_attempts(0).build_sync()
        };
        self.asked(what, false, &mut || build())
    }

    /// What `hf-hub` answers, asked again where that helps, with errors in the words of this crate.
    fn asked<T>(
        &self,
        what: What<'_>,
        repeat: bool,
        ask: &mut dyn FnMut() -> Result<T, HFError>,
    ) -> Result<T> {
        let token = self.settings.token.as_ref();
        self.http.persist(repeat, &mut || ask().map_err(|error| refusal::of_client(&error, what, token)))
    }
}
