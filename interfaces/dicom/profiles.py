"""What a station's settings make of its worklist: which steps it sees unasked, and how it is told of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone
from pydicom.datadict import tag_for_keyword

from interfaces.dicom.charsets import Encoder
from interfaces.dicom.matching import Criteria, bound_start, match_station
from ris.department.models import Letters, Offset, Shown, Station, shown_before_the_start

#: Keys that name one patient or one exam; their answer is not narrowed by days or machine.
_NAME_ONE = frozenset({0x00080050, 0x00100020, 0x0020000D, 0x00400009, 0x00401001})
_STATION, _START_DATE = 0x00400001, 0x00400002


@dataclass(frozen=True, slots=True)
class Manner:
    """How answers are written."""

    withheld: frozenset[int] = frozenset()
    offset: str = Offset.ASKED
    #: Names and descriptions have at most so many characters; 0: as many as their VR.
    longest_text: int = 0
    capitals: bool = False


PLAIN_MANNER = Manner()


@dataclass(frozen=True, slots=True)
class Profile:
    """The settings of a station; by default those of one that nobody told us anything about."""

    character_set: str = ""
    without_accents: bool = False
    manner: Manner = PLAIN_MANNER
    #: Scheduled Procedure Step Status (0040,0020) of what it may see.
    shown: tuple[str, ...] = tuple(shown_before_the_start())
    #: Calling AE title, when only its own steps are shown.
    only: str = ""
    days_before: int | None = None
    days_after: int | None = None
    zone: str = ""

    @classmethod
    def of(cls, station: Station) -> "Profile":
        return cls(
            character_set=station.character_set,
            without_accents=station.letters != Letters.ALL,
            manner=Manner(
                withheld=frozenset(tag for keyword in station.withheld if (tag := tag_for_keyword(keyword))),
                offset=station.timezone_offset,
                longest_text=station.longest_text or 0,
                capitals=station.letters == Letters.CAPITALS,
            ),
            # In the order of the terms: the statement is planned once for each text.
            shown=tuple(term for term in Shown.values if term in station.shown),
            only=station.ae_title if station.own_steps_only else "",
            days_before=station.days_before,
            days_after=station.days_after,
            zone=station.room.facility.timezone,
        )

    def encoder(self) -> Encoder:
        return Encoder(self.character_set, without_accents=self.without_accents)

    def narrow(self, criteria: Criteria) -> None:
        """Add what the station asks for without saying so; never against a key that says otherwise (MWL-25)."""
        criteria.shown = self.shown
        if self.only_own(criteria):
            match_station(criteria, [self.only])
        first, last = self.days(criteria)
        if first is not None:
            bound_start(criteria, ">=", first)
        if last is not None:
            bound_start(criteria, "<", last)

    def only_own(self, criteria: Criteria) -> bool:
        """Whether only steps of the machine itself are meant."""
        used = set(criteria.used)
        return bool(self.only) and not used & _NAME_ONE and _STATION not in used

    def days(self, criteria: Criteria) -> tuple[datetime | None, datetime | None]:
        """The first moment of the days that are meant, and the first one after them, on the facility's clock."""
        if set(criteria.used) & {*_NAME_ONE, _START_DATE}:
            return None, None
        zone = _zone(self.zone or settings.RIS_FACILITY_TZ)
        midnight = datetime.combine(timezone.now().astimezone(zone).date(), datetime.min.time())
        return (
            midnight - timedelta(days=self.days_before) if self.days_before is not None else None,
            midnight + timedelta(days=self.days_after + 1) if self.days_after is not None else None,
        )


UNTOLD = Profile()


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
