"""Certificates for tests: good ones, and each kind of bad one."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

import trustme


class Files(NamedTuple):
    """A certificate and its key, in PEM."""

    certificate: Path
    key: Path


class Pki:
    """A CA with its certificates in files, and another CA that nobody knows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._issued = 0
        self._cas = {"ours": trustme.CA(), "other": trustme.CA()}
        for name, ca in self._cas.items():
            ca.cert_pem.write_to_path(self.ca_file(name))

    def ca_file(self, name: str = "ours") -> Path:
        """Return the file of a CA's own certificate."""
        return self._folder / f"{name}-ca.pem"

    def issue(
        self, *names: str, ca: str = "ours", from_day: float = -100, to_day: float = 100
    ) -> Files:
        """Issue a certificate for these host names, valid between these days from now."""
        now = datetime.now(timezone.utc)
        leaf = self._cas[ca].issue_cert(
            *names,
            not_before=now + timedelta(days=from_day),
            not_after=now + timedelta(days=to_day),
        )
        self._issued += 1
        stem = self._folder / f"{names[0]}-{self._issued}"
        files = Files(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        leaf.cert_chain_pems[0].write_to_path(files.certificate)
        files.key.touch(mode=0o600)
        leaf.private_key_pem.write_to_path(files.key)
        return files


def tls_listener(broker: Files, *, clients: Path | None = None) -> str:
    """Return what mosquitto needs to speak TLS; it demands certificates of the CA `clients`."""
    demand = f"cafile {clients}\nrequire_certificate true\n" if clients else ""
    return (
        f"user root\nallow_anonymous true\nmax_queued_messages 0\n{demand}"
        f"certfile {broker.certificate}\nkeyfile {broker.key}"
    )
