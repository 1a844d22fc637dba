"""Methods that look at nothing but the pictures."""

import math

import numpy as np
import torch
from torch import Tensor

from .common import by_mask, inside, paste, paste_resized, scaled_box, weight_outside


def mixup(x: Tensor, perm: Tensor, lam: float) -> dict:
    return {"mixed": torch.lerp(x[perm], x, lam), "lam": lam}


def manifoldmix(hidden: Tensor, perm: Tensor, lam: float) -> dict:
    return mixup(hidden, perm, lam)


def cutmix(x: Tensor, perm: Tensor, lam: float, center: tuple[int, int]) -> dict:
    size = tuple(x.shape[2:])
    box = scaled_box(size, math.sqrt(1.0 - lam), center)
    mixed = paste(x, inside(x, box)[perm], box)
    return {"mixed": mixed, "lam": weight_outside(size, box), "box": box}


def cutout(x: Tensor, center: Tensor, length: int) -> dict:
    """Each hole of each sample has its own `center`, [N, holes, 2]."""
    half = length // 2

    def covered(axis: int, side: int) -> Tensor:
        distance = torch.arange(side) - center[:, :, axis, None]
        return (distance >= -half) & (distance < half)

    holes = covered(0, x.shape[2])[:, :, :, None] & covered(1, x.shape[3])[:, :, None, :]
    return {"image": x.masked_fill(holes.any(dim=1, keepdim=True), 0.0)}


def resizemix(x: Tensor, perm: Tensor, tau: float, center: tuple[int, int], mode: str = "nearest") -> dict:
    size = tuple(x.shape[2:])
    box = scaled_box(size, tau, center)
    mixed = paste_resized(x, x[perm], box, mode, align_corners=False)
    return {"mixed": mixed, "lam": weight_outside(size, box), "box": box}


def fmix_grey(noise: Tensor, height: int, width: int, decay_power: float, variant: str = "paper") -> Tensor:
    """Noise [H, W // 2 + 1 (or 2), 2] whose high frequencies are damped, as a picture from 0 to 1."""
    rows = torch.fft.fftfreq(height, dtype=torch.float64)
    columns = torch.arange(noise.shape[1], dtype=torch.float64) / width
    if width % 2 == 1:
        columns[-1] = -((width - 1) // 2) / width
    frequency = torch.hypot(rows[:, None], columns[None, :]).clamp_min(1.0 / max(height, width))
    spectrum = noise.double() / (frequency**decay_power)[:, :, None]
    if variant == "paper":
        spectrum = torch.complex(spectrum[..., 0], spectrum[..., 1])[:, : width // 2 + 1]
    else:
        # The published code takes rows 0 and 1 for the real and the imaginary part.
        spectrum = torch.complex(spectrum[0], spectrum[1])
    grey = torch.fft.irfft2(spectrum.contiguous(), s=(height, width))
    grey = grey - grey.min()
    return (grey / grey.max()).float()


def fmix_mask(grey: Tensor, lam: float, rounding: str, max_soft: float) -> Tensor:
    """1 in the `lam` lightest pixels, with a ramp of `max_soft` on either side of the threshold."""
    count = grey.numel()
    ones = (math.ceil if rounding == "ceil" else math.floor)(lam * count)
    share = min(lam, 1.0 - lam) if max_soft > min(lam, 1.0 - lam) else max_soft
    low, high = ones - int(count * share), ones + int(count * share)
    values = torch.zeros(count)
    values[:low] = 1.0
    values[low:high] = torch.linspace(1.0, 0.0, high - low)[: max(count - low, 0)]
    mask = torch.empty(count)
    mask[grey.flatten().argsort(descending=True)] = values
    return mask.view_as(grey)


def fmix(
    x: Tensor,
    perm: Tensor,
    noise: Tensor,
    lam: float,
    rounding: str,
    decay_power: float = 3.0,
    max_soft: float = 0.0,
    variant: str = "paper",
) -> dict:
    grey = fmix_grey(noise, *x.shape[2:], decay_power, variant)
    mask = fmix_mask(grey, lam, rounding, max_soft)
    return {"mixed": by_mask(x, x[perm], mask), "lam": lam, "mask": mask}


def gridmix(
    x: Tensor,
    perm: Tensor,
    lam: float,
    n_holes: int,
    hole_aspect_ratio: float,
    cut_area_ratio: float,
    cut_aspect_ratio: float,
    place: tuple[float, float],
) -> dict:
    """`place`: where the crop stands, two numbers from 0 to 1."""
    height, width = x.shape[2:]
    area = int(height * width * cut_area_ratio)
    crop_width = int(math.sqrt(area / cut_aspect_ratio))
    crop_height = int(crop_width * cut_aspect_ratio)
    row, column = int((height - crop_height) * place[0]), int((width - crop_width) * place[1])
    patch_width = math.ceil(crop_width / n_holes)
    patch_height = int(patch_width * hole_aspect_ratio)
    hole = [
        min(max(int(side * math.sqrt(1.0 - lam)), 1), side - 1) for side in (patch_height, patch_width)
    ]
    # Bounds below 0 count from the other side, as published code has it: NumPy's slices do the same.
    mask = np.zeros((height, width), dtype=np.float32)
    for i in range(n_holes + 1):
        left = min(patch_width * i, crop_width)
        right = min(left + hole[1], crop_width)
        for j in range(math.ceil(crop_height / patch_height) + 1):
            top = min(patch_height * j, crop_height)
            bottom = min(top + hole[0], crop_height)
            mask[row + top : row + bottom, column + left : column + right] = 1.0
    mask = torch.from_numpy(mask)
    return {"mixed": by_mask(x[perm], x, mask), "lam": 1.0 - mask.mean(), "mask": mask}


def smoothmix(x: Tensor, perm: Tensor, shift: tuple[int, int], sigma: float, label: str = "paper") -> dict:
    def squares(side: int, offset: int) -> Tensor:
        return (torch.arange(side) - (side - 1) / 2 - offset) ** 2

    distance = squares(x.shape[2], shift[0])[:, None] + squares(x.shape[3], shift[1])[None, :]
    kernel = torch.exp(-distance / (2.0 * sigma**2))
    mean = kernel.mean()
    lam = 1.0 - mean if label == "paper" else mean
    return {"mixed": by_mask(x[perm], x, kernel), "lam": lam, "kernel": kernel}


def recursivemix(
    x: Tensor,
    old_x: Tensor,
    target: Tensor,
    old_target: Tensor,
    ratio: float,
    center: tuple[int, int],
    mode: str = "nearest",
) -> dict:
    """`old_x`, `old_target`: the mixed batch of the step before."""
    size, count = tuple(x.shape[2:]), len(x)
    box = scaled_box(size, math.sqrt(ratio), center)
    mixed = paste_resized(x, old_x[:count], box, mode, align_corners=True)
    lam = weight_outside(size, box)
    targets = torch.lerp(old_target[:count], target, lam)
    return {"mixed": mixed, "lam": lam, "box": box, "target": targets}
