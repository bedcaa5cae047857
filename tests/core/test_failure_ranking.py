import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.core.failure_ranking import wilson, worst_images
from annoloop.core.failures import high_fn
from annoloop.records import ImageResult


def test_the_crowd_does_not_lead_as_it_does_by_counts():
    crowd = ImageResult("crowd", tp=100, fp=6, fn=9)
    lost = ImageResult("lost", tp=0, fp=0, fn=4)
    mixed = ImageResult("mixed", tp=3, fp=4, fn=5)
    single = ImageResult("single", tp=0, fp=1, fn=0)
    results = [crowd, single, mixed, lost, ImageResult("clean", tp=9, fp=0, fn=0)]
    assert high_fn(results)[0] == "crowd"
    ranked = worst_images(results)
    assert [one.result.sample_id for one in ranked] == ["lost", "mixed", "single", "crowd"]
    assert [round(one.at_least, 2) for one in ranked] == [0.8, 0.61, 0.5, 0.1]
    assert ranked[1].share == 0.75


def test_of_equal_images_the_id_decides_and_top_cuts():
    results = [ImageResult(key, tp=0, fp=1, fn=0) for key in "cba"]
    assert [one.result.sample_id for one in worst_images(results, top=2)] == ["a", "b"]


@given(st.integers(1, 500), st.integers(0, 500))
def test_the_bound_is_below_the_share_and_rises_with_evidence(events, others):
    share = events / (events + others)
    bound = wilson(events, events + others)
    assert 0 < bound < share or bound == pytest.approx(share)
    assert wilson(2 * events, 2 * (events + others)) > bound
