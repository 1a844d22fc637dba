//! Runs cells as the tasks of a SLURM job array, and waits for them.
//!
//! A task is the same commands that run here otherwise, written into the batch script: SLURM keeps a copy of it, so that
//! nothing can change under a task that waits. What a task has reached is in the run folder, as everywhere; which cells
//! are in the queue is known from `squeue` and `DIR/slurm/JOB.cells`, where line k is the cell of task k.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::RunOptions;
use super::cell::{Cell, State};
use super::invocation::{Launch, quote};
use super::runner::{ENDED, Failure, last_lines, say};

/// How often the queue is looked at.
const POLL: Duration = Duration::from_secs(3);

/// What comes before the tasks: how each of their commands is run.
const FUNCTIONS: &str = r#"
export RAYON_NUM_THREADS="${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}"
child= told= failed=

# USR1: time is nearly up. TERM: someone wants the task to end. The program saves its state either way.
trap 'told=USR1; [ -z "$child" ] || kill -TERM "$child"' USR1
trap 'told=TERM; [ -z "$child" ] || kill -TERM "$child"' TERM

# Waits for the program, whatever signals come meanwhile; its exit code is in $code.
attend() {
    child=$!
    wait "$child"; code=$?
    while kill -0 "$child" 2> /dev/null; do wait "$child"; code=$?; done
    child=
    if [ "$told" = USR1 ]; then
        scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
        exit 0
    fi
    if [ "$code" != 0 ]; then echo "ended with exit code $code" >> "$log"; fi
    if [ -n "$told" ]; then exit 143; fi
}

# The training run. Without it there is nothing to measure.
train() {
    "$program" "$@" >> "$log" 2>&1 & attend
    if [ "$code" != 0 ]; then exit "$code"; fi
}

# measure FILE ASIDE ...: a command that prints the file; it has its name when it is whole.
measure() {
    if [ -e "$1" ]; then return; fi
    mkdir -p "$(dirname "$1")"
    "$program" "${@:3}" > "$2" 2>> "$log" & attend
    if [ "$code" = 0 ]; then mv "$2" "$1"; else failed=1; fi
}

# draw FILE ASIDE ...: a command that writes ASIDE itself.
draw() {
    if [ -e "$1" ]; then return; fi
    mkdir -p "$(dirname "$1")"
    "$program" "${@:3}" >> "$log" 2>&1 & attend
    if [ "$code" = 0 ]; then mv "$2" "$1"; else failed=1; fi
}

case "$SLURM_ARRAY_TASK_ID" in
"#;

/// Submits the cells that are neither done nor in the queue, and waits until none is in the queue.
pub(crate) fn run(
    program: &Path,
    launch: &Launch,
    options: &RunOptions,
    out: &Path,
    id: &str,
    cells: &[&Cell],
) -> Result<Vec<Failure>> {
    let missing: Vec<&Cell> = cells.iter().copied().filter(|cell| !cell.is_complete()).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let waiting = queued(out)?;
    let new: Vec<&Cell> = missing.iter().copied().filter(|cell| !waiting.contains(&cell.name)).collect();
    if new.len() < missing.len() {
        say(&format!("{} cells are in the queue already", missing.len() - new.len()));
    }
    if !new.is_empty() {
        submit(&script(program, launch, options, out, id, &new)?, options, out, id, &new)?;
    }
    say("Waiting for the queue. Ctrl-C leaves the jobs alone; the same command waits for them again.");
    attend(out, &missing)?;
    Ok(missing.into_iter().filter(|cell| !cell.is_complete()).map(failure).collect())
}

