//! TensorBoard's event files: records of a length, its checksum, a protocol buffer, and its checksum.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::{Event, Listener};
use crate::metrics::head_name;
use crate::{Error, Result};

/// Writes losses, learning rate and accuracies as scalars.
pub(crate) struct TensorBoard {
    path: PathBuf,
    file: BufWriter<File>,
}

impl TensorBoard {
    /// A new event file in a folder; each session of a run has its own, and TensorBoard joins them.
    ///
    /// # Errors
    /// If it can't be made.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let now = now();
        let path = folder.join(format!("events.out.tfevents.{:010}.{}", now as u64, std::process::id()));
        let file = BufWriter::new(File::create(&path).map_err(Error::at(&path))?);
        let mut board = Self { path, file };
        let mut event = Message::default();
        event.double(1, now);
        event.bytes(3, b"brain.Event:2");
        board.record(&event.0)?;
        Ok(board)
    }

    fn scalars<'a>(&mut self, step: usize, scalars: impl Iterator<Item = (String, f64)> + 'a) -> Result<()> {
        let mut summary = Message::default();
        for (tag, scalar) in scalars {
            let mut value = Message::default();
            value.bytes(1, tag.as_bytes());
            value.float(2, scalar as f32);
            summary.bytes(1, &value.0);
        }
        let mut event = Message::default();
        event.double(1, now());
        event.varint(2, step as u64);
        event.bytes(5, &summary.0);
        self.record(&event.0)
    }

    fn record(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let parts = [&length[..], &masked_crc(&length).to_le_bytes(), data, &masked_crc(data).to_le_bytes()];
        parts.iter().try_for_each(|part| self.file.write_all(part)).map_err(Error::at(&self.path))
    }
}

impl Listener for TensorBoard {
    fn on(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Window { step, lr, losses, .. } => {
                let losses = losses.iter().map(|(name, loss)| (format!("loss/{name}"), *loss));
                self.scalars(*step, losses.chain([("lr".to_owned(), *lr)]))
            }
            Event::Evaluation { steps, accuracies, .. } => {
                let named = accuracies.iter().flat_map(|(network, accuracy)| {
                    let name = format!("{network}_{}", head_name(accuracy.head));
                    [(format!("top1/{name}"), accuracy.top1), (format!("top5/{name}"), accuracy.top5)]
                });
                self.scalars(*steps, named)
            }
            Event::Checkpoint { .. } | Event::End { .. } => self.file.flush().map_err(Error::at(&self.path)),
            _ => Ok(()),
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The checksum of a record: a Castagnoli CRC, turned and shifted so that data that holds checksums is safe.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C, a bit at a time: records are short and few.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// A protocol buffer under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.raw_varint(field << 3);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.raw_varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.raw_varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.raw_varint(field << 3 | 2);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_the_standard_check_string() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_long_length_takes_two_bytes() {
        let mut message = Message::default();
        message.bytes(5, &[7; 300]);
        assert_eq!(message.0[..3], [0x2a, 0xac, 0x02]);
        assert_eq!(message.0.len(), 303);
    }
}
