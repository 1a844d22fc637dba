//! All that a report shows, from the folder of a profile's results.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::curves::{self, Curves};
use super::runs::{self, Environment};
use crate::artefact::{Artefact, Status, Work};
use crate::reproduce::assemble::Assembly;
use crate::reproduce::{Options, Profile};
use crate::{paper, workspace};

/// All that a report shows.
pub(crate) struct Report {
    pub(crate) profile: String,
    /// Whether the profile's runs are reduced.
    pub(crate) reduced: bool,
    /// The commit of the working tree, with `+` where files have changed.
    pub(crate) commit: Option<String>,
    /// The tables and figures of the paper in its order, then ablations.
    pub(crate) artefacts: Vec<Artefact>,
    pub(crate) curves: Vec<Curves>,
    /// Where runs were computed, with their number and the hours that they took.
    pub(crate) environments: Vec<(Environment, usize, f64)>,
    /// Every run and evaluation once, by name.
    pub(crate) work: Vec<Work>,
}

/// How many places of a table or figure are filled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) done: usize,
    pub(crate) all: usize,
}

impl Report {
    /// Reads a folder of results. What isn't there is an empty table or figure with its command.
    pub(crate) fn read(folder: &Path, profile: Profile) -> Result<Self> {
        let reduced = profile == Profile::Quick;
        let runs = runs::read_all(folder)?;
        let artefacts = artefacts(folder, profile)?;
        let mut environments: BTreeMap<Environment, (usize, f64)> = BTreeMap::new();
        for run in &runs {
            if let Some(environment) = &run.environment {
                let entry = environments.entry(environment.clone()).or_default();
                *entry = (entry.0 + 1, entry.1 + run.summary.seconds / 3_600.0);
            }
        }
        let mut work: BTreeMap<String, Work> = BTreeMap::new();
        for one in artefacts.iter().flat_map(|artefact| &artefact.work) {
            work.entry(one.name.clone()).or_insert_with(|| typed_here(one));
        }
        Ok(Self {
            profile: profile.to_string(),
            reduced,
            commit: commit(),
            curves: curves::curves(&runs, reduced),
            artefacts,
            environments: environments
                .into_iter()
                .map(|(kind, (count, hours))| (kind, count, hours))
                .collect(),
            work: work.into_values().collect(),
        })
    }

    /// How many places of all tables and figures are filled.
    pub(crate) fn filled(&self) -> Filled {
        self.artefacts
            .iter()
            .map(filled)
            .fold(Filled::default(), |sum, one| Filled { done: sum.done + one.done, all: sum.all + one.all })
    }
}

/// How many places of a table or figure are filled: cells, series of ours and pictures.
pub(crate) fn filled(artefact: &Artefact) -> Filled {
    let cells = artefact.tables.iter().flat_map(|table| &table.rows).flat_map(|row| &row.cells);
    let ours = |series: &&crate::artefact::Series| series.whose == crate::artefact::Whose::Ours;
    let series = artefact.panels.iter().flat_map(|panel| &panel.series).filter(ours);
    let states: Vec<Status> = cells
        .map(|cell| cell.status)
        .chain(series.map(|series| series.status))
        .chain(artefact.pictures.iter().map(|picture| picture.status))
        .collect();
    Filled { done: states.iter().filter(|status| **status == Status::Done).count(), all: states.len() }
}

/// The ids of tables and figures beside the paper's that `reproduce` or `ablate` left in a folder.
fn others(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut others: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| Artefact::read(path).is_ok())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|id| paper::ids().all(|known| known != id))
        .collect();
    others.sort();
    others
}

/// The tables and figures of the paper, then others. What `reproduce` has left is taken as it is; else it is put together
/// from the run folders, so that an empty place has its command.
fn artefacts(folder: &Path, profile: Profile) -> Result<Vec<Artefact>> {
    let mut assembly = Assembly::new(Options {
        profile,
        trials: 1,
        devices: vec!["cpu".to_owned()],
        out: folder.to_owned(),
        data_dir: None,
        bf16: false,
        rows: Vec::new(),
        columns: Vec::new(),
        call: format!("cargo xtask reproduce {{id}} --profile {profile}"),
    })?;
    let mut artefacts = Vec::new();
    for definition in paper::ids().filter_map(paper::definition) {
        let path = folder.join(format!("{}.json", definition.id));
        artefacts.push(match Artefact::read(&path) {
            Ok(artefact) => artefact,
            Err(error) => {
                let mut artefact = assembly.assemble(&definition);
                if path.exists() {
                    artefact.notes.push(format!("{error:#}"));
                }
                artefact
            }
        });
    }
    for id in others(folder) {
        artefacts.push(Artefact::read(&folder.join(format!("{id}.json")))?);
    }
    Ok(artefacts)
}

/// The same with commands as they are typed in the root of the workspace, wherever that is.
fn typed_here(work: &Work) -> Work {
    let root = format!("{}/", workspace::root().display());
    Work { command: work.command.replace(&root, ""), ..work.clone() }
}

/// The commit of the working tree; none outside of a clone, or without git.
fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"])
        .current_dir(workspace::root())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn what_isnt_there_is_empty_with_its_command() {
        let folder = std::env::temp_dir().join(format!("adautomix-gather-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("table1.json"), samples::artefact("table1", true).to_json()).unwrap();
        fs::write(folder.join("ablation.json"), samples::artefact("ablation", true).to_json()).unwrap();
        fs::write(folder.join("table2.json"), "{\"table\": 2}").unwrap();
        let report = Report::read(&folder, Profile::Quick).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let ids: Vec<_> = report.artefacts.iter().map(|artefact| artefact.id.as_str()).collect();
        assert_eq!((ids.len(), ids[0], ids[10], ids[11], ids[12]), (24, "table1", "table11", "fig1", "fig4"));
        assert_eq!(ids[23], "ablation");
        assert_eq!(report.artefacts[0].title, "Top-1 accuracy & more");
        let second = &report.artefacts[1];
        assert!(
            second
                .notes
                .last()
                .unwrap()
                .ends_with("not a whole table or figure: missing field `id` at line 1 column 12")
        );
        let cell = &second.tables[0].rows[0].cells[0];
        assert!(
            cell.command
                .as_ref()
                .unwrap()
                .starts_with("cargo xtask reproduce table2 --profile quick --columns")
        );
        // A cell and a line of ours are there, of two each; the picture isn't.
        assert_eq!(filled(&report.artefacts[0]), Filled { done: 2, all: 5 });
    }
}
