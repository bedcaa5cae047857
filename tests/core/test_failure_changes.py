from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.failure_changes import changes
from annoloop.records import Failure, FailureType

CUP, MUG = 0, 1
BOX, FAR = (0.0, 0.0, 40.0, 40.0), (200.0, 200.0, 40.0, 40.0)
NEAR = (25.0, 0.0, 40.0, 40.0)  # IoU 0.23 with BOX
MISSED = Failure("a", FailureType.MISSED, CUP, BOX, truth_class_id=CUP)
ALARM = Failure("a", FailureType.BACKGROUND, MUG, FAR, score=0.9)


def between(before, after, *, then=("a",), now=("a",)):
    return changes(before, after, measured_before=set(then), measured_after=set(now))


def counts(made):
    return len(made.fixed), len(made.new), len(made.still), len(made.unseen)


def test_fixed_new_and_still_there():
    made = between([MISSED, ALARM], [ALARM, replace(ALARM, class_id=CUP)])
    assert made.fixed == (MISSED,)
    assert made.new == (replace(ALARM, class_id=CUP),)
    assert made.still == ((ALARM, ALARM),)


def test_a_missed_box_that_is_now_badly_placed_is_still_there():
    placed = Failure("a", FailureType.LOCATION, CUP, NEAR, 0.8, truth_class_id=CUP, iou=0.23)
    assert between([MISSED], [placed]).still == ((MISSED, placed),)
    called = Failure("a", FailureType.CLASS, MUG, BOX, 0.8, truth_class_id=CUP, iou=1.0)
    assert between([MISSED], [called]).still == ((MISSED, called),)


def test_a_false_alarm_of_another_class_is_another_failure():
    made = between([ALARM], [replace(ALARM, class_id=CUP, truth_class_id=MUG, iou=0.05)])
    assert counts(made) == (1, 1, 0, 0)


def test_the_same_type_goes_first_even_where_it_overlaps_less():
    near = replace(MISSED, box=NEAR)
    called = Failure("a", FailureType.CLASS, MUG, BOX, 0.8, truth_class_id=CUP, iou=1.0)
    made = between([MISSED], [called, near])
    assert made.still == ((MISSED, near),)
    assert made.new == (called,)


def test_images_that_only_one_of_them_was_measured_on_tell_nothing():
    elsewhere = replace(MISSED, sample_id="b")
    made = between([MISSED], [elsewhere], then=("a",), now=("b",))
    assert counts(made) == (0, 0, 0, 1)


boxes = st.tuples(st.sampled_from([0.0, 20.0, 60.0]), st.just(0.0), st.just(40.0), st.just(40.0))
failures = st.lists(
    st.builds(
        Failure,
        sample_id=st.sampled_from("ab"),
        type=st.sampled_from(list(FailureType)),
        class_id=st.integers(0, 1),
        box=boxes,
        truth_class_id=st.sampled_from([None, 0, 1]),
    ),
    max_size=6,
)


@given(failures, failures)
@settings(max_examples=100, deadline=None)
def test_nothing_is_lost_or_told_twice(before, after):
    made = between(before, after, then="ab", now="ab")
    assert len(made.fixed) + len(made.still) == len(before)
    assert len(made.new) + len(made.still) == len(after)
    unchanged = between(before, before, then="ab", now="ab")
    assert counts(unchanged) == (0, 0, len(before), 0)
    assert all(old.type == now.type for old, now in unchanged.still)
