import math
from dataclasses import replace

import pytest

from annoloop.core.training_set import count_boxes, hold_out
from annoloop.errors import TrainerError
from annoloop.records import Label, LabeledImage

CLASSES = ("cat", "dog")


def image(number, *kinds, **how):
    labels = tuple(Label(kind, (1, 2, 3, 4), **how) for kind in kinds)
    return LabeledImage(f"id{number}", f"{number}.png", f"{number}.png", 40, 30, labels, True)


def test_boxes_are_counted_by_class_and_ignored_ones_are_not():
    images = [image(1, 0, 0), image(2), image(3, 1, crowd=True)]
    assert count_boxes(images, CLASSES) == {"cat": 2, "dog": 0}


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([], "there is no image"),
        ([image(1), image(2, 0, difficult=True)], "none of the 2 training images holds a box"),
        ([image(1, 2)], "label 1 has class 2 of 2"),
        ([image(1, -1)], "label 1 has class -1 of 2"),
        (
            [LabeledImage("a", "a.png", "a.png", 9, 9, (Label(0, (1, 1, 0, 2)),))],
            r"a\.png: label 1 .* no area",
        ),
        ([LabeledImage("a", "a.png", "a.png", 9, 9, (Label(0, (1, 1, math.nan, 2)),))], "no area"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(images, said):
    with pytest.raises(TrainerError, match=said) as caught:
        count_boxes(images, CLASSES)
    assert caught.value.fix


def test_about_the_share_is_held_out_and_nothing_is_lost():
    images = [image(n, n % 2) for n in range(2000)]
    train, held = hold_out(images, 0.2)
    assert 320 < len(held) < 480
    assert sorted(one.sample_id for one in train + held) == sorted(i.sample_id for i in images)
    assert hold_out(images, 0) == (images, [])


def test_what_is_held_out_stays_so_as_the_set_grows():
    images = [image(n, n % 2) for n in range(400)]
    early = {one.sample_id for one in hold_out(images[:200], 0.2)[1]}
    late = {one.sample_id for one in hold_out(images, 0.2)[1]}
    assert early
    assert early == late & {one.sample_id for one in images[:200]}


def test_the_last_image_of_a_class_is_trained_on():
    for rare in range(60):
        images = [image(n, 0) for n in range(60)]
        images[rare] = image(rare, 0, 1)
        train, _ = hold_out(images, 0.5)
        assert any(label.class_id == 1 for one in train for label in one.labels)


def test_images_without_objects_cannot_say_when_to_stop():
    images = [image(0, 0), *(image(n) for n in range(1, 40))]
    assert hold_out(images, 0.5) == (images, [])


def test_a_group_is_held_out_whole_or_not_at_all():
    images = [replace(image(n, n % 2), group=f"scene {n // 5}") for n in range(1000)]
    train, held = hold_out(images, 0.2)
    assert not {one.group for one in train} & {one.group for one in held}
    assert 120 < len(held) < 280
    assert train + held == sorted(train, key=images.index) + sorted(held, key=images.index)
    early = {one.sample_id for one in hold_out(images[:500], 0.2)[1]}
    assert early == {one.sample_id for one in held} & {one.sample_id for one in images[:500]}


def test_the_last_group_of_a_class_is_trained_on():
    for rare in range(40):
        images = [replace(image(n, 0), group=f"scene {n // 2}") for n in range(80)]
        for n in (2 * rare, 2 * rare + 1):
            images[n] = replace(image(n, 0, 1), group=f"scene {rare}")
        train, _ = hold_out(images, 0.5)
        assert any(label.class_id == 1 for one in train for label in one.labels)
