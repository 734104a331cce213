"""System checks: a wrong setting stops the start with a sentence."""

import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

# PS3.5 9.1: components of digits without leading zeros; 64 characters, of which 25 digits (80 bits) are ours.
_UID_ROOT = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_LONGEST_ROOT = 38


@register("ris")
def department_settings(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    root: str = settings.RIS_UID_ROOT
    if not _UID_ROOT.fullmatch(root) or len(root) > _LONGEST_ROOT:
        found.append(
            Error(
                f"RIS_UID_ROOT is {root!r}; it takes a registered UID root of digits and dots, "
                f"at most {_LONGEST_ROOT} characters, or 2.25.",
                id="ris.E001",
            )
        )
    title: str = settings.RIS_AE_TITLE
    # PS3.5 6.2, VR AE: 16 characters of the default repertoire, no backslash, no control character.
    if not 1 <= len(title.strip()) <= 16 or not re.fullmatch(r"[ -\[\]-~]+", title):
        found.append(
            Error(
                f"RIS_AE_TITLE is {title!r}; it takes 1 to 16 plain characters without a backslash.",
                id="ris.E002",
            )
        )
    if settings.TIME_ZONE != "UTC" or not settings.USE_TZ:
        found.append(Error("TIME_ZONE must stay UTC; each facility has its own time zone.", id="ris.E003"))
    if settings.RIS_KEEP_BYTES_DAYS < 31 or settings.RIS_KEEP_MESSAGES_YEARS < 6:
        found.append(
            Error(
                "RIS_KEEP_BYTES_DAYS takes 31 or more, RIS_KEEP_MESSAGES_YEARS 6 or more.",
                id="ris.E004",
            )
        )
    if not 0 <= settings.RIS_RETENTION_HOUR <= 23:
        found.append(Error("RIS_RETENTION_HOUR is an hour of the day in UTC, 0 to 23.", id="ris.E005"))
    return found
