"""The command line: one function per verb. stdout is data, stderr is talk."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from annoloop import __version__, cli_app, cli_backup, cli_history, durable
from annoloop.cli_failures import failures, suspects
from annoloop.cli_fiftyone import fiftyone
from annoloop.cli_options import (
    HERE,
    Folder,
    Json,
    mix_of,
    names,
    open_project,
    say,
    show,
)
from annoloop.cli_people import annotate, batch, golden
from annoloop.errors import AnnoloopError

EXPECTED, USAGE, UNEXPECTED, INTERRUPTED = 1, 2, 3, 130
"""Exit codes: 1 an expected failure, 2 wrong usage, 3 a bug of ours, 130 interrupted."""

STOPPED = "interrupted: what was finished is saved; run the same command to go on"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The annotation loop: golden check, annotate, train, evaluate, select, stop or repeat.",
)
app.add_typer(batch, name="batch")
app.add_typer(annotate, name="annotate")
app.add_typer(golden, name="golden")
app.add_typer(failures, name="failures")
app.add_typer(suspects, name="suspects")
app.add_typer(fiftyone, name="fiftyone")
app.command("app")(cli_app.local_app)
app.command("history")(cli_history.history)
app.command("sample")(cli_history.sample)
app.command("backup")(cli_backup.backup)
app.command("restore")(cli_backup.restore)


@app.command()
def init(
    directory: Path,
    images: Annotated[str | None, typer.Option(help="Folder of the images.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Reference labels (a dataset's field).")
    ] = None,
    form: Annotated[str | None, typer.Option("--format", help="coco, yolo or voc.")] = None,
    classes: Annotated[str, typer.Option(help="Class names, a,b,c, in order.")] = "",
    adopt_labels: Annotated[
        bool, typer.Option(help="Labelled pool images enter as annotated batch v0.")
    ] = False,
    group: Annotated[str, typer.Option(help="none, folder, column:NAME or rule:REGEX.")] = "none",
    skip_bad: Annotated[bool, typer.Option(help="Leave bad files out and list them.")] = False,
    dataset: Annotated[str | None, typer.Option("--fiftyone", help="A FiftyOne dataset.")] = None,
    view: Annotated[str | None, typer.Option(help="One of its saved views.")] = None,
    json: Json = False,
) -> None:
    """Make a project, ingest samples and any labels."""
    from annoloop.project import Project
    from annoloop.records import Source
    from annoloop.render import progress_bar

    source = Source(images, labels, form, names(classes), adopt_labels, dataset, view)
    _, made = Project.init(
        directory,
        source,
        group=group,
        overrides={"images": {"skip_bad": True}} if skip_bad else None,
        say=say,
        progress=progress_bar(),
    )
    show(made, as_json=json)


@app.command()
def ingest(
    labels: Annotated[str | None, typer.Option(help="Reference labels to add.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="coco, yolo or voc.")] = None,
    classes: Annotated[str, typer.Option(help="Class names to add, a,b,c.")] = "",
    adopt_labels: Annotated[bool, typer.Option(help="See init.")] = False,
    skip_bad: Annotated[bool, typer.Option(help="Leave bad files out and list them.")] = False,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Add what is new: images, labels, classes."""
    from annoloop.records import Source

    source = Source(None, labels, form, names(classes), adopt_labels)
    overrides = {"images": {"skip_bad": True}} if skip_bad else None
    show(open_project(project, overrides).ingest(source), as_json=json)


@app.command()
def split(project: Folder = HERE, json: Json = False) -> None:
    """Assign and lock test, val, golden and pool; report leaks."""
    show(open_project(project).split(), as_json=json)


