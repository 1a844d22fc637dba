//! Downloads.

use std::fs;
use std::path::Path;

use adautomix_hub::{Error, Hub, Progress, Result, Weights};
use tempfile::TempDir;

use crate::server::{Fault, READER, Server, WRITER, git, sha256};
use crate::{files_below, hub, noise, repository, settings};

const NAME: &str = "timm/resnet18.tv_in1k";
const CONFIG: &[u8] = b"{\"architecture\": \"resnet18\"}";

struct World {
    server: Server,
    cache: TempDir,
    model: Vec<u8>,
    commit: String,
}

impl World {
    fn new() -> Self {
        let (server, model) = (Server::start(), noise(300_000, 1));
        let commit = server.put(NAME, "main", &[("config.json", CONFIG), ("model.safetensors", &model)]);
        Self { server, cache: tempfile::tempdir().unwrap(), model, commit }
    }

    fn pull(&self) -> Result<Weights> {
        self.pull_as(NAME, None)
    }

    fn pull_as(&self, name: &str, token: Option<&str>) -> Result<Weights> {
        hub(&self.server, self.cache.path(), token).pull(&repository(name), &mut |_| {})
    }

    fn offline(&self, name: &str) -> Result<Weights> {
        let settings =
            adautomix_hub::Settings { offline: true, ..settings(&self.server, self.cache.path(), None) };
        Hub::new(settings)?.pull(&repository(name), &mut |_| {})
    }

    /// The error of a pull; nothing in the cache may have a name that says it is whole.
    fn fails(&self) -> String {
        let error = self.pull().unwrap_err();
        assert_eq!(self.whole("model.safetensors"), None, "{error}");
        let message = error.to_string();
        assert!(!message.contains('\n') && !message.ends_with('.'), "{message}");
        message
    }

    fn folder(&self) -> std::path::PathBuf {
        self.cache.path().join("models--timm--resnet18.tv_in1k")
    }

    /// A file of the snapshot, or any blob of the model, if it is there.
    fn whole(&self, file: &str) -> Option<Vec<u8>> {
        let blob = self.folder().join("blobs").join(sha256(&self.model));
        let pointer = self.folder().join("snapshots").join(&self.commit).join(file);
        fs::read(pointer).ok().or_else(|| fs::read(blob).ok())
    }

    fn partial(&self) -> std::path::PathBuf {
        self.folder().join("blobs").join(format!("{}.adautomix.incomplete", sha256(&self.model)))
    }

    fn check(&self, weights: &Weights) {
        assert_eq!(fs::read(&weights.model).unwrap(), self.model);
        assert_eq!(fs::read(weights.config.as_ref().unwrap()).unwrap(), CONFIG);
        assert_eq!(weights.commit, self.commit);
        assert!(!self.partial().exists());
    }
}

