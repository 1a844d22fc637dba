//! One parquet file: its columns, its class names, and the values of a row group.

use crate::{Error, Result};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The columns in which the usual repositories have their images, in the order in which they are looked for.
const IMAGES: [&str; 4] = ["img", "image", "jpg", "picture"];
/// And their labels. Of several levels the finest comes first.
const LABELS: [&str; 7] = ["fine_label", "label", "labels", "variant", "class", "class_id", "cls"];

/// An open parquet file.
pub(super) struct Shard {
    pub(super) path: PathBuf,
    reader: SerializedFileReader<File>,
}

impl Shard {
    /// Opens a file and reads where its columns are.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|cause| Error::io(path, cause))?;
        Ok(Self { path: path.to_owned(), reader: guarded(path, || SerializedFileReader::new(file))? })
    }

    /// A fault of the file.
    pub(super) fn wrong(&self, problem: String) -> Error {
        Error::Parquet { path: self.path.clone(), problem }
    }

    /// Rows in all row groups.
    pub(super) fn rows(&self) -> usize {
        self.reader.metadata().file_metadata().num_rows() as usize
    }

    /// Rows of each row group.
    pub(super) fn groups(&self) -> Vec<usize> {
        self.reader.metadata().row_groups().iter().map(|group| group.num_rows() as usize).collect()
    }

    /// The position of the image column: `bytes` of a struct, or a plain column of bytes.
    pub(super) fn image_column(&self) -> Result<usize> {
        let nested = IMAGES.iter().map(|name| format!("{name}.bytes"));
        self.first_column(&nested.chain(IMAGES.iter().map(ToString::to_string)).collect::<Vec<_>>())
    }

    /// The position of the label column.
    pub(super) fn label_column(&self) -> Result<usize> {
        self.first_column(&LABELS.map(str::to_owned))
    }

    /// The name of the column at a position.
    pub(super) fn column_name(&self, column: usize) -> String {
        self.reader.metadata().file_metadata().schema_descr().column(column).path().string()
    }

    /// The position of a leaf column, by its path with dots.
    pub(super) fn column(&self, name: &str) -> Result<usize> {
        self.first_column(&[name.to_owned()])
    }

    /// The first of these columns that there is.
    fn first_column(&self, names: &[String]) -> Result<usize> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let position =
            |name: &String| schema.columns().iter().position(|column| column.path().string() == *name);
        let found = names.iter().find_map(position);
        found.ok_or_else(|| match names {
            [name] => self.wrong(format!("there is no column `{name}`")),
            _ => self.wrong(format!("there is none of the columns {}", names.join(", "))),
        })
    }

    /// The names that the Hub's metadata gives the classes of a label column.
    pub(super) fn class_names(&self, label: &str) -> Option<Vec<String>> {
        let metadata = self.reader.metadata().file_metadata().key_value_metadata()?;
        let text = metadata.iter().find(|pair| pair.key == "huggingface")?.value.as_ref()?;
        let json: serde_json::Value = serde_json::from_str(text).ok()?;
        let names = json.pointer(&format!("/info/features/{label}/names"))?.as_array()?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    }

    /// The labels of a row group, the first of which is row `first` of the file.
    pub(super) fn labels(&self, index: usize, column: usize, first: usize) -> Result<Vec<i64>> {
        let group = self.group(index)?;
        match guarded(&self.path, || group.get_column_reader(column))? {
            ColumnReader::Int64ColumnReader(reader) => self.values(reader, &*group, column, first),
            ColumnReader::Int32ColumnReader(reader) => {
                Ok(self.values(reader, &*group, column, first)?.into_iter().map(i64::from).collect())
            }
            _ => Err(self.wrong(format!("the column `{}` has no integers", self.column_name(column)))),
        }
    }

    /// The encoded images of a row group.
    pub(super) fn images(&self, index: usize, column: usize, first: usize) -> Result<Vec<ByteArray>> {
        let group = self.group(index)?;
        match guarded(&self.path, || group.get_column_reader(column))? {
            ColumnReader::ByteArrayColumnReader(reader) => self.values(reader, &*group, column, first),
            _ => Err(self.wrong("the images are not byte strings".to_owned())),
        }
    }

    fn group(&self, index: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        guarded(&self.path, || self.reader.get_row_group(index))
    }

    /// All values of a column in a row group, none of which may be null; `first` is the row it begins with.
    fn values<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        group: &dyn RowGroupReader,
        column: usize,
        first: usize,
    ) -> Result<Vec<T::T>> {
        let rows = group.metadata().num_rows() as usize;
        let description = group.metadata().column(column).column_descr();
        if description.max_rep_level() != 0 {
            return Err(self.wrong(format!("column `{}` is a list", description.path().string())));
        }
        // No memory is set aside for a number of rows that the bytes needn't bear out.
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let mut read = 0;
        while read < rows {
            let (records, _, _) = guarded(&self.path, || {
                reader.read_records(rows - read, Some(&mut levels), None, &mut values)
            })?;
            if records == 0 {
                return Err(self.wrong(format!("it ends at row {} of {}", first + read, self.rows())));
            }
            read += records;
        }
        match levels.iter().position(|&level| level < description.max_def_level()) {
            Some(null) => Err(self.wrong(format!(
                "row {}: column `{}` is null",
                first + null,
                description.path().string()
            ))),
            None => Ok(values),
        }
    }
}

/// What the crate reads of a file. At some damaged ones it panics, which is a fault of the file like any other.
fn guarded<T>(path: &Path, read: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    let problem = match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(cause)) => cause.to_string(),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            format!("it is damaged ({})", text.unwrap_or("the reader panicked"))
        }
    };
    Err(Error::Parquet { path: path.to_owned(), problem })
}
