"""The pages that show, and the steps that they start, as the server answers them."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from annoloop.app.offers import OFFERS, order
from annoloop.app.overview import filled, next_offers
from annoloop.errors import InputError
from annoloop.project import Project
from tests.app.conftest import CLASSES, HEIGHT, HOSTILE, WIDTH
from tests.app.test_server import serving

PAGES = ("/", "/label", "/failures", "/batches", "/map", "/golden", "/history")


@pytest.fixture
def client(walked: Project) -> Iterator[httpx.Client]:
    with serving(walked) as made:
        yield made


def start(client: httpx.Client, verb: str, **form: str) -> httpx.Response:
    return client.post(f"/api/steps/{verb}", json={"who": "ann", "form": form})


def ended(client: httpx.Client) -> dict[str, Any]:
    for _ in range(600):
        job: dict[str, Any] = client.get("/api/job").json()
        if job["state"] != "running":
            return job
        time.sleep(0.05)
    raise AssertionError("the step does not end")


def blind_ids(project: Project, batch: str) -> list[str]:
    query = "SELECT sample_id FROM picks WHERE batch = ? AND blind"
    with closing(sqlite3.connect(project.folder / "annoloop.db")) as connection:
        return [row[0] for row in connection.execute(query, (batch,))]


def paths_of(project: Project, batch: str) -> list[str]:
    query = "SELECT path FROM picks JOIN samples ON id = sample_id WHERE batch = ?"
    with closing(sqlite3.connect(project.folder / "annoloop.db")) as connection:
        return [row[0] for row in connection.execute(query, (batch,))]


@pytest.mark.parametrize("address", PAGES)
def test_pages_of_a_project_that_has_nothing_yet(project: Project, address: str) -> None:
    with serving(project) as client:
        assert client.get(address).status_code == 200


@pytest.mark.parametrize("address", [*PAGES, "/batches/v0", "/batches/v1"])
def test_pages_of_a_project_that_went_round_once(client: httpx.Client, address: str) -> None:
    page = client.get(address)
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "src=x onerror" not in page.text.replace("&#34;", '"').replace(HOSTILE, "")
    assert " style=" not in page.text  # the policy forbids it, and the browser would drop it


def test_the_golden_page_says_what_the_models_boxes_do(
    client: httpx.Client, walked: Project
) -> None:
    assert "What the model's boxes do" not in client.get("/golden").text
    made = walked.batch_predict("v1")
    assert f"{made.without_prelabels} stay blank" in client.get("/batches/v1").text
    images = [{"id": n, "file_name": one} for n, one in enumerate(paths_of(walked, "v1"), start=1)]
    said = [one | {"reviewed": True, "width": WIDTH, "height": HEIGHT} for one in images]
    names = [{"id": n, "name": name} for n, name in enumerate(CLASSES, start=1)]
    file = walked.folder / "answers.json"
    file.write_text(json.dumps({"images": said, "annotations": [], "categories": names}))
    walked.annotate_import(file, batch="v1", annotator="ann")
    walked.annotate_close("v1")
    page = client.get("/golden").text
    assert "What the model's boxes do" in page
    assert "too few to tell" in page
    assert "share of the model&#39;s boxes kept unchanged" in page


def test_a_batch_says_why_each_image_is_in_it(client: httpx.Client, walked: Project) -> None:
    page = client.get("/batches/v1").text
    for pick in walked.batch_show("v1").picks:
        assert f"/sample/{pick.sample_id}" in page
        assert pick.reason.split("`")[0][:30] in page.replace("&#34;", '"').replace("&gt;", ">")
    sources = {pick.source for pick in walked.batch_show("v1").picks}
    one = sorted(sources)[0]
    only = client.get("/batches/v1", params={"source": one}).text
    chosen = [p.sample_id for p in walked.batch_show("v1").picks if p.source == one]
    assert re.findall(r'href="/sample/(\w+)"', only) == chosen


def test_an_unknown_batch_or_sample_is_an_error_in_words(client: httpx.Client) -> None:
    assert client.get("/batches/v9").status_code == 404
    assert "there is no batch" in client.get("/batches/v9").text
    gone = client.get("/sample/0123456789abcdef")
    assert gone.status_code == 422
    assert "there is no sample" in gone.text
    assert client.get("/thumb/0123456789abcdef").status_code == 422


def test_nothing_tells_which_images_of_an_open_batch_are_golden(
    client: httpx.Client, walked: Project
) -> None:
    hidden = blind_ids(walked, "v1")
    assert hidden
    number = len(hidden)
    for address in ("/batches", "/batches/v1"):
        page = client.get(address).text
        assert not any(key in page for key in hidden)
        assert f"{number} golden" not in page
    for key in hidden:
        assert ">v1<" not in client.get(f"/sample/{key}").text
        assert all(place.batch != "v1" for place in walked.sample(key).batches)
    told = [place.batch for key in blind_ids(walked, "v0") for place in walked.sample(key).batches]
    assert "v0" in told  # once it is closed, it may be known


def test_failures_are_filtered_by_type_and_class(client: httpx.Client, walked: Project) -> None:
    found = walked.failures()
    kind, number = next(iter(found.by_type.items()))
    page = client.get("/failures", params={"type": kind}).text
    assert f"{number} of {len(found.failures)}, the dearest" in page
    none = client.get("/failures", params={"type": "no such type", "page": "999999999999"})
    assert f"0 of {len(found.failures)}, the dearest" in none.text


def test_thumbnails_are_jpegs_and_a_missing_image_has_a_placeholder(
    client: httpx.Client, walked: Project
) -> None:
    pick = walked.batch_show("v1").picks[0]
    made = client.get(f"/thumb/{pick.sample_id}")
    assert made.headers["content-type"] == "image/jpeg"
    assert made.content.startswith(b"\xff\xd8")
    other = walked.batch_show("v1").picks[1]
    uri = walked.image(other.sample_id).uri
    moved = f"{uri}.gone"
    shutil.move(uri, moved)
    try:
        for kind in ("thumb", "image"):
            gone = client.get(f"/{kind}/{other.sample_id}")
            assert gone.headers["content-type"].startswith("image/svg")
            assert b"cannot be read" in gone.content
    finally:
        shutil.move(moved, uri)


def test_a_step_runs_in_a_process_of_its_own_and_is_recorded_by_name(
    client: httpx.Client, walked: Project
) -> None:
    begun = start(client, "decide").json()
    assert (begun["command"], begun["state"]) == ("annoloop decide", "running")
    job = ended(client)
    assert job["state"] == "failed"  # v1 is open: there is nothing to decide
    assert "v1" in job["problem"]
    assert start(client, "select", size="3", dry_run="yes", mix="0.5").status_code == 200
    job = ended(client)
    assert job["command"] == "annoloop select --size 3 --mix coverage=0.5,targeted=0.5 --dry-run"
    assert job["number"] == 2
    walked.annotate_oracle("v1")
    start(client, "annotate_close", batch="v1")
    assert ended(client)["state"] == "done"
    closed = next(e for e in walked.history().events if e.what == "annotate close")
    assert (closed.who, closed.target) == ("ann", "v1")


def test_stop_interrupts_a_step_in_the_middle(
    client: httpx.Client, walked: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that would take an hour ends at once, leaves no model and gives the lock back."""
    walked.annotate_oracle("v1")
    start(client, "annotate_close", batch="v1")
    ended(client)
    endless = json.dumps({"command": [sys.executable, "-c", "import time; time.sleep(3600)"]})
    monkeypatch.setenv("ANNOLOOP_TRAIN__TRAINER", "command")
    monkeypatch.setenv("ANNOLOOP_TRAIN__OPTIONS", endless)
    start(client, "train")
    for _ in range(600):
        if (walked.busy() or "").startswith("train") and any(walked.folder.rglob("*.part/*")):
            break
        time.sleep(0.05)
    assert client.get("/api/job").json()["state"] == "running"
    before = time.monotonic()
    client.post("/api/job/stop", json={})
    assert ended(client)["state"] == "stopped"
    assert time.monotonic() - before < 25
    assert walked.busy() is None
    assert not (walked.folder / "models" / "v1").exists()
    monkeypatch.undo()
    start(client, "train")
    assert ended(client)["state"] == "done"


