//! `cargo xtask emulate …`: the CUDA program on a device that `tests/device` emulates, on a machine without one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{cuda, workspace};

/// What the emulated device gives, under the names for which the program asks the loader.
const LIBRARY: &str = "libcuda.so.1";
const OTHER_NAMES: [&str; 3] = ["libcublas.so.13", "libcudnn.so.9", "libcurand.so.10"];

/// Files of candle's kernels that the program may launch: all but those for quantized networks, experts and sorting.
const OF_CANDLE: [&str; 9] =
    ["affine", "binary", "cast", "conv", "fill", "indexing", "reduce", "ternary", "unary"];

/// Of a run: passes are recorded after two of them, and those of the teacher over the generator's mix, which has two objectives in
/// turn, after four.
const STEPS: &str = "6";

/// What is needed of a line of metrics.
#[derive(Deserialize)]
struct Line {
    loss: BTreeMap<String, f64>,
}

/// What the program calls the emulated device.
const DEVICE: &str = "cuda:0";

/// The program and a device for it, compiled.
struct Emulated {
    program: PathBuf,
    /// Where the device's libraries are.
    folder: PathBuf,
    toolkit: PathBuf,
}

impl Emulated {
    /// Builds the program, and the device if anything of it is newer than what is there.
    fn new() -> Result<Self> {
        let Some(nvcc) = cuda::nvcc() else {
            bail!("an emulated device needs the CUDA toolkit: set CUDA_HOME to its folder");
        };
        let program = program()?;
        // What is on the path may be a link into the toolkit.
        let nvcc = nvcc.canonicalize().with_context(|| nvcc.display().to_string())?;
        let toolkit = nvcc.parent().and_then(Path::parent).context("nvcc lies in no toolkit")?.to_owned();
        let folder = workspace::metadata()?.target_directory.join("cuda/emulated");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let sources = Sources::find(&toolkit)?;
        // Of what it was made, beside files that change.
        let (stamp, made_of) = (folder.join("made-of"), format!("{:?}", sources.compiler()));
        let same = std::fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == made_of);
        let built = modified(&stamp);
        if !same || built.is_none_or(|built| sources.newest().is_none_or(|newest| newest > built)) {
            sources.compile(&folder)?;
            std::fs::write(&stamp, made_of)?;
        }
        Ok(Self { program, folder, toolkit })
    }

    fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let libraries =
            [&self.folder, &self.toolkit.join("lib64")].map(|folder| folder.display().to_string());
        let mut command = Command::new(&self.program);
        command.args(arguments).env("LD_LIBRARY_PATH", libraries.join(":"));
        command
    }

    /// Runs the program; whether it succeeds.
    fn runs(&self, arguments: &[impl AsRef<OsStr>]) -> Result<bool> {
        let status = self.command(arguments).status();
        Ok(status.with_context(|| self.program.display().to_string())?.success())
    }

    /// The losses of a few steps, which are read when the last one was made: their means. And how often each kernel and call has
    /// run. An error if the run fails or has anything to warn of.
    fn losses(&self, recipe: &str, options: &[&str]) -> Result<(BTreeMap<String, f64>, String)> {
        let (run, counts) = (self.folder.join("run"), self.folder.join("counts"));
        std::fs::remove_dir_all(&run).ok();
        let out = run.to_str().context("the target folder's name is not UTF-8")?;
        let small = ["training.batch_size=4", "data.train_pictures=24", "data.test_pictures=4"];
        let mut arguments = vec!["train", recipe, "--steps", STEPS, "--log-steps", STEPS, "--out", out];
        arguments.push("--no-tf32");
        arguments.extend(small.into_iter().flat_map(|key| ["--set", key]));
        arguments.extend(options);
        let output =
            self.command(&arguments).env("RUST_LOG", "warn").env("EMULATED_COUNTS", &counts).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && !said.contains("WARN"),
            "{arguments:?}: {}\n{said}",
            output.status
        );
        let metrics = std::fs::read_to_string(run.join("metrics.jsonl"))?;
        let line = metrics.lines().find(|line| line.contains("\"event\":\"train\""));
        let line: Line = serde_json::from_str(line.context("a run has left no losses")?)?;
        Ok((line.loss, std::fs::read_to_string(counts).unwrap_or_default()))
    }
}

