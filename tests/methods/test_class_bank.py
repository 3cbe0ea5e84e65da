"""The class-wise memory bank: its terms against the equations, its warm-up, its filter, and each deviation."""

from copy import deepcopy
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from contract import OFF, SETTLED, HostReads, build, gradients, settled, toy_batch, train
from fewmask.data.batch import Batch, Labeled, Unlabeled
from fewmask.methods import ClassBankMethod
from fewmask.methods.parts.bank_contrast import Deviation
from fewmask.models.build import NetConfig
from fewmask.models.modes import in_eval_mode
from fewmask.ops.contrast import bank_contrast, mean_contrast
from fewmask.shapes import IGNORE

STRIDE = 8
PLAIN: dict[str, Any] = {"weak": OFF, "strong": OFF, "num_views": 1, "warmup_share": 0.0, "class_balance": False}
"""Views are the images, and every term is on from the start."""


@pytest.fixture
def batch() -> Any:
    """With ignored and invalid pixels at the bottom."""
    labeled, unlabeled, *_ = toy_batch(ClassBankMethod)
    labeled.labels[:, -5:] = IGNORE
    unlabeled.valid[:, -7:] = False
    return Batch(labeled, unlabeled)


@pytest.fixture
def make(tiny_net: NetConfig) -> Any:
    return lambda **settings: build(ClassBankMethod, tiny_net, **settings)


def grid_rows(features: Tensor, labels: Tensor, stride: Any = STRIDE) -> Any:
    """The features of the tiny network are as fine as the image."""
    assert features.shape[-2:] == labels.shape[-2:]
    return (
        features[:, :, ::stride, ::stride].permute(0, 2, 3, 1).flatten(0, 2),
        labels[:, ::stride, ::stride].flatten(),
    )


def contrast_of(method: Any, output: Any, labels: Tensor, stride: Any = STRIDE) -> Any:
    """Eq. 8 to 11 with the bank as it is."""
    heads, bank = method.learner.heads, method.contrast.bank
    rows, classes = grid_rows(output.features, labels, stride)
    predictions = heads.predictor(heads.projector(rows, classes, 4), classes, 4)
    weights = heads.prediction_selectors(predictions, classes)
    bank_weights = heads.bank_selectors(bank.rows.flatten(0, 1), bank.row_classes.flatten()).view(bank.rows.shape[:2])
    return bank_contrast(predictions, classes, bank.rows, bank.filled, weights, bank_weights)


def best_rows(net: Any, heads: Any, batch: Any, selectors: Any, sign: Any = 1) -> Any:
    """Per class, the projection of each image with the highest score (the lowest where the sign is -1)."""
    with torch.no_grad():
        rows, classes = grid_rows(net(batch.labeled.images).features, batch.labeled.labels)
        projections = heads.projector(rows, classes, 4)
        scores = sign * getattr(heads, selectors)(projections, classes)
    images = torch.arange(len(rows)) // (len(rows) // len(batch.labeled.images))
    best = []
    for label in range(4):
        cells = [((classes == label) & (images == image)).nonzero().flatten() for image in images.unique()]
        best.append(torch.stack([projections[cell[scores[cell].argmax()]] for cell in cells if len(cell)]))
    return best


@pytest.mark.parametrize("stride", [4, STRIDE])
@pytest.mark.parametrize("num_views", [1, 2])
def test_every_term_is_its_equation(make: Any, batch: Any, num_views: Any, stride: Any) -> None:
    method = make(**PLAIN | {"num_views": num_views, "contrast_stride": stride})
    settled(method, toy_batch(ClassBankMethod, seed=1))
    losses = method.step(batch, SETTLED).losses
    (images, labels), (unlabeled_images, valid), *_ = batch
    confidence, pseudo_labels = method.teacher(unlabeled_images).logits.softmax(dim=1).max(dim=1)
    pseudo_labels = pseudo_labels.masked_fill(~valid, IGNORE)
    labeled_output, unlabeled_output = method.student(images), method.student(unlabeled_images)
    per_pixel = F.cross_entropy(unlabeled_output.logits, pseudo_labels, ignore_index=IGNORE, reduction="none")
    each_entropy = torch.distributions.Categorical(logits=unlabeled_output.logits.permute(0, 2, 3, 1)).entropy()
    expected = {
        "sup": F.cross_entropy(labeled_output.logits, labels, ignore_index=IGNORE),
        "pseudo": (confidence**6 * per_pixel).sum() / valid.sum(),
        "entropy": 0.01 * each_entropy[valid].mean(),
        "contrast_labeled": 0.1 * contrast_of(method, labeled_output, labels, stride),
        "contrast_unlabeled": 0.1 * contrast_of(method, unlabeled_output, pseudo_labels, stride),
    }
    assert method.contrast.bank.filled.any()
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {name: loss.item() for name, loss in expected.items()}, rel=1e-3
    )


