"""Times the convolutions of ResNet-18 for CIFAR one by one: forward, input gradient and weight gradient."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Layer:
    """A convolution without bias; `size` is its input map's side, `count` how often the network has it."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    size: int
    count: int

    def name(self) -> str:
        return (
            f"{self.in_channels}->{self.out_channels} {self.kernel}x{self.kernel} s{self.stride} @{self.size}"
        )

    def gigaflops(self, batch: int) -> float:
        """Multiplications and additions of one direction, in units of 10^9."""
        outputs = batch * self.out_channels * (self.size // self.stride) ** 2
        return 2e-9 * outputs * self.in_channels * self.kernel**2


LAYERS = [
    Layer(3, 64, 3, 1, 32, 1),
    Layer(64, 64, 3, 1, 32, 4),
    Layer(64, 128, 3, 2, 32, 1),
    Layer(64, 128, 1, 2, 32, 1),
    Layer(128, 128, 3, 1, 16, 3),
    Layer(128, 256, 3, 2, 16, 1),
    Layer(128, 256, 1, 2, 16, 1),
    Layer(256, 256, 3, 1, 8, 3),
    Layer(256, 512, 3, 2, 8, 1),
    Layer(256, 512, 1, 2, 8, 1),
    Layer(512, 512, 3, 1, 4, 3),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15, help="timed calls, of which the median counts")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows = [measure(layer, arguments.batch, arguments.repeats) for layer in LAYERS]
    if arguments.json:
        print(
            json.dumps(
                {
                    "framework": "pytorch",
                    "version": torch.__version__,
                    "batch": arguments.batch,
                    "threads": arguments.threads,
                    "device": "cpu",
                    "layers": rows,
                }
            )
        )
    else:
        print_table(rows)


def measure(layer: Layer, batch: int, repeats: int) -> dict:
    """Median milliseconds of the three directions; an input gradient is measured for the stem too."""
    padding = layer.kernel // 2
    x = torch.randn(batch, layer.in_channels, layer.size, layer.size)
    weight = torch.randn(layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)

    def forward() -> torch.Tensor:
        return torch.nn.functional.conv2d(x, weight, stride=layer.stride, padding=padding)

    cotangent = torch.randn_like(forward())

    def backward(mask: list[bool]) -> Callable[[], object]:
        return lambda: torch.ops.aten.convolution_backward(
            cotangent, x, weight, None, [layer.stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, mask
        )

    directions = {
        "forward_ms": forward,
        "dgrad_ms": backward([True, False, False]),
        "wgrad_ms": backward([False, True, False]),
    }
    row = {"layer": layer.name(), "count": layer.count, "gigaflops": round(layer.gigaflops(batch), 4)}
    with torch.no_grad():
        row.update({name: round(median_ms(call, repeats), 3) for name, call in directions.items()})
    return row


def median_ms(call: Callable[[], object], repeats: int) -> float:
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1000.0 * (time.perf_counter() - start))
    return statistics.median(times)


def print_table(rows: list[dict]) -> None:
    """Milliseconds and, in brackets, GFLOP/s."""
    print(f"{'layer':22} {'count':>5} {'forward':>17} {'dgrad':>17} {'wgrad':>17}")
    for row in rows:
        cells = [
            f"{row[name]:8.2f} ({row['gigaflops'] / row[name] * 1000:6.1f})"
            for name in ("forward_ms", "dgrad_ms", "wgrad_ms")
        ]
        print(f"{row['layer']:22} {row['count']:5} " + " ".join(f"{cell:>17}" for cell in cells))


if __name__ == "__main__":
    main()
