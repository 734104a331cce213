"""Who may call: the active stations of the department, and in demo and test anybody on this machine."""

import ipaddress
import logging
import time
from dataclasses import dataclass

from django.conf import settings

from interfaces.dicom.charsets import Encoder, UnknownCharacterSet
from interfaces.dicom.database import Database
from ris.department.models import Station

log = logging.getLogger("lightbox.dicom")

#: How long a station that was switched off may still be let in. Any title not known is looked up at once.
_FRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Caller:
    ae_title: str
    #: Specific Character Set of what it is sent; blank: UTF-8 where needed.
    character_set: str = ""


class Stations:
    """The calling AE titles we accept (PS3.8 table 9-21: others are rejected 1/1/3)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open_to_loopback = settings.RIS_ENV in {"demo", "test"}
        self._callers: dict[str, Caller] = {}
        self._read_at = float("-inf")

    def known(self, title: str, address: str) -> Caller | None:
        """The caller, or None when the database has to be asked."""
        if time.monotonic() - self._read_at > _FRESH_SECONDS:
            return None
        return self._callers.get(title) or self._guest(title, address)

    async def look_up(self, title: str, address: str) -> Caller | None:
        """Read the stations anew, and say who calls. None: nobody we know."""
        self._callers = await self._database.read(_active_stations)
        self._read_at = time.monotonic()
        return self._callers.get(title) or self._guest(title, address)

    def _guest(self, title: str, address: str) -> Caller | None:
        if not (self._open_to_loopback and title and _is_loopback(address)):
            return None
        return Caller(title)


def _active_stations() -> dict[str, Caller]:
    stations = Station.objects.filter(active=True).values_list("ae_title", "character_set")
    return {
        title.strip(): Caller(title.strip(), _usable(character_set, title))
        for title, character_set in stations
    }


def _usable(character_set: str, title: str) -> str:
    try:
        Encoder(character_set)
    except UnknownCharacterSet:
        log.warning("station %s: character set %r is unknown; it is sent UTF-8", title, character_set)
        return ""
    return character_set


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
