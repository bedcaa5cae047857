"""Settings: annoloop.toml < environment (ANNOLOOP_SECTION__KEY) < flags."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from annoloop.errors import SettingsError

FILE = "annoloop.toml"
PREFIX = "ANNOLOOP_"
NOT_SETTINGS = frozenset(
    f"{PREFIX}{name}"
    for name in ("USER", "TASK", "DATA", "MODEL", "SEED", "CLASSES", "IMAGES", "OUT")
)
"""Who works here, and what the trainer `command` tells its program, which may call us back."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImagesSettings(Section):
    root: str = "images"
    """Folder of the images, relative to the project folder or absolute."""
    follow_links: bool = False
    """Take in what links inside the folder point to, also where it lies outside of it."""
    skip_bad: bool = False
    """Leave unreadable images and unmatched labels out (and list them) instead of refusing."""


class StoreSettings(Section):
    url: str = "sqlite:///annoloop.db"
    """Database: SQLite beside annoloop.toml by default; a relative SQLite path is the project's."""
    wait_seconds: float = Field(30.0, gt=0)
    """How long a write waits for the write of another process before it gives up by name."""


class RuleSettings(Section):
    min_side: float = Field(0.0, ge=0)
    """The least length of a box's shorter side, in pixels."""
    most: int | None = Field(None, ge=1)
    """The most boxes of the class in one image."""


class LabelsSettings(Section):
    max_mib: int = Field(1024, ge=1)
    """Largest label file that is read; parsed it needs several times as much memory."""
    lease_minutes: float = Field(5.0, gt=0)
    """How long an image in the local app stays with a person who does nothing on it."""
    rules: dict[str, RuleSettings] = Field(default_factory=dict)
    """Class → rules that its boxes keep: checked while drawing, reported when importing."""


class AnnotateSettings(Section):
    without_prelabels: float = Field(0.2, ge=0, le=1)
    """Share of a prelabelled batch that stays blank, so that what the boxes do can be measured."""


class SplitSettings(Section):
    test: float = Field(0.15, ge=0, lt=1)
    val: float = Field(0.15, gt=0, lt=1)
    golden: int | Literal["auto"] = "auto"
    """Number of golden samples; auto is max(5 %, min(50 images, 15 %))."""
    group: str = "none"
    """What must stay together: none, folder, column:NAME, or rule:REGEX with one group in it."""
    near_duplicates: bool = True
    seed: int = 0

    @model_validator(mode="after")
    def _room_for_the_pool(self) -> SplitSettings:
        if self.test + self.val >= 0.9:
            raise ValueError("test + val leave no pool to label: keep them below 0.9 together")
        return self


class EmbedSettings(Section):
    embedder: str = "pixels"
    options: dict[str, Any] = Field(default_factory=dict)
    first: str | None = None
    """The embedder until there is a model, for one that needs a model, as `detector` does."""
    chunk: int = Field(256, ge=1)


class CoverageSettings(Section):
    draws: int | Literal["auto"] = "auto"
    neighbours: int = Field(1000, ge=1)


class SelectSettings(Section):
    mix: dict[str, float] = Field(default_factory=lambda: {"coverage": 0.3, "targeted": 0.7})
    first_size: int = Field(30, ge=1)
    first_share: float = Field(0.25, gt=0, le=1)
    share: float = Field(0.2, gt=0, le=1)
    minimum: int = Field(10, ge=1)
    cluster_cosine: float = Field(0.5, ge=0, lt=1)
    """Mean cosine from which failures of one class and type are one cluster of `targeted`."""
    look_at: Literal["images", "objects"] = "images"
    """What failures are compared with: whole images, or the regions where objects may be."""
    whole_groups: bool = True
    """Declared groups come whole; else they keep splits apart, and frames are picked singly."""
    scene: str = "none"
    """What is one scene, of which a few picks are enough: none, folder, group, or rule:REGEX."""
    per_scene: int = Field(2, ge=1)
    """Picks of one scene in a batch; more only where nothing else is left."""
    seed: int = 0

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> SelectSettings:
        if abs(sum(self.mix.values()) - 1) > 1e-6 or min(self.mix.values(), default=-1) < 0:
            raise ValueError("the shares of a mix are at least 0 and sum to 1")
        return self


