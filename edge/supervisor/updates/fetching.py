"""Has a signed model fetched by a throw-away process: no server is asked anything from here."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge.catalogue.card import CARD, parse_card, read_card_bytes
from edge.errors import BrokenOffError, CardError, FetchError, UnreachableError
from edge.supervisor.last_words import LastWords
from edge.supervisor.log import log
from edge.supervisor.process import child_environment, how_it_ended, python_command
from edge.supervisor.trial import error_of
from edge.supervisor.updates.records import Release
from edge.wire import Failed

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config.updates import Updates

TAKE = "edge.catalogue.take"
NICE = 10  # frames go first
AGAIN_S = 5.0


async def take(url: str, folder: Path, updates: Updates, *, patiently: bool = False) -> Release:
    """Fetch the card behind a URL and its files into `folder`, whole; return what it is.

    What came before it broke off lies beside the folder, and is gone on with. `patiently` a server
    that cannot be reached is asked again until the time is over: shortly after a boot there may be
    neither a network nor a clock that is set. Raises FetchError, SignatureError, CardError, or
    ConfigError where a key cannot be read. Cancelled, the process ends.
    """
    now = asyncio.get_running_loop().time
    end, told = now() + updates.timeout_s, ""
    while True:
        try:
            return await _take(url, folder, updates, limit_s=end - now())
        except (BrokenOffError, UnreachableError) as error:
            if not patiently or now() + AGAIN_S >= end:
                raise
            if told != (told := str(error)):
                log(logging.WARNING, "update_waits", f"{error}; it is asked again")
        await asyncio.sleep(AGAIN_S)


async def _take(url: str, folder: Path, updates: Updates, *, limit_s: float) -> Release:
    options = {
        "url": url,
        "keys": [key.text for key in updates.public_keys()],
        "max_bytes": updates.max_bytes,
        "ca_file": None if updates.ca_file is None else str(updates.ca_file),
        "http_hosts": [
            urlsplit(prefix).netloc for prefix in updates.fetch_from if prefix.startswith("http:")
        ],
    }
    process = await asyncio.create_subprocess_exec(
        *python_command(TAKE, str(folder), json.dumps(options)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
        start_new_session=True,
    )
    with suppress(OSError):  # it may have ended already
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    try:
        said, complaints = await asyncio.wait_for(process.communicate(), limit_s)
    except asyncio.TimeoutError:
        limit = f"`updates.timeout_s: {updates.timeout_s:g}`"
        raise FetchError(f"{url}: was not here in time ({limit}); another try goes on") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not said:
        words = LastWords()
        words.feed(complaints)
        words.feed(b"")
        how = how_it_ended(process.returncode or 0)
        raise FetchError(f"{url}: the process that fetched it ended: {how}; {words.gist}")
    found = json.loads(said)
    if "failed" in found:
        raise error_of(Failed(found["failed"], found["message"]))
    return await asyncio.to_thread(_release, folder, found["sha256"], found["key_id"])


def _release(folder: Path, digest: str, key_id: str) -> Release:
    """Read the card that was verified. Raises CardError."""
    content = read_card_bytes(folder)
    if hashlib.sha256(content).hexdigest() != digest:
        raise CardError(f"{folder / CARD}: is not the card that was verified")
    card = parse_card(content, str(folder / CARD))
    model = card.files[card.model]
    return Release(
        digest=digest,
        name=card.name,
        version=card.version,
        key_id=key_id,
        model=card.model,
        model_sha256=model.sha256,
        size_bytes=sum(file.size_bytes for file in card.files.values()),
        labels=card.file_of("labels"),
        golden=card.file_of("golden"),
        options=dict(card.pipeline.model),
        decode=card.pipeline.decode,
    )
