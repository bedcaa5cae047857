"""The verbs about people's work: `batch`, `annotate`, `golden`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from annoloop.cli_options import HERE, Folder, Json, names, open_project, show
from annoloop.errors import InputError

EXPECTED = 1

batch = typer.Typer(no_args_is_help=True, help="What goes to people, and why it was picked.")
annotate = typer.Typer(no_args_is_help=True, help="Answers back, every image accounted for.")
golden = typer.Typer(no_args_is_help=True, help="Label quality on the golden set.")


@batch.command("list")
def batch_list(project: Folder = HERE, json: Json = False) -> None:
    """All batches."""
    show(open_project(project).batch_list(), as_json=json)


@batch.command("show")
def batch_show(name: str, project: Folder = HERE, json: Json = False) -> None:
    """Every pick of a batch with source, rank, score and reason."""
    show(open_project(project).batch_show(name), as_json=json)


@batch.command("make")
def batch_make(
    kind: Annotated[str, typer.Option(help="val, golden, test, review or relabel.")],
    size: Annotated[int | None, typer.Option(help="At most so many images.")] = None,
    of: Annotated[str | None, typer.Option(help="relabel: the images of this batch.")] = None,
    paths: Annotated[str, typer.Option(help="relabel: these images, a,b,c.")] = "",
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Another kind of batch: label a split, review failures, correct labels."""
    made = open_project(project).batch_make(kind, size=size, of=of, paths=names(paths))
    show(made, as_json=json)


