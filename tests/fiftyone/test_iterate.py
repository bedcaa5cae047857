"""One step of the loop on a real dataset: what it writes, what it refuses, what it repairs."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annoloop.fiftyone as loop
from annoloop.adapters.fiftyone import FiftyoneDataset, Lock
from annoloop.errors import (
    BatchOpenError,
    BusyError,
    DependencyError,
    InputError,
    LockedSplitError,
    NotReadyError,
    SettingsError,
    VectorError,
)
from tests.fiftyone.conftest import WIDTH, samples_of

fo = pytest.importorskip(
    "fiftyone", reason="no FiftyOne with a database here: `make test-fiftyone`"
)


def quiet(_: str) -> None:
    pass


def step(dataset: Any, size: int | None = None, **more: Any) -> Any:
    return loop.iterate(dataset, size, say=quiet, **more)


def everything(dataset: Any) -> list[Any]:
    dataset.reload()
    fields = ["id", "tags", "annotation_status", "zcore"]
    return [dataset.values(fields), dataset.list_saved_views(), dict(dataset.info)]


@pytest.mark.parametrize("size", [10, 37, 112])
def test_the_batch_is_exactly_what_was_asked_and_written_by_the_tutorials_names(
    tutorial: Any, size: int
) -> None:
    made = step(tutorial, size)
    assert (made.batch, made.view, made.size, made.asked) == ("v1", "batch_v1", size, size)
    assert made.quotas["coverage"] == math.floor(0.3 * size)
    assert made.by_source["coverage"] == math.floor(0.3 * size) or size == 112
    tutorial.reload()
    batch = tutorial.load_saved_view("batch_v1")
    assert set(batch.values("id")) == {pick.id for pick in made.picks}
    assert set(batch.values("annotation_status")) == {"selected"}
    tags = batch.count_values("tags")
    assert tags["batch:v1"] == tags["to_annotate"] == tags["split:pool"] == size
    assert tags["source:coverage"] == made.by_source["coverage"]
    assert tags["source:targeted"] == made.by_source["targeted"]
    reasons = dict(zip(*batch.values(["id", "annoloop_reason"]), strict=True))
    assert reasons == {pick.id: pick.reason for pick in made.picks}


def test_coverage_takes_the_best_stored_scores_of_what_is_open(tutorial: Any) -> None:
    made = step(tutorial, 20)
    scores = dict(zip(*tutorial.values(["id", "zcore"]), strict=True))
    status = dict(zip(*tutorial.values(["id", "tags"]), strict=True))
    free = [k for k in scores if "split:pool" in status[k] and "batch:v0" not in status[k]]
    best = sorted(free, key=lambda key: -scores[key])[:6]
    assert [pick.id for pick in made.picks if pick.source == "coverage"] == best


def test_golden_statistics_keep_to_the_classes_of_the_schema(tutorial: Any) -> None:
    tutorial.info["annotation_schema"]["classes"] = ["cup", "fork"]
    tutorial.save()
    made = step(tutorial, 10)
    labels = tutorial.match_tags("split:golden").values("human_labels.detections.label")
    known = [[name for name in one or [] if name != "plate"] for one in labels]
    flat = [name for one in known for name in one]
    assert made.golden == {
        "iteration": 0,
        "samples_with_labels": sum(bool(one) for one in known),
        "total_detections": len(flat),
        "top_classes": {"cup": flat.count("cup"), "fork": flat.count("fork")},
    }
    again = step(tutorial, 10, allow_open=True)
    tutorial.reload()
    assert tutorial.info["golden_qa_history"] == [made.golden, again.golden]
    assert again.golden["iteration"] == 1


def test_the_default_is_a_fifth_of_what_remains_and_the_pool_is_counted(tutorial: Any) -> None:
    said: list[str] = []
    made = loop.iterate(tutorial.name, say=said.append)
    assert made.size == 22
    pool = made.progress
    assert (pool.total, pool.annotated, pool.selected, pool.unlabeled) == (140, 28, 22, 90)
    assert pool.percent["annotated"] == 20.0
    assert "pool: 140 samples: 28 annotated (20 %), 22 selected" in said[0]


def test_the_same_seed_makes_the_same_batch(tutorial: Any) -> None:
    before = everything(tutorial)
    first, second = (step(tutorial, 30, dry_run=True, seed=3) for _ in range(2))
    assert first.picks == second.picks
    assert first.dry_run
    assert everything(tutorial) == before
    assert step(tutorial, 30, seed=3).picks == first.picks


def test_an_open_batch_holds_the_next_one_back(tutorial: Any) -> None:
    step(tutorial, 10)
    with pytest.raises(BatchOpenError, match="10 samples of batch v1 still carry"):
        step(tutorial, 10)
    tutorial.load_saved_view("batch_v1").untag_samples("to_annotate")
    assert step(tutorial, 10).batch == "v2"


def test_pending_samples_come_first(tutorial: Any) -> None:
    some = tutorial.match_tags("split:pool").limit(3).values("id")
    FiftyoneDataset(tutorial).write_column("annotation_status", dict.fromkeys(some, "pending"))
    made = step(tutorial, 12)
    assert {pick.id for pick in made.picks[:3]} == set(some)
    assert made.by_source["pending"] == 3


def test_without_failures_it_is_coverage_only_and_says_so(tutorial: Any) -> None:
    tutorial.delete_saved_view("eval_v0_failures")
    made = step(tutorial, 10)
    assert made.by_source == {"coverage": 10}
    assert any("coverage only: there are no failures" in note for note in made.notes)


def test_without_vectors_stored_scores_do_and_without_both_it_says_what_to_run(
    tutorial: Any,
) -> None:
    tutorial.delete_sample_field("embeddings")
    made = step(tutorial, 10)
    assert made.by_source == {"coverage": 10}
    assert any("the dataset has no `embeddings`" in note for note in made.notes)
    tutorial.delete_sample_field("zcore")
    with pytest.raises(VectorError, match=r"annoloop fiftyone iterate .* --embed"):
        step(tutorial, 10, allow_open=True)


def test_rescoring_counts_what_is_labelled_and_is_stored(tutorial: Any) -> None:
    before = tutorial.values("zcore")
    made = step(tutorial, 10, rescore=True)
    assert any("conditional on what is labelled" in note for note in made.notes)
    tutorial.reload()
    after = tutorial.values("zcore")
    changed = [a != b for a, b in zip(before, after, strict=True)]
    assert sum(changed) == 112  # the open pool alone


def test_our_own_vectors_where_there_are_none(tmp_path: Path) -> None:
    from PIL import Image

    dataset = fo.Dataset()
    rng = np.random.default_rng(0)
    for i in range(20):
        file = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(file)
        tag = "split:golden" if i < 4 else "split:pool"
        dataset.add_sample(fo.Sample(filepath=str(file), tags=[tag]))
    try:
        with pytest.raises(VectorError, match="neither `embeddings` nor `zcore`"):
            step(dataset, 10)
        made = step(dataset, 10, embed=True)
        assert (made.batch, made.size) == ("v0", 10)
        dataset.reload()
        assert {len(row) for row in dataset.values("embeddings")} == {400}
    finally:
        dataset.delete()


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        (None, r"1 of 112 samples have no `embeddings`, first /images/0013.jpg"),
        (np.zeros(WIDTH + 1, np.float32), r"has 1\d numbers, others have 1\d"),
        (np.full(WIDTH, np.nan, np.float32), r"0013.jpg holds NaN or infinity"),
    ],
)
def test_broken_vectors_are_named(tutorial: Any, vector: Any, said: str) -> None:
    one = tutorial.match({"filepath": "/images/0013.jpg"}).first()
    one["embeddings"] = vector
    one.save()
    with pytest.raises(VectorError, match=said):
        step(tutorial, 10)


def test_a_label_field_of_another_type_is_refused(tutorial: Any) -> None:
    tutorial.info["annotation_schema"]["field_name"] = "zcore"
    tutorial.save()
    with pytest.raises(InputError, match=r"field 'zcore' .* not Detections"):
        step(tutorial, 10)


def test_a_locked_sample_in_the_pool_is_refused(tutorial: Any) -> None:
    tutorial.match_tags("split:pool").limit(1).tag_samples("split:test")
    with pytest.raises(LockedSplitError, match="1 samples of the pool belong to another split"):
        step(tutorial, 10)


def test_a_view_that_nobody_saved_is_read_from_its_tags(tutorial: Any) -> None:
    tutorial.delete_saved_view("pool")
    tutorial.delete_saved_view("golden_qa")
    assert step(tutorial, 10).size == 10
    tutorial.match_tags("split:golden").untag_samples("split:golden")
    with pytest.raises(NotReadyError, match="neither a saved view 'golden_qa'"):
        step(tutorial, 10, allow_open=True)


def test_groups_are_one_unit_and_video_is_refused() -> None:
    dataset = fo.Dataset()
    dataset.add_group_field("scene", default="left")
    made = samples_of(120)
    for left, right in zip(made[0::2], made[1::2], strict=True):
        scene = fo.Group()
        split = next(tag for tag in left.tags if tag.startswith("split:"))
        right.tags = [split]
        for one, side in ((left, "left"), (right, "right")):
            one["annotation_status"] = "unlabeled"
            one["scene"] = scene.element(side)
    dataset.add_samples(made, progress=False)
    video = fo.Dataset()
    video.add_sample(fo.Sample(filepath="/clips/a.mp4"))
    try:
        chosen = step(dataset, 20)
        assert chosen.size == 20
        batch = dataset.select_group_slices().match_tags("batch:v1")
        counted: dict[str, int] = {}
        for key in batch.values("scene.id"):
            counted[str(key)] = counted.get(str(key), 0) + 1
        assert set(counted.values()) == {2}
        with pytest.raises(InputError, match="holds video, not images"):
            step(video, 10)
    finally:
        dataset.delete()
        video.delete()


def test_a_dataset_that_is_not_there_is_named_with_its_neighbour(tutorial: Any) -> None:
    tutorial.name = "annotation_tutorial"
    with pytest.raises(InputError, match="Did you mean 'annotation_tutorial'"):
        step("annotation_tutorail", 10)


def test_two_at_once_never_mix(tutorial: Any) -> None:
    from datetime import UTC, datetime

    found = FiftyoneDataset(tutorial)
    with found.alone(at=datetime.now(UTC)):
        before = everything(tutorial)
        with pytest.raises(BusyError, match=f"process {os.getpid()} on"):
            step(tutorial, 10)
        assert everything(tutorial) == before
    assert step(tutorial, 10).batch == "v1"


def test_a_server_that_goes_in_the_middle_leaves_nothing_half_done(
    tutorial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.errors import AutoReconnect

    before = everything(tutorial)
    expected = step(tutorial, 15, dry_run=True)

    def gone(*_: Any, **__: Any) -> None:
        raise AutoReconnect("connection refused")

    with monkeypatch.context() as broken:
        broken.setattr(type(tutorial), "save_view", gone)
        with pytest.raises(DependencyError, match="database does not answer"):
            step(tutorial, 15)
    assert tutorial.count_sample_tags()["batch:v1"] == 15  # half of a batch
    made = step(tutorial, 15)
    assert (made.batch, made.picks) == ("v1", expected.picks)
    tags = tutorial.count_sample_tags()
    assert tags["batch:v1"] == tags["to_annotate"] == 15
    tutorial.delete_saved_view("batch_v1")
    FiftyoneDataset(tutorial).mend({"batch": 1, "pending": [], "golden": {"iteration": 0}})
    tutorial.reload()
    assert everything(tutorial)[:2] == before[:2]
    assert set(tutorial.values("annoloop_reason")) == {None}


def killed_at(method: str, dataset: Any, size: int) -> None:
    """A process that is killed when it calls that method of the adapter."""
    code = (
        "import os, signal, sys, fiftyone as fo, annoloop.fiftyone as loop\n"
        "from annoloop.adapters.fiftyone import FiftyoneDataset\n"
        "dataset = fo.load_dataset(sys.argv[1])\n"
        f"FiftyoneDataset.{method} = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"loop.iterate(dataset, {size})\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, dataset.name], check=False)
    assert killed.returncode == -9
    dataset.reload()


def test_what_a_killed_process_left_is_taken_back(tutorial: Any) -> None:
    killed_at("write_column", tutorial, 15)  # tags alone
    assert tutorial.count_sample_tags()["batch:v1"] == 15
    made = step(tutorial, 12)
    assert (made.batch, made.size) == ("v1", 12)
    assert tutorial.count_sample_tags()["batch:v1"] == 12
    assert dict(tutorial.count_values("annotation_status"))["selected"] == 12


def test_pending_samples_are_pending_again_and_keep_their_earlier_source(tutorial: Any) -> None:
    again = tutorial.match_tags("batch:v0").limit(2)
    ids = again.values("id")
    again.tag_samples("source:coverage")
    FiftyoneDataset(tutorial).write_column("annotation_status", dict.fromkeys(ids, "pending"))
    before = everything(tutorial)
    # Killed after tags and statuses, before the reasons.
    code = (
        "import os, signal, sys, fiftyone as fo, annoloop.fiftyone as loop\n"
        "from annoloop.adapters import fiftyone as adapter\n"
        "write = adapter.FiftyoneDataset.write_column\n"
        "def once(self, field, values):\n"
        "    if field == 'annoloop_reason':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(self, field, values)\n"
        "adapter.FiftyoneDataset.write_column = once\n"
        "loop.iterate(fo.load_dataset(sys.argv[1]), 15)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, tutorial.name], check=False)
    assert killed.returncode == -9
    tutorial.reload()
    assert tutorial.match_tags("batch:v1").count() == 15
    with pytest.raises(SettingsError):  # takes the lock and mends, then is refused
        step(tutorial, 0)
    assert everything(tutorial)[:2] == before[:2]


def test_of_processes_that_race_one_makes_the_batch(tutorial: Any) -> None:
    """All are ready before one begins; whoever comes second is refused, and nothing is mixed."""
    code = (
        "import sys, annoloop.fiftyone as loop, fiftyone as fo\n"
        "from annoloop.errors import AnnoloopError\n"
        "dataset = fo.load_dataset(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "try: print(loop.iterate(dataset, int(sys.argv[2]), say=lambda _: None).batch)\n"
        "except AnnoloopError as error: print(type(error).__name__)\n"
    )
    tutorial.persistent = True  # else the first process that ends may take it along
    sizes = (12, 16, 20)
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", code, tutorial.name, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for size in sizes
    ]
    for one in racing:
        assert one.stdout is not None
        while one.stdout.readline() != "ready\n":  # FiftyOne may have something to say first
            assert one.poll() is None
    said = []
    for one in racing:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in racing:
        said.append(one.communicate(timeout=60)[0].split()[-1])
    assert said.count("v1") == 1
    assert {name for name in said if name != "v1"} <= {"BusyError", "BatchOpenError"}
    tutorial.reload()
    size = sizes[said.index("v1")]
    assert tutorial.count_sample_tags()["batch:v1"] == size
    assert dict(tutorial.count_values("annotation_status"))["selected"] == size
    assert len(tutorial.load_saved_view("batch_v1")) == size


def test_a_batch_that_is_whole_is_kept_with_what_people_did_to_it(tutorial: Any) -> None:
    killed_at("append_info", tutorial, 15)
    batch = tutorial.load_saved_view("batch_v1")
    done = batch.limit(4).values("id")
    FiftyoneDataset(tutorial).write_column("annotation_status", dict.fromkeys(done, "annotated"))
    tutorial.select(done).untag_samples("to_annotate")
    with pytest.raises(BatchOpenError, match="11 samples of batch v1"):
        step(tutorial, 10)
    tutorial.reload()
    assert tutorial.count_sample_tags()["batch:v1"] == 15
    assert dict(batch.count_values("annotation_status")) == {"annotated": 4, "selected": 11}
    assert [one["iteration"] for one in tutorial.info["golden_qa_history"]] == [0]


def test_a_lock_that_was_taken_away_writes_nothing(tutorial: Any) -> None:
    from datetime import UTC, datetime

    from fiftyone.core.odm import get_db_conn

    locks, key = get_db_conn()["annoloop.locks"], str(tutorial._doc.id)
    lock = Lock(locks, key, datetime.now(UTC))
    lock.take(tutorial.name)
    locks.update_one({"_id": key}, {"$set": {"pid": 1, "at": "later"}})
    with pytest.raises(BusyError, match="taken over"):
        lock.writing({"batch": 1})
    lock.release()
    assert locks.delete_one({"_id": key}).deleted_count == 1  # it was not ours to remove


def test_a_dry_run_with_our_vectors_is_refused(tutorial: Any) -> None:
    with pytest.raises(SettingsError, match="a dry run writes nothing"):
        step(tutorial, 10, dry_run=True, embed=True)


def test_a_lock_of_another_machine_holds_for_an_hour(tutorial: Any) -> None:
    from datetime import UTC, datetime, timedelta

    from fiftyone.core.odm import get_db_conn

    now = datetime.now(UTC)
    locks = get_db_conn()["annoloop.locks"]
    for age, free in ((10, False), (70, True)):
        made = (now - timedelta(minutes=age)).isoformat()
        other = {"host": "elsewhere", "pid": 1, "started": 1.0, "at": made}
        locks.replace_one({"_id": str(tutorial._doc.id)}, other, upsert=True)
        lock = Lock(locks, str(tutorial._doc.id), now)
        if free:
            assert lock.take(tutorial.name) is None
            lock.release()
        else:
            with pytest.raises(BusyError, match="elsewhere"):
                lock.take(tutorial.name)


def test_the_command_prints_what_the_call_returns(tutorial: Any) -> None:
    script = Path(sys.executable).with_name("annoloop")
    command = [str(script), "fiftyone", "iterate", tutorial.name]
    done = subprocess.run(
        [*command, "--size", "10", "--json"], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert (found["batch"], found["size"], found["by_source"]["coverage"]) == ("v1", 10, 3)
    assert len(found["picks"]) == 10
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "--allow-open" in refused.stderr


def test_a_server_that_is_not_there_is_said(tutorial: Any) -> None:
    nowhere = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300"
    script = Path(sys.executable).with_name("annoloop")
    done = subprocess.run(
        [str(script), "fiftyone", "progress", tutorial.name],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "FIFTYONE_DATABASE_URI": nowhere},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "FiftyOne's database does not answer" in done.stderr
    assert "FIFTYONE_DATABASE_URI" in done.stderr


def test_a_batch_of_nothing_is_refused(tutorial: Any) -> None:
    with pytest.raises(SettingsError, match="a batch of 0 images"):
        step(tutorial, 0)