def test_class_balance_weighs_both_cross_entropies_by_labels_and_pseudo_labels(make: Any, batch: Any) -> None:
    method = make(**PLAIN | {"class_balance": True})
    losses = method.step(batch, SETTLED).losses
    assert method.frequency.labeled.sum() == (batch.labeled.labels != IGNORE).sum()
    assert method.frequency.pseudo.sum() == batch.unlabeled.valid.sum()
    weights = method.frequency.weights()
    assert weights.unique().numel() > 1
    logits = method.student(batch.labeled.images).logits
    weighted = F.cross_entropy(logits, batch.labeled.labels, weights, ignore_index=IGNORE, reduction="sum")
    expected = weighted / (batch.labeled.labels != IGNORE).sum()
    assert losses["sup"].item() == pytest.approx(expected.item(), rel=1e-3)


def test_warm_up_has_neither_pseudo_labels_nor_contrast_and_the_bank_fills_from_its_half_on(
    make: Any, batch: Any
) -> None:
    method, filled, pseudo_counts, terms = make(warmup_share=0.4, quality_filter=False), [], [], []
    for losses in train(method, batch, 6):  # the warm-up is 2.4 steps long
        terms.append(set(losses))
        filled.append(int(method.contrast.bank.filled.sum()) > 0)
        pseudo_counts.append(int(method.frequency.pseudo.sum()) > 0)
    assert terms[:3] == [{"sup", "entropy"}] * 3
    assert terms[3:] == [{"sup", "entropy", "pseudo", "contrast_labeled", "contrast_unlabeled"}] * 3
    assert filled == [False, False, True, True, True, True]
    assert pseudo_counts == [False] * 3 + [True] * 3


def test_the_excess_of_pseudo_labels_is_watched_while_they_count(make: Any, batch: Any) -> None:
    """Before, it would be that of lost classes, and raise an alarm for every class."""
    method, silent = make(warmup_share=0.4), make(warmup_share=0.0, pseudo_weight=0.0)
    assert "pseudo_excess" not in method.step(batch, method.now(3, 10)).watch
    assert "pseudo_excess" in method.step(batch, method.now(4, 10)).watch
    assert "pseudo_excess" not in silent.step(batch, method.now(9, 10)).watch


@pytest.mark.parametrize(("steps", "first"), [(150_000, 2000), (20_000, 2000), (2000, 300), (20, 3)])
def test_the_warm_up_is_the_papers_and_of_a_short_run_a_part(make: Any, batch: Any, steps: int, first: Any) -> None:
    method = make(**PLAIN | {"warmup_share": None})
    assert "pseudo" not in method.step(batch, method.now(first - 1, steps)).losses
    assert "pseudo" in method.step(batch, method.now(first, steps)).losses


@pytest.mark.parametrize(
    ("setting", "gone"),
    [
        ("entropy_weight", {"entropy"}),
        ("pseudo_weight", {"pseudo"}),
        ("contrast_weight", {"contrast_labeled", "contrast_unlabeled"}),
    ],
)
def test_a_weight_of_zero_removes_its_terms_and_a_double_weight_doubles_them(
    make: Any, batch: Any, setting: Any, gone: Any
) -> None:
    found = []
    for factor in (1.0, 0.0, 2.0):
        default = ClassBankMethod.Config.model_fields[setting].default
        method = make(**PLAIN | {setting: factor * default})
        torch.manual_seed(1)
        found.append(method.step(batch, SETTLED).losses)
    once, without, twice = found
    assert set(once) == {"sup", "entropy", "pseudo", "contrast_labeled", "contrast_unlabeled"}
    assert set(without) == set(once) - gone
    assert all(twice[name].item() == pytest.approx(2 * once[name].item()) for name in gone)


