//! Where a network looks: class activation by gradients (Grad-CAM, Selvaraju et al., ICCV 2017).

use adautomix_backbones::{Classifier, Head, Pass};
use candle_core::{DType, Tensor, Var};

use crate::{Error, Result};

/// Class activation of some pictures.
#[derive(Clone, Debug)]
pub struct Activation {
    /// `[B, h, w]`, not negative, each over its maximum; all 0 where nothing speaks for the class.
    pub maps: Tensor,
    /// The stage whose maps they are of, counted from 0.
    pub stage: usize,
}

/// Class activation of pictures `[B, 3, H, W]`, one class for each: the maps of the last stage, each weighted with the mean
/// gradient of the class's logit by it, summed, and cut off at 0.
///
/// A network that classifies by its class token alone has no gradient at the last maps; those of the stage before are
/// taken then. Maps are taken before the network's last norm. `classifier` should be built on constants.
///
/// # Errors
/// If there isn't a class for each picture, or an operation fails.
pub fn grad_cam(classifier: &Classifier, head: Head, images: &Tensor, classes: &[u32]) -> Result<Activation> {
    let backbone = &*classifier.backbone;
    let batch = images.dim(0)?;
    if classes.len() != batch {
        return Err(Error::setting("the number of classes", classes.len(), batch.to_string()));
    }
    let hidden = backbone.features(images, &mut Pass::eval())?.stages;
    let chosen = one_hot(classes, classifier.head(head).bias().elem_count(), images)?;
    let (mut maps, mut stage) = (None, hidden.len());
    while maps.is_none() && stage > 0 {
        stage -= 1;
        let variable = Var::from_tensor(&hidden[stage].detach())?;
        let mut last = variable.as_tensor().clone();
        for index in stage + 1..hidden.len() {
            last = backbone.stage(index, &last, &mut Pass::eval())?;
        }
        let logits = classifier.logits(&backbone.pool(&last)?, head)?;
        // Pictures don't see each other in evaluation mode, so one pass gives the gradients of all.
        let gradients = (logits * &chosen)?.sum_all()?.backward()?;
        // The first stage's map is what it gave, in the order of maps: the last one's would be normalised.
        let in_order = |tensor: &Tensor| backbone.map(0, tensor);
        let gradient = in_order(&gradients.get(&variable).ok_or(Error::NoGradient)?.detach())?;
        if stage == 0 || gradient.abs()?.max_all()?.to_scalar::<f32>()? > 0.0 {
            let weights = gradient.mean_keepdim((2, 3))?;
            let weighted = in_order(&variable.as_tensor().detach())?.broadcast_mul(&weights)?;
            maps = Some(weighted.sum(1)?.relu()?);
        }
    }
    Ok(Activation { maps: over_maximum(&maps.ok_or(Error::NoGradient)?)?, stage })
}

/// What a head thinks of pictures `[B, 3, H, W]`: for each the probabilities of all classes.
///
/// # Errors
/// If an operation fails.
pub fn probabilities(classifier: &Classifier, head: Head, images: &Tensor) -> Result<Vec<Vec<f64>>> {
    let logits = classifier.forward(images, head, &mut Pass::eval())?;
    let rows = logits.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let softmax = |row: Vec<f64>| {
        let largest = row.iter().copied().fold(f64::MIN, f64::max);
        let powers: Vec<f64> = row.iter().map(|logit| (logit - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|power| power / sum).collect()
    };
    Ok(rows.into_iter().map(softmax).collect())
}

/// `[B, classes]`
fn one_hot(chosen: &[u32], classes: usize, like: &Tensor) -> Result<Tensor> {
    let mut rows = vec![0f32; chosen.len() * classes];
    for (row, &class) in chosen.iter().enumerate() {
        if class as usize >= classes {
            return Err(Error::setting("a class", class, format!("0 to {}", classes - 1)));
        }
        rows[row * classes + class as usize] = 1.0;
    }
    Ok(Tensor::from_vec(rows, (chosen.len(), classes), like.device())?)
}

/// Maps `[B, h, w]`, each over its maximum, where that is above 0.
fn over_maximum(maps: &Tensor) -> Result<Tensor> {
    let largest = maps.max_keepdim(2)?.max_keepdim(1)?;
    Ok(maps.broadcast_div(&largest.maximum(f64::from(f32::MIN_POSITIVE))?)?)
}

#[cfg(test)]
mod tests {
    use adautomix_training::{Network, named};
    use candle_core::Device;

    use super::*;

    fn images(side: usize) -> Tensor {
        let value = |i: usize| ((i * i % 97) as f32 * 0.03).sin();
        let values: Vec<f32> = (0..2 * 3 * side * side).map(value).collect();
        Tensor::from_vec(values, (2, 3, side, side), &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn behind_a_mean_it_is_the_maps_weighted_by_the_classifier() {
        let classifier = Network::new(&*named("resnet20-cifar", 5, true), 3, &Device::Cpu).unwrap().fixed;
        let (images, classes) = (images(32), [4u32, 1]);
        let activation = grad_cam(&classifier, Head::Mixup, &images, &classes).unwrap();
        assert_eq!((activation.stage, activation.maps.dims()), (2, &[2, 8, 8][..]));
        let hidden = &classifier.backbone.features(&images, &mut Pass::eval()).unwrap().stages[2];
        for (row, class) in classes.into_iter().enumerate() {
            let weight = classifier.head(Head::Mixup).weight().get(class as usize).unwrap();
            let weight = weight.reshape((64, 1, 1)).unwrap();
            let map = hidden.get(row).unwrap().broadcast_mul(&weight).unwrap().sum(0).unwrap();
            let expected: Vec<f32> = values(&map).into_iter().map(|value| value.max(0.0)).collect();
            let largest = expected.iter().copied().fold(0.0, f32::max);
            assert!(largest > 0.0);
            for (got, want) in values(&activation.maps.get(row).unwrap()).iter().zip(&expected) {
                assert!((got - want / largest).abs() < 1e-4, "{got} {}", want / largest);
            }
        }
        let error = grad_cam(&classifier, Head::Mixup, &images, &[5, 0]).unwrap_err().to_string();
        assert_eq!(error, "a class is 5, expected 0 to 4");
    }

    #[test]
    fn a_class_token_is_followed_back_to_where_it_looked() {
        let classifier = Network::new(&*named("deit_small_patch16_224", 3, false), 3, &Device::Cpu).unwrap();
        let activation = grad_cam(&classifier.fixed, Head::OneHot, &images(224), &[0, 2]).unwrap();
        assert_eq!((activation.stage, activation.maps.dims()), (0, &[2, 14, 14][..]));
        let largest = values(&activation.maps.flatten_from(1).unwrap().max(1).unwrap());
        assert!(largest.iter().all(|largest| (largest - 1.0).abs() < 1e-6 || *largest == 0.0), "{largest:?}");
    }

    #[test]
    fn probabilities_are_those_of_a_softmax() {
        let classifier = Network::new(&*named("resnet20-cifar", 5, false), 3, &Device::Cpu).unwrap().fixed;
        for row in probabilities(&classifier, Head::OneHot, &images(32)).unwrap() {
            assert!(row.len() == 5 && (row.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{row:?}");
        }
    }
}
