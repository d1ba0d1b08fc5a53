"""What every request passes on its way in and out: its id, who asks, how much, and the count."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import re
import time
import uuid
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from layershap.serve.http.errors import REQUEST_ID, ServiceError, error_response
from layershap.serve.http.limits import Limits, RateLimit
from layershap.serve.http.metrics import ServiceMetrics

__all__ = ["OPEN_PATHS", "RequestMiddleware"]

OPEN_PATHS = frozenset({"/health", "/ready"})  # what watches over a service has no token
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_HEADERS = (("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"))

log = logging.getLogger("layershap.service")


class RequestMiddleware:
    """Middleware around an app that never lets an error without a shape out.

    Args:
        app: what it lies around.
        limits: of body and rate.
        metrics: where requests are counted.
        token: what a client has to show, as bearer token or as the password of basic
            authentication (a browser asks for it); None if nobody has to.
        hosts: names that a request may address; None for any. A page on another name that was
            pointed at this machine is thus turned away.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        metrics: ServiceMetrics,
        token: str | None = None,
        hosts: Sequence[str] | None = None,
    ) -> None:
        self.app, self.limits, self.metrics = app, limits, metrics
        self._token = None if token is None else token.encode()
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._rate = None if limits.rate is None else RateLimit(limits.rate, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, headers = time.perf_counter(), Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope[REQUEST_ID] = request_id
        status = 0

        async def out(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = MutableHeaders(scope=message)
                added["x-request-id"] = request_id
                for name, value in _HEADERS:
                    added.setdefault(name, value)
            await send(message)

        with self.metrics.in_flight.track_inprogress():
            try:
                self._admit(scope, headers)
                await self.app(scope, await self._body(scope, headers, receive), out)
            except ServiceError as error:
                await error_response(error, request_id)(scope, receive, out)
            except Exception:
                log.exception("request %s failed: %s", request_id, scope["path"])
                if status:
                    raise
                error = ServiceError(
                    500,
                    "internal_error",
                    "the service failed; its log has the details under this request id",
                )
                await error_response(error, request_id)(scope, receive, out)
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self.metrics.request(method, route, status, time.perf_counter() - began)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        if self._hosts is not None:
            host = re.sub(r":\d+$", "", headers.get("host", "")).lower()
            if host not in self._hosts:
                raise ServiceError(
                    421,
                    "wrong_host",
                    f"Host: this service answers as {', '.join(sorted(self._hosts))}",
                    "Host",
                )
        if scope["path"] in OPEN_PATHS:
            return
        if self._rate is not None:
            client = scope.get("client")
            wait = self._rate.take(client[0] if client else "")
            if wait > 0:
                raise ServiceError(
                    429,
                    "too_many_requests",
                    f"requests: more than {self._rate.rate:g} a second; ask again in"
                    f" {wait:.2f} s, or put many sets into one request",
                    headers={"Retry-After": str(max(1, round(wait + 0.5)))},
                )
        if self._token is not None and not self._shown(headers.get("authorization", "")):
            raise ServiceError(
                401,
                "unauthorised",
                "Authorization: must hold the token that the service was started with; send"
                " Authorization: Bearer TOKEN",
                "Authorization",
                headers={"WWW-Authenticate": 'Bearer, Basic realm="layershap"'},
            )

    def _shown(self, header: str) -> bool:
        scheme, _, rest = header.partition(" ")
        shown = rest.strip().encode("utf-8", "replace")
        if scheme.lower() == "basic":
            try:
                shown = base64.b64decode(shown, validate=True).partition(b":")[2]
            except ValueError:
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(shown, self._token or b"")

    async def _body(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """Reads the whole body within its limits and returns what hands it on."""
        most = self.limits.body_bytes
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > most:
            raise self._too_large()
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        break
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise self._too_large()
                    more = message.get("more_body", False)
        except TimeoutError:
            raise ServiceError(
                408,
                "body_too_slow",
                f"body: did not arrive within {self.limits.body_seconds:g} s; send it in one go",
                "body",
                headers={"Connection": "close"},
            ) from None
        body: bytes | None = b"".join(parts)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and kind != "application/json":
            raise ServiceError(
                415,
                "unsupported_media_type",
                "Content-Type: must be application/json",
                "Content-Type",
            )

        if body and headers.get("content-encoding", "identity").lower() != "identity":
            raise ServiceError(
                415,
                "unsupported_content_encoding",
                "Content-Encoding: must be left out; send the body as it is",
                "Content-Encoding",
            )

        async def replay() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        return replay

    def _too_large(self) -> ServiceError:
        most = self.limits.body_bytes
        return ServiceError(
            413,
            "body_too_large",
            f"body: must be at most {most:,} bytes; send fewer sets, or send them packed",
            "body",
            headers={"Connection": "close"},
        )
