//! From a definition to the artefact: which cells each place needs, and what they have left so far.
//!
//! The same walk serves twice. Before anything runs it fills the grid with the cells that are needed; afterwards it reads
//! their values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use adautomix_recipes::Library;

use super::cell::{Cell, FROM, State, Step};
use super::figure;
use super::invocation::{Launch, quote};
use super::measure::{conditions_of, over_trials, pictures_of};
use super::{Options, Profile};
use crate::artefact::{self, Artefact, Axis, Paper, Status, Work};
use crate::paper::{Choice, Definition, Measure, Part};

/// The cells of all artefacts that were asked for, and how they are made.
pub(crate) struct Assembly {
    pub(crate) options: Options,
    pub(crate) cells: Vec<Cell>,
    /// Cells that are to be run; the others are only shown.
    pub(crate) wanted: BTreeSet<usize>,
    /// What went wrong, by the name of the cell.
    pub(crate) failures: BTreeMap<String, String>,
    library: Library,
    names: BTreeSet<String>,
    /// What the artefact at hand is made of: cells, and steps of them.
    used: BTreeMap<usize, BTreeSet<usize>>,
}

/// The cells of a place, one for each trial, and what is measured of them.
pub(crate) struct Place {
    pub(crate) cells: Vec<usize>,
    /// The same step in each.
    pub(crate) step: Option<usize>,
    pub(crate) measure: Measure,
}

/// What is there of a place.
pub(crate) struct Found {
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    pub(crate) ran: Option<String>,
}

