//! A Hub in memory, on two ports of this machine: the Hub itself, and the storage that it redirects to.
//!
//! It speaks as the real one does: entity tags, redirects, ranges, large file storage, commits as lines of JSON, the error
//! codes. A [`Fault`] makes it fail as networks and servers do.
#![allow(clippy::unwrap_used, reason = "only tests use it, and each failure is theirs")]

mod state;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use state::{error, ok};

/// The token that may read and write.
pub(crate) const WRITER: &str = "hf_writer_secret";
/// The token that may only read.
pub(crate) const READER: &str = "hf_reader_secret";

/// How an answer goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Another status than the right one, with these headers.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// The last byte of the body is another.
    Wrong,
    /// The request is done, and the connection ends before the answer.
    Lost,
    /// The error's message repeats the token.
    Echo,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    /// Whether it came to the storage.
    storage: bool,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

#[derive(Clone)]
struct Content {
    bytes: Arc<Vec<u8>>,
    large: bool,
}

#[derive(Default)]
struct Repository {
    private: bool,
    /// Commit by branch.
    branches: BTreeMap<String, String>,
    /// Files by commit.
    commits: BTreeMap<String, BTreeMap<String, Content>>,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    /// Names that now lead elsewhere.
    moved: BTreeMap<String, String>,
    objects: BTreeMap<String, Arc<Vec<u8>>>,
    parts: BTreeMap<(String, usize), Vec<u8>>,
    /// Method, part of the path, fault, and how often.
    faults: Vec<(String, String, Fault, usize)>,
    requests: Vec<Request>,
    commits: u64,
    /// Whether ranges are served.
    ranges: bool,
    /// Size of the parts of large files, if they come in parts.
    part: Option<usize>,
}

