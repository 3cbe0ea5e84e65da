"""Draws of rows by class: which rows may come, how often, and what stands where there are none."""

import torch

from fewmask.ops.sampling import draw_rows, draw_with_repeats


def test_each_draw_is_another_row_of_the_class_and_none_where_there_are_no_more() -> None:
    member = torch.rand(30, 4) < torch.tensor([0.9, 0.3, 0.05, 0.0])
    drawn = draw_rows(member, 12)
    for label in range(4):
        rows = drawn.rows[label, drawn.found[label]].tolist()
        own = member[:, label].nonzero().flatten().tolist()
        assert len(rows) == len(set(rows)) == min(12, len(own))
        assert set(rows) <= set(own)
    assert draw_rows(member, 99).rows.shape == (4, 30)


def test_every_row_of_a_class_is_as_likely() -> None:
    member = torch.ones(8, 1, dtype=torch.bool)
    member[3] = False
    counts = torch.stack([draw_rows(member, 2).rows[0] for _ in range(1400)]).flatten().bincount(minlength=8)
    assert counts[3] == 0
    assert counts[member[:, 0]].float().div(400).sub(1).abs().max() < 0.25  # six standard deviations are 0.26


def test_repeated_draws_stay_below_the_count_of_their_class() -> None:
    drawn = draw_with_repeats(torch.tensor([1, 5, 0]), (40, 50))
    assert drawn.shape == (3, 40, 50)
    assert not drawn[0].any()
    assert not drawn[2].any()
    shares = drawn[1].flatten().bincount() / 2000
    assert len(shares) == 5
    assert (shares - 0.2).abs().max() < 0.06
