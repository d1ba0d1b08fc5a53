"""The app: predictions, findings and measurements over HTTP."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import HTMLResponse, RedirectResponse, Response

from layershap.serve.http import schemas
from layershap.serve.http.errors import ServiceError, install_handlers
from layershap.serve.http.finding_routes import finding_routes
from layershap.serve.http.jobs import Measurer
from layershap.serve.http.limits import Limits
from layershap.serve.http.measuring_routes import measuring_routes
from layershap.serve.http.metrics import CONTENT_TYPE_LATEST
from layershap.serve.http.middleware import RequestMiddleware
from layershap.serve.http.packed_pattern import packed_pattern
from layershap.serve.http.predict_routes import predict_routes
from layershap.serve.http.reference import reference_page
from layershap.serve.http.service import Service
from layershap.serve.http.snapshot import Source

__all__ = ["create_app"]

ABOUT = "Ask a surrogate what a language model measures without any set of its layers."
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": schemas.Error, "description": "The request is not answered as asked."},
    "5XX": {"model": schemas.Error, "description": "The service cannot answer now."},
}


def create_app(
    source: Source,
    *,
    limits: Limits | None = None,
    measurer: Measurer | None = None,
    page: Callable[[], str] | None = None,
    token: str | None = None,
    hosts: Sequence[str] | None = None,
) -> FastAPI:
    """Makes the app; nothing is read before it starts.

    Args:
        source: what is served; looked at again every other second.
        limits: of size and rate.
        measurer: measures sets on the real model; None answers such requests with 409.
        page: makes the page for people that is served at `/`; None for the reference there.
        token: what a client has to show; None if nobody has to.
        hosts: names under which it answers; None for any.
    """
    limits = limits or Limits()
    service = Service(source, limits, measurer, page)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.open()
        gc.collect()
        gc.freeze()  # what stays for ever is not looked through again and again
        try:
            yield
        finally:
            gc.unfreeze()
            await service.close()

    app = FastAPI(
        title="layershap",
        summary=ABOUT,
        version=_version(),
        docs_url=None,  # their pages load scripts from the network
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        responses=_ERRORS,
    )
    install_handlers(app)
    app.add_middleware(
        RequestMiddleware, limits=limits, metrics=service.metrics, token=token, hosts=hosts
    )
    app.include_router(predict_routes(service))
    app.include_router(finding_routes(service))
    app.include_router(measuring_routes(service))
    _service_routes(app, service)
    _describe(app, service)
    return app


def _service_routes(app: FastAPI, service: Service) -> None:
    @app.get("/run", response_model=schemas.RunInfo, tags=["findings"])
    async def run() -> Any:
        """Tell what is served: the players, the metric, how good the surrogate is."""
        oracle = service.oracle
        shot, scores = oracle.snapshot, oracle.snapshot.regressor.scores_
        there = {
            "values": bool(shot.values),
            "interactions": shot.interactions is not None,
            "recommendations": shot.recommendations is not None,
            "measurements": service.board is not None,
        }
        return {
            "title": shot.title,
            "players": list(shot.players),
            "numbers": sorted(name for name in oracle.names if isinstance(name, int)),
            "metric": shot.metric,
            "unit": shot.unit,
            "higher_is_better": shot.sign > 0,
            "dense": oracle.dense,
            "measured_sets": len(shot.utilities),
            "held_out_r2": scores.r2,
            "held_out_mae": scores.mae,
            "available": [name for name, is_there in there.items() if is_there],
            "limits": vars(service.limits),
            "version": app.version,
        }

    @app.get("/health", tags=["service"])
    async def health() -> dict[str, str]:
        """Say that the process is alive."""
        return {"status": "alive"}

    @app.get("/ready", tags=["service"])
    async def ready() -> dict[str, str]:
        """Say that it answers; 503 while it starts or shuts down."""
        if not service.ready:
            raise ServiceError(503, "not_ready", "the service is starting or shutting down")
        return {"status": "ready"}

    @app.get(
        "/metrics",
        tags=["service"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        if service.board is not None:
            counts = service.board.counts()
            for state in ("waiting", "running", "cancelling", "done", "cancelled", "failed"):
                service.metrics.jobs.labels(state).set(counts[state])
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        content = await service.page()
        if content is None:
            return RedirectResponse("docs")
        return HTMLResponse(content)

    @app.get("/docs", include_in_schema=False)
    async def reference() -> Response:
        return HTMLResponse(reference_page(app.openapi()))


def _describe(app: FastAPI, service: Service) -> None:
    """Puts the players and the limits into the schema as soon as they are known."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            routes=app.routes,
        )
        if not service.ready:
            return schema
        _put_players(schema["components"]["schemas"], service)
        for operations in schema["paths"].values():
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    _put_names(parameter, service)
        app.openapi_schema = schema
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _put_names(parameter: dict[str, Any], service: Service) -> None:
    """Takes null out of a parameter, which a URL cannot hold, and puts players' names in."""
    field = parameter["schema"]
    kinds = [kind for kind in field.pop("anyOf", ()) if kind.get("type") != "null"]
    for kind in kinds:
        field.update(kind)
    if parameter["name"] in ("player", "containing"):
        field["enum"] = list(dict.fromkeys(str(name) for name in service.oracle.names))


def _put_players(schemas_: dict[str, Any], service: Service) -> None:
    oracle, limits = service.oracle, service.limits
    n = len(oracle.snapshot.players)
    names = list(oracle.names)
    schemas_["Player"] = {
        "title": "Player",
        "description": "A player's name, or the number of a layer.",
        "enum": names,
    }
    for name, most in (("ManyAsked", limits.sets), ("MeasurementAsked", limits.measured_sets)):
        for form in ("remove", "keep", "kept"):
            if field := schemas_[name]["properties"].get(form):
                field["maxItems"] = most
                if name == "MeasurementAsked":
                    field["minItems"] = 1
    many = schemas_["ManyAsked"]["properties"]
    many["kept"]["items"]["pattern"] = f"^[01]{{{n}}}$"
    many["packed"]["pattern"] = packed_pattern(n)
    many["packed"]["maxLength"] = 4 * -(-limits.sets * -(-n // 8) // 3)


def _version() -> str:
    try:
        return version("layershap")
    except PackageNotFoundError:
        return "0"
