//! The Hub's parquet files: a column of encoded images, a column of labels, and the class names in the metadata.

mod rows;
mod shard;

use crate::layout::image_folder::TEST_FOLDERS;
use crate::{CHANNELS, Error, Memory, Picture, Result, Split};
use parquet::data_type::ByteArray;
pub(crate) use rows::Rows;
use shard::Shard;
use std::path::{Path, PathBuf};

/// What a data set's parquet files must hold.
pub(crate) struct Table<'a> {
    /// The column of the image: a struct with the encoded `bytes`.
    pub(crate) image: &'a str,
    /// The column of the label.
    pub(crate) label: &'a str,
    /// The classes, where the metadata doesn't name them.
    pub(crate) class_names: Vec<String>,
    /// Height and width of every picture.
    pub(crate) size: [usize; 2],
    /// Rows in all files together.
    pub(crate) rows: usize,
}

/// The parquet files of a split in a folder, in order: `train-00000-of-00001.parquet` and so on, or those of a folder
/// `train` in it. Test pictures may be called `validation`, `valid`, `val` or `test`, which are looked for in this order.
pub(crate) fn shards(folder: &Path, split: Split) -> Vec<PathBuf> {
    let words: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &TEST_FOLDERS,
    };
    let found = words.iter().find_map(|word| {
        let mut files = parquets(folder);
        let prefix = format!("{word}-");
        files.retain(|path| {
            path.file_name().and_then(|file| file.to_str()).is_some_and(|file| file.starts_with(&prefix))
        });
        if files.is_empty() {
            files = parquets(&folder.join(word));
        }
        (!files.is_empty()).then_some(files)
    });
    let mut files = found.unwrap_or_default();
    files.sort_unstable();
    files
}

fn parquets(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "parquet")).collect()
}

/// Refuses shards of which one is missing, where their names say how many there are: `train-00003-of-00294`.
fn check_complete(folder: &Path, files: &[PathBuf]) -> Result<()> {
    let total = files.iter().find_map(|path| {
        let stem = path.file_stem()?.to_str()?;
        let (_, total) = stem.split_once("-of-")?;
        total.split('-').next()?.parse::<usize>().ok()
    });
    match total {
        Some(total) if total != files.len() => Err(Error::list(
            folder,
            &format!("has {} parquet files of a split, expected {total}", files.len()),
        )),
        _ => Ok(()),
    }
}

impl Table<'_> {
    /// Reads all rows of the `files` of a folder and decodes their images.
    pub(crate) fn read(mut self, name: &str, folder: &Path, files: &[PathBuf]) -> Result<Memory> {
        check_complete(folder, files)?;
        let shards = files.iter().map(|path| Shard::open(path)).collect::<Result<Vec<_>>>()?;
        let found = shards.iter().map(Shard::rows).sum();
        if found != self.rows {
            return Err(Error::Count {
                path: folder.to_owned(),
                what: "pictures",
                found,
                expected: self.rows,
            });
        }
        if let Some(names) = shards.first().and_then(|shard| shard.class_names(self.label)) {
            let (found, expected) = (names.len(), self.class_names.len());
            if found != expected {
                return Err(shards[0].wrong(format!("names {found} classes, expected {expected}")));
            }
            self.class_names = names;
        }
        let [height, width] = self.size;
        let mut labels = Vec::with_capacity(self.rows);
        let mut pixels = vec![0; self.rows * height * width * CHANNELS];
        let mut free = pixels.as_mut_slice();
        for shard in &shards {
            let (now, later) = free.split_at_mut(shard.rows() * height * width * CHANNELS);
            self.read_shard(shard, &mut labels, now)?;
            free = later;
        }
        Memory::new(name, self.class_names, self.size, labels, pixels)
    }

    fn read_shard(&self, shard: &Shard, labels: &mut Vec<u16>, mut pixels: &mut [u8]) -> Result<()> {
        let image_column = shard.column(&format!("{}.bytes", self.image))?;
        let label_column = shard.column(self.label)?;
        let mut first = 0;
        for (index, rows) in shard.groups().into_iter().enumerate() {
            for (row, label) in (first..).zip(shard.labels(index, label_column, first)?) {
                let classes = self.class_names.len();
                let known = usize::try_from(label).is_ok_and(|label| label < classes);
                if !known {
                    return Err(Error::Label { path: shard.path.clone(), row, label, classes });
                }
                labels.push(label as u16);
            }
            let images = shard.images(index, image_column, first)?;
            let bytes = self.size[0] * self.size[1] * CHANNELS;
            let (now, later) = std::mem::take(&mut pixels).split_at_mut(rows * bytes);
            decode_all(&shard.path, first, &images, self.size, now)?;
            pixels = later;
            first += rows;
        }
        Ok(())
    }
}

