"""Can a partner be reached? A connection and nothing more: no message is sent, so nothing can come of it."""

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from interfaces.hl7.line import Line
from interfaces.models import Direction, Endpoint, InboundMessage, Protocol
from ris.core.formats import moment


@dataclass(frozen=True, slots=True)
class Probe:
    reached: bool
    words: str


def probe(endpoint: Endpoint) -> Probe:
    """Connect as the sender would (TLS and certificate included), and close again."""
    if endpoint.direction == Direction.IN:
        return _heard(endpoint)
    if endpoint.protocol == Protocol.DICOM:
        return _echo(endpoint)
    place = (_address(endpoint), endpoint.tls, endpoint.certificate_fingerprint)
    began = time.monotonic()
    try:
        asyncio.run(_open_and_close(place))
    except (OSError, ValueError) as error:
        return Probe(False, f"{endpoint.name} cannot be reached at {place[0]}: {error}")
    took = round((time.monotonic() - began) * 1000)
    how = "a TLS connection" if endpoint.tls else "a connection"
    return Probe(True, f"{endpoint.name} takes {how} at {place[0]} ({took} ms); no message was sent")


def _echo(endpoint: Endpoint) -> Probe:
    """C-ECHO: the partner knows our AE title and takes associations."""
    from interfaces.dicom.scu import Line as Association
    from interfaces.dicom.scu import Unreachable

    began = time.monotonic()
    try:
        with Association(endpoint, [], seconds=5.0) as association:
            association.echo()
    except Unreachable as trouble:
        return Probe(False, f"{endpoint.name} cannot be reached: {trouble}")
    took = round((time.monotonic() - began) * 1000)
    return Probe(True, f"{endpoint.name} answers C-ECHO as {endpoint.ae_title} ({took} ms); nothing was sent")


async def _open_and_close(place: tuple[str, bool, str]) -> None:
    line = await Line.open(place)
    line.close()


def _address(endpoint: Endpoint) -> str:
    if endpoint.protocol != Protocol.DICOMWEB:
        return endpoint.address
    url = urlsplit(endpoint.address)
    return f"{url.hostname}:{url.port or (443 if url.scheme == 'https' else 80)}"


def _heard(endpoint: Endpoint) -> Probe:
    """We cannot call who calls us; what there is to know is when it last did."""
    last = InboundMessage.objects.filter(endpoint=endpoint).order_by("-pk").first()
    if last is None:
        return Probe(False, f"{endpoint.name} connects to us and never has so far")
    return Probe(True, f"{endpoint.name} connects to us; its last message came {moment(last.received_at)}")
