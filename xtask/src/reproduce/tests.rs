//! Whole reproductions with a stand-in for the program: a shell script that leaves the files of a run behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use adautomix_recipes::{Accuracy, NetworkSummary, Override, Statistics, Summary};
use clap::Parser;

use super::*;

/// A folder with the stand-in, which notes its arguments in `calls`. It fails where `fail-RECIPE` exists, and breaks off
/// after a checkpoint where `stop-RECIPE` does (slashes being dashes).
struct Stage {
    folder: PathBuf,
    program: PathBuf,
    out: PathBuf,
}

const SCRIPT: &str = r#"#!/bin/sh
stage=$(dirname "$0")
echo "$*" >> "$stage/calls"
[ "$1" = train ] || { echo '{"ms_per_step": 36.0}'; exit 0; }
recipe=$(echo "$2" | tr / -)
seed=$4
shift 6
out=$2
echo "epoch 1 of $recipe"
if [ -e "$stage/fail-$recipe" ]; then
    echo "error: the disk is full" >&2
    exit 1
fi
mkdir -p "$out/checkpoints"
cp "$stage/$recipe-$seed.toml" "$out/recipe.toml"
if [ -e "$stage/stop-$recipe" ]; then
    touch "$out/checkpoints/last.safetensors"
    kill -9 $$
fi
cp "$stage/$recipe-$seed.json" "$out/summary.json"
"#;

