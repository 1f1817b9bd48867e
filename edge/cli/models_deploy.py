"""`edge models deploy`: has a running device fetch a signed model, and follows its events."""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import time
from typing import TYPE_CHECKING, Any

from edge.cli.broker_options import access_from, add_broker_options
from edge.cli.models_options import add_trust, keys_of, local_folder
from edge.errors import ConfigError, EdgeError
from edge.messages import OFFLINE, ONLINE, status_topic

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from edge.catalogue.card import Card
    from edge.catalogue.keys import PublicKey

ANSWER_S = 15.0
TOLD = ("update_", "updates_lost", "worker_died", "worker_restarted", "pipeline_failed")
ENDS = {
    "update_good": 0,
    "update_refused": 1,
    "update_rolled_back": 1,
    "update_dropped": 1,
    "updates_lost": 1,
}
FETCHED = {"update_verified": 0, **ENDS}
"""Events after which a folder need not be served any longer."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the action."""
    parser = subparsers.add_parser(
        "deploy",
        help="update the model of a running device",
        description="Tells a device to fetch a signed model, and with --follow prints its events "
        "until the model is good, or the device has gone back. A folder is served over HTTP "
        "meanwhile, from --serve; the device takes it only where its `updates.fetch_from` allows "
        "that URL, and only signed with one of its `updates.keys`.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a model's folder, a name as of `edge models list`, or the URL of a card.yaml",
    )
    parser.add_argument("--device", required=True, metavar="NAME", help="the device")
    parser.add_argument("--pipeline", required=True, metavar="NAME", help="its pipeline")
    parser.add_argument("--base-topic", default="edge", metavar="TOPIC", help="(default: edge)")
    parser.add_argument(
        "--serve",
        metavar="ADDRESS:PORT",
        help="where this machine serves the folder: an address of it that the device reaches",
    )
    add_trust(parser)
    parser.add_argument(
        "--canary",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value than that of the pipeline's `canary:`, such as frames=1000",
    )
    parser.add_argument(
        "--follow", action="store_true", help="stay until the update is good, or over"
    )
    add_broker_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, serve, tell the device, follow; 1 where the device has not taken the model."""
    from edge.mqtt.listening import Listening

    canary = dict(_canary(each) for each in args.canary)
    access = access_from(args)
    device = f"{args.base_topic}/{args.device}"
    said: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    answers, status = (
        f"{device}/command/update-model/answer",
        status_topic(args.base_topic, args.device),
    )

    def take(topic: str, payload: bytes, retained: bool) -> None:
        if topic == status:
            said.put((topic, payload.decode(errors="replace")))
            return
        with contextlib.suppress(ValueError, RecursionError):
            if not retained and isinstance(found := json.loads(payload), dict):
                said.put((topic, found))

    topics = [(answers, 1), (f"{device}/{args.pipeline}/events", 1), (status, 1)]
    with _reachable(args) as (url, ours), Listening(access, topics, take) as listening:
        request = {"id": secrets.token_hex(8), "pipeline": args.pipeline, "card": url}
        if canary:
            request["canary"] = canary
        listening.publish(f"{device}/command/update-model", json.dumps(request).encode())
        print(_answer(said, answers, request["id"], args.device), flush=True)
        if args.follow:
            return _follow(said, answers, ENDS)
        return _follow(said, answers, FETCHED) if ours else 0


def _canary(told: str) -> tuple[str, Any]:
    """Return name and value of `NAME=VALUE`. Raises ConfigError."""
    name, sign, value = told.partition("=")
    if not name or not sign:
        raise ConfigError(f"--canary must be NAME=VALUE, such as frames=1000, not {told}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@contextlib.contextmanager
def _reachable(args: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """Yield the URL of the card, and whether it is ours that lasts as long as this."""
    from edge.catalogue.card import CARD

    keys = keys_of(args)
    if "://" in args.model:
        if args.serve is not None:
            raise ConfigError("--serve is for a folder: the model is at a URL already")
        if not args.model.endswith(f"/{CARD}"):
            raise ConfigError(f"{args.model}: must be the URL of a {CARD}")
        yield args.model, False
        return
    folder = local_folder(args.model)
    card = _checked(folder, keys)
    if args.serve is None:
        raise ConfigError(
            "a folder must be served for the device to fetch it: give --serve ADDRESS:PORT, with "
            "an address of this machine that the device reaches"
        )
    host, _, port = args.serve.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:  # noqa: PLR2004
        raise ConfigError(f"--serve must be ADDRESS:PORT, such as 192.168.1.5:8000: {args.serve}")
    from edge.cli.served_folder import served

    with served(folder, card, host, int(port)) as url:
        print(f"{card.name} {card.version} is served at {url}", flush=True)
        yield url, True


def _checked(folder: Path, keys: list[PublicKey]) -> Card:
    """Return the card of a folder that a device may take. Raises CardError or SignatureError."""
    from edge.catalogue.card import CARD, SIGNATURE, check_files, parse_card, read_card_bytes
    from edge.catalogue.signed import who_signed
    from edge.errors import CardError, SignatureError

    content = read_card_bytes(folder)
    card = parse_card(content, str(folder / CARD))
    check_files(card, folder)
    try:
        signature = read_card_bytes(folder, SIGNATURE)
    except CardError:
        raise SignatureError(
            f"{folder / SIGNATURE}: there is none, and no device takes a model without: "
            f"`edge models sign {folder} --key SECRET`"
        ) from None
    if keys:
        who_signed(folder / CARD, content, signature, keys)
    return card


def _answer(
    said: queue.SimpleQueue[tuple[str, Any]], topic: str, request_id: str, device: str
) -> str:
    """Wait for the device's answer; return what it begins. Raises EdgeError."""
    end_s = time.monotonic() + ANSWER_S
    while (left_s := end_s - time.monotonic()) > 0:
        with contextlib.suppress(queue.Empty):
            where, found = said.get(timeout=left_s)
            if found == OFFLINE:
                raise EdgeError(f"{device} is offline, by its last word at this broker")
            if where == topic and found.get("id") == request_id:
                message = str(found.get("message"))
                if not found.get("done"):
                    raise EdgeError(f"{device} refuses: {message}")
                return message
    raise EdgeError(
        f"{device} does not answer within {ANSWER_S:g} s: is it there, and does its YAML have "
        "`update-model` among `commands.allow`?"
    )


def _follow(said: queue.SimpleQueue[tuple[str, Any]], answers: str, ends: dict[str, int]) -> int:
    """Print what happens until the update is over; return the exit status."""
    now = ONLINE
    while True:
        topic, found = said.get()
        if isinstance(found, str):
            if found != now:
                print(f"{'':<10}{found}", flush=True)
            now = found
            continue
        event = str(found.get("event"))
        if topic == answers or not event.startswith(TOLD):
            continue
        at = str(found.get("at"))[11:19]
        print(f"{at}  {event.removeprefix('update_'):<12} {found.get('message')}", flush=True)
        if event in ends:
            return ends[event]
