"""Views of the class-wise bank: the paper's steps, and those of the released code by deviation."""

from typing import Any

import pytest

from fewmask.augment import STRONG, Augmentation
from fewmask.augment.color import AdditiveJitter, Jitter
from fewmask.augment.geometry import Crop
from fewmask.augment.mix import ClassMix
from fewmask.methods.class_bank import ClassBankConfig
from fewmask.methods.parts.released_views import ReleasedViews

COLORS = (0.8, 0.3, 0.3, 0.15, 0.1)


def steps(how: Augmentation = STRONG, background: Any = 0, **settings: Any) -> Any:
    followed = ClassBankConfig(**settings).followed
    return ReleasedViews(**how.model_dump(), followed=followed, background=background).steps(4)


def test_in_mode_paper_the_steps_are_those_of_the_settings() -> None:
    assert steps() == STRONG.steps(4)
    other = Augmentation(scale_range=(0.9, 1.1), blur_sigma=(1.0, 2.0), hue=0.2)
    assert steps(other) == other.steps(4)


@pytest.mark.parametrize(
    ("deviation", "place", "step"),
    [
        ("one_more_class_pasted", 0, ClassMix(4, 0.8, one_more=True)),
        ("background_stays", 0, ClassMix(4, 0.8, spared=0)),
        ("classmix_per_batch", 0, ClassMix(4, 0.8, once=True)),
        ("centered_padding", 3, Crop(centered=True)),
        ("additive_jitter", 4, AdditiveJitter(*COLORS)),
    ],
)
def test_a_deviation_changes_its_own_step(deviation: Any, place: Any, step: Any) -> None:
    found, plain = steps(deviations={deviation}), STRONG.steps(4)
    assert found[place] == step != plain[place]
    assert type(found[place]) is type(step)
    assert found[:place] + found[place + 1 :] == plain[:place] + plain[place + 1 :]


def test_mode_released_changes_all_of_them() -> None:
    mix, _, _, crop, jitter, *_ = steps(mode="released")
    assert mix == ClassMix(4, 0.8, one_more=True, spared=0, once=True)
    assert crop == Crop(centered=True)
    assert jitter == AdditiveJitter(*COLORS) != Jitter(*COLORS)


def test_without_a_background_no_class_is_spared() -> None:
    assert steps(background=None, deviations={"background_stays"}) == STRONG.steps(4)
