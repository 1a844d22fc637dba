//! What was asked for: which artefacts, how much of the published length, where and how runs are made.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;

use super::invocation::quote;
use crate::{cuda, workspace};

/// How much of the published length is run, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Minutes on two cores: drawn pictures and a small network
    Quick,
    /// As published
    Paper,
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Quick => "quick",
            Self::Paper => "paper",
        })
    }
}

/// Who starts the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Launcher {
    /// This machine
    Local,
    /// SLURM, as a job array; waits for it, and may be stopped and called again meanwhile
    Slurm,
}

/// How runs are made; what `reproduce` and `ablate` have in common.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunOptions {
    /// Runs of each cell, with the seeds 0, 1, 2 ...
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) trials: u64,
    /// Where runs compute, as `adautomix train --device` has it. Of several, as cuda:0,cuda:1, each process has one;
    /// `cuda` without it where the CUDA toolkit and a device are found
    #[arg(long, value_name = "DEVICE", default_value = cuda::default_device(), value_delimiter = ',')]
    pub(crate) device: Vec<String>,
    /// Where runs, tables and figures go; those that need the same run share it [default: results/PROFILE]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Where the data sets are
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Compute the maps of residual networks in bf16, which is made for CUDA; others stay in f32
    #[arg(long)]
    pub(crate) bf16: bool,
    /// Runs at a time; they share the cores. With SLURM, tasks of the array that run at a time [default: the devices;
    /// with SLURM, as many as it lets]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) jobs: Option<u64>,
    /// Who starts the processes
    #[arg(long, value_enum, default_value_t = Launcher::Local)]
    pub(crate) launcher: Launcher,
    /// An option for sbatch, as --sbatch=--partition=gpu; may be repeated
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub(crate) sbatch: Vec<String>,
    /// Run nothing: time a few steps, and print the cells and the hours that they will take
    #[arg(long)]
    pub(crate) plan: bool,
}

/// All that decides which cells there are and what they are called.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) profile: Profile,
    pub(crate) trials: u64,
    pub(crate) devices: Vec<String>,
    /// The folder of runs and results.
    pub(crate) out: PathBuf,
    pub(crate) data_dir: Option<PathBuf>,
    /// Whether residual networks compute in `bf16`.
    pub(crate) bf16: bool,
    /// Rows and columns that are run; all where there are none.
    pub(crate) rows: Vec<String>,
    pub(crate) columns: Vec<String>,
    /// What is typed to run an artefact: `{id}` stands for its id.
    pub(crate) call: String,
}

impl Options {
    /// From the command line. `call` is what was typed before the common options.
    pub(crate) fn new(run: &RunOptions, profile: Profile, call: &str) -> Self {
        let mut call = call.to_owned();
        if run.trials > 1 {
            call.push_str(&format!(" --trials {}", run.trials));
        }
        let device = run.device.join(",");
        if device != cuda::default_device() {
            call.push_str(&format!(" --device {device}"));
        }
        if run.bf16 {
            call.push_str(" --bf16");
        }
        if let Some(out) = &run.out {
            call.push_str(&format!(" --out {}", quote(&out.display().to_string())));
        }
        let out = run.out.clone().unwrap_or_else(|| results(profile));
        Self {
            profile,
            trials: run.trials,
            devices: run.device.clone(),
            out,
            data_dir: run.data_dir.clone(),
            bf16: run.bf16,
            rows: Vec::new(),
            columns: Vec::new(),
            call,
        }
    }

    /// The command that runs an artefact.
    pub(crate) fn command(&self, id: &str) -> String {
        self.call.replace("{id}", id)
    }

    /// Whether that command takes the headings of single places.
    pub(crate) fn takes_places(&self) -> bool {
        self.call.contains("{id}")
    }

    /// The device of a process, where there is no choice to make.
    pub(crate) fn device(&self) -> String {
        self.devices.first().cloned().unwrap_or_default()
    }

    /// Whether figures are to be run: not where only some rows and columns of tables were asked for.
    pub(crate) fn wants_figures(&self) -> bool {
        self.rows.is_empty() && self.columns.is_empty()
    }

    /// Whether a place of a table is to be run.
    pub(crate) fn wants(&self, row: &str, column: &str) -> bool {
        let has = |known: &[String], heading: &str| {
            known.is_empty() || known.iter().any(|known| known.eq_ignore_ascii_case(heading))
        };
        has(&self.rows, row) && has(&self.columns, column)
    }
}

/// Where runs and results of a profile go.
pub(crate) fn results(profile: Profile) -> PathBuf {
    workspace::root().join("results").join(profile.to_string())
}
