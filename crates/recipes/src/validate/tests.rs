//! What recipes must keep to.

use crate::{Library, Override};

fn refusal(name: &str, overrides: &[&str]) -> String {
    let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
    let message = Library::embedded().load(name, &overrides).unwrap_err().to_string();
    assert!(!message.contains('\n') && !message.ends_with('.'), "{message}");
    message
}

#[test]
fn refusals_name_the_origin_the_key_and_what_was_expected() {
    let cases: [(&str, &[&str]); 24] = [
        (
            "override `training.epoch=3`: unknown key `training.epoch`; expected one of `epochs`",
            &["training.epoch=3"],
        ),
        ("override `trainin.epochs=3`: unknown key `trainin`; expected one of `name`", &["trainin.epochs=3"]),
        ("`training.epochs` is \"ten\"; expected a whole number, 0 or more", &["training.epochs=ten"]),
        ("`training.batch_size` is 0; expected 1 or more", &["training.batch_size=0"]),
        ("`optimizer` is 3; expected a table", &["optimizer=3"]),
        ("`optimizer.lr` is 0; expected a number above 0", &["optimizer.lr=0.0"]),
        ("`optimizer.lr` is NaN; expected a number above 0", &["optimizer.lr=nan"]),
        ("`schedule.by` is \"week\"; expected one of \"epoch\", \"step\"", &["schedule.by=week"]),
        ("`teacher.scope` is [1, 0.1]; expected two rising numbers", &["teacher.scope=[1.0, 0.1]"]),
        ("`method.images` is 1; expected 2 or more", &["method.images=1"]),
        ("`method.margin_rule` is author; expected a rule for `method.images` = 2", &["method.images=2"]),
        ("`method.margin_rule` is \"both\"; expected one of \"pair\"", &["method.margin_rule=both"]),
        ("unknown key `method.generator.lam_concat`; expected one of", &["method.generator.lam_concat=true"]),
        ("`teacher` is given; expected none: the method has no teacher", &["method.name=mixup"]),
        ("`loss.smoothing` is 2; expected", &["loss.smoothing=2.0"]),
        ("`data.train_pictures` is 0; expected 1 or more", &["data.train_pictures=0"]),
        ("`data.share` is 0; expected a number above 0, up to 1", &["data.share=0.0"]),
        ("`data.classes` is []; expected at least one class", &["data.classes=[]"]),
        ("`optimizer.momentum` is given; expected none", &["optimizer.name=adamw"]),
        (
            "`data.pad` is 4; expected 0 where",
            &["data.resized_crop={ scale = [0.1, 1], ratio = [1, 1], interpolation = \"bicubic\" }"],
        ),
        (
            "`data.resized_crop.scale` is [0, 1]; expected two rising numbers above 0, up to 1",
            &[
                "data.pad=0",
                "data.resized_crop={ scale = [0, 1], ratio = [1, 1], interpolation = \"bicubic\" }",
            ],
        ),
        (
            "`data.test_resize.size` is 16; expected `data.input_size` or more",
            &["data.test_resize={ size = 16, interpolation = \"bilinear\" }"],
        ),
        ("`network.drop_path` is 1.5; expected a number from 0 to 1", &["network.drop_path=1.5"]),
        (
            "`method.generator_probability` is -1; expected a number from 0 to 1",
            &["method.generator_probability=-1"],
        ),
    ];
    for (expected, overrides) in cases {
        let message = refusal("quick/adautomix", overrides);
        assert!(message.contains(expected), "{message}");
    }
    let message = refusal("quick/adautomix", &["method.without=[\"teacher\"]"]);
    assert!(
        message.contains("`method.without` is teacher; expected `method.objective` = \"paper\""),
        "{message}"
    );
    let message = refusal("quick/adautomix", &["method.without=[\"clean\"]"]);
    assert!(message.contains("`method.without` is clean; expected `network.heads` = \"one\""), "{message}");
    let message = refusal("quick/mixup", &["network.heads=two"]);
    assert!(message.contains("`network.heads` is \"two\"; expected \"one\""), "{message}");
    let message = refusal("quick/samix", &["method.mask_loss.annealing=linear"]);
    assert!(message.contains("expected one of \"none\", \"cosine\", \"reference\""), "{message}");
    let message = refusal("quick/samix", &["method.generator.modulation.residual=-1.0"]);
    assert!(
        message.contains("`method.generator.modulation.residual` is -1; expected 0 or more"),
        "{message}"
    );
    let message = refusal("cifar100/swin_t/mixup", &["optimizer.betas=false"]);
    assert!(message.contains("`optimizer.betas` is not given; expected a value"), "{message}");
    let message = refusal("quick/mixup", &["teacher.scope=[0.0, 1.0]"]);
    assert!(message.contains("missing key `teacher.base_momentum`"), "{message}");
}

#[test]
fn adversarial_methods_have_ranges_too() {
    let message = refusal("quick/spectral-mixup", &["method.window=0"]);
    assert!(message.contains("`method.window` is 0; expected"), "{message}");
    let message = refusal("quick/me-ada", &["method.interval=0.6"]);
    assert!(message.contains("`method.interval` is 0.6; expected a number from 0 to 0.5"), "{message}");
    let message = refusal("quick/dada", &["network.heads=two"]);
    assert!(message.contains("`network.heads` is \"two\"; expected \"one\""), "{message}");
    let message = refusal("quick/dada", &["method.search_share=0"]);
    assert!(message.contains("`method.search_share` is 0; expected a number above 0"), "{message}");
}
