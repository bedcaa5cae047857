"""Which samples of a dataset are images, and what goes with them: the other slices of a group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from annoloop.adapters.fiftyone.streams import stream
from annoloop.errors import InputError

V = TypeVar("V")
IMAGES = {"_media_type": "image"}


class Slices:
    """A dataset of images, flat or in groups; a group may have other slices beside images.

    The images are the samples of the loop, each slice one of them. What is no image (a point cloud,
    a scene, a video) cannot be embedded or drawn on here: it stays, and has the tags, status and
    reason of the first image of its group, so that a group looks the same whatever slice is shown.
    """

    def __init__(self, dataset: Any) -> None:
        kind = dataset.media_type
        if kind not in ("image", "group", None):
            raise InputError(
                f"dataset {dataset.name!r} holds {kind}, not images",
                fix="Make a dataset of the frames that should be labelled (`to_frames`).",
            )
        self.dataset = dataset
        self.grouped = kind == "group"
        kinds: Mapping[str, str] = dataset.group_media_types if self.grouped else {}
        self.others = {name: kind for name, kind in sorted(kinds.items()) if kind != "image"}
        if kinds and len(self.others) == len(kinds):
            raise InputError(
                f"no slice of dataset {dataset.name!r} is of images ({_listed(self.others)})",
                fix="Add a slice of images to its groups, or make a dataset of images "
                "(`to_frames` does of videos).",
            )

    @property
    def note(self) -> str | None:
        """What to say of slices that are no images."""
        if not self.others:
            return None
        return (
            f"the slices {_listed(self.others)} are no images: they stay as they are, but for "
            "tags, status and reason, which are those of the first image of their group"
        )

    @property
    def images(self) -> Any:
        """All samples of the loop as one view."""
        return self.flat(self.dataset)

    @property
    def every(self) -> Any:
        """Whatever kind they are of."""
        if not self.others:
            return self.images
        return self.dataset.select_group_slices(_allow_mixed=True)

    def flat(self, samples: Any) -> Any:
        """The images of a view; of a view of groups those of all its groups."""
        if not self.grouped:
            return samples
        if samples.media_type == "group":
            kind = "image" if self.others else None
            return samples.select_group_slices(media_type=kind)
        return samples.match(IMAGES) if self.others else samples

    def tagged(self, tag: str) -> Any | None:
        """The images with this tag, those of groups where another slice has it; None without."""
        if tag in self.images.count_values("tags"):
            return self.images.match_tags(tag)
        if not self.others or tag not in self.every.count_values("tags"):
            return None
        names = self.every.match_tags(tag).distinct(self.group_id)
        return self.flat(self.dataset.select_groups(names))

    @property
    def group_id(self) -> str:
        return f"{self.dataset.group_field}.id"

    # --- what goes with the images ------------------------------------------------------------

    @cached_property
    def _followers(self) -> dict[str, tuple[str, ...]]:
        """The slices that are no images, by the first image of their group."""
        if not self.others:
            return {}
        first: dict[str, tuple[str, str]] = {}
        name = f"{self.dataset.group_field}.name"
        for key, group, slice_ in stream(self.images, ["id", self.group_id, name]):
            first[group] = min(first.get(group, (slice_, key)), (slice_, key))
        found: dict[str, list[str]] = {}
        for key, group in stream(self.rest, ["id", self.group_id]):
            if group in first:
                found.setdefault(first[group][1], []).append(key)
        return {key: tuple(keys) for key, keys in found.items()}

    @property
    def rest(self) -> Any:
        """The slices that are no images."""
        return self.every.match({"_media_type": {"$ne": "image"}})

    def following(self, ids: Iterable[str]) -> list[str]:
        """The slices that go with these images."""
        known = self._followers
        return [key for one in ids for key in known.get(one, ())] if known else []

    def with_followers(self, values: Mapping[str, V]) -> dict[str, V]:
        """One value a sample, those that go with them first: a killed push is seen at the last."""
        known = self._followers
        ahead = {key: values[one] for one in values for key in known.get(one, ())} if known else {}
        return {**ahead, **values}


def _listed(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
