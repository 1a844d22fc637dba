//! Downloads from a server on this machine that fails as servers do.

use super::*;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

/// The digest of `abcdefghij`.
const MD5: Digest<'static> = Digest::Md5("a925576942e94b2ef57a066101b48876");
const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabcdefghij";
const CUT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabcd";
const REST: &str = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\nConnection: close\r\n\r\nefghij";
const OTHER_PART: &str = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/10\r\nContent-Length: 4\r\nConnection: close\r\n\r\nabcd";
const NOTHING_LEFT: &str = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const WRONG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabcdefghiJ";
const LONGER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nabcdefghijk";
const MISSING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A server that gives these answers, one a request, and then listens no more; what it was asked, with its headers.
fn server(answers: Vec<String>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request: Vec<String> =
                lines.map(|line| line.unwrap()).take_while(|line| !line.is_empty()).collect();
            let _ = sender.send(request.join("\n").to_lowercase());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (format!("http://{address}"), receiver)
}

/// An archive with one mirror that gives these answers.
fn served(answers: &[&str]) -> (Archive, Receiver<String>) {
    let (address, asked) = server(answers.iter().map(ToString::to_string).collect());
    let mirrors = vec![&*format!("{address}/a").leak()].leak();
    (Archive { file: "a", digest: Some(MD5), bytes: Some(10), mirrors }, asked)
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_whole_file_gets_its_name_and_is_not_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new/folder");
    let (archive, _asked) = served(&[WHOLE]);
    let mut heard = Vec::new();
    let path = archive.download(&folder, &mut |now, total| heard.push((now, total))).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"abcdefghij");
    assert_eq!(heard.last(), Some(&(10, Some(10))));
    assert_eq!(files(&folder), ["a"]);
    // The server has gone, so that this works only without it.
    archive.download(&folder, &mut |_, _| panic!("fetched again")).unwrap();
}

#[test]
fn what_was_cut_off_is_resumed_from_where_it_was() {
    for (answers, ranges) in [
        (&[CUT, REST][..], &[None, Some("bytes=4-")][..]),
        // A server that ignores `Range` sends all of it, and one that sends another part is asked again for all.
        (&[CUT, WHOLE], &[None, Some("bytes=4-")]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (archive, asked) = served(answers);
        archive.download(folder.path(), &mut |_, _| ()).unwrap();
        assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"abcdefghij");
        assert_eq!(files(folder.path()), ["a"]);
        for (request, range) in asked.iter().zip(ranges) {
            let found = request.lines().find_map(|line| line.strip_prefix("range: "));
            assert_eq!(found, *range, "{request}");
        }
    }
}

#[test]
fn the_part_of_another_day_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("a.part");
    for (present, answer) in [("abcd", REST), ("xxxx", WHOLE)] {
        std::fs::write(&part, present).unwrap();
        let (archive, asked) = served(&[answer]);
        archive.download(folder.path(), &mut |_, _| ()).unwrap();
        assert!(asked.recv().unwrap().contains("range: bytes=4-"));
        assert_eq!(files(folder.path()), ["a"]);
        std::fs::remove_file(folder.path().join("a")).unwrap();
    }
    // All of it had come, but not its name.
    std::fs::write(&part, "abcdefghij").unwrap();
    let (archive, _asked) = served(&[]);
    archive.download(folder.path(), &mut |_, _| ()).unwrap();
    std::fs::remove_file(folder.path().join("a")).unwrap();
    std::fs::write(&part, "abcdefghij").unwrap();
    let (archive, _asked) = served(&[NOTHING_LEFT]);
    Archive { bytes: None, ..archive }.download(folder.path(), &mut |_, _| ()).unwrap();
}

#[test]
fn a_faulty_mirror_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    let mut mirrors = Vec::new();
    for answers in [&[MISSING][..], &[WRONG], &[LONGER], &[CUT, OTHER_PART], &[WHOLE]] {
        let (archive, asked) = served(answers);
        mirrors.extend(archive.mirrors);
        kept.push(asked);
    }
    let archive = Archive { file: "a", digest: Some(MD5), bytes: None, mirrors: mirrors.leak() };
    archive.download(folder.path(), &mut |_, _| ()).unwrap();
    assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"abcdefghij");
    assert_eq!(files(folder.path()), ["a"]);
}

#[test]
fn faults_are_told_and_only_what_can_be_resumed_stays() {
    let cases: [(&[&str], &str, &[&str]); 4] = [
        (&[MISSING], "answered 404 Not Found", &[]),
        (&[CUT], "", &["a.part"]),
        (&[WRONG], "has the MD5 digest ", &[]),
        (&[LONGER], "offers 11 bytes, expected 10", &[]),
    ];
    for (answers, expected, left) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (archive, _asked) = served(answers);
        let error = archive.download(folder.path(), &mut |_, _| ()).unwrap_err().to_string();
        assert!(error.starts_with("cannot download `a`: ") && error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert_eq!(files(folder.path()), left);
    }
}

#[test]
fn the_disk_must_have_room_and_only_one_may_write() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, _asked) = served(&[]);
    let error =
        Archive { bytes: Some(1 << 60), ..archive }.download(folder.path(), &mut |_, _| ()).unwrap_err();
    assert!(matches!(&error, Error::Space { needed: 1_152_921_504_607, .. }), "{error}");
    assert!(files(folder.path()).is_empty());
    let part = Part::open(&folder.path().join("a.part")).unwrap();
    let error = archive.download(folder.path(), &mut |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("another download is at it"), "{error}");
    drop(part);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (archive, _asked) = served(&[]);
    let error = archive.download(&file.join("below"), &mut |_, _| ()).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("file/below")), "{error}");
}

/// The digest of `abc`, which the Hub announces in a header of its redirection.
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_repository_is_fetched_with_a_token_and_the_digests_that_it_announces() {
    let repository = Repository { id: "a/b", shards: &[("data/train", 1)], bytes: 3 };
    let announcement = |digest: &str| {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: /far\r\nX-Linked-Size: 3\r\nX-Linked-ETag: \"{digest}\"\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let mut heard = String::new();
    let (address, asked) = server(vec![announcement(SHA256), answer.clone()]);
    repository
        .download_from(&address, folder.path(), "secret", &mut |file, now, _| heard = format!("{file} {now}"))
        .unwrap();
    let path = folder.path().join("data/train-00000-of-00001.parquet");
    assert_eq!(
        (std::fs::read(&path).unwrap(), &*heard),
        (b"abc".to_vec(), "data/train-00000-of-00001.parquet 3")
    );
    let request = asked.recv().unwrap();
    assert!(
        request.starts_with("head /datasets/a/b/resolve/main/data/train-00000-of-00001.parquet "),
        "{request}"
    );
    assert!(request.contains("authorization: bearer secret"), "{request}");

    std::fs::remove_file(&path).unwrap();
    let (address, _asked) = server(vec![announcement(&SHA256.replace('b', "c")), answer]);
    let error = repository.download_from(&address, folder.path(), "secret", &mut |_, _, _| ()).unwrap_err();
    assert!(error.to_string().contains("has the SHA-256 digest ba78"), "{error}");

    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned();
    let (address, _asked) = server(vec![refusal]);
    let error = repository.download_from(&address, folder.path(), "secret", &mut |_, _, _| ()).unwrap_err();
    assert!(error.to_string().ends_with("the token is not one that may read this repository"), "{error}");
}
