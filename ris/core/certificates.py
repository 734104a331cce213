"""What we need to know of an X.509 certificate: who it is, and when it ends."""

import hashlib
import ssl
from datetime import UTC, datetime

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def fingerprint(der: bytes) -> str:
    """SHA-256 in hex of a certificate as it crosses the wire; "" of none."""
    return hashlib.sha256(der).hexdigest() if der else ""


def first_certificate(pem: str) -> bytes:
    """The first certificate of a PEM text, in DER. Raises ValueError."""
    start = pem.index(_BEGIN)
    return ssl.PEM_cert_to_DER_cert(pem[start : pem.index(_END, start) + len(_END)])


def ends_at(der: bytes) -> datetime:
    """notAfter of an X.509 certificate (RFC 5280 4.1): the second time in its Validity. Raises ValueError."""
    try:
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
    except IndexError:
        pass
    raise ValueError("no Validity")


def _element(der: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag and content of the DER element at `at`, and where the next one begins."""
    tag, size, at = der[at], der[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        size = int.from_bytes(der[at : at + count], "big")
        at += count
    return tag, der[at : at + size], at + size
