//! Folders and archives, whole and hostile.

use super::*;
use std::io::Write;

fn write_tar(path: &Path, members: &[(&str, ::tar::EntryType, &[u8])]) {
    std::fs::write(path, crate::testing::tar(members)).unwrap();
}

/// A zip archive; the compressed members hold what deflate makes of the content.
fn write_zip(path: &Path, members: &[(&str, &[u8])]) {
    let mut archive = ::zip::ZipWriter::new(File::create(path).unwrap());
    for (name, content) in members {
        let options =
            ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Stored);
        archive.start_file(*name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap();
}

fn content(tree: &Tree, name: &str) -> Vec<u8> {
    let mut buffer = b"old".to_vec();
    tree.read(name, &mut buffer).unwrap();
    buffer
}

#[test]
fn folders_and_archives_have_the_same_files() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("folder");
    let files: [(&str, &[u8]); 5] =
        [("a.txt", b"1"), ("b/x.txt", b"22"), ("b/c/y.txt", b""), ("b/z.txt", b"333"), ("b-c/w.txt", b"4")];
    for (name, content) in files {
        std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        std::fs::write(root.join(name), content).unwrap();
    }
    std::fs::write(root.join("b/.DS_Store"), "").unwrap();
    let (tar, zip) = (home.path().join("a.tar"), home.path().join("a.zip"));
    write_tar(&tar, &files.map(|(name, content)| (name, ::tar::EntryType::Regular, content)));
    write_zip(&zip, &files);
    for path in [root, tar, zip] {
        let tree = Tree::open(&path).unwrap();
        assert_eq!(tree.folders("").unwrap(), ["b", "b-c"], "{}", path.display());
        assert_eq!(tree.folders("b").unwrap(), ["c"]);
        assert_eq!(tree.files("b").unwrap(), ["b/x.txt", "b/z.txt", "b/c/y.txt"]);
        assert_eq!(tree.files("").unwrap(), ["a.txt", "b/x.txt", "b/z.txt", "b-c/w.txt", "b/c/y.txt"]);
        assert!(
            tree.has_file("b/z.txt")
                && !tree.has_file("b")
                && tree.has_folder("b/c")
                && !tree.has_folder("c")
        );
        assert_eq!((content(&tree, "b/z.txt"), content(&tree, "b/c/y.txt")), (b"333".to_vec(), Vec::new()));
        let mut part = [0; 2];
        tree.read_part("b/z.txt", 1, &mut part).unwrap();
        assert_eq!((&part, tree.bytes("b/z.txt").unwrap()), (b"33", 3));
        assert!(tree.read_part("b/z.txt", 2, &mut part).is_err(), "beyond the end");
        assert!(tree.read("no", &mut Vec::new()).is_err());
        let tree = tree.below("b");
        assert_eq!(tree.files("").unwrap(), ["x.txt", "z.txt", "c/y.txt"]);
        assert_eq!(
            (tree.folders("").unwrap(), content(&tree, "x.txt")),
            (vec!["c".to_owned()], b"22".to_vec())
        );
    }
}

#[test]
fn what_leads_outside_an_archive_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (tar, zip) = (home.path().join("a.tar"), home.path().join("a.zip"));
    let outside = "lies outside the archive's folder";
    for (name, kind, problem) in [
        ("../evil", ::tar::EntryType::Regular, outside),
        ("a/../../evil", ::tar::EntryType::Regular, outside),
        ("/evil", ::tar::EntryType::Regular, outside),
        ("a\\evil", ::tar::EntryType::Regular, outside),
        ("link", ::tar::EntryType::Symlink, "is a link, expected a file"),
        ("link", ::tar::EntryType::Link, "is a link, expected a file"),
    ] {
        write_tar(&tar, &[("good", ::tar::EntryType::Regular, b"x"), (name, kind, b"")]);
        let error = Tree::open(&tar).unwrap_err().to_string();
        assert_eq!(error, format!("`{}`: member `{name}` {problem}", tar.display()));
    }
    for name in ["../evil", "/evil", "a/../../evil"] {
        write_zip(&zip, &[("good", b"x"), (name, b"")]);
        let error = Tree::open(&zip).unwrap_err().to_string();
        assert!(error.contains(outside), "{error}");
    }
    let mut archive = ::zip::ZipWriter::new(File::create(&zip).unwrap());
    archive.add_symlink("link", "/etc/passwd", ::zip::write::SimpleFileOptions::default()).unwrap();
    archive.finish().unwrap();
    let error = Tree::open(&zip).unwrap_err().to_string();
    assert!(error.ends_with("member `link` is a link, expected a file"), "{error}");
}

#[test]
fn an_archive_cut_short_anywhere_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (tar, zip) = (home.path().join("a.tar"), home.path().join("a.zip"));
    write_tar(
        &tar,
        &[("x", ::tar::EntryType::Regular, &[7; 700]), ("y", ::tar::EntryType::Regular, &[8; 5])],
    );
    write_zip(&zip, &[("x", &[7; 700]), ("y", &[8; 5])]);
    for (path, cuts) in [(tar, vec![0, 100, 512, 600, 1536, 2048, 2560]), (zip, vec![0, 100, 700, 800, 870])]
    {
        let whole = std::fs::read(&path).unwrap();
        Tree::open(&path).unwrap();
        for cut in cuts {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = Tree::open(&path).expect_err(&format!("{} cut to {cut}", path.display()));
            assert!(error.to_string().contains("cut short"), "{error}");
        }
    }
}

#[test]
fn a_circle_of_links_ends() {
    let home = tempfile::tempdir().unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(home.path(), home.path().join("again")).unwrap();
        let error = Tree::open(home.path()).unwrap().files("").unwrap_err().to_string();
        assert!(error.contains("a link in a circle?"), "{error}");
    }
}
