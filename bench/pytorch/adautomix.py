"""AdAutoMix in plain PyTorch: the networks, the mask generator and one training step.

The step follows the published code, not the paper's text: the generator answers to the teacher only,
adversarial and plain iterations alternate, one backward pass serves classifier and generator, and the teacher
looks at every permuted copy of the batch. `docs/` lists where the two differ.

Shapes: B pictures in a batch, C channels, N pictures blended into one, K classes; maps are [B, C, H, W].
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)) + shortcut, inplace=True)


class ResNet(nn.Module):
    """A residual network with the CIFAR stem (3x3, no pooling) and one linear layer per name in `heads`."""

    def __init__(self, blocks: int, widths: tuple[int, ...], classes: int, heads: tuple[str, ...]):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stage_names = [f"layer{index + 1}" for index in range(len(widths))]
        channels = widths[0]
        for index, width in enumerate(widths):
            stage = [BasicBlock(channels, width, stride=1 if index == 0 else 2)]
            stage += [BasicBlock(width, width, stride=1) for _ in range(blocks - 1)]
            self.add_module(self.stage_names[index], nn.Sequential(*stage))
            channels = width
        for head in heads:
            self.add_module(head, nn.Linear(channels, classes))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, BasicBlock):
                # A block starts as its shortcut.
                nn.init.zeros_(module.bn2.weight)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The output of every stage."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        maps = []
        for name in self.stage_names:
            x = getattr(self, name)(x)
            maps.append(x)
        return maps

    def forward(self, images: Tensor, head: str) -> Tensor:
        """Logits [B, K] of one head."""
        return getattr(self, head)(self.maps(images)[-1].mean(dim=(2, 3)))


@dataclass(frozen=True)
class BackboneConfig:
    """A network, and the size of the map that its generator reads (the one before the last stage)."""

    blocks: int
    widths: tuple[int, ...]
    map_channels: int
    map_stride: int

    def build(self, classes: int, heads: tuple[str, ...]) -> ResNet:
        return ResNet(self.blocks, self.widths, classes, heads)


BACKBONES = {
    "resnet18-cifar": BackboneConfig(2, (64, 128, 256, 512), map_channels=256, map_stride=4),
    "resnet20-cifar": BackboneConfig(3, (16, 32, 64), map_channels=32, map_stride=2),
}

ONE_HEAD = ("fc",)
TWO_HEADS = ("head_one", "head_mix")


class MaskGenerator(nn.Module):
    """Cross attention between the feature maps of N pictures, giving one mask each (Eq. 5 and 6).

    This is the published CIFAR setting: the map does not carry lambda, queries and keys pass a ReLU, the
    products are divided by sqrt(d), and the softmax over the pictures follows the bilinear upsampling.
    """

    def __init__(self, channels: int, upsampling: int, reduction: int = 2):
        super().__init__()
        width = max(channels // reduction, 1)
        self.conv_q = nn.Conv2d(channels, width, 1)
        self.conv_k = nn.Conv2d(channels, width, 1)
        self.conv_v = nn.Conv2d(channels, 1, 1)
        self.upsampling = upsampling
        for convolution in (self.conv_q, self.conv_k, self.conv_v):
            nn.init.normal_(convolution.weight, std=0.01)
            nn.init.zeros_(convolution.bias)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Masks [B, N, H, W] that sum to 1 at every pixel, from N maps [B, C, h, w]."""
        height, width = features[0].shape[2:]
        queries = [F.relu(self.conv_q(feature)).flatten(2) for feature in features]
        keys = [F.relu(self.conv_k(feature)).flatten(2) for feature in features]
        values = [self.conv_v(feature).flatten(2) for feature in features]
        scale = queries[0].shape[1] ** 0.5
        planes = []
        for index, (query, value) in enumerate(zip(queries, values)):
            others = sum(key for position, key in enumerate(keys) if position != index)
            attention = torch.softmax(query.transpose(1, 2) @ others / scale, dim=2)
            planes.append((attention @ value.transpose(1, 2)).view(-1, height, width))
        masks = F.interpolate(
            torch.stack(planes, dim=1), scale_factor=self.upsampling, mode="bilinear", align_corners=False
        )
        return torch.softmax(masks, dim=1)


@dataclass(frozen=True)
class Settings:
    """The method's constants; the defaults are those published for CIFAR-100 and ResNet-18."""

    mixed_pictures: int = 3
    alpha: float = 0.5
    beta: float = 0.3
    mask_margin: float = 0.03
    adversarial_interval: int = 2
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4


@dataclass(frozen=True)
class Draw:
    """What chance decides in a step: N permutations for each of the two mixes, and the N mixing weights."""

    generator_permutations: list[Tensor]
    classifier_permutations: list[Tensor]
    lambdas: list[float]


def draw(batch: int, pictures: int, chance: torch.Generator) -> Draw:
    """Permutations, and independent uniform weights over their sum (Beta(1, 1), not a Dirichlet draw)."""
    weights = torch.rand(pictures, dtype=torch.float64, generator=chance).clamp_min(1e-12)
    permutations = [torch.randperm(batch, generator=chance) for _ in range(2 * pictures)]
    lambdas = (weights / weights.sum()).tolist()
    return Draw(permutations[:pictures], permutations[pictures:], lambdas)


def blend(pictures: list[Tensor], masks: Tensor) -> Tensor:
    """sum_i picture_i * mask_i (Eq. 7)."""
    return sum(picture * masks[:, index : index + 1] for index, picture in enumerate(pictures))


