//! `--plan`: the cells, and the hours that they will take from a few timed steps.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use adautomix_recipes::Precision;
use serde_json::Value;

use super::assemble::Assembly;
use super::cell::{Cell, State};
use super::render::align;

/// The time of one step of a recipe in milliseconds, or why it isn't known.
type Timed = Result<f64, String>;

/// Every cell that was asked for, with its state and the hours that it will take.
pub(crate) fn plan(assembly: &Assembly, program: &Result<&Path, String>, jobs: u64) -> String {
    let mut timed: BTreeMap<String, Timed> = BTreeMap::new();
    let mut lines =
        vec![["Cell", "State", "Steps", "ms a step", "Hours here", "Then"].map(str::to_owned).to_vec()];
    let mut total = 0.0;
    let device = assembly.options.device();
    for cell in assembly.wanted.iter().map(|&index| &assembly.cells[index]) {
        let state = cell.state();
        let steps = train_pictures(cell).map(|pictures| cell.recipe.total_steps(pictures));
        let unknown = || "?".to_owned();
        let (time, hours) = if matches!(state, State::Done(_)) {
            (String::new(), "0".to_owned())
        } else {
            let measured =
                timed.entry(cell.recipe.name.clone()).or_insert_with(|| time_step(program, cell, &device));
            let hours =
                measured.as_ref().ok().zip(steps).map(|(milliseconds, steps)| hours(*milliseconds, steps));
            total += hours.unwrap_or(0.0);
            let time =
                measured.as_ref().map_or_else(|_| unknown(), |milliseconds| format!("{milliseconds:.0}"));
            (time, hours.map_or_else(unknown, |hours| format!("{hours:.2}")))
        };
        let steps = steps.map_or_else(unknown, |steps| steps.to_string());
        let then: Vec<String> = cell.steps.iter().map(super::cell::Step::title).collect();
        lines.push(vec![cell.title(), describe(&state).to_owned(), steps, time, hours, then.join(", ")]);
    }
    let mut text = align(&lines, |index| (2..5).contains(&index));
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let elapsed = total / jobs as f64;
    let _ = write!(
        text,
        "\n{} cells. Together {total:.2} h of steps on {device}, some {elapsed:.2} h with {jobs} at a time",
        lines.len() - 1,
    );
    text.push_str("; loading, evaluation and what comes then are on top. Steps are timed by recipe, without what else is set over it.");
    for (recipe, error) in timed.iter().filter_map(|(recipe, result)| Some((recipe, result.as_ref().err()?)))
    {
        let _ = write!(text, "\nNot timed and not in the sum: {recipe}: {error}");
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn hours(milliseconds: f64, steps: usize) -> f64 {
    milliseconds * steps as f64 / 3_600_000.0
}

fn describe(state: &State) -> &'static str {
    match state {
        State::Done(_) => "done",
        State::Resumable => "begun; will go on",
        State::Abandoned | State::Foreign | State::Empty => "not run",
    }
}

/// Training pictures of a cell, where the recipe says or the data set is known.
fn train_pictures(cell: &Cell) -> Option<usize> {
    let whole = match cell.recipe.data.name.as_str() {
        "cifar10" | "cifar100" => Some(50_000),
        _ => None,
    };
    cell.recipe.data.train_pictures.or(whole)
}

/// Milliseconds of a step, from the program's own benchmark.
fn time_step(program: &Result<&Path, String>, cell: &Cell, device: &str) -> Timed {
    let program = program.clone()?;
    let output = Command::new(program)
        .args(["bench", "step", "--recipe", &cell.recipe.name, "--device", device, "--json"])
        .args((cell.recipe.network.precision == Precision::Bf16).then_some("--set=network.precision=bf16"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: cannot be started: {error}", program.display()))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let last = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        return Err(format!("`bench step`: {}: {last}", output.status));
    }
    milliseconds(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| "`bench step` printed no `ms_per_step`".to_owned())
}

/// The first `ms_per_step` in the JSON that stands somewhere in a text.
fn milliseconds(text: &str) -> Option<f64> {
    fn find(value: &Value) -> Option<f64> {
        match value {
            Value::Object(entries) => {
                entries.get("ms_per_step").and_then(Value::as_f64).or_else(|| entries.values().find_map(find))
            }
            Value::Array(values) => values.iter().find_map(find),
            _ => None,
        }
    }
    text.char_indices().filter(|(_, letter)| matches!(letter, '{' | '[')).find_map(|(start, _)| {
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        find(&values.next()?.ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_found_in_whatever_json_there_is() {
        assert_eq!(milliseconds("{\"ms_per_step\": 12.5}"), Some(12.5));
        assert_eq!(milliseconds("warming [up]\n[{\"a\": 1, \"times\": {\"ms_per_step\": 7}}]\n"), Some(7.0));
        assert_eq!(milliseconds("{\"ms_per_step\": null}"), None);
        assert_eq!(milliseconds("nothing {"), None);
    }
}
