"""A project and its verbs: the composition root, a thin method per step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from annoloop import (
    plugins,
    results,
    results_backup,
    results_batches,
    results_failures,
    results_fiftyone,
    results_golden,
    results_map,
    results_models,
    results_suspects,
    settings,
)
from annoloop.errors import InputError
from annoloop.ports import Progress, silent
from annoloop.records import BatchKind, Source
from annoloop.session import REFUSED, open_loop, open_mirror
from annoloop.views import Views


class Project(Views):
    """One loop over one set of samples: a folder with annoloop.toml in it.

    Each verb is a method of the same name and answers a frozen record; `Session` says what the
    arguments of `Project(folder, …)` mean.
    """

    @classmethod
    def init(
        cls,
        folder: str | Path,
        source: Source,
        *,
        group: str = "none",
        overrides: Mapping[str, Any] | None = None,
        say: Callable[[str], None] | None = None,
        progress: Progress = silent,
    ) -> tuple[Project, results.InitResult]:
        """Make a project and ingest. Run again after a kill: it goes on where it was."""
        from annoloop.steps import start

        if source.dataset is not None and (Path(folder) / settings.FILE).is_file():
            project = cls(folder, overrides=overrides, say=say, progress=progress)
            start.refuse_another(project.folder, source, project.settings, group=group)
            again = project.ingest(replace(source, labels=None))
            return project, results.InitResult(
                str(project.folder), again, split=project._is_split()
            )
        with open_loop(source, group) as reader:
            where, fresh = start.prepare(Path(folder), source, group=group, reader=reader)
            project = cls(where, overrides=overrides, say=say, progress=progress)
            start.refuse_another(where, source, project.settings, group=group)
            try:
                ingested = project._ingest(source, reader)
            except REFUSED:
                if fresh:  # refused whole: the next try starts with what it is given, not with this
                    (where / settings.FILE).unlink()
                raise
        return project, results.InitResult(str(where), ingested, split=project._is_split())

    @classmethod
    def restore(
        cls, backup: str | Path, folder: str | Path
    ) -> tuple[Project, results_backup.RestoreResult]:
        """A project out of a backup, in a new folder, equal to the row."""
        from annoloop.steps import restore

        made = restore.restore(Path(backup), Path(folder))
        return cls(folder), made

    def backup(self, out: str | Path, *, derived: bool = False) -> results_backup.BackupResult:
        """All that cannot be computed again, as one folder, while others go on working."""
        from annoloop.steps import backup

        return backup.backup(self._context(), Path(out), derived=derived)

    # --- samples ----------------------------------------------------------------------------------

    def ingest(self, source: Source | None = None) -> results.IngestResult:
        """Add new images, labels and classes; run again, it adds only what is new.

        In a project of a FiftyOne dataset that is read again; label files add to its images.
        """
        given = source or Source()
        origin = Source() if given.labels else self._made_of()
        with open_loop(origin, self.settings.split.group) as reader:
            return self._ingest(given, reader)

    def fiftyone_sync(self, *, force: bool = False) -> results_fiftyone.SyncResult:
        """Show in the dataset what the loop decided; without `force` what people set stays."""
        from annoloop.steps import sync

        origin, group = self._made_of(), self.settings.split.group
        with open_mirror(origin, group) as mirror, self._alone("fiftyone sync") as context:
            return sync.sync(context, mirror, force=force)

    def split(self) -> results.SplitResult:
        """Make and lock the splits, or check the locked ones."""
        from annoloop.steps import split

        with self._alone("split") as context:
            return split.split(context)

    def embed(self) -> results.EmbedResult:
        """A vector for every image that has none yet."""
        from annoloop.steps import embed

        with self._alone("embed") as context:
            return embed.embed(context)

    def score(self) -> results.ScoreResult:
        """Coverage scores of the unlabeled pool, given what is labelled."""
        from annoloop.steps import score

        with self._alone("score") as context:
            return score.score(context)

    def map(self, *, again: bool = False) -> results_map.MapResult:
        """A place in the plane for every image, kept until there are new ones."""
        from annoloop.steps import map as lay_out

        with self._alone("map") as context:
            return lay_out.lay_out(context, again=again)

    # --- batches ----------------------------------------------------------------------------------

    def select(
        self,
        size: int | None = None,
        *,
        boxes: float | None = None,
        minutes: float | None = None,
        mix: Mapping[str, float] | None = None,
        seed: int | None = None,
        dry_run: bool = False,
    ) -> results_batches.SelectResult:
        """The next batch of the loop, each pick with its reason.

        It has `size` images, or as many as `boxes` expected boxes or `minutes` minutes pay for.
        """
        from annoloop.steps import select

        with self._alone("select") as context:
            wish = select.Wish(size, boxes, minutes, mix=mix, seed=seed, dry_run=dry_run)
            return select.select(context, wish)

    def batch_list(self) -> results_batches.BatchListResult:
        from annoloop.steps import batch

        return batch.list_batches(self._context())

    def batch_show(self, name: str) -> results_batches.BatchShowResult:
        from annoloop.steps import batch

        return batch.show(self._context(), name)

    def batch_make(
        self,
        kind: str,
        *,
        size: int | None = None,
        of: str | None = None,
        paths: Collection[str] = (),
    ) -> results_batches.BatchMakeResult:
        """A batch of another kind: val, golden, test, review or relabel."""
        from annoloop.steps import make, split

        try:
            wanted = BatchKind(kind)
        except ValueError as error:
            known = ", ".join(k for k in BatchKind if k is not BatchKind.SELECT)
            raise InputError(f"there is no batch kind {kind!r}", fix=f"Use {known}.") from error
        with self._alone("batch make") as context:
            split.ensure_split(context)
            return make.make(context, wanted, size=size, of=of, paths=paths)

    def batch_export(
        self, name: str, out: str | Path, *, to: str = "coco", prelabels: bool = False
    ) -> results_batches.ExportResult:
        """The batch as files for annotators."""
        from annoloop.steps import export

        writer = plugins.make("writers", to, {})
        return export.export(
            self._context(), name, writer=writer, form=to, out=Path(out), prelabels=prelabels
        )

    def batch_predict(self, name: str) -> results_models.PredictResult:
        """Predict every image of a batch, so that its labelling starts from the model's boxes."""
        from annoloop.steps import label_setup

        with self._alone("batch predict") as context:
            return label_setup.predict_batch(context, name)

    # --- answers ----------------------------------------------------------------------------------

    def annotate_import(
        self,
        file: str | Path,
        *,
        batch: str,
        annotator: str,
        format: str | None = None,
        allow: Collection[str] = (),
    ) -> results_batches.ImportResult:
        """Merge a file of answers into an open batch, or refuse it whole.

        `allow` overlooks on demand: "empty_means_reviewed" (an image without boxes was looked at),
        "ignore_unknown" (images of other batches), "skip_bad" (rows that are no boxes).
        """
        from annoloop.steps import annotate

        answers = self._read(str(file), format)
        leniency = annotate.Leniency(**dict.fromkeys(allow, True))
        return annotate.import_answers(
            self._context(), batch, answers, annotator=annotator, leniency=leniency
        )

    def annotate_oracle(self, batch: str) -> results_batches.ImportResult:
        """Answer a batch from the reference labels."""
        from annoloop.steps import annotate

        return annotate.oracle(self._context(), batch)

    def annotate_close(self, batch: str) -> results_batches.CloseResult:
        """Close a batch: answers become statuses, or reference labels of a split."""
        from annoloop.steps import close

        return close.close(self._context(), batch)

    def annotate_requeue(self) -> results_batches.RequeueResult:
        """Put pending samples back into the pool."""
        from annoloop.steps import annotate

        return annotate.requeue(self._context())

    def annotate_skip(
        self, paths: Collection[str] = (), *, why: str, missing: bool = False
    ) -> results_batches.SkipResult:
        """Take images out of the loop; with `missing` all whose file is gone."""
        from annoloop.steps import skip

        return skip.skip(self._context(), paths, why=why, missing=missing)

    def annotate_unskip(self, paths: Collection[str]) -> results_batches.SkipResult:
        """Bring skipped images back, unless they would leak a locked one."""
        from annoloop.steps import skip

        return skip.unskip(self._context(), paths)

    # --- golden -----------------------------------------------------------------------------------

    def golden_stats(self) -> results_golden.GoldenStatsResult:
        from annoloop.steps import golden

        return golden.stats(self._context())

    def golden_plan(self) -> results_golden.GoldenPlanResult:
        from annoloop.steps import blind

        return blind.plan(self._context())

    def golden_baseline(self) -> results_batches.BatchMakeResult:
        """A batch of all golden images, for qualification passes."""
        from annoloop.steps import baseline

        return baseline.baseline(self._context())

    def golden_check(self, *, accept: str | None = None) -> results_golden.GoldenCheckResult:
        """Compare the blind golden answers of the newest closed batch with their reference."""
        from annoloop.steps import golden

        with self._alone("golden check") as context:
            return golden.check(context, accept=accept)

    # --- models -----------------------------------------------------------------------------------

    def train(self) -> results_models.TrainResult:
        """A model of all annotated data."""
        from annoloop.steps import train

        with self._alone("train") as context:
            return train.train(context)

    def train_folds(self, folds: int) -> results_suspects.FoldsResult:
        """Predictions of each annotated image by a model that has not seen it, stored."""
        from annoloop.steps import folds as steps

        with self._alone("train --folds") as context:
            return steps.train_folds(context, folds)

    def suspects_relabel(self, size: int | None = None) -> results_batches.BatchMakeResult:
        """A relabel batch of the images whose labels are most likely wrong."""
        from annoloop.steps import suspects

        return suspects.relabel(self._context(), size=size)

    def predict(self) -> results_models.PredictResult:
        """Predictions of the newest model on val and pool, stored."""
        from annoloop.steps import train

        with self._alone("predict") as context:
            return train.predict(context)

    def evaluate(
        self, split: str = "val", *, by: str | None = None
    ) -> results_models.EvaluateResult:
        """Metrics on gauge and val, typed failures from mine; or the test split, counted.

        `by` slices val: `folder`, `rule:REGEX`, or a field of the samples, as `group`.
        """
        from annoloop.steps import evaluate

        if split not in {"val", "test"}:
            raise InputError(f"cannot evaluate on {split!r}", fix="Use val or test.")
        if split == "test" and by is not None:
            raise InputError(
                "the test split is not sliced: it is opened for one number",
                fix="Slice val, or leave out `--by`.",
            )
        with self._alone("evaluate") as context:
            if split == "test":
                return evaluate.evaluate_test(context)
            return evaluate.evaluate(context, by=by)

    def failures(self) -> results_failures.FailuresResult:
        """The typed failures of the newest evaluation, in groups, and what changed."""
        from annoloop.steps import failures

        return failures.failures(self._context())

    def failures_review(self, size: int | None = None) -> results_batches.BatchMakeResult:
        """A blind batch of `size` failures for two people: are they the model's?"""
        return self.batch_make("review", size=size)

    def decide(self) -> results_models.DecideResult:
        """Stop or continue, with reason and numbers."""
        from annoloop.steps import decide

        with self._alone("decide") as context:
            return decide.decide(context)

    # --- the whole --------------------------------------------------------------------------------

    def status(self) -> results.StatusResult:
        """Where the loop stands and what is next."""
        from annoloop.steps import status

        return status.status(self._context())

    def run(
        self, *, iterations: int | None = None, annotator: str | None = None
    ) -> results.RunResult:
        """Walk the loop until people are needed or the verdict is stop."""
        from annoloop.steps import run

        if annotator not in {None, "oracle"}:
            raise InputError(
                f"there is no unattended annotator {annotator!r}",
                fix="Use `--annotator oracle` where labels are known, or leave it out.",
            )
        if iterations is not None and iterations < 1:
            raise InputError(f"{iterations} iterations are none", fix="Ask for at least 1.")
        with self._alone("run") as context:
            return run.run(context, limit=iterations, unattended=annotator == "oracle")

    def doctor(self) -> results.DoctorResult:
        """What is installed, and whether this project is healthy."""
        from annoloop.steps import doctor

        return doctor.doctor(plugins.installed(), self._context())
