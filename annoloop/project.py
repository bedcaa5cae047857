"""A project and its verbs: the composition root, a thin method per step."""

from __future__ import annotations

import fcntl
import getpass
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from annoloop import plugins, results, settings
from annoloop.errors import BusyError, InputError, ProjectError
from annoloop.ports import Progress, silent
from annoloop.records import BatchKind, ForeignDataset, Source
from annoloop.steps.context import Context
from annoloop.store.db import Store
from annoloop.store.vectors import VectorStore

LOCK = ".annoloop.lock"


class Project:
    """One loop over one set of samples: a folder with annoloop.toml in it.

    `overrides` are settings of this call ({"train": {"trainer": "command"}}); `say` hears what a
    verb does on its own account, `progress` (done, total, what) how far long work has come.
    """

    def __init__(
        self,
        folder: str | Path = ".",
        *,
        overrides: Mapping[str, Any] | None = None,
        say: Callable[[str], None] | None = None,
        progress: Progress = silent,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        if not (self.folder / settings.FILE).is_file():
            raise ProjectError(
                f"there is no annoloop project in {self.folder}",
                fix="Make one with `annoloop init DIR --images PATH`, or name it with `--project`.",
            )
        self.settings = settings.load(self.folder, environ=os.environ, overrides=overrides)
        self._clock = clock or (lambda: datetime.now(UTC))
        self._say = say or (lambda _text: None)
        self._progress = progress
        self._made: dict[tuple[str, str], Any] = {}
        images = self.folder / self.settings.images.root
        self.store = Store(self.settings.store.url, self.folder, images=images)
        if not self.store.file.exists() and (self.folder / "splits.lock.json").exists():
            raise ProjectError(
                f"{self.store.file.name} is gone, though this project has locked splits",
                fix="Bring the database back from a backup; nothing else holds the labels.",
            )
        if not self.store.check():
            self.store.migrate(self._now())

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

        where, fresh = start.prepare(Path(folder), source, group=group)
        project = cls(where, overrides=overrides, say=say, progress=progress)
        start.refuse_another(where, source, project.settings, group=group)
        try:
            ingested = project.ingest(source)
        except InputError:
            if fresh:  # refused whole: the next try starts with what it is given, not with this
                (where / settings.FILE).unlink()
            raise
        return project, results.InitResult(str(where), ingested)

    # --- the world as the steps see it ----------------------------------------------------------

    def _now(self) -> str:
        return self._clock().astimezone(UTC).isoformat(timespec="milliseconds")

    def _context(self) -> Context:
        chosen = self.settings
        return Context(
            folder=self.folder,
            settings=chosen,
            store=self.store,
            vectors=VectorStore(self.folder),
            who=os.environ.get("ANNOLOOP_USER") or getpass.getuser(),
            now=self._now,
            stopwatch=time.perf_counter,
            say=self._say,
            progress=self._progress,
            embedder=self._once("embedders", chosen.embed.embedder, chosen.embed.options),
            trainer=self._once("trainers", chosen.train.trainer, chosen.train.options),
            strategies=plugins.strategies,
        )

    def _once(self, kind: str, name: str, options: Mapping[str, Any]) -> Callable[[], Any]:
        """Make an adapter at first need and keep it: trainers may hold what they have computed."""

        def made() -> Any:
            if (kind, name) not in self._made:
                self._made[kind, name] = plugins.make(kind, name, dict(options))
            return self._made[kind, name]

        return made

    @contextmanager
    def _alone(self, verb: str) -> Iterator[Context]:
        """Machine work holds the project's lock; a second process is refused by name."""
        file = self.folder / LOCK
        with file.open("a+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                handle.seek(0)
                raise BusyError(
                    f"another annoloop is working on this project ({handle.read().strip()})",
                    fix="Wait for it to finish, or end it, and run this again.",
                ) from error
            handle.truncate(0)
            handle.write(f"{verb}, process {os.getpid()}")
            handle.flush()
            yield self._context()
            handle.truncate(0)

    # --- samples ----------------------------------------------------------------------------------

    def ingest(self, source: Source | None = None) -> results.IngestResult:
        """Add new images, labels and classes; run again, it adds only what is new."""
        from annoloop.steps import ingest, split

        given = source or Source()
        labels = None if given.labels is None else self._read(given.labels, given.format)
        with self._alone("ingest") as context:
            made = ingest.ingest(context, labels, classes=given.classes, adopt=given.adopt_labels)
            with self.store.read() as connection:
                from annoloop.store import samples

                locked = samples.locked_groups(connection) is not None
            if locked and made.images_added:
                checked = split.split(context)
                made = replace(made, notes=(*made.notes, *checked.notes))
        return made

    def _read(self, path: str, form: str | None) -> ForeignDataset:
        where = Path(path)
        name = form or plugins.detect_format(where)
        # YOLO files hold shares of the image, so their reader has to find the images.
        options = {"images": str(self.folder / self.settings.images.root)} if name == "yolo" else {}
        reader = plugins.make("readers", name, options)
        found: ForeignDataset = reader.read(where)
        return found

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

    # --- batches ----------------------------------------------------------------------------------

    def select(
        self,
        size: int | None = None,
        *,
        mix: Mapping[str, float] | None = None,
        seed: int | None = None,
        dry_run: bool = False,
    ) -> results.SelectResult:
        """The next batch of the loop, each pick with its reason."""
        from annoloop.steps import select

        with self._alone("select") as context:
            wish = select.Wish(size=size, mix=mix, seed=seed, dry_run=dry_run)
            return select.select(context, wish)

    def batch_list(self) -> results.BatchListResult:
        from annoloop.steps import batch

        return batch.list_batches(self._context())

    def batch_show(self, name: str) -> results.BatchShowResult:
        from annoloop.steps import batch

        return batch.show(self._context(), name)

    def batch_make(
        self,
        kind: str,
        *,
        size: int | None = None,
        of: str | None = None,
        paths: Collection[str] = (),
    ) -> results.BatchMakeResult:
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
    ) -> results.ExportResult:
        """The batch as files for annotators."""
        from annoloop.steps import export

        writer = plugins.make("writers", to, {})
        return export.export(
            self._context(), name, writer=writer, form=to, out=Path(out), prelabels=prelabels
        )

    # --- answers ----------------------------------------------------------------------------------

    def annotate_import(
        self,
        file: str | Path,
        *,
        batch: str,
        annotator: str,
        format: str | None = None,
        allow: Collection[str] = (),
    ) -> results.ImportResult:
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

    def annotate_oracle(self, batch: str) -> results.ImportResult:
        """Answer a batch from the reference labels."""
        from annoloop.steps import annotate

        return annotate.oracle(self._context(), batch)

    def annotate_close(self, batch: str) -> results.CloseResult:
        """Close a batch: answers become statuses, or reference labels of a split."""
        from annoloop.steps import close

        return close.close(self._context(), batch)

    def annotate_requeue(self) -> results.RequeueResult:
        """Put pending samples back into the pool."""
        from annoloop.steps import annotate

        return annotate.requeue(self._context())

    # --- golden -----------------------------------------------------------------------------------

    def golden_stats(self) -> results.GoldenStatsResult:
        from annoloop.steps import golden

        return golden.stats(self._context())

    def golden_plan(self) -> results.GoldenPlanResult:
        from annoloop.steps import blind

        return blind.plan(self._context())

    def golden_baseline(self) -> results.BatchMakeResult:
        """A batch of all golden images, for qualification passes."""
        from annoloop.steps import baseline

        return baseline.baseline(self._context())

    def golden_check(self, *, accept: str | None = None) -> results.GoldenCheckResult:
        """Compare the blind golden answers of the newest closed batch with their reference."""
        from annoloop.steps import golden

        with self._alone("golden check") as context:
            return golden.check(context, accept=accept)

    # --- models -----------------------------------------------------------------------------------

    def train(self) -> results.TrainResult:
        """A model of all annotated data."""
        from annoloop.steps import train

        with self._alone("train") as context:
            return train.train(context)

    def predict(self) -> results.PredictResult:
        """Predictions of the newest model on val and pool, stored."""
        from annoloop.steps import train

        with self._alone("predict") as context:
            return train.predict(context)

    def evaluate(self, split: str = "val") -> results.EvaluateResult:
        """Metrics on gauge and val, typed failures from mine; or the test split, counted."""
        from annoloop.steps import evaluate

        if split not in {"val", "test"}:
            raise InputError(f"cannot evaluate on {split!r}", fix="Use val or test.")
        with self._alone("evaluate") as context:
            if split == "test":
                return evaluate.evaluate_test(context)
            return evaluate.evaluate(context)

    def failures(self) -> results.FailuresResult:
        """The typed failures of the newest evaluation."""
        from annoloop.steps import failures

        return failures.failures(self._context())

    def decide(self) -> results.DecideResult:
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

    def gallery(self, ids: Collection[str]) -> dict[str, results.ImageView]:
        """Images with their boxes, by sample id, for those who draw them."""
        from annoloop.steps import gallery

        return gallery.gallery(self._context(), ids)

    def golden_conflicts(self) -> tuple[results.GoldenConflict, ...]:
        """Images of the newest golden check that differ most from their reference."""
        from annoloop.steps import gallery

        return gallery.golden_conflicts(self._context())

    def report(self, out: str | Path) -> results.ReportResult:
        """The picture of the loop as one self-contained HTML file."""
        made: results.ReportResult = plugins.load("faces", "report")(self, Path(out))
        return made

    def doctor(self) -> results.DoctorResult:
        """What is installed, and whether this project is healthy."""
        from annoloop.steps import doctor

        return doctor.doctor(plugins.installed(), self._context())
