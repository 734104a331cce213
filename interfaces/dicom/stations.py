"""Who may call: the active stations of the department from their addresses, with their certificates; in demo and test
anybody on this machine."""

import asyncio
import ipaddress
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from interfaces.dicom.charsets import UnknownCharacterSet
from interfaces.dicom.database import Away, Database
from interfaces.dicom.profiles import UNTOLD, Profile
from interfaces.dicom.standin import Copy
from interfaces.models import Endpoint, Protocol
from ris.department.models import Facility, Room, Station

log = logging.getLogger("lightbox.dicom")

#: How long a station that was switched off may still be let in. Any title not known is looked up at once.
FRESH_SECONDS = 2.0
#: Of a station, all but when it was bound to what.
_COLUMNS = [
    field.attname
    for field in Station._meta.concrete_fields
    if field.name not in {"room", "certificate_ends_at"}
]


@dataclass(frozen=True, slots=True)
class Peer:
    """What a peer has shown of itself."""

    #: The calling AE title it claims.
    title: str
    address: str
    #: SHA-256 of its certificate; "" in clear text.
    certificate: str


@dataclass(frozen=True, slots=True)
class Caller:
    ae_title: str
    profile: Profile = UNTOLD
    #: Where it may call from; none: anywhere. This machine itself may call as any of them, as the previews do.
    addresses: tuple[str, ...] = ()
    certificate: str = ""

    def is_it(self, peer: Peer) -> bool:
        if self.certificate and self.certificate != peer.certificate:
            return False
        return not self.addresses or _is_loopback(peer.address) or _is_within(peer.address, self.addresses)


class Stations:
    """The calling AE titles we accept (PS3.8 table 9-21: others are rejected 1/1/3)."""

    def __init__(self, database: Database, copy: Copy) -> None:
        self._database = database
        self._copy = copy
        self._open_to_loopback = settings.RIS_ENV in {"demo", "test"}
        self._callers: dict[str, Caller] = {}
        self._read_at = float("-inf")

    def known(self, peer: Peer) -> Caller | None:
        """The caller, or None when the database has to be asked."""
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            return None
        return self._find(peer)

    async def look_up(self, peer: Peer) -> Caller | None:
        """Read the stations anew, and say who calls. None: nobody we know."""
        try:
            known = await self._database.read(rows)
            archives = await self._database.read(_archives)
        except Away:
            known, archives = (await asyncio.to_thread(self._copy.load)).stations, {}
        self._callers = archives | callers(known)
        self._read_at = time.monotonic()
        return self._find(peer)

    def _find(self, peer: Peer) -> Caller | None:
        caller = self._callers.get(peer.title)
        if peer.certificate and any(
            one.certificate == peer.certificate for one in self._callers.values() if one is not caller
        ):
            return None  # another station's certificate
        if caller is not None:
            return caller if caller.is_it(peer) else None
        if self._open_to_loopback and peer.title and _is_loopback(peer.address):
            return Caller(peer.title)
        return None


def rows() -> list[dict[str, Any]]:
    """The active stations in values that JSON knows."""
    found = Station.objects.filter(active=True)
    return [
        {**row, "timezone": row["room__facility__timezone"]}
        for row in found.values(*_COLUMNS, "room__facility__timezone")
    ]


def callers(stations: list[dict[str, Any]]) -> dict[str, Caller]:
    found = {}
    for values in stations:
        facility = Facility(timezone=values["timezone"])
        plain = {name: values[name] for name in _COLUMNS}
        station = Station(**plain, room=Room(facility=facility))
        found[station.ae_title] = Caller(
            station.ae_title,
            _profile(station),
            tuple(station.allowed_addresses),
            station.certificate_fingerprint,
        )
    return found


def _profile(station: Station) -> Profile:
    profile = Profile.of(station)
    try:
        profile.encoder()
    except UnknownCharacterSet:
        log.warning("%s: character set %r is unknown; it is sent UTF-8", station, station.character_set)
        return replace(profile, character_set="")
    return profile


def _archives() -> dict[str, Caller]:
    """Partners that call back: with the report of a storage commitment, or with key objects."""
    titles = Endpoint.objects.filter(protocol=Protocol.DICOM, active=True).exclude(ae_title="")
    return {title: Caller(title) for title in titles.values_list("ae_title", flat=True)}


def _is_within(address: str, allowed: tuple[str, ...]) -> bool:
    try:
        own = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    # A socket for both families shows an IPv4 peer as ::ffff:10.4.0.17.
    own = getattr(own, "ipv4_mapped", None) or own
    return any(own in ipaddress.ip_network(one, strict=False) for one in allowed)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