class TrainSettings(Section):
    trainer: str = "classical"
    options: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0


class EvaluateSettings(Section):
    iou: float = Field(0.5, gt=0, lt=1)
    min_score: float | Literal["auto"] = "auto"
    """Score from which a detection counts; auto is the threshold of the best F1 on `mine`."""


class GoldenSettings(Section):
    share: float = Field(0.1, ge=0, le=1)
    """Blind golden images added to each batch, as a share of its size, at least `minimum`."""
    minimum: int = Field(12, ge=0)
    """A test needs ten with reference boxes and earlier passes: two are spare."""
    rotation: float = Field(0.2, ge=0, le=1)
    """Share of the blind golden images that may leave for others from batch to batch."""
    looks: int | Literal["open"] = 20
    """Planned golden checks, over which the false-alarm probability is spread."""
    tolerance: float = Field(0.05, gt=0, lt=1)


class StopSettings(Section):
    metric: Literal["AP", "AP50", "AP75"] = "AP50"
    target: float | None = Field(None, gt=0, le=1)
    floors: dict[str, float] = Field(default_factory=dict)
    """Class → the least it has to reach, for certain, before the target counts as met."""
    looks: int = Field(10, ge=1)
    """Planned tests of the target on gauge, over which the 5 % of false stops are spread."""
    delta: float = Field(0.005, ge=0, le=1)
    """The gain of the metric below which a batch is not worth it."""
    seed_noise: float = Field(0.005, ge=0, le=1)
    """Standard deviation of the metric between training seeds, until it is measured."""
    budget_images: int | None = Field(None, ge=1)
    budget_boxes: int | None = Field(None, ge=1)
    budget_minutes: float | None = Field(None, gt=0)
    budget_money: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _floors_belong_to_a_target(self) -> StopSettings:
        if self.floors and self.target is None:
            raise ValueError("floors are tested together with a target: set one")
        if not all(0 < floor <= 1 for floor in self.floors.values()):
            raise ValueError("floors are fractions above 0, at most 1")
        return self


class CostSettings(Section):
    seconds_per_image: float = Field(10.0, ge=0)
    seconds_per_box: float = Field(7.0, ge=0)
    per_image: float = Field(0.0, ge=0)
    per_box: float = Field(0.0, ge=0)
    per_hour: float = Field(0.0, ge=0)
    per_training: float = Field(0.0, ge=0)
    currency: str = "€"
    value_per_point: float | None = Field(None, gt=0)
    """What one point (0.01) of the metric is worth, in money."""


class FiftyoneSettings(Section):
    dataset: str | None = None
    """The dataset that this project was made of; `ingest` reads it, not the folder of images."""
    view: str | None = None
    """One of its saved views, if the project has only that."""
    labels: str = "ground_truth"
    """Its field of reference boxes."""


class AppSettings(Section):
    key: str | None = Field(None, min_length=8)
    """What people on other machines give to see all of the local app; made at each start if not
    set."""

    label_key: str | None = Field(None, min_length=8)
    """The same for those who only label."""


class Settings(Section):
    images: ImagesSettings = ImagesSettings()
    store: StoreSettings = StoreSettings()
    labels: LabelsSettings = LabelsSettings()
    annotate: AnnotateSettings = AnnotateSettings()
    split: SplitSettings = SplitSettings()
    embed: EmbedSettings = EmbedSettings()
    coverage: CoverageSettings = CoverageSettings()
    select: SelectSettings = SelectSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    golden: GoldenSettings = GoldenSettings()
    stop: StopSettings = StopSettings()
    cost: CostSettings = CostSettings()
    app: AppSettings = AppSettings()
    fiftyone: FiftyoneSettings = FiftyoneSettings()


