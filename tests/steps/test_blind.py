"""Who of the hidden golden images comes again: as many as the test needs, then some make room."""

from __future__ import annotations

from annoloop.records import Label, Reference
from annoloop.steps.blind import _stay

KEYS = [f"k{i:02}" for i in range(40)]
BOX = (Label(0, (1.0, 1.0, 5.0, 5.0)),)
KNOWN = {key: Reference(key, BOX, "test") for key in KEYS}


def walk(want: int, rounds: int, *, rotation: float = 0.2) -> list[int]:
    """How many images with three earlier passes each batch holds."""
    shown: dict[str, int] = {}
    last: list[str] = []
    able = []
    for _ in range(rounds):
        stay = _stay(last, shown, KNOWN, want=want, rotation=rotation)
        others = sorted(set(KEYS) - set(stay), key=lambda key: (shown.get(key, 0), key))
        last = [*stay, *others[: want - len(stay)]]
        assert len(set(last)) == want
        able.append(sum(shown.get(key, 0) >= 3 for key in last))
        for key in last:
            shown[key] = shown.get(key, 0) + 1
    return able


def test_from_the_fourth_batch_on_the_test_can_answer() -> None:
    for want in (10, 12, 20, 30):
        assert walk(want, 3) == [0, 0, 0]
        assert min(walk(want, 20)[3:]) >= 10, want


def test_where_there_is_room_images_are_exchanged() -> None:
    assert min(walk(12, 20)[3:]) < 12
    assert min(walk(20, 20)[3:]) < 20
    assert walk(20, 20, rotation=0.0)[3:] == [20] * 17


def test_images_without_boxes_do_not_count() -> None:
    known = KNOWN | {key: Reference(key, (), "test") for key in KEYS[:15]}
    shown = dict.fromkeys(KEYS, 5)
    stay = _stay(KEYS[:20], shown, known, want=20, rotation=0.5)
    assert set(stay) == set(KEYS[:20])  # five with boxes: none of them may leave
    assert len(_stay(KEYS[:30], shown, known, want=30, rotation=0.5)) == 25
    assert len(_stay(KEYS[:30], shown, known, want=12, rotation=0.2)) == 12
