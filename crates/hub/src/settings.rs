//! Where the Hub is, who asks, and where files are kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The public Hub.
const ENDPOINT: &str = "https://huggingface.co";

/// Which Hub, by which token, with which cache.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the Hub, as `https://huggingface.co`.
    pub endpoint: String,
    /// Who asks; public models need nobody.
    pub token: Option<Token>,
    /// The folder of the cache that Python's `huggingface_hub` also uses.
    pub cache: PathBuf,
    /// Whether to use the cache alone and open no connection.
    pub offline: bool,
    /// How often a request is repeated that met a busy or failing server, or a lost connection.
    pub retries: u32,
    /// The wait before the first repetition; each further one waits twice as long.
    pub backoff: Duration,
}

impl Settings {
    /// The settings that Python's `huggingface_hub` takes from the same variables: `HF_ENDPOINT`; `HF_TOKEN`,
    /// `HF_TOKEN_PATH` or the file `token` in `HF_HOME`, unless `HF_HUB_DISABLE_IMPLICIT_TOKEN`; `HF_HUB_CACHE`, `HF_HOME`
    /// or `XDG_CACHE_HOME`; `HF_HUB_OFFLINE`.
    pub fn from_environment() -> Self {
        Self::from_variables(&|name| std::env::var(name).ok())
    }

    /// The same with variables from elsewhere.
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is_true = |name| given(name).is_some_and(|value| is_true(&value));
        let home = given("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let user = || PathBuf::from(given("HOME").or_else(|| given("USERPROFILE")).unwrap_or_default());
            let caches = given("XDG_CACHE_HOME").map(PathBuf::from);
            caches.unwrap_or_else(|| user().join(".cache")).join("huggingface")
        });
        let cache = given("HF_HUB_CACHE").or_else(|| given("HUGGINGFACE_HUB_CACHE")).map(PathBuf::from);
        let token_file = given("HF_TOKEN_PATH").map_or_else(|| home.join("token"), PathBuf::from);
        let token =
            || given("HF_TOKEN").or_else(|| read_token(&token_file)).and_then(|text| Token::new(&text));
        let endpoint = given("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        Self {
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            token: if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { token() },
            cache: cache.unwrap_or_else(|| home.join("hub")),
            offline: is_true("HF_HUB_OFFLINE"),
            retries: 4,
            backoff: Duration::from_millis(500),
        }
    }
}

fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.trim().to_lowercase().as_str())
}

fn read_token(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// A token of the Hub. It is sent to the endpoint and to nobody else, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token of a text, if that can be one: spaces and line breaks around it are taken off.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// What stands behind `Bearer`.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let variables: Vec<(String, String)> =
            variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Settings::from_variables(&|wanted| {
            variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn variables_mean_what_they_mean_to_python() {
        let plain = settings(&[("HOME", "/home/a")]);
        assert_eq!(plain.endpoint, "https://huggingface.co");
        assert_eq!(plain.cache, Path::new("/home/a/.cache/huggingface/hub"));
        assert!(!plain.offline && plain.token.is_none());
        let moved =
            settings(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/c"), ("HF_ENDPOINT", "http://h:1/")]);
        assert_eq!(moved.cache, Path::new("/c/huggingface/hub"));
        assert_eq!(moved.endpoint, "http://h:1");
        let own = settings(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/c"), ("HF_HUB_OFFLINE", "True")]);
        assert_eq!(own.cache, Path::new("/h/hub"));
        assert!(own.offline);
        assert_eq!(settings(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/k")]).cache, Path::new("/k"));
        assert!(!settings(&[("HF_HUB_OFFLINE", "0")]).offline);
    }

    #[test]
    fn the_token_is_found_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        let secret = |variables: &[(&str, &str)]| settings(variables).token.map(|token| token.0);
        assert_eq!(secret(&[home]).as_deref(), Some("hf_file"));
        assert_eq!(secret(&[home, ("HF_TOKEN", " hf_given ")]).as_deref(), Some("hf_given"));
        assert_eq!(secret(&[home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert_eq!(secret(&[("HF_TOKEN", "two words")]), None);
        let shown = format!("{:?}", settings(&[home]));
        assert!(shown.contains("hidden") && !shown.contains("hf_file"), "{shown}");
    }
}
