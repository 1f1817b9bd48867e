"""The base of everything a device's YAML can hold: strict, frozen, described."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo


class Options(BaseModel):
    """A part of the device YAML.

    Unknown keys are errors, values cannot change once read, and every field carries a
    description: the reference in the README and the editors' schema are made from them.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


def against_the_yaml(path: Path, info: ValidationInfo) -> Path:
    """Return a path from the YAML, where it is relative against the YAML's folder."""
    folder = (info.context or {}).get("folder")
    path = path.expanduser()
    if folder is None or path.is_absolute():
        return path
    return Path(os.path.normpath(Path(folder) / path))


FilePath = Annotated[Path, AfterValidator(against_the_yaml)]
"""A path, relative to the folder of the YAML file that names it."""
