"""Times what each mixing method does to a random batch, in the fields of `adautomix bench mixers --json`."""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch

from mixing.draws import PEERS, Batch, Chance, make_batch


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.check:
        # Only this needs the package `safetensors`.
        from mixing import golden

        sys.exit(0 if golden.check(arguments.check) else 1)
    batch = make_batch(arguments.batch, arguments.size)
    methods = [name for name in PEERS if not arguments.methods or name.split()[0] in arguments.methods]
    with torch.no_grad():
        rows = [measure(name, batch, arguments) for name in methods]
    report = {
        "framework": "pytorch",
        "version": torch.__version__,
        "device": "cpu",
        "batch": arguments.batch,
        "size": arguments.size,
        "threads": arguments.threads,
        "draws": arguments.draws,
        "mixers": rows,
    }
    if arguments.json:
        print(json.dumps(report))
        return
    print(f"batch {arguments.batch}, {arguments.size} x {arguments.size}, {arguments.threads} threads")
    print(f"{'method':32} {'sample, ms':>12} {'mix, ms':>12}")
    for row in rows:
        print(f"{row['method']:32} {row['sample_ms']:12.3f} {row['mix_ms']:12.3f}")


def measure(name: str, batch: Batch, arguments: argparse.Namespace) -> dict:
    """The mean over draws: of the time to draw, and of the median time to mix."""
    samples, mixes = [], []
    for draw in range(arguments.draws):
        start = time.perf_counter()
        mix = PEERS[name](batch, Chance(draw))
        samples.append(milliseconds(start))
        mix()
        times = []
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            mix()
            times.append(milliseconds(start))
        mixes.append(statistics.median(times))
    return {
        "method": name,
        "sample_ms": round(statistics.fmean(samples), 4),
        "mix_ms": round(statistics.fmean(mixes), 4),
    }


def milliseconds(start: float) -> float:
    return 1000.0 * (time.perf_counter() - start)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="compare with golden cases instead")
    parser.add_argument(
        "--methods", type=lambda names: names.split(","), metavar="NAME,NAME", help="only these methods"
    )
    parser.add_argument("--batch", type=int, default=100, help="pictures of a batch")
    parser.add_argument("--size", type=int, default=32, help="side of the pictures, a multiple of 16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--draws", type=int, default=8, help="how many draws; their mean counts")
    parser.add_argument("--repeats", type=int, default=5, help="how often each is mixed; the median counts")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    arguments = parser.parse_args()
    for name in ("batch", "size", "threads", "draws", "repeats"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if arguments.size % 16:
        parser.error("--size must be a multiple of 16")
    return arguments


if __name__ == "__main__":
    main()
