//! Runs cells as processes, several at a time, and goes on when one fails.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::cell::{Cell, State};

/// Lines of a failed run's log that are shown.
const LAST_LINES: usize = 8;

/// How often the log of a running process is looked at.
const POLL: Duration = Duration::from_millis(200);

/// How cells are run.
pub(crate) struct Runner<'a> {
    /// The program `adautomix`.
    pub(crate) program: &'a Path,
    pub(crate) device: &'a str,
    pub(crate) data_dir: Option<&'a Path>,
    /// Processes at a time.
    pub(crate) jobs: usize,
}

/// A cell that failed, and why.
pub(crate) struct Failure<'a> {
    pub(crate) cell: &'a Cell,
    reason: String,
    last_lines: Vec<String>,
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "failed: {}: {}", self.cell.title(), self.reason)?;
        for line in &self.last_lines {
            write!(formatter, "\n    {line}")?;
        }
        write!(formatter, "\n    (the whole log: {})", self.cell.log.display())
    }
}

impl Runner<'_> {
    /// Runs those of the cells that aren't done, in order, and returns those that failed.
    pub(crate) fn run<'c>(&self, cells: &[&'c Cell]) -> Result<Vec<Failure<'c>>> {
        let next = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.jobs.min(cells.len()) {
                scope.spawn(|| {
                    while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let position = cells.iter().position(|other| std::ptr::eq(*other, *cell));
                        let counter = format!("[{}/{}]", position.map_or(0, |index| index + 1), cells.len());
                        if let Err(error) = self.run_cell(cell, &counter) {
                            eprintln!("{counter} {}: failed: {error:#}", cell.title());
                            let last_lines = last_lines(&cell.log);
                            let failure = Failure { cell, reason: format!("{error:#}"), last_lines };
                            failures.lock().expect("no thread panics while it holds it").push(failure);
                        }
                    }
                });
            }
        });
        Ok(failures.into_inner().expect("no thread panics while it holds it"))
    }

    fn run_cell(&self, cell: &Cell, counter: &str) -> Result<()> {
        let title = cell.title();
        let state = cell.state();
        match &state {
            State::Done(_) => {
                eprintln!("{counter} {title}: done already");
                return Ok(());
            }
            State::Resumable => eprintln!("{counter} {title}: goes on from its checkpoint"),
            State::Abandoned | State::Foreign | State::Empty => eprintln!("{counter} {title}: starts"),
        }
        if let Some(aside) = cell.make_way(&state)? {
            eprintln!("{counter} {title}: the folder held something else, which is now {}", aside.display());
        }
        let start = Instant::now();
        let status = self.launch(cell, state == State::Resumable)?;
        ensure!(status.success(), "{status}");
        if cell.summary().is_none() {
            bail!("it ended without a summary.json of this recipe");
        }
        eprintln!("{counter} {title}: done in {:.0} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Starts the process of a cell and shows what it prints until it ends. It writes into its log itself, so that it
    /// can finish its step and save when this process is interrupted first.
    fn launch(&self, cell: &Cell, resume: bool) -> Result<ExitStatus> {
        fs::create_dir_all(cell.log.parent().unwrap_or(Path::new(".")))
            .with_context(|| format!("{}: its folder cannot be made", cell.log.display()))?;
        let log =
            File::create(&cell.log).with_context(|| format!("{}: cannot be written", cell.log.display()))?;
        let mut command = Command::new(self.program);
        command.arg("train").arg(&cell.recipe.name).arg("--seed").arg(cell.trial.to_string());
        command.arg("--device").arg(self.device).arg("--out").arg(&cell.folder);
        if let Some(folder) = self.data_dir {
            command.arg("--data-dir").arg(folder);
        }
        if resume {
            command.arg("--resume");
        }
        if self.jobs > 1 {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            command.env("RAYON_NUM_THREADS", (cores / self.jobs).max(1).to_string());
        }
        command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        let mut process =
            command.spawn().with_context(|| format!("{}: cannot be started", self.program.display()))?;
        let mut follower = Follower { log: File::open(&cell.log)?, rest: Vec::new(), title: cell.title() };
        loop {
            let status = process.try_wait()?;
            follower.show()?;
            match status {
                Some(status) => return Ok(status),
                None => thread::sleep(POLL),
            }
        }
    }
}

/// Repeats the lines of a growing log.
struct Follower {
    log: File,
    /// The start of a line whose end isn't written yet.
    rest: Vec<u8>,
    title: String,
}

impl Follower {
    fn show(&mut self) -> Result<()> {
        self.log.read_to_end(&mut self.rest)?;
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            eprint!("    {}: {}", self.title, String::from_utf8_lossy(&line));
        }
        Ok(())
    }
}

/// The last lines of a log, or none where it cannot be read.
fn last_lines(log: &Path) -> Vec<String> {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|&line| line.to_owned()).collect()
}
