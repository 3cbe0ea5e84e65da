"""The bank against a plain queue per class, over many pushes."""

from collections import deque
from collections.abc import Sequence
from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewmask.models import bank as bank_module
from fewmask.models.bank import ClassBank
from fewmask.shapes import IGNORE

K, SLOTS, SOURCES = 3, 4, 2

Row = tuple[int, float, int]
ROW = st.tuples(
    st.sampled_from([0, 1, 2, K, IGNORE, -1]),  # class
    st.sampled_from([-1.0, 0.0, 0.25, 0.5, 2.0]),  # score; equal ones are common
    st.integers(0, SOURCES - 1),
)
PUSH = st.tuples(st.lists(ROW, max_size=15), st.integers(1, 5))


class Queues:
    """What a bank is: per class a queue that forgets its oldest row."""

    def __init__(self) -> None:
        self.rows: list[deque[float]] = [deque(maxlen=SLOTS) for _ in range(K)]

    def push(self, rows: list[tuple[float, int, float, int]], per_class: int, first_ranked_stay: bool) -> None:
        """Rows are (name, class, score, source)."""
        for label, queue in enumerate(self.rows):
            own = sorted((row for row in rows if row[1] == label), key=lambda row: (row[3], -row[2]))
            taken = [row for _, one in groupby(own, key=lambda row: row[3]) for row in list(one)[:per_class]]
            queue.extend(
                name for name, *_ in (sorted(taken, key=lambda row: (row[2], row[0])) if first_ranked_stay else taken)
            )


def push(
    bank: ClassBank,
    names: Sequence[float],
    rows: list[tuple[int, float, int]],
    per_class: int,
    first_ranked_stay: bool = False,
) -> None:
    """Pushes rows whose vector is their name."""
    classes, scores, sources = ([row[part] for row in rows] for part in range(3))
    bank.push(
        torch.tensor(names, dtype=torch.float32).reshape(-1, 1).expand(-1, 2),
        torch.tensor(classes, dtype=torch.int64),
        torch.tensor(scores, dtype=torch.float32),
        per_class,
        torch.tensor(sources, dtype=torch.int64),
        SOURCES,
        first_ranked_stay,
    )


def held(bank: ClassBank, label: int) -> list[float]:
    """The names of the rows of a class, sorted; the bank gives them no order."""
    return sorted(bank.rows[label, : bank.filled[label], 0].tolist())


@pytest.mark.slow
@settings(max_examples=150)
@given(pushes=st.lists(PUSH, min_size=1, max_size=8), first_ranked_stay=st.booleans())
def test_many_pushes_equal_a_queue_per_class(
    pushes: list[tuple[list[Row], int]],
    first_ranked_stay: bool,
) -> None:
    bank, queues, num_pushed = ClassBank(K, SLOTS, dim=2), Queues(), 0
    for rows, per_class in pushes:
        names = [float(num_pushed + place) for place in range(len(rows))]
        num_pushed += len(rows)
        push(bank, names, rows, per_class, first_ranked_stay)
        named = [(name, *row) for name, row in zip(names, rows, strict=True)]
        queues.push(named, per_class, first_ranked_stay)
        # After every push, so that what was dropped, and so the order of the queue, is seen as well.
        assert [held(bank, label) for label in range(K)] == [sorted(queue) for queue in queues.rows]


def test_the_highest_scored_rows_of_each_source_enter() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    push(bank, [1, 2, 3, 4], [(1, 0.1, 0), (1, 0.9, 0), (1, 0.5, 1), (0, 0.2, 1)], per_class=1)
    assert [held(bank, label) for label in range(K)] == [[4], [2, 3], []]


def test_the_oldest_row_makes_room() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    for name in range(6):
        push(bank, [name], [(2, 0.0, 0)], per_class=1)
    assert held(bank, 2) == [2, 3, 4, 5]


def test_the_last_stay_when_more_come_than_there_are_slots() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    push(bank, [1, 2, 3, 4, 5, 6], [(0, -float(place), 0) for place in range(6)], per_class=6)
    assert held(bank, 0) == [3, 4, 5, 6]


def test_the_first_ranked_row_of_the_oldest_push_may_stay_longest() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    push(bank, [1, 2, 3], [(0, 0.1, 1), (0, 0.9, 0), (0, 0.5, 1)], per_class=3, first_ranked_stay=True)
    for name, left in ((4, [1, 2, 3]), (5, [2, 3]), (6, [2]), (7, [])):
        push(bank, [name], [(0, 0.0, 0)], per_class=1, first_ranked_stay=True)
        assert [row for row in held(bank, 0) if row < 4] == left