#[test]
fn a_model_lies_in_the_cache_as_python_expects_it() {
    let world = World::new();
    let mut heard = Vec::new();
    let hub = hub(&world.server, world.cache.path(), None);
    let mut progress = |now: Progress<'_>| heard.push((now.file.to_owned(), now.done, now.total));
    let weights = hub.pull(&repository(NAME), &mut progress).unwrap();
    world.check(&weights);
    assert_eq!(weights.generator, None);
    let last = |file: &str| {
        heard.iter().rev().find(|(name, ..)| name == file).map(|&(_, done, total)| (done, total))
    };
    assert_eq!(last("model.safetensors"), Some((300_000, 300_000)));
    let folder = "models--timm--resnet18.tv_in1k";
    let (config, model) = (git(CONFIG), sha256(&world.model));
    let mut expected = vec![
        format!(".locks/{folder}/{config}.lock"),
        format!(".locks/{folder}/{model}.lock"),
        format!("{folder}/blobs/{config}"),
        format!("{folder}/blobs/{model}"),
        format!("{folder}/refs/main"),
        format!("{folder}/snapshots/{}/config.json", world.commit),
        format!("{folder}/snapshots/{}/model.safetensors", world.commit),
    ];
    expected.sort();
    let found: Vec<String> =
        files_below(world.cache.path()).iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    assert_eq!(found, expected);
    assert_eq!(fs::read_to_string(world.folder().join("refs/main")).unwrap(), world.commit);
    #[cfg(unix)]
    assert_eq!(fs::read_link(&weights.model).unwrap(), Path::new("../../blobs").join(model));
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let world = World::new();
    world.pull().unwrap();
    world.server.forget_log();
    world.check(&world.pull().unwrap());
    assert_eq!(world.server.log(), [format!("GET /api/models/{NAME}/revision/main")]);
    // A full commit doesn't change, so nobody is asked.
    world.server.forget_log();
    world.check(&world.pull_as(&format!("{NAME}@{}", world.commit), None).unwrap());
    assert!(world.server.log().is_empty());
    // A new commit with the same weights has only a new config.
    let commit = world.server.put(NAME, "main", &[("config.json", b"{}")]);
    let weights = world.pull().unwrap();
    assert_eq!((&weights.commit, fs::read(&weights.model).unwrap().len()), (&commit, 300_000));
    assert_eq!(world.server.count("GET", "/objects/"), 0);
}

#[test]
fn revisions_are_pinned() {
    let world = World::new();
    let older = world.pull().unwrap();
    world.server.put(NAME, "v2/b", &[("model.safetensors", b"new"), ("config.json", b"{}")]);
    let newer = world.pull_as(&format!("{NAME}@v2/b"), None).unwrap();
    assert_eq!(fs::read(&newer.model).unwrap(), b"new");
    assert_eq!(fs::read_to_string(world.folder().join("refs/v2/b")).unwrap(), newer.commit);
    world.check(&older);
    assert!(world.server.log().iter().any(|line| line.ends_with("/revision/v2%2Fb")));
    let message = world.pull_as(&format!("{NAME}@v3"), None).unwrap_err().to_string();
    assert_eq!(message, format!("`{NAME}` has no revision `v3`; expected a branch, a tag or a commit"));
}

#[test]
fn without_a_connection_the_cache_answers() {
    let world = World::new();
    let message = world.offline(NAME).unwrap_err().to_string();
    assert!(
        message.contains("model.safetensors is not in the cache") && message.contains("offline"),
        "{message}"
    );
    world.pull().unwrap();
    world.server.forget_log();
    world.check(&world.offline(NAME).unwrap());
    assert!(world.server.log().is_empty());
    let message = world.offline(&format!("{NAME}@other")).unwrap_err().to_string();
    assert!(message.contains("@other"), "{message}");
    // A server that fails, too.
    world.server.fail("GET", "/api/models", Fault::Status(503, &[]), usize::MAX);
    world.check(&world.pull().unwrap());
}

#[test]
fn a_connection_cut_in_the_middle_goes_on_where_it_ended() {
    let world = World::new();
    world.server.fail("GET", "/objects/", Fault::Cut(100_000), 2);
    world.check(&world.pull().unwrap());
    assert_eq!(world.server.ranges(), ["bytes=100000-", "bytes=200000-"]);
}

#[test]
fn a_pull_that_was_broken_off_is_gone_on_with_by_the_next() {
    let world = World::new();
    world.server.fail("GET", "/objects/", Fault::Cut(50_000), 3);
    let message = world.fails();
    assert!(message.contains("ended after 150000 of 300000 bytes"), "{message}");
    assert_eq!(fs::read(world.partial()).unwrap(), world.model[..150_000]);
    world.check(&world.pull().unwrap());
    assert_eq!(world.server.ranges().last().unwrap(), "bytes=150000-");
}

#[test]
fn a_server_that_knows_no_ranges_is_heard_from_the_beginning() {
    let world = World::new();
    world.server.refuse_ranges();
    world.server.fail("GET", "/objects/", Fault::Cut(100_000), 1);
    world.check(&world.pull().unwrap());
}

