//! `adautomix methods`: what methods there are, and with which parameters recipes use them.

use std::collections::BTreeMap;
use std::fmt::Write;

use adautomix_mixing::registry::{self, Facts};
use adautomix_recipes::{Claim, Library, Method};
use adautomix_training::method::OWN_STEPS;
use anyhow::{Context, Result};
use toml::{Table, Value};

/// List the methods: where each was published, what it draws, what it costs and its parameters.
#[derive(clap::Args, Debug)]
pub(crate) struct MethodsArgs {
    /// Only this method, with its parameters for each data set and network, and the published figures.
    name: Option<String>,
}

/// Runs `methods`.
#[expect(clippy::print_stdout, reason = "the result goes to standard output")]
pub(crate) fn run(args: &MethodsArgs) -> Result<()> {
    let text = match &args.name {
        None => list()?,
        Some(name) => one(name)?,
    };
    print!("{text}");
    Ok(())
}

/// Parameters by name; those of inner tables have names with dots.
type Parameters = BTreeMap<String, Value>;

fn list() -> Result<String> {
    let mut text = String::new();
    for entry in registry::entries() {
        let defaults = entry.defaults().into_iter().filter(|(_, value)| !value.is_null());
        let defaults = defaults.map(|(name, value)| format!("{name} = {value}"));
        text.push_str(&described(&entry.facts, &defaults.collect::<Vec<_>>().join(", ")));
    }
    for facts in OWN_STEPS {
        text.push_str(&described(facts, &format!("see `adautomix methods {}`", facts.name)));
    }
    text.push_str(
        "`adautomix methods NAME` has the parameters of one in every recipe, and the published figures.\n",
    );
    Ok(text)
}

fn described(facts: &Facts, defaults: &str) -> String {
    let mut text = format!("{}: {} ({})\n", facts.name, facts.title, facts.citation);
    let defaults = if defaults.is_empty() { "none" } else { defaults };
    for (what, words) in [("draws", facts.draws), ("costs", facts.cost), ("parameters", defaults)] {
        let _ = writeln!(text, "    {what:<12}{words}");
    }
    text.push('\n');
    text
}

/// A recipe that uses a method.
struct Use {
    recipe: String,
    epochs: usize,
    claim: Option<Claim>,
    parameters: Parameters,
}

fn one(name: &str) -> Result<String> {
    let entry = registry::entries().iter().find(|entry| entry.facts.name == name);
    let facts = entry.map(|entry| entry.facts);
    let facts = facts.or_else(|| OWN_STEPS.iter().copied().find(|facts| facts.name == name));
    let facts = facts.with_context(|| format!("no method `{name}`; `adautomix methods` lists them"))?;
    let uses = uses(name)?;
    let usual = usual(&uses);
    let parameters = match (usual.is_empty(), uses.iter().all(|used| used.parameters.is_empty())) {
        (false, _) => format!("in most recipes: {}", words(&usual)),
        (true, false) => "another in each recipe".to_owned(),
        (true, true) => String::new(),
    };
    let mut text = described(&facts, &parameters);
    let width = uses.iter().map(|used| used.recipe.len()).max().unwrap_or(0);
    let _ = writeln!(text, "{:<width$}  Epochs  Published         Other parameters", "Recipe");
    for used in uses {
        let mut other = used.parameters;
        let absent: Vec<_> = usual.keys().filter(|key| !other.contains_key(*key)).cloned().collect();
        other.retain(|key, value| usual.get(key) != Some(value));
        other.extend(absent.into_iter().map(|key| (key, "none".into())));
        let figure = used.claim.as_ref().map_or_else(String::new, figure);
        let line = format!("{:<width$}  {:>6}  {figure:<16}  {}", used.recipe, used.epochs, words(&other));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    Ok(text)
}

/// The recipes of a method: those that are called like it, and those of others that use it.
fn uses(name: &str) -> Result<Vec<Use>> {
    let library = Library::embedded();
    let mut uses = Vec::new();
    for recipe in library.names()? {
        let last = recipe.rsplit('/').next().unwrap_or_default();
        let called = last == name || last.starts_with(&format!("{name}-"));
        let loaded = match library.load(&recipe, &[]) {
            Ok(loaded) => loaded,
            Err(_) if !called => continue,
            Err(error) => return Err(error.into()),
        };
        if called || loaded.method.name() == name {
            let parameters = parameters(&loaded.method)?;
            uses.push(Use { recipe, epochs: loaded.training.epochs, claim: loaded.claim, parameters });
        }
    }
    Ok(uses)
}

/// The values that most recipes have.
fn usual(uses: &[Use]) -> Parameters {
    let all = uses.iter().flat_map(|used| &used.parameters);
    let count = |key: &String, value: &Value| {
        uses.iter().filter(|used| used.parameters.get(key) == Some(value)).count()
    };
    all.filter(|(key, value)| 2 * count(key, value) > uses.len())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn parameters(method: &Method) -> Result<Parameters> {
    fn flatten(table: Table, prefix: &str, flat: &mut Parameters) {
        for (key, value) in table {
            match value {
                Value::Table(inner) => flatten(inner, &format!("{prefix}{key}."), flat),
                value => {
                    flat.insert(format!("{prefix}{key}"), value);
                }
            }
        }
    }
    let mut table = Table::try_from(method)?;
    table.remove("name");
    let mut flat = Parameters::new();
    flatten(table, "", &mut flat);
    Ok(flat)
}

fn words(parameters: &Parameters) -> String {
    parameters.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
}

/// A published figure and its place, as `82.32 %, Table 1`.
fn figure(claim: &Claim) -> String {
    let place = claim.table.map_or_else(|| "web".to_owned(), |table| format!("Table {table}"));
    format!("{:.2} {}, {place}", claim.value, claim.unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_listed_with_what_there_is_to_know() {
        let text = list().unwrap();
        for facts in registry::entries().iter().map(|entry| &entry.facts).chain(OWN_STEPS) {
            assert!(
                text.contains(&format!("{}: {} ({})\n", facts.name, facts.title, facts.citation)),
                "{text}"
            );
        }
        assert!(text.contains("    parameters  beta_parameter = 1.0\n"), "{text}");
    }

    #[test]
    fn one_method_is_shown_by_recipe() {
        let text = one("adautomix").unwrap();
        let line = |recipe: &str| {
            text.lines().find(|line| line.split_whitespace().next() == Some(recipe)).unwrap().to_owned()
        };
        assert!(text.contains("in most recipes: adversarial_interval = 2"), "{text}");
        let published = line("imagenet/resnet50/adautomix");
        assert!(published.contains("   100  78.04 %, Table 1  "), "{published}");
        assert!(published.contains("images = 2") && !published.contains("linear_weight"), "{published}");
        assert!(line("imagenet/resnet50/adautomix-paper").contains("objective = \"paper\""));
        let text = one("cutmix").unwrap();
        assert!(text.contains("imagenet/resnet50/cutmix"), "{text}");
        assert!(one("mixpu").unwrap_err().to_string().contains("no method `mixpu`"));
    }
}
