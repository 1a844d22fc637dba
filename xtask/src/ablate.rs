//! `cargo xtask ablate`: the same recipe with some of its keys changed, all combinations side by side.

use std::process::ExitCode;

use adautomix_recipes::{Library, MarginRule, Method, Override, Recipe};
use anyhow::{Context, Result, bail, ensure};

use crate::artefact::Axis;
use crate::paper::{Choice, Column, Definition, Measure, Part, Row};
use crate::reproduce::invocation::quote;
use crate::reproduce::{Options, Profile, RunOptions, make};

/// The paper's names of keys. Any key may also be given as recipes have it, as `optimizer.lr`.
const NAMES: [(&str, &str, &str); 10] = [
    ("N", "N", "method.images"),
    ("alpha", "α", "method.linear_weight"),
    ("beta", "β", "method.teacher_weight"),
    ("lambda", "λ", "method.beta_parameter"),
    ("objective", "objective", "method.objective"),
    ("lam_concat", "lam_concat", "method.generator.lambda_plane"),
    ("interval", "interval", "method.adversarial_interval"),
    ("stage", "stage", "method.feature_stage"),
    ("margin", "margin", "method.margin_rule"),
    ("epochs", "epochs", "training.epochs"),
];

/// What the paper's text says where published settings differ, as `_base/adautomix_paper` has it.
const PAPER: [(&str, &str); 9] = [
    ("objective", "method.objective=paper"),
    ("margin", "method.margin_rule=none"),
    ("λ as a plane of the map", "method.generator.lambda_plane=true"),
    ("floor of the rate", "schedule.min_lr=0.0"),
    ("end of the momentum", "teacher.end_momentum=1.0"),
    ("rise of the momentum", "teacher.scope=[0.0, 1.0]"),
    ("N", "method.images=3"),
    ("α", "method.linear_weight=0.5"),
    ("β", "method.teacher_weight=0.3"),
];

/// What to vary, and of which recipe.
#[derive(clap::Args)]
#[command(
    after_help = "Names in a grid: N (pictures in a mix), alpha (weight of the linear mix), beta (weight of the \
    teacher), lambda (parameter of the Beta distribution), objective (paper, published), lam_concat (true, false), \
    interval, stage, margin, epochs; or any key of the recipe, as optimizer.lr. N=1 is training without mixing.\n\n\
    Without a grid: the recipe as it is, with each difference between paper and published code switched alone, with all \
    of them, and with all but one."
)]
pub(crate) struct Arguments {
    /// The recipe that is varied
    #[arg(long, value_name = "RECIPE", default_value = "quick/adautomix")]
    base: String,
    /// Keys with their values, as "N=2..5 alpha=0,0.3,0.5 objective=paper,published": all combinations are run
    #[arg(long, value_name = "KEY=VALUES ...")]
    grid: Option<String>,
    /// How the result is called: DIR/ablation-NAME.md [default: paper-or-published; of a grid, grid]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    run: RunOptions,
}

/// A variant of the recipe: its heading, and the keys that make it.
#[derive(Debug, Clone, PartialEq)]
struct Variant {
    heading: String,
    set: Vec<String>,
}

/// Runs the variants of a recipe.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let base = Library::embedded().load(&arguments.base, &[])?;
    let (family, method) = arguments.base.rsplit_once('/').context("expected a recipe as quick/adautomix")?;
    let (variants, name, title) = match &arguments.grid {
        Some(grid) => {
            (product(&grid_of(grid)?), "grid", format!("Top-1 accuracy of {} over {grid}", arguments.base))
        }
        None => {
            let title = format!("Top-1 accuracy of {} between published code and paper", arguments.base);
            (switched(&arguments.base, &base)?, "paper-or-published", title)
        }
    };
    let name = arguments.name.as_deref().unwrap_or(name);
    ensure!(
        !name.is_empty()
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter)),
        "--name {name}: expected letters, digits, - and _"
    );
    let rows = variants.iter().map(|variant| row(variant, &base, method));
    let definition = Definition {
        id: format!("ablation-{name}"),
        title,
        source: "no published figures".to_owned(),
        notes: Vec::new(),
        parts: vec![Part {
            heading: String::new(),
            corner: "Variant".to_owned(),
            cut_by: Axis::Columns,
            run: Choice { measure: Some(Measure::Top1), ..Choice::default() },
            columns: vec![Column {
                heading: arguments.base.clone(),
                unit: "%".to_owned(),
                digits: 2,
                run: Choice {
                    recipes: Some(family.to_owned()),
                    quick: Some(arguments.base.clone()),
                    ..Choice::default()
                },
            }],
            rows: rows.collect(),
        }],
        panels: Vec::new(),
        pictures: Vec::new(),
    };
    let profile = if family == "quick" { Profile::Quick } else { Profile::Paper };
    make(&arguments.run, Options::new(&arguments.run, profile, &call(arguments)), &[definition])
}

