"""What the map page asks of a project; `Project.map` lays the map out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annoloop.results_map import MapState, SampleMap

if TYPE_CHECKING:
    from annoloop.session import Session


class Atlas:
    """Reads of the map; nothing in them tells which golden images are in a batch."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def state(self) -> MapState:
        """How many images are on the map of the current vectors, and how many wait to be."""
        from annoloop.steps import map as lay_out

        return lay_out.state(self._session._context())

    def samples(self) -> SampleMap:
        """Every image that has a place, in columns, with what it can be coloured by."""
        from annoloop.steps import sample_map

        return sample_map.sample_map(self._session._context())
