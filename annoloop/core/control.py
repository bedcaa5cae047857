"""Did people make more errors than before? An exact answer, with a budget for asking repeatedly.

Under the null hypothesis the new pass over the golden images is like the earlier ones: within each
image its number of errors is a uniform draw from those of all passes. The sum over images then has
a known distribution, the convolution of one small law an image, so the p-value is exact for any
differences between images and any dependence of boxes within one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from math import ceil, log, pi
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import InputError

ERROR_SHARES: Mapping[str, float] = {"missed": 0.4, "spurious": 0.2, "class": 0.2, "location": 0.2}
"""How α is split over the error types; they add up to 1."""

MIN_PASSES = 3
"""So many earlier passes an image needs before the test may decide."""

MISSING = -1
"""Stands for "this pass did not have this image"."""

Counts = NDArray[np.int64]
Tails = Callable[[Counts, Counts, Counts], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class LookPlan:
    """How much false-alarm probability each look and each error type may spend.

    With `looks` planned looks each spends alpha / looks; without a plan look t spends
    6 alpha / (π² t²), which adds up to alpha over all t. The union bound holds although all looks
    share the earlier passes.
    """

    looks: int | None = 20
    alpha: float = 0.05
    shares: Mapping[str, float] = field(default_factory=lambda: ERROR_SHARES)

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0 or (self.looks is not None and self.looks < 1):
            raise InputError(
                f"alpha {self.alpha} over {self.looks} looks is no plan",
                fix="Give an alpha between 0 and 1 and at least one look.",
            )

    def spend(self, look: int) -> float:
        """What look number `look` (from 1) may spend on all error types together.

        Raises InputError when the planned looks are used up: a further look would break the
        guarantee.
        """
        if look < 1:
            raise InputError(f"look {look} does not exist", fix="Looks are counted from 1.")
        if self.looks is None:
            return 6.0 * self.alpha / (pi * look) ** 2
        if look > self.looks:
            raise InputError(
                f"look {look} of {self.looks} planned looks: the false-alarm budget is spent",
                fix="Plan more looks from the start (`--looks`), or record new baseline passes "
                "and count from 1 again.",
            )
        return self.alpha / self.looks

    def level(self, look: int, error: str) -> float:
        """What look number `look` may spend on one error type."""
        return self.spend(look) * self.shares[error]

    def spent(self, look: int) -> float:
        """What the looks up to and including `look` have spent together."""
        return sum(self.spend(t) for t in range(1, look + 1))


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """`smallest_p` is the least p-value that any order of these very counts could have given.

    `changed` counts the images on which not all passes made the same number of errors; only they
    bear on the answer.
    """

    p_value: float
    smallest_p: float
    changed: int


def permutation_test(counts: Counts, *, window: int = 1) -> PermutationTest:
    """One-sided: do the last `window` passes have more errors than the others?

    `counts` (passes, images) are whole numbers ≥ 0, oldest pass first; -1 where a pass did not
    have an image. Under the null the newest `window` passes of an image are any `window` of all
    that it has; an image that lacks one of the newest, or has no others, is left out.

    Raises InputError for a window that is not between 1 and the number of passes less one.
    """
    if not 1 <= window < len(counts):
        raise InputError(
            f"a window of {window} passes out of {len(counts)}",
            fix="The window needs at least one new and one earlier pass.",
        )
    laws, observed = [], 0
    for column in counts.T:
        known = column[column != MISSING]
        new = column[-window:]
        if (new == MISSING).any() or len(known) == window:
            continue
        sums = [sum(chosen) for chosen in combinations(known.tolist(), window)]
        laws.append(np.array(sums, dtype=np.int64))
        observed += int(new.sum())
    if not laws:
        return PermutationTest(1.0, 1.0, 0)
    sizes = np.array([len(law) for law in laws], dtype=np.int64)
    atoms = np.zeros((1, len(laws), int(sizes.max())), dtype=np.int64)
    for row, law in enumerate(laws):
        atoms[0, row, : len(law)] = law
    p_value = float(_kernel()(atoms, sizes, np.array([observed], dtype=np.int64))[0])
    floors = [float((law == law.max()).mean()) for law in laws]
    changed = sum(floor < 1.0 for floor in floors)
    return PermutationTest(min(p_value, 1.0), float(np.prod(floors)), changed)


def critical_sum(counts: Counts, level: float) -> int | None:
    """The least number of errors of the newest pass that would have failed at `level`.

    Given the same counts in any order; None where none of them would. `counts` as in
    `permutation_test`, whose p-value falls as the sum grows: a bisection finds the place.
    """
    laws = [column[column != MISSING] for column in counts.T if column[-1] != MISSING]
    laws = [law for law in laws if len(law) > 1]
    if not laws:
        return None
    sizes = np.array([len(law) for law in laws], dtype=np.int64)
    atoms = np.zeros((1, len(laws), int(sizes.max())), dtype=np.int64)
    for row, law in enumerate(laws):
        atoms[0, row, : len(law)] = law

    def p_value(total: int) -> float:
        return float(_kernel()(atoms, sizes, np.array([total], dtype=np.int64))[0])

    low, high = sum(int(law.min()) for law in laws), sum(int(law.max()) for law in laws)
    if p_value(high) > level:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if p_value(middle) <= level else (middle + 1, high)
    return low


def p_values(counts: Counts) -> NDArray[np.float64]:
    """(repetitions, passes, images) without gaps, newest pass last → (repetitions,) p-values."""
    atoms = np.ascontiguousarray(counts.transpose(0, 2, 1), dtype=np.int64)
    sizes = np.full(atoms.shape[1], atoms.shape[2], dtype=np.int64)
    observed = atoms[:, :, -1].sum(axis=1)
    return np.asarray(np.minimum(_kernel()(atoms, sizes, observed), 1.0))


def images_needed(passes: int, level: float) -> int:
    """How many images a look needs before its p-value can get as low as `level` at all.

    With `passes` earlier passes the least p-value of n images is (passes + 1) ** -n.
    """
    return ceil(round(-log(level) / log(passes + 1), 9))


@lru_cache(maxsize=1)
def _kernel() -> Tails:
    """The compiled convolution; numba is loaded when it is first needed."""
    import numba

    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(Tails, numba.njit(cache=True, **options)(_tails))
    except RuntimeError:  # nowhere to write a cache: each process compiles anew
        return cast(Tails, numba.njit(**options)(_tails))


def _tails(atoms: Counts, sizes: Counts, observed: Counts) -> NDArray[np.float64]:
    """(r, n, a) laws with `sizes` (n,) equally likely atoms each, (r,) sums → P(sum ≥ observed)."""
    tails = np.ones(atoms.shape[0])
    for r in range(atoms.shape[0]):
        width = 1
        for i in range(atoms.shape[1]):
            width += atoms[r, i, : sizes[i]].max() - atoms[r, i, : sizes[i]].min()
        chance, after = np.zeros(width), np.zeros(width)
        chance[0] = 1.0
        length, target = 1, observed[r]
        for i in range(atoms.shape[1]):
            law = atoms[r, i, : sizes[i]]
            least = law.min()
            target -= least
            reach = law.max() - least
            if reach == 0:
                continue
            after[: length + reach] = 0.0
            for k in range(law.size):
                shift = law[k] - least
                for s in range(length):
                    after[s + shift] += chance[s]
            length += reach
            for s in range(length):
                chance[s] = after[s] / law.size
        tails[r] = 0.0
        for s in range(length - 1, target - 1, -1):
            if s >= 0:
                tails[r] += chance[s]
    return tails
