//! `cargo xtask tidy`: what the compiler doesn't check. Also a test, so that plain `cargo test` runs it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use adautomix_recipes::Library;
use anyhow::{Context, Result};

use crate::paper;
use crate::workspace::{self, Package};

/// Which crates of the workspace each may use, for whatever purpose. What isn't here is refused.
const EDGES: &[(&str, &[&str])] = &[
    ("adautomix-random", &[]),
    ("adautomix-recipes", &[]),
    ("adautomix-kernels", &[]),
    ("adautomix-ops", &["kernels"]),
    ("adautomix-datasets", &["random"]),
    ("adautomix-backbones", &["ops"]),
    ("adautomix-hub", &["recipes"]),
    ("adautomix-mixing", &["ops"]),
    ("adautomix-losses", &["ops"]),
    (
        "adautomix-training",
        &["backbones", "datasets", "kernels", "losses", "mixing", "ops", "random", "recipes"],
    ),
    ("adautomix-evaluation", &["backbones", "datasets", "ops", "random", "recipes", "training"]),
    (
        "adautomix",
        &[
            "backbones",
            "datasets",
            "evaluation",
            "hub",
            "kernels",
            "losses",
            "mixing",
            "ops",
            "random",
            "recipes",
            "training",
        ],
    ),
    ("xtask", &["recipes"]),
];

/// What may lie at the top of the repository.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "bench",
    "clippy.toml",
    "crates",
    "data",
    "docs",
    "fuzz",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
    "xtask",
];

/// Files above this many lines are worth a second look.
const LONG_FILE: usize = 400;

/// Prints what isn't tidy.
pub(crate) fn run() -> Result<ExitCode> {
    let findings = findings()?;
    for warning in &findings.warnings {
        println!("tidy: note: {warning}");
    }
    for problem in &findings.problems {
        eprintln!("tidy: {problem}");
    }
    Ok(if findings.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Findings {
    problems: Vec<String>,
    /// Worth a look, but no reason to fail.
    warnings: Vec<String>,
}

fn findings() -> Result<Findings> {
    let root = workspace::root();
    let mut findings = Findings::default();
    for package in workspace::metadata()?.packages {
        findings.problems.extend(wrong_edges(&package));
    }
    findings.problems.extend(candle_in_xtask()?);
    findings.problems.extend(strays(&root));
    for folder in ["crates", "xtask", "tests"] {
        for path in rust_files(&root.join(folder))? {
            let text =
                fs::read_to_string(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
            let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            look_at_file(&name, &text, &mut findings);
        }
    }
    findings.problems.extend(wrong_recipes()?);
    Ok(findings)
}

fn wrong_edges(package: &Package) -> Vec<String> {
    let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
        return vec![format!("crate `{}` has no place in the layering (xtask/src/tidy.rs)", package.name)];
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.path.is_some())
        .map(|dependency| dependency.name.strip_prefix("adautomix-").unwrap_or(&dependency.name))
        .filter(|used| !allowed.contains(used))
        .map(|used| format!("crate `{}` must not use `{used}` (docs: layering)", package.name))
        .collect()
}

fn candle_in_xtask() -> Result<Option<String>> {
    let tree = workspace::output(workspace::cargo().args([
        "tree",
        "--package=xtask",
        "--edges=normal,build,dev",
        "--prefix=none",
        "--format={p}",
    ]))?;
    let found = tree.lines().find(|line| line.starts_with("candle"));
    Ok(found.map(|line| format!("xtask must build in seconds, but its tree holds {line}")))
}

/// What git keeps, or is about to, at the top that doesn't belong there; nothing where the sources aren't a repository.
fn strays(root: &Path) -> Vec<String> {
    let listed = Command::new("git").arg("ls-files").current_dir(root).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else { return Vec::new() };
    let files = String::from_utf8_lossy(&listed.stdout);
    let names: BTreeSet<&str> = files.lines().filter_map(|file| file.split('/').next()).collect();
    let stray = names.into_iter().filter(|name| !TOP.contains(name));
    stray.map(|name| format!("{name}: nothing of this name belongs at the top (xtask/src/tidy.rs)")).collect()
}

fn look_at_file(name: &str, text: &str, findings: &mut Findings) {
    if !text.starts_with("//! ") {
        findings.problems.push(format!("{name}: line 1 must say what the file is, after `//!`"));
    }
    // Written in two pieces, so that this file doesn't find itself.
    let marker = concat!("todo", "!");
    if let Some(line) = text.lines().position(|line| line.contains(marker)) {
        findings.problems.push(format!("{name}:{}: `{marker}` left behind", line + 1));
    }
    let lines = text.lines().count();
    if lines > LONG_FILE {
        findings.warnings.push(format!("{name}: {lines} lines; is there a second idea in it?"));
    }
}

/// Recipes that don't resolve, and claims that aren't what the paper's tables say.
fn wrong_recipes() -> Result<Vec<String>> {
    let library = Library::folder(workspace::root().join("data/recipes"));
    let mut problems = Vec::new();
    for name in library.names()? {
        let recipe = match library.load(&name, &[]) {
            Ok(recipe) => recipe,
            Err(error) => {
                problems.push(format!("recipe {name}: {error}"));
                continue;
            }
        };
        let Some(claim) = recipe.claim else { continue };
        let Some(id) = claim.table.map(|table| format!("table{table}")) else { continue };
        let printed = paper::definition(&id).and_then(|table| table.value(&claim.row, &claim.column));
        if printed != Some((claim.value, Some(claim.epochs))) {
            problems.push(format!("recipe {name}: its claim differs from data/paper/{id}.json: {printed:?}"));
        }
    }
    Ok(problems)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("{}: cannot be listed", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    #[test]
    fn the_workspace_is_tidy() {
        assert_eq!(findings().unwrap().problems, Vec::<String>::new());
    }

    #[test]
    fn edges_outside_the_layering_are_found() {
        let dependency =
            |name: &str, path: Option<&str>| Dependency { name: name.into(), path: path.map(Into::into) };
        let package = |name: &str, dependencies| Package { name: name.into(), dependencies };
        let mixing = package(
            "adautomix-mixing",
            vec![
                dependency("adautomix-ops", Some("crates/ops")),
                dependency("adautomix-training", Some("crates/training")),
                dependency("candle-core", None),
            ],
        );
        assert_eq!(
            wrong_edges(&mixing),
            ["crate `adautomix-mixing` must not use `training` (docs: layering)"]
        );
        assert_eq!(wrong_edges(&package("adautomix-new", vec![])).len(), 1);
    }

    #[test]
    fn headers_markers_and_length_are_looked_at() {
        let mut findings = Findings::default();
        look_at_file("a.rs", "//! Says what it is.\nfn a() {}\n", &mut findings);
        assert!(findings.problems.is_empty() && findings.warnings.is_empty());
        look_at_file("b.rs", "fn b() {\n    todo", &mut findings);
        look_at_file("c.rs", &format!("//! C.\n{}!();{}", "todo", "\n".repeat(500)), &mut findings);
        assert_eq!(findings.problems.len(), 2, "{:?}", findings.problems);
        assert!(findings.problems[1].starts_with("c.rs:2:"), "{:?}", findings.problems);
        assert_eq!(findings.warnings.len(), 1);
    }
}
