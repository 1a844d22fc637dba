//! `cargo xtask status`: how far the cells under a folder of results are, from what their folders and logs hold.

use std::fmt::Write as _;
use std::fs;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use adautomix_recipes::Summary;
use anyhow::{Result, ensure};

use crate::reproduce::manifest::{self, Entry};
use crate::reproduce::options::{Profile, results};
use crate::reproduce::runner::{ENDED, last_lines};

/// A log that nothing was written to for so long is that of a process which is no more.
const SILENCE: Duration = Duration::from_secs(600);

/// How often the dashboard is drawn anew.
const REFRESH: Duration = Duration::from_secs(2);

/// Characters of a bar.
const BAR: usize = 20;

/// What to look at.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the cells of this table, figure or ablation [default: all that were ever asked for]
    id: Option<String>,
    /// Whose results
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Where runs and results are [default: results/PROFILE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on looking until everything has ended; Ctrl-C leaves, and the runs go on
    #[arg(long)]
    watch: bool,
}

/// How far a cell has come.
#[derive(Debug, Clone, PartialEq)]
enum State {
    /// All is there. Seconds of the run, and what it reached.
    Done { seconds: f64, reached: String },
    /// Something is being written; the share of it, the seconds left and the last accuracies, as far as they are known.
    Running { doing: String, share: Option<f64>, left: Option<f64>, reached: String },
    /// It ended without a result. Why, as far as its log says.
    Failed(String),
    /// It was broken off, and goes on when it is called again.
    Stopped,
    /// Nothing is there yet.
    Waiting,
}

/// Prints how far things are.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let out = arguments.out.clone().unwrap_or_else(|| results(arguments.profile));
    let entries = manifest::read(&out, arguments.id.as_deref());
    let asked = arguments.id.as_deref().unwrap_or("anything");
    ensure!(!entries.is_empty(), "{}: nobody has asked for {asked} here yet", out.display());
    loop {
        let cells: Vec<(Entry, State)> = manifest::read(&out, arguments.id.as_deref())
            .into_iter()
            .map(|entry| (entry.clone(), state(&out, &entry, SystemTime::now())))
            .collect();
        let is_over = cells.iter().all(|(_, state)| matches!(state, State::Done { .. } | State::Failed(_)));
        if arguments.watch && std::io::stdout().is_terminal() {
            draw(&dashboard(&out, &cells))?;
        } else {
            println!("{}", dashboard(&out, &cells).join("\n"));
        }
        if is_over || !arguments.watch {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(REFRESH);
    }
}

