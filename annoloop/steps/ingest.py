"""`ingest`: add the images that are new, and their reference labels; change nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from annoloop import foreign, images
from annoloop.errors import InputError
from annoloop.records import (
    ForeignDataset,
    ForeignImage,
    Problem,
    Reference,
    Sample,
    Split,
    Status,
)
from annoloop.records import sample_id as make_id
from annoloop.results import IngestResult
from annoloop.steps.context import Context
from annoloop.steps.groups import GroupRule
from annoloop.steps.labels import drop_outside, match_images, size_problems
from annoloop.store import db, samples

ADOPT = "adopt"
"""Source of reference labels that enter the pool as annotated batch v0 when splits are made."""

CHUNK = 512
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """What an ingest will write, checked whole before anything is written."""

    new: tuple[Sample, ...]
    references: tuple[Reference, ...]
    refused: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    known: int


def ingest(
    context: Context,
    labels: ForeignDataset | None = None,
    *,
    classes: Sequence[str] = (),
    adopt: bool = False,
) -> IngestResult:
    """Add new images (and labels). Raises InputError naming every bad file, adding nothing."""
    if not context.images_root.is_dir():
        raise InputError(
            f"there is no folder of images at {context.images_root}",
            fix="Correct [images] root in annoloop.toml, or `--images PATH` of init.",
        )
    given = labels or ForeignDataset((), ())
    plan = _plan(context, given, adopt=adopt)
    with context.store.write() as connection:
        at = context.now()
        schema = samples.add_classes(connection, [*classes, *given.classes])
        order = [schema.index()[name] for name in given.classes]
        samples.add_samples(connection, plan.new, at)
        added = samples.add_references(
            connection, (_in_schema(r, order) for r in plan.references), who=context.who, at=at
        )
        if plan.new or added:
            db.record(
                connection,
                at=at,
                who=context.who,
                what="ingest",
                target=str(context.images_root),
                details={"images": len(plan.new), "labeled": added},
            )
        without = len(plan.new) + plan.known - samples.count_referenced(connection)
    return IngestResult(
        images_added=len(plan.new),
        images_known=plan.known,
        images_labeled=added,
        boxes=sum(len(r.labels) for r in plan.references),
        classes=schema.classes,
        refused=plan.refused,
        problems=plan.problems,
        notes=(*plan.notes, *([f"{without} images have no reference labels"] if without else [])),
    )


def _plan(context: Context, labels: ForeignDataset, *, adopt: bool) -> Plan:
    skip_bad = context.settings.images.skip_bad
    with context.store.read() as connection:
        known = samples.ids_by_path(connection)
        locked_groups = samples.locked_groups(connection)
    if adopt and locked_groups is not None:
        raise too_late()
    if context.settings.fiftyone.dataset is None:
        follow = context.settings.images.follow_links
        paths = images.list_images(context.images_root, follow_links=follow)
    else:  # what else lies in the folder is no sample of the dataset
        paths = sorted(known)
    new, refused = probe(context, [p for p in paths if p not in known])
    if refused and not skip_bad:
        raise refusal(refused)
    found = {**known, **{s.path: s.id for s in new}}
    matched, odd = match_images(labels, found)
    if odd and not skip_bad:
        raise refusal(odd)
    matched, outside = drop_outside(matched, _sizes(context, matched, new))
    columns = {path: dict(image.columns) for path, image in matched.items()}
    rule = GroupRule(context.settings.split.group, columns)
    if new and rule.kind in {"column", "rule"} and not any(rule.group(s.path) for s in new):
        raise InputError(
            f"split.group {context.settings.split.group!r} finds no group in any image"
            + (f"; columns there: {_known(columns)}" if rule.kind == "column" else ""),
            fix="Correct it in annoloop.toml (or `--group`), or set it to none.",
        )
    return Plan(
        new=tuple(placed(s, rule.group(s.path), locked_groups) for s in new),
        references=tuple(
            Reference(found[path], image.labels, ADOPT if adopt else "labels")
            for path, image in matched.items()
            if _is_labeled(image, adopt=adopt)
        ),
        refused=tuple(refused),
        problems=(
            *labels.problems,
            *odd,
            *outside,
            *size_problems(matched, {s.path: s for s in new}),
        ),
        notes=tuple(_notes(context, paths, known)),
        known=len(known),
    )


def too_late() -> InputError:
    return InputError(
        "labels can be adopted only before the splits are made",
        fix="Import them as answers to a batch: `annoloop annotate import`.",
    )


def _sizes(
    context: Context, matched: Mapping[str, ForeignImage], new: Sequence[Sample]
) -> dict[str, tuple[int, int]]:
    """Path → the image file's own size, for every image that came with labels."""
    fresh = {s.path: s for s in new if s.path in matched}
    with context.store.read() as connection:
        old = samples.load(connection, ids={make_id(path) for path in matched.keys() - fresh})
    return {s.path: (s.width, s.height) for s in (*old, *fresh.values())}


