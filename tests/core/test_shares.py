"""Shares of an image and pixels, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.core.shares import to_pixels, to_shares

numbers = st.floats(-0.5, 1.5)
sides = st.integers(1, 20_000)


@given(st.tuples(numbers, numbers, numbers, numbers), sides, sides)
def test_both_ways_to_a_millionth_of_a_pixel(
    shares: tuple[float, float, float, float], width: int, height: int
) -> None:
    box = to_pixels(shares, width, height)
    assert to_pixels(to_shares(box, width, height), width, height) == pytest.approx(box, abs=1e-6)
    assert to_shares(box, width, height) == pytest.approx(shares, abs=1e-12)


def test_an_example() -> None:
    assert to_pixels((0.1, 0.5, 0.25, 0.5), 640, 480) == (64.0, 240.0, 160.0, 240.0)
