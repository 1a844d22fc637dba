//! `adautomix mix --all`: one blend of each method, all of the same pictures.

use adautomix_mixing::registry::{self, Parameters};
use adautomix_mixing::{Mixer, Need, Place};
use adautomix_ops::overwrite;
use adautomix_random::{Key, Purpose};
use adautomix_recipes::{Heads, Library, Method as MethodRecipe, Recipe};
use adautomix_training::method::{self, OWN_STEPS, Shown};
use adautomix_training::{Inputs, Loaded, Method, Mixed, named};
use anyhow::{Context, Result, ensure};
use candle_core::Device;

use super::MixArgs;
use crate::chosen::{Chosen, shown_pixels, telling, weights};
use crate::picture::Tile;

/// Tiles in a row.
pub(super) const COLUMNS: usize = 5;

/// What goes into the picture, and what doesn't.
pub(super) struct Sheet {
    /// A row of the pictures, then a tile for each method.
    pub(super) tiles: Vec<Tile>,
    /// The methods without a tile, each with the reason.
    pub(super) left_out: Vec<(String, &'static str)>,
}

/// Lets every method, or those that are asked for, mix the pictures. Mixers that look at a network look at that of `base`,
/// its method; other learned methods have new networks, by their quick recipes.
pub(super) fn sheet(args: &MixArgs, base: &Loaded, chosen: &Chosen, inputs: &Inputs) -> Result<Sheet> {
    let Loaded { recipe, classes, method, .. } = base;
    let learned = learned(recipe)?;
    check(&args.methods, &learned)?;
    let wanted = |name: &str| args.methods.is_empty() || args.methods.iter().any(|wanted| wanted == name);
    let mut sheet = Sheet { tiles: originals(chosen, recipe), left_out: Vec::new() };
    let mut mixed = over(base)?;
    for entry in registry::entries().iter().filter(|entry| wanted(entry.facts.name)) {
        let (name, title) = (entry.facts.name, entry.facts.title);
        let mixer = registry::build(name, Parameters::default())?;
        if let Some(reason) = obstacle(&*mixer, inputs)? {
            sheet.left_out.push((name.to_owned(), reason));
            continue;
        }
        mixed.mix_by(mixer);
        let shown = telling(&mixed, inputs, args.draw).context(name)?;
        sheet.tiles.push(tile(title, &shown, chosen, recipe)?);
    }
    for other in learned.iter().filter(|other| wanted(other.method.name())) {
        let name = other.method.name();
        let new = match name == recipe.method.name() {
            true => None,
            false => Some(method::build(other, *classes, 1, &Device::Cpu)?),
        };
        let shown =
            telling(new.as_deref().unwrap_or(&**method), inputs, args.draw).context(name.to_owned())?;
        let title = OWN_STEPS.iter().find(|facts| facts.name == name).map_or(name, |facts| facts.title);
        sheet.tiles.push(tile(title, &shown, chosen, recipe)?);
    }
    Ok(sheet)
}

/// The recipes of methods that are no mixers of the registry: that of the run, and the quick ones. AdAutoMix is the last.
fn learned(recipe: &Recipe) -> Result<Vec<Recipe>> {
    let library = Library::embedded();
    let mut found = vec![recipe.clone()];
    for name in library.names()?.iter().filter(|name| name.starts_with("quick/")) {
        let other = library.load(name, &[])?;
        if found.iter().all(|found| found.method.name() != other.method.name()) {
            found.push(Recipe { data: recipe.data.clone(), ..other });
        }
    }
    found.retain(|recipe| !matches!(recipe.method, MethodRecipe::Mixer { .. }));
    found.sort_by_key(|recipe| matches!(recipe.method, MethodRecipe::AdAutoMix(_)));
    Ok(found)
}

/// Fails for a name that no method has.
fn check(names: &[String], learned: &[Recipe]) -> Result<()> {
    let mixers = registry::entries().iter().map(|entry| entry.facts.name);
    let known: Vec<&str> = mixers.chain(learned.iter().map(|recipe| recipe.method.name())).collect();
    for name in names {
        let list = known.join(", ");
        ensure!(known.contains(&name.as_str()), "method `{name}` is unknown, expected one of {list}");
    }
    Ok(())
}

/// A network that any mixer can be used on, with the weights of `base`.
fn over(base: &Loaded) -> Result<Mixed> {
    let Loaded { recipe, classes, method: trained, .. } = base;
    let method = MethodRecipe::Mixer { name: "vanilla".to_owned(), parameters: toml::Table::new() };
    let recipe = Recipe { method, ..recipe.clone() };
    let network = named(&recipe.network.name, *classes, recipe.network.heads == Heads::Two);
    let mixed = Mixed::new(&recipe, &*network, *classes, &Device::Cpu)?;
    let student = |method: &dyn Method| {
        method
            .state()
            .into_iter()
            .find(|(name, _)| *name == "student")
            .map(|(_, parameters)| parameters.clone())
    };
    if let (Some(own), Some(given)) = (student(&mixed), student(&**trained)) {
        for (name, tensor) in own.entries() {
            let value = given.get(&name).with_context(|| format!("the network has no `{name}`"))?;
            overwrite(&tensor, &value)?;
        }
    }
    Ok(mixed)
}

/// Why a mixer can't be shown, if it can't.
fn obstacle(mixer: &dyn Mixer, inputs: &Inputs) -> Result<Option<&'static str>> {
    /// Some mixers draw where they mix.
    const DRAWS: usize = 30;
    let (batch, _, height, width) = inputs.images.dims4()?;
    for draw in 0..DRAWS {
        let plan = mixer.sample(batch, height, width, &mut Key::new(0, Purpose::Mixing).step(draw).rng())?;
        if plan.place() != Place::Pictures {
            return Ok(Some("which mixes hidden maps"));
        }
        if plan.needs().iter().any(|need| matches!(need, Need::Attention | Need::MixedAttention)) {
            return Ok(Some("which looks at a transformer's attention"));
        }
    }
    Ok(None)
}

/// A row of the pictures themselves.
fn originals(chosen: &Chosen, recipe: &Recipe) -> Vec<Tile> {
    let size = recipe.data.input_size;
    let tile = |pixels: Vec<u8>, caption| Tile { height: size, width: size, pixels, caption };
    let pictures = chosen.pictures.iter().zip(&chosen.names).enumerate();
    let mut tiles: Vec<Tile> = pictures
        .map(|(index, (picture, name))| {
            tile(picture.pixels.clone(), format!("picture {}\n{name}", index + 1))
        })
        .collect();
    let rest = tiles.len().next_multiple_of(COLUMNS) - tiles.len();
    tiles.extend((0..rest).map(|_| tile(vec![u8::MAX; size * size * 3], String::new())));
    tiles
}

/// The first blend of a method, with its name and what the labels weigh.
fn tile(title: &str, shown: &Shown, chosen: &Chosen, recipe: &Recipe) -> Result<Tile> {
    /// What rounds to 0.00 isn't listed.
    const VISIBLE: f32 = 0.005;
    let size = recipe.data.input_size;
    let blend = shown.blends.get(0)?.flatten_all()?.to_vec1::<f32>()?;
    let weights = weights(shown, chosen.pictures.len());
    let label = |(weight, name): (&f32, &String)| format!("{weight:.2} {name}");
    let labels = weights.iter().zip(&chosen.names).filter(|(weight, _)| **weight >= VISIBLE).map(label);
    let caption = std::iter::once(title.to_owned()).chain(labels).collect::<Vec<_>>().join("\n");
    Ok(Tile { height: size, width: size, pixels: shown_pixels(&blend, recipe), caption })
}