def mixed_cross_entropy(logits: Tensor, labels: list[Tensor], lambdas: list[float]) -> Tensor:
    """sum_i lambda_i CE(logits, labels_i): Eq. 3, and Eq. 4 when the logits are those of the linear mix."""
    log_probabilities = F.log_softmax(logits, dim=1)
    return sum(weight * F.nll_loss(log_probabilities, label) for weight, label in zip(lambdas, labels))


def apply_margin(masks: Tensor, lambdas: list[float], margin: float) -> Tensor:
    """Replaces extreme masks by the linear mix, as the authors' code does for N > 2.

    Only the first weight is looked at and only the first three channels are written.
    """
    if margin < lambdas[0] and margin <= 1.0 - lambdas[0]:
        return masks
    masks = masks.clone()
    for channel, weight in enumerate(lambdas[:3]):
        masks[:, channel] = weight
    return masks


class Vanilla:
    """Plain cross-entropy training."""

    def __init__(self, network: ResNet, settings: Settings):
        self.network = network.train()
        self.optimizer = sgd(network.parameters(), settings)

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        loss = F.cross_entropy(self.network(images, "fc"), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return {"total": loss.detach()}


class AdAutoMix:
    """Student, teacher and generator, trained together by the published rule for three and more pictures."""

    def __init__(self, student: ResNet, generator: MaskGenerator, settings: Settings):
        if settings.mixed_pictures < 3:
            raise ValueError("mixed_pictures must be at least 3: the published rule for 2 is another one")
        self.settings = settings
        self.student = student.train()
        self.generator = generator.train()
        # The teacher stays in training mode: it normalises by the batch and keeps its own running statistics.
        self.teacher = copy.deepcopy(student).requires_grad_(False)
        self.optimizer = sgd([*student.parameters(), *generator.parameters()], settings)

    def is_adversarial(self, iteration: int) -> bool:
        return iteration % self.settings.adversarial_interval == 0

    def step(
        self, images: Tensor, labels: Tensor, chance: Draw, adversarial: bool, teacher_momentum: float
    ) -> dict[str, Tensor]:
        """One iteration; returns the loss terms, detached."""
        for_generator = [images[index] for index in chance.generator_permutations]
        with torch.no_grad():
            feature = self.teacher.maps(images)[-2]
        generator_terms = self._generator_loss(for_generator, feature, labels, chance, adversarial)
        classifier_terms = self._classifier_loss(images, feature, labels, chance)
        total = classifier_terms["classifier"] + generator_terms["generator"]
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self._move_teacher(teacher_momentum)
        terms = {**classifier_terms, **generator_terms, "total": total}
        return {name: term.detach() for name, term in terms.items()}

    def _generator_loss(
        self, pictures: list[Tensor], feature: Tensor, labels: Tensor, chance: Draw, adversarial: bool
    ) -> dict[str, Tensor]:
        permutations = chance.generator_permutations
        masks = self.generator([feature[index] for index in permutations])
        mixed_logits = self.teacher(blend(pictures, masks), "head_mix")
        with torch.no_grad():
            # The published code makes these passes in every iteration, also where nothing uses their logits:
            # they still move the teacher's running statistics.
            clean_logits = [self.teacher(picture, "head_mix") for picture in pictures]
        cross_entropy = mixed_cross_entropy(
            mixed_logits, [labels[index] for index in permutations], chance.lambdas
        )
        similarity = sum(
            weight * F.cosine_similarity(mixed_logits, logits, dim=1).mean()
            for weight, logits in zip(chance.lambdas, clean_logits)
        )
        beta = self.settings.beta
        loss = -beta * cross_entropy + (1 - beta) * similarity if adversarial else cross_entropy
        return {"amce_mb_teacher": cross_entropy, "cosine": similarity, "generator": loss}

    def _classifier_loss(
        self, images: Tensor, feature: Tensor, labels: Tensor, chance: Draw
    ) -> dict[str, Tensor]:
        permutations, lambdas = chance.classifier_permutations, chance.lambdas
        pictures = [images[index] for index in permutations]
        labels_of_mix = [labels[index] for index in permutations]
        with torch.no_grad():
            masks = self.generator([feature[index] for index in permutations])
            generated = blend(pictures, apply_margin(masks, lambdas, self.settings.mask_margin))
        linear = sum(weight * picture for weight, picture in zip(lambdas, pictures))
        clean = F.cross_entropy(self.student(images, "head_one"), labels)
        mce = mixed_cross_entropy(self.student(linear, "head_mix"), labels_of_mix, lambdas)
        amce_bb = mixed_cross_entropy(self.student(generated, "head_mix"), labels_of_mix, lambdas)
        alpha = self.settings.alpha
        loss = amce_bb + alpha * mce + (1 - alpha) * clean
        return {"clean": clean, "mce": mce, "amce_bb": amce_bb, "classifier": loss}

    @torch.no_grad()
    def _move_teacher(self, momentum: float) -> None:
        """Averages the parameters; running statistics stay the teacher's own."""
        for average, parameter in zip(self.teacher.parameters(), self.student.parameters()):
            average.lerp_(parameter, 1.0 - momentum)


def sgd(parameters, settings: Settings) -> torch.optim.SGD:
    """SGD with weight decay on every parameter, in PyTorch's fused form, the fastest that it has."""
    return torch.optim.SGD(
        parameters,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def build_trainer(method: str, backbone: str, classes: int, settings: Settings) -> AdAutoMix | Vanilla:
    """A freshly initialised trainer: `adautomix` or `vanilla`."""
    config = BACKBONES[backbone]
    if method == "vanilla":
        return Vanilla(config.build(classes, ONE_HEAD), settings)
    generator = MaskGenerator(config.map_channels, config.map_stride)
    return AdAutoMix(config.build(classes, TWO_HEADS), generator, settings)
