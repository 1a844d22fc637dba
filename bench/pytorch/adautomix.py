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

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        past = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)) + past, inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, with a shortcut; the stride is the 3x3's."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        past = x if self.downsample is None else self.downsample(x)
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        return F.relu(self.bn3(self.conv3(out)) + past, inplace=True)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """What a block's input goes through before it is added, where its shape changes."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class ResNet(nn.Module):
    """A residual network with one linear layer per name in `heads`. The small stem, for CIFAR, is a 3x3 convolution without
    pooling."""

    def __init__(self, config: "BackboneConfig", classes: int, heads: tuple[str, ...]):
        super().__init__()
        widths = config.widths
        if config.small_stem:
            self.conv1, self.pool = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.Identity()
        else:
            self.conv1, self.pool = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stage_names = [f"layer{index + 1}" for index in range(len(widths))]
        channels = widths[0]
        for index, (width, blocks) in enumerate(zip(widths, config.blocks)):
            stage = []
            for block in range(blocks):
                stage.append(config.block(channels, width, stride=2 if index > 0 and block == 0 else 1))
                channels = width * config.block.expansion
            self.add_module(self.stage_names[index], nn.Sequential(*stage))
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
            if isinstance(module, (BasicBlock, Bottleneck)):
                # A block starts as its shortcut.
                nn.init.zeros_(module.last_norm.weight)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The output of every stage."""
        x = self.pool(F.relu(self.bn1(self.conv1(images)), inplace=True))
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
    """A network, the side of its pictures, and its classes; its generator reads the map before the last stage."""

    block: type[nn.Module]
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    small_stem: bool = True
    side: int = 32
    classes: int = 100

    @property
    def map_channels(self) -> int:
        return self.widths[-2] * self.block.expansion

    @property
    def map_stride(self) -> int:
        return 2 ** (len(self.widths) - 2) * (1 if self.small_stem else 4)

    def build(self, classes: int, heads: tuple[str, ...]) -> ResNet:
        return ResNet(self, classes, heads)


BACKBONES = {
    "resnet18-cifar": BackboneConfig(BasicBlock, (2, 2, 2, 2), (64, 128, 256, 512)),
    "resnet20-cifar": BackboneConfig(BasicBlock, (3, 3, 3), (16, 32, 64)),
    "resnet50": BackboneConfig(
        Bottleneck, (3, 4, 6, 3), (64, 128, 256, 512), small_stem=False, side=224, classes=1000
    ),
}

ONE_HEAD = ("fc",)
TWO_HEADS = ("head_one", "head_mix")


