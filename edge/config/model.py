"""The model of a pipeline, what runs it, and how a frame becomes its input."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from edge.accelerators.base import AcceleratorOptions
from edge.config.golden import GoldenOrPath
from edge.options import FilePath, Options
from edge.plugins import chosen_by_type

if TYPE_CHECKING:
    AnyAccelerator = AcceleratorOptions
else:
    AnyAccelerator = chosen_by_type("edge.accelerators", AcceleratorOptions)


SHORT = "edgetpu"
"""The one accelerator that needs no more than its name."""


def _in_full(value: Any) -> Any:
    """Return `{type: edgetpu}` for `edgetpu`, and the type where only a library is named."""
    if value == SHORT:
        return {"type": value}
    if isinstance(value, str):
        raise ValueError(f"must be `{SHORT}`, or a mapping, not {value!r}")  # noqa: TRY004
    if isinstance(value, dict) and "type" not in value and "library" in value:
        return {"type": "delegate", **value}
    return value


def _or_its_name(schema: dict[str, Any]) -> None:
    """Let editors know of the short form."""
    schema["anyOf"] = [{"const": SHORT}, *schema["anyOf"]]


Channels = Annotated[list[float], Field(min_length=1, max_length=3)]


class Model(Options):
    """The model and its input."""

    path: FilePath = Field(description="The .tflite file.")
    labels: FilePath | list[str] | None = Field(
        default=None,
        description="Names of the classes: a text file with one a line, or a list. Without it "
        "a class is named by its index.",
    )
    engine: Literal["auto", "litert", "tflite-runtime"] = Field(
        default="auto",
        description="Which interpreter runs the model; `auto` takes what `edge tune` chose, "
        "else LiteRT where it is installed, else tflite-runtime.",
    )
    threads: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = Field(
        default="auto",
        description="Threads of the forward pass (the cores are shared); `auto` takes what "
        "`edge tune` chose, else 1.",
    )
    accelerator: Annotated[
        AnyAccelerator | None, BeforeValidator(_in_full), Field(json_schema_extra=_or_its_name)
    ] = Field(
        default=None,
        description="What runs the model instead of the CPU: `edgetpu` is short for "
        "`{type: edgetpu}`, and `{library: FILE}` for `{type: delegate, library: FILE}`.",
    )
    fallback: Literal["cpu", "none"] = Field(
        default="cpu",
        description="What happens where the accelerator cannot be used: the model runs on the "
        "`cpu` until it can, or the pipeline has failed.",
    )
    cpu_path: FilePath | None = Field(
        default=None,
        description="The build of the model that runs on the CPU, where `path` is compiled for "
        "the accelerator.",
    )
    golden: GoldenOrPath = Field(
        default=None,
        description="Known answers that the model must give before its first frame, on every "
        "engine and accelerator it comes to run on; `FILE` is short for `{path: FILE}`.",
    )
    resize: Literal["stretch", "letterbox", "crop"] = Field(
        default="stretch",
        description="How a frame gets the input's shape: `stretch` ignores proportions, "
        "`letterbox` keeps them and pads, `crop` keeps them and cuts the longer side.",
    )
    interpolation: Literal["pyramid", "area", "linear"] = Field(
        default="pyramid",
        description="How a larger frame is made small: `pyramid` halves it as far as it can, "
        "then averages points between its pixels; `area` averages all pixels exactly, at four "
        "times the cost; `linear` reads four for each of the input's, faster still, and models "
        "may answer wrongly.",
    )
    colour: Literal["auto", "rgb", "bgr", "grey"] = Field(
        default="auto",
        description="Order of the input's channels; `auto` is rgb for three, grey for one.",
    )
    mean: float | Channels | None = Field(
        default=None,
        description="With `std`: the model expects (pixel - mean) / std; one number, or one a "
        "channel in the input's order. Without both, pixel 0..255 spans the whole range of an "
        "integer input, and 0..1 of a float input.",
    )
    std: float | Channels | None = Field(
        default=None, description="Divisor of the normalisation; see `mean`."
    )

    def on_cpu(self) -> Self:
        """Return the same without its accelerator; where it has none, itself."""
        if self.accelerator is None:
            return self
        path = self.cpu_path or self.path
        return self.model_copy(update={"path": path, "accelerator": None, "cpu_path": None})

    @model_validator(mode="after")
    def _accelerated(self) -> Self:
        if self.accelerator is None and self.cpu_path is not None:
            raise ValueError(
                "`cpu_path` is for models with an `accelerator`: write `path`, or name it"
            )
        return self

    @model_validator(mode="after")
    def _normalisation(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("`mean` and `std` go together: give both or neither")
        stds = self.std if isinstance(self.std, list) else [self.std]
        if 0 in stds:
            raise ValueError("`std` must not be 0: pixels are divided by it")
        return self
