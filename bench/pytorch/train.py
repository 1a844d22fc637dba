"""Trains AdAutoMix or plain cross-entropy on CIFAR-10 for some steps and prints test accuracies as JSON.

The recipe is the published one for CIFAR-100 and ResNet-18: SGD with momentum 0.9 and weight decay 1e-4, a
cosine from the learning rate to half of it, teacher momentum 0.999 for a tenth of the run and then a cosine
to 0.999999. 500 steps of 100 pictures take a few minutes on two cores.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import cifar10
from adautomix import BACKBONES, AdAutoMix, ResNet, Settings, Vanilla, build_trainer, draw


@dataclass(frozen=True)
class LearningRate:
    """Half a cosine from `base` to `base / 2`, moving at every step or only between epochs."""

    base: float
    steps: int
    steps_per_epoch: int
    schedule_by: str

    def at(self, step: int) -> float:
        if self.schedule_by == "step":
            progress = step / self.steps
        else:
            epochs = math.ceil(self.steps / self.steps_per_epoch)
            progress = (step // self.steps_per_epoch) / epochs
        floor = self.base / 2
        return floor + 0.5 * (self.base - floor) * (1 + math.cos(math.pi * progress))


def teacher_momentum(step: int, steps: int) -> float:
    """0.999 for the first tenth of the run, then a cosine to 0.999999 whose phase counts from step 0."""
    start, end = 0.999, 0.999999
    if step < int(0.1 * steps):
        return start
    if step == 0:
        return 0.0
    return end - (end - start) * (math.cos(math.pi * step / steps) + 1) / 2


def batches(
    data: cifar10.Pictures, batch: int, steps: int, chance: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented batches, a new order in every epoch; the rest that doesn't fill a batch is left out."""
    made = 0
    while made < steps:
        order = torch.randperm(len(data), generator=chance)
        for chosen in order[: len(data) // batch * batch].split(batch):
            if made == steps:
                return
            yield cifar10.augment(data.images[chosen], chance), data.labels[chosen]
            made += 1


@torch.no_grad()
def top1(network: ResNet, head: str, data: cifar10.Pictures) -> float:
    """Percent of pictures whose largest logit is the label's, with running statistics."""
    was_training = network.training
    network.eval()
    correct = sum(
        (network(images, head).argmax(dim=1) == labels).sum().item()
        for images, labels in zip(data.images.split(500), data.labels.split(500))
    )
    network.train(was_training)
    return round(100.0 * correct / len(data), 2)


def accuracies(trainer: AdAutoMix | Vanilla, data: cifar10.Pictures) -> dict:
    if isinstance(trainer, Vanilla):
        return {"student": {"top1_one": top1(trainer.network, "fc", data)}}
    return {
        name: {"top1_one": top1(network, "head_one", data), "top1_mix": top1(network, "head_mix", data)}
        for name, network in (("student", trainer.student), ("teacher", trainer.teacher))
    }


def train(trainer: AdAutoMix | Vanilla, data: cifar10.Pictures, arguments: argparse.Namespace) -> float:
    """Runs all steps; returns the mean of the last 50 total losses."""
    chance = torch.Generator().manual_seed(arguments.seed)
    schedule = LearningRate(
        arguments.lr, arguments.steps, len(data) // arguments.batch, arguments.schedule_by
    )
    totals = []
    for step, (images, labels) in enumerate(batches(data, arguments.batch, arguments.steps, chance)):
        for group in trainer.optimizer.param_groups:
            group["lr"] = schedule.at(step)
        if isinstance(trainer, AdAutoMix):
            decided = draw(len(labels), trainer.settings.mixed_pictures, chance)
            momentum = teacher_momentum(step, arguments.steps)
            terms = trainer.step(images, labels, decided, trainer.is_adversarial(step), momentum)
        else:
            terms = trainer.step(images, labels)
        totals.append(terms["total"].item())
        if not math.isfinite(totals[-1]):
            sys.exit(f"step {step}: the loss is {totals[-1]}, expected a finite number")
        if (step + 1) % 50 == 0:
            recent = sum(totals[-50:]) / 50
            print(f"step {step + 1}/{arguments.steps}  loss {recent:.3f}", file=sys.stderr, flush=True)
    return sum(totals[-50:]) / len(totals[-50:])


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    settings = Settings(learning_rate=arguments.lr)
    trainer = build_trainer(arguments.method, arguments.backbone, cifar10.CLASSES, settings)
    train_data = cifar10.load(arguments.data, "train")
    test_data = cifar10.load(arguments.data, "test")
    start = time.perf_counter()
    last_loss = train(trainer, train_data, arguments)
    seconds = time.perf_counter() - start
    report = {
        "framework": "pytorch",
        "version": torch.__version__,
        "method": arguments.method,
        "backbone": arguments.backbone,
        "batch": arguments.batch,
        "steps": arguments.steps,
        "learning_rate": arguments.lr,
        "schedule_by": arguments.schedule_by,
        "seed": arguments.seed,
        "test_pictures": len(test_data),
        "train_seconds": round(seconds, 1),
        "loss_last_50": round(last_loss, 4),
        **accuracies(trainer, test_data),
    }
    print(json.dumps(report))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of train-*.parquet and test-*.parquet"
    )
    parser.add_argument("--method", choices=["adautomix", "vanilla"], default="adautomix")
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet20-cifar")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--schedule-by", choices=["epoch", "step"], default="epoch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