/// Decodes images into `pixels`, `[N, H, W, 3]`, on all processors; `first` is the row of the first one.
fn decode_all(
    path: &Path,
    first: usize,
    images: &[ByteArray],
    size: [usize; 2],
    pixels: &mut [u8],
) -> Result<()> {
    let bytes = size[0] * size[1] * CHANNELS;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = images.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts = images.chunks(share).zip(pixels.chunks_mut(share * bytes)).enumerate();
        let threads: Vec<_> = parts
            .map(|(part, (images, pixels))| {
                scope.spawn(move || {
                    let mut picture = Picture::default();
                    let rows = (first + part * share..).zip(images).zip(pixels.chunks_exact_mut(bytes));
                    for ((row, image), out) in rows {
                        decode(path, row, image.data(), size, &mut picture)?;
                        out.copy_from_slice(&picture.pixels);
                    }
                    Ok(())
                })
            })
            .collect();
        // In order, so that the first bad row is the one that is reported.
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Decodes one image, which must have this size.
fn decode(path: &Path, row: usize, encoded: &[u8], size: [usize; 2], picture: &mut Picture) -> Result<()> {
    let (path, row) = (|| path.to_owned(), Some(row));
    crate::decode::decode(encoded, picture).map_err(|problem| Error::Decode {
        path: path(),
        row,
        problem,
    })?;
    let found = [picture.height, picture.width];
    if found != size {
        return Err(Error::PictureSize { path: path(), row, found, expected: size });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use parquet::data_type::{ByteArrayType, Int64Type};
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::fs::File;
    use std::sync::Arc;

    const SIZE: [usize; 2] = [4, 6];

    /// A PNG of `[height, width]` whose pixels say where they stand, and whose blue says which picture it is.
    fn png([height, width]: [usize; 2], blue: u8) -> Option<Vec<u8>> {
        let pixel = |at: usize| [(at / width) as u8 * 10, (at % width) as u8 * 10, blue];
        let pixels: Vec<u8> = (0..height * width).flat_map(pixel).collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        Some(bytes)
    }

    /// Writes rows, two to a row group, as the Hub's files have them.
    fn write(path: &Path, rows: &[(Option<Vec<u8>>, i64)], classes: Option<&str>) {
        let schema = "message schema {
            OPTIONAL GROUP img { OPTIONAL BINARY bytes; OPTIONAL BINARY path (STRING); }
            OPTIONAL INT64 label;
        }";
        let json = |names| format!(r#"{{"info": {{"features": {{"label": {{"names": {names}}}}}}}}}"#);
        let metadata = classes.map(|names| vec![KeyValue::new("huggingface".to_owned(), json(names))]);
        let properties = WriterProperties::builder()
            .set_compression(parquet::basic::Compression::SNAPPY)
            .set_key_value_metadata(metadata)
            .build();
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
        for rows in rows.chunks(2) {
            let mut group = writer.next_row_group().unwrap();
            let images: Vec<ByteArray> =
                rows.iter().filter_map(|row| row.0.clone()).map(Into::into).collect();
            let levels: Vec<i16> = rows.iter().map(|row| if row.0.is_some() { 2 } else { 1 }).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&images, Some(&levels), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&[], Some(&vec![1; rows.len()]), None).unwrap();
            column.close().unwrap();
            let labels: Vec<i64> = rows.iter().map(|row| row.1).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(&labels, Some(&vec![1; rows.len()]), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
    }

    fn read(folder: &Path, rows: usize) -> Result<Memory> {
        let class_names = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let table = Table { image: "img", label: "label", class_names, size: SIZE, rows };
        table.read("set", folder, &shards(folder, Split::Test))
    }

    /// The message for a file of these rows, after the path.
    fn refusal(rows: &[(Option<Vec<u8>>, i64)], classes: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test-00000-of-00001.parquet");
        write(&path, rows, classes);
        let message = read(folder.path(), rows.len()).unwrap_err().to_string();
        let start = format!("`{}` ", path.display());
        assert!(message.starts_with(&start) && !message.contains('\n'), "{message}");
        message[start.len()..].to_owned()
    }

    #[test]
    fn reads_rows_of_all_groups_and_files_upright_with_labels_and_names() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<_> = (0..5).map(|row| (png(SIZE, row), i64::from(row) % 3)).collect();
        let names = Some(r#"["x", "y", "z"]"#);
        write(&folder.path().join("test-00000-of-00002.parquet"), &rows[..3], names);
        write(&folder.path().join("test-00001-of-00002.parquet"), &rows[3..], names);
        write(&folder.path().join("train-00000-of-00001.parquet"), &rows[..1], names);
        let source = read(folder.path(), 5).unwrap();
        assert_eq!(
            (source.len(), source.size(), source.class_names()),
            (5, Some(SIZE), &["x", "y", "z"].map(String::from)[..])
        );
        let mut picture = Picture::default();
        for row in 0..5 {
            assert_eq!(source.read(row, &mut picture).unwrap(), row % 3);
            let at = |y: usize, x: usize| &picture.pixels[(y * SIZE[1] + x) * 3..][..3];
            assert_eq!(at(3, 5), [30, 50, row as u8]);
            assert_eq!(at(1, 4), [10, 40, row as u8]);
        }
    }

    #[test]
    fn class_names_are_built_in_where_the_metadata_has_none() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("test-0.parquet"), &[(png(SIZE, 0), 2)], None);
        assert_eq!(read(folder.path(), 1).unwrap().class_names(), ["a", "b", "c"]);
        let message = refusal(&[(png(SIZE, 0), 1)], Some(r#"["x", "y"]"#));
        assert_eq!(message, "is not the parquet file that was expected: names 2 classes, expected 3");
    }

    #[test]
    fn bad_rows_are_named() {
        let good = || (png(SIZE, 0), 1);
        let message = refusal(&[good(), good(), (png(SIZE, 0), 3)], None);
        assert_eq!(message, "row 2: label 3, expected 0 to 2");
        let message = refusal(&[(png(SIZE, 0), -1), good()], None);
        assert_eq!(message, "row 0: label -1, expected 0 to 2");
        let message = refusal(&[good(), good(), good(), (png([4, 5], 0), 1)], None);
        assert_eq!(message, "row 3: an image of [4, 5] (height, width), expected [4, 6]");
        let message = refusal(&[good(), (Some(b"no picture".to_vec()), 1)], None);
        assert!(message.starts_with("row 1: the image doesn't decode: "), "{message}");
        let mut cut = png(SIZE, 0).unwrap();
        cut.truncate(cut.len() - 20);
        let message = refusal(&[good(), good(), (Some(cut), 1)], None);
        assert!(message.starts_with("row 2: the image doesn't decode: "), "{message}");
        let message = refusal(&[good(), good(), (None, 1)], None);
        assert!(message.ends_with("row 2: column `img.bytes` is null"), "{message}");
    }

    #[test]
    fn truncated_and_missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test-00000-of-00001.parquet");
        write(&path, &[(png(SIZE, 0), 1), (png(SIZE, 1), 1)], None);
        let message = read(folder.path(), 4).unwrap_err().to_string();
        assert_eq!(message, format!("`{}` has 2 pictures, expected 4", folder.path().display()));
        let whole = std::fs::read(&path).unwrap();
        for bytes in [0, 10, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..bytes]).unwrap();
            let message = read(folder.path(), 2).unwrap_err().to_string();
            let start = format!("`{}` is not the parquet file that was expected: ", path.display());
            assert!(message.starts_with(&start) && !message.contains('\n'), "{message}");
        }
    }

    /// At some of these the crate `parquet` panics.
    #[test]
    fn a_changed_byte_gives_an_error_or_other_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test-0.parquet");
        write(&path, &[(png(SIZE, 0), 1), (png(SIZE, 1), 1)], None);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for change in [0x02, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                std::fs::write(&path, &changed).unwrap();
                if let Err(error) = read(folder.path(), 2) {
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
            }
        }
    }

    #[test]
    fn another_table_is_refused_by_its_missing_column() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("test-0.parquet"), &[(png(SIZE, 0), 1)], None);
        let table = Table { image: "img", label: "fine_label", class_names: Vec::new(), size: SIZE, rows: 1 };
        let error = table.read("set", folder.path(), &shards(folder.path(), Split::Test)).unwrap_err();
        assert!(error.to_string().ends_with("there is no column `fine_label`"), "{error}");
    }
}
