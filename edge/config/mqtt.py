"""The broker, and who we are to it."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from typing_extensions import Self

from edge.options import FilePath, Options
from edge.spool.options import SpoolOptions

DEFAULT_PORT = 1883
TLS_PORT = 8883
URLS = "`mqtt://HOST[:PORT]` or, with TLS, `mqtts://HOST[:PORT]`"
LONGEST_LEVEL = 128
EMBEDDED = re.compile(r"embedded(?::(\d{1,5}))?")


def parse_broker(value: str) -> str:
    """Return the value if it names a broker, else raise ValueError saying what does."""
    if embedded := EMBEDDED.fullmatch(value):
        if not 0 < int(embedded[1] or DEFAULT_PORT) < 65536:  # noqa: PLR2004
            raise ValueError("the port must be 1 to 65535")
        return value
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:  # its words quote the URL, where a password may stand
        raise ValueError(f"is no URL: must be {URLS}, the port 1 to 65535") from None
    unseen = any(sign.isspace() or not sign.isprintable() for sign in value)
    if url.scheme not in {"mqtt", "mqtts"} or not url.hostname or port == 0 or unseen:
        raise ValueError(f"must be {URLS}, or `embedded`, a broker inside this daemon")
    if url.username or url.password:
        raise ValueError("must not hold a user or password: write them as `username`, `password`")
    if url.path.strip("/") or url.query or url.fragment:
        raise ValueError("must end after the port: the topic goes to `base_topic`")
    try:
        url.hostname.encode("idna")
    except UnicodeError:
        raise ValueError("names no host: between two dots stand 1 to 63 characters") from None
    return value


def broker_place(broker: str) -> tuple[str, int, bool]:
    """Return the host, the port, and whether TLS is spoken there."""
    url = urlsplit(broker)
    tls = url.scheme == "mqtts"
    return url.hostname or "127.0.0.1", url.port or (TLS_PORT if tls else DEFAULT_PORT), tls


def embedded_port(broker: str) -> int | None:
    """Return the port the embedded broker is asked for, None where another broker is named."""
    embedded = EMBEDDED.fullmatch(broker)
    return int(embedded[1] or DEFAULT_PORT) if embedded else None


def topic_level(value: str) -> str:
    """Return the value if it can be one level of a topic, else raise ValueError."""
    if not value or any(sign in value for sign in "/+#") or value.startswith("$"):
        raise ValueError("must be one level of a topic: not empty, without / + # and no $ in front")
    if not value.isprintable() or len(value) > LONGEST_LEVEL:
        raise ValueError(f"must be at most {LONGEST_LEVEL} characters, each printable")
    return value


def topic(value: str) -> str:
    """Return the value if it can be a topic, or the beginning of one, else raise ValueError."""
    for level in value.split("/"):
        topic_level(level)
    return value


FROM_ENVIRONMENT = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"


def _a_path(value: Path) -> Path:
    if "\n" in str(value):  # and is not quoted: somebody may put the key there
        raise ValueError("must be the path of a file, not what stands in it")
    return value


PemFile = Annotated[FilePath, AfterValidator(_a_path)]


class Tls(Options):
    """Whom we trust, and how we show who we are; versions below TLS 1.2 are not spoken."""

    ca_file: PemFile | None = Field(
        default=None,
        description="Certificates (PEM) of the CAs that the broker's must come from; without it "
        "those the system trusts.",
    )
    certificate_file: PemFile | None = Field(
        default=None, description="Our own certificate (PEM), where the broker demands one."
    )
    key_file: PemFile | None = Field(
        default=None,
        description="Its key (PEM); without it the key is looked for in `certificate_file`.",
    )
    key_password: SecretStr | None = Field(
        default=None,
        description="Password of an encrypted key, never in clear: `${NAME}` takes it from the "
        "environment.",
        json_schema_extra={"pattern": FROM_ENVIRONMENT},
    )
    key_password_file: FilePath | None = Field(
        default=None, description="File that holds the key's password."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.key_file is not None and self.certificate_file is None:
            raise ValueError("`key_file` needs the `certificate_file` that it belongs to")
        if self.key_password is not None and self.key_password_file is not None:
            raise ValueError("`key_password` and `key_password_file` exclude each other: keep one")
        if self.certificate_file is None and (self.key_password or self.key_password_file):
            raise ValueError("the key's password needs a `certificate_file`")
        return self


class Mqtt(Options):
    """The broker, and who we are to it."""

    broker: Annotated[str, AfterValidator(parse_broker)] = Field(
        default="mqtt://127.0.0.1:1883",
        description="`mqtt://HOST[:PORT]`, `mqtts://HOST[:PORT]` with TLS (port 8883), or "
        "`embedded` (`embedded:PORT`): a broker inside this daemon, listening on 127.0.0.1 only.",
    )
    username: str | None = Field(default=None, description="User name at the broker.")
    password: SecretStr | None = Field(
        default=None,
        description="Password, never in clear: `${NAME}` takes it from the environment.",
        json_schema_extra={"pattern": FROM_ENVIRONMENT},
    )
    password_file: FilePath | None = Field(
        default=None,
        description="File that holds the password, such as a systemd credential: "
        "`${CREDENTIALS_DIRECTORY}/mqtt`.",
    )
    tls: Tls | None = Field(
        default=None,
        description="Whom we trust, and how we show who we are, where `broker` is `mqtts://`.",
    )
    base_topic: Annotated[str, AfterValidator(topic)] = Field(
        default="edge", max_length=512, description="What all topics begin with."
    )
    keepalive_s: int = Field(
        default=30, ge=5, le=3600, description="Seconds after which a silent link is found dead."
    )
    spool: SpoolOptions = Field(
        default=SpoolOptions(), description="What is kept while the broker is away."
    )

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("`password` and `password_file` exclude each other: keep one")
        if self.username is None and (self.password or self.password_file):
            raise ValueError("a password needs a `username` beside it")
        return self

    @model_validator(mode="after")
    def _tls_where_it_is_spoken(self) -> Self:
        if self.tls is not None and not self.broker.startswith("mqtts:"):
            raise ValueError("`tls` needs a `broker` that begins with `mqtts://`")
        return self