class MaskGenerator(nn.Module):
    """Cross attention between the feature maps of N pictures, giving one mask each (Eq. 5 and 6).

    Queries and keys pass a ReLU, the products are divided by sqrt(d), and the softmax over the pictures follows the bilinear
    upsampling. With `lambda_plane`, as published for ImageNet and not for CIFAR, a map carries its picture's lambda.
    """

    def __init__(self, channels: int, upsampling: int, lambda_plane: bool = False, reduction: int = 2):
        super().__init__()
        width = max(channels // reduction, 1)
        channels += lambda_plane
        self.lambda_plane = lambda_plane
        self.conv_q = nn.Conv2d(channels, width, 1)
        self.conv_k = nn.Conv2d(channels, width, 1)
        self.conv_v = nn.Conv2d(channels, 1, 1)
        self.upsampling = upsampling
        for convolution in (self.conv_q, self.conv_k, self.conv_v):
            nn.init.normal_(convolution.weight, std=0.01)
            nn.init.zeros_(convolution.bias)

    def forward(self, features: list[Tensor], lambdas: list[Tensor]) -> Tensor:
        """Masks [B, N, H, W] that sum to 1 at every pixel, from N maps [B, C, h, w] and, with `lambda_plane`, N numbers."""
        height, width = features[0].shape[2:]
        if self.lambda_plane:
            # In the map's order of memory; an expanded number has none, and `cat` would put the channels of a pixel apart.
            planes = [torch.empty_like(feature[:, :1]).copy_(weight) for feature, weight in zip(features, lambdas)]
            features = [torch.cat(pair, dim=1) for pair in zip(features, planes)]
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
    """The method's constants; the defaults are those published for CIFAR-100 and ResNet-18. Two pictures follow the published
    rule for two: no linear mix, weights and masks of their own for either mix."""

    mixed_pictures: int = 3
    alpha: float = 0.5
    beta: float = 0.3
    mask_margin: float = 0.03
    lambda_plane: bool = False
    adversarial_interval: int = 2
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4


IMAGENET = Settings(mixed_pictures=2, beta=0.1, lambda_plane=True)


@dataclass(frozen=True)
class Mix:
    """What chance decides of a mix: N permutations and the N mixing weights."""

    permutations: list[Tensor]
    lambdas: list[float]


@dataclass(frozen=True)
class Draw:
    """The mixes that train the generator and the classifier in a step."""

    generator: Mix
    classifier: Mix

    def to(self, device: torch.device) -> "Draw":
        """The same with its permutations on a device. They are sent in one piece, and the host doesn't wait for it."""
        if device.type == "cpu":
            return self
        mixes = (self.generator, self.classifier)
        orders = torch.stack([order for mix in mixes for order in mix.permutations])
        orders = orders.pin_memory().to(device, non_blocking=True)
        return Draw(*(Mix(list(half), mix.lambdas) for half, mix in zip(orders.chunk(2), mixes)))


def draw(batch: int, pictures: int, chance: torch.Generator) -> Draw:
    """Permutations, and independent uniform weights over their sum (Beta(1, 1), not a Dirichlet draw). Two pictures are each
    sample with another, by one uniform weight for each mix; more share their weights between the mixes."""
    if pictures == 2:
        first = torch.rand(2, dtype=torch.float64, generator=chance).tolist()
        orders = [[torch.arange(batch), torch.randperm(batch, generator=chance)] for _ in range(2)]
        return Draw(*(Mix(order, [weight, 1.0 - weight]) for order, weight in zip(orders, first)))
    weights = torch.rand(pictures, dtype=torch.float64, generator=chance).clamp_min(1e-12)
    permutations = [torch.randperm(batch, generator=chance) for _ in range(2 * pictures)]
    lambdas = (weights / weights.sum()).tolist()
    return Draw(Mix(permutations[:pictures], lambdas), Mix(permutations[pictures:], lambdas))


def blend(pictures: list[Tensor], masks: Tensor) -> Tensor:
    """sum_i picture_i * mask_i (Eq. 7)."""
    return sum(picture * masks[:, index : index + 1] for index, picture in enumerate(pictures))


def mixed_cross_entropy(logits: Tensor, labels: list[Tensor], lambdas: list[float]) -> Tensor:
    """sum_i lambda_i CE(logits, labels_i): Eq. 3, and Eq. 4 when the logits are those of the linear mix."""
    log_probabilities = F.log_softmax(logits, dim=1)
    return sum(weight * F.nll_loss(log_probabilities, label) for weight, label in zip(lambdas, labels))


def apply_margin(masks: Tensor, lambdas: list[float], margin: float) -> Tensor:
    """Replaces extreme masks by the linear mix, as the authors' code does.

    Only the first weight is looked at and only the first three channels are written. An end of the range belongs to it for
    two pictures and not for more.
    """
    rest = 1.0 - lambdas[0]
    if margin < lambdas[0] and (margin < rest if len(lambdas) == 2 else margin <= rest):
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
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.network(images, "fc"), labels)
        loss.backward()
        self.optimizer.step()
        return {"total": loss.detach()}


