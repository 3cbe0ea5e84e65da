"""Labels of whole segments against a plain loop, and the edges of the rule."""

from collections import Counter

import torch

from fewmask.ops.propagation import propagated_labels
from fewmask.shapes import IGNORE


def test_segments_label_their_pixels_as_a_plain_loop_does() -> None:
    segments, sure = torch.rand(3, 6, 40) < 0.3, torch.rand(3, 40) < 0.8
    segments[0, 2] = False
    labels = torch.where(torch.rand(3, 40) < 0.75, 1, torch.randint(0, 4, (3, 40)))
    labels = labels.masked_fill(torch.rand(3, 40) < 0.1, IGNORE)
    expected = torch.full((3, 40), IGNORE)
    num_passed = 0
    for image in range(3):
        for segment in segments[image]:
            inside = segment.nonzero().flatten().tolist()
            classes = [int(labels[image, n]) for n in inside if sure[image, n] and labels[image, n] != IGNORE]
            if not classes or len(classes) / len(inside) < 0.7:
                continue
            ((label, count),) = Counter(classes).most_common(1)
            if count / len(classes) > 0.7:
                expected[image, inside] = label
                num_passed += 1
    assert 0 < num_passed < 17
    assert torch.equal(propagated_labels(segments, labels, sure, torch.tensor(0.7), 4), expected)


def test_the_last_segment_counts_and_one_class_must_have_more_than_the_threshold() -> None:
    labels, sure = torch.tensor([[0, 0, 0, 1, 1, 1]]), torch.tensor([[True, True, True, True, True, False]])
    first, second, half = [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 0]
    segments = torch.tensor([[first, second, half]]).bool()
    found = propagated_labels(segments, labels, sure, torch.tensor(0.5), 2)
    assert found.tolist() == [[0, 0, 0, 1, 1, 1]]  # half of `half` is no more than half
    overlapping = torch.tensor([[first, [0, 0, 1, 1, 1, 1]]]).bool()
    assert propagated_labels(overlapping, labels, sure, torch.tensor(0.5), 2).tolist() == [[0, 0, 1, 1, 1, 1]]


def test_half_precision_around_it_does_not_round_the_counts() -> None:
    labels, sure = torch.zeros(1, 301, dtype=torch.int64), torch.ones(1, 301, dtype=torch.bool)
    labels[0, 0] = 1  # 300 of 301 pixels are 0.9967; in bfloat16 both numbers are 300
    segments = torch.ones(1, 1, 301, dtype=torch.bool)
    for threshold, passes in ((0.996, True), (0.997, False)):
        with torch.autocast("cpu", torch.bfloat16):
            found = propagated_labels(segments, labels, sure, torch.tensor(threshold), 2)
        assert bool((found == 0).all()) == passes
        assert bool((found == IGNORE).all()) != passes
