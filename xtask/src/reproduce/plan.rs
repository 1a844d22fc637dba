//! `--plan`: the cells, and the hours that they will take from a few timed steps.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::cell::{Cell, State};
use super::{Arguments, is_wanted};
use crate::paper;

/// Prints every cell that was asked for, with its state and the hours that it will take.
pub(crate) fn print(cells: &[Cell], program: Result<&Path, String>, arguments: &Arguments) {
    let hours = paper::hours();
    let mut timed: BTreeMap<&str, Result<f64, String>> = BTreeMap::new();
    let mut total = 0.0;
    let mut untimed = 0;
    println!("Cell | state | steps | ms a step | hours here | hours published");
    for cell in cells.iter().filter(|cell| is_wanted(arguments, cell)) {
        let steps = train_pictures(cell).map(|pictures| cell.recipe.total_steps(pictures));
        let state = cell.state();
        let mut columns = vec![cell.title(), describe(&state).to_owned()];
        columns.push(steps.map_or_else(|| "?".to_owned(), |steps| steps.to_string()));
        if matches!(state, State::Done(_)) {
            columns.extend(["", "0"].map(str::to_owned));
        } else {
            let measured = timed.entry(cell.recipe.name.as_str()).or_insert_with(|| {
                let program = program.clone()?;
                time_step(program, &cell.recipe.name, &arguments.device).map_err(|error| format!("{error:#}"))
            });
            match (measured, steps) {
                (Ok(milliseconds), Some(steps)) => {
                    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
                    let cell_hours = *milliseconds * steps as f64 / 3_600_000.0;
                    total += cell_hours;
                    columns.extend([format!("{milliseconds:.0}"), format!("{cell_hours:.2}")]);
                }
                _ => {
                    untimed += 1;
                    columns.extend(["not timed", "?"].map(str::to_owned));
                }
            }
        }
        let published =
            hours.runs.iter().find(|run| run.column == cell.column.heading && run.row == cell.method);
        columns.push(
            published
                .map_or_else(String::new, |run| format!("{:.1} on {} × {}", run.hours, run.gpus, run.gpu)),
        );
        println!("{}", columns.join(" | "));
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let elapsed = total / arguments.jobs as f64;
    println!(
        "Together {total:.1} h of training on {}, some {elapsed:.1} h with {} at a time; evaluation is not counted",
        arguments.device, arguments.jobs
    );
    if untimed > 0 {
        println!("{untimed} cells could not be timed and are not in the sum:");
        for (recipe, error) in
            timed.iter().filter_map(|(recipe, result)| Some((recipe, result.as_ref().err()?)))
        {
            println!("    {recipe}: {error}");
        }
    }
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
fn time_step(program: &Path, recipe: &str, device: &str) -> Result<f64> {
    let output = Command::new(program)
        .args(["bench", "step", "--recipe", recipe, "--device", device, "--json"])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{}: cannot be started", program.display()))?;
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    ensure!(output.status.success(), "`bench step`: {}: {last}", output.status);
    milliseconds(&String::from_utf8_lossy(&output.stdout)).context("`bench step` printed no `ms_per_step`")
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
