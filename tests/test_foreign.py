"""What every reader refuses, whatever the format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from annoloop import foreign
from annoloop.errors import InputError
from annoloop.records import Answer, ForeignImage, Label

A_LABEL = Label(0, (1.0, 2.0, 3.0, 4.0))


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["a", ""], "class name 1 is empty"),
        ([" \t"], "class name 0 is empty"),
        (["x" * 201], "201 characters"),
        (["a\nb"], "control characters"),
        (["a\u2028b"], "control characters"),
        (["\ud800"], "control characters"),
        (["a", "b", "a"], "'a' is there twice"),
    ],
)
def test_bad_class_names_are_refused_by_place(names, what):
    with pytest.raises(InputError, match=what) as caught:
        foreign.class_names(names, "classes.txt")
    assert caught.value.problem.startswith("classes.txt: ")


def test_good_class_names_are_kept_as_they_are():
    names = ["x" * 200, "Straßenbahn", "駅", "a b", " a"]
    assert foreign.class_names(names, "here") == tuple(names)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("a.jpg", "a.jpg"),
        ("./a//b/c.jpg", "a/b/c.jpg"),
        ("a\\b.jpg", "a/b.jpg"),
        ("12:30:00.jpg", "12:30:00.jpg"),
        ("a..b/..c.jpg", "a..b/..c.jpg"),
    ],
)
def test_paths_become_posix(written, path):
    assert foreign.image_path(written, "here") == path


@pytest.mark.parametrize(
    "written",
    [
        *("", ".", "/a.jpg", "../a.jpg", "a/../../b.jpg", "..\\a.jpg", "C:\\a.jpg"),
        *("\\\\host\\a.jpg", "s3://bucket/a.jpg", "a\0.jpg", "a\nb.jpg", "\udc00.jpg"),
    ],
)
def test_paths_that_leave_their_folder_are_refused(written):
    with pytest.raises(InputError, match=r"^here: "):
        foreign.image_path(written, "here")


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((0, 0, 0, 5), "no area"),
        ((0, 0, 5, -1), "no area"),
        ((100, 0, 5, 5), "outside"),
        ((0, 50, 5, 5), "outside"),
        ((-5, 0, 5, 5), "outside"),
        ((0, -9, 5, 5), "outside"),
    ],
)
def test_boxes_that_cannot_be_used_are_dropped(box, why):
    assert why in (foreign.why_dropped(box, 100, 50) or "")


def test_boxes_partly_outside_or_in_images_of_unknown_size_are_kept():
    assert foreign.why_dropped((-5, -5, 6, 6), 100, 50) is None
    assert foreign.why_dropped((99, 49, 500, 500), 100, 50) is None
    assert foreign.why_dropped((1e6, 1e6, 1, 1), None, None) is None


def test_an_image_that_lost_all_its_boxes_is_not_reviewed_empty():
    image = ForeignImage("a.jpg", reviewed=True, answer=Answer.COMPLETE)
    lost = foreign.after_drops(image, 1)
    assert (lost.reviewed, lost.answer) == (False, None)
    assert foreign.after_drops(image, 0) is image
    kept = replace(image, labels=(A_LABEL,))
    assert foreign.after_drops(kept, 1) is kept
    unsure = foreign.after_drops(replace(image, answer=Answer.UNSURE), 1)
    assert unsure.answer is Answer.UNSURE


def test_images_are_sorted_and_none_may_be_there_twice():
    images = [ForeignImage("b"), ForeignImage("a/c"), ForeignImage("a")]
    found = foreign.assemble(Path("x"), (), images=images, problems=())
    assert [image.path for image in found.images] == ["a", "a/c", "b"]
    with pytest.raises(InputError, match="the image b is there twice"):
        foreign.assemble(Path("x"), (), images=[*images, ForeignImage("b")], problems=())


def test_written_paths_may_not_collide():
    assert foreign.written_paths(["a/b.c.jpg"], suffix=".txt") == ["a/b.c.txt"]
    assert foreign.written_paths(["a.jpg", "a.png"]) == ["a.jpg", "a.png"]
    with pytest.raises(InputError, match=r"a\.jpg and a\.png would both be written to a\.xml"):
        foreign.written_paths(["a.jpg", "a.png"], suffix=".xml")
    with pytest.raises(InputError, match="leaves its folder"):
        foreign.written_paths(["../a.jpg"])


def test_the_error_for_another_format_says_which_it_looks_like(tmp_path):
    assert "no such file" in foreign.wrong_format(tmp_path / "gone", "coco").problem
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation/>")
    error = foreign.wrong_format(tmp_path, "coco")
    assert "not a COCO data set (a.xml looks like voc)" in error.problem
    assert "looks like" not in foreign.wrong_format(tmp_path, "voc").problem
