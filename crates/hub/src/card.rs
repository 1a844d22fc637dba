//! The model card: what was trained, how well it does, and how it is loaded.

use std::fmt::Write as _;

use adautomix_recipes::{ClaimedNetwork, Head, Statistic, Statistics, Summary};
use serde_json::json;

use crate::{Description, Repository};

/// What a card tells of.
#[derive(Clone, Copy, Debug)]
pub struct Card<'a> {
    /// Where the model will be.
    pub repository: &'a Repository,
    /// The network.
    pub network: Description<'a>,
    /// Which of the run's networks it is.
    pub which: ClaimedNetwork,
    /// The run.
    pub summary: &'a Summary,
    /// Runs that differ from it in nothing but the seed.
    pub others: &'a [Summary],
    /// Whether the network that makes masks is a second file.
    pub generator: bool,
    /// The licence of the weights by its short name on the Hub, as `mit`.
    pub licence: &'a str,
}

/// A figure over runs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Measured {
    mean: f64,
    /// The sample standard deviation; `None` for one run.
    deviation: Option<f64>,
}

impl Measured {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self { mean, deviation: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()) }
    }
}

/// Names of data sets here, on the Hub, and in words.
const DATA_SETS: [(&str, &str, &str); 4] = [
    ("cifar10", "uoft-cs/cifar10", "CIFAR-10"),
    ("cifar100", "uoft-cs/cifar100", "CIFAR-100"),
    ("imagenet", "ILSVRC/imagenet-1k", "ImageNet-1k"),
    ("tinyimagenet", "zh-plus/tiny-imagenet", "Tiny ImageNet"),
];

const STATISTICS: [(Statistic, &str); 3] = [
    (Statistic::Last, "last epoch"),
    (Statistic::Best, "best epoch, chosen on the test pictures"),
    (Statistic::MedianLast10, "median of the last 10 epochs"),
];