/// Writes lines over those of the last time, as far as the terminal has room.
fn draw(lines: &[String]) -> Result<()> {
    let (width, height) = terminal_size::terminal_size()
        .map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)));
    let mut text = String::from("\x1b[H");
    let room = height.saturating_sub(1).max(1);
    for (index, line) in lines.iter().take(room).enumerate() {
        let cut = index + 1 == room && lines.len() > room;
        let line = if cut { format!("… and {} more", lines.len() - index) } else { line.clone() };
        let line: String = line.chars().take(width).collect();
        let _ = writeln!(text, "{line}\x1b[K");
    }
    text.push_str("\x1b[J");
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// What is being done first, then what failed, then what is done, then what waits.
fn dashboard(out: &Path, cells: &[(Entry, State)]) -> Vec<String> {
    let order = |state: &State| match state {
        State::Running { .. } => 0,
        State::Failed(_) => 1,
        State::Stopped => 2,
        State::Done { .. } => 3,
        State::Waiting => 4,
    };
    let count = |place: usize| cells.iter().filter(|(_, state)| order(state) == place).count();
    let mut head = format!("{}: {} of {} cells done", out.display(), count(3), cells.len());
    for (place, name) in [(0, "running"), (1, "failed"), (2, "stopped"), (4, "waiting")] {
        if count(place) > 0 {
            let _ = write!(head, ", {} {name}", count(place));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a share of some hundred cells")]
    let share = count(3) as f64 / cells.len().max(1) as f64;
    let left = left(cells).map_or_else(String::new, |seconds| format!("  some {} left", duration(seconds)));
    let mut lines = vec![head, format!("{} {:3.0} %{left}", bar(share), 100.0 * share), String::new()];
    let mut sorted: Vec<&(Entry, State)> = cells.iter().collect();
    sorted.sort_by_key(|(_, state)| order(state));
    let width = cells.iter().map(|(entry, _)| entry.title.chars().count()).max().unwrap_or(0).min(50);
    lines.extend(sorted.iter().map(|(entry, state)| format!("{:<width$}  {}", entry.title, describe(state))));
    lines
}

fn describe(state: &State) -> String {
    match state {
        State::Done { seconds, reached } => format!("done in {}  {reached}", duration(*seconds)),
        State::Running { doing, share, left, reached } => {
            let share =
                share.map_or_else(String::new, |share| format!("{} {:3.0} %  ", bar(share), 100.0 * share));
            let left = left.map_or_else(String::new, |left| format!(", {} left", duration(left)));
            format!("{share}{doing}{left}  {reached}")
        }
        State::Failed(reason) => format!("FAILED  {reason}"),
        State::Stopped => "stopped; goes on when it is called again".to_owned(),
        State::Waiting => "waiting".to_owned(),
    }
}

fn bar(share: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most the length of the bar"
    )]
    let full = ((share.clamp(0.0, 1.0) * BAR as f64) as usize).min(BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

/// Seconds until all is done, if what waits takes as long as what is done took.
fn left(cells: &[(Entry, State)]) -> Option<f64> {
    let (mut done, mut took, mut left, mut running, mut waiting) = (0.0, 0.0, 0.0, 0.0_f64, 0.0);
    for (_, state) in cells {
        match state {
            State::Done { seconds, .. } => {
                done += 1.0;
                took += seconds;
            }
            State::Running { left: seconds, .. } => {
                running += 1.0;
                left += seconds.unwrap_or(0.0);
            }
            State::Waiting | State::Stopped => waiting += 1.0,
            State::Failed(_) => {}
        }
    }
    let mean = if done > 0.0 { took / done } else { return None };
    (running > 0.0).then(|| (left + waiting * mean) / running.max(1.0))
}

/// Looks at a cell's folder and log.
fn state(out: &Path, entry: &Entry, now: SystemTime) -> State {
    let folder = out.join(&entry.name);
    let log = out.join("logs").join(format!("{}.log", entry.name));
    let summary = Summary::read(&folder.join("summary.json")).ok();
    let missing: Vec<&PathBuf> = entry.files.iter().filter(|file| !out.join(file).exists()).collect();
    if let (Some(summary), true) = (&summary, missing.is_empty()) {
        return State::Done { seconds: summary.seconds, reached: reached(summary) };
    }
    let last = last_lines(&log);
    let ended = last.iter().position(|line| line.starts_with(ENDED));
    if let Some(place) = ended {
        let said = last[..place].last().map_or("", String::as_str);
        return State::Failed(format!("{}: {said}", last[place].trim_start_matches(ENDED)));
    }
    let written = fs::metadata(&log).and_then(|log| log.modified()).ok();
    let silent = written.map(|written| now.duration_since(written).unwrap_or_default());
    if silent.is_none_or(|silent| silent > SILENCE) {
        let begun = folder.join("recipe.toml").exists();
        return if begun { State::Stopped } else { State::Waiting };
    }
    if let Some(summary) = &summary {
        let doing = format!("measuring, {} of {} left", missing.len(), entry.files.len());
        return State::Running { doing, share: None, left: None, reached: reached(summary) };
    }
    let started = fs::metadata(folder.join("recipe.toml")).and_then(|file| file.modified()).ok();
    let elapsed = started.zip(written).and_then(|(from, to)| to.duration_since(from).ok());
    training(&fs::read_to_string(&log).unwrap_or_default(), elapsed.map(|elapsed| elapsed.as_secs_f64()))
}

/// What a run prints: `408 steps in 6 epochs, from step 68 on`, `epoch 3/6 step 150: …`, `epoch 3/6: top-1 of …`.
fn training(log: &str, elapsed: Option<f64>) -> State {
    let number =
        |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<f64>().ok();
    let after = |line: &str, word: &str| line.split_once(word).and_then(|(_, rest)| number(rest));
    let mut steps = None;
    let (mut first, mut step) = (0.0, 0.0);
    let (mut doing, mut reached) = ("starting".to_owned(), String::new());
    for line in log.lines() {
        if line.contains(" steps in ") && line.contains(" epochs") {
            steps = number(line);
            first = after(line, ", from step ").unwrap_or(0.0);
            step = first;
        } else if let Some((epoch, rest)) = line.strip_prefix("epoch ").and_then(|line| line.split_once(": "))
        {
            step = after(epoch, " step ").unwrap_or(step);
            doing = format!("epoch {}", epoch.split(' ').next().unwrap_or_default());
            if let Some(accuracies) = rest.strip_prefix("top-1 of ") {
                reached = accuracies.to_owned();
            }
        }
    }
    let share = steps.filter(|steps| *steps > 0.0).map(|steps| step / steps);
    let left = steps.zip(elapsed).filter(|_| step > first);
    let left = left.map(|(steps, elapsed)| elapsed * (steps - step) / (step - first));
    State::Running { doing, share, left, reached }
}

fn reached(summary: &Summary) -> String {
    let teacher = summary.teacher.as_ref();
    let teacher = teacher.map_or_else(String::new, |teacher| format!(", teacher {:.2} %", teacher.top1.last));
    format!("student {:.2} %{teacher}", summary.student.top1.last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_of_what_a_run_prints() {
        let log = "408 steps in 6 epochs, from step 100 on\n\
                   epoch 2/6 step 150: lr 0.0905, 61 pictures/s, classifier 4.4\n\
                   epoch 3/6: top-1 of student one head 20.00 %\n\
                   epoch 3/6 step 200: lr 0.08, 60 pictures/s\n";
        let State::Running { doing, share, left, reached } = training(log, Some(50.0)) else { panic!() };
        assert_eq!((doing.as_str(), reached.as_str()), ("epoch 3/6", "student one head 20.00 %"));
        assert!((share.unwrap() - 200.0 / 408.0).abs() < 1e-9);
        assert!((left.unwrap() - 104.0).abs() < 1e-9);
        let State::Running { share, left, .. } = training("", None) else { panic!() };
        assert_eq!((share, left), (None, None));
    }

    #[test]
    fn what_a_folder_tells() {
        let out = std::env::temp_dir().join(format!("adautomix-status-{}", std::process::id()));
        let entry = Entry { name: "a".to_owned(), title: "a".to_owned(), files: vec!["a/x.json".into()] };
        let now = SystemTime::now();
        fs::create_dir_all(out.join("logs")).unwrap();
        assert_eq!(state(&out, &entry, now), State::Waiting);
        fs::create_dir_all(out.join("a")).unwrap();
        fs::write(out.join("a/recipe.toml"), "").unwrap();
        assert_eq!(state(&out, &entry, now), State::Stopped);
        fs::write(out.join("logs/a.log"), "408 steps in 6 epochs\n").unwrap();
        assert!(matches!(state(&out, &entry, now), State::Running { .. }));
        assert_eq!(state(&out, &entry, now + 2 * SILENCE), State::Stopped);
        fs::write(out.join("logs/a.log"), "error: no room\nended with exit code 1\n").unwrap();
        assert_eq!(state(&out, &entry, now), State::Failed("exit code 1: error: no room".to_owned()));
        let cells = [(entry, State::Waiting)];
        let lines = dashboard(&out, &cells);
        assert!(lines[0].ends_with("0 of 1 cells done, 1 waiting"), "{}", lines[0]);
        fs::remove_dir_all(&out).unwrap();
    }
}
