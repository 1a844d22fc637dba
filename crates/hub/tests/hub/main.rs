//! Downloads and uploads against a Hub in memory, with every way in which it may fail.
#![allow(clippy::unwrap_used, reason = "a failure of a helper is the failure of its test")]

mod pull;
mod push;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use adautomix_hub::{Hub, Repository, Settings, Token};

use server::Server;

/// A Hub with a cache in `cache` that waits hardly at all between tries.
fn hub(server: &Server, cache: &Path, token: Option<&str>) -> Hub {
    Hub::new(settings(server, cache, token)).unwrap()
}

fn settings(server: &Server, cache: &Path, token: Option<&str>) -> Settings {
    Settings {
        endpoint: server.endpoint.clone(),
        token: token.and_then(Token::new),
        cache: cache.to_owned(),
        offline: false,
        retries: 2,
        backoff: Duration::from_millis(1),
    }
}

fn repository(name: &str) -> Repository {
    name.parse().unwrap()
}

/// Bytes without a pattern.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_769) >> 24) as u8).collect()
}

/// All files below a folder, by their path in it; links are followed by nobody.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}
