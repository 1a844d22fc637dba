//! A file that is still coming.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::http::Answer;
use crate::refusal::What;
use crate::{Error, Result};

/// What has come of a file so far, kept aside until it is whole.
pub(crate) struct Partial<'a> {
    path: &'a Path,
    file: File,
    /// Bytes of the whole file.
    size: u64,
    /// Bytes that are there.
    pub(crate) have: u64,
    /// Whether they came with more than one answer, and so may be of two files.
    pub(crate) pieced: bool,
}

impl<'a> Partial<'a> {
    /// What is there, or an empty file.
    pub(crate) fn open(path: &'a Path, size: u64) -> Result<Self> {
        let open = || -> std::io::Result<(File, u64)> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
            let have = file.metadata()?.len();
            Ok((file, have))
        };
        let (file, have) = open().map_err(Error::at(path))?;
        let mut partial = Self { path, file, size, have, pieced: have > 0 };
        if have > size {
            partial.cut(0)?;
        }
        Ok(partial)
    }

    /// Whether all bytes are there.
    pub(crate) fn is_full(&self) -> bool {
        self.have == self.size
    }

    /// Keeps the first `have` bytes.
    pub(crate) fn cut(&mut self, have: u64) -> Result<()> {
        self.file.set_len(have).map_err(Error::at(self.path))?;
        self.have = have;
        self.pieced &= have > 0;
        Ok(())
    }

    /// The headers that ask for the rest.
    pub(crate) fn range(&self) -> Vec<(String, String)> {
        match self.have {
            0 => Vec::new(),
            have => vec![("range".to_owned(), format!("bytes={have}-"))],
        }
    }

    /// Appends an answer's body. A server that sends the whole file although it was asked for the rest is heeded. A
    /// connection that is lost is no error: the caller sees that the file isn't full.
    pub(crate) fn receive(
        &mut self,
        answer: Answer,
        what: What<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let rest = answer.status() == 206;
        let expected = format!("bytes {}-{}/{}", self.have, self.size - 1, self.size);
        let sent = answer.header("content-range").unwrap_or_default();
        if rest && sent != expected {
            return Err(Error::answer(
                &what.to_string(),
                format!("the part `{sent}`, expected `{expected}`"),
            ));
        }
        self.cut(if rest { self.have } else { 0 })?;
        self.pieced = self.have > 0;
        self.file.seek(SeekFrom::Start(self.have)).map_err(Error::at(self.path))?;
        let (mut body, mut buffer) = (answer.into_reader(), vec![0; 1 << 16]);
        while !self.is_full() {
            let Ok(read @ 1..) = body.read(&mut buffer) else { break };
            let kept = read.min((self.size - self.have) as usize);
            self.file.write_all(&buffer[..kept]).map_err(Error::at(self.path))?;
            self.have += kept as u64;
            progress(self.have);
        }
        Ok(())
    }

    /// Puts the bytes on the disk.
    pub(crate) fn flush(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::at(self.path))
    }
}
