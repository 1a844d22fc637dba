//! The stand-in for the program, and the folder that it plays in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use adautomix_recipes::{Accuracy, Library, NetworkSummary, Statistics, Summary};
use clap::Parser;

use crate::artefact::{Artefact, Axis};
use crate::paper::{self, Definition};
use crate::reproduce::assemble::{self, Assembly};
use crate::reproduce::cell::Cell;
use crate::reproduce::{Arguments, Options, Profile, make_with};

/// A folder with the stand-in, which notes its arguments in `calls`. It fails where `fail-RECIPE` exists, and breaks off
/// after a checkpoint where `stop-RECIPE` does (slashes being dashes).
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) program: PathBuf,
    pub(super) out: PathBuf,
}

pub(super) const SCRIPT: &str = r#"#!/bin/sh
stage=$(dirname "$0")
echo "$*" >> "$stage/calls"
case $1 in
bench) echo '{"ms_per_step": 36.0}'; exit 0 ;;
evaluate)
    echo "student: $4" >&2
    [ -e "$stage/fail-$4" ] && exit 1
    cat "$stage/report.json"
    exit 0 ;;
diversity)
    echo picture > "$5"
    echo '{"runs": [{"epochs": [1, 2, 4], "blends": {"mean": 0.04, "successive": [0.05, 0.02]}}]}'
    exit 0 ;;
mix | cam)
    while [ "$1" != --out ]; do shift; done
    echo picture > "$2"
    exit 0 ;;
esac
recipe=$(echo "$2" | tr / -)
seed=$4
shift 6
out=$2
name=$(basename "$out")
echo "epoch 1 of $recipe"
if [ -e "$stage/fail-$recipe" ]; then
    echo "error: loss is not a number" >&2
    exit 1
fi
mkdir -p "$out/checkpoints"
cp "$stage/recipes/$name.toml" "$out/recipe.toml"
if [ -e "$stage/full-$recipe" ]; then
    # A disk without room: what the system itself says is in the log.
    cp "$stage/recipes/$name.json" /dev/full || exit 1
fi
if [ -e "$stage/stop-$recipe" ]; then
    touch "$out/checkpoints/last.safetensors"
    kill -9 $$
fi
cp "$stage/recipes/$name.json" "$out/summary.json"
cp "$stage/metrics.jsonl" "$out/metrics.jsonl"
"#;

const REPORT: &str = r#"{"recipe": "r", "steps": 10,
"student": {"one": {"ece": {"standard": 0.2, "sorted": 0.1,
    "reliability": [{"count": 0, "accuracy": 0.0, "confidence": 0.0}, {"count": 5, "accuracy": 0.4, "confidence": 0.5}]},
  "fgsm": {"pixel": {"error": 60.0}, "published": {"error": 50.0}}, "corruption": {"top1": 40.0},
  "occlusion": {"ratios": [0.0, 0.1], "per_picture": [70.0, 69.0], "published": [70.0, 68.0]}}},
"teacher": {"one": {"fgsm": {"pixel": {"error": 61.0}, "published": {"error": 51.0}}}}}"#;

const METRICS: &str = r#"{"event": "train", "epoch": 0, "step": 9}
{"event": "evaluation", "epoch": 0, "steps": 10, "student": {"one": {"top1": 30.0}}, "teacher": {"one": {"top1": 20.0}}}
{"event": "evaluation", "epoch": 1, "steps": 20, "student": {"one": {"top1": 35.0}}, "teacher": {"one": {"top1": 25.0}}}
"#;

/// The methods of a table that have a quick recipe, in the order of its rows.
pub(super) fn methods(id: &str) -> Vec<String> {
    let names = Library::embedded().names().unwrap();
    let rows = assemble::headings(&paper::definition(id).unwrap(), Profile::Quick, Axis::Rows);
    rows.iter().map(|row| row.to_lowercase()).filter(|row| names.contains(&format!("quick/{row}"))).collect()
}

#[derive(Parser)]
pub(super) struct Line {
    #[command(flatten)]
    pub(super) arguments: Arguments,
}

