import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.core.ambiguity import (
    Cause,
    Judged,
    Said,
    agree,
    allocate,
    cause,
    dispute,
    read,
    shares,
)
from annoloop.records import Failure, FailureType, Label

CUP, MUG = 0, 1
PLACE, NEAR, FAR = (10.0, 10.0, 20.0, 20.0), (22.0, 10.0, 20.0, 20.0), (70.0, 70.0, 9.0, 9.0)
OLD, OTHER, ELSEWHERE = Label(CUP, PLACE), Label(MUG, PLACE), Label(CUP, FAR)


def failure(kind, class_id=CUP, box=PLACE, truth=None):
    return Failure("s", kind, class_id, box, truth_class_id=truth)


MISSED = dispute(failure(FailureType.MISSED, truth=CUP), [OLD, ELSEWHERE])
BACKGROUND = dispute(failure(FailureType.BACKGROUND), [ELSEWHERE])
CLASS = dispute(failure(FailureType.CLASS, MUG, truth=CUP), [OLD, ELSEWHERE])
LOCATION = dispute(failure(FailureType.LOCATION, box=NEAR, truth=CUP), [OLD, ELSEWHERE])
DUPLICATE = dispute(failure(FailureType.DUPLICATE, box=(12.0, 10.0, 20.0, 20.0), truth=CUP), [OLD])


@pytest.mark.parametrize(
    ("disputed", "answer", "said"),
    [
        (MISSED, [OLD], Said.LABEL),
        (MISSED, [ELSEWHERE], Said.MODEL),
        (MISSED, [OTHER], Said.ELSE),
        (BACKGROUND, [OLD], Said.MODEL),
        (BACKGROUND, [], Said.LABEL),
        (BACKGROUND, [OTHER], Said.ELSE),
        (CLASS, [OTHER], Said.MODEL),
        (CLASS, [OLD], Said.LABEL),
        (CLASS, [Label(2, PLACE)], Said.ELSE),
        (CLASS, [], Said.ELSE),
        (LOCATION, [OLD], Said.LABEL),
        (LOCATION, [Label(CUP, NEAR)], Said.MODEL),
        (LOCATION, [Label(CUP, (15.0, 10.0, 20.0, 20.0))], Said.LABEL),
        (DUPLICATE, [OLD], Said.LABEL),
        (DUPLICATE, [OLD, Label(CUP, (13.0, 10.0, 20.0, 20.0))], Said.MODEL),
        (DUPLICATE, [OTHER], Said.ELSE),
        (MISSED, None, Said.UNSURE),
    ],
)
def test_what_an_answer_says_at_the_place_of_a_failure(disputed, answer, said):
    assert read(disputed, answer) is said


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ([OTHER], [OTHER], Cause.LABEL),
        ([OLD], [OLD], Cause.MODEL),
        ([OTHER], [OLD], Cause.AMBIGUOUS),
        ([OTHER], None, Cause.AMBIGUOUS),
        (None, None, Cause.AMBIGUOUS),
        ([], [], Cause.BOTH),
        ([Label(2, PLACE)], [Label(2, PLACE)], Cause.BOTH),
        ([Label(2, PLACE)], [], Cause.AMBIGUOUS),
    ],
)
def test_two_answers_find_the_cause(first, second, found):
    assert cause(CLASS, first, second) is found


def test_an_ignored_label_is_not_what_the_model_contradicts():
    crowd = Label(CUP, PLACE, crowd=True)
    assert dispute(failure(FailureType.CLASS, MUG, truth=CUP), [crowd]).label is None


def judged(counts, kind=FailureType.MISSED, start=0):
    rows = [one for one, number in counts.items() for _ in range(number)]
    return [Judged(f"{kind}{start + i}", kind, one) for i, one in enumerate(rows)]


def test_shares_are_weighted_by_what_the_types_are_worth():
    rows = judged({Cause.AMBIGUOUS: 10}) + judged({Cause.MODEL: 10}, FailureType.CLASS)
    rng = np.random.default_rng(0)
    even = shares(rows, {FailureType.MISSED: 0.1, FailureType.CLASS: 0.1}, rng=rng)
    assert even.ambiguous.value == pytest.approx(0.5)
    tilted = shares(rows, {FailureType.MISSED: 0.3, FailureType.CLASS: 0.1}, rng=rng)
    assert tilted.ambiguous.value == pytest.approx(0.75)
    assert shares(rows, {}, rng=rng).ambiguous.value == pytest.approx(0.5)
    assert shares([], {}, rng=rng) is None


