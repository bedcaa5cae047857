"""Published data: the same boxes in all formats, and what is known to be odd is found."""

from __future__ import annotations

import pytest

from annoloop.adapters.coco import CocoReader, CocoWriter
from annoloop.adapters.voc import VocReader, VocWriter
from annoloop.adapters.yolo import YoloReader, YoloWriter
from annoloop.records import LabeledImage


@pytest.fixture(scope="module")
def padilla(shared_data):
    folder = shared_data / "eval_fixtures" / "padilla_formats_voc100"
    if not folder.is_dir():
        pytest.skip("padilla_formats_voc100 is not among the real data sets")
    return folder


def flat(found):
    """Sorted rows of image, class, x, y, width, height."""
    return sorted(
        (image.path, found.classes[label.class_id], *label.box)
        for image in found.images
        for label in image.labels
    )


@pytest.fixture(scope="module")
def expected(padilla):
    found = CocoReader().read(padilla / "gts" / "coco_format_v1")
    assert len(found.images) == 100
    assert len(flat(found)) == 273
    return flat(found)


def assert_same(rows, expected, tolerance=0.0):
    """YOLO rounds, which may swap rows that sort closely: so each row is looked up."""
    assert len(rows) == len(expected)
    left = list(rows)
    for row in expected:
        near = [
            other
            for other in left
            if other[:2] == row[:2] and other[2:] == pytest.approx(row[2:], abs=tolerance)
        ]
        assert near, f"no box like {row}"
        left.remove(near[0])


def test_both_coco_dialects(padilla, expected):
    assert flat(CocoReader().read(padilla / "gts" / "coco_format_v2")) == expected


@pytest.mark.parametrize("folder", ["pascalvoc_format", "imagenet_format"])
def test_voc_agrees_without_counting_from_one(padilla, expected, folder):
    assert flat(VocReader().read(padilla / "gts" / folder)) == expected
    shifted = flat(VocReader(one_based=True).read(padilla / "gts" / folder))
    assert all(
        a[2] == b[2] - 1 and a[4] == b[4] + 1 for a, b in zip(shifted, expected, strict=True)
    )


def test_darknet_agrees_to_its_six_digits(padilla, expected):
    found = YoloReader(images=str(padilla / "images")).read(padilla / "gts" / "yolo_format")
    assert len(found.images) == 100
    assert found.problems == ()
    assert_same(flat(found), expected, tolerance=1e-3)


def test_each_writer_gives_back_the_same_boxes(padilla, expected, tmp_path):
    found = VocReader().read(padilla / "gts" / "pascalvoc_format")
    images = [
        LabeledImage(
            image.path,
            image.path,
            str(padilla / "images" / image.path),
            image.width,
            image.height,
            image.labels,
            reviewed=True,
        )
        for image in found.images
    ]
    for writer, reader in (
        (CocoWriter(), CocoReader()),
        (VocWriter(), VocReader()),
        (YoloWriter(), YoloReader()),
    ):
        out = tmp_path / type(writer).__name__
        writer.write(out, images, classes=found.classes)
        assert_same(flat(reader.read(out)), expected, tolerance=1e-6)


def test_blood_cells_have_two_boxes_without_area(shared_data):
    found = VocReader().read(shared_data / "bccd" / "BCCD")
    assert found.classes == ("Platelets", "RBC", "WBC")
    assert len(found.images) == 364
    assert len(flat(found)) == 4_888 - 2
    assert [(p.file, p.row) for p in found.problems] == [
        ("BloodImage_00338.xml", "object[12]"),
        ("BloodImage_00343.xml", "object[3]"),
    ]


def test_microcontrollers_lie_in_two_folders(shared_data):
    found = VocReader().read(shared_data / "microcontrollers" / "images")
    assert (len(found.images), len(flat(found)), len(found.classes)) == (149, 177, 4)
    assert {image.path.partition("/")[0] for image in found.images} == {"train", "test"}
    assert found.problems == ()


def test_coco_crowds_and_sparse_ids_are_read(shared_data):
    folder = shared_data / "eval_fixtures" / "cocoapi_fakebbox100"
    found = CocoReader().read(folder / "instances_val2014_100.json")
    assert found.classes[:2] == ("person", "bicycle")
    assert len(found.classes) == 80
    assert sum(label.crowd for image in found.images for label in image.labels) > 0
