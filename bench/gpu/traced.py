"""Where the time of a step goes: what `trace.cpp` has seen on the device, by kinds of kernels and kernel by kernel."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from part import ROOT, Part, environment, last_json, read

# Kernels of cuDNN, cuBLAS and their like that multiply, and those that only bring maps into their order.
PRODUCTS = re.compile(r"gemm|xmma|cutlass|conv|fprop|dgrad|wgrad|winograd|implicit|nvjet|gemv", re.IGNORECASE)
ORDERS = re.compile(r"nchwToNhwc|nhwcToNchw|nchw2nhwc|nhwc2nchw|tensorTransform|transpose_readWrite", re.IGNORECASE)
KINDS = ("products", "changes of layout for products", "copies and fillings", "other kernels")


def kind_of(name: str) -> str:
    if name.startswith(("copy", "filling")):
        return KINDS[2]
    return KINDS[1] if ORDERS.search(name) else KINDS[0] if PRODUCTS.search(name) else KINDS[3]


def tracer(part: Part) -> Path | None:
    """The library that notes what runs on the device, compiled against CUPTI, wherever that is."""
    homes = [Path(folder).parent for folder in environment()["LD_LIBRARY_PATH"].split(":")]
    for toolkit in (Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")), Path("/usr/local/cuda")):
        homes += [toolkit, toolkit / "extras/CUPTI"]
    headers = [home / "include" for home in homes if (home / "include/cupti.h").exists() or (home / "include/cuda.h").exists()]
    libraries = [found for home in homes for folder in ("lib", "lib64") for found in sorted((home / folder).glob("libcupti.so*"))]
    compiler = next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), None)
    if not libraries or not compiler:
        part.failed.append(["the tracer", "no C++ compiler" if libraries else "CUPTI isn't there"])
        return None
    library = Path(tempfile.mkdtemp()) / "libtrace.so"
    command = [compiler, "-std=c++17", "-O2", "-shared", "-fPIC", *(f"-I{folder}" for folder in headers)]
    command += [str(ROOT / "bench/gpu/trace.cpp"), "-o", str(library), str(libraries[-1]), f"-Wl,-rpath,{libraries[-1].parent}"]
    return None if "failed" in part.run(command, 60) else library


TRACED_STEPS = 10


def profile(part: Part, library: Path | None, label: str, command: list[str], floor_ms: float | None) -> None:
    """Which kernels ten steps have run, and what the time of a step is made of."""
    title = f"Where a step goes: {label}"
    if not library:
        part.table(title, ["what"], [["there is no tracer"]])
        return
    trace = library.with_name("trace.tsv")
    trace.unlink(missing_ok=True)
    steps = ["--steps", str(TRACED_STEPS), "--warmup", "10"]
    result = part.run([*command, *steps], 100, CUDA_INJECTION64_PATH=str(library), TRACE_FILE=str(trace))
    found, lines = last_json(result), [line.split("\t", 3) for line in read(trace).splitlines()]
    records = sorted((int(start), int(end), name) for start, end, _, name in (line for line in lines if len(line) == 4))
    if not found or not records:
        part.table(title, ["what"], [[result.get("failed", "nothing was traced")]])
        return
    # The steps are timed together, and nothing comes after them.
    last = max(end for _, end, _ in records)
    first = last - found["ms_per_step"] * 1e6 * TRACED_STEPS
    busy, reached, times, kinds = 0.0, first, {}, dict.fromkeys(KINDS, 0.0)
    for start, end, name in records:
        if start < first:
            continue
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
        times.setdefault(name, []).append(end - start)
        kinds[kind_of(name)] += end - start
    ms = {kind: time / 1e6 / TRACED_STEPS for kind, time in kinds.items()}
    idle = (last - first - busy) / 1e6 / TRACED_STEPS
    rows = [["a step, while it is traced", f"{found['ms_per_step']:.2f}"]]
    rows += [[kind, f"{time:.2f}"] for kind, time in ms.items()]
    rows += [["products at the measured ceiling", f"{floor_ms:.2f}"]] if floor_ms else []
    rows += [["nothing runs", f"{idle:.2f}"]]
    part.table(title, ["what", "ms a step"], rows)
    ranked = sorted(times.items(), key=lambda item: -sum(item[1]))
    part.figures.setdefault("traces", {})[label] = {
        "ms_per_step": found["ms_per_step"],
        "floor_ms": floor_ms,
        "idle_ms": idle,
        "kinds_ms": ms,
        "kernels": [[name, sum(each) / 1e6 / TRACED_STEPS, len(each) / TRACED_STEPS] for name, each in ranked[:60]],
    }
    costliest = [(name[:90], len(each) / TRACED_STEPS, sum(each) / 1e6 / TRACED_STEPS) for name, each in ranked[:12]]
    rows = [[f"`{name}`", f"{count:.1f}", f"{ms:.3f}"] for name, count, ms in costliest]
    part.table(f"Costliest kernels: {label}", ["kernel", "a step", "ms a step"], rows)