def test_no_slot_is_written_twice_in_a_push(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU writes in any order."""
    written: list[list[int]] = []
    monkeypatch.setattr(bank_module, "_write", lambda slots, slot, rows, wanted: written.append(slot[wanted].tolist()))
    push(ClassBank(K, SLOTS, dim=2), range(6), [(0, -float(place), 0) for place in range(6)], per_class=6)
    assert [sorted(slots) for slots in written] == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("label", [-1, K, IGNORE])
def test_rows_of_no_class_change_nothing(label: int) -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    push(bank, [7, 8], [(0, 0.0, 0), (1, 0.0, 0)], per_class=2)
    before = {name: tensor.clone() for name, tensor in bank.state_dict().items()}
    push(bank, [9, 9], [(label, 1.0, 0)] * 2, per_class=2)
    assert all(torch.equal(bank.state_dict()[name], tensor) for name, tensor in before.items())


def test_rows_of_no_class_take_nobodys_place() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    push(bank, [9, 1], [(IGNORE, 5.0, 0), (0, 0.0, 0)], per_class=1)
    assert held(bank, 0) == [1]


def test_without_sources_the_whole_push_is_one() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    features = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    bank.push(features, torch.zeros(3, dtype=torch.int64), torch.tensor([0.1, 0.3, 0.2]), per_class=2)
    assert held(bank, 0) == [2, 3]


def test_row_classes_name_the_slots_in_use() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    push(bank, [1, 2, 3], [(0, 0.0, 0), (2, 0.0, 0), (2, 0.0, 0)], per_class=4)
    assert bank.row_classes.tolist() == [[0, K, K, K], [K] * 4, [2, 2, K, K]]


def test_buffers_change_in_place() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    places = [buffer.data_ptr() for buffer in bank.buffers()]
    for name in range(6):
        push(bank, [name], [(0, 0.0, 0)], per_class=1)
    assert [buffer.data_ptr() for buffer in bank.buffers()] == places


def test_a_state_dict_carries_the_queue_on() -> None:
    bank, other = ClassBank(K, SLOTS, dim=2), ClassBank(K, SLOTS, dim=2)
    for name in range(6):
        push(bank, [name], [(0, 0.0, 0)], per_class=1)
    other.load_state_dict(bank.state_dict())
    for each in (bank, other):
        push(each, [6, 7], [(0, 0.0, 0)] * 2, per_class=2)
    assert held(other, 0) == held(bank, 0) == [4, 5, 6, 7]


def test_appended_rows_enter_in_their_order_and_leave_what_is_not_theirs() -> None:
    bank, queues, name = ClassBank(K, SLOTS, 1), Queues(), 0.0
    for _ in range(12):
        wanted, rows = torch.rand(K, SLOTS) < 0.4, torch.zeros(K, SLOTS, 1)
        for label, slot in wanted.nonzero().tolist():
            name += 1
            rows[label, slot] = name
            queues.rows[label].append(name)
        bank.append(rows, wanted)
        assert [held(bank, label) for label in range(K)] == [sorted(queue) for queue in queues.rows]


def test_half_precision_features_are_kept_as_float32() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    bank.push(torch.tensor([[1.5, 0.1]]).bfloat16(), torch.tensor([1]), torch.tensor([0.0]).bfloat16(), per_class=1)
    assert bank.rows.dtype == torch.float32
    assert torch.equal(bank.rows[1, 0], torch.tensor([1.5, 0.1]).bfloat16().float())


def test_no_gradient_enters_the_bank() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    features = torch.randn(2, 2, requires_grad=True)
    bank.push(features, torch.tensor([0, 1]), torch.zeros(2), per_class=1)
    assert not bank.rows.requires_grad


def test_scores_stay_with_their_rows() -> None:
    bank = ClassBank(K, SLOTS, dim=2)
    for name in range(7):
        push(bank, [name, name + 0.5], [(1, name / 10, 0), (2, name / 5, 0)], per_class=1)
    torch.testing.assert_close(bank.scores[1], bank.rows[1, :, 0] / 10)
    torch.testing.assert_close(bank.scores[2], (bank.rows[2, :, 0] - 0.5) / 5)
    assert (bank.scores[0] == 0).all()
