//! The pictures of a recipe, and what is done to them before mixing.

use serde::{Deserialize, Serialize};

/// The pictures and what is done to them before mixing: training pictures are resized, cropped, mirrored and changed by
/// RandAugment, in this order; test pictures are resized and cut to the middle. Both are then normalised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The data set, as `cifar100` or `synthetic`.
    pub name: String,
    /// Side of the picture that the network sees, in pixels.
    pub input_size: usize,
    /// Use only the first so many training pictures; how many are drawn, for `synthetic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_pictures: Option<usize>,
    /// Use only the first so many test pictures; how many are drawn, for `synthetic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_pictures: Option<usize>,
    /// Use only these classes, by name; their labels are their places in this list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Use only so large a share of the training pictures of each class, drawn by the run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Pixels reflected on each side before a random crop back to size; 0 crops nothing.
    pub pad: usize,
    /// Whether half of the training pictures are mirrored, left to right.
    pub flip: bool,
    /// Mean of red, green and blue, on a scale from 0 to 1, that is taken off.
    pub mean: [f64; 3],
    /// Standard deviation of red, green and blue, on a scale from 0 to 1, that is divided by.
    pub std: [f64; 3],
    /// The size that training pictures are first brought to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_resize: Option<Resize>,
    /// A random rectangle of each training picture, resized to the input size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<ResizedCrop>,
    /// Random changes of colour and shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// The size that test pictures are brought to before their middle is cut out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_resize: Option<Resize>,
}

/// A picture brought to a size, its shape kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Its shorter side, in pixels.
    pub size: usize,
    /// How pixels are found between pixels.
    pub interpolation: Interpolation,
}

/// A random rectangle of a picture, resized to the input size (Szegedy et al., 2015).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizedCrop {
    /// Least and largest share of the picture's area.
    pub scale: [f64; 2],
    /// Least and largest width over height.
    pub ratio: [f64; 2],
    /// How pixels are found between pixels.
    pub interpolation: Interpolation,
}

/// Random changes of colour and shape (Cubuk et al., 2020), drawn from fourteen kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// How many changes a picture gets.
    pub operations: usize,
    /// How strong they are in the mean, from 0 to 10.
    pub magnitude: f64,
    /// Standard deviation of the strength.
    pub deviation: f64,
    /// Red, green and blue, from 0 to 255, of what comes into view where a picture is turned, moved or sheared.
    pub fill: [u8; 3],
    /// How pixels are found between pixels.
    pub interpolation: Interpolation,
}

/// How pixels are found between pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Linear in both directions.
    Bilinear,
    /// Cubic in both directions.
    Bicubic,
}