/// `cargo xtask emulate`: builds the CUDA program and runs it, with these arguments, on the emulated device.
///
/// # Errors
/// If something can't be built or started.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let runs = Emulated::new()?.runs(arguments)?;
    Ok(if runs { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The golden cases for which the emulated device is fast enough: single operations, mixers, convolutions in TF32, networks in
/// `bf16`.
///
/// # Errors
/// If something can't be built or started.
pub(crate) fn golden_cases() -> Result<bool> {
    let (emulated, goldens) = (Emulated::new()?, workspace::root().join("tests/goldens"));
    let goldens = goldens.to_str().context("the workspace's folder is not UTF-8")?;
    let [core, mixers, nets] = ["core", "mixers", "nets"].map(|part| format!("{goldens}/{part}"));
    Ok(emulated.runs(&["parity", &core, &mixers, "--device", DEVICE, "--no-tf32"])?
        && emulated.runs(&["parity", &nets, "--device", DEVICE, "--only", "conv2d"])?
        && emulated.runs(&["parity", &nets, "--device", DEVICE, "--bf16"])?)
}

/// Whether runs that should give the same losses do: passes that are recorded, and the same kernel by kernel; pictures whose bytes
/// are sent while the device computes, and the same on the processor.
///
/// # Errors
/// If something can't be built or started, or a run fails.
pub(crate) fn runs_alike() -> Result<bool> {
    let emulated = Emulated::new()?;
    for precision in ["f32", "bf16"] {
        let precision = format!("network.precision={precision}");
        let options = ["--device", DEVICE, "--deterministic", "--set", &precision];
        let (recorded, counts) = emulated.losses("quick/adautomix", &options)?;
        ensure!(counts.contains("\tgraph\n"), "nothing was launched as a graph");
        let (single, _) = emulated.losses("quick/adautomix", &[&options[..], &["--no-graphs"]].concat())?;
        if !alike("recorded", &recorded, &single) {
            return Ok(false);
        }
    }
    let crops = "data.resized_crop={scale=[0.5,1.0],ratio=[0.75,1.33],interpolation=\"bilinear\"}";
    let options = |device| ["--device", device, "--set", "data.pad=0", "--set", crops];
    let (sent, counts) = emulated.losses("quick/vanilla", &options(DEVICE))?;
    // The emulated cuDNN ranks it before the one that is chosen, so it is tried, and is no more.
    let slow = "convolution, slowly\n";
    ensure!(counts.contains(&format!("\t{slow}")), "no slow engine was tried");
    ensure!(!counts.contains(&format!("recorded {slow}")), "a slow engine was chosen");
    let (here, _) = emulated.losses("quick/vanilla", &options("cpu"))?;
    Ok(alike("sent", &sent, &here))
}

/// Whether two runs have the same losses. Sums are put together in another way, so they may be rounded to the neighbour.
fn alike(what: &str, losses: &BTreeMap<String, f64>, others: &BTreeMap<String, f64>) -> bool {
    let near = |(one, value): (&f64, &f64)| (one - value).abs() <= 1e-6 * (1.0 + one.abs());
    let alike = losses.keys().eq(others.keys()) && losses.values().zip(others.values()).all(near);
    if !alike {
        println!("{what}: {losses:?}, expected {others:?}");
    }
    alike
}

/// The CUDA program, built for development.
///
/// # Errors
/// If it doesn't build.
pub(crate) fn program() -> Result<PathBuf> {
    let folder = workspace::metadata()?.target_directory.join("cuda");
    let mut build = workspace::cargo();
    build.args(["build", "--package", "adautomix", "--features", "cudnn", "--target-dir"]).arg(&folder);
    ensure!(build.status().context("cargo cannot be started")?.success(), "the CUDA program doesn't build");
    Ok(folder.join("debug/adautomix"))
}

/// Where the text of the device and of the kernels lies.
struct Sources {
    device: PathBuf,
    kernels: PathBuf,
    candle: PathBuf,
    toolkit: PathBuf,
}

impl Sources {
    fn find(toolkit: &Path) -> Result<Self> {
        let root = workspace::root();
        Ok(Self {
            device: root.join("tests/device"),
            kernels: root.join("crates/kernels/cuda"),
            candle: candle_kernels()?,
            toolkit: toolkit.join("include"),
        })
    }

    /// When the last of the files was written that are compiled and may change.
    fn newest(&self) -> Option<SystemTime> {
        let files = [&self.device, &self.kernels].into_iter().filter_map(|folder| folder.read_dir().ok());
        files.flatten().filter_map(|entry| modified(&entry.ok()?.path())).max()
    }

    /// The library with all that the program calls, in `folder`.
    fn compile(&self, folder: &Path) -> Result<()> {
        let mut objects = Vec::new();
        for unit in ["ours"].into_iter().chain(OF_CANDLE) {
            let text = match unit {
                "ours" => "#include \"kernels.h\"\n#include <vector_functions.h>\n#include \"kernels.cu\"\n"
                    .to_owned(),
                _ => format!("#include \"candle.h\"\n#include \"kernels.h\"\n#include \"{unit}.cu\"\n"),
            };
            let source = folder.join(format!("{unit}.cpp"));
            std::fs::write(&source, &text)?;
            // The preprocessor says which kernels there are, with those that macros make.
            let listing =
                workspace::output(self.compiler().args(["-DEMULATOR_LIST", "-E", "-P"]).arg(&source))?;
            let kernels: Vec<String> =
                kernels_in(&listing).map(|kernel| format!("EMULATED({kernel})")).collect();
            let known = format!("static const bool known = add_kernels({{{}}});\n", kernels.join(", "));
            std::fs::write(&source, text + &known)?;
            objects.push(self.object(&source, folder)?);
        }
        for part in ["driver", "memory", "cublas", "cudnn", "engines", "curand"] {
            objects.push(self.object(&self.device.join(part).with_extension("cpp"), folder)?);
        }
        let library = folder.join(LIBRARY);
        // Each file of candle's kernels has the functions that it shares with the others.
        let link = ["-shared", "-Wl,-z,muldefs", "-o"];
        workspace::output(Command::new("c++").args(link).arg(&library).args(&objects))?;
        for name in OTHER_NAMES {
            let link = folder.join(name);
            std::fs::remove_file(&link).ok();
            #[cfg(unix)]
            std::os::unix::fs::symlink(LIBRARY, &link).with_context(|| link.display().to_string())?;
        }
        Ok(())
    }

    fn object(&self, source: &Path, folder: &Path) -> Result<PathBuf> {
        let name = source.file_stem().context("a source without a name")?;
        let object = folder.join(name).with_extension("o");
        workspace::output(self.compiler().arg("-c").arg(source).arg("-o").arg(&object))?;
        Ok(object)
    }

    /// The C++ compiler. What it says of candle's text and the toolkit's headers isn't ours to mend.
    fn compiler(&self) -> Command {
        let mut command = Command::new("c++");
        command.args(["-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing"]);
        // Where a compiler checks jumps by itself, those from fiber to fiber end the program.
        command.args(["-fPIC", "-w", "-U_FORTIFY_SOURCE"]);
        let standard = self.toolkit.join("cccl");
        for folder in [&self.device, &self.kernels, &self.candle, &self.toolkit, &standard] {
            command.arg("-I").arg(folder);
        }
        command
    }
}

/// The names of the kernels in a preprocessed text: `emulated_kernel void NAME(`.
fn kernels_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("emulated_kernel").skip(1).filter_map(|rest| {
        let name = rest.trim_start().strip_prefix("void")?.split('(').next()?.trim();
        (!name.is_empty()).then_some(name)
    })
}

/// The folder with the text of candle's kernels.
fn candle_kernels() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        manifest_path: PathBuf,
    }
    let command = ["metadata", "--format-version=1", "--features", "adautomix/cudnn"];
    let metadata: Metadata = serde_json::from_str(&workspace::output(workspace::cargo().args(command))?)?;
    let package = metadata.packages.into_iter().find(|package| package.name == "candle-kernels");
    let manifest = package.context("candle-kernels isn't among the dependencies")?.manifest_path;
    Ok(manifest.with_file_name("src"))
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::kernels_in;

    #[test]
    fn kernels_are_found_in_preprocessed_text() {
        let text =
            "extern \"C\" emulated_kernel void one(int x) { }\nemulated_kernel  void\n two (float* y) {}";
        assert_eq!(kernels_in(text).collect::<Vec<_>>(), ["one", "two"]);
    }
}
