//! Runs cells as processes on this machine, several at a time, and goes on when one fails.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::cell::{Cell, State};
use super::invocation::{Invocation, Launch};

/// Lines of a failed run's log that are shown.
const LAST_LINES: usize = 8;

/// How often the log of a running process is looked at.
const POLL: Duration = Duration::from_millis(200);

/// The start of the line that a log ends with when its process failed.
pub(crate) const ENDED: &str = "ended with ";

/// How cells are run.
pub(crate) struct Runner<'a> {
    /// The program `adautomix`.
    pub(crate) program: &'a Path,
    /// Where processes compute: each takes the next.
    pub(crate) devices: &'a [String],
    pub(crate) data_dir: Option<PathBuf>,
    /// Processes at a time.
    pub(crate) jobs: usize,
}

/// A cell that failed, and why.
pub(crate) struct Failure {
    /// Its name.
    pub(crate) cell: String,
    title: String,
    reason: String,
    last_lines: Vec<String>,
    log: PathBuf,
}

impl Failure {
    /// The failure of a cell, with what its log says.
    pub(crate) fn of(cell: &Cell, reason: String) -> Self {
        let lines = last_lines(&cell.log);
        let last_lines = lines.into_iter().filter(|line| !line.starts_with(ENDED)).collect();
        Self { cell: cell.name.clone(), title: cell.title(), reason, last_lines, log: cell.log.clone() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "failed: {}: {}", self.title, self.reason)?;
        for line in &self.last_lines {
            write!(formatter, "\n    {line}")?;
        }
        write!(formatter, "\n    (the whole log: {})", self.log.display())
    }
}

impl Runner<'_> {
    /// Runs those of the cells that aren't done, in order, and returns those that failed.
    pub(crate) fn run(&self, cells: &[&Cell]) -> Vec<Failure> {
        let next = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for slot in 0..self.jobs.min(cells.len()) {
                let (next, failures) = (&next, &failures);
                scope.spawn(move || {
                    let device = self.devices.get(slot % self.devices.len().max(1)).cloned();
                    let launch =
                        Launch { device: device.unwrap_or_default(), data_dir: self.data_dir.clone() };
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(cell) = cells.get(index) else { break };
                        let counter = format!("[{}/{}]", index + 1, cells.len());
                        if let Err(error) = self.run_cell(cell, &launch, &counter) {
                            say(&format!("{counter} {}: failed: {error:#}", cell.title()));
                            let failure = Failure::of(cell, format!("{error:#}"));
                            failures.lock().expect("no thread panics while it holds it").push(failure);
                        }
                    }
                });
            }
        });
        failures.into_inner().expect("no thread panics while it holds it")
    }

    fn run_cell(&self, cell: &Cell, launch: &Launch, counter: &str) -> Result<()> {
        let title = cell.title();
        if cell.is_complete() {
            say(&format!("{counter} {title}: done already"));
            return Ok(());
        }
        let log = new_log(&cell.log)?;
        let start = Instant::now();
        let state = cell.state();
        if !matches!(state, State::Done(_)) {
            let how = if state == State::Resumable { "goes on from its checkpoint" } else { "starts" };
            say(&format!("{counter} {title}: {how}"));
            if let Some(aside) = cell.make_way(&state)? {
                let aside = aside.display();
                say(&format!("{counter} {title}: the folder held something else, which is now {aside}"));
            }
            let train = cell.train(launch, state == State::Resumable);
            self.launch(cell, &train, &log)?;
            if cell.summary().is_none() {
                bail!("it ended without a summary.json of this recipe");
            }
        }
        // What one measurement lacks, another may not: the rest is done all the same.
        let mut failed = Vec::new();
        for (index, step) in cell.steps.iter().enumerate().filter(|(index, _)| cell.result(*index).is_none())
        {
            say(&format!("{counter} {title}: {}", step.title()));
            if let Err(error) = self.launch(cell, &cell.measure(step, launch), &log) {
                failed.push(format!("{}: {error:#}", cell.steps[index].title()));
            }
        }
        ensure!(failed.is_empty(), "{}", failed.join("; "));
        say(&format!("{counter} {title}: done in {:.0} s", start.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Runs a process of a cell to its end. Its file gets its name when the process has succeeded.
    fn launch(&self, cell: &Cell, invocation: &Invocation, log: &File) -> Result<()> {
        let mut command = Command::new(self.program);
        command.args(&invocation.arguments);
        if self.jobs > 1 {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            command.env("RAYON_NUM_THREADS", (cores / self.jobs).max(1).to_string());
        }
        command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log.try_clone()?);
        if let Some(output) = &invocation.output {
            let failed = || format!("{}: cannot be written", output.path.display());
            fs::create_dir_all(output.path.parent().unwrap_or(Path::new("."))).with_context(failed)?;
            if output.printed {
                command.stdout(File::create(&output.aside).with_context(failed)?);
            }
        }
        let status = self.follow(&mut command, cell)?;
        if !status.success() {
            // The log may be what is full.
            let _ = writeln!(&mut &*log, "{ENDED}{status}");
            bail!("{status}");
        }
        if let Some(output) = &invocation.output {
            fs::rename(&output.aside, &output.path)
                .with_context(|| format!("{}: was not written", output.path.display()))?;
        }
        Ok(())
    }

    /// Starts a process and shows what it prints until it ends. It writes into its log itself, so that it can finish its
    /// step and save when this process is interrupted first.
    fn follow(&self, command: &mut Command, cell: &Cell) -> Result<ExitStatus> {
        let mut read = File::open(&cell.log)?;
        read.seek(SeekFrom::End(0))?;
        let mut follower = Follower { log: read, rest: Vec::new(), title: cell.title() };
        let mut process =
            command.spawn().with_context(|| format!("{}: cannot be started", self.program.display()))?;
        loop {
            let status = process.try_wait()?;
            follower.show();
            match status {
                Some(status) => return Ok(status),
                None => thread::sleep(POLL),
            }
        }
    }
}

/// An empty log, to which all processes append.
fn new_log(path: &Path) -> Result<File> {
    let failed = || format!("{}: cannot be written", path.display());
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).with_context(failed)?;
    File::create(path).with_context(failed)?;
    OpenOptions::new().append(true).open(path).with_context(failed)
}

/// A line for whoever watches. That nobody reads it, or that its file is full, is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Repeats the lines of a growing log.
struct Follower {
    log: File,
    /// The start of a line whose end isn't written yet.
    rest: Vec<u8>,
    title: String,
}

impl Follower {
    fn show(&mut self) {
        if self.log.read_to_end(&mut self.rest).is_err() {
            return;
        }
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            say(&format!("    {}: {}", self.title, String::from_utf8_lossy(&line).trim_end()));
        }
    }
}

/// The last lines of a log, or none where it cannot be read.
pub(crate) fn last_lines(log: &Path) -> Vec<String> {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
        let mut bytes = Vec::new();
        file.take(16 * 1024).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|&line| line.to_owned()).collect()
}