@app.command()
def embed(
    embedder: Annotated[str | None, typer.Option(help="Another embedder.")] = None,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """A vector for every image that has none yet."""
    overrides = {"embed": {"embedder": embedder}} if embedder else None
    show(open_project(project, overrides).embed(), as_json=json)
    if embedder and embedder != open_project(project).settings.embed.embedder:
        say(f"note: to choose by these, `annoloop select --embedder {embedder}`")


@app.command("map")
def map_(
    again: Annotated[bool, typer.Option(help="Also where every image has its place.")] = False,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """A place in the plane for every image, for the map of `annoloop app`."""
    show(open_project(project).map(again=again), as_json=json)


@app.command()
def score(
    embedder: Annotated[str | None, typer.Option(help="Another embedder.")] = None,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Coverage scores of the unlabeled pool, given what is labelled."""
    overrides = {"embed": {"embedder": embedder}} if embedder else None
    show(open_project(project, overrides).score(), as_json=json)


@app.command()
def select(
    size: Annotated[int | None, typer.Option(help="Number of images.")] = None,
    boxes: Annotated[float | None, typer.Option(help="As many as so many boxes pay for.")] = None,
    minutes: Annotated[float | None, typer.Option(help="As many as so many minutes do.")] = None,
    mix: Annotated[str | None, typer.Option(help="coverage=0.3,targeted=0.7")] = None,
    look_at: Annotated[str | None, typer.Option(help="images or objects.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed.")] = None,
    embedder: Annotated[str | None, typer.Option(help="Another embedder.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Show the batch without taking it.")] = False,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """The next batch, each pick with its reason."""
    shares = None if mix is None else mix_of(mix)
    overrides = {"select": {"look_at": look_at}} if look_at else {}
    overrides |= {"embed": {"embedder": embedder}} if embedder else {}
    made = open_project(project, overrides).select(
        size, boxes=boxes, minutes=minutes, mix=shares, seed=seed, dry_run=dry_run
    )
    show(made, as_json=json)


@app.command()
def train(
    trainer: Annotated[str | None, typer.Option(help="Another trainer.")] = None,
    folds: Annotated[
        int | None, typer.Option(help="Models that predict what they have not seen, as 5.")
    ] = None,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """A model of all annotated data; or with --folds predictions of that data, for `suspects`."""
    overrides = {"train": {"trainer": trainer}} if trainer else None
    opened = open_project(project, overrides)
    show(opened.train() if folds is None else opened.train_folds(folds), as_json=json)


@app.command()
def predict(project: Folder = HERE, json: Json = False) -> None:
    """Predictions of the newest model on val and pool."""
    show(open_project(project).predict(), as_json=json)


@app.command()
def evaluate(
    split_name: Annotated[str, typer.Option("--split", help="val, or test (counted).")] = "val",
    by: Annotated[
        str | None, typer.Option(help="Slices of val: folder, group, rule:REGEX, …")
    ] = None,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Metrics on gauge and val, typed failures from mine."""
    show(open_project(project).evaluate(split_name, by=by), as_json=json)


@app.command()
def decide(project: Folder = HERE, json: Json = False) -> None:
    """Stop or continue, with reasons and numbers."""
    show(open_project(project).decide(), as_json=json)


@app.command()
def status(project: Folder = HERE, json: Json = False) -> None:
    """Where the loop stands and what is next to do."""
    show(open_project(project).status(), as_json=json)


@app.command()
def run(
    iterations: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    annotator: Annotated[str | None, typer.Option(help="oracle: labels are known.")] = None,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Walk the loop until people are needed or the verdict is stop."""
    made = open_project(project).run(iterations=iterations, annotator=annotator)
    show(made, as_json=json)
    if made.golden_failed:
        raise typer.Exit(EXPECTED)


@app.command()
def report(out: Path, project: Folder = HERE, json: Json = False) -> None:
    """The picture of the loop as one HTML file."""
    show(open_project(project).report(out), as_json=json)


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument()] = Path("demo"),
    iterations: Annotated[int, typer.Option(help="Iterations of the loop.")] = 5,
    images: Annotated[int, typer.Option(help="Images to generate.")] = 480,
    seed: Annotated[int, typer.Option(help="Seed of data and loop.")] = 0,
    json: Json = False,
) -> None:
    """The first run: generated digits, the whole loop, and a page to look at."""
    from annoloop.demo import run_demo
    from annoloop.render import progress_bar

    made = run_demo(
        directory,
        iterations=iterations,
        images=images,
        seed=seed,
        say=say,
        progress=progress_bar(),
    )
    show(made, as_json=json)


@app.command()
def doctor(project: Folder = HERE, json: Json = False) -> None:
    """What is installed and what is missing."""
    from annoloop.standalone import check_installation

    there = (project / "annoloop.toml").is_file()
    made = open_project(project).doctor() if there else check_installation()
    show(made, as_json=json)
    if not all(check.ok for check in made.checks):
        raise typer.Exit(EXPECTED)


@app.command()
def metrics(
    ground_truth: Annotated[Path, typer.Option(help="COCO annotations.")],
    detections: Annotated[Path, typer.Option(help="COCO detections.")],
    details: Annotated[
        bool, typer.Option(help="Classes, confusion, calibration, TIDE, images, VOC's AP.")
    ] = False,
    interval: Annotated[bool, typer.Option(help="95 % intervals by resampling images.")] = False,
    against: Annotated[
        Path | None, typer.Option(help="Another model's detections: the paired gain.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Slices: folder, column:NAME, rule:REGEX.")] = None,
    group: Annotated[
        str | None, typer.Option(help="What is resampled together, written like --by.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Score from which a detection counts; best F1 if not set.")
    ] = None,
    json: Json = False,
) -> None:
    """The twelve COCO numbers of two files, and what is behind them; needs no project."""
    from annoloop.results_metrics import MetricsWish
    from annoloop.standalone import file_metrics

    wish = MetricsWish(details, interval, against, by, group, min_score)
    show(file_metrics(ground_truth, detections, wish), as_json=json)


@app.command()
def replay(
    plan: Annotated[Path | None, typer.Argument(help="Left out: standard arms.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; by default PLAN-replay here.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Say what it would cost.")] = False,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """The loop on labelled data, many strategies and seeds; without [data], on the project's."""
    from annoloop.render import progress_bar
    from annoloop.replay import engine
    from annoloop.replay.plan import read_plan

    call: Callable[..., Any] = engine.replay_cost if dry_run else engine.replay
    if plan is not None and "data" in read_plan(plan):
        made = call(plan, out=out, workers=workers, say=say, progress=progress_bar())
    else:
        made = open_project(project).replay(plan, out=out, workers=workers, dry_run=dry_run)
    show(made, as_json=json)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        sys.stdout.write(__version__ + "\n")
        raise typer.Exit


def _guarded(call: Callable[[], Any], *, as_json: bool) -> int:
    """Run the command line and turn what went wrong into words and an exit code."""
    # Typer carries its own copy of click from 0.20 on; this base is the right one in either case.
    usage_error: type[Any] = typer.BadParameter.__mro__[1]
    try:
        with durable.named(Path.cwd()):
            code = call()
    except AnnoloopError as error:
        say(f"error: {error.problem}\n  fix: {error.fix}")
        if as_json:
            _print_document(type(error).__name__, error.problem, error.fix)
        return EXPECTED
    except (KeyboardInterrupt, typer.Abort):
        say(STOPPED)
        return INTERRUPTED
    except usage_error as error:
        error.show()
        if as_json:
            _print_document("UsageError", error.format_message(), "See `--help` of the verb.")
        return USAGE
    except Exception:
        import traceback

        traceback.print_exc()
        say("this is a bug in annoloop: please report it with the lines above")
        return UNEXPECTED
    if code == INTERRUPTED:  # Typer turns the interrupt itself into this code
        say(STOPPED)
    return code if isinstance(code, int) else 0  # a verb that exits early returns its code


def _print_document(kind: str, problem: str, fix: str) -> None:
    import json

    what = {"type": kind, "problem": problem, "fix": fix}
    sys.stdout.write(json.dumps({"error": what}, ensure_ascii=False) + "\n")


def main() -> None:
    """Entry point of the `annoloop` command."""
    # A verb makes many objects and drops few: Python's usual 700 cost a select 0.3 s of collecting.
    gc.set_threshold(50_000, 20, 50)
    as_json = "--json" in sys.argv
    sys.exit(_guarded(lambda: app(standalone_mode=False), as_json=as_json))