def test_a_large_bank_is_scored_in_turn(make: Any) -> None:
    method = make(bank_slots=16, rescored_slots=6)
    bank, selectors = method.contrast.bank, method.learner.heads.bank_selectors
    bank.rows.normal_()
    bank.filled.copy_(torch.tensor([16, 9, 4, 0]))
    bank.scores.copy_(torch.where(bank.in_use, 0.123, 0.0))
    expected = bank.scores.clone()
    few = [0, 1, 2, 3, 4, 5]  # a class of so few rows has all of them scored in every step
    for step, turns in enumerate(
        (
            [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], few, few],
            [[6, 7, 8, 9, 10, 11], [6, 7, 8, 0, 1, 2], few, few],
            [[12, 13, 14, 15, 0, 1], [3, 4, 5, 6, 7, 8], few, few],
        )
    ):
        weights = method.contrast.bank_weights(method.learner, method.now(step, 10))
        turn = torch.tensor(turns)
        rows = torch.stack([bank.rows[label, slots] for label, slots in enumerate(turns)])
        fresh = selectors.of_slots(rows, bank.row_classes.gather(1, turn))
        expected.scatter_(1, turn, fresh.detach())
        torch.testing.assert_close(weights, expected)
        direction = torch.randn_like(weights)
        of_all, of_part = (direction * weights).sum(), (direction.gather(1, turn) * fresh).sum()
        for found in zip(
            *(torch.autograd.grad(total, list(selectors.parameters())) for total in (of_all, of_part)), strict=True
        ):
            torch.testing.assert_close(*found)
    torch.testing.assert_close(bank.scores, expected)


def test_rows_that_are_ranked_lowest_first_weigh_as_their_scores(make: Any) -> None:
    method = make(bank_slots=16, rescored_slots=6, deviations={"lowest_ranked"})
    method.contrast.bank.filled.fill_(16)
    method.contrast.bank.scores.fill_(-0.123)  # as they were pushed
    weights = method.contrast.bank_weights(method.learner, method.now(0, 10))
    assert weights[:, 6:].tolist() == [[pytest.approx(0.123)] * 10] * 4


@pytest.mark.parametrize(("num_labeled", "per_image"), [(4, 4), (10, 2), (100, 1)])
def test_an_image_gives_its_part_of_the_slots_at_least_one_row(
    make: Any, batch: Any, num_labeled: Any, per_image: Any
) -> None:
    method = make(num_labeled=num_labeled, quality_filter=False)  # 16 slots
    method.step(batch, SETTLED)
    cells = batch.labeled.labels[:, ::STRIDE, ::STRIDE].flatten(1)
    for label in range(4):
        expected = sum(min(per_image, int((image == label).sum())) for image in cells)
        assert method.contrast.bank.filled[label] == expected


def test_without_attention_all_rows_of_a_class_are_attended(make: Any, batch: Any) -> None:
    method = make(attention=False, quality_filter=False)
    assert torch.equal(method.step(batch, SETTLED).watch["bank_attended"], (method.contrast.bank.filled > 0).float())


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, [4]),
        ({"contrast_weight": 0.0}, [2]),
        ({"teacher_features": False}, [2]),
        ({"deviations": {"teacher_on_batch_statistics"}}, [2, 2]),
    ],
)
def test_the_teacher_reads_all_images_in_one_pass_where_it_can(
    make: Any, batch: Any, settings: Any, passes: Any
) -> None:
    method = make(**settings)
    found = []
    method.teacher.register_forward_hook(lambda net, images, output: found.append(len(images[0])))
    method.step(batch, SETTLED)
    assert found == passes


@pytest.mark.parametrize("height", [-8, None], ids=["smaller", "same"])
def test_one_pass_of_the_teacher_gives_what_two_give(make: Any, batch: Any, height: Any) -> None:
    one = make(quality_filter=False)
    two = deepcopy(one)
    two._teacher_outputs = lambda batch, fills_bank: (two.teacher(batch.unlabeled.images), None)
    images, valid = batch.unlabeled
    batch = batch._replace(unlabeled=Unlabeled(images[:, :, :height], valid[:, :height]))
    losses: list[Any] = []
    expected: list[Any] = []
    for method, into in ((one, losses), (two, expected)):
        torch.manual_seed(0)
        into += method.step(batch, SETTLED).losses.values()
    assert_same_rows(one.contrast.bank.rows.flatten(0, 1), two.contrast.bank.rows.flatten(0, 1))
    torch.testing.assert_close(losses, expected)


