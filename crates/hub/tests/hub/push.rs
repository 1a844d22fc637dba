//! Uploads.

use adautomix_hub::{Error, Hub, Options, Plan, Pushed, Result, State, Upload};
use tempfile::TempDir;

use crate::server::{Fault, READER, Server, WRITER, sha256};
use crate::{hub, noise, repository, settings};

const NAME: &str = "tester/mixed";

struct World {
    server: Server,
    cache: TempDir,
}

impl World {
    fn new() -> Self {
        Self { server: Server::start(), cache: tempfile::tempdir().unwrap() }
    }

    fn hub(&self, token: Option<&str>) -> Hub {
        hub(&self.server, self.cache.path(), token)
    }

    fn plan(&self, name: &str) -> Result<Plan> {
        self.hub(Some(WRITER)).plan(&repository(name), uploads())
    }

    fn push(&self) -> Result<Pushed> {
        self.push_as(WRITER, &Options::default())
    }

    fn push_as(&self, token: &str, options: &Options) -> Result<Pushed> {
        let hub = self.hub(Some(token));
        hub.push(&hub.plan(&repository(NAME), uploads())?, options, &mut |_| {})
    }

    /// All of the uploads are there, and nothing else but what the Hub put there itself.
    fn check(&self, branch: &str) {
        let mut files = self.server.files(NAME, branch);
        files.remove(".gitattributes").unwrap();
        let expected = uploads().into_iter().map(|upload| (upload.path, upload.content));
        assert!(files.into_iter().eq(expected));
    }

    /// How often a content was sent to the storage.
    fn sent(&self, content: &[u8]) -> usize {
        self.server.count("PUT", &sha256(content))
    }
}

/// In the order of their names, which is the server's.
fn uploads() -> Vec<Upload> {
    let upload = |path: &str, content: Vec<u8>| Upload { path: path.to_owned(), content };
    vec![
        upload("README.md", b"# A card\n".to_vec()),
        upload("config.json", b"{}\n".to_vec()),
        upload("generator.safetensors", noise(20_000, 3)),
        upload("model.safetensors", noise(100_000, 2)),
    ]
}

fn model() -> Vec<u8> {
    noise(100_000, 2)
}

#[test]
fn a_model_is_made_and_filled_in_one_commit() {
    let world = World::new();
    let plan = world.plan(NAME).unwrap();
    assert_eq!((plan.private, plan.branch, plan.changes().count()), (None, false, 4));
    assert!(
        plan.files.iter().all(|file| file.state == State::New && file.sha256 == sha256(&file.upload.content))
    );
    assert!(world.server.log().iter().all(|line| line.starts_with("GET ")), "a plan only looks");
    let (hub, mut heard) = (world.hub(Some(WRITER)), Vec::new());
    let options = Options { private: true, message: "First".to_owned() };
    let pushed =
        hub.push(&plan, &options, &mut |now| heard.push((now.file.to_owned(), now.done, now.total))).unwrap();
    assert!(matches!(pushed, Pushed::Commit(commit) if commit.len() == 40));
    world.check("main");
    assert!(world.server.is_private(NAME));
    assert_eq!(world.server.commits(NAME), 2, "the Hub's own, and one for all files");
    assert!(heard.contains(&("model.safetensors".to_owned(), 100_000, 100_000)));
    assert!(!world.server.storage_saw_a_token());
    // The large files went to the storage, and only the small ones are in the commit.
    assert_eq!((world.sent(&model()), world.sent(b"{}\n")), (1, 0));
}

#[test]
fn only_what_changed_is_sent() {
    let world = World::new();
    world.push().unwrap();
    world.server.forget_log();
    assert_eq!(world.push().unwrap(), Pushed::Nothing);
    assert!(!world.server.log().iter().any(|line| line.starts_with("POST") || line.starts_with("PUT")));
    assert_eq!(world.server.commits(NAME), 2);
    let mut changed = uploads();
    changed[0].content = b"# A better card\n".to_vec();
    let hub = world.hub(Some(WRITER));
    let plan = hub.plan(&repository(NAME), changed).unwrap();
    let states: Vec<State> = plan.files.iter().map(|file| file.state).collect();
    assert_eq!(states, [State::Changed, State::Unchanged, State::Unchanged, State::Unchanged]);
    world.server.forget_log();
    hub.push(&plan, &Options::default(), &mut |_| {}).unwrap();
    assert_eq!(world.server.count("PUT", ""), 0);
    assert_eq!(world.server.count("POST", "/objects/batch"), 0);
    assert_eq!(world.server.files(NAME, "main")["README.md"], b"# A better card\n");
}

