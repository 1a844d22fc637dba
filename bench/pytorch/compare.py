"""Times `adautomix bench step` and the PyTorch peer alternately and prints ratios; below 1 the Rust one wins.
With `--mixers` it is `adautomix bench mixers`, and what mixing a batch takes.

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
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    arguments = parse_arguments()
    if os.getloadavg()[0] > 0.5:
        print(
            f"warning: load average is {os.getloadavg()[0]:.2f}, these times will be rough", file=sys.stderr
        )
    if arguments.mixers:
        rounds = alternate("mixers", [], arguments)
        rows, show = summarise_mixers(rounds), print_mixers
    else:
        rows, show = [compare(method, arguments) for method in arguments.methods], print_table
    if arguments.json:
        print(json.dumps(rows))
    else:
        show(rows, arguments)


def compare(method: str, arguments: argparse.Namespace) -> dict:
    """All rounds of one method."""
    peer = ["--backbone", arguments.backbone, "--method", method]
    ours = peer if arguments.recipe is None else ["--recipe", arguments.recipe]
    options = ["--steps", str(arguments.steps), "--warmup", str(arguments.warmup)]
    rounds = alternate("step", options, arguments, ours, peer)
    for number, reports in enumerate(rounds, start=1):
        times = "  ".join(f"{name} {report['ms_per_step']:.0f} ms" for name, report in reports.items())
        print(f"{method} round {number}: {times}", file=sys.stderr)
    return summarise(method, rounds)


def alternate(
    what: str, options: list[str], arguments: argparse.Namespace, ours: Sequence[str] = (), peer: Sequence[str] = ()
) -> list[dict]:
    """The reports of both programs in each round; the one that goes first changes from round to round."""
    options = [*options, "--batch", str(arguments.batch), "--threads", str(arguments.threads), "--json"]
    commands = {
        "adautomix": [str(arguments.adautomix.resolve()), "bench", what, *ours, *options],
        "pytorch": [sys.executable, str(HERE / f"{what}.py"), *peer, *options],
    }
    rounds = []
    for number in range(arguments.rounds):
        order = list(commands) if number % 2 == 0 else list(reversed(commands))
        reports = {name: measure(commands[name]) for name in order}
        rounds.append({name: reports[name] for name in commands})
        print(f"{what}: round {number + 1} of {arguments.rounds} is done", file=sys.stderr, flush=True)
    return rounds


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


def summarise_mixers(rounds: list[dict]) -> list[dict]:
    """A row for each method of the Rust program, with its peer's times where it has one."""
    times = [
        {name: {row["method"]: row["mix_ms"] for row in report["mixers"]} for name, report in reports.items()}
        for reports in rounds
    ]
    step = statistics.median(reports["adautomix"]["step_ms"] for reports in rounds)
    rows = []
    for method in times[0]["adautomix"]:
        ours = statistics.median(reports["adautomix"][method] for reports in times)
        row = {"method": method, "adautomix_ms": ours, "step_share": ours / step, "pytorch_ms": None}
        if method in times[0]["pytorch"]:
            ratios = [reports["adautomix"][method] / reports["pytorch"][method] for reports in times]
            row |= {
                "pytorch_ms": statistics.median(reports["pytorch"][method] for reports in times),
                "time_ratio": statistics.median(ratios),
                "time_ratio_lowest": min(ratios),
                "time_ratio_highest": max(ratios),
            }
        rows.append(row)
    return rows


def print_mixers(rows: list[dict], arguments: argparse.Namespace) -> None:
    print(f"batch {arguments.batch}, {arguments.threads} threads, median of {arguments.rounds} rounds\n")
    print("| method | ours, ms | of a plain step | PyTorch, ms | time ratio | range |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for row in rows:
        peer = "| | |"
        if row["pytorch_ms"] is not None:
            lowest, highest = row["time_ratio_lowest"], row["time_ratio_highest"]
            peer = f"{row['pytorch_ms']:.2f} | **{row['time_ratio']:.2f}** | {lowest:.2f}-{highest:.2f} |"
        print(f"| {row['method']} | {row['adautomix_ms']:.2f} | {100 * row['step_share']:.2f} % | {peer}")


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
    parser.add_argument("--mixers", action="store_true", help="compare the mixers instead of whole steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--methods", nargs="+", choices=["adautomix", "vanilla"], default=["adautomix", "vanilla"]
    )
    parser.add_argument("--backbone", default="resnet18-cifar")
    parser.add_argument("--recipe", help="of the Rust program, whose network is --backbone: networks of timm's")
    parser.add_argument("--batch", type=int, help="pictures [default: 32, and 100 for mixers]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="JSON instead of a Markdown table")
    arguments = parser.parse_args()
    if arguments.batch is None:
        arguments.batch = 100 if arguments.mixers else 32
    return arguments


if __name__ == "__main__":
    main()
