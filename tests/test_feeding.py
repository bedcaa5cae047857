"""Images on their way into a network: their size, their order, their errors."""

import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from annoloop.errors import InputError, VectorError
from annoloop.feeding import Canvas, Feed, ahead, batches, fitted, vectors


def picture(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(folder, name, pixels):
    cv2.imwrite(str(folder / name), pixels[..., ::-1])
    return str(folder / name)


@pytest.mark.parametrize("fit", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(8, 8), (1, 1), (300, 2), (2, 300), (64, 48)])
def test_every_image_gets_the_size_of_the_canvas(fit, size):
    out = fitted(picture(*size), Canvas(32, 24, fit))
    assert out.shape == (24, 32, 3)
    assert out.dtype == np.uint8


def test_a_crop_is_the_middle_and_a_letterbox_is_all():
    wide = picture(96, 24)
    np.testing.assert_array_equal(fitted(wide, Canvas(32, 24, "crop")), wide[:, 32:64])
    boxed = fitted(wide, Canvas(96, 48, "letterbox"))
    np.testing.assert_array_equal(boxed[12:36], wide)
    assert (boxed[:12] == 114).all()
    assert (boxed[36:] == 114).all()


def test_batches_keep_the_order_and_name_the_owners(tmp_path):
    files = [save(tmp_path, f"{n}.png", picture(10, 10, n)) for n in range(5)]
    boxes = [[(0, 0, 5, 5), (5, 5, 5, 5)], [], [(0, 0, 10, 10)], [], [(2, 2, 4, 4)]]
    found = list(batches(files, boxes, canvas=Canvas(5, 5), size=3, threads=2))
    assert [owners for owners, _ in found] == [[files[0], files[0], files[2]], [files[4]]]
    np.testing.assert_array_equal(found[0][1][1], picture(10, 10, 0)[5:, 5:])
    assert list(batches([], canvas=Canvas(5, 5), size=3, threads=2)) == []


def test_no_more_is_computed_ahead_than_there_is_room_for():
    begun = []
    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, lambda n: begun.append(n) or n, range(100), room=4)
        assert next(results) == 0
        assert len(begun) <= 5
        assert list(results) == list(range(1, 100))


def test_an_error_ends_it_and_leaves_no_work_behind(tmp_path):
    good = save(tmp_path, "good.png", picture(10, 10))
    files = [good, str(tmp_path / "gone.png"), *[good] * 50]
    before = threading.active_count()
    with pytest.raises(InputError, match=r"gone\.png"):
        list(batches(files, canvas=Canvas(5, 5), size=4, threads=2))
    assert threading.active_count() == before


def test_rows_are_of_unit_length_and_what_is_not_finite_names_its_image(tmp_path):
    files = [save(tmp_path, f"{n}.png", np.full((4, 4, 3), n, np.uint8)) for n in range(3)]
    feed = Feed(Canvas(4, 4), 2, 1, "net", "mend it")

    def network(pictures):
        means = pictures.mean(axis=(1, 2, 3))
        return np.stack([means, means + 1], axis=1).astype(np.float32)

    rows = vectors(feed, network, files)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert vectors(feed, network, []).shape == (0, 2)
    with pytest.raises(VectorError, match=r"net gives NaN or infinity for .*2\.png") as caught:
        vectors(feed, lambda p: np.where(network(p) > 2.5, np.nan, 1), files)
    assert caught.value.fix == "mend it"
