"""The golden self-test of a model: which answers it must give before its first frame."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from edge.options import FilePath, Options


class Golden(Options):
    """Inputs whose answers are known, and how exactly the model must give them."""

    path: FilePath = Field(
        description="The golden file, as `edge golden` writes it: inputs and their right answers."
    )
    steps: float = Field(
        default=1,
        ge=0,
        le=255,
        description="How far an answer may be from the right ones: quantization steps of the "
        "output; of a float output 255ths of its largest right value; of a map of classes "
        "hundredths of its values.",
    )


def _in_full(value: Any) -> Any:
    """Return `{path: FILE}` for `FILE`."""
    if isinstance(value, str):
        return {"path": value}
    if not isinstance(value, dict | Golden | None):
        raise ValueError(f"must be a path, or a mapping with `path` and `steps`, not {value!r}")  # noqa: TRY004
    return value


def _or_its_path(schema: dict[str, Any]) -> None:
    """Let editors know of the short form."""
    schema["anyOf"] = [{"type": "string"}, *schema["anyOf"]]


GoldenOrPath = Annotated[
    Golden | None, BeforeValidator(_in_full), Field(json_schema_extra=_or_its_path)
]
"""What the YAML may say: a path alone is enough."""
