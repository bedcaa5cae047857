"""A share of a prelabelled batch stays blank: the same in every way out, recorded, and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annoloop.desk import Desk
from annoloop.errors import BatchClosedError, BatchError
from annoloop.project import Project
from annoloop.records import Annotation, Answer
from annoloop.render import to_text
from annoloop.steps.annotate import enter
from annoloop.store import batches, prelabels


def again(project: Project, **overrides: dict[str, object]) -> Project:
    return Project(project.folder, overrides=overrides)


def boxes_of(folder: Path) -> dict[str, int]:
    """Path → boxes of a COCO export."""
    document = json.loads((folder / "annotations.json").read_text())
    count = {image["id"]: 0 for image in document["images"]}
    for row in document["annotations"]:
        count[row["image_id"]] += 1
    return {image["file_name"]: count[image["id"]] for image in document["images"]}


def recorded(project: Project, batch: str) -> dict[str, prelabels.Prelabel]:
    with project.store.read() as connection:
        return {one.sample_id: one for _, one in prelabels.load(connection, batch)}


def test_the_same_images_stay_blank_in_every_way_out(evaluated: Project, tmp_path: Path) -> None:
    evaluated.select(size=8)
    made = evaluated.batch_export("v1", tmp_path / "one", prelabels=True)
    rows = recorded(evaluated, "v1")
    blank = {key for key, one in rows.items() if one.blank}
    assert (len(rows), len(blank), made.without_prelabels) == (12, 2, 2)  # 0.2 of 8 + 4 golden
    assert {one.model for one in rows.values()} == {"v0"}
    first = boxes_of(tmp_path / "one")
    evaluated.batch_export("v1", tmp_path / "two", prelabels=True)
    assert boxes_of(tmp_path / "two") == first
    assert recorded(evaluated, "v1") == rows
    said = evaluated.batch_predict("v1")
    assert (said.model, said.images, said.without_prelabels) == ("v0", 12, 2)
    desk = Desk(evaluated)
    for number in range(1, 13):
        task = desk.claim("v1", "ann", number=number)
        assert task is not None
        key = desk.image("v1", number).id
        expected = 0 if rows[key].blank else len(rows[key].labels)
        assert len(task.boxes) == first[desk.image("v1", number).path] == expected
        assert all(row[6] == 1 for row in task.boxes)
    (note,) = (n for n in evaluated.batch_show("v1").notes if "stay blank" in n)
    assert "10 of its 12 images" in note


def test_the_share_is_a_setting_and_the_seed_is_the_batchs(evaluated: Project) -> None:
    evaluated.select(size=8, seed=5)
    again(evaluated, annotate={"without_prelabels": 0.5}).batch_predict("v1")
    rows = recorded(evaluated, "v1")
    assert sum(one.blank for one in rows.values()) == 6
    with evaluated.store.read() as connection:
        told = batches.get(connection, "v1").report["prelabels"]
    assert (told["model"], told["given"], told["blank"], told["share_blank"]) == ("v0", 6, 6, 0.5)


def test_golden_images_are_drawn_like_all_others(evaluated: Project) -> None:
    """Over many seeds hidden images stay blank as often as picks: blank tells nobody anything."""
    import numpy as np

    from annoloop.core.prelabels import draw_blank

    evaluated.select(size=8)
    with evaluated.store.read() as connection:
        tasks = batches.load_picks(connection, "v1")
    ids = sorted(pick.sample_id for pick, _ in tasks)
    hidden = {pick.sample_id for pick, blind in tasks if blind}
    assert len(hidden) == 4
    drawn = [
        draw_blank(ids, share=0.25, rng=np.random.default_rng([seed, 1, 4])) for seed in range(400)
    ]
    share = sum(len(one & hidden) for one in drawn) / sum(map(len, drawn))
    assert abs(share - 4 / 12) < 0.05


def test_a_batch_keeps_the_boxes_it_was_first_given(evaluated: Project, tmp_path: Path) -> None:
    evaluated.select(size=8)
    evaluated.batch_predict("v1")
    before = recorded(evaluated, "v1")
    asked = again(evaluated, annotate={"without_prelabels": 0.5})  # that comes too late
    assert asked.batch_predict("v1").without_prelabels == 2
    assert recorded(asked, "v1") == before
    made = asked.batch_export("v1", tmp_path / "plain")
    assert made.boxes == 0
    assert "was given boxes of v0 before" in made.notes[0]


@pytest.mark.parametrize("kind", ["val", "relabel"])
def test_batches_that_measure_or_correct_are_not_prelabelled(
    evaluated: Project, tmp_path: Path, kind: str
) -> None:
    with evaluated.store.write() as connection:
        from annoloop.records import Batch, BatchKind, Pick
        from annoloop.store import samples

        some = samples.load(connection)[0]
        row = Batch(f"{kind}-1", BatchKind(kind), True, "now", None, 1, 0, {})
        batches.add(connection, row, 1, [(Pick(some.id, kind, 1, 0.0, "test"), False)])
    with pytest.raises(BatchError, match=f"{kind}-1"):
        evaluated.batch_export(f"{kind}-1", tmp_path / "out", prelabels=True)
    with pytest.raises(BatchError, match=f"{kind}-1"):
        evaluated.batch_predict(f"{kind}-1")


def test_a_closed_batch_is_given_nothing_any_more(evaluated: Project, tmp_path: Path) -> None:
    with pytest.raises(BatchClosedError, match="v0 was closed"):
        evaluated.batch_export("v0", tmp_path / "out", prelabels=True)
    assert not recorded(evaluated, "v0")


def answer_all(project: Project, batch: str, *, accept: bool) -> None:
    """A person who accepts what is shown, or draws what the reference says; blank ones by hand."""
    context = project._context()
    rows = recorded(project, batch)
    with project.store.write() as connection:
        from annoloop.store import samples

        known = samples.newest_references(connection, ids=rows)
        given = []
        for key, one in rows.items():
            labels = one.labels if accept and not one.blank else known[key].labels
            answer = Answer.COMPLETE if labels else Answer.EMPTY
            at = context.now()
            given.append(Annotation(key, batch, "ann", answer, labels, None, 9.0, "app", at))
        enter(context, connection, batch, given=given, what="label")


@pytest.mark.parametrize("accept", [True, False])
def test_people_who_accept_everything_are_told_from_those_who_look(
    evaluated: Project, accept: bool
) -> None:
    assert evaluated.golden_prelabels().verdict == "too few"
    evaluated.select(size=28)
    swayed = again(evaluated, annotate={"without_prelabels": 0.5})
    swayed.batch_predict("v1")
    answer_all(swayed, "v1", accept=accept)
    assert not swayed.golden_prelabels().batches  # what is open says nothing yet
    swayed.annotate_close("v1")
    found = swayed.golden_prelabels()
    assert found.verdict == ("bias" if accept else "none seen")
    (row,) = found.batches
    assert (row.answered_given, row.answered_blank) == (row.given, row.blank)
    assert found.measures["seconds"]["given"] == pytest.approx(9.0)
    assert found.measures["missed"]["images_given"] > 0  # hidden golden images were among both
    if not accept:
        assert found.measures["missed"]["given"] == 0.0
    text = to_text(found)
    assert "agreement" in text
    assert found.reason in text
    key = next(key for key, one in recorded(swayed, "v1").items() if one.blank)
    (said,) = (a for a in swayed.sample(key).answers if a.batch == "v1")
    assert said.started_from == "blank"


def test_answers_of_before_and_of_the_oracle_started_from_nothing(evaluated: Project) -> None:
    evaluated.select(size=20)
    evaluated.annotate_oracle("v1")
    evaluated.batch_predict("v1")
    evaluated.annotate_close("v1")
    (row,) = evaluated.golden_prelabels().batches
    assert (row.answered_given, row.answered_blank) == (0, 0)
    assert "too few to tell" in evaluated.golden_prelabels().reason
