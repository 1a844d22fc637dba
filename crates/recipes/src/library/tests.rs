//! Libraries, embedded and of folders of the tests.

use super::*;
use crate::{Method, Objective};

/// A folder of recipes that is removed again.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("adautomix-recipes-{name}-{}", std::process::id()));
        for (file, text) in files {
            let file = path.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        Self(path)
    }

    fn load(&self, name: &str, overrides: &[&str]) -> Result<Recipe, Error> {
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        Library::folder(&self.0).load(name, &overrides)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_recipe_of_the_folder_is_built_in_and_whole() {
    let folder = Library::folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/recipes"));
    let names = Library::embedded().names().unwrap();
    assert_eq!(names, folder.names().unwrap());
    for name in names {
        let recipe = Library::embedded().load(&name, &[]).unwrap();
        assert_eq!(recipe, folder.load(&name, &[]).unwrap());
        assert_eq!(recipe, Recipe::from_toml(&recipe.to_toml(), "recipe.toml").unwrap(), "{name}");
        assert_eq!(recipe.name, name);
    }
}

#[test]
fn published_and_papers_settings_stand_side_by_side() {
    let load = |name: &str| Library::embedded().load(name, &[]).unwrap();
    let (published, paper) = (load("imagenet/resnet50/adautomix"), load("imagenet/resnet50/adautomix-paper"));
    let (Method::AdAutoMix(ours), Method::AdAutoMix(theirs)) = (&published.method, &paper.method) else {
        panic!("both are AdAutoMix");
    };
    assert_eq!((ours.images, theirs.images), (2, 3));
    assert_eq!((ours.objective, theirs.objective), (Objective::Published, Objective::Paper));
    let ends = [&published, &paper].map(|recipe| recipe.teacher.as_ref().unwrap().end_momentum);
    assert_eq!(ends, [0.99999, 1.0]);
    assert_eq!(published.data, paper.data);
    assert_eq!(published.claim.unwrap().value, paper.claim.unwrap().value);
}

#[test]
fn a_family_is_what_it_shares_and_a_table_for_each_recipe() {
    let folder = Folder::new(
        "family",
        &[
            (
                "set/net.toml",
                "extends = \"quick\"\ntraining.epochs = 3\n\
                 [recipes.a]\nextends = \"_base/mixers/mixup\"\ntraining.seed = 7\n\
                 [recipes.b]\nextends = \"set/net/a\"\ntraining.epochs = 4\n\
                 [recipes.c]\nextends = \"_base/mixers/cutmix\"\noptimizer.lr = \"fast\"\n\
                 [recipes._d]\n[recipes]\ne = 3\n",
            ),
            ("set/other.toml", "extends = [\"set/net\", \"_base/mixers/cutmix\"]\n"),
            ("circle.toml", "extends = \"circle/a\"\n[recipes.a]\n"),
            ("list.toml", "recipes = [1]\n"),
        ],
    );
    // What they extend is in the same folder.
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/recipes");
    for file in ["quick.toml", "_base/cifar.toml", "_base/sgd.toml", "_base/mixers.toml"] {
        std::fs::create_dir_all(folder.0.join("_base")).unwrap();
        std::fs::copy(built_in.join(file), folder.0.join(file)).unwrap();
    }
    let settings = |name: &str| {
        let training = folder.load(name, &[]).unwrap().training;
        (training.epochs, training.seed, training.batch_size)
    };
    assert_eq!(settings("set/net/a"), (3, 7, 25));
    assert_eq!(settings("set/net/b"), (4, 7, 25));
    assert_eq!(settings("set/other"), (3, 0, 25));
    let message = |name: &str| folder.load(name, &[]).unwrap_err().to_string();
    assert_eq!(message("set/net/c"), "set/net [recipes.c]: `optimizer.lr` is \"fast\"; expected a number");
    assert_eq!(message("set/net/e"), "set/net: `recipes.e` is 3; expected a table");
    let families = message("set/net");
    assert!(families.starts_with("set/net: a family of recipes; expected one of `set/net/_d`"), "{families}");
    assert_eq!(message("circle/a"), "`extends` goes in a circle: circle/a -> circle/a");
    assert_eq!(message("list/a"), "list: `recipes` is [1]; expected a table");
    std::fs::remove_file(folder.0.join("list.toml")).unwrap();
    let names = Library::folder(&folder.0).names().unwrap();
    let own: Vec<_> = names.iter().filter(|name| !name.starts_with("quick/")).collect();
    assert_eq!(own, ["circle/a", "set/net/a", "set/net/b", "set/net/c", "set/net/e", "set/other"]);
}

#[test]
fn false_takes_an_optional_key_away() {
    let load = |overrides: &[&str]| {
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        Library::embedded().load("cifar100/resnet18/attentivemix", &overrides)
    };
    assert!(load(&[]).unwrap().observer.is_some());
    let recipe = load(&["observer=false", "claim=false", "data.flip=false"]).unwrap();
    assert_eq!((recipe.observer, recipe.claim, recipe.data.flip), (None, None, false));
    let message = load(&["optimizer.lr=false"]).unwrap_err().to_string();
    assert_eq!(message, "cifar100/resnet18/attentivemix: missing key `optimizer.lr`");
}

#[test]
fn the_published_settings_of_the_flagship() {
    let recipe = Library::embedded().load("cifar100/resnet18/adautomix", &[]).unwrap();
    assert_eq!((recipe.training.epochs, recipe.training.batch_size), (800, 100));
    assert_eq!((recipe.optimizer.lr, recipe.schedule.min_lr), (0.1, 0.05));
    assert_eq!(recipe.total_steps(50_000), 400_000);
    assert_eq!(recipe.claim.unwrap().value, 82.32);
}

#[test]
fn overrides_count_last_and_a_run_keeps_them() {
    let seed = Override::new("training.seed", 7).unwrap();
    let steps = "training.steps=12".parse().unwrap();
    let recipe = Library::embedded().load("quick/mixup", &[seed, steps]).unwrap();
    assert_eq!((recipe.training.seed, recipe.total_steps(2_000)), (7, 12));
    let again = Recipe::from_toml(&recipe.to_toml(), "recipe.toml").unwrap();
    assert_eq!(again.training.steps, Some(12));
}

#[test]
fn an_unknown_name_brings_near_ones() {
    let message = Library::embedded().load("quick/mixpu", &[]).unwrap_err().to_string();
    assert!(message.contains("no recipe `quick/mixpu` in the recipes built in"), "{message}");
    assert!(message.contains("`quick/mixup`"), "{message}");
}

#[test]
fn refusals_name_the_file_among_the_bases() {
    let folder = Folder::new(
        "bases",
        &[
            ("a.toml", "extends = \"b\"\n"),
            ("b.toml", "extends = [\"a\"]\n"),
            ("broken.toml", "[data]\nname = \n"),
            ("three.toml", "extends = 3\n"),
            ("_low.toml", "[data]\nname = \"cifar10\"\ninput_sise = 32\n"),
            ("high.toml", "extends = \"_low\"\nname = \"mine\"\n[data]\npad = 4\n"),
        ],
    );
    let message = |name: &str| folder.load(name, &[]).unwrap_err().to_string();
    assert_eq!(message("a"), "`extends` goes in a circle: a -> b -> a");
    assert!(message("broken").starts_with("broken: line 2: not TOML:"), "{}", message("broken"));
    assert!(message("three").contains("`extends` is 3; expected the name of a recipe"));
    assert!(message("high").starts_with("_low: unknown key `data.input_sise`"), "{}", message("high"));
    let path = folder.0.join("high.toml").display().to_string();
    assert!(message(&path).starts_with("_low: unknown key"), "{}", message(&path));
    assert!(message("none.toml").starts_with("none.toml: cannot be read:"), "{}", message("none.toml"));
    assert_eq!(Library::folder(&folder.0).names().unwrap(), ["a", "b", "broken", "high", "three"]);
}

#[test]
fn a_file_of_ones_own_extends_a_recipe_by_name() {
    let folder = Folder::new("own", &[("mine.toml", "extends = \"quick/cutmix\"\ntraining.epochs = 3\n")]);
    let recipe = Library::embedded().load(&folder.0.join("mine.toml").display().to_string(), &[]).unwrap();
    assert_eq!((recipe.name.as_str(), recipe.training.epochs), ("mine", 3));
}
