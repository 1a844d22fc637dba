//! What is said at the end of a quick run.

use super::Options;
use crate::paper::{self, Definition};

/// What the quick profile was, and what the paper's own runs take.
pub(crate) fn farewell(options: &Options, definitions: &[Definition]) -> String {
    let id = if definitions.len() == 1 { definitions[0].id.as_str() } else { "all" };
    let command = options.command(id).replace("--profile quick", "--profile paper");
    let mut text = format!(
        "This was the quick profile: drawn pictures, a small network and short runs show that every part works.\n\
         Its figures are not the paper's and say nothing about them. The paper's own runs:\n\n    {command}\n",
    );
    let hours = paper::hours();
    let of = |run: &&paper::TimedRun| {
        definitions.iter().any(|definition| definition.value(&run.row, &run.column).is_some())
    };
    let runs: Vec<_> = hours.runs.iter().filter(of).collect();
    if !runs.is_empty() {
        text.push_str(&format!("\nThey took the authors, each run ({}):\n", hours.source));
    }
    for run in runs {
        text.push_str(&format!(
            "    {} {}, {} epochs: {:.1} h on {} × {}\n",
            run.column, run.row, run.epochs, run.hours, run.gpus, run.gpu
        ));
    }
    text.push_str(&format!("\nHere: `{command} --plan` times a few steps and tells."));
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::reproduce::{Profile, RunOptions};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunOptions,
    }

    #[test]
    fn the_end_of_a_quick_run_names_command_and_hours() {
        let run = Line::parse_from(["xtask"]).run;
        let options = Options::new(&run, Profile::Quick, "cargo xtask reproduce {id} --profile quick");
        let text = |id| farewell(&options, &[paper::definition(id).unwrap()]);
        let first = text("table1");
        assert!(first.contains("reproduce table1 --profile paper\n"), "{first}");
        assert!(first.contains("CIFAR100/ResNet18 AdAutoMix, 800 epochs: 12.3 h on 1 × RTX 3090"), "{first}");
        assert!(!first.contains("CUB-200"), "{first}");
        assert!(text("table2").contains("CUB-200/ResNet50 AdAutoMix, 200 epochs: 4.8 h"));
        assert!(!text("table4").contains("took the authors"));
    }
}
