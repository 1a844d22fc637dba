//! The recipes built into the program, so that it works from anywhere.

/// A name and the text of its file.
macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../data/recipes/", $name, ".toml")))
    };
}

/// Name and text of every file in `data/recipes`, by name. A test compares it with the folder.
pub(crate) const FILES: &[(&str, &str)] = &[
    file!("_base/adautomix"),
    file!("_base/adautomix_resnet20"),
    file!("_base/automix"),
    file!("_base/cifar"),
    file!("_base/cutmix"),
    file!("_base/dada"),
    file!("_base/me-ada"),
    file!("_base/mixup"),
    file!("_base/samix"),
    file!("_base/vanilla"),
    file!("cifar10/resnet18/_base"),
    file!("cifar10/resnet18/adautomix"),
    file!("cifar10/resnet18/cutmix"),
    file!("cifar10/resnet18/mixup"),
    file!("cifar10/resnet18/vanilla"),
    file!("cifar10/resnet20/adautomix"),
    file!("cifar100/resnet18/_base"),
    file!("cifar100/resnet18/adautomix"),
    file!("cifar100/resnet18/cutmix"),
    file!("cifar100/resnet18/mixup"),
    file!("cifar100/resnet18/vanilla"),
    file!("cifar100/resnext50/_base"),
    file!("cifar100/resnext50/adautomix"),
    file!("cifar100/resnext50/cutmix"),
    file!("cifar100/resnext50/mixup"),
    file!("cifar100/resnext50/vanilla"),
    file!("quick/_base"),
    file!("quick/adautomix"),
    file!("quick/automix"),
    file!("quick/cutmix"),
    file!("quick/dada"),
    file!("quick/me-ada"),
    file!("quick/mixup"),
    file!("quick/samix"),
    file!("quick/vanilla"),
];