#[test]
fn a_beginning_of_another_file_is_begun_anew() {
    for beginning in [noise(1000, 7), noise(300_000, 7), noise(300_001, 7)] {
        let world = World::new();
        fs::create_dir_all(world.partial().parent().unwrap()).unwrap();
        fs::write(world.partial(), &beginning).unwrap();
        world.check(&world.pull().unwrap());
    }
    // And one that the server takes for too long.
    let world = World::new();
    fs::create_dir_all(world.partial().parent().unwrap()).unwrap();
    fs::write(world.partial(), &world.model[..10]).unwrap();
    world.server.fail("GET", "/objects/", Fault::Status(416, &[]), 1);
    world.check(&world.pull().unwrap());
}

#[test]
fn a_wrong_digest_is_refused_and_nothing_is_kept() {
    let world = World::new();
    world.server.fail("GET", "/objects/", Fault::Wrong, 1);
    let message = world.fails();
    assert!(
        message.contains("model.safetensors has the digest") && message.contains("expected"),
        "{message}"
    );
    assert!(!world.partial().exists());
    world.check(&world.pull().unwrap());
    // The small file, which has git's digest.
    let world = World::new();
    world.server.fail("GET", "/config.json", Fault::Wrong, 1);
    let message = world.pull().unwrap_err().to_string();
    assert!(message.contains("config.json has the digest"), "{message}");
    world.check(&world.pull().unwrap());
}

#[test]
fn a_damaged_cache_is_repaired_or_named() {
    let world = World::new();
    world.pull().unwrap();
    let blob = world.folder().join("blobs").join(sha256(&world.model));
    fs::write(&blob, b"{\"error\":\"not found\"}").unwrap();
    let message = world.offline(NAME).unwrap_err().to_string();
    assert!(message.contains("model.safetensors has the digest"), "{message}");
    world.check(&world.pull().unwrap());
    assert_eq!(fs::read(&blob).unwrap(), world.model);
}

#[test]
fn every_status_is_an_error_that_says_what_to_do() {
    for (method, part) in [("GET", "/api/models"), ("HEAD", "/model.safetensors"), ("GET", "/objects/")] {
        for (status, words) in [
            (400, "refused (400)"),
            (401, "set HF_TOKEN"),
            (403, "forbidden (403)"),
            (404, "no "),
            (409, "conflict (409)"),
            (429, "too many requests (429)"),
            (500, "the server failed (500)"),
            (503, "the server failed (503)"),
        ] {
            let world = World::new();
            world.server.fail(method, part, Fault::Status(status, &[]), usize::MAX);
            let message = world.fails();
            assert!(message.contains(words) && message.contains(NAME), "{method} {part} {status}: {message}");
            // What may pass is tried again, twice; what won't isn't.
            let tries = world.server.count(method, part);
            assert_eq!(tries, if matches!(status, 429 | 500..) { 3 } else { 1 }, "{method} {part} {status}");
            assert_eq!(files_below(&world.folder().join("snapshots")), Vec::<std::path::PathBuf>::new());
        }
    }
}

#[test]
fn a_busy_server_is_waited_for() {
    let world = World::new();
    let started = std::time::Instant::now();
    world.server.fail("HEAD", "/model.safetensors", Fault::Status(429, &[("Retry-After", "1")]), 1);
    world.server.fail("GET", "/objects/", Fault::Status(502, &[]), 2);
    world.server.fail("GET", "/api/models", Fault::Lost, 1);
    world.check(&world.pull().unwrap());
    assert!(started.elapsed().as_secs_f64() >= 1.0);
    // Nobody waits for an hour.
    let world = World::new();
    world.server.fail("HEAD", "/model.safetensors", Fault::Status(429, &[("Retry-After", "3600")]), 1);
    assert!(world.fails().contains("try again in 3600 s"));
}

