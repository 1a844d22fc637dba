//! The ranges of a recipe's values, and what fits together.

use std::fmt::Display;

use crate::claim::{ClaimedNetwork, Head};
use crate::error::Error;
use crate::layers::Origins;
use crate::method::{AdAutoMix, AutoMix, Dada, MarginRule, MeAda, Method, Objective, SpectralMixup, Term};
use crate::recipe::{Heads, Optimizer, OptimizerName, Recipe};

/// Checks a recipe whose types are right.
pub(crate) fn validate(recipe: &Recipe, origins: &Origins) -> Result<(), Error> {
    let check = Check { origins };
    check.data(recipe)?;
    check.network(recipe)?;
    check.training(recipe)?;
    check.optimizer(recipe)?;
    check.teacher(recipe)?;
    check.method(recipe)?;
    check.claim(recipe)
}

struct Check<'a> {
    origins: &'a Origins,
}

impl Check<'_> {
    fn that(&self, holds: bool, key: &str, found: impl Display, expected: &str) -> Result<(), Error> {
        if holds {
            return Ok(());
        }
        Err(Error::Value {
            origin: self.origins.of(key),
            key: key.to_owned(),
            found: found.to_string(),
            expected: expected.to_owned(),
        })
    }

    fn at_least_1(&self, value: usize, key: &str) -> Result<(), Error> {
        self.that(value >= 1, key, value, "1 or more")
    }

    fn positive(&self, value: f64, key: &str) -> Result<(), Error> {
        self.that(value > 0.0 && value.is_finite(), key, value, "a number above 0")
    }

    fn not_negative(&self, value: f64, key: &str) -> Result<(), Error> {
        self.that(value >= 0.0 && value.is_finite(), key, value, "0 or more")
    }

    fn within(&self, value: f64, range: [f64; 2], key: &str) -> Result<(), Error> {
        let holds = (range[0]..=range[1]).contains(&value);
        self.that(holds, key, value, &format!("a number from {} to {}", range[0], range[1]))
    }

    fn data(&self, recipe: &Recipe) -> Result<(), Error> {
        let data = &recipe.data;
        self.at_least_1(data.input_size, "data.input_size")?;
        self.that(data.pad < data.input_size, "data.pad", data.pad, "less than `data.input_size`")?;
        for (count, key) in
            [(data.train_pictures, "data.train_pictures"), (data.test_pictures, "data.test_pictures")]
        {
            if let Some(count) = count {
                self.at_least_1(count, key)?;
            }
            let drawn = data.name == "synthetic";
            self.that(!drawn || count.is_some(), key, "not given", "how many pictures to draw")?;
        }
        let classes = data.classes.as_ref().map_or(1, Vec::len);
        self.that(classes > 0, "data.classes", "[]", "at least one class")?;
        let share = data.share.unwrap_or(1.0);
        self.that(share > 0.0 && share <= 1.0, "data.share", share, "a number above 0, up to 1")?;
        self.transforms(recipe)?;
        for channel in 0..3 {
            let (mean, deviation) = (data.mean[channel], data.std[channel]);
            self.that(mean.is_finite(), "data.mean", mean, "finite numbers")?;
            self.positive(deviation, "data.std")?;
        }
        Ok(())
    }

    fn transforms(&self, recipe: &Recipe) -> Result<(), Error> {
        let data = &recipe.data;
        for (resize, key) in
            [(&data.train_resize, "data.train_resize.size"), (&data.test_resize, "data.test_resize.size")]
        {
            let size = resize.as_ref().map_or(data.input_size, |resize| resize.size);
            self.that(size >= data.input_size, key, size, "`data.input_size` or more")?;
        }
        if let Some(crop) = &data.resized_crop {
            self.that(data.pad == 0, "data.pad", data.pad, "0 where there is a `data.resized_crop`")?;
            self.rising(crop.scale, [0.0, 1.0], "data.resized_crop.scale")?;
            self.rising(crop.ratio, [0.0, f64::MAX], "data.resized_crop.ratio")?;
        }
        if let Some(augment) = &data.rand_augment {
            self.at_least_1(augment.operations, "data.rand_augment.operations")?;
            self.within(augment.magnitude, [0.0, 10.0], "data.rand_augment.magnitude")?;
            self.within(augment.deviation, [0.0, 10.0], "data.rand_augment.deviation")?;
        }
        Ok(())
    }

    /// Two numbers above the lower bound, the second not below the first.
    fn rising(&self, [least, most]: [f64; 2], [low, high]: [f64; 2], key: &str) -> Result<(), Error> {
        let holds = low < least && least <= most && most <= high;
        let bound = if high < f64::MAX { format!(", up to {high}") } else { String::new() };
        self.that(holds, key, format!("[{least}, {most}]"), &format!("two rising numbers above {low}{bound}"))
    }

    fn network(&self, recipe: &Recipe) -> Result<(), Error> {
        let network = &recipe.network;
        self.within(network.drop_path.unwrap_or(0.0), [0.0, 1.0], "network.drop_path")?;
        let named = network.pretrained.as_ref().is_none_or(|name| !name.trim().is_empty());
        self.that(named, "network.pretrained", "\"\"", "the name of weights")
    }

    fn training(&self, recipe: &Recipe) -> Result<(), Error> {
        let training = &recipe.training;
        self.at_least_1(training.epochs, "training.epochs")?;
        self.at_least_1(training.steps.unwrap_or(1), "training.steps")?;
        self.at_least_1(training.batch_size, "training.batch_size")?;
        self.at_least_1(training.accumulate, "training.accumulate")?;
        self.positive(training.clip_norm.unwrap_or(1.0), "training.clip_norm")
    }

    fn optimizer(&self, recipe: &Recipe) -> Result<(), Error> {
        let (optimizer, schedule) = (&recipe.optimizer, &recipe.schedule);
        self.positive(optimizer.lr, "optimizer.lr")?;
        self.rule(optimizer)?;
        self.within(optimizer.weight_decay, [0.0, 1.0], "optimizer.weight_decay")?;
        self.within(schedule.min_lr, [0.0, optimizer.lr], "schedule.min_lr")?;
        if let Some(warmup) = &schedule.warmup {
            self.at_least_1(warmup.length, "schedule.warmup.length")?;
            self.within(warmup.ratio, [0.0, 1.0], "schedule.warmup.ratio")?;
        }
        let Some(generator) = &optimizer.generator else {
            return Ok(());
        };
        self.that(
            recipe.method.has_generator(),
            "optimizer.generator",
            "given",
            "none: the method has no generator",
        )?;
        self.positive(generator.lr, "optimizer.generator.lr")?;
        self.within(generator.min_lr, [0.0, generator.lr], "optimizer.generator.min_lr")?;
        self.within(generator.weight_decay, [0.0, 1.0], "optimizer.generator.weight_decay")
    }

    /// The keys of the optimizer's rule, and none of another.
    fn rule(&self, optimizer: &Optimizer) -> Result<(), Error> {
        let sgd = optimizer.name == OptimizerName::Sgd;
        for (given, needed, key) in [
            (optimizer.momentum.is_some(), sgd, "optimizer.momentum"),
            (optimizer.nesterov.is_some(), sgd, "optimizer.nesterov"),
            (optimizer.betas.is_some(), !sgd, "optimizer.betas"),
            (optimizer.eps.is_some(), !sgd, "optimizer.eps"),
        ] {
            let found = if given { "given" } else { "not given" };
            let expected =
                if given { "none: `optimizer.name` is another rule" } else { "a value: the rule has one" };
            self.that(given == needed, key, found, expected)?;
        }
        let below_1 =
            |value: f64, key: &str| self.that((0.0..1.0).contains(&value), key, value, "0 or more, below 1");
        let momentum = optimizer.momentum.unwrap_or(0.0);
        below_1(momentum, "optimizer.momentum")?;
        self.that(
            optimizer.nesterov != Some(true) || momentum > 0.0,
            "optimizer.nesterov",
            true,
            "false where `optimizer.momentum` is 0",
        )?;
        optimizer.betas.iter().flatten().try_for_each(|&beta| below_1(beta, "optimizer.betas"))?;
        self.positive(optimizer.eps.unwrap_or(1.0), "optimizer.eps")
    }

    fn teacher(&self, recipe: &Recipe) -> Result<(), Error> {
        let Some(teacher) = &recipe.teacher else {
            return self.that(
                !recipe.method.has_teacher(),
                "teacher",
                "not given",
                "a table: the method has a teacher",
            );
        };
        self.that(recipe.method.has_teacher(), "teacher", "given", "none: the method has no teacher")?;
        self.within(teacher.base_momentum, [0.0, 1.0], "teacher.base_momentum")?;
        self.within(teacher.end_momentum, [teacher.base_momentum, 1.0], "teacher.end_momentum")?;
        let [from, to] = teacher.scope;
        let holds = (0.0..=1.0).contains(&from) && from < to && to <= 1.0;
        self.that(holds, "teacher.scope", format!("[{from}, {to}]"), "two rising numbers from 0 to 1")
    }

    fn method(&self, recipe: &Recipe) -> Result<(), Error> {
        let loss = &recipe.loss;
        self.within(loss.smoothing, [0.0, 1.0], "loss.smoothing")?;
        self.not_negative(loss.clean_weight, "loss.clean_weight")?;
        let one_head = || {
            self.that(
                recipe.network.heads == Heads::One,
                "network.heads",
                "\"two\"",
                "\"one\": the method has no use for a second head",
            )
        };
        match &recipe.method {
            Method::AdAutoMix(method) => self.adautomix(method, recipe.network.heads),
            Method::AutoMix(method) | Method::SAMix(method) => self.automix(method),
            Method::MeAda(method) => one_head().and(self.me_ada(method)),
            Method::Dada(method) => one_head().and(self.dada(method)),
            Method::SpectralMixup(method) => one_head().and(self.spectral_mixup(method)),
            // Its parameters are checked by the mixer itself.
            Method::Mixer { .. } => one_head(),
        }
    }

    fn me_ada(&self, method: &MeAda) -> Result<(), Error> {
        self.at_least_1(method.phases, "method.phases")?;
        self.within(method.interval, [0.0, 1.0 / method.phases as f64], "method.interval")?;
        self.at_least_1(method.memory, "method.memory")?;
        self.at_least_1(method.ascent_steps, "method.ascent_steps")?;
        self.positive(method.step_size, "method.step_size")?;
        for (weight, key) in [
            (method.entropy_weight, "method.entropy_weight"),
            (method.transport_weight, "method.transport_weight"),
        ] {
            self.not_negative(weight, key)?;
        }
        Ok(())
    }

    fn dada(&self, method: &Dada) -> Result<(), Error> {
        let share = method.search_share;
        self.that(share > 0.0 && share <= 1.0, "method.search_share", share, "a number above 0, at most 1")?;
        self.positive(method.policy_lr, "method.policy_lr")?;
        self.positive(method.temperature, "method.temperature")?;
        self.at_least_1(method.hidden, "method.hidden")?;
        self.at_least_1(method.sub_policies, "method.sub_policies")
    }

    fn spectral_mixup(&self, method: &SpectralMixup) -> Result<(), Error> {
        self.positive(method.step_size, "method.step_size")?;
        self.at_least_1(method.window, "method.window")?;
        self.not_negative(method.consistency_weight, "method.consistency_weight")
    }

    fn adautomix(&self, method: &AdAutoMix, heads: Heads) -> Result<(), Error> {
        self.that(method.images >= 2, "method.images", method.images, "2 or more")?;
        self.positive(method.beta_parameter, "method.beta_parameter")?;
        self.within(method.linear_weight, [0.0, 1.0], "method.linear_weight")?;
        self.within(method.teacher_weight, [0.0, 1.0], "method.teacher_weight")?;
        self.that(
            method.objective == Objective::Paper || !method.without.contains(&Term::Teacher),
            "method.without",
            "teacher",
            "`method.objective` = \"paper\" with it: in the published objective the generator has nothing else",
        )?;
        self.that(
            heads == Heads::One || !method.without.contains(&Term::Clean),
            "method.without",
            "clean",
            "`network.heads` = \"one\" with it: the one-hot head would learn nothing",
        )?;
        self.at_least_1(method.adversarial_interval, "method.adversarial_interval")?;
        self.within(method.generator_probability.unwrap_or(1.0), [0.0, 1.0], "method.generator_probability")?;
        self.within(method.margin, [0.0, 1.0], "method.margin")?;
        let (fits, expected) = match method.margin_rule {
            MarginRule::Pair => {
                (method.images == 2, "a rule for `method.images` above 2: author, openmixup or none")
            }
            MarginRule::Author | MarginRule::OpenMixup => {
                (method.images > 2, "a rule for `method.images` = 2: pair or none")
            }
            MarginRule::None => (true, ""),
        };
        self.that(fits, "method.margin_rule", format!("{:?}", method.margin_rule).to_lowercase(), expected)?;
        self.at_least_1(method.generator.reduction, "method.generator.reduction")?;
        self.at_least_1(method.generator.upsampling_factor, "method.generator.upsampling_factor")
    }

    fn automix(&self, method: &AutoMix) -> Result<(), Error> {
        self.positive(method.beta_parameter, "method.beta_parameter")?;
        self.within(method.margin, [0.0, 1.0], "method.margin")?;
        let (generator, loss) = (&method.generator, &method.mask_loss);
        self.at_least_1(generator.reduction, "method.generator.reduction")?;
        self.at_least_1(generator.upsampling_factor, "method.generator.upsampling_factor")?;
        self.at_least_1(generator.value_hidden.unwrap_or(1), "method.generator.value_hidden")?;
        if let Some(modulation) = &generator.modulation {
            self.not_negative(modulation.curve.unwrap_or(0.0), "method.generator.modulation.curve")?;
            self.not_negative(modulation.residual.unwrap_or(0.0), "method.generator.modulation.residual")?;
        }
        self.not_negative(loss.weight, "method.mask_loss.weight")?;
        self.within(loss.margin, [0.0, 1.0], "method.mask_loss.margin")?;
        self.not_negative(loss.variance_weight, "method.mask_loss.variance_weight")
    }

    fn claim(&self, recipe: &Recipe) -> Result<(), Error> {
        let Some(claim) = &recipe.claim else { return Ok(()) };
        self.that(claim.value.is_finite(), "claim.value", claim.value, "a finite number")?;
        self.at_least_1(claim.epochs, "claim.epochs")?;
        self.that(
            claim.network == ClaimedNetwork::Student || recipe.teacher.is_some(),
            "claim.network",
            "\"teacher\"",
            "\"student\": the method has no teacher",
        )?;
        self.that(
            claim.head == Head::One || recipe.network.heads == Heads::Two,
            "claim.head",
            "\"mix\"",
            "\"one\": the network has one head",
        )
    }
}

#[cfg(test)]
mod tests;
