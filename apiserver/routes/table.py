"""Every operation that the daemon answers."""

from __future__ import annotations

from apiserver.composition import Engine
from apiserver.dispatch import Route
from apiserver.routes import (
    container_figures,
    container_files,
    container_io,
    container_life,
    container_list,
    containers,
    disk_usage,
    events,
    exec,
    image_transfer,
    images,
    networks,
    system,
    undelivered,
    volumes,
)

MODULES = (
    system,
    events,
    exec,
    containers,
    disk_usage,
    container_list,
    container_life,
    container_io,
    container_figures,
    container_files,
    images,
    image_transfer,
    networks,
    volumes,
    undelivered,
)


def all_routes(engine: Engine) -> list[Route]:
    """The routes of all groups, in the order in which the document lists them."""
    return [route for module in MODULES for route in module.routes(engine)]
