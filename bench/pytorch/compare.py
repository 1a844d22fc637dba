"""Times `adautomix bench step` and the PyTorch peer alternately and prints ratios; below 1 the Rust one wins.

A ratio belongs to one round, in which both ran within the same minute, and the table has the median over
rounds, so that a machine that drifts touches both alike. Run it on a machine that does nothing else: the
threads of PyTorch wait for each other by spinning and lose more than their share when another process wants
a core.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

PEER = Path(__file__).with_name("step.py")


def main() -> None:
    arguments = parse_arguments()
    if os.getloadavg()[0] > 0.5:
        print(
            f"warning: load average is {os.getloadavg()[0]:.2f}, these times will be rough", file=sys.stderr
        )
    summaries = [compare(method, arguments) for method in arguments.methods]
    if arguments.json:
        print(json.dumps(summaries))
    else:
        print_table(summaries, arguments)


def compare(method: str, arguments: argparse.Namespace) -> dict:
    """All rounds of one method; the program that goes first changes from round to round."""
    options = ["--backbone", arguments.backbone, "--batch", str(arguments.batch), "--method", method]
    options += ["--threads", str(arguments.threads), "--steps", str(arguments.steps)]
    options += ["--warmup", str(arguments.warmup), "--json"]
    commands = {
        "adautomix": [str(arguments.adautomix.resolve()), "bench", "step", *options],
        "pytorch": [sys.executable, str(PEER), *options],
    }
    rounds = []
    for number in range(arguments.rounds):
        order = list(commands) if number % 2 == 0 else list(reversed(commands))
        reports = {name: measure(commands[name]) for name in order}
        rounds.append(reports)
        times = "  ".join(f"{name} {reports[name]['ms_per_step']:.0f} ms" for name in commands)
        print(f"{method} round {number + 1}/{arguments.rounds}: {times}", file=sys.stderr, flush=True)
    return summarise(method, rounds)


def measure(command: list[str]) -> dict:
    """Runs one program and reads the JSON that it prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}")
    return json.loads(done.stdout)


def summarise(method: str, rounds: list[dict]) -> dict:
    def median(name: str, field: str) -> float:
        return statistics.median(reports[name][field] for reports in rounds)

    def ratios(field: str) -> list[float]:
        return [reports["adautomix"][field] / reports["pytorch"][field] for reports in rounds]

    return {
        "method": method,
        "rounds": len(rounds),
        "adautomix_ms": round(median("adautomix", "ms_per_step"), 1),
        "pytorch_ms": round(median("pytorch", "ms_per_step"), 1),
        "time_ratio": round(statistics.median(ratios("ms_per_step")), 3),
        "time_ratio_lowest": round(min(ratios("ms_per_step")), 3),
        "time_ratio_highest": round(max(ratios("ms_per_step")), 3),
        "adautomix_mb": round(median("adautomix", "peak_memory_mb")),
        "pytorch_mb": round(median("pytorch", "peak_memory_mb")),
        "memory_ratio": round(statistics.median(ratios("peak_memory_mb")), 3),
    }


def print_table(summaries: list[dict], arguments: argparse.Namespace) -> None:
    print(
        f"{arguments.backbone}, batch {arguments.batch}, {arguments.threads} threads,"
        f" median of {arguments.rounds} rounds\n"
    )
    print("| method | ours, ms | PyTorch, ms | time ratio | range | ours, MB | PyTorch, MB | memory ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in summaries:
        print(
            f"| {row['method']} | {row['adautomix_ms']} | {row['pytorch_ms']} | **{row['time_ratio']:.2f}** |"
            f" {row['time_ratio_lowest']:.2f}-{row['time_ratio_highest']:.2f} | {row['adautomix_mb']} |"
            f" {row['pytorch_mb']} | **{row['memory_ratio']:.2f}** |"
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adautomix", type=Path, required=True, help="the release build of the Rust program")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--methods", nargs="+", choices=["adautomix", "vanilla"], default=["adautomix", "vanilla"]
    )
    parser.add_argument("--backbone", default="resnet18-cifar")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="JSON instead of a Markdown table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
