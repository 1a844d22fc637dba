//! What mixers look at beside the pictures: gradients, features, attention maps, the classifier.

use adautomix_backbones::{self as backbones, Backbone, Head, Pass};
use adautomix_mixing::{Need, Normalisation, Plan, View};
use adautomix_ops::{Interpolation, Tape, interpolate};
use adautomix_recipes::{Loss, Recipe};
use candle_core::{Device, Tensor, Var};

use super::{Inputs, Losses, Measured, Passes, mixed};
use crate::{Error, Gradients, Network, Parameters, Result, state_dict};

/// Computes what a plan needs of a batch.
pub(super) struct Observer {
    normalisation: Normalisation,
    /// A frozen network that stands in for the one that is trained, and the side of the pictures that it is shown.
    frozen: Option<(Box<dyn Backbone>, usize)>,
    loss: Loss,
    classes: usize,
}

/// What was computed of a batch.
#[derive(Default)]
pub(super) struct Observed {
    gradient: Option<Tensor>,
    features: Option<Tensor>,
    attention: Option<Tensor>,
    head: Option<(Tensor, Tensor)>,
}

impl Observer {
    /// The observer of a recipe.
    ///
    /// # Errors
    /// If the frozen network can't be built or its weights can't be read.
    pub(super) fn of(recipe: &Recipe, classes: usize, device: &Device) -> Result<Self> {
        let [mean, std] = [recipe.data.mean, recipe.data.std].map(|values| values.map(|value| value as f32));
        let frozen = recipe.observer.as_ref().map(|observer| -> Result<_> {
            let parameters = Parameters::trainable(0, device);
            let backbone = backbones::build(&observer.network, &parameters.detached())?;
            state_dict::load(&observer.weights, &parameters, backbone.head_name())?;
            Ok((backbone, observer.input_size))
        });
        Ok(Self {
            normalisation: Normalisation { mean, std },
            frozen: frozen.transpose()?,
            loss: recipe.loss.clone(),
            classes,
        })
    }

    /// Computes what `plan` needs. Where the recipe's loss counts unmixed pictures, that loss is differentiated here once
    /// for both the weights, into `gradients`, and the pictures.
    ///
    /// # Errors
    /// If an operation fails, or the network has nothing of the kind.
    pub(super) fn look(
        &self,
        student: &Network,
        inputs: &Inputs,
        plan: &dyn Plan,
        passes: &Passes,
        gradients: &mut Gradients,
        losses: &mut Losses,
    ) -> Result<Observed> {
        let mut observed = Observed::default();
        let needs = |need| plan.needs().contains(&need);
        if self.loss.clean_weight > 0.0 {
            let (value, gradient) = self.clean_loss(student, inputs, passes, gradients)?;
            losses.push(("clean", value));
            observed.gradient = Some(gradient);
        } else if needs(Need::Gradient) {
            observed.gradient = Some(self.gradient(student, inputs)?);
        }
        let features = needs(Need::Head) || (needs(Need::Features) && self.frozen.is_none());
        if features || needs(Need::Attention) {
            let mut pass = Pass::eval().watching();
            let backbone = &*student.fixed.backbone;
            let hidden = backbone.features(&inputs.images, &mut pass)?.stages;
            if features {
                observed.features = Some(last_map(backbone, &hidden)?);
            }
            if needs(Need::Attention) {
                observed.attention = Some(attention(&pass)?);
            }
        }
        if needs(Need::Head) {
            let linear = student.fixed.head(Head::OneHot);
            observed.head = Some((linear.weight().clone(), linear.bias().clone()));
        } else if let (true, Some((backbone, side))) = (needs(Need::Features), &self.frozen) {
            let images = interpolate(&inputs.images, Interpolation::Bilinear, [*side; 2])?;
            let hidden = backbone.features(&images, &mut Pass::eval())?.stages;
            observed.features = Some(last_map(&**backbone, &hidden)?);
        }
        Ok(observed)
    }

    /// The view of a batch of which `observed` was computed.
    pub(super) fn view<'a>(&self, inputs: &'a Inputs, observed: &'a Observed) -> View<'a> {
        let mut view = View::of(&inputs.images);
        view.labels = Some(&inputs.labels);
        view.normalisation = Some(self.normalisation);
        view.gradient = observed.gradient.as_ref();
        view.features = observed.features.as_ref();
        view.attention = observed.attention.as_ref();
        view.head = observed.head.as_ref().map(|(weight, bias)| (weight, bias));
        view
    }

    /// The gradient of the loss at the unmixed pictures, of the network in evaluation mode, whose weights it leaves alone.
    fn gradient(&self, student: &Network, inputs: &Inputs) -> Result<Tensor> {
        let images = Var::from_tensor(&inputs.images)?;
        let (tape, loss) = Tape::record(|| {
            let logits = student.fixed.forward(&images, Head::OneHot, &mut Pass::eval())?;
            self.unmixed(&logits, &inputs.labels)
        })?;
        at(&tape.backward(&loss)?, &images)
    }

    /// The weighted loss of the unmixed pictures in training mode, and its gradient at them.
    fn clean_loss(
        &self,
        student: &Network,
        inputs: &Inputs,
        passes: &Passes,
        gradients: &mut Gradients,
    ) -> Result<(Measured, Tensor)> {
        let images = Var::from_tensor(&inputs.images)?;
        let mut pass = passes.train();
        let (tape, clean) = Tape::record(|| {
            let logits = student.trained.forward(&images, Head::OneHot, &mut pass)?;
            self.unmixed(&logits, &inputs.labels)
        })?;
        pass.commit(1)?;
        let store =
            gradients.backward(tape, &clean, self.loss.clean_weight, &student.parameters.weights())?;
        Ok((Measured::of(&clean)?, at(&store, &images)?))
    }

    fn unmixed(&self, logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let own: Vec<u32> = (0..labels.len() as u32).collect();
        let device = logits.device();
        let target =
            adautomix_losses::mix_targets(labels, &[own], &[1.0], self.classes, self.loss.smoothing, device)?;
        mixed::loss(&self.loss, logits, &target)
    }
}

/// The last map `[B, C, h, w]` of a network.
fn last_map(backbone: &dyn Backbone, hidden: &[Tensor]) -> Result<Tensor> {
    match hidden.last() {
        Some(last) => Ok(backbone.map(hidden.len() - 1, last)?.detach()),
        None => Err(Error::Recipe("the network has no stages".to_owned())),
    }
}

/// The attention maps that a pass has kept.
pub(super) fn attention(pass: &Pass) -> Result<Tensor> {
    pass.attention().cloned().ok_or_else(|| {
        let text = "the method looks at attention maps of all tokens, which only transformers have";
        Error::Recipe(text.to_owned())
    })
}

fn at(store: &candle_core::backprop::GradStore, images: &Var) -> Result<Tensor> {
    match store.get(images) {
        Some(gradient) => Ok(gradient.detach()),
        None => Err(Error::NoGradient { variable: "images".to_owned(), found: "no gradient" }),
    }
}
