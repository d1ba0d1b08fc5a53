"""Errors as the service tells them: one shape, with a code and the field that is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

__all__ = ["REQUEST_ID", "ServiceError", "error_response", "install_handlers"]

REQUEST_ID = "layershap.request_id"  # of an ASGI scope

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


class ServiceError(Exception):
    """A request that is not answered as it was asked.

    Attributes:
        status: of HTTP.
        code: what is wrong, for programs.
        message: one line for people: field, rule, remedy.
        field: what of the request is wrong, as ``remove[1]``; None where it is nothing in it.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.headers = dict(headers or {})


def error_response(error: ServiceError, request_id: str) -> Response:
    """Returns the response of an error."""
    content = {
        "code": error.code,
        "message": " ".join(error.message.split()),
        "field": error.field,
        "request_id": request_id,
    }
    # As ASCII: what was asked for is quoted, and may be no valid text.
    return Response(json.dumps(content), error.status, error.headers, media_type="application/json")


def install_handlers(app: FastAPI) -> None:
    """Makes an app answer every error in this shape."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        return error_response(error, _request_id(request))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return error_response(_of_validation(error.errors()), _request_id(request))

    async def other(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return error_response(_of_http(request, error), _request_id(request))

    app.add_exception_handler(ServiceError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, other)


def _request_id(request: Request) -> str:
    return request.scope.get(REQUEST_ID, "")


def _of_http(request: Request, error: HTTPException) -> ServiceError:
    status = error.status_code
    code = _CODES.get(status, "bad_request" if status < 500 else "internal_error")
    path, method = request.url.path[:200], request.method
    told = {
        404: f"path {path}: is not served; see /openapi.json for what is",
        405: f"method {method}: is not served at {path}; see /openapi.json for what is",
        400: "body: is no JSON that can be read; send one JSON object in UTF-8",
    }.get(status, str(error.detail or HTTPStatus(status).phrase))
    field = {404: "path", 405: "method", 400: "body"}.get(status)
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = _allowed(request)
    return ServiceError(status, code, told, field, headers=headers)


def _allowed(request: Request) -> str:
    """Returns the methods of a path: each has a route of its own, and all of them count."""
    methods = [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    ]
    return ", ".join(methods)


def _of_validation(problems: Sequence[Mapping[str, Any]]) -> ServiceError:
    problem = problems[0]
    if problem["type"] == "json_invalid":
        where = problem["loc"][-1]
        return ServiceError(
            400,
            "malformed_json",
            f"body: is no JSON ({problem['ctx']['error']} at character {where});"
            " send one JSON object",
            "body",
        )
    place = list(problem["loc"])
    if place[-1] in ("str", "int", "float"):  # none of those that a player may be
        name = _field(place[:-1])
        told = f"{name}: must be a player's name, as L4.attn, or the number of a layer, as 4"
        return ServiceError(422, "invalid_field", told, name)
    name = _field(place)
    text = problem["msg"].removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    code = {"missing": "missing_field", "extra_forbidden": "unknown_field"}.get(
        problem["type"], "invalid_field"
    )
    return ServiceError(422, code, f"{name}: {text}", name)


def _field(place: Sequence[str | int]) -> str:
    """Returns the name of a field as people write it: ``remove[1]``."""
    parts = list(place)
    if len(parts) > 1 and parts[0] in ("body", "query", "path", "header"):
        parts = parts[1:]
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text[:200]