/// The batch script: a task for each cell.
fn script(
    program: &Path,
    launch: &Launch,
    options: &RunOptions,
    out: &Path,
    id: &str,
    cells: &[&Cell],
) -> Result<String> {
    let mut text = String::from("#!/bin/bash\n");
    let at_a_time = options.jobs.map_or_else(String::new, |jobs| format!("%{jobs}"));
    let out = std::path::absolute(out).with_context(|| format!("{}: no such place", out.display()))?;
    for option in [
        format!("--job-name=adautomix-{id}"),
        format!("--array=0-{}{at_a_time}", cells.len() - 1),
        "--requeue".to_owned(),
        "--open-mode=append".to_owned(),
        "--signal=B:USR1@120".to_owned(),
        format!("--output={}/slurm/%A_%a.out", out.display()),
        format!("--chdir={}", std::env::current_dir()?.display()),
    ] {
        let _ = writeln!(text, "#SBATCH {option}");
    }
    let program = std::path::absolute(program)?;
    let _ = writeln!(text, "\nprogram={}", quote(&program.display().to_string()));
    text.push_str(FUNCTIONS.trim_start_matches('\n'));
    for (index, cell) in cells.iter().enumerate() {
        let _ = writeln!(text, "{index}) # {}", cell.title());
        let _ = writeln!(text, "    log={}", quote(&cell.log.display().to_string()));
        let _ = writeln!(text, "    : > \"$log\"");
        let words = |arguments: &[String]| {
            arguments.iter().map(|word| format!(" {}", quote(word))).collect::<String>()
        };
        if cell.summary().is_none() {
            let _ = writeln!(text, "    train{}", words(&cell.train(launch, true).arguments));
        }
        for step in &cell.steps {
            let invocation = cell.measure(step, launch);
            let Some(output) = &invocation.output else { continue };
            let verb = if output.printed { "measure" } else { "draw" };
            let files = [&output.path, &output.aside].map(|path| quote(&path.display().to_string()));
            let _ =
                writeln!(text, "    {verb} {} \\\n       {}", files.join(" "), words(&invocation.arguments));
        }
        text.push_str("    ;;\n");
    }
    text.push_str("esac\nexit \"${failed:-0}\"\n");
    Ok(text)
}

/// Hands the script over, and notes which cell each task is.
fn submit(script: &str, options: &RunOptions, out: &Path, id: &str, cells: &[&Cell]) -> Result<()> {
    for cell in cells {
        let state = cell.state();
        if state == State::Foreign
            && let Some(aside) = cell.make_way(&state)?
        {
            say(&format!(
                "{}: the folder held something else, which is now {}",
                cell.title(),
                aside.display()
            ));
        }
    }
    let folder = out.join("slurm");
    for folder in [&folder, &out.join("logs")] {
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    }
    let path = folder.join(format!("{id}.sh"));
    super::write(&path, script)?;
    let mut command = Command::new("sbatch");
    command.arg("--parsable").args(&options.sbatch).arg(&path);
    let printed = output(&mut command)?;
    let job = printed.trim().split(';').next().unwrap_or_default();
    let names: String = cells.iter().map(|cell| format!("{}\n", cell.name)).collect();
    super::write(&folder.join(format!("{job}.cells")), &names)?;
    say(&format!("Submitted job {job}: {} tasks, {}", cells.len(), path.display()));
    Ok(())
}

/// Waits until none of the cells is in the queue, and says when one leaves it.
fn attend(out: &Path, cells: &[&Cell]) -> Result<()> {
    let mut left: BTreeSet<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
    let mut silent = false;
    loop {
        match queued(out) {
            Ok(waiting) => {
                silent = false;
                for cell in cells.iter().filter(|cell| !waiting.contains(&cell.name)) {
                    if left.remove(cell.name.as_str()) {
                        let how = if cell.is_complete() { "done" } else { "ended without a result" };
                        let done = cells.len() - left.len();
                        say(&format!("[{done}/{}] {}: {how}", cells.len(), cell.title()));
                    }
                }
            }
            // The controller may be restarted; its jobs go on meanwhile.
            Err(error) if !silent => {
                say(&format!("the queue cannot be read, trying on: {error:#}"));
                silent = true;
            }
            Err(_) => {}
        }
        if left.is_empty() {
            return Ok(());
        }
        thread::sleep(POLL);
    }
}

/// The names of the cells below `out` that are in the queue, waiting or running.
fn queued(out: &Path) -> Result<BTreeSet<String>> {
    let printed = output(Command::new("squeue").args(["--me", "--noheader", "--array", "--format=%F %K"]))?;
    let mut names = BTreeSet::new();
    for line in printed.lines() {
        let Some((job, task)) = line.trim().split_once(' ') else { continue };
        let cells = fs::read_to_string(out.join("slurm").join(format!("{job}.cells"))).unwrap_or_default();
        let task: Option<usize> = task.trim().parse().ok();
        names.extend(task.and_then(|task| cells.lines().nth(task)).map(str::to_owned));
    }
    Ok(names)
}

fn failure(cell: &Cell) -> Failure {
    let last = last_lines(&cell.log).pop().filter(|line| line.starts_with(ENDED));
    let how = last.map(|line| line[ENDED.len()..].to_owned());
    Failure::of(cell, how.unwrap_or_else(|| "its task left the queue without a result".to_owned()))
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().with_context(|| format!("{name}: cannot be started; is SLURM installed?"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}: {}", output.status, said.trim());
    String::from_utf8(output.stdout).with_context(|| format!("{name}: its output is not UTF-8"))
}
