"""The same app as a Ray Serve application, where one process is not enough."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from layershap.errors import UserError
from layershap.runs.directory import RunDirectory
from layershap.serve.served_run import RunSource
from layershap.serve.server import ServeOptions, run_app

__all__ = ["deployment", "serve_on_ray"]

NAME = "layershap"
QUIET = {"log_level": "WARNING", "enable_access_log": False}


def deployment(run: Path, options: ServeOptions, replicas: int) -> Any:
    """Returns a Ray Serve application that answers about a run.

    Every replica reads the run directory by itself: on several nodes it has to lie on storage
    that all of them see under the same path.

    Args:
        run: its directory.
        options: how it is served; more than one replica cannot measure, because a measurement is
            known to the replica that began it.
        replicas: processes that answer.

    Raises:
        UserError: Ray Serve is not installed, or the options do not fit.
    """
    options.check()
    if options.measuring and replicas > 1:
        raise UserError(f"--replicas {replicas}: only one can measure; add --no-measuring")
    try:
        from ray import serve
    except ImportError as error:
        raise UserError(
            f"--on-ray: Ray Serve is not there ({error.name}); pip install 'layershap[ray-serve]'"
        ) from None
    path = run.resolve()

    def build() -> Any:  # in the replica: an app cannot travel
        return run_app(path, options)

    @serve.deployment(num_replicas=replicas, max_ongoing_requests=1000)
    @serve.ingress(build)
    class Layershap:
        pass

    return Layershap.bind()


def serve_on_ray(
    run: Path,
    options: ServeOptions,
    replicas: int,
    address: str | None,
    tell: Callable[[str], None],
) -> None:
    """Deploys a run on Ray and takes it back when this process is told to stop.

    Args:
        run: its directory.
        options: how it is served.
        replicas: processes that answer.
        address: of a running cluster; None starts a local one.
        tell: told where it answers, and that it has stopped.

    Raises:
        UserError: there is no run or no surrogate, or Ray Serve is not installed.
    """
    application = deployment(run, options, replicas)
    RunSource(RunDirectory(run)).load()  # what is missing is told before anything starts
    from ray import serve

    from cluster import connect

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    stop, kept = threading.Event(), {}
    with warnings.catch_warnings():
        # Ray's processes are forked only to become other programs at once.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        with connect(address, workers=replicas):
            for number in (signal.SIGINT, signal.SIGTERM):  # after Ray has set its own
                kept[number] = signal.signal(number, lambda *_: stop.set())
            try:
                serve.start(http_options={"host": options.host, "port": options.port})
                serve.run(application, name=NAME, route_prefix="/", logging_config=QUIET)
                tell(f"http://{options.host}:{options.port}/ answers, {replicas} replicas on Ray")
                while not stop.wait(0.5):  # short, so that signals are looked at
                    pass
                serve.delete(NAME)
                if address is None:
                    serve.shutdown()
            finally:
                for number, handler in kept.items():
                    signal.signal(number, handler)
    tell("stopped")
