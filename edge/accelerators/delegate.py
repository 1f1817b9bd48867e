"""Any TFLite external delegate: a library that exports `tflite_plugin_create_delegate`."""

from typing import Literal

from pydantic import Field

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
        cause: Cause = trouble.cause
        if cause == "failed" and trouble.step == "delegate":
            cause = "refused"
        return Explained(cause, f"{self.title} {in_words(cause, trouble)}")


def in_words(cause: Cause, trouble: Trouble) -> str:
    """Say what was seen, without its cure: `crashed while its delegate was made (…)`."""
    when = STEPS[trouble.step]
    said = f": {trouble.said}" if trouble.said else ""
    verbs: dict[str, str] = {
        "library_missing": "is not installed",
        "crashed": f"crashed {when}",
        "hung": f"did not answer {when}",
        "refused": "refused to make a delegate",
    }
    return f"{verbs.get(cause, f'failed {when}')}{said} (engine {trouble.engine})"
