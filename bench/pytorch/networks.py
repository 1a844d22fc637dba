"""timm's Swin-T, DeiT-S and ConvNeXt-T under plain training as the recipes for CIFAR-100 have it: AdamW, label smoothing,
stochastic depth."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Network:
    """A network of timm's, and the numbers of its recipe."""

    name: str
    side: int
    drop_path: float = 0.0
    clip_norm: float | None = None
    small_stem: bool = False
    classes: int = 100


NETWORKS = {
    "swin_tiny_patch4_window7_224": Network("swin_tiny_patch4_window7_224", 224, drop_path=0.2, clip_norm=5.0),
    "deit_small_patch16_224": Network("deit_small_patch16_224", 224, drop_path=0.1, clip_norm=10.0),
    "convnext_tiny-cifar": Network("convnext_tiny", 32, drop_path=0.3, small_stem=True),
}


class Plain:
    """Cross-entropy training of a network of timm's."""

    def __init__(self, backbone: str):
        import timm

        self.config = NETWORKS[backbone]
        self.network = timm.create_model(
            self.config.name, num_classes=self.config.classes, drop_path_rate=self.config.drop_path
        ).train()
        if self.config.small_stem:
            self.network.stem[0] = nn.Conv2d(3, 96, 3, 1, 1)
        decayed = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.network.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=5e-4, fused=True)

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        loss = F.cross_entropy(self.network(images), labels, label_smoothing=0.1)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return {"total": loss.detach()}
