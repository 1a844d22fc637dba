//! Runs whose losses are read when they are made, and late.

use std::sync::atomic::AtomicBool;

use adautomix_recipes::{Library, Override};
use candle_core::Device;

use super::*;
use crate::method::deferred;

/// Six steps of eight pictures with a line of metrics for every four, into `out`.
fn train(out: &Path, overrides: &[&str]) -> Result<()> {
    let small =
        ["data.train_pictures=24", "data.test_pictures=8", "training.batch_size=8", "training.epochs=2"];
    let overrides: Vec<Override> = small.iter().chain(overrides).map(|text| text.parse().unwrap()).collect();
    let recipe = Library::embedded().load("quick/mixup", &overrides)?;
    let pictures = Pictures::open(&recipe, Path::new("nowhere"))?;
    let options = Options {
        out: out.to_owned(),
        device: Device::Cpu,
        device_name: "cpu".to_owned(),
        commit: None,
        resume: false,
        checkpoint_steps: 5,
        log_steps: 4,
        keep_every: None,
        pretrained: None,
    };
    Run::new(recipe, &pictures, options)?.train(&mut [], &AtomicBool::new(false))?;
    Ok(())
}

#[test]
fn losses_that_are_read_late_are_the_same() -> Result<()> {
    let [now, later] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    train(now.path(), &[])?;
    deferred(|| train(later.path(), &[]))?;
    for file in ["metrics.jsonl", "checkpoints/last.safetensors", "checkpoints/best.safetensors"] {
        let bytes = [&now, &later].map(|folder| std::fs::read(folder.path().join(file)).unwrap());
        assert!(bytes[0] == bytes[1], "{file} differs");
    }
    Ok(())
}

#[test]
fn a_loss_that_is_no_number_is_named_with_its_step_and_the_checkpoint_before_it_is_kept() -> Result<()> {
    let far = ["optimizer.lr=1e30"];
    let [now, later] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (error, late) = (train(now.path(), &far), deferred(|| train(later.path(), &far)));
    let (error, late) = (error.unwrap_err().to_string(), late.unwrap_err().to_string());
    assert!(error.starts_with("step 1: the loss `loss` is"), "{error}");
    assert_eq!(error, late);
    assert!(!checkpoint::path(later.path(), "last").exists());
    Ok(())
}
