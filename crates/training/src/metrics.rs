//! `metrics.jsonl`: one line an event, the same for the same seed. Times are not in it: they would differ.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use adautomix_recipes::Head;
use serde_json::{Map, Value, json};

use crate::event::{Event, Listener};
use crate::{Error, Result};

/// Writes windows and evaluations to `metrics.jsonl`.
pub(crate) struct Metrics {
    path: PathBuf,
    file: BufWriter<File>,
    length: u64,
}

impl Metrics {
    /// Opens the file and cuts it off after `length` bytes: what was written after the checkpoint will be written again.
    ///
    /// # Errors
    /// If it can't be opened, or is shorter than that.
    pub(crate) fn open(path: &Path, length: u64) -> Result<Self> {
        let open = || -> std::io::Result<File> {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            let found = file.metadata()?.len();
            if found < length {
                let text = format!("{found} bytes; expected at least the {length} of the checkpoint");
                return Err(std::io::Error::other(text));
            }
            file.set_len(length)?;
            file.seek(SeekFrom::Start(length))?;
            Ok(file)
        };
        let file = open().map_err(Error::at(path))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), length })
    }

    /// Bytes that have been written, all of them in the file when this returns.
    ///
    /// # Errors
    /// If they can't be written.
    pub(crate) fn flushed_length(&mut self) -> Result<u64> {
        self.file.flush().map_err(Error::at(&self.path))?;
        Ok(self.length)
    }
}

impl Listener for Metrics {
    fn on(&mut self, event: &Event<'_>) -> Result<()> {
        let line = match event {
            Event::Window { epoch, step, lr, losses } => {
                let losses: Map<String, Value> =
                    losses.iter().map(|&(name, loss)| (name.to_owned(), json!(loss))).collect();
                json!({ "event": "train", "epoch": epoch, "step": step, "lr": lr, "loss": losses })
            }
            Event::Evaluation { epoch, steps, accuracies } => {
                let mut line = json!({ "event": "evaluation", "epoch": epoch, "steps": steps });
                for (network, accuracy) in *accuracies {
                    let head = head_name(accuracy.head);
                    line[*network][head] = json!({ "top1": accuracy.top1, "top5": accuracy.top5 });
                }
                line
            }
            _ => return Ok(()),
        };
        let mut text = line.to_string();
        text.push('\n');
        self.length += text.len() as u64;
        self.file.write_all(text.as_bytes()).map_err(Error::at(&self.path))
    }
}

/// The name of a head in files.
pub(crate) fn head_name(head: Head) -> &'static str {
    match head {
        Head::One => "one",
        Head::Mix => "mix",
    }
}
