"""RecallNet: from photographs around a wanted view, and what the memory knows of it, to the view.

Coarse to fine: all planes at low resolution, then a few depths for every pixel of each finer level, at last the colours
of real photographs blended by learned weights. Trained, not tuned by hand; where no photograph saw a point, the memory's
colour is shown.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsm_ros.recall.planes import (
    PLANES,
    Landings,
    Photographs,
    Wanted,
    landings,
    log_inverse_depth_at,
    step_of_depth,
)

COARSE_SIDE = 32
"""The shorter side of the coarsest view has about so many pixels."""
POSE_CHANNELS = 5
CARRIED = 4
"""Channels that the planes' volume hands on to finer levels."""
_PRIOR_CHANNELS = 3
TYPICAL_VARIANCE = 8e-4
"""Of colours in [0, 1] over photographs that show the same point."""
UNSEEN_DISAGREEMENT = 3.0


@dataclass(frozen=True)
class RecallConfig:
    """The architecture.

    Attributes:
        features: channels of a photograph's features.
        coarse: channels of the planes' volume.
        fine: channels of a pixel's depths at finer levels.
        blend: channels of the choice between photographs.
        depths: depths that are looked at for every pixel of a finer level, of the largest pixels to the smallest; the
            last entry stands for all further ones.
    """

    features: int = 8
    coarse: int = 16
    fine: int = 16
    blend: int = 16
    depths: tuple[int, ...] = (8, 4, 2)

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one that is not positive.
        """
        for name, value in asdict(self).items():
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                    raise ValueError(f"recall configuration: {name} must be positive, got {value}")
        if not self.depths:
            raise ValueError("recall configuration: depths must not be empty")


@dataclass(frozen=True, eq=False)
class Prior:
    """What the fast weights know of the wanted views.

    Attributes:
        colour: ``[B, 3, H, W]`` in [0, 1].
        log_inverse_depth: ``[B, 1, H, W]``, natural logarithm, one over metres along the optical axis; ``None`` where
            the memory has no geometry head.
        scale: ``[B, 1, H, W]`` of the Laplace distribution around it.
    """

    colour: Tensor
    log_inverse_depth: Tensor | None = None
    scale: Tensor | None = None

    def at(self, level: int) -> Prior:
        """The same with pixels ``2 ** level`` times as large."""
        if level == 0:
            return self

        def pooled(x: Tensor | None) -> Tensor | None:
            return None if x is None else _pooled(x, 2**level)

        return Prior(_pooled(self.colour, 2**level), pooled(self.log_inverse_depth), pooled(self.scale))


@dataclass(frozen=True, eq=False)
class Depths:
    """Depths that a level looked at.

    Attributes:
        level: pixels are ``2 ** level`` times as large as those wanted.
        step: ``[B, N, H, W]``, see :mod:`fsm_ros.recall.planes`.
        logits: ``[B, N, H, W]`` how much speaks for each.
    """

    level: int
    step: Tensor
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Recalled:
    """What is known of the wanted views.

    Attributes:
        colour: ``[B, 3, H, W]`` RGB, about in [0, 1].
        blended: the same before it was refined.
        share: ``[B, 1, H, W]`` in [0, 1]: how much of it comes from photographs.
        log_inverse_depth: ``[B, 1, H, W]``, natural logarithm, one over metres along the optical axis.
        log_depth_scale: ``[B, 1, H, W]`` logarithm of its expected error.
        log_error: ``[B, 1, H, W]`` logarithm of the expected error of a colour, mean over channels of its absolute.
        depths: what each level looked at, coarsest first.
        baseline_m: ``[B]``.
    """

    colour: Tensor
    blended: Tensor
    share: Tensor
    log_inverse_depth: Tensor
    log_depth_scale: Tensor
    log_error: Tensor
    depths: tuple[Depths, ...]
    baseline_m: Tensor


class RecallNet(nn.Module):
    """The learned part of recall. No state of its own: everything comes in and goes out as values."""

    def __init__(self, config: RecallConfig) -> None:
        """Make a net with random weights. Args: the architecture."""
        super().__init__()
        self.config = config
        self.photograph = PhotographFeatures(config.features)
        self.importance = nn.Sequential(nn.Linear(POSE_CHANNELS, 16), nn.ReLU(), nn.Linear(16, 1))
        self.coarse = CoarseDepth(2 * (config.features + 3) + 4 + 1 + _PRIOR_CHANNELS, config.coarse)
        self.fine = FineDepth(2 * (config.features + 3) + 4 + _PRIOR_CHANNELS + 2 + CARRIED, config.fine)
        self.blend = Blend(config.fine, config.blend)
        self.finish = Finish(config.fine)

    def forward(
        self, wanted: Wanted, photographs: Photographs, prior: Prior, depths: tuple[int, ...] | None = None
    ) -> Recalled:
        """Recall some views.

        Args:
            wanted: the views.
            photographs: around them, of about the wanted resolution.
            prior: of the wanted size.
            depths: how many are looked at in the finer levels, instead of what the configuration says.
        """
        counts = depths or self.config.depths
        levels = level_count(wanted)
        pyramid = [photographs.images]
        for _ in range(levels):
            pyramid.append(_pooled(pyramid[-1].flatten(0, 1), 2).unflatten(0, photographs.present.shape))
        baseline = photographs.baseline_m
        pose = pose_channels(photographs, baseline)
        importance = self.importance(pose).squeeze(-1).clamp(-6.0, 6.0).exp() * photographs.present
        evidence = _Evidence(photographs, importance, baseline)

        step = torch.arange(PLANES, device=baseline.device, dtype=torch.float32).view(1, -1, 1, 1)
        view, known = wanted.at(levels), prior.at(levels)
        step = step.expand(len(baseline), -1, view.height, view.width)
        features = self.photograph(pyramid[levels - 1])
        found = evidence.gather(view, known, step, (features, levels), (pyramid[levels], levels))
        plane = (step / PLANES)[:, :, None]
        logits, volume = self.coarse(torch.cat([found.channels, plane], dim=2), found.signs)
        looked = [Depths(levels, step, logits)]
        for level in range(levels - 1, -1, -1):
            view, known = wanted.at(level), prior.at(level)
            count = counts[min(levels - 1 - level, len(counts) - 1)]
            step = next_steps(looked[-1], known, baseline, view, count)
            if level >= 1:
                features = self.photograph(pyramid[level - 1])
            found = evidence.gather(view, known, step, (features, max(level, 1)), (pyramid[level], level))
            earlier = _from_planes(torch.cat([logits.log_softmax(dim=1)[:, :, None] / 8, volume], dim=2), step, 2 ** (levels - level))
            offset = (step - step[:, :1])[:, :, None]
            x, logits_here = self.fine(torch.cat([found.channels, earlier, offset], dim=2), found.signs)
            looked.append(Depths(level, step, logits_here))
        best = _settled(looked[-1])
        hidden = hidden_behind(looked[-1], best, found.landings)
        weights, memory = self.blend(x, found.colours, found.landings.seen, hidden, pose, prior.colour)
        return self._finished(x, weights, memory, found, prior, looked, best, baseline)

    def _finished(
        self,
        x: Tensor,
        weights: Tensor,
        memory: Tensor,
        found: _Found,
        prior: Prior,
        depths: list[Depths],
        best: Tensor,
        baseline: Tensor,
    ) -> Recalled:
        beta = depths[-1].logits.log_softmax(dim=1)
        # A depth at which no photograph saw the point leaves its part to the memory.
        parts = weights * beta.exp()[:, None]
        gate = torch.sigmoid(memory)
        parts = parts * (1.0 - gate)[:, None]
        share = parts.sum(dim=(1, 2))[:, None]
        blended = (parts[:, :, :, None] * found.colours).sum(dim=(1, 2)) + (1.0 - share) * prior.colour
        spread = (parts[:, :, :, None] * (found.colours - blended[:, None, None]).abs()).sum(dim=(1, 2)).mean(1, True)
        entropy = -(beta.exp() * beta).sum(dim=1, keepdim=True)
        refinement, log_error, log_depth_scale = self.finish(
            x, torch.cat([blended, prior.colour, share, spread, entropy], dim=1)
        )
        return Recalled(
            colour=blended + refinement,
            blended=blended,
            share=share,
            log_inverse_depth=log_inverse_depth_at(best, baseline)[:, None],
            log_depth_scale=log_depth_scale,
            log_error=log_error,
            depths=tuple(depths),
            baseline_m=baseline,
        )


@dataclass(frozen=True, eq=False)
class _Found:
    """Channels ``[B, N, C, H, W]`` for every depth, what they say at first sight ``[B, N, 2, H, W]``, colours
    ``[B, K, N, 3, H, W]``, and where they were looked up."""

    channels: Tensor
    signs: Tensor
    colours: Tensor
    landings: Landings


class _Evidence:
    """What the photographs and the memory say about points on the rays of a view."""

    def __init__(self, photographs: Photographs, importance: Tensor, baseline: Tensor) -> None:
        self._photographs = photographs
        self._importance = importance
        self._baseline = baseline

    def gather(
        self, view: Wanted, prior: Prior, step: Tensor, features: tuple[Tensor, int], colours: tuple[Tensor, int]
    ) -> _Found:
        """At steps ``[B, N, H, W]``, from features and colours of levels of the pyramid."""
        landed = landings(view, self._photographs, step, self._baseline, colours[1])
        rgb = _sampled(colours[0], landed.grid, "bicubic" if colours[1] == 0 else "bilinear")
        if features[1] == colours[1]:
            grid = landed.grid
        else:
            grid = landings(view, self._photographs, step, self._baseline, features[1]).grid
        looks = _sampled(features[0], grid, "bilinear")
        weight = landed.seen * self._importance[:, :, None, None, None]
        weight = (weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-6))[:, :, :, None]
        colour, colour_deviation = _moments(rgb, weight)
        look, look_deviation = _moments(looks, weight)
        share = landed.seen.to(rgb).mean(dim=1)[:, :, None]
        unlike = (colour - prior.colour[:, None]).abs() * (share > 0)
        channels = [look, colour, look_deviation, colour_deviation, unlike, share, *self._prior(prior, step)]
        signs = torch.stack([_disagreement(colour_deviation, landed.seen), channels[6][:, :, 0]], dim=2)
        return _Found(torch.cat(channels, dim=2), signs, rgb, landed)

    def _prior(self, prior: Prior, step: Tensor) -> list[Tensor]:
        """How likely the memory takes each step for, how sure it is, and whether it says anything."""
        if prior.log_inverse_depth is None or prior.scale is None:
            nothing = torch.zeros_like(step)[:, :, None]
            return [nothing, nothing, nothing]
        here = log_inverse_depth_at(step, self._baseline)
        away = ((here - prior.log_inverse_depth).abs() / prior.scale).clamp(max=12.0) / 4
        sure = prior.scale.clamp(1e-3, 1e3).log().expand_as(step)
        return [away[:, :, None], sure[:, :, None] / 4, torch.ones_like(away)[:, :, None]]


class PhotographFeatures(nn.Module):
    """Features of a photograph at half its size."""

    def __init__(self, channels: int) -> None:
        """Args: how many."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """``[B, K, 3, H, W]`` to ``[B, K, C, H / 2, W / 2]``, rounded up."""
        flat: Tensor = self.layers(2 * images.flatten(0, 1) - 1)
        return flat.unflatten(0, images.shape[:2])


class PlaneConv(nn.Module):
    """A 3x3x3 convolution over planes, as one over images: several times as fast on a CPU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Args: channels in and out."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, 3 * outputs, 3, padding=1)

    def forward(self, volume: Tensor) -> Tensor:
        """``[B, D, C, H, W]`` to the same with other channels."""
        parts = self.conv(volume.flatten(0, 1)).unflatten(0, volume.shape[:2])
        nearer, here, further = parts.chunk(3, dim=2)
        first, last = (0,) * 6 + (1, 0), (0,) * 6 + (0, 1)
        return here + F.pad(nearer[:, :-1], first) + F.pad(further[:, 1:], last)


