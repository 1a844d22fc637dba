//! The paper's figures, as they are printed, and the hours that its authors' runs took.

use serde::Deserialize;

/// A table of the paper.
#[derive(Deserialize)]
pub(crate) struct PaperTable {
    /// Its number.
    pub(crate) table: u32,
    /// What it shows.
    pub(crate) title: String,
    /// Where it was published.
    pub(crate) source: String,
    columns: Vec<PaperColumn>,
    rows: Vec<PaperRow>,
}

#[derive(Deserialize)]
struct PaperColumn {
    heading: String,
    epochs: usize,
}

#[derive(Deserialize)]
struct PaperRow {
    heading: String,
    values: Vec<f64>,
}

impl PaperTable {
    /// The figure of a cell and the epochs behind it.
    pub(crate) fn figure(&self, row: &str, column: &str) -> Option<(f64, usize)> {
        let index = self.columns.iter().position(|known| known.heading == column)?;
        let row = self.rows.iter().find(|known| known.heading == row)?;
        Some((*row.values.get(index)?, self.columns[index].epochs))
    }

    /// The headings of the rows, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &str> + Clone {
        self.rows.iter().map(|row| row.heading.as_str())
    }

    /// The headings of the columns, in order.
    #[cfg(test)]
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> + Clone {
        self.columns.iter().map(|column| column.heading.as_str())
    }
}

/// Table 1: top-1 accuracy of nine methods.
pub(crate) fn table1() -> PaperTable {
    serde_json::from_str(include_str!("../../data/paper/table1.json")).expect("a test reads the file")
}

/// Table 2: top-1 accuracy of ten methods on fine-grained pictures.
pub(crate) fn table2() -> PaperTable {
    serde_json::from_str(include_str!("../../data/paper/table2.json")).expect("a test reads the file")
}

/// How long the authors' runs took.
#[derive(Deserialize)]
pub(crate) struct Hours {
    /// Where that was published.
    pub(crate) source: String,
    /// The runs.
    pub(crate) runs: Vec<TimedRun>,
}

/// How long one of the authors' runs took.
#[derive(Deserialize)]
pub(crate) struct TimedRun {
    pub(crate) column: String,
    pub(crate) row: String,
    pub(crate) epochs: usize,
    pub(crate) hours: f64,
    pub(crate) gpus: usize,
    pub(crate) gpu: String,
}

/// How long the authors' runs took.
pub(crate) fn hours() -> Hours {
    serde_json::from_str(include_str!("../../data/paper/hours.json")).expect("a test reads the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_whole() {
        let [first, second] = [table1(), table2()];
        for (table, rows, columns) in [(&first, 9, 9), (&second, 10, 6)] {
            assert_eq!((table.rows().count(), table.columns().count()), (rows, columns));
            assert!(table.rows.iter().all(|row| row.values.len() == columns));
        }
        assert_eq!(first.figure("AdAutoMix", "CIFAR100/ResNet18"), Some((82.32, 800)));
        assert_eq!(first.figure("AdAutoMix", "ImageNet-1K/ResNet50"), Some((78.04, 100)));
        assert_eq!(second.figure("ManifoldMix", "Standford-Cars/ResNet18"), Some((85.88, 200)));
        assert_eq!(first.figure("Gain", "CIFAR100/ResNet18"), None);
        for run in hours().runs {
            let figure = |table: &PaperTable| table.figure(&run.row, &run.column);
            let (_, epochs) = figure(&first).or_else(|| figure(&second)).unwrap();
            assert_eq!(epochs, run.epochs, "{}", run.column);
        }
    }
}
