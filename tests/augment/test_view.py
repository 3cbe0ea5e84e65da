"""What a view holds when nothing is said, and how batches of views are put together."""

import torch
from hand_made import assert_same, marked_view

from fewmask.augment.view import View
from fewmask.shapes import IGNORE


def test_images_alone_are_valid_and_have_no_labels() -> None:
    view = View.of(torch.rand(2, 3, 4, 5))
    assert view.valid.all()
    assert (view.labels == IGNORE).all()
    assert (view.confidence == 1).all()


def test_pixels_without_a_label_are_not_valid_unless_it_is_said() -> None:
    images, labels = torch.rand(1, 3, 1, 3), torch.tensor([[[0, IGNORE, 2]]])
    assert View.of(images, labels).valid.tolist() == [[[True, False, True]]]
    assert View.of(images, labels, valid=torch.ones(1, 1, 3, dtype=torch.bool)).valid.all()


def test_pseudo_labels_count_where_there_is_an_image() -> None:
    view = View.of(torch.rand(1, 3, 1, 2), valid=torch.tensor([[[True, False]]]))
    labeled = view.with_pseudo_labels(torch.tensor([[[3, 3]]]), torch.tensor([[[0.5, 0.5]]]))
    assert labeled.labels.tolist() == [[[3, IGNORE]]]
    assert labeled.confidence.tolist() == [[[0.5, 0.0]]]
    assert torch.equal(labeled.valid, view.valid)


def test_views_are_joined_in_their_order() -> None:
    joined = View.joined([marked_view(2), marked_view(1, first=5)])
    assert joined.labels[:, 0, 0].tolist() == [0, 1, 5]
    assert joined.images[:, 0, 0, 0].tolist() == joined.confidence[:, 0, 0].tolist()


def test_the_neighbor_of_an_image_is_the_one_before_it() -> None:
    view = marked_view(3)
    assert view.neighbors().labels[:, 0, 0].tolist() == [2, 0, 1]
    assert torch.equal(view.neighbors().images[1], view.images[0])
    assert_same(marked_view(1).neighbors(), marked_view(1))


def test_a_shuffled_view_has_the_same_images_with_their_maps_in_another_order() -> None:
    view = marked_view(20)
    shuffled = view.shuffled()
    order = shuffled.labels[:, 0, 0]
    assert sorted(order.tolist()) == list(range(20))
    assert order.tolist() != list(range(20))
    assert all(torch.equal(maps, own[order]) for maps, own in zip(shuffled, view, strict=True))


def test_a_view_is_repeated_or_cut_to_a_number_of_images() -> None:
    view = marked_view(3)
    assert view.repeated(7).labels[:, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert view.repeated(2).confidence.shape[0] == 2
    assert view.repeated(3) is view
