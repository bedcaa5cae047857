import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.core.documents import (
    clipped,
    coco_document,
    read_detections,
    yolo_lines,
    yolo_yaml,
)
from annoloop.errors import TrainerError
from annoloop.records import Detection, Label, LabeledImage

IMAGES = (
    LabeledImage(
        "aa",
        "a.jpg",
        "/a.jpg",
        100,
        50,
        (Label(1, (10, 20, 30, 20)), Label(0, (0, 0, 5, 5), crowd=True)),
    ),
    LabeledImage("bb", "b.jpg", "/b.jpg", 40, 40),
)
CLASSES = ("cat", "dog")
GOOD = {"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.5}


def read(*rows):
    return read_detections(list(rows), IMAGES, classes=CLASSES, source="out.json")


def test_coco_holds_empty_images_and_marks():
    document = coco_document(IMAGES, classes=CLASSES, names=("x/aa.jpg", "x/bb.jpg"))
    assert document["categories"] == [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    assert document["images"][1] == {
        "id": 2,
        "sample_id": "bb",
        "file_name": "x/bb.jpg",
        "width": 40,
        "height": 40,
    }
    assert [(a["id"], a["image_id"], a["category_id"]) for a in document["annotations"]] == [
        (1, 1, 1),
        (2, 1, 0),
    ]
    assert [a["iscrowd"] for a in document["annotations"]] == [0, 1]
    assert document["annotations"][0]["bbox"] == [10, 20, 30, 20]


def test_yolo_lines_are_shares_and_leave_ignored_boxes_out():
    assert yolo_lines(IMAGES[0]) == "1 0.25 0.6 0.3 0.4\n"
    assert yolo_lines(IMAGES[1]) == ""
    beyond = LabeledImage("c", "c", "c", 100, 100, (Label(0, (-10, 90, 20, 20)),))
    assert yolo_lines(beyond) == "0 0.05 0.95 0.1 0.1\n"
    assert 'names: ["cat", "a \\"b\\""]' in yolo_yaml(("cat", 'a "b"'))


def test_detections_come_by_image_best_first_and_cut_at_the_border():
    found = read(
        GOOD,
        GOOD | {"score": 0.9, "bbox": [90.0, 40.0, 20.0, 20.0]},
        GOOD | {"image_id": "bb", "category_id": 1, "score": 1},
    )
    assert found == [
        (Detection(0, (90, 40, 10, 10), 0.9), Detection(0, (1, 2, 3, 4), 0.5)),
        (Detection(1, (1, 2, 3, 4), 1.0),),
    ]
    assert read() == [(), ()]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_id": 3}, "image_id 3 was not asked for"),
        ({"image_id": True}, "image_id True"),
        ({"image_id": [1]}, r"image_id \[1\]"),
        ({"image_id": None}, "image_id None"),
        ({"category_id": 2}, "category_id 2 is none of 0 to 1"),
        ({"category_id": -1}, "category_id -1"),
        ({"category_id": "cat"}, "category_id 'cat'"),
        ({"category_id": True}, "category_id True"),
        ({"score": 1.2}, "score 1.2"),
        ({"score": -0.1}, "score -0.1"),
        ({"score": math.nan}, "score nan"),
        ({"score": None}, "score None"),
        ({"score": "0.5"}, "score '0.5'"),
        ({"bbox": [1, 2, 3]}, "not four finite numbers"),
        ({"bbox": [1, 2, 3, math.nan]}, "not four finite numbers"),
        ({"bbox": [1, 2, math.inf, 4]}, "not four finite numbers"),
        ({"bbox": [1, 2, 10**400, 4]}, "not four finite numbers"),
        ({"bbox": [1, 2, "3", 4]}, "not four finite numbers"),
        ({"bbox": None}, "not four finite numbers"),
        ({"bbox": [1, 2, 0, 4]}, "has no area"),
        ({"bbox": [30, 2, 3, -4]}, "has no area"),
        ({"bbox": [100, 2, 3, 4]}, "outside the image of 100 × 50"),
        ({"bbox": [1, -4, 3, 4]}, "outside the image"),
    ],
)
def test_each_wrong_row_is_named_with_what_to_do(change, said):
    with pytest.raises(TrainerError, match=said) as caught:
        read(GOOD, GOOD | change)
    assert "out.json, row 2" in caught.value.problem
    assert caught.value.fix


def test_what_is_no_list_of_objects_is_refused():
    with pytest.raises(TrainerError, match="holds a JSON dict, not a list"):
        read_detections({"annotations": []}, IMAGES, classes=CLASSES, source="out.json")
    with pytest.raises(TrainerError, match="row 1: 7 is no object"):
        read(7)


@given(
    st.tuples(*[st.floats(-100, 100)] * 2, *[st.floats(0, 200)] * 2),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_a_cut_box_lies_in_the_image_and_in_the_box(box, width, height):
    cut = clipped(box, width, height)
    if cut is None:
        return
    x, y, w, h = cut
    assert w > 0
    assert h > 0
    assert 0 <= x < width
    assert 0 <= y < height
    assert x + w <= width + 1e-9
    assert y + h <= height + 1e-9
    assert x >= box[0]
    assert x + w <= box[0] + box[2] + 1e-9
