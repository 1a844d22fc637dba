"""Times torchvision's ImageFolder and DataLoader on a folder of JPEG files, beside our loader's example `throughput`."""

import argparse
import json
import time
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import __version__ as torchvision_version
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)
    paths = sorted(arguments.folder.glob("*/*.jpg"))
    report = {
        "framework": "torchvision",
        "version": torchvision_version,
        "pictures": len(paths),
        "decode_libjpeg_turbo": rate(len(paths), lambda: decode_all(paths)),
        "decode_pillow": rate(len(paths), lambda: [Image.open(path).convert("RGB") for path in paths]),
    }
    for workers in (1, 2):
        report[f"loader_{workers}_workers"] = load(arguments.folder, workers, arguments.batch, arguments.epochs)
    if arguments.json:
        print(json.dumps(report))
    else:
        for field, value in report.items():
            print(f"{field:22} {value}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of folders of JPEG files, one for each class")
    parser.add_argument("--batch", type=int, default=100, help="pictures in a batch")
    parser.add_argument("--epochs", type=int, default=2, help="passes over the folder that are timed")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a list")
    return parser.parse_args()


def decode_all(paths: list[Path]) -> None:
    for path in paths:
        data = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
        decode_jpeg(data, mode=ImageReadMode.RGB)


def rate(pictures: int, work) -> float:
    """Pictures a second, of one thread."""
    start = time.perf_counter()
    work()
    return round(pictures / (time.perf_counter() - start), 1)


def load(folder: Path, workers: int, batch: int, epochs: int) -> float:
    """Pictures a second that worker processes read, crop, resize, mirror, normalise and batch."""
    steps = [
        transforms.RandomResizedCrop(224, interpolation=transforms.InterpolationMode.BILINEAR),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
    dataset = ImageFolder(str(folder), transforms.Compose(steps))
    # Workers are kept, and a first pass isn't timed, so that their start doesn't count.
    loader = DataLoader(
        dataset, batch_size=batch, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=True
    )
    for _ in loader:
        pass
    pictures, start = 0, time.perf_counter()
    for _ in range(epochs):
        for images, _ in loader:
            pictures += len(images)
    return round(pictures / (time.perf_counter() - start), 1)


if __name__ == "__main__":
    main()
