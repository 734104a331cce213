"""The search box and the palette: patients, exams by their number, pages and acts, as far as the user may."""

import re
from dataclasses import dataclass, field
from functools import cache

from django.db.models import Q
from django.http import HttpRequest

from ris.accounts.models import User
from ris.accounts.permissions import allowed
from ris.core.names import fold
from ris.desk.chart import Entry, course, entries_of, next_appointments
from ris.desk.context import RAIL, right_of
from ris.orders.access import orders_for
from ris.patients.search import Found, find_patients, parse
from scheduling.models import Appointment

#: Path, words, icon, key.
ACTS = (
    ("/patients/new", "New patient", "plus", ""),
    ("/patients/new?walkin=1", "Walk-in: new patient and order", "plus", "N"),
    ("/schedule?view=list", "Day list to print", "print", ""),
    ("/exams/unmatched", "Match exams of machines", "scan", ""),
    ("/orders?view=codes", "Match exam codes", "inbox", ""),
    ("/supplies", "Supplies in stock", "drop", ""),
    ("/supplies/recall", "Recall a lot", "search", ""),
    ("/password", "Change password", "pen", ""),
)
_WORDS = {"/board": "arrivals", "/rooms": "rooms", "/interfaces": "messages", "/billing/charges": "charges"}


@dataclass(frozen=True)
class Command:
    url: str
    words: str
    icon: str
    key: str


@dataclass(frozen=True)
class PatientRow:
    found: Found
    url: str
    next: Appointment | None


@dataclass
class Results:
    text: str
    patients: list[PatientRow] = field(default_factory=list)
    exams: list[Entry] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    #: What a new patient may be registered as; empty when there is nothing to go by or no right to it.
    new_patient: str = ""
    #: The birth date that was part of the search may be what is wrong.
    by_birth: bool = False

    @property
    def new_name(self) -> str:
        return " ".join(word for word in self.new_patient.split() if not re.search(r"\d", word)).upper()

    @property
    def nothing(self) -> bool:
        return not (self.patients or self.exams or self.commands)


def search(request: HttpRequest, text: str, *, limit: int = 20) -> Results:
    user = request.user
    assert isinstance(user, User)
    text = " ".join(text.split())[:200]
    results = Results(text, commands=_commands(user, text.removeprefix(">").strip()))
    if text.startswith(">") or len(text) < 2:
        return results
    query = parse(text)
    if chart := _chart_of(user):
        found = find_patients(text, limit=limit)
        coming = next_appointments([one.patient for one in found]) if allowed(user, "schedule.view") else {}
        results.patients = [
            PatientRow(one, chart.format(one.patient.pk), coming.get(one.patient.pk)) for one in found
        ]
    if query.numbers and allowed(user, "order.view"):
        wanted = Q(accession_number__in=query.numbers) | Q(placer_order_number__in=query.numbers)
        orders = orders_for(user).filter(wanted).order_by("-pk").prefetch_related(*course())[:5]
        results.exams = [entry for order in orders for entry in entries_of(order) if not entry.missed]
    if query.names and allowed(user, "patient.register"):
        results.new_patient = text
    results.by_birth = bool(query.names and query.born)
    return results


def _chart_of(user: User) -> str:
    """Where a found patient leads: the chart, or for who only guards the trail the access log."""
    if allowed(user, "patient.view"):
        return "/p/{}"
    return "/p/{}/access-log" if allowed(user, "audit.view") else ""


@cache
def _offered() -> tuple[tuple[Command, str], ...]:
    """Every page and act with the right it asks for."""
    pages = [(path, word, icon, key) for path, word, icon, key in RAIL]
    known = [
        (Command(path, words, icon, key), right_of(path.partition("?")[0]))
        for path, words, icon, key in [*pages, *ACTS]
    ]
    return tuple((command, right) for command, right in known if right)


def _commands(user: User, text: str) -> list[Command]:
    words = fold(text).split()
    return [
        command
        for command, right in _offered()
        if allowed(user, right)
        and all(any(own.startswith(word) for own in _own_words(command)) for word in words)
    ]


def _own_words(command: Command) -> list[str]:
    return fold(f"{command.words} {_WORDS.get(command.url, '')}").split()