@batch.command("export")
def batch_export(
    name: str,
    out: Path,
    to: Annotated[str, typer.Option(help="coco, yolo or voc.")] = "coco",
    prelabels: Annotated[bool, typer.Option(help="With the newest model's boxes.")] = False,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Files to label."""
    made = open_project(project).batch_export(name, out, to=to, prelabels=prelabels)
    show(made, as_json=json)


@batch.command("predict")
def batch_predict(name: str, project: Folder = HERE, json: Json = False) -> None:
    """The newest model's boxes for every image, for people to accept or fix in the app."""
    show(open_project(project).batch_predict(name), as_json=json)


@annotate.command("import")
def annotate_import(
    file: Path,
    batch_name: Annotated[str, typer.Option("--batch", help="The batch they answer.")],
    annotator: Annotated[str, typer.Option(help="Who answered.")],
    form: Annotated[str | None, typer.Option("--format", help="coco, yolo or voc.")] = None,
    empty_means: Annotated[
        str, typer.Option(help="'reviewed': an image without boxes was looked at.")
    ] = "nothing",
    ignore_unknown: Annotated[
        bool, typer.Option(help="Leave images of other batches out.")
    ] = False,
    skip_bad: Annotated[bool, typer.Option(help="Leave rows that are no boxes out.")] = False,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Answers back from a file, reconciled before they are merged."""
    if empty_means not in {"nothing", "reviewed"}:
        raise InputError(
            f"--empty-means {empty_means!r} is not known", fix="Use `--empty-means reviewed`."
        )
    flags = {
        "empty_means_reviewed": empty_means == "reviewed",
        "ignore_unknown": ignore_unknown,
        "skip_bad": skip_bad,
    }
    made = open_project(project).annotate_import(
        file,
        batch=batch_name,
        annotator=annotator,
        format=form,
        allow=[name for name, given in flags.items() if given],
    )
    show(made, as_json=json)


@annotate.command("oracle")
def annotate_oracle(
    batch_name: Annotated[str, typer.Option("--batch", help="The batch to answer.")],
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Answer a batch from the reference labels."""
    show(open_project(project).annotate_oracle(batch_name), as_json=json)


@annotate.command("close")
def annotate_close(name: str, project: Folder = HERE, json: Json = False) -> None:
    """Close a batch: its answers become statuses."""
    show(open_project(project).annotate_close(name), as_json=json)


@annotate.command("requeue")
def annotate_requeue(project: Folder = HERE, json: Json = False) -> None:
    """Put pending samples back into the pool."""
    show(open_project(project).annotate_requeue(), as_json=json)


@annotate.command("skip")
def annotate_skip(
    why: Annotated[str, typer.Option(help="The reason; it is kept.")],
    paths: Annotated[str, typer.Option(help="These images, a,b,c.")] = "",
    missing: Annotated[bool, typer.Option("--missing", help="All whose file is gone.")] = False,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Take images out of the loop: deleted, unusable, not to be shown."""
    made = open_project(project).annotate_skip(names(paths), why=why, missing=missing)
    show(made, as_json=json)


@annotate.command("unskip")
def annotate_unskip(
    paths: Annotated[str, typer.Option(help="These images, a,b,c.")],
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Bring skipped images back."""
    show(open_project(project).annotate_unskip(names(paths)), as_json=json)


@golden.command("stats")
def golden_stats(project: Folder = HERE, json: Json = False) -> None:
    """Statistics of the golden answers, and their history."""
    show(open_project(project).golden_stats(), as_json=json)


@golden.command("plan")
def golden_plan(project: Folder = HERE, json: Json = False) -> None:
    """How many blind golden images the next batch hides."""
    show(open_project(project).golden_plan(), as_json=json)


@golden.command("baseline")
def golden_baseline(project: Folder = HERE, json: Json = False) -> None:
    """A batch of all golden images, for qualification passes."""
    show(open_project(project).golden_baseline(), as_json=json)


@golden.command("check")
def golden_check(
    accept: Annotated[str | None, typer.Option(help="Accept a fail, and say why.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Without a project: trusted labels of the golden images.")
    ] = None,
    baseline: Annotated[
        list[Path] | None, typer.Option(help="An earlier pass over them; three or more.")
    ] = None,
    new: Annotated[Path | None, typer.Option(help="The pass to judge.")] = None,
    looks: Annotated[int, typer.Option(min=1, help="How many checks are planned in all.")] = 20,
    look: Annotated[int, typer.Option(min=1, help="Which of them this is.")] = 1,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Has the label quality drifted? Exits 1 on `fail`; `--reference` and `--new` for files."""
    if (reference is None) != (new is None) or (reference is None and baseline):
        raise typer.BadParameter("--reference and --new go together, --baseline with them")
    if reference is not None and new is not None:
        from annoloop.standalone import golden_check_files

        found = golden_check_files(reference, new, baselines=baseline or [], looks=looks, look=look)
        show(found, as_json=json)
        if found.verdict == "fail":
            raise typer.Exit(EXPECTED)
        return
    made = open_project(project).golden_check(accept=accept)
    show(made, as_json=json)
    if made.verdict == "fail" and not made.accepted:
        raise typer.Exit(EXPECTED)


@golden.command("prelabels")
def golden_prelabels(project: Folder = HERE, json: Json = False) -> None:
    """Do the model's boxes sway people? Prelabelled images against those left blank."""
    show(open_project(project).golden_prelabels(), as_json=json)


@golden.command("power")
def golden_power(
    images: Annotated[int, typer.Option(help="Golden images.")] = 50,
    boxes: Annotated[float, typer.Option(help="Objects an image, on average.")] = 5.0,
    passes: Annotated[int, typer.Option(help="Earlier passes over them.")] = 3,
    usual: Annotated[float, typer.Option("--from", help="Share of boxes missed now.")] = 0.03,
    to: Annotated[float, typer.Option(help="Share that has to be noticed.")] = 0.13,
    looks: Annotated[int, typer.Option(help="How many checks are planned.")] = 20,
    json: Json = False,
) -> None:
    """How many golden images are needed? By simulation; needs no project."""
    from annoloop.standalone import golden_power as simulated

    show(simulated((images, boxes, passes), usual=usual, to=to, looks=looks), as_json=json)