impl Stage {
    pub(super) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("adautomix-reproduce-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("recipes")).unwrap();
        let program = folder.join("adautomix");
        fs::write(&program, SCRIPT).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("report.json"), REPORT).unwrap();
        fs::write(folder.join("metrics.jsonl"), METRICS).unwrap();
        let out = folder.join("out");
        Self { folder, program, out }
    }

    /// What the stand-in leaves behind for each cell.
    pub(super) fn prepare(&self, cells: &[Cell]) {
        for cell in cells {
            let file = |ending: &str| self.folder.join("recipes").join(format!("{}.{ending}", cell.name));
            fs::write(file("toml"), cell.recipe.to_toml()).unwrap();
            let summary = summary(&cell.recipe.name, cell.recipe.method.name(), cell.trial);
            fs::write(file("json"), summary.to_json()).unwrap();
        }
    }

    pub(super) fn mark(&self, name: &str) {
        fs::write(self.folder.join(name), "").unwrap();
    }

    pub(super) fn unmark(&self, name: &str) {
        fs::remove_file(self.folder.join(name)).unwrap();
    }

    /// The calls of the program since the last time, in order.
    pub(super) fn calls(&self) -> Vec<String> {
        let path = self.folder.join("calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(&path);
        text.lines().map(|line| line.split(" --device").next().unwrap().to_owned()).collect()
    }

    pub(super) fn reproduce(&self, line: &str) -> bool {
        self.reproduce_artefact("table1", line)
    }

    pub(super) fn reproduce_artefact(&self, artefact: &str, line: &str) -> bool {
        let (arguments, assembly, definitions) = self.assembly(artefact, line);
        self.prepare(&assembly.cells);
        make_with(&self.program, &arguments.run, assembly, &definitions).unwrap() == ExitCode::SUCCESS
    }

    pub(super) fn assembly(&self, artefact: &str, line: &str) -> (Arguments, Assembly, Vec<Definition>) {
        let words = ["xtask", artefact].into_iter().chain(line.split_whitespace());
        let mut arguments = Line::try_parse_from(words).unwrap().arguments;
        arguments.run.out = Some(self.out.clone());
        let definitions: Vec<_> =
            paper::ids().filter(|id| ["all", id].contains(&artefact)).filter_map(paper::definition).collect();
        let mut options = Options::new(&arguments.run, arguments.profile, "cargo xtask reproduce {id}");
        options.rows.clone_from(&arguments.rows);
        options.columns.clone_from(&arguments.columns);
        let mut assembly = Assembly::new(options).unwrap();
        for definition in &definitions {
            assembly.assemble(definition);
        }
        (arguments, assembly, definitions)
    }

    pub(super) fn artefact(&self, id: &str) -> Artefact {
        Artefact::read(&self.out.join(format!("{id}.json"))).unwrap()
    }

    pub(super) fn table(&self) -> String {
        fs::read_to_string(self.out.join("table1.md")).unwrap()
    }

    pub(super) fn row(&self, method: &str) -> String {
        let table = self.table();
        table.lines().find(|line| line.starts_with(&format!("| {method} |"))).unwrap().to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn summary(recipe: &str, method: &str, seed: u64) -> Summary {
    let accuracy = |value: f64| {
        let top1 = Statistics { last: value, best: value + 1.0, median_last10: value - 1.0 };
        Accuracy { top1, top5: top1 }
    };
    let student = NetworkSummary::one_head(accuracy(if seed == 0 { 60.0 } else { 62.0 }));
    Summary {
        recipe: recipe.to_owned(),
        method: method.to_owned(),
        dataset: "synthetic".to_owned(),
        network: "resnet20-cifar".to_owned(),
        device: "cpu".to_owned(),
        commit: Some("0123456789abcdef".to_owned()),
        seed,
        epochs: 10,
        steps: 200,
        seconds: 1.0,
        train_pictures: 2_000,
        test_pictures: 1_000,
        teacher: ["automix", "adautomix"]
            .contains(&method)
            .then(|| NetworkSummary::two_heads(accuracy(70.0), accuracy(65.0))),
        student,
    }
}