def test_wrong_on_both_sides_counts_on_both():
    rows = judged({Cause.BOTH: 4, Cause.LABEL: 2, Cause.MODEL: 3, Cause.AMBIGUOUS: 1})
    found = shares(rows, {FailureType.MISSED: 1.0}, rng=np.random.default_rng(0))
    assert found.label.value == pytest.approx(0.6)
    assert found.model.value == pytest.approx(0.7)
    assert found.not_model.value == pytest.approx(0.3)
    assert found.counts == {"both": 4, "label error": 2, "model error": 3, "ambiguous": 1}
    assert 0 <= found.label.low < found.label.value


def test_what_never_differed_in_a_few_is_not_certain():
    weights = {FailureType.MISSED: 1.0}
    for number, bound in ((1, 0.05), (3, 0.368), (20, 0.861)):
        rows = judged({Cause.AMBIGUOUS: number})
        found = shares(rows, weights, rng=np.random.default_rng(0)).ambiguous
        assert found.value == 1.0
        assert found.low == pytest.approx(bound, abs=0.002)  # 0.05 ** (1 / number)


def test_failures_of_one_image_are_no_independent_evidence():
    causes = [Cause.AMBIGUOUS, Cause.MODEL]
    alone = [Judged(str(i), FailureType.MISSED, causes[i % 2]) for i in range(60)]
    crowded = [Judged(str(i // 6), FailureType.MISSED, causes[i // 6 % 2]) for i in range(60)]
    weights = {FailureType.MISSED: 1.0}
    one, two = (shares(rows, weights, rng=np.random.default_rng(0)) for rows in (alone, crowded))
    assert one.ambiguous.value == pytest.approx(two.ambiguous.value)
    assert two.ambiguous.low < one.ambiguous.low - 0.1


def test_sixty_failures_tell_seventy_percent_from_fifty():
    """Short form of benchmarks/stopping.py: ≥ 80 % stop at true 70 %, ≤ 5 % (+ noise) at 50 %."""
    stopped = {0.5: 0, 0.7: 0}
    for true in stopped:
        for seed in range(120):
            rng = np.random.default_rng(seed)
            rows = [
                Judged(f"{kind}{i}", kind, Cause.AMBIGUOUS if rng.random() < true else Cause.MODEL)
                for kind, number in ((FailureType.MISSED, 36), (FailureType.CLASS, 24))
                for i in range(number)
            ]
            weights = {FailureType.MISSED: 0.3, FailureType.CLASS: 0.2}
            stopped[true] += shares(rows, weights, rng=rng).ambiguous.low > 0.5
    assert stopped[0.7] >= 0.8 * 120
    assert stopped[0.5] <= 12


@given(
    st.dictionaries(
        st.sampled_from(list(FailureType)),
        st.lists(st.floats(0, 1), min_size=1, max_size=40),
        min_size=1,
    ),
    st.integers(1, 80),
)
def test_a_sample_has_its_size_and_every_type_that_fits(prices, size):
    given_out = allocate(prices, size)
    there = sum(map(len, prices.values()))
    assert sum(given_out.values()) == min(size, there)
    for kind, number in given_out.items():
        assert 0 <= number <= len(prices[kind])
        if size >= len(prices):
            assert number >= 1


def test_a_sample_follows_the_price():
    prices = {FailureType.MISSED: [0.3] * 100, FailureType.CLASS: [0.1] * 100}
    assert allocate(prices, 60) == {FailureType.MISSED: 45, FailureType.CLASS: 15}
    free = {FailureType.MISSED: [0.0] * 30, FailureType.CLASS: [0.0] * 10}
    assert allocate(free, 20) == {FailureType.MISSED: 15, FailureType.CLASS: 5}


def test_two_answers_agree_box_by_box():
    moved = Label(CUP, (11.0, 11.0, 20.0, 20.0))
    assert agree([OLD, ELSEWHERE], [ELSEWHERE, moved])
    assert agree([], [])
    assert not agree([OLD], [])
    assert not agree([OLD], [OTHER])
    assert not agree([OLD, OLD], [OLD, ELSEWHERE])
