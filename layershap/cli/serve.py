"""`layershap serve`: the surrogate over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from layershap.cli.options import run_argument

__all__ = ["serve"]


@click.command()
@run_argument
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at; any but loopback needs a token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen at; 0 for any free one.",
)
@click.option(
    "--token",
    envvar="LAYERSHAP_TOKEN",
    metavar="TEXT",
    help="What clients must show; better given as the environment variable LAYERSHAP_TOKEN.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0),
    metavar="REQUESTS",
    help="Requests a second of one client, 0 for no limit. [default: 100; none on loopback]",
)
@click.option(
    "--max-sets",
    type=click.IntRange(1),
    default=50_000,
    show_default=True,
    metavar="N",
    help="Most sets in one request.",
)
@click.option(
    "--max-body",
    type=click.FloatRange(0, min_open=True),
    default=8.0,
    show_default=True,
    metavar="MIB",
    help="Most MiB in one request.",
)
@click.option("--no-measuring", is_flag=True, help="Refuse to measure sets on the real model.")
@click.option(
    "--on-ray",
    is_flag=True,
    help="Deploy it as a Ray Serve application; needs pip install 'layershap[ray-serve]'.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="With --on-ray: processes that answer; more than one measures nothing.",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="With --on-ray: of a running Ray cluster; a local one is started otherwise.",
)
def serve(
    run: Path,
    host: str,
    port: int,
    token: str | None,
    rate: float | None,
    max_sets: int,
    max_body: float,
    no_measuring: bool,
    on_ray: bool,
    replicas: int,
    address: str | None,
) -> None:
    """Answer questions about RUN over HTTP, until Ctrl-C.

    Predictions of sets, values, interactions, recommendations, the best next removal or swap, and
    measurements of sets on the real model. The explorer is at / and the reference at /docs. What
    other commands write to RUN meanwhile is served within seconds.
    """
    from layershap.errors import UserError
    from layershap.serve.server import ServeOptions, serve_run

    if not on_ray and (replicas != 1 or address is not None):
        raise UserError("--replicas, --address: belong to --on-ray; add it or leave them out")
    options = ServeOptions(
        host=host,
        port=port,
        token=token or None,
        rate=rate,
        most_sets=max_sets,
        most_body=int(max_body * 2**20),
        measuring=not no_measuring and replicas == 1,
    )
    options.check()
    if on_ray:
        from layershap.serve.on_ray import serve_on_ray

        serve_on_ray(run, options, replicas, address, click.echo)
    else:
        serve_run(run, options, click.echo)