impl Card<'_> {
    /// The card's text, Markdown below YAML. It says nothing of today, so the same run gives the same card.
    pub fn to_markdown(&self) -> String {
        let mut text = self.metadata();
        for section in [self.head(), self.results(), self.claim(), self.loading(), self.training()] {
            text.push('\n');
            text += &section;
        }
        text
    }

    fn metadata(&self) -> String {
        let data = self.summary.dataset.as_str();
        let (hub, title) = self.data_set();
        let library = if self.network.is_timm() { "timm" } else { "candle" };
        let [top1, top5] = self.statistics(self.summary).unwrap_or([None; 2]);
        let metric = |name: &str, statistics: Option<Statistics>| {
            let value = json!({ "type": "accuracy", "name": name, "value": rounded(statistics?.last) });
            Some(format!("    - {value}\n"))
        };
        let metrics: String = [metric("Top-1 accuracy, %", top1), metric("Top-5 accuracy, %", top5)]
            .into_iter()
            .flatten()
            .collect();
        let mut tags = vec!["image-classification", library, "adautomix", "mixup"];
        if !tags.contains(&self.summary.method.as_str()) {
            tags.push(&self.summary.method);
        }
        let listed = hub.map_or(String::new(), |hub| format!("datasets:\n- {hub}\n"));
        let tags: String = tags.iter().map(|tag| format!("- {tag}\n")).collect();
        format!(
            "---\nlicense: {licence}\nlibrary_name: {library}\npipeline_tag: image-classification\ntags:\n{tags}{listed}\
             metrics:\n- accuracy\nmodel-index:\n- name: {name}\n  results:\n  - task:\n      type: image-classification\n\
             \x20   dataset:\n      name: {title}\n      type: {kind}\n      split: test\n    metrics:\n{metrics}---\n",
            licence = json!(self.licence),
            name = json!(self.repository.name()),
            title = json!(title),
            kind = json!(hub.unwrap_or(data)),
        )
    }

    fn head(&self) -> String {
        let Summary { dataset, method, network, train_pictures, test_pictures, .. } = self.summary;
        let (_, title) = self.data_set();
        let drawn = if dataset == "synthetic" { " (pictures that the program draws itself)" } else { "" };
        let which = match (self.which, self.summary.teacher.is_some()) {
            (ClaimedNetwork::Teacher, _) => {
                "\nThe weights are the teacher's: the moving average of the network that was trained.\n"
            }
            (ClaimedNetwork::Student, true) => {
                "\nThe weights are the student's: the network that was trained, not its moving average.\n"
            }
            (ClaimedNetwork::Student, false) => "",
        };
        let two = self.summary.student.mix.is_some();
        let heads = if two {
            "It was trained with two classifiers; this one learnt unmixed pictures, and the one that learnt mixed \
             pictures is left out.\n"
        } else {
            ""
        };
        format!(
            "# {name}\n\n`{network}`, trained with the mixing method `{method}` to tell the {classes} classes of \
             {title}{drawn} apart, on {train_pictures} pictures, and tested on {test_pictures} others.\n{which}{heads}",
            name = self.repository.name(),
            classes = self.network.classes,
        )
    }

    fn results(&self) -> String {
        let runs: Vec<&Summary> = std::iter::once(self.summary).chain(self.others).collect();
        let n = runs.len();
        let mut text = "## Accuracy\n\nIn percent of the test pictures; the weights here are those of the last epoch.\n\n".to_owned();
        let spread = n > 1;
        let columns = if spread { format!(" mean of n = {n} | s.d. |") } else { String::new() };
        let rule = if spread { "---: | ---: |" } else { "" };
        let _ = write!(text, "| | this model |{columns}\n| --- | ---: |{rule}\n");
        for (place, name) in ["top-1", "top-5"].into_iter().enumerate() {
            for (statistic, words) in STATISTICS {
                let value = |run: &&Summary| Some(self.statistics(run)?[place]?.get(statistic));
                let values: Vec<f64> = runs.iter().filter_map(value).collect();
                let Some(own) = values.first().filter(|_| values.len() == n) else { continue };
                let _ = write!(text, "| {name}, {words} | {own:.2} |");
                if let Measured { mean, deviation: Some(deviation) } = Measured::of(&values) {
                    let _ = write!(text, " {mean:.2} | {deviation:.2} |");
                }
                text.push('\n');
            }
        }
        let seeds: Vec<String> = runs.iter().map(|run| run.seed.to_string()).collect();
        let _ = match n {
            1 => writeln!(
                text,
                "\nn = 1: one run, with seed {}, so nothing is known of the spread between runs.",
                seeds[0]
            ),
            _ => writeln!(
                text,
                "\nn = {n} runs that differ in the seed alone ({}); s.d. is their sample standard deviation. \
                 This model is the one with seed {}.",
                seeds.join(", "),
                seeds[0]
            ),
        };
        text
    }

    fn claim(&self) -> String {
        let Some(claim) = &self.network.recipe.claim else {
            return "## Published figure\n\nThe recipe states no published figure to compare with.\n"
                .to_owned();
        };
        let words = STATISTICS
            .iter()
            .find(|(statistic, _)| *statistic == claim.statistic)
            .map_or("", |(_, words)| words);
        let network = match claim.network {
            ClaimedNetwork::Student => "student",
            ClaimedNetwork::Teacher => "teacher",
        };
        let measured = self.summary.claimed(claim);
        let measured = measured
            .map_or_else(|| "no such figure".to_owned(), |value| format!("{value:.2} {}", claim.unit));
        let data = &self.network.recipe.data;
        let counted = data.train_pictures.is_some() || data.test_pictures.is_some();
        let part = counted || data.classes.is_some() || data.share.is_some();
        let verdict = if self.summary.epochs == claim.epochs && !part {
            "The run is as long as the published one."
        } else {
            "**The run is not the published one in length or pictures, so the two figures can't be compared.**"
        };
        format!(
            "## Published figure\n\n{table}row {row}, column {column}: {value} {unit} after {epochs} ({network}, \
             {words}). Here: {measured} after {own}.\n{verdict}\n\nSource: {source}\n",
            table = claim.table.map(|table| format!("Table {table}, ")).unwrap_or_default(),
            row = claim.row,
            column = claim.column,
            value = claim.value,
            unit = claim.unit,
            epochs = of_epochs(claim.epochs),
            own = of_epochs(self.summary.epochs),
            source = claim.source,
        )
    }

    fn loading(&self) -> String {
        let id = self.repository.to_string();
        let (network, classes) = (&self.summary.network, self.network.classes);
        let side = self.network.recipe.data.input_size;
        let generator = if self.generator {
            "\n`generator.safetensors` is the network that makes the masks; `recipe.toml` has its sizes. Classifying doesn't \
             need it.\n"
        } else {
            ""
        };
        format!(
            "## Loading\n\n{python}\nRust:\n\n```rust\nuse adautomix_backbones::{{Head, Pass}};\n\
             use adautomix_training::{{Network, named, state_dict}};\nuse candle_core::Device;\n\n\
             let weights = adautomix_hub::pull(\"{id}\")?;\n\
             let network = Network::new(&*named(\"{network}\", {classes}, false), 0, &Device::Cpu)?;\n\
             state_dict::load(&weights.model, &network.parameters, network.backbone().head_name())?;\n\
             // images: [B, 3, {side}, {side}], normalised\n\
             let pooled = network.fixed.backbone.features(&images, &mut Pass::eval())?.pooled;\n\
             let logits = network.fixed.logits(&pooled, Head::OneHot)?;\n```\n{generator}",
            python = self.python(),
        )
    }

    fn python(&self) -> String {
        let (id, network) = (self.repository.to_string(), self.summary.network.as_str());
        if self.network.is_timm() {
            return format!(
                "Python, with [timm](https://github.com/huggingface/pytorch-image-models):\n\n```python\nimport timm\n\n\
                 model = timm.create_model(\"hf-hub:{id}\", pretrained=True).eval()\n\
                 transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))\n```\n"
            );
        }
        let base = network.trim_end_matches("-cifar");
        let stem = match base {
            "resnet20" => {
                return format!(
                    "timm has no `{network}`; `model.safetensors` has PyTorch's names for the blocks of a ResNet.\n"
                );
            }
            "convnext_tiny" => "model.stem[0] = torch.nn.Conv2d(3, 96, 3, 1, 1)\n",
            _ => {
                "model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)\nmodel.maxpool = torch.nn.Identity()\n"
            }
        };
        let revision = match self.repository.revision() {
            "main" => String::new(),
            revision => format!(", revision=\"{revision}\""),
        };
        format!(
            "Python, with timm's `{base}` and the stem for small pictures:\n\n```python\nimport timm, torch\n\
             from huggingface_hub import hf_hub_download\nfrom safetensors.torch import load_file\n\n\
             model = timm.create_model(\"{base}\", num_classes={classes})\n{stem}\
             model.load_state_dict(load_file(hf_hub_download(\"{repository}\", \"model.safetensors\"{revision})))\n\
             model.eval()\n```\n",
            classes = self.network.classes,
            repository = self.repository.id(),
        )
    }

    fn training(&self) -> String {
        let Summary { epochs, steps, device, seed, seconds, .. } = self.summary;
        let commit = self
            .summary
            .commit
            .as_deref()
            .map_or("an unknown commit".to_owned(), |commit| format!("commit `{commit}`"));
        let data = &self.network.recipe.data;
        let numbers = |values: [f64; 3]| values.map(|value| value.to_string()).join(", ");
        format!(
            "## Training\n\nRecipe `{recipe}`, seed {seed}: {epochs}, {steps} steps, {hours:.2} hours on `{device}`, by \
             {commit} of adautomix (AdAutoMix in Rust on candle). Pictures are {side}×{side}, less the mean ({mean}) and \
             divided by ({std}), on a scale from 0 to 1.\n\n<details><summary>The whole recipe</summary>\n\n```toml\n{toml}```\n\n\
             </details>\n\nThe method is that of *Adversarial AutoMixup* (Qin et al., ICLR 2024, arXiv 2312.11954), or one that \
             its authors compare with.\n",
            recipe = self.summary.recipe,
            epochs = of_epochs(*epochs),
            hours = seconds / 3600.0,
            side = data.input_size,
            mean = numbers(data.mean),
            std = numbers(data.std),
            toml = self.network.recipe.to_toml(),
        )
    }

    /// Top-1 and top-5 of this network's classifier in a run; a top-5 of five classes or fewer says nothing.
    fn statistics(&self, run: &Summary) -> Option<[Option<Statistics>; 2]> {
        let network = match self.which {
            ClaimedNetwork::Student => &run.student,
            ClaimedNetwork::Teacher => run.teacher.as_ref()?,
        };
        let accuracy = network.head(Head::One)?;
        Some([Some(accuracy.top1), Some(accuracy.top5).filter(|_| self.network.classes > 5)])
    }

    /// The data set's name on the Hub, and in words.
    fn data_set(&self) -> (Option<&'static str>, &str) {
        let name = self.summary.dataset.as_str();
        let known = DATA_SETS.iter().find(|(known, ..)| *known == name);
        known.map_or((None, name), |(_, hub, title)| (Some(hub), title))
    }
}

