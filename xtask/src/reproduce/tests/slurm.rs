//! The same by a real SLURM, where there is one.

use std::fs;

use super::stage::{SCRIPT, Stage};
use crate::artefact;

/// Whether jobs can be submitted here: SLURM is installed and has a node.
fn slurm_is_here() -> bool {
    let nodes = std::process::Command::new("sinfo").args(["--noheader", "--format=%n"]).output();
    nodes.is_ok_and(|nodes| nodes.status.success() && !nodes.stdout.is_empty())
}

#[test]
fn a_job_array_outlives_a_requeue_and_a_failing_task() {
    if !slurm_is_here() {
        println!("no SLURM here: nothing is tested");
        return;
    }
    let stage = Stage::new("slurm");
    // In the middle of its run one task is requeued, as by an administrator.
    let requeue = r#"if [ -e "$stage/requeue-$recipe" ]; then
    rm "$stage/requeue-$recipe"
    touch "$out/checkpoints/last.safetensors"
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
    sleep 600
fi
if [ -e "$stage/stop"#;
    let program = SCRIPT.replacen("if [ -e \"$stage/stop", requeue, 1);
    fs::write(&stage.program, program).unwrap();
    stage.mark("requeue-quick-fmix");
    stage.mark("fail-quick-cutmix");
    // A requeued task has to wait two minutes; not here.
    let hurry = std::thread::spawn(|| {
        for _ in 0..15 {
            std::thread::sleep(std::time::Duration::from_secs(2));
            let ours =
                ["--me", "--noheader", "--array", "--states=PD", "--name=adautomix-table4", "--format=%i"];
            let waiting = std::process::Command::new("squeue").args(ours).output().unwrap();
            for task in String::from_utf8(waiting.stdout).unwrap().lines() {
                let change = ["update".to_owned(), format!("JobId={task}"), "StartTime=now".to_owned()];
                let _ = std::process::Command::new("scontrol").args(change).status();
            }
        }
    });
    let line = "--rows CutMix,FMix,PuzzleMix --launcher slurm --sbatch=--time=5";
    assert!(!stage.reproduce_artefact("table4", line));
    hurry.join().unwrap();
    let table = stage.artefact("table4");
    let states: Vec<_> = table.tables[0].rows.iter().map(|row| row.cells[2].status).collect();
    let (done, failed, not_run) =
        (artefact::Status::Done, artefact::Status::Failed, artefact::Status::NotRun);
    assert_eq!(states, [failed, done, done, not_run, not_run]);
    assert_eq!(table.tables[0].rows[0].cells[2].reason.as_deref(), Some("quick/cutmix, seed 0: exit code 1"));
    let calls = stage.calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("train quick/fmix")).count(), 2, "{calls:?}");

    stage.unmark("fail-quick-cutmix");
    assert!(stage.reproduce_artefact("table4", line));
    let trained = stage.calls().into_iter().filter(|call| call.starts_with("train"));
    assert_eq!(trained.collect::<Vec<_>>(), ["train quick/cutmix --seed 0"]);
}
