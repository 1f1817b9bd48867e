"""Prunes a trained network, converts it before and after, and finds out what that cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.workshop.chance import Gain, gain
from edge.workshop.measure import ratio
from edge.workshop.prune_channels import Narrowed, prune_channels
from edge.workshop.prune_weights import Sparse, prune_weights
from edge.workshop.standing import Standing, check_classes, converted, standings

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.lab.statistics import Ratio
    from edge.workshop.data import Data, Input
    from edge.workshop.prune_settings import Settings


@dataclass(frozen=True, slots=True)
class Pruned:
    """The pruned network, and how it stands beside what it was."""

    what: Narrowed | Sparse
    before: list[Standing]
    """In float, and in int8."""
    after: list[Standing]
    parameters: tuple[int, int]
    """Before and after: all numbers that the network holds."""

    @property
    def tflite(self) -> bytes:
        """The model: pruned, int8."""
        return self.after[1].tflite

    @property
    def gain(self) -> Gain:
        """What int8 pruned gained over int8 as it was; below 0 it lost."""
        return gain(self.after[1].right, self.before[1].right)

    def latency_ratio(self, mode: int) -> Ratio | None:
        """Pruned / before of the median latency, in float (0) or int8 (1)."""
        return ratio(self.after[mode].cost, self.before[mode].cost)


def prune(
    network: Any,
    form: Input,
    data: Data,
    settings: Settings,
    on_step: Callable[[str, int], Callable[[], None]],
) -> Pruned:
    """Prune the network, and measure before and after; `on_step` is told what is done.

    Raises ConfigError where network and data do not fit, ModelError where nothing can be pruned
    or the network cannot be converted.
    """
    check_classes(network, data, "the network")
    on_step("converting the network as it is", 0)
    models = {"before": converted(network, form, data, settings.samples)}
    parameters = network.count_params()
    on_epoch = on_step("fine-tuning", settings.epochs)
    what: Narrowed | Sparse
    if settings.structured:
        what = prune_channels(
            network,
            data,
            sparsity=settings.sparsity,
            epochs=settings.epochs,
            rounds=settings.rounds,
            on_epoch=on_epoch,
        )
    else:
        what = prune_weights(
            network,
            data,
            sparsity=settings.sparsity,
            epochs=settings.epochs,
            scope=settings.scope,
            on_epoch=on_epoch,
        )
    on_step("converting", 0)
    models["pruned"] = converted(what.network, form, data, settings.samples)
    found = standings(models, data, seconds=settings.seconds, on_step=on_step)
    return Pruned(what, found[:2], found[2:], (parameters, what.network.count_params()))


def card_of(made: Pruned, settings: Settings) -> dict[str, Any]:
    """Return what a card says of it, and `--json` prints: figures by topic."""
    what = made.what
    asked: dict[str, Any] = {"sparsity": settings.sparsity, "epochs": settings.epochs}
    if isinstance(what, Narrowed):
        kind = "structured: whole channels, the weakest by the L1 norm of their filters"
        asked |= {"rounds": settings.rounds}
        rows = [
            {"layer": name, "channels_before": before, "channels_after": after}
            for name, (before, after) in what.layers.items()
        ]
    else:
        kind = "unstructured: single weights, those of least magnitude"
        asked |= {"weighed": f"{'each layer' if settings.scope == 'layer' else 'all layers'} alone"}
        rows = [
            {"layer": name, "weights": count, "zeros": zeros}
            for name, (count, zeros) in what.layers.items()
        ]
    subject = made.after[1].cost.subject
    return {
        "pruning": {
            "kind": kind,
            **asked,
            "parameters": {"before": made.parameters[0], "after": made.parameters[1]},
            "left_whole": what.left_whole or "nothing",
        },
        "layers": rows,
        "figures": [each.card for each in (*made.before, *made.after)],
        "compared": {
            "what": "int8, pruned against before, on the held-out samples",
            "accuracy": made.gain.card,
            "within_chance": made.gain.by_chance,
        },
        "latency": {
            "what": "the forward pass alone, warm, in turns, milliseconds",
            "engine": f"{subject.engine} {subject.engine_version}, {subject.threads} thread",
            **{
                f"{each.mode}_pruned_to_before": _ratio_card(made.latency_ratio(mode))
                for mode, each in enumerate(made.after)
            },
        },
        "limits": {
            "validation": "the best epoch is chosen on a validation part which the network as it "
            "came may have been trained on; the held-out figures are not touched by that",
        },
    }


def _ratio_card(found: Ratio | None) -> dict[str, float] | None:
    if found is None:
        return None
    return {
        name: round(value, 3)
        for name, value in (("ratio", found.value), ("low", found.low), ("high", found.high))
    }