def load(
    folder: Path, *, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Settings of the project in `folder`. Raises SettingsError naming the file and the key."""
    file = folder / FILE
    try:
        written = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{file} is not valid TOML: {error}", fix="Mend the line that it names."
        ) from error
    layers = (
        (str(file), written),
        ("the environment", from_environment(environ)),
        ("a flag", overrides or {}),
    )
    values: dict[str, Any] = {}
    for origin, layer in layers:
        if not layer:
            continue
        values = _merge(_fitting(values, layer), layer)
        _validate(values, origin)
    return _validate(values, str(file))


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """ANNOLOOP_TRAIN__TRAINER=x → {"train": {"trainer": "x"}}; values are JSON where they parse.

    Raises SettingsError for a name with our prefix that means nothing: a typo must not pass.
    """
    found: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        if "__" not in name:
            raise _no_setting(name)
        section, _, key = name.removeprefix(PREFIX).lower().partition("__")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        found.setdefault(section, {})[key] = value
    return found


def _no_setting(name: str) -> SettingsError:
    keys = [
        f"{PREFIX}{section}__{key}".upper()
        for section, field in Settings.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    ]
    near = difflib.get_close_matches(name, keys, n=1, cutoff=0.8)
    return SettingsError(
        f"the environment: {name} is no setting",
        fix=f"Did you mean {near[0]}?" if near else f"Write {PREFIX}SECTION__KEY, or remove it.",
    )


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        # A mix replaces the mix before it: merged shares would no longer sum to 1.
        if isinstance(known, dict) and isinstance(value, Mapping) and key != "mix":
            merged[key] = _merge(known, value)
        else:
            merged[key] = value
    return merged


def _fitting(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without the options of an embedder or trainer that `over` replaces by another."""
    kept = dict(values)
    for section, key in (("embed", "embedder"), ("train", "trainer")):
        known, new = values.get(section), over.get(section)
        if isinstance(known, Mapping) and isinstance(new, Mapping) and key in new:
            default = Settings.model_fields[section].default
            if new[key] != known.get(key, getattr(default, key)):
                kept[section] = {k: v for k, v in known.items() if k != "options"}
    return kept


def _validate(values: Mapping[str, Any], origin: str) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise _explain(error, origin) from error


def _explain(error: ValidationError, origin: str) -> SettingsError:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return SettingsError(
            f"{origin}: {path or 'settings'}: {first['msg']} (found {first.get('input')!r})",
            fix="Correct this value, or delete the line to use the default.",
        )
    section: Any = Settings
    for part in first["loc"][:-1]:
        section = section.model_fields[str(part)].annotation
    near = difflib.get_close_matches(str(first["loc"][-1]), list(section.model_fields), n=1)
    known = ", ".join(section.model_fields)
    return SettingsError(
        f"{origin}: unknown key {path}",
        fix=f"Did you mean {near[0]}?" if near else f"Known keys here: {known}.",
    )


def template(
    images_root: str,
    *,
    group: str = "none",
    embedder: str = "pixels",
    fiftyone: Mapping[str, str] | None = None,
) -> str:
    """The first annoloop.toml: what people change most; everything else has its default."""
    embed = json.dumps(embedder)
    about = "classical descriptors" if embedder == "pixels" else "the vectors of the dataset"
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in (fiftyone or {}).items()]
    dataset = "\n[fiftyone]\n" + "".join(lines) if lines else ""
    return f"""# annoloop project. Every key has a default; docs/settings.md lists them all.

[images]
root = {json.dumps(images_root)}

[split]
test = 0.15
val = 0.15
golden = "auto"              # max(5 %, min(50 images, 15 %))
group = {json.dumps(group)}             # none, folder, column:NAME, rule:REGEX

[embed]
embedder = {embed:<17} # {about}; see docs/embedders.md for real work

[select]
mix = {{ coverage = 0.3, targeted = 0.7 }}

[train]
trainer = "classical"        # a small baseline; see docs/trainers.md for real work

[stop]
metric = "AP50"
# target = 0.8
# budget_images = 1000
{dataset}"""