class AdAutoMix:
    """Student, teacher and generator, trained together by the published rules."""

    def __init__(self, student: ResNet, generator: MaskGenerator, settings: Settings):
        self.settings = settings
        self.student = student.train()
        self.generator = generator.train()
        # The teacher stays in training mode: it normalises by the batch and keeps its own running statistics.
        self.teacher = copy.deepcopy(student).requires_grad_(False)
        self.averages, self.averaged = [*self.teacher.parameters()], [*student.parameters()]
        self.optimizer = sgd([*student.parameters(), *generator.parameters()], settings)

    def is_adversarial(self, iteration: int) -> bool:
        return iteration % self.settings.adversarial_interval == 0

    def step(
        self, images: Tensor, labels: Tensor, chance: Draw, adversarial: bool, teacher_momentum: float
    ) -> dict[str, Tensor]:
        """One iteration; returns the loss terms, detached."""
        chance = chance.to(images.device)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            feature = self.teacher.maps(images)[-2]
        generator_terms = self._generator_loss(images, feature, labels, chance.generator, adversarial)
        classifier_terms = self._classifier_loss(images, feature, labels, chance.classifier)
        total = classifier_terms["classifier"] + generator_terms["generator"]
        total.backward()
        self.optimizer.step()
        self._move_teacher(teacher_momentum)
        terms = {**classifier_terms, **generator_terms, "total": total}
        return {name: term.detach() for name, term in terms.items()}

    def _masks(self, feature: Tensor, mix: Mix) -> Tensor:
        """Masks of a mix, from the teacher's map of the batch. Lambdas go in as tensors: torch.compile would make a program for
        each number."""
        lambdas = [feature.new_full((), weight) for weight in mix.lambdas] if self.generator.lambda_plane else []
        return self.generator([feature[index] for index in mix.permutations], lambdas)

    def _generator_loss(
        self, images: Tensor, feature: Tensor, labels: Tensor, mix: Mix, adversarial: bool
    ) -> dict[str, Tensor]:
        permutations, lambdas = mix.permutations, mix.lambdas
        pictures = [images[index] for index in permutations]
        masks = self._masks(feature, mix)
        mixed_logits = self.teacher(blend(pictures, masks), "head_mix")
        with torch.no_grad():
            # The published code makes these passes in every iteration, also where nothing uses their logits:
            # they still move the teacher's running statistics.
            clean_logits = [self.teacher(picture, "head_mix") for picture in pictures]
        cross_entropy = mixed_cross_entropy(mixed_logits, [labels[index] for index in permutations], lambdas)
        similarity = sum(
            weight * F.cosine_similarity(mixed_logits, logits, dim=1).mean()
            for weight, logits in zip(lambdas, clean_logits)
        )
        beta = self.settings.beta
        loss = -beta * cross_entropy + (1 - beta) * similarity if adversarial else cross_entropy
        return {"amce_mb_teacher": cross_entropy, "cosine": similarity, "generator": loss}

    def _classifier_loss(
        self, images: Tensor, feature: Tensor, labels: Tensor, mix: Mix
    ) -> dict[str, Tensor]:
        permutations, lambdas = mix.permutations, mix.lambdas
        pictures = [images[index] for index in permutations]
        labels_of_mix = [labels[index] for index in permutations]
        with torch.no_grad():
            masks = self._masks(feature, mix)
            generated = blend(pictures, apply_margin(masks, lambdas, self.settings.mask_margin))
        terms = {"clean": F.cross_entropy(self.student(images, "head_one"), labels)}
        plain = terms["clean"]
        if len(pictures) > 2:
            linear = sum(weight * picture for weight, picture in zip(lambdas, pictures))
            terms["mce"] = mixed_cross_entropy(self.student(linear, "head_mix"), labels_of_mix, lambdas)
            alpha = self.settings.alpha
            plain = alpha * terms["mce"] + (1 - alpha) * terms["clean"]
        terms["amce_bb"] = mixed_cross_entropy(self.student(generated, "head_mix"), labels_of_mix, lambdas)
        return {**terms, "classifier": terms["amce_bb"] + plain}

    @torch.no_grad()
    def _move_teacher(self, momentum: float) -> None:
        """Averages the parameters; running statistics stay the teacher's own."""
        torch._foreach_lerp_(self.averages, self.averaged, 1.0 - momentum)


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
    generator = MaskGenerator(config.map_channels, config.map_stride, settings.lambda_plane)
    return AdAutoMix(config.build(classes, TWO_HEADS), generator, settings)
