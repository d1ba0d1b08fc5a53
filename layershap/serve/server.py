"""The query service of a run: how it is served, and the server around it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layershap.errors import RunFailed, UserError
from layershap.explorer import explorer_page
from layershap.runs.config_file import read_config
from layershap.runs.directory import RunDirectory
from layershap.serve.http import Limits, create_app
from layershap.serve.measurer import RunMeasurer
from layershap.serve.served_run import RunSource

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["ServeOptions", "is_loopback", "run_app", "serve_run"]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
REMOTE_RATE = 100.0  # requests a second of one client where anybody may come
STOP_SECONDS = 10
LEAST_TOKEN = 16


@dataclass(frozen=True)
class ServeOptions:
    """How a run is served.

    Attributes:
        host: address to listen at.
        port: to listen at; 0 for any free one.
        token: what clients have to show; needed anywhere but on loopback.
        rate: requests a second of one client; None for 100, or no limit on loopback; 0 for none.
        most_sets: sets of one request for predictions.
        most_body: bytes of a request's body.
        measuring: whether sets may be measured on the real model.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    rate: float | None = None
    most_sets: int = Limits.sets
    most_body: int = Limits.body_bytes
    measuring: bool = True

    def check(self) -> None:
        """Refuses what would be open to everybody.

        Raises:
            UserError: there is no token for a host that others reach, or it is too short.
        """
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise UserError("--token: must be printable ASCII; make one with openssl rand -hex 16")
        if is_loopback(self.host):
            return
        if not self.token:
            raise UserError(
                f"--host {self.host}: others reach it, so clients must show a token; give --token"
                " or LAYERSHAP_TOKEN, or serve on 127.0.0.1"
            )
        if len(self.token) < LEAST_TOKEN:
            raise UserError(
                f"--token: must have at least {LEAST_TOKEN} characters where others reach the"
                " service; make one with openssl rand -hex 16"
            )

    @property
    def limits(self) -> Limits:
        """Limits of the service."""
        rate = self.rate
        if rate is None and not is_loopback(self.host):
            rate = REMOTE_RATE
        return Limits(
            body_bytes=self.most_body,
            sets=self.most_sets,
            waiting_sets=max(self.most_sets, Limits.waiting_sets),
            rate=rate or None,
            burst=max(Limits.burst, int(rate or 0)),
        )


def run_app(run: Path, options: ServeOptions) -> FastAPI:
    """Returns the app that serves a run; nothing is read before it starts.

    Args:
        run: its directory.
        options: how it is served.

    Raises:
        UserError: there is no run, or the options would leave it open to everybody.
    """
    options.check()
    directory = RunDirectory(run)
    config = read_config(directory.config)
    own = is_loopback(options.host) and options.token is None
    return create_app(
        RunSource(directory),
        limits=options.limits,
        measurer=RunMeasurer(run) if options.measuring else None,
        page=lambda: explorer_page(config, directory, ".", measures=options.measuring),
        token=options.token,
        hosts=LOOPBACK_NAMES if own else None,
    )


def serve_run(run: Path, options: ServeOptions, tell: Callable[[str], None]) -> None:
    """Serves a run until it is told to stop: SIGINT (Ctrl-C) or SIGTERM.

    Requests under way are answered, measurements end and keep what they have.

    Args:
        run: its directory.
        options: how it is served.
        tell: told where it answers, once it does, and that it has stopped.

    Raises:
        UserError: there is no run or no surrogate, or the options do not fit.
        RunFailed: the address cannot be used.
    """
    import uvicorn

    app = run_app(run, options)
    RunSource(RunDirectory(run)).load()  # what is missing is told before anything listens
    _log_to(run / "serve.log")
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    # The server has stopped in good order by the time it hands its signals on.
    kept = {s: signal.signal(s, lambda *_: None) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        with closing(_listening(options)) as bound:
            server = uvicorn.Server(config)
            with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
                runner.run(_until_stopped(server, bound, lambda: tell(_where(options, bound))))
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if not server.started:
        raise RunFailed(f"the service could not start; {run / 'serve.log'} tells why")
    tell("stopped")


async def _until_stopped(server: Any, bound: socket.socket, ready: Callable[[], None]) -> None:
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.02)
    if server.started:
        ready()
    await serving


def _listening(options: ServeOptions) -> socket.socket:
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise RunFailed(
            f"--host {options.host} --port {options.port}: cannot be listened at"
            f" ({error.strerror}); choose another port, or 0 for any free one"
        ) from None
    return bound


def _where(options: ServeOptions, bound: socket.socket) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{bound.getsockname()[1]}"
    return f"{url}/ answers (explorer; {url}/docs, {url}/metrics); Ctrl-C stops it"


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _log_to(path: Path) -> None:
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("uvicorn", "layershap.service"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.handlers = [handler]