def test_clusters_change_the_contrast_and_nothing_else(make: Any, batch: Any) -> None:
    paper, clustered = (make(**PLAIN, bank_clusters=number) for number in (1, 3))
    for method in (paper, clustered):
        method.contrast.bank.rows.copy_(
            torch.randn(method.contrast.bank.rows.shape, generator=torch.Generator().manual_seed(0))
        )
        method.contrast.bank.filled.fill_(16)
    losses, others = (method.step(batch, SETTLED).losses for method in (paper, clustered))
    changed = {name for name in losses if not torch.allclose(losses[name], others[name])}
    assert changed == {"contrast_labeled", "contrast_unlabeled"}
    assert (
        others["contrast_labeled"] < losses["contrast_labeled"]
    )  # a mean of fewer rows is longer, and the nearest is taken


def test_clusters_and_turns_never_wait_for_the_device(make: Any, batch: Any) -> None:
    method = settled(make(bank_clusters=3, rescored_slots=6), batch)
    with HostReads() as reads:
        losses = method.step(batch, SETTLED).losses
    assert reads.found == []
    assert losses["contrast_labeled"] > 0


def with_labels(batch: Any, labels: Tensor) -> Any:
    return Batch(Labeled(batch.labeled.images, labels), batch.unlabeled)


def test_the_filter_lets_in_what_the_teacher_predicts_with_confidence(make: Any, batch: Any) -> None:
    method = make(num_labeled=1)  # 16 of an image, that is all the slots
    logits = method.teacher(batch.labeled.images).logits
    predicted = logits.argmax(dim=1)
    right = with_labels(batch, torch.where(torch.rand(predicted.shape) < 0.5, predicted, (predicted + 1) % 4))
    method.step(right, SETTLED)
    correct = (predicted == right.labeled.labels)[:, ::STRIDE, ::STRIDE]
    expected = [int((correct & (predicted[:, ::STRIDE, ::STRIDE] == label)).sum()) for label in range(4)]
    assert sum(expected) > 0
    assert method.contrast.bank.filled.tolist() == [min(16, count) for count in expected]


def test_the_bank_takes_nothing_of_the_source(make: Any, batch: Any) -> None:
    alone, beside = make(num_labeled=1), make(num_labeled=1)
    first = Labeled(batch.labeled.images[:1], batch.labeled.labels[:1])
    alone._fill_bank(first, None)
    losses = beside.step(batch._replace(num_source=1), SETTLED).losses
    assert torch.equal(beside.contrast.bank.filled, alone.contrast.bank.filled)
    assert_same_rows(beside.contrast.bank.rows.flatten(0, 1), alone.contrast.bank.rows.flatten(0, 1))
    assert losses["contrast_labeled"] > 0


def test_the_filter_lets_nothing_in_that_is_wrong_or_unsure(make: Any, batch: Any) -> None:
    wrong, unsure = make(), make(quality_threshold=1.0)
    predicted = wrong.teacher(batch.labeled.images).logits.argmax(dim=1)
    wrong.step(with_labels(batch, (predicted + 1) % 4), SETTLED)
    unsure.step(with_labels(batch, predicted), SETTLED)
    assert not wrong.contrast.bank.filled.any()
    assert not unsure.contrast.bank.filled.any()


def test_the_threshold_is_that_of_the_teachers_confidence_which_has_to_pass_it(make: Any, batch: Any) -> None:
    confidence, predicted = make().teacher(batch.labeled.images).logits.softmax(dim=1).max(dim=1)
    cells = confidence[:, ::STRIDE, ::STRIDE]
    sixth = cells.flatten().topk(6).values[-1].item()
    method = make(num_labeled=1, quality_threshold=sixth)
    method.step(with_labels(batch, predicted), SETTLED)
    passed = predicted[:, ::STRIDE, ::STRIDE][cells > sixth]
    assert len(passed) == 5
    assert method.contrast.bank.filled.tolist() == passed.bincount(minlength=4).tolist()


