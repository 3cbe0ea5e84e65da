"""PrevMatch: UniMatch, with a second label from a random mixture of the network's own past states.

Shin, Park, Kim and Kim, Revisiting and Maximizing Temporal Knowledge in Semi-supervised Semantic Segmentation, 2024,
https://arxiv.org/abs/2405.20610. The settings are those of the released code (wooseok-shin/PrevMatch).

Our choice: the released code keeps the network whenever its score on val has risen, which lets val labels into the
training; here it is kept at equal distances of the run.
"""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from fewmask.augment import Probability
from fewmask.data.batch import Batch
from fewmask.methods.base import Alarm, Needs, Tools
from fewmask.methods.course import Step
from fewmask.methods.parts import weak_to_strong
from fewmask.methods.parts.auto_threshold import Thresholded, finds_threshold
from fewmask.methods.parts.collapse import collapse_alarm
from fewmask.methods.parts.pseudo_balance import PseudoBalanced
from fewmask.methods.parts.weak_to_strong import (
    curves,
    drawn_strong_view,
    mean_of_views,
    pseudo_labeled,
    sure_cross_entropy,
    weak_view,
)
from fewmask.methods.plan import Now
from fewmask.methods.unimatch import UniMatchConfig, clean_and_dropped
from fewmask.models.past import PastNetworks, random_mixture
from fewmask.shapes import Images, Int64, Logits


class PrevMatchConfig(UniMatchConfig):
    """The settings of UniMatch, which past states are kept, and how their labels count."""

    name: str = "prevmatch"
    num_kept: int = Field(20, ge=1)
    """How many times in a run the network is kept, at equal distances. Our choice: see the first lines of the file."""
    num_past: int = Field(8, ge=1)
    """Number of past states that can be drawn: the newest ones. The original has 8, and 5 on ADE20K."""
    most_drawn: int = Field(3, ge=1)
    """A step mixes the logits of 1 to this many past states, with random weights."""
    past_threshold: Probability = 0.9
    """A pixel teaches if the mixture is at least this sure of it. The original has 0.9, and 0 on Cityscapes."""
    rare_paste_probability: Probability = Field(0.0, le=0)
    """Always 0: past states label whole views, also what would be pasted."""
    past_weight: float = Field(1.0, ge=0)
    """Weight of the labels of past states, beside 1 for the labels, in the middle of the run; it rises from 0 at the
    start and falls to 0 at the end."""


class PrevMatch(Thresholded, PseudoBalanced):
    """UniMatch, with the strong views and the dropped features also taught by past states of the network.

    The losses are divided by 2 + the weight of the past, as in the original. A step runs `most_drawn` past states in
    every case, and the weights of those that were not drawn are 0, so that all steps are alike. For each past state the
    method and its checkpoints hold a copy of the network.
    """

    paper = "Shin et al., 2024"
    Config = PrevMatchConfig
    own: ClassVar = weak_to_strong.OWN
    toy: ClassVar = {"confidence_threshold": 0.5, "past_threshold": 0.3, "num_kept": 5, "num_past": 2, "most_drawn": 2}
    config: PrevMatchConfig

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(min_unlabeled_batch=2, held_out=finds_threshold(config))

    def __init__(self, config: PrevMatchConfig, tools: Tools) -> None:
        super().__init__(config, tools)
        self.past = PastNetworks(self.net, config.num_past + 1)

    def alarms(self) -> list[Alarm]:
        return [collapse_alarm()]

    def replicated_buffers(self) -> list[str]:
        return ["past.rows"]

    def phases(self, stage: str, steps: int) -> list[int]:
        """The step from which there is a past state."""
        return [-(-steps // self.config.num_kept)]

    def step(self, batch: Batch, now: Now) -> Step:
        assert batch.unlabeled is not None
        config, threshold = self.config, self.threshold(batch, self.net)
        labeled, weak = self.view(batch), weak_view(config, batch.unlabeled)
        logits = clean_and_dropped(self.net, labeled, weak, config.dropout)
        weak = pseudo_labeled(weak, logits.weak)

        drawn = [drawn_strong_view(config, weak) for _ in range(2)]
        strong = [box(colored) for colored, box in drawn]
        strong_logits = self.net(torch.cat([view.images for view in strong])).logits

        share = config.past_weight * (1 - (2 * now.progress - 1).abs()).float() if now.phase else 0.0
        total = 2 + share
        weights = self.pseudo_weights()
        losses = {
            "sup": self.supervised_loss(logits.labeled, labeled) / total,
            "pseudo": config.image_weight * mean_of_views(strong_logits, strong, threshold, weights) / total,
            "feature": config.feature_weight * sure_cross_entropy(logits.dropped, weak, threshold, weights) / total,
        }
        watch = curves(weak, threshold, self.frequency)
        if now.phase:
            guided = pseudo_labeled(weak, self._past_logits(weak.images, now))
            views = [box(colored.with_pseudo_labels(guided.labels, guided.confidence)) for colored, box in drawn]
            past = config.past_threshold
            losses["past_pseudo"] = (
                share * config.image_weight * mean_of_views(strong_logits, views, past, weights) / total
            )
            losses["past_feature"] = (
                share * config.feature_weight * sure_cross_entropy(logits.dropped, guided, past, weights) / total
            )
        return Step(losses, watch)

    def after_update(self, now: Now) -> None:
        """Keeps the network in the slot of the present part of the run, which is not drawn before the part is over."""
        self.past.keep(self.net, self._part(now) % len(self.past.rows))

    def _part(self, now: Now) -> Int64[Tensor, ""]:
        """The number of past states so far: how many parts of the run are over."""
        return now.steps_done * self.config.num_kept // now.steps

    @torch.no_grad()
    def _past_logits(self, images: Images, now: Now) -> Logits:
        part, slots = self._part(now), torch.arange(len(self.past.rows), device=images.device)
        available = (slots < part) & (slots != part % len(slots))
        drawn, weights = random_mixture(available, min(self.config.most_drawn, self.config.num_past))
        logits = [
            weight * self.past.logits(self.net, slot, images).float()
            for slot, weight in zip(drawn.unbind(), weights.unbind(), strict=True)
        ]
        return torch.stack(logits).sum(dim=0)
