//! Whole reproductions with a stand-in for the program: a shell script that leaves the files of a run behind.

mod slurm;
mod stage;

use std::fs;
use std::path::Path;

use clap::Parser;

use super::*;
use crate::artefact;
use cell::State;
use stage::{Line, SCRIPT, Stage, methods};

#[test]
fn what_is_done_isnt_run_again() {
    let stage = Stage::new("done");
    assert!(stage.reproduce(""));
    let expected = methods("table1").into_iter().map(|method| format!("train quick/{method} --seed 0"));
    assert_eq!(stage.calls(), expected.collect::<Vec<_>>());
    let table = stage.table();
    assert!(
        table.starts_with("# Table 1 (quick profile, not the paper's runs): top-1 accuracy; "),
        "{table}"
    );
    assert!(
        table.contains("2,000 training and 1,000 test pictures, 10 epochs (200 steps) (paper: CIFAR100/ResNet18, 800 epochs)"),
        "{table}"
    );
    assert!(table.contains("; cpu, commit 0123456789ab\n"), "{table}");
    assert_eq!(
        stage.row("AdAutoMix"),
        "| AdAutoMix | 82.32 | 60.00 | 61.00 | 59.00 | 70.00 | 71.00 | 69.00\\* | 1 |  | 10 |  |"
    );

    assert!(stage.reproduce(""));
    assert_eq!(stage.calls(), Vec::<String>::new());
    assert_eq!(stage.table(), table);

    assert!(stage.reproduce("--trials 2 --jobs 2 --rows MixUp,cutmix"));
    let mut calls = stage.calls();
    calls.sort();
    assert_eq!(calls, ["train quick/cutmix --seed 1", "train quick/mixup --seed 1"]);
    assert_eq!(
        stage.row("MixUp"),
        "| MixUp | 79.12 | 61.00 | 62.00 | 60.00\\* |  |  |  | 2 | 1.41 | 10 |  |"
    );
    let row = stage.row("Vanilla");
    assert!(row.contains("1 of 2 trials: `cargo xtask reproduce table1 --trials 2 --out"), "{row}");
    assert!(row.contains("--columns synthetic/ResNet20 --rows Vanilla`"), "{row}");
}

#[test]
fn tables_share_their_runs() {
    let stage = Stage::new("shared");
    assert!(stage.reproduce("--methods Vanilla,AdAutoMix"));
    stage.calls();
    assert!(stage.reproduce_artefact("table2", "--rows vanilla,ManifoldMix,AdAutoMix"));
    assert_eq!(stage.calls(), ["train quick/manifoldmix --seed 0"]);
    let table = fs::read_to_string(stage.out.join("table2.md")).unwrap();
    assert!(table.contains("(paper: CUB-200/ResNet18, 200 epochs)"), "{table}");
    assert!(table.contains("| AdAutoMix | 80.88 | 60.00 |"), "{table}");
    assert!(table.contains("not run: `cargo xtask reproduce table2 --out"), "{table}");
}

#[test]
fn residual_networks_compute_in_bf16_if_asked_to() {
    let stage = Stage::new("bf16");
    let names = |line: &str| -> Vec<String> {
        let (_, assembly, _) = stage.assembly("table1", line);
        assembly.cells.iter().map(|cell| cell.name.clone()).collect()
    };
    let (exact, rounded) = (names("--profile paper"), names("--profile paper --bf16"));
    for (exact, rounded) in exact.iter().zip(&rounded) {
        let residual = exact.contains("-resn");
        assert_eq!(rounded.contains("-network.precision=bf16-"), residual, "{rounded}");
        assert_eq!(rounded.replace("-network.precision=bf16", ""), *exact);
    }
    assert!(exact.iter().any(|name| name.contains("-swin_t-")) && exact.len() == rounded.len());
}

#[test]
fn what_a_table_doesnt_have_is_refused() {
    let refused = |line: &str| {
        let arguments = Line::try_parse_from(line.split_whitespace()).unwrap().arguments;
        let definition = paper::definition(&arguments.artefact).unwrap();
        check_headings(&arguments, &[definition]).unwrap_err()
    };
    let message = refused("xtask table1 --rows ManifoldMix");
    assert!(message.starts_with("no row `ManifoldMix` here; expected one of Vanilla"), "{message}");
    let message = refused("xtask table2 --profile paper --columns CIFAR100/ResNet18");
    assert!(message.starts_with("no column `CIFAR100/ResNet18` here; expected one of CUB-200"), "{message}");
    let message = refused("xtask fig4 --rows MixUp");
    assert!(message.ends_with("it is no table"), "{message}");
}

