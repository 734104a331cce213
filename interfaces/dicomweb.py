"""DICOMweb with us as the user agent: STOW-RS and QIDO-RS (PS3.18 10.5, 10.6)."""

import base64
import http.client
import json
import ssl
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from interfaces.models import Endpoint
from ris.environment import env_secret

JsonModel = dict[str, dict[str, Any]]

#: An answer to a question is never longer than this.
_MOST_BYTES = 16 * 1024 * 1024
_PIECE = 65_536


class Unreachable(Exception):
    """No answer that can be used; the text says why and names no patient."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one STOW-RS: the HTTP status, and in words why not."""

    code: str
    text: str
    accepted: bool
    transient: bool = False


def store(endpoint: Endpoint, file: bytes) -> Stored:
    """Store one object (PS3.18 10.5). Raises Unreachable."""
    boundary = uuid.uuid4().hex
    body = b"".join((
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(), file, f"\r\n--{boundary}--\r\n".encode(),
    ))  # fmt: skip
    status, answer = _ask(
        endpoint, "POST", "/studies", body, float(endpoint.answer_timeout),
        {"Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}'},
    )  # fmt: skip
    code = str(status)
    if status in (200, 202) and not (failed := _failures(answer)):
        return Stored(code, "", accepted=True)
    if status in (408, 425, 429) or status >= 500:
        return Stored(code, f"HTTP {status}: it cannot store now", accepted=False, transient=True)
    if status in (401, 403):
        return Stored(code, f"HTTP {status}: it does not let us in; check the secret", accepted=False)
    reason = (
        f": {_REASONS.get(failed[0], f'reason {failed[0]:04X}')}" if (failed := _failures(answer)) else ""
    )
    return Stored(code, f"HTTP {status}{reason}", accepted=False)


#: Failure Reason (0008,1197), PS3.18 table 10.5.3-1 and its notes.
_REASONS = {
    0xA700: "it has no room",
    0xA900: "the object is not what its class says",
    0xC000: "it cannot understand the object",
    0x0110: "it could not process it",
    0x0122: "it does not take this kind of object",
    0x0111: "it has another object of this UID",
}
_FAILED, _REASON = "00081198", "00081197"


def _failures(answer: bytes) -> list[int]:
    """The reasons of the objects that were not stored; none where the answer does not say."""
    try:
        model = json.loads(answer)
        return [
            int((one.get(_REASON, {}).get("Value") or [0])[0])
            for one in model.get(_FAILED, {}).get("Value", [])
        ]
    except (ValueError, AttributeError, TypeError):
        return []


#: Beyond what every answer holds: description, counts, issuer.
_WANTED = "00081030,00080061,00080056,00080054,00201206,00201208,00100021"


def find(
    endpoint: Endpoint, path: str, keys: Mapping[str, str], *, seconds: float, limit: int
) -> list[JsonModel]:
    """What matches under `path`, as "/studies" (PS3.18 10.6). Raises Unreachable."""
    query = urlencode({**keys, "limit": limit, "includefield": _WANTED}, quote_via=quote, safe=",")
    status, answer = _ask(endpoint, "GET", f"{path}?{query}", None, seconds, {})
    if status == 204:
        return []
    if status != 200:
        raise Unreachable(f"{endpoint.name} could not answer (HTTP {status}).")
    try:
        found = json.loads(answer)
    except ValueError:
        raise Unreachable(f"{endpoint.name} answered what cannot be read.") from None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _ask(
    endpoint: Endpoint, method: str, path: str, body: bytes | None, seconds: float, headers: dict[str, str]
) -> tuple[int, bytes]:
    """One request; redirections are not followed, so a secret goes to nobody else."""
    url, ends = urlsplit(endpoint.address), time.monotonic() + seconds
    try:
        headers = {"Accept": "application/dicom+json", **headers, **_authorization(endpoint)}
        line = _line(url, seconds)
    except (OSError, ImproperlyConfigured):
        raise Unreachable(f"The secret or the certificates for {endpoint.name} cannot be read.") from None
    try:
        line.request(method, f"{url.path.rstrip('/')}{path}", body, headers)
        response = line.getresponse()
        answer = bytearray()
        while piece := response.read1(_PIECE):
            answer += piece
            if len(answer) > _MOST_BYTES:
                raise Unreachable(f"{endpoint.name} answered more than can be read.")
            if time.monotonic() > ends:
                raise TimeoutError
        return response.status, bytes(answer)
    except TimeoutError:
        raise Unreachable(f"{endpoint.name} did not answer within {seconds:.0f} s.") from None
    except (OSError, http.client.HTTPException) as problem:
        raise Unreachable(f"Cannot reach {endpoint.name}: {type(problem).__name__}") from None
    finally:
        line.close()


def _line(url: SplitResult, seconds: float) -> http.client.HTTPConnection:
    """Not connected yet. Raises OSError for certificates that cannot be used."""
    host = url.hostname or ""
    if url.scheme == "https":
        return http.client.HTTPSConnection(host, url.port, timeout=seconds, context=_tls_context())
    return http.client.HTTPConnection(host, url.port, timeout=seconds)


def _authorization(endpoint: Endpoint) -> dict[str, str]:
    """From the environment, so that no table and no page holds the secret."""
    name = endpoint.option("secret")
    secret = env_secret(name) if name else ""
    if not secret:
        return {}
    if ":" in secret:
        return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    return {"Authorization": f"Bearer {secret}"}


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.RIS_TLS_CA:
        context.load_verify_locations(settings.RIS_TLS_CA)
    if settings.RIS_TLS_CERTIFICATE:
        context.load_cert_chain(settings.RIS_TLS_CERTIFICATE, settings.RIS_TLS_KEY or None)
    return context