/// So many epochs, in words.
fn of_epochs(count: usize) -> String {
    match count {
        1 => "1 epoch".to_owned(),
        _ => format!("{count} epochs"),
    }
}

/// Two places behind the point, as in the tables.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use adautomix_recipes::{Accuracy, Library, NetworkSummary, Recipe};

    use super::*;

    fn summary(seed: u64, top1: f64) -> Summary {
        let statistics = |last| Statistics { last, best: last + 1.0, median_last10: last - 0.5 };
        let accuracy = |top1| Accuracy { top1: statistics(top1), top5: statistics(90.0) };
        let network = |top1| NetworkSummary::two_heads(accuracy(top1), accuracy(50.0));
        Summary {
            recipe: "cifar100/resnet18/adautomix".to_owned(),
            method: "adautomix".to_owned(),
            dataset: "cifar100".to_owned(),
            network: "resnet18-cifar".to_owned(),
            device: "cpu".to_owned(),
            commit: Some("0123abc".to_owned()),
            seed,
            epochs: 5,
            steps: 2500,
            seconds: 7200.0,
            train_pictures: 50_000,
            test_pictures: 10_000,
            student: network(top1 - 2.0),
            teacher: Some(network(top1)),
        }
    }

    fn card(recipe: &Recipe, others: &[Summary]) -> String {
        let network =
            Description { recipe, classes: 100, features: 512, classifier: "fc", first_conv: "conv1" };
        let repository: Repository = "tester/mixed".parse().unwrap();
        let card = Card {
            repository: &repository,
            network,
            which: ClaimedNetwork::Teacher,
            summary: &summary(0, 47.504),
            others,
            generator: true,
            licence: "mit",
        };
        card.to_markdown()
    }

    #[test]
    fn a_card_says_what_was_measured_and_on_how_many_runs() {
        let recipe = Library::embedded().load("cifar100/resnet18/adautomix", &[]).unwrap();
        let one = card(&recipe, &[]);
        for line in [
            "license: \"mit\"",
            "library_name: candle",
            "- uoft-cs/cifar100",
            "      type: \"uoft-cs/cifar100\"",
            "    - {\"name\":\"Top-1 accuracy, %\",\"type\":\"accuracy\",\"value\":47.5}",
            "| top-1, last epoch | 47.50 |",
            "| top-5, last epoch | 90.00 |",
            "model = timm.create_model(\"resnet18\", num_classes=100)",
            "model.maxpool = torch.nn.Identity()",
        ] {
            assert!(one.lines().any(|found| found == line), "no line `{line}` in {one}");
        }
        for part in ["n = 1: one run, with seed 0", "moving average", "two classifiers", "commit `0123abc`"] {
            assert!(one.contains(part), "no `{part}` in {one}");
        }
        assert!(!one.contains("s.d."), "{one}");
        let three = card(&recipe, &[summary(1, 47.0), summary(2, 48.1)]);
        assert!(three.contains("| top-1, last epoch | 47.50 | 47.53 | 0.55 |"), "{three}");
        assert!(three.contains("n = 3 runs") && three.contains("(0, 1, 2)"), "{three}");
    }

    #[test]
    fn a_shorter_run_than_the_published_one_says_so() {
        let recipe = Library::embedded().load("cifar100/resnet18/adautomix", &[]).unwrap();
        let card = card(&recipe, &[]);
        assert!(card.contains("82.32 % after 800 epochs (teacher, median of the last 10 epochs)"), "{card}");
        assert!(
            card.contains("Here: 47.00 % after 5 epochs") && card.contains("can't be compared"),
            "{card}"
        );
    }
}
