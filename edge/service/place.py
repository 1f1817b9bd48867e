"""Where an installed service has its files, and what it is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ConfigError

UNIT = "edge-runtime"
CONFIGURATIONS = "/etc/edge-runtime"
ENVIRONMENT = f"{CONFIGURATIONS}/environment"
PROGRAM = "/opt/edge-runtime/bin/edge"
"""The command that the units start as they are."""
UNITS = "/etc/systemd/system"
PACKAGED_UNITS = "/usr/lib/systemd/system"
RULES = "60-edge-runtime.rules"
LOCAL_RULES = f"/etc/udev/rules.d/{RULES}"
PACKAGED_RULES = f"/usr/lib/udev/rules.d/{RULES}"
DROP_IN = "50-installed.conf"
ONLY = "device"
"""The name of the YAML of the service that is no instance."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Place:
    """One service: `edge-runtime`, or the instance `edge-runtime@NAME`.

    Paths are those that the service sees; `on_disk` gives the ones to write to.
    """

    name: str | None = None
    root: Path = Path("/")

    def __post_init__(self) -> None:
        """Raise ConfigError for a name that cannot be an instance's."""
        if self.name is not None and not NAME.fullmatch(self.name):
            raise ConfigError(
                f"--name {self.name}: must be letters, digits, - and _, and begin with one of the "
                "first two"
            )
        if self.name == ONLY:
            raise ConfigError(f"--name {ONLY}: is the service without a name; choose another")

    @property
    def unit(self) -> str:
        """The unit's name for systemctl."""
        return f"{UNIT}@{self.name}.service" if self.name else f"{UNIT}.service"

    @property
    def unit_file(self) -> str:
        """The name of the file that describes it, a template's for an instance."""
        return f"{UNIT}@.service" if self.name else f"{UNIT}.service"

    @property
    def drop_in(self) -> str:
        """What is set for this device, beside what the unit's file says."""
        return f"{UNITS}/{self.unit}.d/{DROP_IN}"

    @property
    def enabled(self) -> str:
        """The link that has it started at boot."""
        return f"{UNITS}/multi-user.target.wants/{self.unit}"

    @property
    def stem(self) -> str:
        """The name of the YAML without its suffix."""
        return self.name or ONLY

    @property
    def config(self) -> str:
        """The YAML."""
        return f"{CONFIGURATIONS}/{self.stem}.yaml"

    @property
    def credentials(self) -> str:
        """The folder of the secrets, root's alone."""
        return f"{CONFIGURATIONS}/{self.stem}.credentials"

    @property
    def state(self) -> str:
        """The folder of models, and of all that the service keeps."""
        return f"/var/lib/{UNIT}-{self.name}" if self.name else f"/var/lib/{UNIT}"

    @property
    def runtime(self) -> str:
        """The folder in memory."""
        return f"/run/{UNIT}-{self.name}" if self.name else f"/run/{UNIT}"

    def on_disk(self, path: str) -> Path:
        """Return where a path of the service's lies for us, who may prepare another root."""
        return self.root / path.lstrip("/")

    @property
    def packaged(self) -> bool:
        """Whether a package brought the unit, so that we need not."""
        return self.on_disk(f"{PACKAGED_UNITS}/{self.unit_file}").is_file()


def installed(root: Path) -> list[Place]:
    """Return the services that `edge service install` has installed, by their drop-ins."""
    found = []
    for drop_in in sorted((root / UNITS.lstrip("/")).glob(f"{UNIT}*.service.d/{DROP_IN}")):
        _, _, name = drop_in.parent.name.removesuffix(".service.d").partition("@")
        found.append(Place(name or None, root))
    return found