#[test]
fn no_server_and_no_https_are_connections_that_fail() {
    let world = World::new();
    for endpoint in ["http://127.0.0.1:9".to_owned(), world.server.endpoint.replace("http:", "https:")] {
        let settings =
            adautomix_hub::Settings { endpoint, ..settings(&world.server, world.cache.path(), None) };
        let error = Hub::new(settings).unwrap().pull(&repository(NAME), &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::Connection { .. }), "{error}");
    }
    for endpoint in ["nowhere", "file:///etc", "http://"] {
        let settings = adautomix_hub::Settings {
            endpoint: endpoint.to_owned(),
            ..settings(&world.server, world.cache.path(), None)
        };
        assert!(Hub::new(settings).err().unwrap().to_string().contains(endpoint));
    }
}

#[test]
fn private_models_need_their_token_and_the_storage_never_sees_it() {
    let world = World::new();
    world.server.set_private(NAME);
    assert!(world.fails().contains("if it is private, set HF_TOKEN"));
    let message = world.pull_as(NAME, Some("hf_wrong")).unwrap_err().to_string();
    assert!(message.contains("not authorised (401): Invalid credentials"), "{message}");
    world.check(&world.pull_as(NAME, Some(READER)).unwrap());
    assert!(!world.server.storage_saw_a_token());
    assert!(world.server.tokens().contains(&format!("Bearer {READER}")));
}

#[test]
fn no_token_is_sent_where_none_is_given() {
    let world = World::new();
    world.pull().unwrap();
    assert_eq!(world.server.tokens(), Vec::<String>::new());
}

#[test]
fn no_error_repeats_a_token_or_a_signature() {
    for (method, part) in
        [("GET", "/api/models"), ("HEAD", "/config"), ("GET", "/config"), ("HEAD", "/model")]
    {
        let world = World::new();
        world.server.fail(method, part, Fault::Echo, 1);
        let error = world.pull_as(NAME, Some(WRITER)).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(WRITER), "{shown}");
    }
    let world = World::new();
    world.server.fail("GET", "/objects/", Fault::Status(403, &[]), 1);
    let error = world.pull_as(NAME, Some(WRITER)).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
}

#[test]
fn a_renamed_model_is_followed() {
    let world = World::new();
    world.server.set_moved("old/name", NAME);
    let weights = world.pull_as("old/name", Some(READER)).unwrap();
    assert_eq!((fs::read(&weights.model).unwrap(), &weights.commit), (world.model.clone(), &world.commit));
    assert!(world.cache.path().join("models--old--name").exists());
}

#[test]
fn what_has_no_weights_or_no_digest_is_refused_by_name() {
    let world = World::new();
    world.server.put("a/b", "main", &[("pytorch_model.bin", b"pickle"), ("README.md", b"")]);
    let message = world.pull_as("a/b", None).unwrap_err().to_string();
    assert_eq!(message, "`a/b` has no file `model.safetensors`; it has pytorch_model.bin");
    let message = world.pull_as("a/c", Some(READER)).unwrap_err().to_string();
    assert!(message.starts_with("no model `a/c` on the Hub"), "{message}");
    // An answer that isn't of the file at all: a status of success without any entity tag.
    world.server.fail("HEAD", "/model.safetensors", Fault::Status(200, &[("X", "y")]), 1);
    assert!(world.fails().contains("no entity tag that is a digest"));
    // A listing that isn't one.
    world.server.fail("GET", "/api/models", Fault::Cut(5), usize::MAX);
    assert!(matches!(world.pull().unwrap_err(), Error::Answer { .. } | Error::Connection { .. }));
}

#[test]
fn two_pulls_at_once_end_in_the_same_files() {
    let world = World::new();
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| world.pull().unwrap())).collect();
        for pull in pulls {
            world.check(&pull.join().unwrap());
        }
    });
    assert_eq!(world.server.count("GET", "/objects/"), 1);
}