impl Assembly {
    /// An assembly without cells.
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        let library = Library::embedded();
        let names = library.names()?.into_iter().collect();
        Ok(Self {
            options,
            cells: Vec::new(),
            wanted: BTreeSet::new(),
            failures: BTreeMap::new(),
            library,
            names,
            used: BTreeMap::new(),
        })
    }

    /// The artefact as far as its cells are done; they are in the grid afterwards.
    pub(crate) fn assemble(&mut self, definition: &Definition) -> Artefact {
        self.used.clear();
        let tables: Vec<_> =
            definition.parts.iter().filter_map(|part| self.table(definition, part)).collect();
        let panels = definition.panels.iter().filter_map(|panel| figure::panel(self, definition, panel));
        let panels = panels.collect();
        let pictures = definition.pictures.iter().map(|drawn| figure::picture(self, definition, drawn));
        let pictures = pictures.collect();
        let mut notes = definition.notes.clone();
        if self.options.profile == Profile::Quick {
            notes.push(
                "Quick profile: drawn pictures, a small network and short runs. The paper's figures are of other \
                 pictures, another network and longer runs."
                    .to_owned(),
            );
        }
        Artefact {
            id: definition.id.clone(),
            name: definition.name(),
            title: definition.title.clone(),
            profile: self.options.profile.to_string(),
            reduced: self.options.profile == Profile::Quick,
            source: definition.source.clone(),
            command: self.command(definition, None),
            ran: self.ran(),
            notes,
            tables,
            panels,
            pictures,
            work: self.work(),
        }
    }

    /// A table; none where the profile doesn't have it.
    pub(crate) fn table(&mut self, definition: &Definition, part: &Part) -> Option<artefact::Table> {
        let quick = self.options.profile == Profile::Quick;
        let heading = renamed(&part.run, &part.heading, quick)?;
        let kept = |run: &Choice, heading: &str| renamed(run, heading, quick);
        let columns: Vec<_> = part
            .columns
            .iter()
            .enumerate()
            .filter_map(|(index, column)| Some((index, column, kept(&column.run, &column.heading)?)))
            .collect();
        let mut rows = Vec::new();
        for row in &part.rows {
            let Some(row_heading) = kept(&row.run, &row.heading) else { continue };
            let mut cells = Vec::new();
            for (index, column, column_heading) in &columns {
                let choice = part.run.with(&row.run).with(&column.run);
                let of = (quick && choice.quick.is_some())
                    .then(|| {
                        published_place(
                            [&part.heading, &column.heading, &row.heading],
                            [&part.run, &column.run, &row.run],
                        )
                    })
                    .flatten();
                let paper = row.values.get(*index).copied().flatten().map(|value| Paper {
                    value,
                    epochs: choice.epochs,
                    of,
                });
                let place = (row_heading.as_str(), column_heading.as_str());
                cells.push(self.table_cell(definition, &choice, place, paper));
            }
            rows.push(artefact::Row { heading: row_heading, cells });
        }
        let column = |(_, column, heading): &(usize, &crate::paper::Column, String)| artefact::Column {
            heading: heading.clone(),
            unit: column.unit.clone(),
            digits: column.digits,
        };
        Some(artefact::Table {
            heading: if part.heading.is_empty() { String::new() } else { heading },
            corner: part.corner.clone(),
            cut_by: part.cut_by,
            columns: columns.iter().map(column).collect(),
            rows,
        })
    }

    fn table_cell(
        &mut self,
        definition: &Definition,
        choice: &Choice,
        (row, column): (&str, &str),
        paper: Option<Paper>,
    ) -> artefact::Cell {
        let wanted = self.options.wants(row, column);
        let place = self.place(choice, wanted);
        let found = self.found(&place);
        let trials: Vec<_> = place.as_ref().map_or_else(|_| Vec::new(), |place| self.readings(place));
        let epochs = place.as_ref().ok().and_then(|place| self.cells[*place.cells.first()?].summary());
        let missing = !matches!(found.status, Status::Done | Status::NotThereYet);
        artefact::Cell {
            paper,
            values: over_trials(&trials),
            status: found.status,
            n: trials.len(),
            trials: usize::try_from(self.options.trials).unwrap_or(usize::MAX),
            epochs: epochs.map(|summary| summary.epochs),
            ran: found.ran,
            reason: found.reason,
            command: missing.then(|| self.command(definition, Some((row, column)))),
        }
    }

    /// The values of each trial that is done.
    pub(crate) fn readings(&self, place: &Place) -> Vec<Vec<super::measure::Reading>> {
        let read = |&cell: &usize| place.measure.read(&self.cells[cell], place.step);
        place.cells.iter().filter_map(read).collect()
    }

    /// The cells of a choice, put into the grid; or why there are none.
    pub(crate) fn place(&mut self, choice: &Choice, wanted: bool) -> Result<Place, String> {
        let measure = choice.measure.unwrap_or(Measure::Top1);
        let step = measure.step(self.options.profile);
        let (cells, step) = self.want(choice, step.as_ref(), wanted)?;
        Ok(Place { cells, step, measure })
    }

    /// The cells of a choice and the place of a step in them; or why there are none.
    pub(crate) fn want(
        &mut self,
        choice: &Choice,
        step: Option<&Step>,
        wanted: bool,
    ) -> Result<(Vec<usize>, Option<usize>), String> {
        let quick = self.options.profile == Profile::Quick;
        let family = if quick { Some("quick") } else { choice.recipes.as_deref() };
        let method = choice.quick_method.as_ref().filter(|_| quick).or(choice.method.as_ref());
        let name = match (family, method) {
            (Some(family), Some(method)) => format!("{family}/{method}"),
            _ => return Err("no recipe is given for it".to_owned()),
        };
        let mut set = choice.set.clone();
        if quick {
            set.extend(choice.quick_set.iter().cloned());
        } else if let Some(epochs) = choice.epochs {
            set.push(format!("training.epochs={epochs}"));
        }
        let from = choice.from.as_ref().map(|from| match from.rsplit_once('/') {
            Some((_, method)) if quick => format!("quick/{method}"),
            _ => from.clone(),
        });
        let mut indexes = Vec::new();
        let mut place = None;
        for trial in 0..self.options.trials {
            let mut set = set.clone();
            if let Some(from) = &from {
                let source = self.cell(from, &[], trial, wanted)?;
                set.push(format!("{FROM}{}", self.cells[source].folder.display()));
            }
            let index = self.cell(&name, &set, trial, wanted)?;
            let steps = self.used.entry(index).or_default();
            if let Some(step) = step {
                // The same step may have another place in each cell, but cells of a choice are only ever given steps
                // together.
                let step = self.cells[index].want(step.clone());
                steps.insert(step);
                place = Some(step);
            }
            indexes.push(index);
        }
        Ok((indexes, place))
    }

    /// The place of a cell in the grid.
    fn cell(&mut self, name: &str, set: &[String], trial: u64, wanted: bool) -> Result<usize, String> {
        if !self.names.contains(name) {
            return Err(format!("no recipe `{name}` yet"));
        }
        let new = |set: &[String]| Cell::new(&self.library, name, set, trial, &self.options.out);
        let mut cell = new(set).map_err(|error| error.to_string())?;
        if self.options.bf16 && cell.recipe.network.takes_bf16() {
            let set = [set, &["network.precision=bf16".to_owned()]].concat();
            cell = new(&set).map_err(|error| error.to_string())?;
        }
        let known = self.cells.iter().position(|other| other.name == cell.name);
        let index = known.unwrap_or(self.cells.len());
        if known.is_none() {
            self.cells.push(cell);
        }
        if wanted {
            self.wanted.insert(index);
        }
        self.used.entry(index).or_default();
        Ok(index)
    }

    /// How far a place has come.
    pub(crate) fn found(&self, place: &Result<Place, String>) -> Found {
        let place = match place {
            Ok(place) => place,
            Err(reason) => {
                return Found { status: Status::NotThereYet, reason: Some(reason.clone()), ran: None };
            }
        };
        self.found_of(&place.cells, place.step)
    }

    /// How far cells with a step have come.
    pub(crate) fn found_of(&self, cells: &[usize], step: Option<usize>) -> Found {
        let is_done =
            |cell: &&Cell| cell.summary().is_some() && step.is_none_or(|step| cell.result(step).is_some());
        let cells: Vec<&Cell> = cells.iter().map(|&index| &self.cells[index]).collect();
        let done: Vec<&Cell> = cells.iter().copied().filter(is_done).collect();
        let reason =
            cells.iter().filter(|cell| !is_done(cell)).find_map(|cell| self.failures.get(&cell.name));
        let status = match (done.len(), reason) {
            (count, _) if count == cells.len() => Status::Done,
            (_, Some(_)) => Status::Failed,
            (0, None) => Status::NotRun,
            _ => Status::SomeTrialsMissing,
        };
        let steps: Vec<usize> = step.into_iter().collect();
        let ran: BTreeSet<String> = done.iter().filter_map(|cell| pictures_of(cell, &steps)).collect();
        let ran = (!ran.is_empty()).then(|| Vec::from_iter(ran).join(" and "));
        let reason = reason.filter(|_| status == Status::Failed);
        let reason = reason
            .map(|text| text.lines().next().unwrap_or_default().trim_start_matches("failed: ").to_owned());
        Found { status, reason, ran }
    }

    /// The command that runs an artefact, or one place of its tables.
    pub(crate) fn command(&self, definition: &Definition, place: Option<(&str, &str)>) -> String {
        let mut command = self.options.command(&definition.id);
        // An ablation is run as a whole.
        if let Some((row, column)) = place.filter(|_| self.options.takes_places()) {
            command.push_str(&format!(" --columns {} --rows {}", quote(column), quote(row)));
        }
        command
    }

    /// What was run for the artefact at hand, and where.
    fn ran(&self) -> Vec<String> {
        let mut pictures = BTreeSet::new();
        let mut conditions = BTreeSet::new();
        for (&index, steps) in &self.used {
            let cell = &self.cells[index];
            let steps: Vec<usize> =
                steps.iter().copied().filter(|&step| cell.result(step).is_some()).collect();
            pictures.extend(pictures_of(cell, &steps));
            conditions.extend(cell.summary().as_ref().map(conditions_of));
        }
        pictures.into_iter().chain(conditions).collect()
    }

    /// Every run and step of the artefact at hand.
    fn work(&self) -> Vec<Work> {
        let mut work = Vec::new();
        let launch = Launch { data_dir: self.options.data_dir.clone(), device: self.options.device() };
        for (&index, steps) in &self.used {
            let cell = &self.cells[index];
            let failure = self.failures.get(&cell.name).cloned();
            let state = cell.state();
            let is_done = matches!(state, State::Done(_));
            let status = |done: bool| match (done, &failure) {
                (true, _) => Status::Done,
                (false, Some(_)) => Status::Failed,
                (false, None) => Status::NotRun,
            };
            work.push(Work {
                name: cell.name.clone(),
                title: cell.title(),
                status: status(is_done),
                command: cell.train(&launch, false).typed(),
                summary: match state {
                    State::Done(summary) => Some(*summary),
                    _ => None,
                },
                failure: failure.clone().filter(|_| !is_done),
            });
            for &index in steps {
                let step = &cell.steps[index];
                let there = cell.result(index).is_some();
                work.push(Work {
                    name: format!("{}/{}", cell.name, step.file().display()),
                    title: format!("{}: {}", cell.title(), step.title()),
                    status: status(there),
                    command: cell.measure(step, &launch).typed(),
                    summary: None,
                    failure: failure.clone().filter(|_| !there),
                });
            }
        }
        work
    }

    /// A file of a run folder, from the folder of the artefacts.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.options.out)
            .map_or_else(|_| path.display().to_string(), |path| path.display().to_string())
    }
}