@pytest.mark.parametrize(
    ("settings", "selectors", "sign"),
    [
        ({}, "bank_selectors", 1),
        ({"deviations": {"lowest_ranked"}}, "bank_selectors", -1),
        ({"deviations": {"prediction_selectors_rank"}}, "prediction_selectors", 1),
        ({"mode": "released"}, "prediction_selectors", -1),
    ],
)
def test_the_bank_takes_the_rows_that_the_mode_ranks_first(
    make: Any, batch: Any, settings: Any, selectors: Any, sign: Any
) -> None:
    method = make(num_labeled=1000, quality_filter=False, **settings)  # one row of an image and class
    method.step(batch, SETTLED)
    expected = best_rows(method.teacher, method.average_learner.heads, batch, selectors, sign)
    for label, rows in enumerate(expected):
        assert_same_rows(method.contrast.bank.rows[label, : method.contrast.bank.filled[label]], rows)


def assert_same_rows(found: Any, expected: Any) -> None:
    by_first = [rows[rows[:, 0].argsort()] for rows in (found, expected)]
    torch.testing.assert_close(*by_first, rtol=1e-3, atol=1e-5)


def test_without_teacher_features_the_students_enter_the_bank(make: Any, batch: Any) -> None:
    method = make(num_labeled=1000, quality_filter=False, teacher_features=False)
    for parameter in method.average.parameters():
        parameter.data += 1.0
    method._fill_bank(batch.labeled, None)
    with in_eval_mode(method.learner):
        expected = best_rows(method.student, method.learner.heads, batch, "bank_selectors")
    assert_same_rows(method.contrast.bank.rows[0, : method.contrast.bank.filled[0]], expected[0])


@pytest.mark.parametrize("teacher_features", [True, False])
def test_filling_the_bank_leaves_no_trace_in_the_student(make: Any, batch: Any, teacher_features: Any) -> None:
    method = make(warmup_share=0.4, quality_filter=False, teacher_features=teacher_features)
    other = make(warmup_share=0.4, contrast_weight=0.0)
    other.learner.load_state_dict(method.learner.state_dict())
    for stepped in (method, other):
        torch.manual_seed(0)
        stepped.step(batch, method.now(30, 100))  # the bank fills in this step, nothing is compared with it yet
    assert method.contrast.bank.filled.any()
    for (name, buffer), same in zip(method.student.named_buffers(), other.student.buffers(), strict=True):
        assert torch.equal(buffer, same), name


def test_released_is_all_deviations_at_once_and_paper_none() -> None:
    config = ClassBankMethod.Config
    for deviation in get_args(Deviation):
        assert not config().deviates(deviation)
        assert config(mode="released").deviates(deviation)
        alone = config(deviations={deviation})
        assert [other for other in get_args(Deviation) if alone.deviates(other)] == [deviation]


def test_pseudo_labels_on_padding_count_only_as_released(make: Any, batch: Any) -> None:
    num_pixels, num_valid = batch.unlabeled.valid.numel(), int(batch.unlabeled.valid.sum())
    counts = []
    for deviations in (set(), {"labels_on_padding"}):
        method = make(**PLAIN, deviations=deviations)
        losses = method.step(batch, SETTLED).losses
        counts.append(int(method.frequency.pseudo.sum()))
        logits = method.student(batch.unlabeled.images).logits.movedim(1, -1)
        inside = logits if deviations else logits[batch.unlabeled.valid]
        entropy = torch.distributions.Categorical(logits=inside).entropy().mean()
        assert losses["entropy"].item() == pytest.approx(0.01 * entropy.item(), rel=1e-3)
    assert counts == [num_valid, num_pixels]


@pytest.mark.parametrize(("view", "term"), [("weak", "sup"), ("strong", "entropy")])
def test_views_follow_the_deviations(make: Any, batch: Any, view: Any, term: Any) -> None:
    found = []
    for deviations in (set(), {"additive_jitter"}):
        jittered = OFF.model_copy(update={"jitter_probability": 1.0})
        method = make(**PLAIN | {view: jittered, "deviations": deviations})
        torch.manual_seed(1)
        found.append(method.step(batch, SETTLED).losses)
    other = {"sup": "entropy", "entropy": "sup"}[term]
    assert found[0][other] == found[1][other]
    assert found[0][term] != found[1][term]


