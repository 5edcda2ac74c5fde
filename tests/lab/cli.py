"""The lab's commands. Each brings about what it says and leaves alone what is so already."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from lab import cluster, debian, servers, status
from lab.failure import LabError
from lab.home import Home
from lab.report import Report
from lab.state import alone

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@contextmanager
def working() -> Iterator[tuple[Home, Report]]:
    """Show progress, and keep other lab commands waiting."""
    home = Home.from_environment()
    with Report() as report, alone(home, report):
        yield home, report


@app.command()
def up() -> None:
    """Bring the cluster up."""
    with working() as (home, report):
        access = cluster.up(home, report)
        report.say(f"The cluster is up: KUBECONFIG={access.kubeconfig} (context {access.context})")


@app.command()
def down() -> None:
    """Take the cluster down and remove every trace of it but logs and caches."""
    with working() as (home, report):
        cluster.down(home, report)


@app.command()
def images() -> None:
    """Build the images that have changed and load them into the cluster."""
    with working() as (home, report):
        cluster.load_images(home, report)


@app.command()
def ingress() -> None:
    """Serve the cluster's Ingresses with Contour and Envoy."""
    with working() as (home, report):
        url = cluster.start_ingress(home, report)
        report.say(
            f"Ingresses are served at {url}" if url else "UPKEEP_INGRESS_URL does not say what serves Ingresses."
        )


@app.command()
def traefik() -> None:
    """Serve the cluster's Ingresses and routes with Traefik as well, which is built for it once."""
    with working() as (home, report):
        url = cluster.start_traefik(home, report)
        report.say(f"Traefik serves at {url}" if url else "Only a cluster that was built here gets a Traefik.")


@app.command()
def certmanager() -> None:
    """Issue certificates with cert-manager, which is built for it once."""
    with working() as (home, report):
        started = cluster.start_certmanager(home, report)
        report.say("cert-manager runs." if started else "Only a cluster that was built here gets a cert-manager.")


@app.command()
def packages() -> None:
    """Install the servers that tests run against, where they are missing."""
    with working() as (home, report):
        debian.ensure(debian.TESTS, report)
        servers.install(home, report)


@app.command(name="status")
def show_status() -> None:
    """Show what runs, and where. Ends with code 1 unless all of it runs."""
    if not status.show(Home.from_environment()):
        raise typer.Exit(1)


def main() -> None:
    """Run a command; a problem of this machine is one message, not a traceback."""
    try:
        app()
    except LabError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red", highlight=False, markup=False)
        sys.exit(1)