/// What was typed, without the options of runs.
fn call(arguments: &Arguments) -> String {
    let mut call = format!("cargo xtask ablate --base {}", arguments.base);
    for (option, value) in [("--grid", &arguments.grid), ("--name", &arguments.name)] {
        if let Some(value) = value {
            call.push_str(&format!(" {option} {}", quote(value)));
        }
    }
    call
}

fn row(variant: &Variant, base: &Recipe, method: &str) -> Row {
    let is = |key: &str, value: &str| variant.set.iter().any(|text| *text == format!("{key}={value}"));
    let mut run = Choice { method: Some(method.to_owned()), set: variant.set.clone(), ..Choice::default() };
    if is("method.images", "1") {
        // Nothing is mixed, and there is nothing that other keys of the method could change.
        run.method = Some("vanilla".to_owned());
        run.set.retain(|text| !text.starts_with("method.") && !text.starts_with("teacher."));
    } else if let Method::AdAutoMix(method) = &base.method
        && !run.set.iter().any(|text| text.starts_with("method.margin_rule="))
    {
        // The rule of a margin is another for pairs.
        let pairs = is("method.images", "2");
        let set_images = run.set.iter().any(|text| text.starts_with("method.images="));
        match method.margin_rule {
            MarginRule::Author | MarginRule::OpenMixup if pairs => {
                run.set.push("method.margin_rule=pair".to_owned());
            }
            MarginRule::Pair if set_images && !pairs => run.set.push("method.margin_rule=author".to_owned()),
            _ => {}
        }
    }
    Row { heading: variant.heading.clone(), run, values: vec![None] }
}

/// The keys of a grid, each with its name and its values: `N=2..4 alpha=0,0.5`.
fn grid_of(text: &str) -> Result<Vec<(String, String, Vec<String>)>> {
    let mut keys = Vec::new();
    for part in text.split_whitespace() {
        let (name, values) =
            part.split_once('=').with_context(|| format!("--grid: `{part}`: expected KEY=VALUE,VALUE"))?;
        let known = NAMES.iter().find(|(latin, greek, key)| [*latin, *greek, *key].contains(&name));
        let (shown, key) = match known {
            Some((_, shown, key)) => ((*shown).to_owned(), (*key).to_owned()),
            None if name.contains('.') => (name.to_owned(), name.to_owned()),
            None => {
                let known: Vec<_> = NAMES.iter().map(|(latin, ..)| *latin).collect();
                bail!(
                    "--grid: no key `{name}`; expected one of {}, or a key as optimizer.lr",
                    known.join(", ")
                );
            }
        };
        let values: Vec<String> =
            values.split(',').map(values_of).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        keys.push((shown, key, values));
    }
    ensure!(!keys.is_empty(), "--grid: expected a key with its values");
    Ok(keys)
}

/// A value, or the whole numbers from one to another: `2..5` is 2, 3, 4, 5.
fn values_of(text: &str) -> Result<Vec<String>> {
    ensure!(!text.is_empty(), "--grid: expected a value");
    match text.split_once("..") {
        Some((from, to)) => {
            let number = |text: &str| text.parse::<u32>().ok();
            let range = number(from).zip(number(to)).filter(|(from, to)| from <= to && to - from < 100);
            let (from, to) =
                range.with_context(|| format!("--grid: `{text}`: expected two whole numbers that rise"))?;
            Ok((from..=to).map(|value| value.to_string()).collect())
        }
        None => Ok(vec![text.to_owned()]),
    }
}

/// All combinations, the last key changing fastest.
fn product(keys: &[(String, String, Vec<String>)]) -> Vec<Variant> {
    let mut variants = vec![Variant { heading: String::new(), set: Vec::new() }];
    for (shown, key, values) in keys {
        let mut longer = Vec::new();
        for variant in &variants {
            for value in values {
                let comma = if variant.heading.is_empty() { "" } else { " " };
                let heading = format!("{}{comma}{shown}={value}", variant.heading);
                longer.push(Variant {
                    heading,
                    set: [variant.set.clone(), vec![assignment(key, value)]].concat(),
                });
            }
        }
        variants = longer;
    }
    variants
}

