"""The steps that a browser may start: each is a verb of the command line, in its words.

What opens the test split, takes images out or reads a file stays with the command line.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from annoloop.errors import InputError
from annoloop.results import StatusResult


@dataclass(frozen=True, slots=True)
class Field:
    """One input of a form: the method's argument `name`, the command line's `flag` (or a place)."""

    name: str
    label: str
    flag: str | None = None
    kind: str = "number"
    """`number`, `share`, `yes` (a check box), `choice` or `text`."""

    choices: Callable[[StatusResult], list[str]] | None = None
    needed: bool = False
    help: str = ""

    def options(self, now: StatusResult) -> list[str]:
        return [] if self.choices is None else self.choices(now)


@dataclass(frozen=True, slots=True)
class Offer:
    """One verb: the method of `Project`, the words of the command line, what it does."""

    method: str
    words: str
    does: str
    fields: tuple[Field, ...] = ()

    @property
    def command(self) -> str:
        return f"annoloop {self.words}"

    def possible(self, now: StatusResult) -> bool:
        """False where a field that is needed has nothing to choose from."""
        return all(f.options(now) for f in self.fields if f.needed and f.choices)


@dataclass(frozen=True, slots=True)
class Order:
    """A verb with its arguments, and the command line that would do the same."""

    method: str
    arguments: Mapping[str, Any]
    command: str


def _closable(now: StatusResult) -> list[str]:
    """Open batches whose images all have an answer."""
    return [b.name for b in now.batches if b.open and b.answered >= sum(b.by_source.values())]


def _open_of_the_loop(now: StatusResult) -> list[str]:
    return [b.name for b in now.batches if b.open and b.kind == "select"]


def _closed(now: StatusResult) -> list[str]:
    return [b.name for b in reversed(now.batches) if not b.open]


_SIZE = Field("size", "Images", "--size", help="default")

OFFERS: tuple[Offer, ...] = (
    Offer(
        "run",
        "run",
        "Walk the loop until people are needed or the verdict is stop.",
        (Field("iterations", "Iterations at most", "--iterations"),),
    ),
    Offer(
        "ingest",
        "ingest",
        "Add what is new in the folder of images; name classes that are new.",
        (Field("classes", "Classes, in order", "--classes", "text"),),
    ),
    Offer("split", "split", "Assign and lock test, val, golden and pool; report leaks."),
    Offer("embed", "embed", "A vector for every image that has none yet."),
    Offer("map", "map", "A place on the map for every image: those that look alike lie together."),
    Offer("score", "score", "Coverage scores of the unlabeled pool, given what is labelled."),
    Offer(
        "select",
        "select",
        "The next batch, each pick with its reason.",
        (
            _SIZE,
            Field("mix", "Coverage share", "--mix", "share", help="0.3"),
            Field("seed", "Seed", "--seed"),
            Field("dry_run", "Only show it", "--dry-run", "yes"),
        ),
    ),
    Offer(
        "batch_predict",
        "batch predict",
        "The newest model's boxes for a batch, so that labelling starts from them.",
        (Field("name", "Batch", None, "choice", _open_of_the_loop, needed=True),),
    ),
    Offer(
        "annotate_close",
        "annotate close",
        "Close a batch: answers become statuses, or reference labels of a split.",
        (Field("batch", "Batch", None, "choice", _closable, needed=True),),
    ),
    Offer(
        "golden_check",
        "golden check",
        "Compare the blind golden answers with the reference; go on after a fail, with a reason.",
        (Field("accept", "Accept a fail, because", "--accept", "text"),),
    ),
    Offer("train", "train", "A model of all annotated data."),
    Offer(
        "train_folds",
        "train",
        "Predict each annotated image by a model that has not seen it, to find wrong labels.",
        (Field("folds", "Folds, as 5", "--folds", needed=True),),
    ),
    Offer(
        "suspects_relabel",
        "suspects relabel",
        "A batch of the images whose labels are most likely wrong, to be corrected.",
        (_SIZE,),
    ),
    Offer("evaluate", "evaluate", "Metrics on gauge and val, typed failures from mine."),
    Offer("decide", "decide", "Stop or continue, with reason and numbers."),
    Offer(
        "batch_make",
        "batch make",
        "A batch of another kind: val, golden or test to label, failures to review, corrections.",
        (
            Field(
                "kind",
                "Kind",
                "--kind",
                "choice",
                lambda _: ["val", "golden", "test", "review", "relabel"],
                needed=True,
            ),
            _SIZE,
            Field("of", "Relabel which batch", "--of", "choice", _closed),
        ),
    ),
    Offer("annotate_requeue", "annotate requeue", "Put pending samples back into the pool."),
)


def order(verb: str, form: Mapping[str, str], now: StatusResult) -> Order:
    """What was asked. Raises InputError for a verb or a value that is not offered."""
    offer = next((one for one in OFFERS if one.method == verb), None)
    if offer is None:
        raise InputError(f"the app does not offer {verb!r}", fix="Use the command line.")
    unknown = form.keys() - {field.name for field in offer.fields}
    if unknown:
        raise InputError(f"`{offer.command}` has no {min(unknown)!r}", fix="Load the page again.")
    arguments: dict[str, Any] = {}
    words = [offer.command]
    for field in offer.fields:
        said = form.get(field.name, "").strip()
        if not said:
            if field.needed:
                raise InputError(f"{field.label.lower()} is missing", fix="Choose one.")
            continue
        arguments[field.name] = value = _read(field, said, now)
        words += _words(field, value)
    return Order(verb, arguments, " ".join(words))


def _read(field: Field, said: str, now: StatusResult) -> Any:
    if field.kind == "yes":
        return True
    if field.kind == "text":
        return said
    if field.kind == "choice":
        if said not in field.options(now):
            raise InputError(f"{said!r} cannot be chosen now", fix="Load the page again.")
        return said
    try:
        number = float(said) if field.kind == "share" else int(said)
    except ValueError:
        number = -1
    if field.kind == "share":
        if not 0 <= number <= 1:
            raise InputError(f"{said!r} is no share", fix="Give a number from 0 to 1, as 0.3.")
        return {"coverage": number, "targeted": round(1 - number, 10)}
    if number < 0:
        raise InputError(f"{said!r} is no number of {field.label.lower()}", fix="Give a number.")
    return number


def _words(field: Field, value: Any) -> list[str]:
    if field.kind == "yes":
        return [str(field.flag)]
    text = ",".join(f"{k}={v:g}" for k, v in value.items()) if field.kind == "share" else str(value)
    return [shlex.quote(text)] if field.flag is None else [field.flag, shlex.quote(text)]