/// The heading in a profile; none where the profile leaves it out.
fn renamed(run: &Choice, heading: &str, quick: bool) -> Option<String> {
    match (&run.quick, quick && run.recipes.is_some()) {
        (_, false) => Some(heading.to_owned()),
        (name, true) => name.clone(),
    }
}

/// The published heading that the quick profile has another name for.
fn published_place(headings: [&str; 3], runs: [&Choice; 3]) -> Option<String> {
    let (heading, run) = headings.into_iter().zip(runs).find(|(_, run)| run.quick.is_some())?;
    if heading.is_empty() { run.recipes.clone() } else { Some(heading.to_owned()) }
}

/// The headings of a table's rows and columns in a profile.
pub(crate) fn headings(definition: &Definition, profile: Profile, axis: Axis) -> Vec<String> {
    let quick = profile == Profile::Quick;
    let mut found = Vec::new();
    for part in definition.parts.iter().filter(|part| renamed(&part.run, &part.heading, quick).is_some()) {
        let of: Vec<(&Choice, &str)> = match axis {
            Axis::Rows => part.rows.iter().map(|row| (&row.run, row.heading.as_str())).collect(),
            Axis::Columns => {
                part.columns.iter().map(|column| (&column.run, column.heading.as_str())).collect()
            }
        };
        for heading in of.into_iter().filter_map(|(run, heading)| renamed(run, heading, quick)) {
            if !found.contains(&heading) {
                found.push(heading);
            }
        }
    }
    found
}