class CoarseDepth(nn.Module):
    """Which of all planes a pixel lies on."""

    def __init__(self, inputs: int, channels: int) -> None:
        """Args: channels in, and inside."""
        super().__init__()
        wide = 2 * channels
        self.reduce = nn.Conv2d(inputs, channels, 1)
        self.first = PlaneConv(channels, channels)
        self.down = nn.Conv2d(channels, wide, 3, stride=2, padding=1)
        self.inner = nn.ModuleList([PlaneConv(wide, wide), PlaneConv(wide, wide)])
        self.context = nn.Conv2d(wide, wide, 3, padding=1)
        self.up = nn.Conv2d(wide, channels, 1)
        self.last = PlaneConv(channels, channels)
        self.out = nn.Conv2d(channels, 1 + CARRIED, 1)
        self.first_sight = FirstSight()

    def forward(self, channels: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, D, C, H, W]`` and signs to logits ``[B, D, H, W]`` and features ``[B, D, CARRIED, H, W]``."""
        batch, planes = channels.shape[:2]
        height, width = channels.shape[-2:]
        x = F.relu(self.reduce(channels.flatten(0, 1))).unflatten(0, (batch, planes))
        x = x + F.relu(self.first(x))
        y = F.relu(self.down(x.flatten(0, 1))).unflatten(0, (batch, planes))
        for layer in self.inner:
            y = y + F.relu(layer(y))
            y = y + F.relu(self.context(y.amax(dim=1)))[:, None]
        up = F.interpolate(self.up(y.flatten(0, 1)), scale_factor=2, mode="bilinear", align_corners=False)
        x = x + up[..., :height, :width].unflatten(0, (batch, planes))
        x = x + F.relu(self.last(x))
        out = self.out(x.flatten(0, 1)).float().unflatten(0, (batch, planes))
        return out[:, :, 0] + self.first_sight(signs), out[:, :, 1:]


class FineDepth(nn.Module):
    """Which of a few depths a pixel has; their order means nothing."""

    def __init__(self, inputs: int, channels: int) -> None:
        """Args: channels in, and inside."""
        super().__init__()
        self.reduce = nn.Conv2d(inputs, channels, 1)
        self.layers = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.compare = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.logits = nn.Conv2d(channels, 1, 1)
        self.first_sight = FirstSight()

    def forward(self, channels: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, N, C, H, W]`` and signs to features ``[B, N, channels, H, W]`` and logits ``[B, N, H, W]``."""
        batch, count = channels.shape[:2]
        x = F.relu(self.reduce(channels.flatten(0, 1))).unflatten(0, (batch, count))
        for layer, compare in zip(self.layers, self.compare, strict=True):
            others = F.relu(compare(x.amax(dim=1)))[:, None]
            x = x + F.relu(layer((x + others).flatten(0, 1))).unflatten(0, (batch, count))
        logits = self.logits(x.flatten(0, 1)).float().view(batch, count, *channels.shape[-2:])
        return x, logits + self.first_sight(signs)


