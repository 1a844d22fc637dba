//! What Table 1 consists of: its columns by profile, its rows, and the recipes of both.

use std::fmt;

use clap::ValueEnum;

use crate::paper;

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

/// A column: a data set and a network.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Column {
    profile: Profile,
    /// What stands over it.
    pub(crate) heading: &'static str,
    /// The folder of its recipes.
    recipes: &'static str,
    /// The column of the paper whose figures stand beside ours.
    pub(crate) paper: &'static str,
}

impl Column {
    const fn published(heading: &'static str, recipes: &'static str) -> Self {
        Self { profile: Profile::Paper, heading, recipes, paper: heading }
    }

    /// The name of the recipe of one method, whether there is one or not.
    pub(crate) fn recipe(&self, method: &str) -> String {
        format!("{}/{}", self.recipes, method.to_lowercase())
    }
}

/// The columns of all profiles.
static COLUMNS: [Column; 10] = [
    Column {
        profile: Profile::Quick,
        heading: "synthetic/ResNet20",
        recipes: "quick",
        paper: "CIFAR100/ResNet18",
    },
    Column::published("CIFAR100/ResNet18", "cifar100/resnet18"),
    Column::published("CIFAR100/ResNeXt50", "cifar100/resnext50"),
    Column::published("CIFAR100/Swin-T", "cifar100/swin_t"),
    Column::published("CIFAR100/ConvNeXt-T", "cifar100/convnext_t"),
    Column::published("Tiny-ImageNet/ResNet18", "tinyimagenet/resnet18"),
    Column::published("Tiny-ImageNet/ResNeXt50", "tinyimagenet/resnext50"),
    Column::published("ImageNet-1K/ResNet18", "imagenet/resnet18"),
    Column::published("ImageNet-1K/ResNet34", "imagenet/resnet34"),
    Column::published("ImageNet-1K/ResNet50", "imagenet/resnet50"),
];

/// The columns of a profile.
pub(crate) fn columns(profile: Profile) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(move |column| column.profile == profile)
}

/// A column by its heading, in capitals or not.
pub(crate) fn parse_column(heading: &str) -> Result<&'static Column, String> {
    COLUMNS.iter().find(|column| column.heading.eq_ignore_ascii_case(heading)).ok_or_else(|| {
        let known: Vec<_> = COLUMNS.iter().map(|column| column.heading).collect();
        format!("expected one of {}", known.join(", "))
    })
}

/// A row by its heading, in capitals or not.
pub(crate) fn parse_method(heading: &str) -> Result<String, String> {
    let table = paper::table1();
    table.rows().find(|row| row.eq_ignore_ascii_case(heading)).map(str::to_owned).ok_or_else(|| {
        let known: Vec<_> = table.rows().collect();
        format!("expected one of {}", known.join(", "))
    })
}

/// What the quick profile was, and what the paper's own runs take.
pub(crate) fn farewell() -> String {
    let hours = paper::hours();
    let mut text = String::from(
        "This was the quick profile: drawn pictures, a small network and a short run show that every part works.\n\
         Its figures are not the paper's and say nothing about them. The paper's own runs:\n\n    \
         cargo xtask reproduce table1 --profile paper\n\n",
    );
    text.push_str(&format!("They took the authors, each run ({}):\n", hours.source));
    for run in hours.runs {
        text.push_str(&format!(
            "    {} {}, {} epochs: {:.1} h on {} × {}\n",
            run.column, run.row, run.epochs, run.hours, run.gpus, run.gpu
        ));
    }
    text.push_str("Here: `cargo xtask reproduce table1 --profile paper --plan` times a few steps and tells.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_columns_are_the_papers() {
        let headings: Vec<_> = columns(Profile::Paper).map(|column| column.heading).collect();
        let table = paper::table1();
        assert_eq!(headings, table.columns().collect::<Vec<_>>());
        assert!(COLUMNS.iter().all(|column| table.figure("Vanilla", column.paper).is_some()));
    }

    #[test]
    fn recipes_that_claim_a_figure_are_found_under_its_row_and_column() {
        let library = adautomix_recipes::Library::embedded();
        let mut claims = 0;
        for name in library.names().unwrap() {
            let Some(claim) = library.load(&name, &[]).unwrap().claim else { continue };
            assert_eq!(parse_column(&claim.column).unwrap().recipe(&claim.row), name);
            claims += 1;
        }
        assert!(claims >= 8, "{claims}");
    }

    #[test]
    fn the_end_of_a_quick_run_names_command_and_hours() {
        let text = farewell();
        assert!(text.contains("reproduce table1 --profile paper\n"), "{text}");
        assert!(text.contains("CIFAR100/ResNet18 AdAutoMix, 800 epochs: 12.3 h on 1 × RTX 3090"), "{text}");
        assert!(parse_method("fmix").is_ok() && parse_method("fmixx").is_err());
    }
}