def test_a_full_bank_keeps_the_first_ranked_rows_only_as_released(make: Any, batch: Any) -> None:
    """Two images push at most four rows of a class each into four slots, and the last ones stay."""
    found = []
    for deviations in (set(), {"first_ranked_stay"}):
        method = make(num_labeled=1, bank_slots=4, quality_filter=False, deviations=deviations)
        heads, output = method.average_learner.heads, method.teacher(batch.labeled.images)
        method.contrast.fill(method.average_learner, output, batch.labeled.labels)
        rows, classes = grid_rows(output.features, batch.labeled.labels)
        scores = heads.bank_selectors(heads.projector(rows, classes, 4), classes)
        best = torch.stack([scores[classes == label].sort().values[-4:] for label in range(4)])
        found.append(torch.allclose(method.contrast.bank.scores.sort().values, best, rtol=1e-3))
    assert found == [False, True]


def reached(method: Any, batch: Any) -> Any:
    """The parts of the heads that the contrast's gradient reaches."""
    losses = method.step(batch, SETTLED).losses
    found = gradients(method, losses["contrast_labeled"] + losses["contrast_unlabeled"])
    return {
        name.split(".")[2]
        for name, gradient in found.items()
        if ".heads." in name and gradient is not None and gradient.any()
    }


def test_the_contrast_trains_both_heads_and_both_sets_of_selectors(make: Any, batch: Any) -> None:
    everything = {"projector", "predictor", "prediction_selectors", "bank_selectors"}
    method = make(quality_filter=False)
    assert reached(method, batch) == everything
    assert reached(make(quality_filter=False, attention=False), batch) == {"projector", "predictor"}
    of_bank = make(quality_filter=False, pixel_attention=False)
    assert reached(of_bank, batch) == everything - {"prediction_selectors"}
    constant = make(quality_filter=False, deviations={"constant_bank_weights"})
    assert reached(constant, batch) == everything - {"bank_selectors"}


def contrasted(method: Any, batch: Any) -> Any:
    """The contrast of the labeled images with a random bank; and their predictions, classes and logits on the grid."""
    bank, heads = method.contrast.bank, method.learner.heads
    bank.rows.copy_(torch.randn(bank.rows.shape, generator=torch.Generator().manual_seed(0)))
    bank.filled.copy_(torch.tensor([16, 3, 7, 0]))
    output = method.student(batch.labeled.images)
    target, _ = method.contrast.target(method.learner, SETTLED)
    loss = method.contrast(method.learner, output, batch.labeled.labels, target).loss
    rows, classes = grid_rows(output.features, batch.labeled.labels)
    predictions = heads.predictor(heads.projector(rows, classes, 4), classes, 4)
    return loss, predictions, classes, grid_rows(output.logits, batch.labeled.labels)[0]


def test_negatives_are_the_rows_of_all_other_classes(make: Any, batch: Any) -> None:
    method = make(negatives=True, temperature=0.5)
    loss, predictions, classes, _ = contrasted(method, batch)
    in_use = method.contrast.bank.in_use
    keys = F.normalize(method.contrast.bank.rows[in_use], dim=1)
    key_classes = in_use.nonzero()[:, 0]
    known = (classes != IGNORE) & (classes != 3)  # the bank holds nothing of class 3
    similar = (F.normalize(predictions[known], dim=1) @ keys.T / 0.5).exp()
    own = (similar * (classes[known, None] == key_classes)).sum(dim=1)
    assert loss.item() == pytest.approx(-(own / similar.sum(dim=1)).log().mean().item(), rel=1e-4)
    assert reached(make(quality_filter=False, negatives=True), batch) == {"projector", "predictor"}