class Blend(nn.Module):
    """Which photograph shows a point best, and whether the memory does."""

    def __init__(self, fine: int, channels: int) -> None:
        """Args: channels of a pixel's depths, and inside."""
        super().__init__()
        self.colour = nn.Conv2d(3 + 3 + 1, channels, 1)
        self.pose = nn.Linear(POSE_CHANNELS, channels, bias=False)
        self.depth = nn.Conv2d(fine, channels, 1, bias=False)
        self.layer = nn.Conv2d(channels, channels, 1)
        self.logits = nn.Conv2d(channels, 1, 1)
        self.nearness = nn.Parameter(torch.tensor(2.0))
        self.memory = nn.Conv2d(fine, 1, 3, padding=1)
        nn.init.zeros_(self.memory.weight)
        nn.init.constant_(self.memory.bias, -2.0)  # type: ignore[arg-type]

    def forward(
        self, x: Tensor, colours: Tensor, seen: Tensor, hidden: Tensor, pose: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weights ``[B, K, N, H, W]`` of the photographs, for every depth adding up to one or, unseen, to nothing.

        Args:
            x: ``[B, N, C, H, W]`` features of the depths.
            colours: ``[B, K, N, 3, H, W]``.
            seen: ``[B, K, N, H, W]``.
            hidden: likewise, see :func:`hidden_behind`.
            pose: ``[B, K, POSE_CHANNELS]``.
            memory: ``[B, 3, H, W]`` the memory's colour.

        Returns:
            The weights, and the logit ``[B, 1, H, W]`` of showing the memory's colour.
        """
        batch, views, count = seen.shape[:3]
        mask = seen[:, :, :, None].to(colours)
        mean = (mask * colours).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp_min(1.0)
        inputs = [colours - mean, (colours - memory[:, None, None]).abs(), hidden[:, :, :, None]]
        y = self.colour(torch.cat(inputs, dim=3).flatten(0, 2)).unflatten(0, (batch, views, count))
        y = y + self.pose(pose)[:, :, None, :, None, None] + self.depth(x.flatten(0, 1)).unflatten(0, (batch, 1, count))
        y = F.relu(y.flatten(0, 2))
        y = y + F.relu(self.layer(y))
        logits = self.logits(y).float().view(batch, views, count, *colours.shape[-2:])
        logits = logits - self.nearness * (pose[..., 0, None, None, None] + 0.1).log()
        weights = logits.masked_fill(~seen, -1e4).softmax(dim=1) * seen
        return weights, self.memory(x.amax(dim=1)).float()


class Finish(nn.Module):
    """A small refinement that starts as nothing, and how large the errors are."""

    def __init__(self, fine: int) -> None:
        """Args: channels of a pixel's depths."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(fine + 9, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
        )
        self.out = nn.Conv2d(16, 5, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            bias = torch.tensor([0.0, 0.0, 0.0, math.log(0.05), math.log(0.1)])
            self.out.bias.copy_(bias)  # type: ignore[union-attr]

    def forward(self, x: Tensor, channels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Refinement ``[B, 3, H, W]``, logarithms of the error of colour and of depth, ``[B, 1, H, W]`` each."""
        out = self.out(self.layers(torch.cat([x.amax(dim=1), channels], dim=1))).float()
        refinement, log_error, log_depth_scale = out.split([3, 1, 1], dim=1)
        return refinement, log_error.clamp(-8.0, 1.0), log_depth_scale.clamp(-8.0, 4.0)


def _moments(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the photographs, ``[B, K, N, C, H, W]`` to ``[B, N, C, H, W]``."""
    mean = (weight * values).sum(dim=1)
    variance = (weight * values.square()).sum(dim=1) - mean.square()
    return mean, (variance.clamp_min(0.0) + 1e-4).sqrt()


def _disagreement(deviation: Tensor, seen: Tensor) -> Tensor:
    """Variance of the photographs' colours ``[B, N, H, W]``, over its typical value where the depth is right.

    Where fewer than two saw a point there is nothing to compare: a constant that is neither good nor bad.
    """
    variance = deviation.square().mean(dim=2) / TYPICAL_VARIANCE
    return torch.where(seen.sum(dim=1) >= 2, variance, torch.full_like(variance, UNSEEN_DISAGREEMENT))


class FirstSight(nn.Module):
    """What speaks for a depth before anything is learned: photographs that agree, and the memory."""

    def __init__(self) -> None:
        """Begins as a plane sweep."""
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.5, 1.0]))

    def forward(self, signs: Tensor) -> Tensor:
        """``[B, N, 2, H, W]`` to logits ``[B, N, H, W]``."""
        around = F.avg_pool2d(signs[:, :, 0].clamp(max=200.0), 3, stride=1, padding=1, count_include_pad=False)
        return -self.weights[0] * around - self.weights[1] * signs[:, :, 1]


