"""Words, dates, numbers and small marks of the pages (ux.md 3.3, 3.4, 3.6); formatting only."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from ris.core import formats
from ris.core.names import PersonName

register = template.Library()

for _name in ("day", "weekday", "clock", "moment", "minutes", "relative", "span", "age", "born"):
    register.filter(_name, getattr(formats, _name))


@register.filter
def phone(value: str) -> str:
    return formats.phone(value or "")


@register.filter
def sex(value: str) -> str:
    return formats.SEXES.get(value or "", "Not known")


@register.filter
def sex_short(value: str) -> str:
    return value if value and value != "U" else "sex not known"


def _name_of(person: Any) -> PersonName:
    if isinstance(person, PersonName):
        return person
    name = getattr(person, "name", None)
    if isinstance(name, PersonName):
        return name
    if hasattr(person, "family"):
        return PersonName(person.family, person.given, prefix=getattr(person, "prefix", ""))
    return PersonName(person.last_name or person.username, person.first_name)


@register.filter
def person(value: Any) -> str:
    """OKAFOR, Adaeze (Mrs)."""
    return _name_of(value).display if value else ""


@register.filter
def person_short(value: Any) -> str:
    """OKAFOR, Adaeze."""
    if not value:
        return ""
    name = _name_of(value)
    return PersonName(name.family, name.given).display


@register.filter
def person_title(value: Any) -> str:
    """(Mrs), for a row that sets the title in lighter ink."""
    prefix = _name_of(value).prefix if value else ""
    return f"({prefix})" if prefix else ""


def _identifier(value: str, shown: str) -> SafeString:
    # Copying takes the value, not the spaces people read it by (lightbox.js).
    return format_html('<data class="id" value="{}">{}</data>', value, shown) if value else mark_safe("")


@register.filter
def mrn(value: str) -> SafeString:
    return _identifier(value or "", formats.mrn(value or ""))


@register.filter
def accession(value: str) -> SafeString:
    return _identifier(value or "", formats.accession(value or ""))


@register.simple_tag
def icon(name: str, size: int = 16, label: str = "") -> SafeString:
    """An icon of the sprite; silent unless it has a `label`, since a word stands beside it."""
    known = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html(
        '<svg class="i i{}" {}><use href="{}#{}"></use></svg>', size, known, static("icons.svg"), name
    )


#: Stored status -> word, icon, tone. One word for one status in every place (ux.md 3.4).
STATUSES = {
    "requested": ("Requested", "requested", "plain"),
    "held": ("Held", "held", "wait"),
    "scheduled": ("Scheduled", "scheduled", "plain"),
    "booked": ("Scheduled", "scheduled", "plain"),
    "confirmed": ("Confirmed", "confirmed", "plain"),
    "late": ("Late", "late", "stop"),
    "arrived": ("Arrived", "arrived", "wait"),
    "ready": ("Ready", "ready", "info"),
    "started": ("Started", "started", "live"),
    "in_progress": ("Started", "started", "live"),
    "completed": ("Completed", "completed", "ok"),
    "performed": ("Completed", "completed", "ok"),
    "fulfilled": ("Completed", "completed", "ok"),
    "discontinued": ("Discontinued", "stopped", "stop"),
    "unread": ("Unread", "scheduled", "plain"),
    "reading": ("Reading", "reading", "plain"),
    "draft": ("Reading", "reading", "plain"),
    "preliminary": ("Preliminary", "prelim", "info"),
    "final": ("Final", "final", "ok"),
    "reported": ("Final", "final", "ok"),
    "addended": ("Addended", "addended", "ok"),
    "corrected": ("Corrected", "corrected", "ok"),
    "withdrawn": ("Withdrawn", "stopped", "stop"),
    "cancelled": ("Cancelled", "cancelled", "plain"),
    "no_show": ("No-show", "noshow", "plain"),
    # Protocols.
    "wanted": ("Protocol wanted", "clock", "wait"),
    "asked": ("Referrer asked", "send", "wait"),
    "approved": ("Approved", "check", "ok"),
    "bypassed": ("By rule", "check", "plain"),
    "lapsed": ("No longer needed", "cancelled", "plain"),
    # Visits.
    "preadmit": ("Pre-admitted", "scheduled", "plain"),
    "discharged": ("Discharged", "completed", "plain"),
    # Money.
    "captured": ("New", "plus", "info"),
    "sent": ("Sent", "send", "ok"),
    "voided": ("Voided", "cancelled", "plain"),
    "rejected": ("Rejected", "stopped", "stop"),
    "denied": ("Denied", "stopped", "stop"),
    "paid": ("Paid", "check", "ok"),
    "closed": ("Closed", "completed", "plain"),
    # Messages and channels.
    "received": ("Received", "inbox", "info"),
    "processed": ("Done", "check", "ok"),
    "queued": ("Waiting", "clock", "info"),
    "claimed": ("Sending", "send", "info"),
    "accepted": ("Accepted", "check", "ok"),
    "failed": ("Failed", "x", "stop"),
    "up": ("Up", "check", "ok"),
    "slow": ("Slow", "warn", "wait"),
    "stopped": ("Stopped", "x", "stop"),
    "paused": ("Paused", "pause", "wait"),
    "active": ("Active", "check", "ok"),
    "inactive": ("Off", "cancelled", "plain"),
}


@register.filter
def status_word(value: str) -> str:
    return STATUSES[value][0] if value in STATUSES else (value or "").replace("_", " ").capitalize()


@register.simple_tag
def status(value: str, tone: str = "", word: str = "") -> SafeString:
    """The status chip: shape, word and colour."""
    shown, mark, usual = STATUSES.get(value, (status_word(value), "scheduled", "plain"))
    return format_html('<span class="st {}">{}{}</span>', tone or usual, icon(mark, 14), word or shown)


#: Order priorities above routine (HL7 tables 0027 and 0485): word, icon, tone.
PRIORITIES = {
    "stat": ("STAT", "up2", "stat"),
    "asap": ("Urgent", "up1", "urg"),
    "preop": ("Pre-op", "up1", "urg"),
    "callback": ("Call back", "phone", "urg"),
    "timed": ("Timed", "clock", "urg"),
}


@register.simple_tag
def priority(value: str) -> SafeString:
    """The lozenge of a priority above routine; routine has no ink."""
    if value not in PRIORITIES:
        return mark_safe("")
    word, mark, tone = PRIORITIES[value]
    return format_html('<span class="pri {}">{}{}</span>', tone, icon(mark, 12), word)


@register.simple_tag
def flag(mark: str, text: str, tone: str = "") -> SafeString:
    return format_html('<span class="flag {}">{}{}</span>', tone, icon(mark, 12), text)


@register.simple_tag
def meter(value: float, top: float, tone: str = "info", label: str = "") -> SafeString:
    """A bar of `value` out of `top`, never longer than full."""
    top = top or 1
    return format_html(
        '<meter class="{}" min="0" max="{}" value="{}" aria-label="{}">{} of {}</meter>',
        tone, top, min(max(value, 0), top), label or f"{value} of {top}", value, top,
    )  # fmt: skip


#: Ready check -> icon; state -> class and word.
_CHECKS = {"Identity": "idc", "Forms": "doc", "Safety": "shield", "Authorization": "check", "Payment": "coin",
           "Side": "swap", "Reason": "doc", "Referrer": "people"}  # fmt: skip
_CHECK_STATES = {
    "none": "not needed",
    "todo": "to do",
    "progress": "in progress",
    "done": "done",
    "stop": "stopped",
}


@register.simple_tag
def ready(checks: Iterable[tuple[str, str]]) -> SafeString:
    """The row of ready checks: (what, state), state one of none, todo, progress, done, stop."""
    marks = format_html_join(
        "",
        '<li class="{}" title="{}: {}">{}<span class="vh">{} {}</span></li>',
        (
            (
                state,
                what,
                _CHECK_STATES[state],
                icon(_CHECKS.get(what, "check"), 14),
                what,
                _CHECK_STATES[state],
            )
            for what, state in checks
        ),
    )
    return format_html('<ul class="ready" role="list">{}</ul>', marks)


@register.simple_tag
def kbd(*keys: str) -> SafeString:
    return format_html_join(" ", "<kbd>{}</kbd>", ((key,) for key in keys))


@register.simple_tag
def hint(*keys_and_words: str) -> SafeString:
    """A key and what it does, for the bar at the foot: {% hint "J" "K" "move" %}."""
    *keys, words = keys_and_words
    return format_html('<span class="hint">{} {}</span>', kbd(*keys), words)


@register.simple_tag
def cmd(name: str, key: str = "") -> SafeString:
    """Declare a command on a link or button: the key handler, the key sheet and tests read it from there."""
    if not key:
        return format_html('data-cmd="{}"', name)
    if " " in key:  # ARIA knows no sequences.
        return format_html('data-cmd="{}" data-key="{}"', name, key)
    return format_html(
        'data-cmd="{}" data-key="{}" aria-keyshortcuts="{}"', name, key, key.replace("Ctrl", "Control")
    )


@register.simple_tag
def idempotency() -> SafeString:
    """The key by which a form sent twice counts once (`FormKeyMiddleware`)."""
    return format_html('<input type="hidden" name="form_key" value="{}">', uuid.uuid4())


@register.simple_tag
def at(start: float, length: float) -> str:
    """Grid classes of a block that starts `start` minutes after the grid and lasts `length`."""
    first = max(round(start / 5), 0)
    return f"t-{first} h-{max(round((start + length) / 5) - first, 1)}"


@register.filter
def iso(value: datetime | None) -> str:
    """For <time datetime>."""
    return value.isoformat() if value else ""
