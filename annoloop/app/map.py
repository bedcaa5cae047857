"""The map page, and the map as columns of bytes: JSON of 100,000 points would take longer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from annoloop.app.offers import OFFERS
from annoloop.app.pages import Pages
from annoloop.atlas import Atlas
from annoloop.results_map import SampleMap

if TYPE_CHECKING:
    from annoloop.project import Project

FACETS = {
    "split": "Where an image belongs.",
    "status": "How far it is on its way to a label.",
    "source": "The strategy that picked it.",
    "class": "The commonest class of its newest answer; in val, of its reference. Those of "
    "golden and test are not told.",
    "failure": "The dearest failure in the newest evaluation; only the half `mine` is looked at.",
    "batch": "The batch of the loop that it was picked for. Hidden golden images are not told.",
}
"""What points can be coloured by, in the order offered, and what each says."""


OFFER = next(offer for offer in OFFERS if offer.method == "map")


def routes(project: Project, pages: Pages) -> list[Route]:
    """The page, which says what to run where there is no map yet, and the map under /api/map."""
    atlas = Atlas(project)

    async def page(request: Request) -> Response:
        state = await run_in_threadpool(atlas.state)
        return pages.render(request, "map.html", state=state, facets=FACETS, offer=OFFER)

    def columns(_request: Request) -> Response:
        return Response(packed(atlas.samples()), media_type="application/octet-stream")

    return [Route("/map", page), Route("/api/map", columns)]


def packed(found: SampleMap) -> bytes:
    """Length of the head (uint32), head, x, y (float32), a uint16 column a facet; then names.

    Head and names are JSON; all numbers are little-endian, the head is padded to four bytes.
    """
    head = {
        "n": len(found.ids),
        "facets": [{"name": one.name, "values": one.values} for one in found.facets],
    }
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    names = {"ids": found.ids, "paths": found.paths}
    x, y = found.points.astype("<f4").T
    codes = (one.codes.astype("<u2").tobytes() for one in found.facets)
    said = json.dumps(names, separators=(",", ":")).encode()
    return b"".join((len(text).to_bytes(4, "little"), text, x.tobytes(), y.tobytes(), *codes, said))
