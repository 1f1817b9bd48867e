"""The model of a pipeline, and how a frame becomes its input."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from edge.options import FilePath, Options

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

    @model_validator(mode="after")
    def _normalisation(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("`mean` and `std` go together: give both or neither")
        stds = self.std if isinstance(self.std, list) else [self.std]
        if 0 in stds:
            raise ValueError("`std` must not be 0: pixels are divided by it")
        return self
