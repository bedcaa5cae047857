"""Near-duplicates: all close hashes are proposed, pixels confirm, clusters do not chain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.duplicates import CELL, SIDE, clusters, confirm, propose
from annoloop.errors import InputError


def pairs_of(*pairs):
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def plain(hashes, distance):
    n = len(hashes)
    near = [(a, b) for a in range(n) for b in range(a + 1, n)]
    return [
        list(p) for p in near if (int(hashes[p[0]]) ^ int(hashes[p[1]])).bit_count() <= distance
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 63), max_size=5)), max_size=25),
    st.integers(0, 6),
)
def test_every_pair_within_the_distance_is_proposed_once(flips, distance):
    stock = [0, 2**64 - 1, 0x0123456789ABCDEF]
    hashes = [stock[which] ^ sum(1 << bit for bit in set(bits)) for which, bits in flips]
    hashes = np.array(hashes, dtype=np.uint64)
    found = propose(hashes, max_distance=distance)
    assert found.pairs.tolist() == plain(hashes, distance)
    assert found.pairs.dtype == np.int64
    assert found.notes == ()
    assert not len(found.crowded)


def test_a_crowd_is_reported_and_not_expanded():
    hashes = np.array([7] * 6 + [2**40, 2**40 + 1], dtype=np.uint64)
    found = propose(hashes, crowd=5)
    assert found.pairs.tolist() == [[6, 7]]
    assert found.crowded.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert "8 images look alike to the hash in crowds of more than 5" in found.notes[0]
    assert len(propose(hashes, crowd=8).pairs) == 28


def test_a_hundred_thousand_hashes_are_compared_without_meeting_all():
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 2**64, 100_000, dtype=np.uint64)
    hashes[90_000:90_050] = hashes[:50] ^ np.uint64(1 << 63 | 1 << 31 | 1 << 12 | 1)
    found = propose(hashes)
    assert found.pairs.tolist() == [[i, 90_000 + i] for i in range(50)]


def test_a_distance_that_says_nothing():
    with pytest.raises(InputError, match="say nothing"):
        propose(np.zeros(2, dtype=np.uint64), max_distance=64)


def scene():
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    return (40 + 3 * x + 2 * y).astype(np.uint8)


def with_object(row, column, grey):
    image = scene()
    image[row : row + CELL, column : column + CELL] = grey
    return image


def test_copies_are_confirmed_and_moved_objects_are_not():
    noise = np.random.default_rng(0).integers(-3, 4, (SIDE, SIDE))
    images = [
        scene(),
        (scene() + noise).astype(np.uint8),  # compressed again
        scene() + 4,  # a little brighter
        scene() + 5,  # brighter than that
        with_object(4, 4, 255),
        with_object(20, 8, 255),
        255 - scene(),
    ]
    thumbs = np.stack([image.ravel() for image in images])
    pairs = pairs_of([0, 1], [0, 2], [0, 3], [4, 5], [0, 4], [0, 6], [5, 5])
    assert confirm(pairs, thumbs).tolist() == [True, True, False, False, False, False, True]
    assert confirm(pairs[2:3], thumbs, max_mean_difference=5).tolist() == [True]
    assert confirm(pairs[3:5], thumbs, max_cell_difference=255).tolist() == [True, True]
    assert confirm(pairs_of(), thumbs).shape == (0,)


def test_thumbnails_of_another_size():
    with pytest.raises(InputError, match="32 × 32"):
        confirm(pairs_of([0, 1]), np.zeros((2, 64), dtype=np.uint8))


def test_a_star_is_one_cluster_and_a_chain_is_not():
    star = clusters(200, pairs_of([0, 5], [5, 9], [9, 5]))
    assert star.representative[[0, 5, 9]].tolist() == [5, 5, 5]
    assert star.pairs.tolist() == [[0, 5], [5, 9]]
    chain = clusters(200, pairs_of([0, 1], [1, 2], [2, 3], [3, 4]))
    assert chain.representative[:5].tolist() == [1, 1, 1, 3, 3]
    assert chain.pairs.tolist() == [[0, 1], [1, 2], [3, 4]]
    assert chain.apart.tolist() == [[2, 3]]
    assert "1 near-duplicate pairs link two clusters" in chain.notes[0]


def test_a_cluster_of_more_than_two_percent_is_dissolved_and_reported():
    crowd = pairs_of(*([a, b] for a in range(5) for b in range(a)), [10, 11])
    found = clusters(200, crowd)
    assert found.dissolved == ((0, 1, 2, 3, 4),)
    assert found.pairs.tolist() == [[10, 11]]
    assert found.representative[:5].tolist() == [0, 1, 2, 3, 4]
    assert "5 images look alike in 1 sets of more than 4 (up to 5)" in found.notes[0]
    assert len(clusters(200, crowd, limit_share=0.025).pairs) == 11
    assert clusters(3, pairs_of([0, 1])).pairs.tolist() == [[0, 1]]  # two may always be one


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60),
    st.sampled_from([0.02, 0.1, 0.5]),
    st.randoms(use_true_random=False),
)
def test_members_are_confirmed_with_their_representative(n, links, share, shuffler):
    links = [list(p) for p in links if max(p) < n]
    known = {frozenset(p) for p in links}
    found = clusters(n, pairs_of(*links), limit_share=share)
    for member, centre in enumerate(found.representative.tolist()):
        assert member == centre or frozenset({member, centre}) in known
    assert np.bincount(found.representative).max() <= max(2, int(share * n))
    assert all(len(star) > max(2, int(share * n)) for star in found.dissolved)
    for a, b in found.pairs.tolist():
        assert found.representative[a] == found.representative[b]
        assert frozenset({a, b}) in known
    gone = {i for star in found.dissolved for i in star}
    listed = {frozenset(p) for p in [*found.pairs.tolist(), *found.apart.tolist()]}
    assert listed == {pair for pair in known if len(pair) == 2 and not pair & gone}
    mixed = [pair[::-1] for pair in links]
    shuffler.shuffle(mixed)
    again = clusters(n, pairs_of(*mixed), limit_share=share)
    np.testing.assert_array_equal(found.representative, again.representative)
    np.testing.assert_array_equal(found.pairs, again.pairs)