#[test]
fn measurements_follow_their_run_and_are_made_once() {
    let stage = Stage::new("measured");
    assert!(stage.reproduce_artefact("table4", "--rows CutMix,AdAutoMix"));
    let calls = stage.calls();
    assert_eq!(calls[0], "train quick/cutmix --seed 0");
    assert!(calls[1].contains("--metrics corruption --json --pictures 100"), "{calls:?}");
    assert!(calls[2].ends_with("--metrics fgsm --json"), "{calls:?}");
    assert_eq!(calls.len(), 6);
    let table = stage.artefact("table4");
    let cell = &table.tables[0].rows[4].cells[2];
    let values: Vec<_> =
        cell.values.iter().map(|value| (value.what.as_str(), value.mean, value.compared)).collect();
    assert_eq!(
        values,
        [
            ("as defined", 60.0, false),
            ("as published", 50.0, false),
            ("as defined", 61.0, false),
            ("as published", 51.0, true)
        ]
    );
    assert_eq!(cell.paper.as_ref().unwrap().of.as_deref(), Some("cifar100/resnet18"));
    let corrupted = table.tables[0].rows[0].cells[1].ran.clone().unwrap();
    assert!(corrupted.ends_with("corruption measured on the first 100 test pictures only"), "{corrupted}");

    // Figure 4 takes the calibration of the same runs, and the reliability diagram from it.
    assert!(stage.reproduce_artefact("fig4", ""));
    let calls = stage.calls();
    assert!(!calls.iter().any(|call| call.starts_with("train quick/cutmix")), "{calls:?}");
    let figure = stage.artefact("fig4");
    assert_eq!(figure.panels[0].series[1].points[0].y, 0.4);
    stage.calls();
    assert!(stage.reproduce_artefact("table6", ""));
    assert_eq!(stage.calls(), Vec::<String>::new());
}

#[test]
fn all_artefacts_are_made_of_the_same_cells() {
    let stage = Stage::new("all");
    assert!(stage.reproduce_artefact("all", "--jobs 4"));
    stage.calls();
    for id in paper::ids() {
        let artefact = stage.artefact(id);
        assert!(artefact.work.iter().all(|work| work.status == artefact::Status::Done), "{id}");
        assert!(stage.out.join(format!("{id}.md")).exists(), "{id}");
        for picture in artefact.pictures.iter().filter_map(|picture| picture.path.as_ref()) {
            assert!(stage.out.join(picture).exists(), "{picture}");
        }
    }
    let transferred = &stage.artefact("table3").tables[0].rows[0].cells[1];
    assert_eq!(
        (transferred.status, transferred.paper.as_ref().map(|paper| paper.value)),
        (artefact::Status::Done, Some(82.79))
    );
    let diversity = &stage.artefact("fig14").panels[0].series[1];
    assert_eq!((diversity.points[1].x, diversity.points[1].y), (4.0, 0.02));
    let curve = &stage.artefact("fig10").panels[0].series;
    assert_eq!(curve[0].points.last().map(|point| (point.x, point.y)), Some((2.0, 25.0)));
    assert_eq!((curve[2].whose, curve[2].points.len()), (artefact::Whose::Published, 200));
    let bars = &stage.artefact("fig1").panels[0];
    assert_eq!((bars.places.len(), bars.series[0].points.len(), bars.series[1].points[8].y), (9, 9, 82.32));
    assert!(stage.reproduce_artefact("all", ""));
    assert_eq!(stage.calls(), Vec::<String>::new());
}

