"""MLLP over TLS with certificates on both sides (IHE ITI-19): our own identity, and how a partner's is known."""

import hashlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.core.checks import CheckMessage, Error

from ris.core.errors import BadValue

CERTIFICATE, KEY, CA = FILES = ("RIS_TLS_CERTIFICATE", "RIS_TLS_KEY", "RIS_TLS_CA")


class NotSetUp(OSError):
    """Our side has no certificate, or one that cannot be used."""


def _path(name: str) -> str:
    return str(getattr(settings, name))


def is_set_up() -> bool:
    return any(map(_path, FILES))


def server_context() -> ssl.SSLContext:
    """For the listener: whoever connects must show a certificate that our CA has signed. Raises NotSetUp."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _with_our_files(context)


def client_context(*, named: bool) -> ssl.SSLContext:
    """For the sender. `named`: the partner's certificate must bear the host's name; one that is pinned by its
    fingerprint need not. Raises NotSetUp."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = named
    return _with_our_files(context)


def _with_our_files(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name in FILES:
        path = _path(name)
        if not path:
            raise NotSetUp(f"{name} is not set; TLS needs {', '.join(FILES)} (PEM files)")
        if not Path(path).is_file():
            raise NotSetUp(f"{name} is {path}, which is no file")
    try:
        context.load_cert_chain(_path(CERTIFICATE), _path(KEY), password=_no_password)
    except ssl.SSLError as error:
        what = (
            "do not belong together"
            if error.reason == "KEY_VALUES_MISMATCH"
            else "are no PEM certificate and key"
        )
        raise NotSetUp(f"RIS_TLS_CERTIFICATE and RIS_TLS_KEY {what}") from None
    except OSError as error:
        raise NotSetUp(f"RIS_TLS_CERTIFICATE or RIS_TLS_KEY cannot be read: {error.strerror}") from None
    try:
        context.load_verify_locations(_path(CA))
    except OSError:
        raise NotSetUp("RIS_TLS_CA holds no PEM certificate") from None
    return context


def _no_password() -> str:
    """A service starts without a person; OpenSSL would ask the terminal."""
    raise NotSetUp("RIS_TLS_KEY is protected by a password; a service needs a key without one")


def settings_check(**_: object) -> list[CheckMessage]:
    """A wrong file stops the start with a sentence, not the first message with a riddle."""
    if not is_set_up():
        return []
    try:
        server_context()
    except NotSetUp as problem:
        return [Error(f"{problem}.", id="interfaces.E001")]
    return []


def fingerprint(der: bytes) -> str:
    """SHA-256 in hex of a certificate as it crosses the wire; "" of none."""
    return hashlib.sha256(der).hexdigest() if der else ""


def fingerprint_of(path: str) -> str:
    """The fingerprint of the first certificate in a PEM file. Raises BadValue."""
    try:
        return fingerprint(_first_certificate(path))
    except (OSError, ValueError):
        raise BadValue(f"{path} holds no PEM certificate.", location="certificate") from None


def _first_certificate(path: str) -> bytes:
    text = Path(path).read_text(encoding="ascii")
    end = "-----END CERTIFICATE-----"
    start = text.index("-----BEGIN CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(text[start : text.index(end, start) + len(end)])


def days_left(path: str = "", *, now: datetime | None = None) -> int | None:
    """Whole days until a certificate ends, ours unless `path` names another; None where there is none."""
    path = path or _path(CERTIFICATE)
    if not path:
        return None
    try:
        return (ends_at(_first_certificate(path)) - (now or datetime.now(UTC))).days
    except (OSError, ValueError, IndexError):
        return None


def ends_at(der: bytes) -> datetime:
    """notAfter of an X.509 certificate (RFC 5280 4.1): the second time in its Validity. Raises ValueError."""
    _, body, _ = _element(der, 0)
    _, fields, _ = _element(body, 0)
    at = 0
    while at < len(fields):
        tag, value, at = _element(fields, at)
        # Validity is the one SEQUENCE among tbsCertificate's fields that begins with a time.
        if tag == 0x30 and value[:1] in (b"\x17", b"\x18"):
            _, _, second = _element(value, 0)
            kind, text, _ = _element(value, second)
            digits = text.decode("ascii")
            if kind == 0x17:
                # UTCTime: years 50 to 99 are of the last century.
                digits = ("19" if digits >= "50" else "20") + digits
            return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    raise ValueError("no Validity")


def _element(der: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag and content of the DER element at `at`, and where the next one begins."""
    tag, size, at = der[at], der[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size = int.from_bytes(der[at : at + count], "big")
        at += count
    return tag, der[at : at + size], at + size
