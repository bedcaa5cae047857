"""A data set that another tool keeps, beside the project made of it: its samples and vectors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from annoloop.errors import InputError, VectorError
from annoloop.ports import LoopReader
from annoloop.records import Problem, Sample, Split, Status
from annoloop.records_loop import ForeignLoop, LoopBoxes, LoopSample
from annoloop.steps import ingest
from annoloop.steps.context import Context
from annoloop.steps.groups import GroupRule
from annoloop.store import samples

CHUNK = 5_000
"""Samples whose boxes or vectors are held at once."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """An opened data set: what it says of each of our paths, and who is in the project already.

    `twice` are samples whose file another sample has.
    """

    context: Context
    reader: LoopReader
    loop: ForeignLoop
    said: dict[str, LoopSample]
    known: dict[str, Sample]
    twice: tuple[Problem, ...]

    @property
    def reference(self) -> str:
        """The source of reference labels that came from here."""
        return f"{SOURCE}{self.loop.name}"

    def boxes(self, some: Sequence[Sample]) -> Iterator[tuple[Sample, LoopBoxes]]:
        """The boxes of these samples, read in parts."""
        for part in parts(some):
            keys = {s.path: self.said[s.path].external_id for s in part}
            found = self.reader.boxes(list(keys.values()))
            yield from ((s, found[keys[s.path]]) for s in part)


SOURCE = "dataset "


def opened(context: Context, reader: LoopReader) -> Dataset:
    """Read the data set's samples. Raises InputError for files outside the image folder, and for
    one file with two samples unless `skip_bad`."""
    loop = reader.read_loop()
    root = os.path.normpath(context.images_root)
    said: dict[str, LoopSample] = {}
    twice = []
    for one in loop.samples:
        path = inside(one.file, root)
        if path in said:
            what = f"the samples {said[path].external_id} and {one.external_id} have this one file"
            twice.append(Problem(path, "", what, "the second is left out"))
        else:
            said[path] = one
    if twice and not context.settings.images.skip_bad:
        raise ingest.refusal(twice)
    with context.store.read() as connection:
        known = {s.path: s for s in samples.load(connection)}
    kept = tuple(said.values())
    return Dataset(context, reader, replace(loop, samples=kept), said, known, tuple(twice))


def inside(file: str, root: str) -> str:
    """The path of a file below the image folder. Raises InputError if it lies elsewhere."""
    if not file.startswith(f"{root}/"):
        raise InputError(
            f"{file} does not lie in the image folder {root}",
            fix="Bring the files together, make the project of a saved view (`--view`), or name a "
            "folder that holds them all with `--images`.",
        )
    return file[len(root) + 1 :]


def parts(some: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    return (some[start : start + CHUNK] for start in range(0, len(some), CHUNK))


def common_folder(loop: ForeignLoop) -> str:
    """The folder that holds every file. Raises InputError if that is the root of the disk."""
    # A Path for each of a million samples would cost seconds.
    folders = {os.path.dirname(one.file) for one in loop.samples}  # noqa: PTH120
    found = os.path.commonpath(folders)
    if found == Path(found).anchor:
        first, last = min(folders), max(folders)
        raise InputError(
            f"the files of dataset {loop.name!r} have no folder in common ({first}, {last})",
            fix="Bring them together, or make the project of a saved view (`--view`) whose files "
            "lie in one folder.",
        )
    return found


def arrivals(found: Dataset) -> tuple[list[Sample], list[Problem]]:
    """What is not in the project yet, with the facts of its file; and the files that are no image.

    Raises InputError naming them unless `skip_bad`.
    """
    paths = [path for path in sorted(found.said) if path not in found.known]
    new, bad = ingest.probe(found.context, paths)
    if bad and not found.context.settings.images.skip_bad:
        raise ingest.refusal(bad)
    rule = GroupRule(found.context.settings.split.group, {})
    made = []
    for sample in new:
        one = found.said[sample.path]
        group = one.group if rule.kind == "column" else rule.group(sample.path)
        made.append(replace(sample, external_id=one.external_id, group=group))
    return made, bad


def only(found: Dataset, some: Sequence[Sample]) -> ForeignLoop:
    """What the data set says of these samples alone."""
    kept = tuple(found.said[s.path] for s in some)
    return replace(found.loop, samples=kept)


def add_vectors(found: Dataset, everyone: Sequence[Sample]) -> tuple[str, ...]:
    """Take over the vectors that are not stored yet, in parts; says what has none.

    Raises VectorError for broken ones, and where some of the pool have one and others not: the
    loop could not choose among them.
    """
    context, name = found.context, found.loop.vectors
    if name is None or context.embedder().name != name:
        return ()
    if not found.known:
        context.vectors.forget_vectors(name)  # of an init that was refused or killed
    stored = context.vectors.vector_keys(name)
    todo = [s for s in everyone if s.sha256 not in stored and s.path in found.said]
    without: list[Sample] = []
    for done, part in enumerate(parts(todo)):
        keys = {found.said[s.path].external_id: s for s in part}
        ids, rows = found.reader.vectors(list(keys))
        first = [i for i, key in enumerate(ids) if _first(keys[key].sha256, stored)]
        if first:
            context.vectors.add_vectors(name, [keys[ids[i]].sha256 for i in first], rows[first])
        having = set(ids)
        without += [s for key, s in keys.items() if key not in having]
        context.progress(min((done + 1) * CHUNK, len(todo)), len(todo), "reading vectors")
    return _without(found, [s for s in without if s.sha256 not in stored])


def _first(key: str, stored: set[str]) -> bool:
    """True once for each content; copies of an image share its vector."""
    fresh = key not in stored
    stored.add(key)
    return fresh


def _without(found: Dataset, without: Sequence[Sample]) -> tuple[str, ...]:
    if not without:
        return ()
    said = [(s, found.said[s.path]) for s in without]
    pool = [
        s for s, one in said if one.split in (Split.POOL, None) and one.status is not Status.SKIPPED
    ]
    fix = "Compute the rest with the model that made the others"
    if pool and not found.known:
        raise VectorError(
            f"{len(pool)} samples to choose from have no vector, first {pool[0].path}",
            fix=f"{fix}, or remove the field `embeddings`: then annoloop computes its own.",
        )
    return (f"{len(without)} samples have no vector, first {without[0].path}. {fix}, then ingest",)