def _known(columns: dict[str, dict[str, str]]) -> str:
    return ", ".join(sorted({name for row in columns.values() for name in row})) or "none"


def _is_labeled(image: ForeignImage, *, adopt: bool) -> bool:
    """A listed image without boxes is truly empty in a reference; as an answer only if marked."""
    if image.labels:
        return True
    return image.reviewed is True if adopt else image.reviewed is not False


def probe(context: Context, paths: Sequence[str]) -> tuple[list[Sample], list[Problem]]:
    """Facts of each image, and a problem for each file that is no readable image."""
    root = context.images_root
    good: list[Sample] = []
    bad: list[Problem] = []

    def facts(path: str) -> Sample | Problem:
        try:
            _refuse_name(path)
            one = images.probe(str(root / path))
        except InputError as error:
            return Problem(path, "", error.problem, error.fix)
        return Sample(make_id(path), path, path, one.width, one.height, one.sha256, bytes=one.bytes)

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), CHUNK):
            for one in pool.map(facts, paths[start : start + CHUNK]):
                if isinstance(one, Sample):
                    good.append(one)
                else:
                    bad.append(one)
            context.progress(min(start + CHUNK, len(paths)), len(paths), "reading images")
    return good, bad


def _refuse_name(path: str) -> None:
    """Names that no label file could hold would be found out only at the first export."""
    if foreign.image_path(path, path) != path:
        raise InputError(
            f"{path!a}: label files cannot hold this name", fix="Rename the file (no backslash)."
        )


def refusal(problems: Sequence[Problem]) -> InputError:
    """The error that names the first of the files that cannot be used."""
    lines = [f"  {p.file} {p.row}: {p.what}".replace(" :", ":") for p in problems[:SHOWN]]
    more = len(problems) - SHOWN
    tail = [f"  … and {more} more"] if more > 0 else []
    return InputError(
        "\n".join([f"{len(problems)} files cannot be used; nothing was added:", *lines, *tail]),
        fix="Mend or remove them, or add `--skip-bad` to leave them out and list them.",
    )


def placed(sample: Sample, group: str | None, locked_groups: dict[str, Split] | None) -> Sample:
    """Before the splits are made a sample has none; afterwards whatever is new joins the pool."""
    if locked_groups is None:
        return replace(sample, group=group)
    side = locked_groups.get(group) if group is not None else None
    if side is None:
        return replace(sample, group=group, split=Split.POOL)
    why = f"its group {group} is in {side}: selecting it would leak"
    return replace(sample, group=group, split=Split.POOL, status=Status.SKIPPED, why=why)


def _in_schema(reference: Reference, order: Sequence[int]) -> Reference:
    """The same labels with class ids of our schema."""
    labels = tuple(replace(one, class_id=order[one.class_id]) for one in reference.labels)
    return replace(reference, labels=labels)


def _notes(context: Context, paths: Sequence[str], known: dict[str, str]) -> Iterable[str]:
    gone = len(set(known) - set(paths))
    if gone:
        yield f"{gone} images of this project are no longer in the folder; they are kept"
    folders = {str(PurePosixPath(p).parent) for p in paths}
    if len(folders) > 1 and context.settings.split.group == "none":
        yield (
            f"images lie in {len(folders)} folders; if a folder is a scene, set "
            '[split] group = "folder" before `annoloop split`'
        )
