"""What a browser sends: read as one kind of body, answered as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from annoloop.errors import InputError


def asked(kind: type[Any], call: Callable[[Request, Any], Any]) -> Callable[[Request], Any]:
    """An endpoint that reads a body of one kind, calls in a thread, and answers as JSON."""

    async def endpoint(request: Request) -> Response:
        try:
            body = kind.model_validate_json(await request.body())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the body"
            raise InputError(
                f"{where}: {first['msg']}", fix="Load the page again: it is of another version."
            ) from error
        return JSONResponse(await run_in_threadpool(call, request, body))

    return endpoint
