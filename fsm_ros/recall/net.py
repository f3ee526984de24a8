# SPDX-License-Identifier: Apache-2.0
"""RecallNet: from photographs around a wanted view, and what the memory knows of it, to the view.

Coarse to fine: all planes at low resolution, then a few depths for every pixel of each finer level, at last the colours
of real photographs blended by learned weights. Trained, not tuned by hand; where no photograph saw a point, the
memory's colour is shown.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from fsm_ros.recall.depth_fusion import DepthFusion, ToldDepth, fusion_channels
from fsm_ros.recall.depths import Depths, from_planes, hidden_behind, next_steps
from fsm_ros.recall.evidence import POSE_CHANNELS, Evidence, Found, Prior, evidence_channels, pose_channels
from fsm_ros.recall.layers import CARRIED, Blend, CoarseDepth, FineDepth, Finish, PhotographFeatures
from fsm_ros.recall.planes import PLANES, Photographs, Wanted, log_inverse_depth_at
from fsm_ros.recall.sampling import grouped, pooled


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
        side: the shorter side of the coarsest view has about so many pixels.
        fusion: channels of what tells the depth at last; 0: it is told as photographs showed it.
    """

    features: int = 8
    coarse: int = 16
    fine: int = 16
    blend: int = 16
    depths: tuple[int, ...] = (2, 2, 1)
    side: int = 32
    fusion: int = 24

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one that is not positive.
        """
        for name, value in asdict(self).items():
            for number in value if isinstance(value, tuple) else (value,):
                least = 0 if name == "fusion" else 1
                if isinstance(number, bool) or not isinstance(number, int) or number < least:
                    raise ValueError(f"recall configuration: {name} must be at least {least}, got {value}")
        if not self.depths:
            raise ValueError("recall configuration: depths must not be empty")


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
        self.coarse = CoarseDepth(evidence_channels(config.features) + 1, config.coarse)
        self.fine = FineDepth(evidence_channels(config.features) + 2 + CARRIED, config.fine)
        self.blend = Blend(config.fine, config.blend)
        self.finish = Finish(config.fine)
        self.fusion = DepthFusion(config.fusion) if config.fusion else None

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
        levels = self.level_count(wanted)
        pyramid = [photographs.images]
        for _ in range(levels):
            pyramid.append(grouped(pooled(pyramid[-1].flatten(0, 1), 2), *photographs.present.shape))
        baseline = photographs.baseline_m
        pose = pose_channels(photographs)
        importance = self.importance(pose).squeeze(-1).clamp(-6.0, 6.0).exp() * photographs.present
        evidence = Evidence(photographs, importance, baseline)

        step = torch.arange(PLANES, device=baseline.device, dtype=torch.float32).view(1, -1, 1, 1)
        view, known = wanted.at(levels), prior.at(levels)
        step = step.expand(len(baseline), -1, view.height, view.width)
        features = self.photograph(pyramid[levels - 1])
        found = evidence.gather(view, known, step, (features, levels), (pyramid[levels], levels))
        plane = (step / PLANES)[:, :, None]
        logits, volume = self.coarse(torch.cat([found.channels, plane], dim=2), found.signs)
        planes = torch.cat([logits.log_softmax(dim=1)[:, :, None] / 8, volume], dim=2)
        looked = [Depths(levels, step, logits)]
        known_of_depth: Tensor | None = None
        for level in range(levels - 1, -1, -1):
            view, known = wanted.at(level), prior.at(level)
            count = counts[min(levels - 1 - level, len(counts) - 1)]
            step = next_steps(looked[-1], known, baseline, view, count)
            if level >= 1:
                features = self.photograph(pyramid[level - 1])
            found = evidence.gather(view, known, step, (features, max(level, 1)), (pyramid[level], level))
            earlier = from_planes(planes, step, 2 ** (levels - level))
            offset = (step - step[:, :1])[:, :, None]
            x, logits_here = self.fine(torch.cat([found.channels, earlier, offset], dim=2), found.signs)
            looked.append(Depths(level, step, logits_here))
            if self.fusion is not None and level == levels - 1:
                known_of_depth = fusion_channels(looked[1], looked[0], found, view, photographs, known)
        best = looked[-1].settled
        shown = log_inverse_depth_at(best, baseline)[:, None]
        told = ToldDepth(shown, torch.zeros_like(shown))
        if self.fusion is not None:
            told = self.fusion(known_of_depth, shown, prior)
        hidden = hidden_behind(looked[-1], best, found.landings)
        weights, memory = self.blend(x, found.colours, found.landings.seen, hidden, pose, prior.colour)
        return self._finished(x, weights, memory, found, prior, looked, told, baseline)

    def _finished(
        self,
        x: Tensor,
        weights: Tensor,
        memory: Tensor,
        found: Found,
        prior: Prior,
        depths: list[Depths],
        told: ToldDepth,
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
            log_inverse_depth=told.log_inverse_depth,
            log_depth_scale=(log_depth_scale + told.log_scale).clamp(-8.0, 4.0),
            log_error=log_error,
            depths=tuple(depths),
            baseline_m=baseline,
        )

    def level_count(self, wanted: Wanted) -> int:
        """How often the wanted size is halved for the coarsest view: at least once."""
        return max(1, round(math.log2(min(wanted.height, wanted.width) / self.config.side)))