def level_count(wanted: Wanted) -> int:
    """How often the wanted size is halved for the coarsest view: at least once."""
    return max(1, round(math.log2(min(wanted.height, wanted.width) / COARSE_SIDE)))


def pose_channels(photographs: Photographs, baseline: Tensor) -> Tensor:
    """How each photograph's camera stands to the wanted one, ``[B, K, POSE_CHANNELS]``."""
    pose = photographs.photograph_from_view
    away = pose[..., :3, 3].norm(dim=-1)
    axis = pose[..., 2, 2].clamp(-1.0, 1.0)
    focal = photographs.fxfycxcy[..., 0]
    late = photographs.seconds
    channels = [
        away / baseline[:, None],
        away / (1.0 + away),
        1.0 - axis,
        torch.sign(late) * (1.0 + late.abs()).log() / 4,
        (focal / focal.amax(dim=1, keepdim=True)).clamp_min(1e-3).log(),
    ]
    return torch.stack(channels, dim=-1).clamp(-4.0, 4.0) * photographs.present[..., None]


def next_steps(coarser: Depths, prior: Prior, baseline: Tensor, view: Wanted, count: int) -> Tensor:
    """Depths to look at in the next finer level, ``[B, count, H, W]``, the likeliest first.

    What its own pixel of the coarser level took for the likeliest, what the next ones did (edges lie between pixels),
    and, where many are looked at, the memory's, the coarser level's second choice, and a little nearer and further.
    """
    likeliest = _settled(coarser)
    height, width = likeliest.shape[-2:]
    row = (torch.arange(view.height, device=likeliest.device) + 0.5) / 2 - 0.5
    column = (torch.arange(view.width, device=likeliest.device) + 0.5) / 2 - 0.5
    own_row, own_column = row.round().long().clamp(0, height - 1), column.round().long().clamp(0, width - 1)
    next_row = (own_row + torch.where(row > own_row, 1, -1)).clamp(0, height - 1)
    next_column = (own_column + torch.where(column > own_column, 1, -1)).clamp(0, width - 1)

    def picked(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return values[:, rows][:, :, columns]

    own = picked(likeliest, own_row, own_column)
    around = torch.stack(
        [
            picked(likeliest, rows, columns)
            for rows, columns in ((own_row, next_column), (next_row, own_column), (next_row, next_column))
        ],
        dim=1,
    )
    if count <= 2:
        other = around.gather(1, (around - own[:, None]).abs().max(dim=1, keepdim=True).indices)
        return torch.cat([own[:, None], other], dim=1)[:, :count]
    steps = [own[:, None], around]
    if count > 4:
        steps.append(_remembered(prior, own, baseline))
        steps.append(picked(_second(coarser, likeliest), own_row, own_column)[:, None])
        steps += [(own - 0.4)[:, None], (own + 0.4)[:, None]]
    chosen = torch.cat(steps, dim=1)[:, :count]
    return chosen.clamp(0.0, PLANES - 1.0)


def hidden_behind(depths: Depths, best: Tensor, landed: Landings) -> Tensor:
    """How much further away a point is than what else the view shows in the same place of a photograph.

    Args:
        depths: that are looked at.
        best: ``[B, H, W]`` the likeliest step of every pixel.
        landed: where the depths lie in the photographs.

    Returns:
        ``[B, K, N, H, W]`` logarithm of the ratio of depths, in [0, 1]; 0: nothing in between is known.
    """
    batch, views, count, height, width = landed.z.shape
    cell = 2 if min(height, width) >= 32 else 1
    high, wide = -(-height // cell), -(-width // cell)
    # What lies at the likeliest depths, seen from the photograph: the nearest in each cell of its frame.
    number = (depths.step - best[:, None]).abs().min(dim=1).indices
    index = number[:, None, None].expand(-1, views, 1, -1, -1)
    # z is relative to the depth in the view; in the view's own units it is times that depth, here in logarithms.
    log_z = (landed.z.clamp_min(1e-4).log() - _log_inverse(depths.step)[:, None]).detach()
    surface = log_z.gather(2, index).flatten(2)
    where = landed.grid.detach().gather(2, index[..., None].expand(-1, -1, -1, -1, -1, 2)).reshape(batch, views, -1, 2)
    column = ((where[..., 0] + 1) * 0.5 * wide).floor().long()
    row = ((where[..., 1] + 1) * 0.5 * high).floor().long()
    inside = (column >= 0) & (column < wide) & (row >= 0) & (row < high) & landed.seen.gather(2, index).flatten(2)
    cells = torch.where(inside, row * wide + column, high * wide)
    front = torch.full((batch, views, high * wide + 1), 20.0, device=surface.device, dtype=surface.dtype)
    front = front.scatter_reduce(2, cells, surface, "amin")[..., :-1].view(batch, views, high, wide)
    before = _sampled(front[:, :, None], landed.grid.detach(), "nearest")[:, :, :, 0]
    return ((log_z - before).clamp(0.0, 1.0) * landed.seen).to(landed.z)


def _log_inverse(step: Tensor) -> Tensor:
    return log_inverse_depth_at(step, torch.ones(len(step), device=step.device))


def _settled(depths: Depths) -> Tensor:
    """The likeliest step of every pixel ``[B, H, W]``: among those that agree with the best one the mean, no further."""
    with torch.no_grad():
        share = depths.logits.softmax(dim=1)
        best = depths.step.gather(1, depths.logits.max(dim=1, keepdim=True).indices)
        weight = share * ((depths.step - best).abs() < 1.1)
        return (weight * depths.step).sum(dim=1) / weight.sum(dim=1).clamp_min(1e-9)


def _second(depths: Depths, likeliest: Tensor) -> Tensor:
    """The likeliest step that is another one, ``[B, H, W]``."""
    with torch.no_grad():
        other = depths.logits.masked_fill((depths.step - likeliest[:, None]).abs() < 2.5, -1e4)
        return depths.step.gather(1, other.max(dim=1, keepdim=True).indices)[:, 0]


def _remembered(prior: Prior, otherwise: Tensor, baseline: Tensor) -> Tensor:
    """The memory's step ``[B, 1, H, W]``; where it has none a little nearer than the likeliest."""
    if prior.log_inverse_depth is None:
        return (otherwise + 1.0)[:, None]
    return step_of_depth(prior.log_inverse_depth, baseline)


def _from_planes(volume: Tensor, step: Tensor, times: int) -> Tensor:
    """What was found ``[B, D, C, h, w]`` in pixels so many times as large, at steps ``[B, N, H, W]``: ``[B, N, C, H, W]``."""
    height, width = volume.shape[-2:]
    rows, columns = step.shape[-2:]
    row = (torch.arange(rows, device=step.device) + 0.5) / times
    column = (torch.arange(columns, device=step.device) + 0.5) / times
    y = (row / height * 2 - 1).view(1, 1, -1, 1).expand_as(step)
    x = (column / width * 2 - 1).view(1, 1, 1, -1).expand_as(step)
    z = (step + 0.5) / volume.shape[1] * 2 - 1
    grid = torch.stack([x, y, z], dim=-1)
    found = F.grid_sample(volume.transpose(1, 2).float(), grid.float(), mode="bilinear", padding_mode="border", align_corners=False)
    return found.transpose(1, 2)


def _sampled(values: Tensor, grid: Tensor, mode: str) -> Tensor:
    """``[B, K, C, h, w]`` at ``[B, K, N, H, W, 2]``: ``[B, K, N, C, H, W]``."""
    batch, views, count, height, width, _ = grid.shape
    flat = F.grid_sample(
        values.flatten(0, 1).float(),
        grid.reshape(batch * views, count * height, width, 2).float(),
        mode=mode,
        padding_mode="border",
        align_corners=False,
    )
    return flat.view(batch, views, -1, count, height, width).transpose(2, 3)


def _pooled(x: Tensor, factor: int) -> Tensor:
    """``[B, C, H, W]`` with pixels ``factor`` times as large; those at the edges are means of fewer."""
    pooled: Tensor = F.avg_pool2d(x, factor, ceil_mode=True, count_include_pad=False)
    return pooled
