"""A pipeline with a model that came over the air in the place of the YAML's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from edge.config.labels import read_labels
from edge.config.model import Model
from edge.config.pipeline import AnyDecoder
from edge.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config.pipeline import Pipeline
    from edge.decoders.base import DecoderOptions
    from edge.supervisor.updates.records import Release
    from edge.wire import Ready


def written_digest(pipeline: Pipeline) -> str:
    """Return a digest of what of the YAML's pipeline an update takes the place of."""
    told = pipeline.model.model_dump_json() + pipeline.decode.model_dump_json()
    return hashlib.sha256(told.encode()).hexdigest()


def with_release(pipeline: Pipeline, release: Release | None, folder: Path | None) -> Pipeline:
    """Return the YAML's pipeline with a model whose files lie in `folder`; None leaves it as it is.

    What the model's card does not say stays as the YAML says, and so does a threshold: that is
    the operator's. Raises ModelError where they do not fit together.
    """
    if release is None or folder is None:
        return pipeline
    before = pipeline.model
    model = before.model_dump(exclude={"path", "labels", "golden", "accelerator"})
    model |= release.options | {
        "path": str(folder / release.model),
        "labels": str(folder / release.labels) if release.labels else before.labels,
        "accelerator": before.accelerator,
    }
    if release.golden:
        steps = before.golden.steps if before.golden is not None else 1
        model["golden"] = {"path": str(folder / release.golden), "steps": steps}
    try:
        return pipeline.model_copy(
            update={
                "model": Model.model_validate(model),
                "decode": _decode(pipeline.decode, release.decode, folder),
            }
        )
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in found["loc"])
        raise ModelError(f"the card's pipeline: {where}: {found['msg']}") from None


def _decode(before: DecoderOptions, given: dict[str, Any] | None, folder: Path) -> DecoderOptions:
    if given is None:
        return before
    options = dict(given)
    if "threshold" in type(before).model_fields and options.get("type") == before.type:
        options["threshold"] = getattr(before, "threshold")  # noqa: B009  of those that have one
    decoder: TypeAdapter[DecoderOptions] = TypeAdapter(AnyDecoder)
    return decoder.validate_python(options, context={"folder": folder})


def cannot_be_updated(pipeline: Pipeline) -> str:
    """Say why no model of this pipeline can come over the air; nothing where one can."""
    if pipeline.model.cpu_path is not None:
        return "its model has a second build for the CPU (`cpu_path`), and a card names only one"
    return ""


def differences(now: Pipeline, new: Pipeline, ready: Ready | None, new_ready: Ready) -> str:
    """Say how a new model's predictions would be others than today's, to who reads them.

    Nothing where they are of the same kind. Raises ConfigError where labels cannot be read.
    """
    if new.decode.type != now.decode.type:
        return f"its decoder is `{new.decode.type}`, not `{now.decode.type}`"
    before, after = read_labels(now.model.labels), read_labels(new.model.labels)
    if before != after:
        only_new = [label for label in after if label not in before]
        only_old = [label for label in before if label not in after]
        parts = [
            f"{len(after)} labels, not {len(before)}" if len(before) != len(after) else "",
            f"{only_new[0]!r} is new" if only_new else "",
            f"{only_old[0]!r} is gone" if only_old else "",
        ]
        return f"it has other labels: {', '.join(filter(None, parts)) or 'in another order'}"
    if not after and ready is not None and _shapes(ready) != _shapes(new_ready):
        return (
            f"it has other outputs: {', '.join(new_ready.outputs)}, not {', '.join(ready.outputs)}"
        )
    return ""


def _shapes(ready: Ready) -> list[str]:
    """Return the outputs' shapes; of which type they are is the decoder's business."""
    return [output.partition(" ")[2] for output in ready.outputs]
