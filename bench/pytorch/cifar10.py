"""CIFAR-10 from parquet files, and the published pipeline: reflect-padded random crop, flip, normalise."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy
import pyarrow.parquet as parquet
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

CLASSES = 10
SIDE = 32
PADDING = 4
MEAN = (0.4914, 0.4822, 0.4465)
DEVIATION = (0.2023, 0.1994, 0.2010)


@dataclass(frozen=True)
class Pictures:
    """Normalised pictures [n, 3, 32, 32] in f32 and labels [n]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def load(folder: Path, split: str) -> Pictures:
    """Reads every `<split>-*.parquet` of a folder: columns `img` (its field `bytes`) and `label`."""
    files = sorted(folder.glob(f"{split}-*.parquet"))
    if not files:
        raise FileNotFoundError(f"{folder}: expected {split}-*.parquet")
    pixels, labels = [], []
    for file in files:
        table = parquet.read_table(file, columns=["img", "label"])
        pixels += [decode(picture["bytes"]) for picture in table["img"].to_pylist()]
        labels += table["label"].to_pylist()
    images = torch.from_numpy(numpy.stack(pixels)).permute(0, 3, 1, 2).float().div_(255.0)
    images.sub_(torch.tensor(MEAN).view(3, 1, 1)).div_(torch.tensor(DEVIATION).view(3, 1, 1))
    return Pictures(images.contiguous(), torch.tensor(labels))


def decode(encoded: bytes) -> numpy.ndarray:
    """RGB bytes [32, 32, 3]."""
    return numpy.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def augment(images: Tensor, chance: torch.Generator) -> Tensor:
    """A random crop of each reflect-padded picture, mirrored in half of the cases."""
    batch = len(images)
    padded = F.pad(images, [PADDING] * 4, mode="reflect")
    top, left = torch.randint(2 * PADDING + 1, (2, batch, 1), generator=chance)
    mirrored = torch.rand(batch, 1, generator=chance) < 0.5
    span = torch.arange(SIDE)
    rows = top + span
    columns = left + torch.where(mirrored, span.flip(0), span)
    picture = torch.arange(batch).view(batch, 1, 1, 1)
    channel = torch.arange(3).view(1, 3, 1, 1)
    return padded[picture, channel, rows[:, None, :, None], columns[:, None, None, :]]
