"""Finds what travels with the package: the demo's model and configuration, systemd's units.

In a checkout they lie in the top-level folders `models/`, `device_configs/` and `systemd/`; in
the wheel the same folders lie in `edge/bundled/`.
"""

from pathlib import Path

from edge.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent


def bundled(relative: str) -> Path:
    """Return the path of a bundled file. Raises ConfigError when it is in neither place."""
    for root in (PACKAGE / "bundled", PACKAGE.parent):
        if (root / relative).is_file():
            return root / relative
    raise ConfigError(f"{relative} did not come with this installation: install the wheel again")