/// A value as the recipe's key takes it: weights are fractions, so that `alpha=0` is 0.0.
fn assignment(key: &str, value: &str) -> String {
    let fraction = ["method.linear_weight", "method.teacher_weight", "method.beta_parameter"].contains(&key);
    match value.parse::<i64>() {
        Ok(whole) if fraction => format!("{key}={whole}.0"),
        _ => format!("{key}={value}"),
    }
}

/// The recipe as it is, with each of the paper's settings alone, with all of them, and with all but one.
fn switched(name: &str, base: &Recipe) -> Result<Vec<Variant>> {
    ensure!(
        matches!(base.method, Method::AdAutoMix(_)),
        "{name}: expected a recipe of AdAutoMix, or a --grid"
    );
    let library = Library::embedded();
    let mut differences = Vec::new();
    for (what, change) in PAPER {
        let changed = library.load(name, &[change.parse::<Override>()?])?;
        if changed != *base {
            differences.push((what, change.to_owned()));
        }
    }
    let set = |keep: &dyn Fn(&str) -> bool| -> Vec<String> {
        differences.iter().filter(|(what, _)| keep(what)).map(|(_, change)| change.clone()).collect()
    };
    let variant = |heading: String, set: Vec<String>| Variant { heading, set };
    let mut variants = vec![variant("as published".to_owned(), Vec::new())];
    let alone = differences.iter();
    variants.extend(alone.map(|(what, _)| {
        variant(format!("published with the paper's {what}"), set(&|known| known == *what))
    }));
    variants.push(variant("as in the paper".to_owned(), set(&|_| true)));
    let others = differences.iter();
    variants.extend(
        others.map(|(what, _)| {
            variant(format!("paper with the published {what}"), set(&|known| known != *what))
        }),
    );
    Ok(variants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_all_combinations() {
        let variants = product(&grid_of("N=2..3 alpha=0,0.3 objective=paper").unwrap());
        let headings: Vec<_> = variants.iter().map(|variant| variant.heading.as_str()).collect();
        assert_eq!(
            headings,
            [
                "N=2 α=0 objective=paper",
                "N=2 α=0.3 objective=paper",
                "N=3 α=0 objective=paper",
                "N=3 α=0.3 objective=paper"
            ]
        );
        assert_eq!(
            variants[0].set,
            ["method.images=2", "method.linear_weight=0.0", "method.objective=paper"]
        );
        for (grid, said) in
            [("M=2", "no key `M`"), ("N", "`N`"), ("N=5..2", "rise"), ("N=", "a value"), ("", "a key")]
        {
            let message = grid_of(grid).unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn pairs_and_single_pictures_have_keys_of_their_own() {
        let base = Library::embedded().load("quick/adautomix", &[]).unwrap();
        let rows: Vec<_> = product(&grid_of("N=1..3 epochs=2").unwrap())
            .iter()
            .map(|variant| row(variant, &base, "adautomix"))
            .collect();
        assert_eq!(rows[0].run.method.as_deref(), Some("vanilla"));
        assert_eq!(rows[0].run.set, ["training.epochs=2"]);
        assert_eq!(rows[1].run.set, ["method.images=2", "training.epochs=2", "method.margin_rule=pair"]);
        assert_eq!(rows[2].run.set, ["method.images=3", "training.epochs=2"]);
    }

    #[test]
    fn all_differences_together_are_the_papers_recipe() {
        let library = Library::embedded();
        for family in ["cifar100/resnet18", "cifar100/resnext50", "tinyimagenet/resnet18"] {
            let name = format!("{family}/adautomix");
            let variants = switched(&name, &library.load(&name, &[]).unwrap()).unwrap();
            let paper = variants.iter().find(|variant| variant.heading == "as in the paper").unwrap();
            let changes: Vec<Override> = paper.set.iter().map(|text| text.parse().unwrap()).collect();
            let ours = library.load(&name, &changes).unwrap();
            let theirs = library.load(&format!("{name}-paper"), &[]).unwrap();
            let ours = Recipe { name: theirs.name.clone(), claim: theirs.claim.clone(), ..ours };
            assert_eq!(ours, theirs);
            assert_eq!(variants.len() % 2, 0);
        }
    }
}
