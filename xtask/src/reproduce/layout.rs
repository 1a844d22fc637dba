//! What the tables consist of: their columns by profile, their rows, and the recipes of both.

use std::fmt;

use clap::ValueEnum;

use crate::paper::{self, PaperTable};

/// How much of the published length is run, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Minutes on two cores: drawn pictures and a small network
    Quick,
    /// As published
    Paper,
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Quick => "quick",
            Self::Paper => "paper",
        })
    }
}

/// A table of the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// Top-1 accuracy of nine methods
    Table1,
    /// Top-1 accuracy of ten methods on fine-grained pictures
    Table2,
}

impl Table {
    /// The paper's figures.
    pub(crate) fn paper(self) -> PaperTable {
        match self {
            Self::Table1 => paper::table1(),
            Self::Table2 => paper::table2(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Table1 => "table1",
            Self::Table2 => "table2",
        })
    }
}

/// A column: a data set and a network.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Column {
    table: Table,
    profile: Profile,
    /// What stands over it.
    pub(crate) heading: &'static str,
    /// The family of its recipes.
    recipes: &'static str,
    /// The column of the paper whose figures stand beside ours.
    pub(crate) paper: &'static str,
}

impl Column {
    const fn published(table: Table, heading: &'static str, recipes: &'static str) -> Self {
        Self { table, profile: Profile::Paper, heading, recipes, paper: heading }
    }

    /// The one column of the quick profile: every table makes the same runs, and so shares them.
    const fn quick(table: Table, paper: &'static str) -> Self {
        Self { table, profile: Profile::Quick, heading: "synthetic/ResNet20", recipes: "quick", paper }
    }

    /// The name of the recipe of one method, whether there is one or not.
    pub(crate) fn recipe(&self, method: &str) -> String {
        format!("{}/{}", self.recipes, method.to_lowercase())
    }
}

/// The columns of all tables and profiles.
static COLUMNS: [Column; 17] = [
    Column::quick(Table::Table1, "CIFAR100/ResNet18"),
    Column::published(Table::Table1, "CIFAR100/ResNet18", "cifar100/resnet18"),
    Column::published(Table::Table1, "CIFAR100/ResNeXt50", "cifar100/resnext50"),
    Column::published(Table::Table1, "CIFAR100/Swin-T", "cifar100/swin_t"),
    Column::published(Table::Table1, "CIFAR100/ConvNeXt-T", "cifar100/convnext_t"),
    Column::published(Table::Table1, "Tiny-ImageNet/ResNet18", "tinyimagenet/resnet18"),
    Column::published(Table::Table1, "Tiny-ImageNet/ResNeXt50", "tinyimagenet/resnext50"),
    Column::published(Table::Table1, "ImageNet-1K/ResNet18", "imagenet/resnet18"),
    Column::published(Table::Table1, "ImageNet-1K/ResNet34", "imagenet/resnet34"),
    Column::published(Table::Table1, "ImageNet-1K/ResNet50", "imagenet/resnet50"),
    Column::quick(Table::Table2, "CUB-200/ResNet18"),
    Column::published(Table::Table2, "CUB-200/ResNet18", "cub200/resnet18"),
    Column::published(Table::Table2, "CUB-200/ResNet50", "cub200/resnet50"),
    Column::published(Table::Table2, "FGVC-Aircrafts/ResNet18", "aircraft/resnet18"),
    Column::published(Table::Table2, "FGVC-Aircrafts/ResNeXt50", "aircraft/resnext50"),
    Column::published(Table::Table2, "Standford-Cars/ResNet18", "cars/resnet18"),
    Column::published(Table::Table2, "Standford-Cars/ResNeXt50", "cars/resnext50"),
];

/// The columns of a table and profile.
pub(crate) fn columns(table: Table, profile: Profile) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| column.table == table && column.profile == profile)
}

/// The one of the known headings that a given one is, in capitals or not.
pub(crate) fn heading<'a>(
    given: &str,
    what: &str,
    mut known: impl Iterator<Item = &'a str> + Clone,
) -> Result<&'a str, String> {
    let all = known.clone();
    known.find(|heading| heading.eq_ignore_ascii_case(given)).ok_or_else(|| {
        format!("no {what} `{given}` here; expected one of {}", all.collect::<Vec<_>>().join(", "))
    })
}

/// What the quick profile was, and what the paper's own runs take.
pub(crate) fn farewell(table: Table) -> String {
    let mut text = format!(
        "This was the quick profile: drawn pictures, a small network and a short run show that every part works.\n\
         Its figures are not the paper's and say nothing about them. The paper's own runs:\n\n    \
         cargo xtask reproduce {table} --profile paper\n\n",
    );
    let (hours, paper) = (paper::hours(), table.paper());
    text.push_str(&format!("They took the authors, each run ({}):\n", hours.source));
    for run in hours.runs.iter().filter(|run| paper.figure(&run.row, &run.column).is_some()) {
        text.push_str(&format!(
            "    {} {}, {} epochs: {:.1} h on {} × {}\n",
            run.column, run.row, run.epochs, run.hours, run.gpus, run.gpu
        ));
    }
    text.push_str(&format!(
        "Here: `cargo xtask reproduce {table} --profile paper --plan` times a few steps and tells."
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_columns_are_the_papers() {
        for table in [Table::Table1, Table::Table2] {
            let headings: Vec<_> = columns(table, Profile::Paper).map(|column| column.heading).collect();
            assert_eq!(headings, table.paper().columns().collect::<Vec<_>>());
            let figure = |column: &Column| table.paper().figure("Vanilla", column.paper);
            assert!(
                COLUMNS.iter().filter(|column| column.table == table).all(|column| figure(column).is_some())
            );
        }
    }

    #[test]
    fn every_figure_of_a_table_has_the_recipe_that_claims_it() {
        let library = adautomix_recipes::Library::embedded();
        let names = library.names().unwrap();
        for table in [Table::Table1, Table::Table2] {
            for column in columns(table, Profile::Paper) {
                for row in table.paper().rows() {
                    let name = column.recipe(row);
                    assert!(names.contains(&name), "{name}");
                    let claim = library.load(&name, &[]).unwrap().claim.unwrap();
                    assert_eq!((claim.row.as_str(), claim.column.as_str()), (row, column.heading), "{name}");
                }
            }
        }
    }

    #[test]
    fn the_end_of_a_quick_run_names_command_and_hours() {
        let text = farewell(Table::Table1);
        assert!(text.contains("reproduce table1 --profile paper\n"), "{text}");
        assert!(text.contains("CIFAR100/ResNet18 AdAutoMix, 800 epochs: 12.3 h on 1 × RTX 3090"), "{text}");
        assert!(!text.contains("CUB-200"), "{text}");
        assert!(farewell(Table::Table2).contains("CUB-200/ResNet50 AdAutoMix, 200 epochs: 4.8 h"));
    }

    #[test]
    fn headings_are_found_in_any_case() {
        let (first, second) = (Table::Table1.paper(), Table::Table2.paper());
        assert_eq!(heading("fmix", "row", first.rows()), Ok("FMix"));
        assert_eq!(heading("ManifoldMix", "row", second.rows()), Ok("ManifoldMix"));
        let message = heading("manifoldmix", "row", first.rows()).unwrap_err();
        assert!(
            message.starts_with("no row `manifoldmix` here; expected one of Vanilla, MixUp"),
            "{message}"
        );
    }
}