@pytest.mark.parametrize("hard_margin", [0.0, 0.1])
def test_hard_pixels_are_those_of_a_small_margin(make: Any, batch: Any, hard_margin: Any) -> None:
    method = make(hard_margin=hard_margin)
    loss, predictions, classes, logits = contrasted(method, batch)
    first, second = logits.softmax(dim=1).topk(2).values.unbind(dim=1)
    hard = (logits.argmax(dim=1) != classes) | (first - second < hard_margin)
    heads, bank = method.learner.heads, method.contrast.bank
    weights = heads.prediction_selectors(predictions, classes)
    bank_weights = method.contrast.bank_weights(method.learner, SETTLED)
    left = classes.masked_fill(~hard, IGNORE)
    assert 0 < (left != IGNORE).sum() < (classes != IGNORE).sum()
    expected = bank_contrast(predictions, left, bank.rows, bank.filled, weights, bank_weights)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_heads_may_have_a_rate_of_their_own(make: Any) -> None:
    assert [group.name for group in make().parameter_groups()] == ["encoder", "attention", "new"]
    groups = {group.name: group for group in make(heads_rate=0.1).parameter_groups()}
    assert (groups["heads"].rate, groups["attention"].rate) == (0.1, 0.01)
    slow = {id(parameter) for parameter in groups["heads"].parameters}
    heads = make(heads_rate=0.1).learner.heads
    assert len(slow) == sum(1 for part in (heads.projector, heads.predictor) for _ in part.parameters())


def test_detached_selectors_learn_and_send_nothing_on(make: Any, batch: Any) -> None:
    """Then a gradient on the heads is that of the contrast with these weights as constants."""
    found = []
    for deviations in (set(), {"detached_selectors"}):
        method = make(**PLAIN, quality_filter=False, deviations=deviations)
        output = method.student(batch.labeled.images)
        method.step(batch, SETTLED)
        target, _ = method.contrast.target(method.learner, SETTLED)
        loss = method.contrast(method.learner, output, batch.labeled.labels, target).loss
        heads = method.learner.heads
        out, selector = heads.predictor.out.weight, heads.prediction_selectors.hidden_weight
        gradients = torch.autograd.grad(loss, (out, selector), retain_graph=True)
        rows, classes = grid_rows(output.features, batch.labeled.labels)
        predictions = heads.predictor(heads.projector(rows, classes, 4), classes, 4)
        weights = heads.prediction_selectors(predictions, classes).detach()
        constant = torch.autograd.grad(mean_contrast(predictions, classes, target, weights), out)[0]
        found.append(torch.allclose(gradients[0], constant, rtol=1e-3, atol=1e-7))
        assert gradients[1].any()
    assert found == [False, True]


def test_curves_show_what_the_contrast_can_reach(make: Any, batch: Any) -> None:
    method = make(**PLAIN, quality_filter=False, watch_gradient=True)
    method.step(batch, SETTLED)
    losses, watch = method.step(batch, SETTLED)
    used = method.contrast.bank.rows[1, : method.contrast.bank.filled[1]]
    assert watch["bank_concentration"][1].item() == pytest.approx(F.normalize(used).mean(dim=0).norm().item(), rel=1e-4)
    assert ((watch["attention_near"] > 0) & (watch["attention_near"] < 1)).all()
    assert ((watch["attention_far"] > 0) & (watch["attention_far"] < 1)).all()
    bias = method.student.network.segmentation_head[0].bias
    assert torch.autograd.grad(losses["sup"], bias)[0].any()  # the graph is still there
    halved = make(**PLAIN, quality_filter=False, watch_gradient=True, contrast_weight=0.05)
    halved.step(batch, SETTLED)
    share = halved.step(batch, SETTLED).watch["contrast_gradient"]
    assert watch["contrast_gradient"].item() == pytest.approx(2 * share.item(), rel=1e-3)


def test_the_teacher_normalizes_with_running_statistics_unless_it_deviates(make: Any, batch: Any) -> None:
    images = batch.unlabeled.images
    for deviations, depends_on_the_batch in ((set(), False), ({"teacher_on_batch_statistics"}, True)):
        method = make(deviations=deviations)
        together, alone = method.teacher(images).logits[0], method.teacher(images[:1]).logits[0]
        assert torch.allclose(together, alone, atol=1e-4) != depends_on_the_batch
        before = [buffer.clone() for buffer in method.teacher.buffers()]
        method.student(images + 0.5)
        method.after_update(method.now(0, 10))
        moved = any(not torch.equal(*pair) for pair in zip(method.teacher.buffers(), before, strict=True))
        assert moved != depends_on_the_batch