def test_a_step_is_interrupted_though_its_server_ignores_interrupts() -> None:
    """As in a script that starts `annoloop app &`: shells let such programs ignore Ctrl+C."""
    process = subprocess.Popen(
        ["sh", "-c", f"trap '' INT; exec '{sys.executable}' -m annoloop.app.work"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        for _ in range(200):
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert process.poll() == 0
        assert process.stdout is not None
        assert json.loads(process.stdout.read()) == {"stopped": True}


def test_one_step_at_a_time(client: httpx.Client, walked: Project) -> None:
    walked.annotate_oracle("v1")
    start(client, "annotate_close", batch="v1")
    ended(client)
    assert start(client, "run").status_code == 200
    second = start(client, "train")
    assert second.status_code == 503
    assert "annoloop run" in second.json()["error"]["problem"]
    job = ended(client)
    assert job["state"] == "done", job
    assert client.post("/api/job/stop", json={}).status_code == 422
    assert [one.step for one in walked.history().iterations[1].steps][-1] == "decide"


def test_a_step_that_dies_says_so(client: httpx.Client, walked: Project) -> None:
    walked.annotate_oracle("v1")
    start(client, "annotate_close", batch="v1")
    ended(client)
    start(client, "run")
    for _ in range(200):
        lines = (walked.folder / ".annoloop.lock").read_text()
        found = re.search(r"process (\d+)", lines)
        if found and int(found[1]) != os.getpid():
            break
        time.sleep(0.05)
    assert found
    os.kill(int(found[1]), signal.SIGKILL)
    job = ended(client)
    assert job["state"] == "failed"
    assert "ended with code -9" in job["problem"]


@pytest.mark.parametrize(
    ("verb", "form", "said"),
    [
        ("restore", {}, "does not offer"),
        ("select", {"paths": "x"}, "has no"),
        ("select", {"size": "many"}, "no number"),
        ("select", {"mix": "1.5"}, "no share"),
        ("annotate_close", {}, "is missing"),
        ("annotate_close", {"batch": "v1"}, "cannot be chosen"),
        ("batch_make", {"kind": "select"}, "cannot be chosen"),
    ],
)
def test_what_is_not_offered_is_refused(
    client: httpx.Client, verb: str, form: dict[str, str], said: str
) -> None:
    refused = start(client, verb, **form)
    assert refused.status_code == 422
    assert said in refused.json()["error"]["problem"]


def test_every_offer_is_a_verb_of_the_command_line_and_of_the_project(walked: Project) -> None:
    for offer in OFFERS:
        taken = set(inspect.signature(getattr(Project, offer.method)).parameters)
        taken |= {"classes"} if "source" in taken else set()  # a field of that record
        assert {field.name for field in offer.fields} <= taken, offer.method
        words = [*offer.words.split(), "--help"]
        call = "from annoloop.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", call, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, offer.words
        for field in offer.fields:
            assert field.flag is None or field.flag in done.stdout, (offer.words, field.flag)


def test_the_sentence_about_what_is_next_becomes_forms(walked: Project) -> None:
    said = (
        "the golden check failed: correct the labels (`annoloop batch make --kind relabel --of v3`)"
        ', then `annoloop golden check --accept "why"`'
    )
    (make, form), (check, reason) = next_offers(said, OFFERS)
    assert (make.method, form) == ("batch_make", {"kind": "relabel", "of": "v3"})
    assert (check.method, reason) == ("golden_check", {})
    assert next_offers("open it once, `annoloop evaluate --split test`", OFFERS) == []
    for said, method in (("train", "train"), ("train --folds 5", "train_folds")):
        ((offer, _),) = next_offers(f"run `annoloop {said}`", OFFERS)
        assert offer.method == method
    close = next(offer for offer in OFFERS if offer.method == "annotate_close")
    assert filled(close, "annoloop annotate close v6") == {"batch": "v6"}
    assert filled(close, "annoloop annotate import FILE") is None


def test_classes_are_named_from_the_browser(client: httpx.Client, walked: Project) -> None:
    asked = start(client, "ingest", classes="cup, plate")
    assert asked.json()["command"] == "annoloop ingest --classes 'cup, plate'"
    assert ended(client)["state"] == "done"
    assert walked.status().classes[-2:] == ("cup", "plate")


def test_a_reason_travels_as_it_was_said(walked: Project) -> None:
    made = order("golden_check", {"accept": "it's a new camera"}, walked.status())
    assert made.arguments == {"accept": "it's a new camera"}
    assert made.command == """annoloop golden check --accept 'it'"'"'s a new camera'"""
    with pytest.raises(InputError, match="does not offer"):
        order("__init__", {}, walked.status())
