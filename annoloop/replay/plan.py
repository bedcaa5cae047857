"""The plan of a replay: which data, which arms, how many seeds, what they may cost."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from annoloop import plugins
from annoloop.errors import InputError, SettingsError
from annoloop.settings import Section, Settings, TrainSettings

QUIET: dict[str, dict[str, Any]] = {
    # Nobody's label quality is in question here: no image is spent on golden checks.
    "split": {"golden": 0},
    "golden": {"share": 0.0, "minimum": 0},
}


class DataPlan(Section):
    """Where the labelled images are: a project, or images with a file or folder of labels."""

    project: str | None = None
    images: str | None = None
    labels: str | None = None
    format: str | None = None
    group: str = "none"
    digits: int | None = Field(None, ge=20)
    """Generate so many images of digits instead (`annoloop.testing.make_digits`)."""
    digits_seed: int = 0

    @model_validator(mode="after")
    def _one_source(self) -> DataPlan:
        given = [self.project, self.images, self.digits]
        if sum(one is not None for one in given) != 1:
            raise ValueError("give one of project, images (with labels), digits")
        if (self.images is None) != (self.labels is None):
            raise ValueError("images and labels come together")
        return self


class OraclePlan(Section):
    """How the oracle errs: shares of missed, extra and misnamed boxes; edges that jitter."""

    miss: float = Field(0.0, ge=0, le=1)
    swap: float = Field(0.0, ge=0, le=1)
    spurious: float = Field(0.0, ge=0, le=1)
    jitter: float = Field(0.0, ge=0, le=0.5)
    """Standard deviation of each edge over the side of the box (Laplace)."""

    @property
    def errs(self) -> bool:
        return any((self.miss, self.swap, self.spurious, self.jitter))


class ArmPlan(Section):
    name: str = Field(min_length=1)
    mix: dict[str, float]
    batch: int | None = Field(None, ge=1)
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("mix")
    @classmethod
    def _shares(cls, mix: dict[str, float]) -> dict[str, float]:
        if abs(sum(mix.values()) - 1) > 1e-6 or min(mix.values(), default=-1) < 0:
            raise ValueError("the shares of a mix are at least 0 and sum to 1")
        return mix


class Plan(Section):
    """PLAN.toml. Every arm runs with every seed; `first` and `batch` are images."""

    name: str = "replay"
    data: DataPlan
    arms: tuple[ArmPlan, ...] = Field(min_length=1)
    seeds: int | tuple[int, ...] = 5
    first: int = Field(30, ge=1)
    first_mix: dict[str, float] = Field(default_factory=lambda: {"coverage": 1.0})
    batch: int = Field(20, ge=1)
    budget_images: int | None = Field(None, ge=1)
    budget_boxes: int | None = Field(None, ge=1)
    metric: Literal["AP", "AP50", "AP75"] = "AP50"
    baseline: str = "random"
    rare: tuple[str, ...] | None = None
    """Classes measured apart; by default the least frequent quarter, where there are three."""
    noise: int = Field(1, ge=0)
    """Extra trainings of each of the baseline's models, with another training seed."""
    full: bool = True
    """Also train once a seed on the whole pool: what 90 % of everything is."""
    oracle: OraclePlan = OraclePlan()
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        names = [arm.name for arm in self.arms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two arms are named {twice[0]!r}: give each its own name")
        if self.baseline not in names:
            raise ValueError(f"baseline {self.baseline!r} is none of the arms {', '.join(names)}")
        if (self.budget_images is None) == (self.budget_boxes is None):
            raise ValueError("give a budget: budget_images or budget_boxes")
        if self.budget_images is not None and self.budget_images <= self.first:
            raise ValueError(
                f"the budget of {self.budget_images} images ends with the first batch of "
                f"{self.first}: no arm would choose anything"
            )
        if not self.seed_list:
            raise ValueError("no seed, no run")
        if len(set(self.seed_list)) < len(self.seed_list):
            raise ValueError("a seed is listed twice")
        return self

    @property
    def seed_list(self) -> tuple[int, ...]:
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    def size_of(self, arm: ArmPlan) -> int:
        return arm.batch or self.batch

    def settings_of(self, arm: ArmPlan | None, seed: int) -> dict[str, Any]:
        """Settings of one run: quiet golden checks, the plan's own, the arm's, and the seed."""
        stop = {"stop": {"metric": self.metric}}
        seeds = {part: {"seed": seed} for part in ("split", "select", "train")}
        made = _over(_over(QUIET, stop), self.settings)
        return _over(_over(made, arm.settings if arm else {}), seeds)


def check_names(plan: Plan) -> None:
    """Raise SettingsError for a strategy or a trainer that nobody offers: before any run."""
    known = plugins.names("strategies")
    mixes = {"first_mix": plan.first_mix} | {f"arm {a.name!r}": a.mix for a in plan.arms}
    for where, mix in mixes.items():
        for name in mix.keys() - set(known):
            near = difflib.get_close_matches(name, known, n=1)
            raise SettingsError(
                f"the mix of {where} names {name!r}, which is no strategy",
                fix=f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}.",
            )
    for arm in plan.arms:
        train = plan.settings_of(arm, 0)["train"]
        plugins.load("trainers", train.get("trainer", TrainSettings().trainer))


def _over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = {key: dict(value) for key, value in base.items()}
    for section, values in top.items():
        merged[section] = {**merged.get(section, {}), **values}
    return merged


def digest(what: Any) -> str:
    """Twelve hex digits of anything that JSON can say."""
    text = json.dumps(what, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def load_plan(file: Path) -> Plan:
    """Read and check PLAN.toml; paths in it are relative to its folder. Raises SettingsError."""
    return parse_plan(read_plan(file), folder=file.parent, origin=str(file))


def read_plan(file: Path) -> dict[str, Any]:
    """The keys of PLAN.toml, unchecked. Raises InputError and SettingsError."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no plan {file}", fix="Name a TOML file.") from error
    except IsADirectoryError as error:
        raise InputError(f"{file} is a folder", fix="Name the TOML file in it.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{file} is not valid TOML: {error}", fix="Mend the line that it names."
        ) from error


def parse_plan(written: dict[str, Any], *, folder: Path, origin: str = "the plan") -> Plan:
    """A plan from parsed TOML. Raises SettingsError naming the key."""
    try:
        plan = Plan.model_validate(written)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the plan"
        said = first["msg"].removeprefix("Value error, ")
        raise SettingsError(
            f"{origin}: {where}: {said}", fix="Correct the plan; docs/replay.md lists its keys."
        ) from error
    for name, given in [("settings", plan.settings), *((a.name, a.settings) for a in plan.arms)]:
        _check_settings(given, f"{origin}: settings of {name}" if given else origin)
    data = {
        key: str((folder / value).resolve())
        for key in ("project", "images", "labels")
        if (value := getattr(plan.data, key)) is not None
    }
    return plan.model_copy(update={"data": plan.data.model_copy(update=data)})


def _check_settings(given: dict[str, Any], origin: str) -> None:
    try:
        Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"{origin}: {where}: {first['msg']}",
            fix="These are the keys of annoloop.toml; docs/settings.md lists them.",
        ) from error
