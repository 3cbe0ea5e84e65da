"""Seeds are a function of the place alone, and places do not share one."""

import itertools

import torch

from fewmask.ops.draw import Purpose, seed_at, seed_draws


def test_seeds_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert seed_at(Purpose.STEP, 0, 0, 0, 0) == 4215923173971654960
    assert seed_at(Purpose.CROP, 5, 1, 0, 123) == 6792441075178460061


def test_places_and_purposes_do_not_share_a_seed() -> None:
    places = list(itertools.product(Purpose, range(4), range(2), range(20), range(4)))
    assert len({seed_at(*place) for place in places}) == len(places)


def test_seeds_suit_torch() -> None:
    assert all(0 <= seed_at(Purpose.ORDER, 0, 0, 1, epoch) < 2**63 for epoch in range(200))


def test_seeded_draws_are_those_after_the_seed_of_torch() -> None:
    found = []
    for seed in (torch.manual_seed, lambda number: seed_draws(number, torch.device("cpu"))):
        seed(7)
        found.append([torch.rand(3), torch.randn(2, 2), torch.randint(99, (4,))])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