#[test]
fn a_branch_is_made_where_main_is() {
    let world = World::new();
    world.push().unwrap();
    let hub = world.hub(Some(WRITER));
    let mut changed = uploads();
    changed[1].content = b"{\"a\": 1}\n".to_vec();
    let plan = hub.plan(&repository("tester/mixed@seed/1"), changed).unwrap();
    assert_eq!((plan.branch, plan.changes().count()), (false, 1));
    hub.push(&plan, &Options::default(), &mut |_| {}).unwrap();
    assert_eq!(world.server.files(NAME, "seed/1")["config.json"], b"{\"a\": 1}\n");
    world.check("main");
    assert_eq!(world.sent(&model()), 1);
}

#[test]
fn large_files_go_in_parts_where_the_hub_wants_parts() {
    let world = World::new();
    world.server.set_part(30_000);
    world.push().unwrap();
    world.check("main");
    assert_eq!(world.sent(&model()), 4);
}

#[test]
fn a_push_that_was_broken_off_is_gone_on_with_by_the_next() {
    // The storage has the model, but the connection ends before anything is committed.
    let world = World::new();
    let generator = sha256(&noise(20_000, 3));
    world.server.fail("PUT", &generator, Fault::Status(500, &[]), 3);
    let message = world.push().unwrap_err().to_string();
    assert!(message.contains("generator.safetensors: the server failed (500)"), "{message}");
    assert_eq!(world.server.commits(NAME), 1);
    world.server.fail("POST", "/commit/", Fault::Status(500, &[]), 1);
    let message = world.push().unwrap_err().to_string();
    assert!(message.contains("the commit: the server failed (500)"), "{message}");
    world.push().unwrap();
    world.check("main");
    assert_eq!((world.sent(&model()), world.server.commits(NAME)), (1, 2));
    // Three that failed and one that didn't.
    assert_eq!(world.sent(&noise(20_000, 3)), 4);
}

#[test]
fn a_commit_whose_answer_was_lost_is_not_made_twice() {
    let world = World::new();
    world.server.fail("POST", "/commit/", Fault::Lost, 1);
    assert!(matches!(world.push().unwrap(), Pushed::Commit(_)));
    world.check("main");
    assert_eq!((world.server.commits(NAME), world.server.count("POST", "/commit/")), (2, 1));
    // One that was lost before it came is an error, and the next push makes it.
    let world = World::new();
    world.server.fail("POST", "/commit/", Fault::Status(502, &[]), 1);
    assert!(world.push().is_err());
    assert_eq!((world.server.commits(NAME), world.server.count("POST", "/commit/")), (1, 1));
    // An upload whose answer was lost is asked for again, since the storage names contents by their digest.
    world.server.fail("PUT", "/objects/", Fault::Lost, 1);
    world.push().unwrap();
    world.check("main");
}

#[test]
fn a_busy_server_is_tried_again() {
    let world = World::new();
    for part in ["/preupload/", "/objects/batch", "/api/verify", "/commit/", "/repos/create"] {
        world.server.fail("POST", part, Fault::Status(429, &[("Retry-After", "0")]), 2);
    }
    world.server.fail("PUT", "/objects/", Fault::Status(503, &[]), 2);
    world.push().unwrap();
    world.check("main");
    assert_eq!(world.server.commits(NAME), 2);
}

