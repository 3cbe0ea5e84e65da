"""Deals labeled images to folds so that every fold has about the same number of images of each class.

Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data, ECML PKDD 2011.
"""

from collections.abc import Sequence

from torch import Tensor

from fewmask.shapes import Bool


def deal_to_folds(presence: Bool[Tensor, "n k"], count: int, order: Sequence[int]) -> list[list[int]]:
    """The rows of each fold in rising order; the numbers of rows in two folds differ by at most one.

    The class that the fewest of the rows left hold is dealt first. A row goes to the fold that has the fewest of that
    class, and of several to the one with the fewest rows.

    Args:
        presence: whether each image holds each class.
        count: the number of folds, at most n.
        order: the rows in the order in which they are dealt where all else is equal.
    """
    folds: list[list[int]] = [[] for _ in range(count)]
    smallest, num_larger = divmod(len(order), count)
    left = list(order)
    while left:
        held = presence[left].sum(0).tolist()
        rarest = min((label for label, images in enumerate(held) if images), key=lambda k: held[k], default=None)
        dealt = [row for row in left if rarest is None or presence[row, rarest]]
        for row in dealt:
            all_larger = sum(len(fold) > smallest for fold in folds) == num_larger
            open_folds = [fold for fold in folds if len(fold) < smallest + (0 if all_larger else 1)]
            of_class = [0 if rarest is None else int(presence[fold, rarest].sum()) for fold in open_folds]
            place = min(range(len(open_folds)), key=lambda i: (of_class[i], len(open_folds[i])))
            open_folds[place].append(row)
        left = [row for row in left if row not in dealt]
    return [sorted(fold) for fold in folds]
