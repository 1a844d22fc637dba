//! A recipe in TOML.
#![no_main]

use adautomix_recipes::Recipe;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(recipe) = Recipe::from_toml(text, "fuzz") {
        // What a run writes down is read again as the same recipe.
        let again = Recipe::from_toml(&recipe.to_toml(), "fuzz").expect("a recipe's own TOML is read");
        assert_eq!(again, recipe);
    }
});