/// The server. Its threads end with the program.
#[derive(Clone)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    /// Address of the Hub.
    pub(crate) endpoint: String,
    storage: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (hub, storage) = (bind(), bind());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let state = State { ranges: true, ..State::default() };
        let (endpoint, storage_address) = (address(&hub), address(&storage));
        let server = Self { state: Arc::new(Mutex::new(state)), endpoint, storage: storage_address };
        for (listener, is_storage) in [(hub, false), (storage, true)] {
            let server = server.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let server = server.clone();
                    std::thread::spawn(move || server.serve(stream, is_storage));
                }
            });
        }
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits files to a branch, and makes the model if it isn't there. Returns the commit.
    pub(crate) fn put(&self, id: &str, branch: &str, files: &[(&str, &[u8])]) -> String {
        let mut state = self.state();
        let changes = files.iter().map(|&(path, bytes)| {
            let large = path.ends_with(".safetensors") || path.ends_with(".bin");
            let bytes = Arc::new(bytes.to_vec());
            (path.to_owned(), Content { bytes, large })
        });
        state.commit(id, branch, changes.collect())
    }

    pub(crate) fn set_private(&self, id: &str) {
        self.state().repositories.get_mut(id).unwrap().private = true;
    }

    pub(crate) fn set_moved(&self, old: &str, new: &str) {
        self.state().moved.insert(old.to_owned(), new.to_owned());
    }

    pub(crate) fn refuse_ranges(&self) {
        self.state().ranges = false;
    }

    pub(crate) fn set_part(&self, size: usize) {
        self.state().part = Some(size);
    }

    /// Lets the next `times` requests of this method to a path with `part` in it go wrong.
    pub(crate) fn fail(&self, method: &str, part: &str, fault: Fault, times: usize) {
        self.state().faults.push((method.to_owned(), part.to_owned(), fault, times));
    }

    /// The requests so far, as `METHOD path`.
    pub(crate) fn log(&self) -> Vec<String> {
        self.state().requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    pub(crate) fn forget_log(&self) {
        self.state().requests.clear();
    }

    /// How many requests of this method had `part` in their path.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let state = self.state();
        let fits = |request: &&Request| request.method == method && request.path.contains(part);
        state.requests.iter().filter(fits).count()
    }

    /// The ranges that the storage was asked for.
    pub(crate) fn ranges(&self) -> Vec<String> {
        let state = self.state();
        let storage = state.requests.iter().filter(|request| request.storage);
        storage.filter_map(|request| request.headers.get("range").cloned()).collect()
    }

    /// Whether a token ever came to the storage.
    pub(crate) fn storage_saw_a_token(&self) -> bool {
        let state = self.state();
        state.requests.iter().any(|request| request.storage && request.headers.contains_key("authorization"))
    }

    /// The tokens that came to the Hub.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.state()
            .requests
            .iter()
            .filter_map(|request| request.headers.get("authorization").cloned())
            .collect()
    }

    /// A branch's files.
    pub(crate) fn files(&self, id: &str, branch: &str) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let repository = &state.repositories[id];
        let files = &repository.commits[&repository.branches[branch]];
        files.iter().map(|(path, content)| (path.clone(), content.bytes.to_vec())).collect()
    }

    /// Commits of a model.
    pub(crate) fn commits(&self, id: &str) -> usize {
        self.state().repositories[id].commits.len()
    }

    pub(crate) fn is_private(&self, id: &str) -> bool {
        self.state().repositories[id].private
    }

    fn serve(&self, mut stream: TcpStream, storage: bool) -> Option<()> {
        let request = read_request(&stream, storage)?;
        self.state().requests.push(request.clone());
        let fault = self.state().fault(&request);
        let token = request.headers.get("authorization").cloned().unwrap_or_default();
        let early = match &fault {
            Some(Fault::Status(status, headers)) => {
                let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
                let body = br#"{"error":"as asked"}"#.to_vec();
                Some(Answer { status: *status, headers: headers.collect(), body })
            }
            Some(Fault::Echo) => Some(error(400, "", &format!("bad header Authorization: {token}"))),
            _ => None,
        };
        let mut answer = early.unwrap_or_else(|| self.answer(&request));
        if let (Some(Fault::Wrong), Some(last)) = (&fault, answer.body.last_mut()) {
            *last ^= 1;
        }
        if matches!(fault, Some(Fault::Lost)) {
            return None;
        }
        let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", answer.status);
        if !answer.headers.iter().any(|(name, _)| name == "Content-Length") {
            head += &format!("Content-Length: {}\r\n", answer.body.len());
        }
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let length = match fault {
            Some(Fault::Cut(bytes)) => bytes.min(answer.body.len()),
            _ if request.method == "HEAD" => 0,
            _ => answer.body.len(),
        };
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&answer.body[..length]).ok()
    }

    fn answer(&self, request: &Request) -> Answer {
        let mut state = self.state();
        let path = request.path.split('?').next().unwrap_or_default();
        let segments: Vec<String> = path.split('/').skip(1).map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        if request.storage {
            return state.storage(request, &segments);
        }
        if let Some(answer) = state.redirect(request, &segments) {
            return answer;
        }
        let token = request.headers.get("authorization").map(|value| value.trim_start_matches("Bearer "));
        if token.is_some_and(|token| ![WRITER, READER].contains(&token)) {
            return error(401, "", "Invalid credentials in Authorization header");
        }
        let reads = ["GET", "HEAD"].contains(&request.method.as_str());
        match (reads, token) {
            (false, None) => return error(401, "", "Invalid username or password."),
            (false, Some(READER)) => return error(403, "", "You don't have write access"),
            _ => {}
        }
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["api", "whoami-v2"]) => ok(&json!({ "name": "tester", "type": "user", "orgs": [] })),
            ("POST", ["api", "validate-yaml"]) => ok(&json!({ "errors": [], "warnings": [] })),
            ("POST", ["api", "repos", "create"]) => state.create(request, &self.endpoint),
            ("GET", ["api", "models", owner, name]) => state.info(owner, name, "main", token),
            ("GET", ["api", "models", owner, name, "revision", revision]) => {
                state.info(owner, name, revision, token)
            }
            ("GET", ["api", "models", owner, name, "tree", revision, ..]) => {
                state.tree(owner, name, revision, token)
            }
            ("POST", ["api", "models", owner, name, "branch", branch]) => state.branch(owner, name, branch),
            ("POST", ["api", "models", owner, name, "preupload", _]) => state.preupload(owner, name, request),
            ("POST", ["api", "models", owner, name, "commit", branch]) => {
                state.receive(owner, name, branch, request)
            }
            ("POST", ["api", "complete", oid]) => state.complete(oid, request),
            ("POST", ["api", "verify", oid]) => state.verify(oid),
            ("POST", [_, name, "info", "lfs", "objects", "batch"]) if name.ends_with(".git") => {
                state.batch(request, &self.endpoint, &self.storage)
            }
            ("GET" | "HEAD", [owner, name, "resolve", revision, file @ ..]) => {
                state.resolve(owner, name, revision, &file.join("/"), token, request, &self.storage)
            }
            _ => error(404, "", "no such page"),
        }
    }
}

impl Request {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn read_request(stream: &TcpStream, storage: bool) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (method, rest) = line.trim_end().split_once(' ')?;
    let (method, path) = (method.to_owned(), rest.split(' ').next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    } else if headers.contains_key("transfer-encoding") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let at = body.len();
            body.resize(at + size, 0);
            reader.read_exact(&mut body[at..]).ok()?;
            reader.read_line(&mut line).ok()?;
            if size == 0 {
                break;
            }
        }
    }
    Some(Request { method, path, headers, body, storage })
}

fn decoded(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next().unwrap_or(b'0')).to_digit(16).unwrap_or(0) as u8;
        bytes.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The name of a content in git.
pub(crate) fn git(bytes: &[u8]) -> String {
    let digest = Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes);
    hexadecimal(&digest.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