#[test]
fn of_twenty_cells_three_fail_and_are_made_good() {
    let stage = Stage::new("twenty");
    let (_, assembly, _) =
        stage.assembly("table1", "--trials 3 --rows Vanilla,MixUp,CutMix,FMix,PuzzleMix,AutoMix");
    let names: Vec<_> = assembly.wanted.iter().map(|&index| assembly.cells[index].name.clone()).collect();
    assert_eq!(names.len(), 18);
    stage.prepare(&assembly.cells);
    let (_, more, _) = stage.assembly("table2", "--rows ManifoldMix");
    let (_, last, _) = stage.assembly("table11", "--columns DADA");
    stage.prepare(&more.cells);
    stage.prepare(&last.cells);
    stage.mark("fail-quick-manifoldmix");
    stage.mark("full-quick-dada");
    // Of the three trials of MixUp, one is killed: it alone has this name.
    fs::write(&stage.program, SCRIPT.replace("stop-$recipe", "stop-$name")).unwrap();
    stage.mark("stop-quick-mixup-seed1");
    let cells: Vec<&Cell> = [&assembly, &more, &last]
        .into_iter()
        .flat_map(|assembly| assembly.wanted.iter().map(|&index| &assembly.cells[index]))
        .collect();
    assert_eq!(cells.len(), 20);
    let devices = ["cpu".to_owned()];
    let runner = Runner { program: &stage.program, devices: &devices, data_dir: None, jobs: 3 };
    let failures = runner.run(&cells);
    assert_eq!(cells.iter().filter(|cell| cell.is_complete()).count(), 17);
    let mut messages: Vec<String> = failures.iter().map(ToString::to_string).collect();
    messages.sort();
    assert_eq!(messages.len(), 3);
    let [full, failed, killed] = [&messages[0], &messages[1], &messages[2]];
    assert!(full.starts_with("failed: quick/dada, seed 0: exit status: 1\n"), "{full}");
    assert!(full.contains("No space left on device"), "{full}");
    assert!(failed.starts_with("failed: quick/manifoldmix, seed 0: exit status: 1\n"), "{failed}");
    assert!(
        failed.contains("    epoch 1 of quick-manifoldmix\n    error: loss is not a number\n"),
        "{failed}"
    );
    assert!(killed.starts_with("failed: quick/mixup, seed 1: signal: 9 (SIGKILL)\n"), "{killed}");

    stage.calls();
    for name in ["fail-quick-manifoldmix", "full-quick-dada", "stop-quick-mixup-seed1"] {
        stage.unmark(name);
    }
    assert!(runner.run(&cells).is_empty());
    assert!(cells.iter().all(|cell| cell.is_complete()));
    assert_eq!(stage.calls().len(), 3);
}

#[test]
fn a_failed_cell_is_told_of_in_the_table_and_tried_again() {
    let stage = Stage::new("failed");
    stage.mark("fail-quick-mixup");
    assert!(!stage.reproduce(""));
    assert_eq!(stage.calls().len(), methods("table1").len());
    assert!(stage.row("MixUp").contains("failed: `cargo xtask reproduce"), "{}", stage.row("MixUp"));
    assert!(stage.row("AdAutoMix").contains("69.00"));
    let artefact = stage.artefact("table1");
    let work = artefact.work.iter().find(|work| work.name == "quick-mixup-seed0").unwrap();
    assert!(work.failure.as_ref().unwrap().contains("error: loss is not a number"), "{work:?}");
    stage.unmark("fail-quick-mixup");
    assert!(stage.reproduce(""));
    assert_eq!(stage.calls(), ["train quick/mixup --seed 0"]);
}

#[test]
fn a_failed_measurement_leaves_the_others() {
    let stage = Stage::new("metric");
    stage.mark("fail-corruption");
    assert!(!stage.reproduce_artefact("table4", "--rows CutMix"));
    assert_eq!(stage.calls().len(), 3);
    let folder = stage.out.join("quick-cutmix-seed0/evaluation");
    assert!(folder.join("fgsm.json").exists() && !folder.join("corruption-100.json").exists());
    let row = stage.artefact("table4").tables[0].rows[0].clone();
    assert_eq!(row.cells[1].status, artefact::Status::Failed);
    assert_eq!(row.cells[2].status, artefact::Status::Done);
    stage.unmark("fail-corruption");
    assert!(stage.reproduce_artefact("table4", "--rows CutMix"));
    assert_eq!(stage.calls().len(), 1);
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
    let (_, assembly, _) = stage.assembly("table1", "--rows MixUp");
    stage.prepare(&assembly.cells);
    let cell = assembly.cells.iter().find(|cell| cell.name == "quick-mixup-seed0").unwrap();
    assert_eq!(cell.state(), State::Empty);
    fs::create_dir_all(cell.folder.join("checkpoints")).unwrap();
    assert_eq!(cell.state(), State::Foreign);
    fs::write(cell.folder.join("recipe.toml"), cell.recipe.to_toml()).unwrap();
    assert_eq!(cell.state(), State::Abandoned);
    fs::write(cell.folder.join("checkpoints/last.safetensors"), "").unwrap();
    assert_eq!(cell.state(), State::Resumable);

    let devices = ["cpu".to_owned()];
    let runner = Runner { program: &stage.program, devices: &devices, data_dir: None, jobs: 1 };
    assert!(runner.run(&[cell]).is_empty());
    let calls = fs::read_to_string(stage.folder.join("calls")).unwrap();
    assert!(calls.trim_end().ends_with("--resume"), "{calls}");
    assert!(matches!(cell.state(), State::Done(_)));
}