#[test]
fn every_status_is_an_error_that_says_what_to_do() {
    for (method, part, subject) in [
        ("GET", "/api/models", "looking the model up"),
        ("POST", "/repos/create", "creating the model"),
        ("POST", "/preupload/", "announcing the files"),
        ("POST", "/objects/batch", "large file storage"),
        ("PUT", "/objects/", ".safetensors"),
        ("POST", "/api/verify", ".safetensors"),
        ("POST", "/commit/", "the commit"),
    ] {
        for (status, words) in [
            (400, "refused (400)"),
            (401, "set HF_TOKEN"),
            (403, "does the token have this right"),
            (404, "no model"),
            (409, "push again"),
            (412, "push again"),
            (429, "too many requests (429)"),
            (500, "the server failed (500)"),
        ] {
            if status == 404 && method == "GET" {
                // That is how a model looks that isn't there yet.
                continue;
            }
            // Taken for a model that is there, which then isn't to be seen.
            let hidden = status == 409 && part == "/repos/create";
            let words = if hidden { "no model" } else { words };
            let world = World::new();
            world.server.fail(method, part, Fault::Status(status, &[]), usize::MAX);
            let message = world.push().unwrap_err().to_string();
            assert!(message.contains(words) && message.contains(NAME), "{method} {part} {status}: {message}");
            assert!(words == "no model" || message.contains(subject), "{method} {part} {status}: {message}");
            assert!(!message.contains("sesame") && !message.contains('\n'), "{message}");
            if method != "GET" && part != "/repos/create" {
                assert_eq!(world.server.commits(NAME), 1, "nothing is committed");
            }
        }
    }
}

#[test]
fn who_may_not_write_is_told_before_anything_is_sent() {
    let world = World::new();
    let hub = world.hub(None);
    let plan = hub.plan(&repository(NAME), uploads()).unwrap();
    assert_eq!(plan.changes().count(), 4, "a plan needs no token");
    let error = hub.push(&plan, &Options::default(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::NoToken { .. }), "{error}");
    let message = world.push_as(READER, &Options::default()).unwrap_err().to_string();
    assert!(message.contains("creating the model: forbidden (403)"), "{message}");
    assert!(message.contains("You don't have write access"), "{message}");
    assert_eq!(world.server.count("PUT", ""), 0);
    let message = world.push_as("hf_wrong", &Options::default()).unwrap_err().to_string();
    assert!(message.contains("not authorised (401)") && !message.contains("hf_wrong"), "{message}");
}

#[test]
fn what_shall_be_private_is_not_sent_to_a_public_model() {
    let world = World::new();
    world.server.put(NAME, "main", &[("README.md", b"public")]);
    let options = Options { private: true, ..Options::default() };
    let message = world.push_as(WRITER, &options).unwrap_err().to_string();
    assert!(message.contains("is public") && message.contains("nothing was sent"), "{message}");
    assert_eq!(world.server.count("PUT", "") + world.server.count("POST", ""), 0);
}

#[test]
fn what_somebody_else_pushed_meanwhile_stays() {
    let world = World::new();
    world.push().unwrap();
    let hub = world.hub(Some(WRITER));
    let mut changed = uploads();
    changed[0].content = b"mine".to_vec();
    let plan = hub.plan(&repository(NAME), changed).unwrap();
    world.server.put(NAME, "main", &[("README.md", b"theirs")]);
    let error = hub.push(&plan, &Options::default(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Conflict { status: 412, .. }), "{error}");
    assert_eq!(world.server.files(NAME, "main")["README.md"], b"theirs");
}

#[test]
fn offline_a_plan_is_made_and_nothing_pushed() {
    let world = World::new();
    let settings = adautomix_hub::Settings {
        offline: true,
        ..settings(&world.server, world.cache.path(), Some(WRITER))
    };
    let hub = Hub::new(settings).unwrap();
    let plan = hub.plan(&repository(NAME), uploads()).unwrap();
    assert_eq!(plan.changes().count(), 4);
    assert!(matches!(hub.push(&plan, &Options::default(), &mut |_| {}), Err(Error::Offline { .. })));
    assert!(world.server.log().is_empty());
}

#[test]
fn no_error_repeats_the_token() {
    for (method, part) in [("POST", "/repos/create"), ("POST", "/preupload/"), ("POST", "/commit/")] {
        let world = World::new();
        world.server.fail(method, part, Fault::Echo, 1);
        let error = world.push().unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(WRITER) && shown.contains("[token]"), "{shown}");
    }
}

#[test]
fn what_is_pushed_can_be_pulled() {
    let world = World::new();
    world.push().unwrap();
    let weights = world.hub(Some(WRITER)).pull(&repository(NAME), &mut |_| {}).unwrap();
    assert_eq!(std::fs::read(&weights.model).unwrap(), model());
    assert_eq!(std::fs::read(weights.generator.unwrap()).unwrap(), noise(20_000, 3));
}
