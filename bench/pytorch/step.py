"""Times training steps on random pictures, in the fields that `adautomix bench step --json` prints too."""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch

from adautomix import BACKBONES, IMAGENET, AdAutoMix, Settings, Vanilla, build_trainer, draw
from networks import NETWORKS, Plain

TEACHER_MOMENTUM = 0.999
# Steps that are timed together on a device.
TOGETHER = 10


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    step = prepare(arguments)
    times = time_steps(step, arguments.warmup, arguments.steps, arguments.device)
    report = {
        "framework": "pytorch",
        "version": torch.__version__,
        "backbone": arguments.backbone,
        "method": arguments.method,
        "batch": arguments.batch,
        "threads": arguments.threads,
        "device": arguments.device,
        "precision": arguments.precision,
        "compiled": arguments.compile,
        "steps": arguments.steps,
        "ms_per_step": round(statistics.median(times), 2),
        "ms_per_step_min": round(min(times), 2),
        "images_per_second": round(1000.0 * arguments.batch / statistics.median(times), 2),
        "peak_memory_mb": round(peak_memory_mb(), 1),
    }
    if arguments.json:
        print(json.dumps(report))
    else:
        for field, value in report.items():
            print(f"{field:18} {value}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", choices=[*BACKBONES, *NETWORKS], default="resnet18-cifar")
    parser.add_argument("--batch", type=int, default=32, help="pictures in a step")
    parser.add_argument("--method", choices=["adautomix", "vanilla"], default="adautomix")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="steps that are timed")
    parser.add_argument("--warmup", type=int, default=2, help="steps before the first that is timed")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for a device and channels-last tensors")
    parser.add_argument(
        "--precision", choices=["f32", "tf32", "bf16"], default="f32", help="of products; bf16 by autocast"
    )
    parser.add_argument(
        "--compile", nargs="?", const="default", choices=["default", "reduce-overhead"], metavar="MODE",
        help="torch.compile the networks; reduce-overhead makes CUDA graphs of them"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a list")
    arguments = parser.parse_args()
    for name, least in (("batch", 2), ("threads", 1), ("steps", 1), ("warmup", 0)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name} must be at least {least}")
    if arguments.backbone in NETWORKS and arguments.method != "vanilla":
        parser.error(f"{arguments.backbone} is timed with --method vanilla only")
    return arguments


def prepare(arguments: argparse.Namespace) -> Callable[[int], None]:
    """A function that makes the step of a given number, on data fixed in advance."""
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    settings = IMAGENET if arguments.backbone == "resnet50" else Settings()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arguments.precision != "f32"
    torch.backends.cudnn.benchmark = True
    if arguments.backbone in NETWORKS:
        config = NETWORKS[arguments.backbone]
        trainer = Plain(arguments.backbone)
    else:
        config = BACKBONES[arguments.backbone]
        trainer = build_trainer(arguments.method, arguments.backbone, config.classes, settings)
    place(trainer, device, arguments.compile)
    chance = torch.Generator().manual_seed(1)
    images = torch.randn(arguments.batch, 3, config.side, config.side, generator=chance).to(device)
    if device.type == "cuda":
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(config.classes, (arguments.batch,), generator=chance).to(device)

    def step(iteration: int) -> None:
        if arguments.compile:
            # Networks are called several times in a step. With CUDA graphs, what they gave is overwritten from here on only.
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bf16"):
            if isinstance(trainer, AdAutoMix):
                decided = draw(arguments.batch, settings.mixed_pictures, chance)
                trainer.step(images, labels, decided, trainer.is_adversarial(iteration), TEACHER_MOMENTUM)
            else:
                trainer.step(images, labels)

    return step


def place(trainer: AdAutoMix | Vanilla | Plain, device: torch.device, mode: str | None) -> None:
    """Moves the networks to a device, where the optimizer's parameters stay the same, and compiles them in a mode."""
    names = ("student", "teacher", "generator") if isinstance(trainer, AdAutoMix) else ("network",)
    for network in (getattr(trainer, name) for name in names):
        if device.type == "cuda":
            network.to(device, memory_format=torch.channels_last)
        if mode and hasattr(network, "maps"):
            network.maps = torch.compile(network.maps, mode=mode)
        elif mode:
            network.forward = torch.compile(network.forward, mode=mode)


def time_steps(step: Callable[[int], None], warmup: int, steps: int, device: str) -> list[float]:
    """Milliseconds of each step after the warm-up. On a device, where the host may be ahead, steps are timed in tens, which
    end when the device has made them, and each has the mean of its ten."""
    together, synchronise = (1, lambda: None) if device == "cpu" else (TOGETHER, torch.cuda.synchronize)
    for iteration in range(warmup):
        step(iteration)
    times = []
    for first in range(warmup, warmup + steps, together):
        group = range(first, min(first + together, warmup + steps))
        synchronise()
        start = time.perf_counter()
        for iteration in group:
            step(iteration)
        synchronise()
        times += [1000.0 * (time.perf_counter() - start) / len(group)] * len(group)
    return times


def peak_memory_mb() -> float:
    """The largest resident size that this process had, in MiB; PyTorch's own libraries count."""
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main()
