//! Takes a timm state dict, and writes what this program makes of it: logits, norms of gradients, and the same network as it
//! would be pushed. `tests/hub/crosscheck.py` compares with timm.
//!
//! ```sh
//! cargo run -p adautomix --example exchange -- resnet18 10 model.safetensors images.safetensors FOLDER
//! ```

use std::collections::HashMap;
use std::path::Path;

use adautomix_backbones::{Head, Pass};
use adautomix_hub::Description;
use adautomix_recipes::{Library, Override};
use adautomix_training::{Network, named, state_dict};
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};

fn main() -> Result<()> {
    // The graph of a network is walked by recursion.
    let worker = std::thread::Builder::new().stack_size(256 << 20).spawn(run)?;
    worker.join().unwrap_or_else(|_| bail!("panicked"))
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [architecture, classes, weights, inputs, out] = arguments.as_slice() else {
        bail!("expected ARCHITECTURE CLASSES WEIGHTS INPUTS FOLDER");
    };
    let (classes, out) = (classes.parse::<usize>()?, Path::new(out));
    let network = Network::new(&*named(architecture, classes, false), 0, &Device::Cpu)?;
    let head = network.backbone().head_name();
    state_dict::load(weights.as_ref(), &network.parameters, head)?;

    // images: [B, 3, H, W]; probe: [B, classes], the gradient at the logits.
    let inputs = candle_core::safetensors::load(inputs, &Device::Cpu)?;
    let (images, probe) = (inputs.get("images").context("images")?, inputs.get("probe").context("probe")?);
    let pooled = network.trained.backbone.features(images, &mut Pass::eval())?.pooled;
    let logits = network.trained.logits(&pooled, Head::OneHot)?;
    let gradients = (&logits * probe)?.sum_all()?.backward()?;
    let mut results = HashMap::from([("logits".to_owned(), logits.detach())]);
    for (name, weight) in network.parameters.weights() {
        let gradient = gradients.get(&weight).with_context(|| format!("no gradient of {name}"))?;
        results.insert(format!("gradient.{name}"), gradient.sqr()?.sum_all()?.sqrt()?);
    }
    candle_core::safetensors::save(&results, out.join("results.safetensors"))?;

    std::fs::write(out.join("model.safetensors"), state_dict::export(&network.parameters, head)?)?;
    let side = images.dim(3)?;
    let overrides: [Override; 2] =
        [format!("network.name={architecture}").parse()?, format!("data.input_size={side}").parse()?];
    let recipe = Library::embedded().load("quick/vanilla", &overrides)?;
    let first: Option<(String, Tensor)> =
        network.parameters.entries().into_iter().find(|(_, tensor)| tensor.rank() == 4);
    let first_conv = first.map(|(name, _)| name.trim_end_matches(".weight").to_owned()).unwrap_or_default();
    let features = pooled.dim(1)?;
    let description =
        Description { recipe: &recipe, classes, features, classifier: head, first_conv: &first_conv };
    std::fs::write(out.join("config.json"), description.to_json())?;
    Ok(())
}
