"""Finds what a room offers: every module of the package is one plugin, one file each."""

import importlib
import inspect
import pkgutil
from typing import Annotated, Any, TypeGuard, TypeVar, Union, get_args, get_origin

from pydantic import Field

from edge.options import Options

Base = TypeVar("Base")


def options_of(package: str, base: type[Options]) -> dict[str, type[Options]]:
    """Return the options classes of a room, by the `type:` that chooses them.

    A plugin is a module of `package` with one subclass of `base` whose field `type` is a
    `Literal` of one name.
    """
    found: dict[str, type[Options]] = {}
    for value in classes_of(package, base):
        (name,) = get_args(value.model_fields["type"].annotation)
        found[name] = value
    return dict(sorted(found.items()))


def classes_of(package: str, base: type[Base]) -> list[type[Base]]:
    """Return the classes that the modules of a package derive from `base`, by module."""
    found: dict[type[Base], None] = {}  # another module may import it, too
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, package + "."):
        for value in vars(importlib.import_module(module.name)).values():
            if derives(value, base):
                found[value] = None
    return list(found)


def derives(value: Any, base: type[Base]) -> TypeGuard[type[Base]]:
    """Whether a value is a class that derives from another."""
    # For Python 3.10 `dict[str, int]` is a class, but none that `issubclass` takes.
    a_class = inspect.isclass(value) and get_origin(value) is None
    return a_class and issubclass(value, base) and value is not base


def chosen_by_type(package: str, base: type[Options]) -> Any:
    """Return the annotation of a field that holds any plugin's options, told by `type:`."""
    classes = tuple(options_of(package, base).values())
    if len(classes) == 1:
        return classes[0]
    return Annotated[Union[classes], Field(discriminator="type")]  # noqa: UP007
