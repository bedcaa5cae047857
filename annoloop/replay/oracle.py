"""The oracle of a replay: reference labels as people would have given them, with their errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from annoloop.core.simulated import Habits, annotate
from annoloop.project import Project
from annoloop.records import ForeignDataset, ForeignImage, Label, Reference, Sample
from annoloop.replay.plan import OraclePlan
from annoloop.steps.annotate import Leniency, import_answers
from annoloop.store import batches, samples

ANNOTATOR = "noisy oracle"


class AnsweringProject(Project):
    """A project whose batches are answered by an oracle that may err."""

    def answer(self, batch: str, oracle: OraclePlan, *, seed: int) -> None:
        """Answer an open batch whole. What is said of an image depends on image and seed alone."""
        if not oracle.errs:
            self.annotate_oracle(batch)
            return
        context = self._context()
        with self.store.read() as connection:
            ids = [pick.sample_id for pick, _ in batches.load_picks(connection, batch)]
            tasks = samples.load(connection, ids=ids)
            known = samples.newest_references(connection, ids=ids)
            classes = samples.schema(connection).classes
        given = tuple(
            _answered(one, known[one.id], oracle, classes=len(classes), seed=seed) for one in tasks
        )
        import_answers(
            context,
            batch,
            ForeignDataset(classes, given),
            annotator=ANNOTATOR,
            leniency=Leniency(empty_means_reviewed=True),
        )


def _answered(
    sample: Sample, known: Reference, oracle: OraclePlan, *, classes: int, seed: int
) -> ForeignImage:
    rng = np.random.default_rng([seed, int(sample.id, 16)])
    habits = Habits(
        miss=oracle.miss, swap=oracle.swap, spurious=0.0, edge=oracle.jitter, correlation=0.0
    )
    drawn = annotate({sample.id: known.labels}, habits, classes=classes, rng=rng)[sample.id]
    extra = int(rng.binomial(len(known.labels), oracle.spurious))
    for x, y, w, h in rng.uniform(0.1, 0.4, size=(extra, 4)).tolist():
        box = (x * 1.5 * sample.width, y * 1.5 * sample.height, w * sample.width, h * sample.height)
        drawn.append(Label(int(rng.integers(0, classes)), box))
    inside = tuple(_inside(label, sample) for label in drawn)
    return ForeignImage(sample.path, inside, sample.width, sample.height, True, sample_id=sample.id)


def _inside(label: Label, sample: Sample) -> Label:
    x, y, w, h = label.box
    left, top = min(max(x, 0.0), sample.width - 1.0), min(max(y, 0.0), sample.height - 1.0)
    right, bottom = min(x + w, float(sample.width)), min(y + h, float(sample.height))
    return replace(label, box=(left, top, max(right - left, 1.0), max(bottom - top, 1.0)))
