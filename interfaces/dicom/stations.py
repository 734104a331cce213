"""Who may call: the active stations of the department from their addresses, with their certificates; in demo and test
anybody on this machine."""

import ipaddress
import logging
import time
from dataclasses import dataclass, replace

from django.conf import settings

from interfaces.dicom.charsets import UnknownCharacterSet
from interfaces.dicom.database import Database
from interfaces.dicom.profiles import UNTOLD, Profile
from ris.department.models import Station

log = logging.getLogger("lightbox.dicom")

#: How long a station that was switched off may still be let in. Any title not known is looked up at once.
_FRESH_SECONDS = 2.0


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

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open_to_loopback = settings.RIS_ENV in {"demo", "test"}
        self._callers: dict[str, Caller] = {}
        self._read_at = float("-inf")

    def known(self, peer: Peer) -> Caller | None:
        """The caller, or None when the database has to be asked."""
        if time.monotonic() - self._read_at > _FRESH_SECONDS:
            return None
        return self._find(peer)

    async def look_up(self, peer: Peer) -> Caller | None:
        """Read the stations anew, and say who calls. None: nobody we know."""
        self._callers = await self._database.read(_active_stations)
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


def _active_stations() -> dict[str, Caller]:
    stations = Station.objects.filter(active=True).select_related("room__facility")
    return {
        station.ae_title: Caller(
            station.ae_title,
            _profile(station),
            tuple(station.allowed_addresses),
            station.certificate_fingerprint,
        )
        for station in stations
    }


def _profile(station: Station) -> Profile:
    profile = Profile.of(station)
    try:
        profile.encoder()
    except UnknownCharacterSet:
        log.warning("%s: character set %r is unknown; it is sent UTF-8", station, station.character_set)
        return replace(profile, character_set="")
    return profile


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
