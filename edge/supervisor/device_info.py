"""The device as it stands in the info message."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING

from edge import __version__
from edge.messages import Info
from edge.supervisor import clock
from edge.supervisor.pipeline_info import pipeline_info

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.supervisor.outlet import Outlet
    from edge.supervisor.pipeline import SupervisedPipeline
    from edge.update_info import UpdateInfo

PACKAGES = ("ai-edge-litert", "tflite-runtime", "numpy", "opencv-python-headless", "paho-mqtt")


def device_info(
    outlet: Outlet,
    pipelines: Mapping[str, SupervisedPipeline],
    update_of: Callable[[str], UpdateInfo | None],
) -> Info:
    """Return the info message as it is now; `update_of` tells of a pipeline's updates."""
    return Info(
        device=outlet.device,
        boot=outlet.boot,
        at=clock.utc(),
        clock_synced=outlet.clock_synced,
        version=__version__,
        python=platform.python_version(),
        machine=platform.machine(),
        packages=_versions(),
        pipelines={
            name: pipeline_info(pipeline, update_of(name)) for name, pipeline in pipelines.items()
        },
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
