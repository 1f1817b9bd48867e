"""Any TFLite external delegate: a library that exports `tflite_plugin_create_delegate`."""

from typing import Literal

from pydantic import Field

from edge.accelerators import shared_object
from edge.accelerators.base import (
    STEPS,
    AcceleratorOptions,
    Cause,
    Explained,
    Library,
    Trouble,
)


class DelegateOptions(AcceleratorOptions):
    """A delegate of any vendor."""

    type: Literal["delegate"] = Field(description="Any TFLite external delegate.")
    library: Library = Field(
        description="The delegate's shared object: a path, relative to this file, or the name "
        "that the system finds it by, such as `libvx_delegate.so`.",
    )
    options: dict[str, str] = Field(
        default={}, description="What the delegate is made with; its maker says what it knows."
    )

    @property
    def title(self) -> str:
        """The library's name without its folder."""
        return self.library.rpartition("/")[2]

    def library_names(self) -> list[str]:
        """Return the one that is named."""
        return [self.library]

    def delegate_options(self) -> dict[str, str]:
        """Return them as they are written."""
        return dict(self.options)

    def claims(self) -> str | None:
        """Return None: which device a library takes is its own affair."""
        return None

    def explain(self, trouble: Trouble) -> Explained:
        """Say how far it came and what it said; no more is known of a library of any kind."""
        if trouble.cause in {"library_missing", "library_unusable"}:
            cure = "install its package, or correct `library`"
            library = shared_object.Library("the accelerator", self.library, cure)
            return shared_object.explain(library, trouble.said)
        cause: Cause = trouble.cause
        if cause == "failed" and trouble.step == "delegate":
            cause = "refused"
        return Explained(cause, f"{self.title} {_in_words(cause, trouble)}")

    def remarks(self, *, taken: int, operators: int) -> list[str]:
        """Tell how much of the model the CPU runs all the same."""
        if taken == operators:
            return []
        return [
            f"{self.title} takes {taken} of the model's {operators} operators, the CPU the rest"
        ]


def _in_words(cause: Cause, trouble: Trouble) -> str:
    """Say what was seen, and what may help: `crashed while its delegate was made (…): …`."""
    when = STEPS[trouble.step]
    said = f" ({trouble.said})" if trouble.said else ""
    engine = f"with {trouble.engine}"
    verbs: dict[str, str] = {
        "crashed": f"crashed {when}{said}, {engine}: it may be built for another TensorFlow Lite; "
        "ask its maker for a build for this one",
        "hung": f"did not answer {when}, {engine}: its device may have to be reset",
        "refused": f"refused to make a delegate{said}: its maker knows why, and which `options` it "
        "takes",
        "takes_nothing": "takes none of the model's operators, and all of it would run on the CPU: "
        "convert the model as its maker says, or do without it",
    }
    return verbs.get(cause, f"failed {when}{said}, {engine}: the model may not suit it")
