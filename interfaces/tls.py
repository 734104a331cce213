"""MLLP and DICOM over TLS with certificates on both sides (IHE ITI-19, BCP 195): our own identity, and how a partner's
is known."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.core.checks import CheckMessage, Error

from ris.core.certificates import ends_at, fingerprint, first_certificate
from ris.core.errors import BadValue

CERTIFICATE, KEY, CA = FILES = ("RIS_TLS_CERTIFICATE", "RIS_TLS_KEY", "RIS_TLS_CA")


class NotSetUp(OSError):
    """Our side has no certificate, or one that cannot be used."""


def _path(name: str) -> str:
    return str(getattr(settings, name))


def is_set_up() -> bool:
    return any(map(_path, FILES))


def server_context() -> ssl.SSLContext:
    """For a listener: whoever connects must show a certificate that our CA has signed. Raises NotSetUp."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # RFC 9325 4.2 (BCP 195): forward secrecy and authenticated encryption only.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM")
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


def fingerprint_of(path: str) -> str:
    """The fingerprint of the first certificate in a PEM file. Raises BadValue."""
    return fingerprint(certificate_in(path))


def certificate_in(path: str) -> bytes:
    """The first certificate in a PEM file, in DER. Raises BadValue."""
    try:
        return first_certificate(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise BadValue(f"{path} holds no PEM certificate.", location="certificate") from None


def days_left(path: str = "", *, now: datetime | None = None) -> int | None:
    """Whole days until a certificate ends, ours unless `path` names another; None where there is none."""
    path = path or _path(CERTIFICATE)
    if not path:
        return None
    try:
        return (ends_at(certificate_in(path)) - (now or datetime.now(UTC))).days
    except (BadValue, ValueError):
        return None