@pytest.mark.parametrize("teacher_features", [True, False])
def test_the_heads_that_fill_the_bank_normalize_as_asked(make: Any, batch: Any, teacher_features: Any) -> None:
    for deviations, normalizes in ((set(), False), ({"heads_on_batch_statistics"}, True)):
        one = make(quality_filter=False, teacher_features=teacher_features, deviations=deviations)
        other = deepcopy(one)
        hidden = (other.average_learner.heads if teacher_features else other.learner.heads).projector.hidden
        hidden.bias.data += 1.0  # which batch statistics undo
        for method in (one, other):
            modes = [module.training for module in method.modules()]
            method._fill_bank(batch.labeled, None)
            assert [module.training for module in method.modules()] == modes
        assert torch.allclose(one.contrast.bank.rows, other.contrast.bank.rows, atol=0.01) == normalizes


@pytest.mark.parametrize(
    ("steps", "setting", "momentum"), [(1000, None, 0.99), (150_000, None, 0.9975), (150_000, 0.5, 0.75)]
)
def test_the_teachers_momentum_starts_by_the_length_of_the_run(
    make: Any, steps: int, setting: Any, momentum: Any
) -> None:
    method = make(teacher_momentum=setting)
    for parameter in method.learner.parameters():
        parameter.data += 1.0
    before = [parameter.clone() for parameter in method.average.parameters()]
    method.after_update(method.now(steps // 2, steps))
    for now, was in zip(method.average.parameters(), before, strict=True):
        torch.testing.assert_close(now, was + (1 - momentum), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("step", "momentum"), [(1, 0.5), (9, 0.9), (500, 0.98), (1000, 0.98)])
def test_the_momentum_can_stay_where_it_is(make: Any, step: int, momentum: float) -> None:
    """From the first steps on, in which the teacher is the plain average of the students so far."""
    method = make(momentum_rises=False)
    for parameter in method.learner.parameters():
        parameter.data += 1.0
    before = [parameter.clone() for parameter in method.average.parameters()]
    method.after_update(method.now(step, 1000))
    for now, was in zip(method.average.parameters(), before, strict=True):
        torch.testing.assert_close(now, was + (1 - momentum), rtol=0, atol=1e-5)


def test_the_teacher_may_predict(make: Any) -> None:
    method = make(predictor="teacher")
    assert list(method.networks()) == list(method.needs(method.config).networks) == ["teacher", "student"]
    assert method.networks()["teacher"] is method.teacher
    assert list(make().networks()) == ["student", "teacher"]


def test_where_labels_are_sampled_comes_with_the_weights() -> None:
    """Caffe's layout, which is part of a state, pads no image; of 41 pixels its grid is another."""
    net = NetConfig(arch="deeplabv2", encoder="test_resnet", weights="none")
    saved, loaded = (build(ClassBankMethod, net, num_labeled=1, quality_filter=False) for _ in range(2))
    for learner in (saved.learner, saved.average_learner):
        learner.net.network.set_extra_state(torch.tensor(True))
    loaded.load_state_dict(saved.state_dict())
    assert loaded.student.stride == saved.student.stride == 1
    labels = torch.randint(4, (2, 41, 41))
    features = saved.student.features(torch.rand(2, 3, 41, 41))
    rows = [method.contrast.rows(method.student, features, labels) for method in (saved, loaded)]
    assert torch.equal(rows[0].classes, rows[1].classes)
    pixels = torch.arange(features.shape[-1]) * 41 // features.shape[-1]
    assert torch.equal(rows[0].classes, labels[:, pixels[:, None], pixels].flatten())


def test_a_coarse_feature_map_is_contrasted_whole(batch: Any) -> None:
    net = NetConfig(arch="deeplabv2", encoder="test_resnet", weights="none")  # a grid of 4 x 6
    method = build(ClassBankMethod, net, num_labeled=1, quality_filter=False)
    method.step(batch, SETTLED)
    counts = torch.bincount(batch.labeled.labels[:, ::STRIDE, ::STRIDE].flatten(), minlength=4)[:4]
    assert method.contrast.bank.filled.tolist() == counts.clamp(max=16).tolist()