/// The methods of a table that have a quick recipe, in the order of its rows.
fn methods(table: Table) -> Vec<String> {
    let names = Library::embedded().names().unwrap();
    let methods = table.paper().rows().map(str::to_lowercase).collect::<Vec<_>>();
    methods.into_iter().filter(|method| names.contains(&format!("quick/{method}"))).collect()
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

impl Stage {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("adautomix-reproduce-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("adautomix");
        fs::write(&program, SCRIPT).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        for method in methods(Table::Table1).into_iter().chain(["manifoldmix".to_owned()]) {
            for seed in 0..2_u32 {
                let recipe = format!("quick/{method}");
                let change = Override::new("training.seed", i64::from(seed)).unwrap();
                let whole = Library::embedded().load(&recipe, &[change]).unwrap();
                let file = folder.join(format!("quick-{method}-{seed}"));
                fs::write(file.with_extension("toml"), whole.to_toml()).unwrap();
                fs::write(file.with_extension("json"), summary(&recipe, &method, seed).to_json()).unwrap();
            }
        }
        let out = folder.join("out");
        Self { folder, program, out }
    }

    fn mark(&self, name: &str) {
        fs::write(self.folder.join(name), "").unwrap();
    }

    fn unmark(&self, name: &str) {
        fs::remove_file(self.folder.join(name)).unwrap();
    }

    /// The calls of the program since the last time, in order.
    fn calls(&self) -> Vec<String> {
        let path = self.folder.join("calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(&path);
        text.lines().map(|line| line.split(" --device").next().unwrap().to_owned()).collect()
    }

    fn reproduce(&self, line: &str) -> bool {
        self.reproduce_table("table1", line)
    }

    fn reproduce_table(&self, table: &str, line: &str) -> bool {
        let words = ["xtask", table].into_iter().chain(line.split_whitespace());
        let arguments = Line::try_parse_from(words).unwrap().arguments;
        let columns: Vec<_> = layout::columns(arguments.table, arguments.profile).collect();
        let cells = cells(&arguments, &columns, &self.out).unwrap();
        let code = run_with(&self.program, &arguments, &columns, &cells, &self.out).unwrap();
        code == ExitCode::SUCCESS
    }

    fn table(&self) -> String {
        fs::read_to_string(self.out.join("table1.md")).unwrap()
    }

    fn row(&self, method: &str) -> String {
        let table = self.table();
        table.lines().find(|line| line.starts_with(&format!("| {method} |"))).unwrap().to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn summary(recipe: &str, method: &str, seed: u32) -> Summary {
    let accuracy = |value: f64| {
        let top1 = Statistics { last: value, best: value + 1.0, median_last10: value - 1.0 };
        Accuracy { top1, top5: top1 }
    };
    let student = NetworkSummary::one_head(accuracy(60.0 + 2.0 * f64::from(seed)));
    Summary {
        recipe: recipe.to_owned(),
        method: method.to_owned(),
        dataset: "synthetic".to_owned(),
        network: "resnet20-cifar".to_owned(),
        device: "cpu".to_owned(),
        commit: Some("0123456789abcdef".to_owned()),
        seed: u64::from(seed),
        epochs: 10,
        steps: 200,
        seconds: 1.0,
        train_pictures: 2_000,
        test_pictures: 1_000,
        teacher: (method == "adautomix").then(|| NetworkSummary::two_heads(accuracy(70.0), accuracy(65.0))),
        student,
    }
}

#[test]
fn what_is_done_isnt_run_again() {
    let stage = Stage::new("done");
    assert!(stage.reproduce(""));
    let expected = methods(Table::Table1).into_iter().map(|method| format!("train quick/{method} --seed 0"));
    assert_eq!(stage.calls(), expected.collect::<Vec<_>>());
    let table = stage.table();
    assert!(
        table.starts_with("# Table 1 (quick profile, not the paper's runs): top-1 accuracy in percent; "),
        "{table}"
    );
    assert!(
        table.contains(
            "2,000 training and 1,000 test pictures, 10 epochs (200 steps); cpu, commit 0123456789ab"
        )
    );
    assert_eq!(
        stage.row("AdAutoMix"),
        "| AdAutoMix | 82.32 | 60.00 | 61.00 | 59.00 | 70.00 | 71.00 | 69.00\\* | 1 |  | 10 |  |"
    );

    assert!(stage.reproduce(""));
    assert_eq!(stage.calls(), Vec::<String>::new());
    assert_eq!(stage.table(), table);

    assert!(stage.reproduce("--trials 2 --jobs 2 --methods MixUp,cutmix"));
    let mut calls = stage.calls();
    calls.sort();
    assert_eq!(calls, ["train quick/cutmix --seed 1", "train quick/mixup --seed 1"]);
    assert_eq!(
        stage.row("MixUp"),
        "| MixUp | 79.12 | 61.00 | 62.00 | 60.00\\* |  |  |  | 2 | 1.41 | 10 |  |"
    );
    let row = stage.row("Vanilla");
    assert!(
        row.contains(
            "1 of 2 trials: `cargo xtask reproduce table1 --profile quick --methods Vanilla --trials 2`"
        ),
        "{row}"
    );
}

#[test]
fn tables_share_their_runs() {
    let stage = Stage::new("shared");
    assert!(stage.reproduce("--methods Vanilla,AdAutoMix"));
    stage.calls();
    assert!(stage.reproduce_table("table2", "--methods vanilla,ManifoldMix,AdAutoMix"));
    assert_eq!(stage.calls(), ["train quick/manifoldmix --seed 0"]);
    let table = fs::read_to_string(stage.out.join("table2.md")).unwrap();
    assert!(table.contains("(paper: CUB-200/ResNet18, 200 epochs)"), "{table}");
    assert!(table.contains("| AdAutoMix | 80.88 | 60.00 |"), "{table}");
    let missing = "not run: `cargo xtask reproduce table2 --profile quick --methods MixUp`";
    assert!(table.contains(missing), "{table}");
}

#[test]
fn what_a_table_doesnt_have_is_refused() {
    let refused = |line: &str| {
        let arguments = Line::try_parse_from(line.split_whitespace()).unwrap().arguments;
        wanted_columns(&arguments).unwrap_err()
    };
    let message = refused("xtask table1 --methods ManifoldMix");
    assert!(message.starts_with("no row `ManifoldMix` here; expected one of Vanilla"), "{message}");
    let message = refused("xtask table2 --profile paper --columns CIFAR100/ResNet18");
    assert!(message.starts_with("no column `CIFAR100/ResNet18` here; expected one of CUB-200"), "{message}");
}

#[test]
fn a_failed_cell_is_told_of_and_the_others_go_on() {
    let stage = Stage::new("failed");
    stage.mark("fail-quick-mixup");
    assert!(!stage.reproduce(""));
    assert_eq!(stage.calls().len(), methods(Table::Table1).len());
    assert!(stage.row("MixUp").contains("failed: `cargo xtask reproduce"), "{}", stage.row("MixUp"));
    assert!(stage.row("AdAutoMix").contains("69.00"));

    let arguments = Line::try_parse_from(["xtask", "table1"]).unwrap().arguments;
    let columns: Vec<_> = layout::columns(Table::Table1, Profile::Quick).collect();
    let cells = cells(&arguments, &columns, &stage.out).unwrap();
    let runner = Runner { program: &stage.program, device: "cpu", data_dir: None, jobs: 1 };
    let wanted: Vec<_> = cells.iter().collect();
    let failures = runner.run(&wanted).unwrap();
    let message = failures[0].to_string();
    assert_eq!(failures.len(), 1);
    assert!(
        message.starts_with("failed: MixUp on synthetic/ResNet20, seed 0: exit status: 1\n"),
        "{message}"
    );
    assert!(message.contains("    epoch 1 of quick-mixup\n    error: the disk is full\n"), "{message}");

    stage.calls();
    stage.unmark("fail-quick-mixup");
    assert!(stage.reproduce(""));
    assert_eq!(stage.calls(), ["train quick/mixup --seed 0"]);
}

#[test]
fn a_killed_cell_goes_on_and_one_of_another_recipe_is_set_aside() {
    let stage = Stage::new("killed");
    stage.mark("stop-quick-mixup");
    assert!(!stage.reproduce("--methods MixUp"));
    stage.unmark("stop-quick-mixup");
    stage.calls();
    let folder = stage.out.join("quick-mixup-seed0");
    assert!(folder.join("checkpoints/last.safetensors").exists());

    assert!(stage.reproduce("--methods MixUp"));
    let text = fs::read_to_string(stage.out.join("logs/quick-mixup-seed0.log")).unwrap();
    assert_eq!(text, "epoch 1 of quick-mixup\n");
    assert_eq!(stage.calls().len(), 1);

    // A summary that was cut short counts as none.
    fs::write(folder.join("summary.json"), "{\"recipe\": \"qui").unwrap();
    assert!(stage.reproduce("--methods MixUp"));
    assert_eq!(stage.calls().len(), 1);

    let whole = fs::read_to_string(folder.join("recipe.toml")).unwrap();
    fs::write(folder.join("recipe.toml"), whole.replace("epochs = ", "epochs = 1")).unwrap();
    assert!(stage.reproduce("--methods MixUp"));
    assert_eq!(stage.calls().len(), 1);
    assert!(Path::new(&format!("{}.old-1", folder.display())).join("summary.json").exists());
}

#[test]
fn a_run_is_resumed_only_from_a_checkpoint_of_its_recipe() {
    let stage = Stage::new("resume");
    let arguments = Line::try_parse_from(["xtask", "table1", "--methods", "MixUp"]).unwrap().arguments;
    let columns: Vec<_> = layout::columns(Table::Table1, Profile::Quick).collect();
    let cells = cells(&arguments, &columns, &stage.out).unwrap();
    let cell = cells.iter().find(|cell| cell.method == "MixUp").unwrap();
    assert_eq!(cell.state(), cell::State::Empty);
    fs::create_dir_all(cell.folder.join("checkpoints")).unwrap();
    assert_eq!(cell.state(), cell::State::Foreign);
    fs::write(cell.folder.join("recipe.toml"), cell.recipe.to_toml()).unwrap();
    assert_eq!(cell.state(), cell::State::Abandoned);
    fs::write(cell.folder.join("checkpoints/last.safetensors"), "").unwrap();
    assert_eq!(cell.state(), cell::State::Resumable);

    let wanted = [cell];
    let runner = Runner { program: &stage.program, device: "cpu", data_dir: None, jobs: 1 };
    assert!(runner.run(&wanted).unwrap().is_empty());
    let calls = fs::read_to_string(stage.folder.join("calls")).unwrap();
    assert!(calls.trim_end().ends_with("--resume"), "{calls}");
    assert!(matches!(cell.state(), cell::State::Done(_)));
}
