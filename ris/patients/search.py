"""Finding a patient by what a person types: parts of names, a birth date, any number they are known by.

Names are looked up in `Patient.search` by its trigram index. What finds few patients that way is tried
again with the words of our patients' names that are written or sound alike (`NameWord`).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import and_, or_

from django.db import connection
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When, prefetch_related_objects
from django.db.models.expressions import Combinable

from ris.core.formats import today
from ris.core.names import PersonName, fold
from ris.patients.actions import survivor
from ris.patients.models import Patient, PatientIdentifier

#: With fewer hits than this the spelling is doubted.
_FEW = 5
_MOST_WORDS = 6


@dataclass(frozen=True)
class Query:
    """What was typed, taken apart. Several `born` or `tails` are alternatives."""

    #: Beginnings of words of the name, folded.
    names: tuple[str, ...] = ()
    #: ISO dates, or the beginnings of such.
    born: tuple[str, ...] = ()
    #: Ends of phone or patient numbers.
    tails: tuple[str, ...] = ()
    #: All of it as one number: without what groups it, and as it was typed.
    numbers: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names or self.born or self.tails or self.numbers)


@dataclass
class Found:
    patient: Patient
    #: One of the patient's numbers is what was typed.
    by_number: bool = False
    #: Only alike: another spelling of what was typed.
    similar: bool = False
    #: The name on the retired record that led here.
    formerly: str = ""
    #: Why the row can be taken for another one of the same list.
    alike: str = ""


# ---- reading what was typed


_MONTHS = {
    name[:length]: number
    for number, name in enumerate(
        ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
         "november", "december"], 1)
    for length in (3, len(name))
}  # fmt: skip
_MONTH = "(" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + ")"
_GAP = r"[\s./,-]+"
_DATES = [
    re.compile(rf"\b(?P<d>\d{{1,2}})[\s./-]*(?P<m>{_MONTH})\.?[\s./,-]*(?P<y>\d{{4}}|\d\d)\b"),
    re.compile(rf"\b(?P<m>{_MONTH})\.?[\s./-]*(?P<d>\d{{1,2}}){_GAP}(?P<y>\d{{4}})\b"),
    re.compile(rf"(?<!\d)(?P<y>\d{{4}}){_GAP}(?P<m>\d{{1,2}}){_GAP}(?P<d>\d{{1,2}})(?![\s./-]*\d)"),
    re.compile(rf"(?<!\d)(?<!\d[\s./-])(?P<d>\d{{1,2}}){_GAP}(?P<m>\d{{1,2}}){_GAP}(?P<y>\d{{4}}|\d\d)(?![\s./-]*\d)"),
]  # fmt: skip
_MONTH_OF_YEAR = [
    re.compile(rf"(?P<m>{_MONTH})\.?[\s./-]*(?P<y>\d{{4}})"),
    re.compile(r"(?P<y>\d{4})-(?P<m>\d{2})"),
]


def birth_dates(text: str, on: date | None = None) -> list[str]:
    """The ISO dates, or months or years, that `text` as a whole may mean: 14-Jul-1968, 14 7 68, 19680714, 1968.

    Two for 4/5/1968, since both orders are in use; none when it is no date in the past.
    """
    on = on or today()
    text = " ".join(text.lower().split())
    for pattern in _DATES:
        if found := pattern.fullmatch(text):
            return _days(found, on)
    for pattern in _MONTH_OF_YEAR:
        if (found := pattern.fullmatch(text)) and 1 <= _month(found["m"]) <= 12:
            return [f"{found['y']}-{_month(found['m']):02d}"] if _is_year(found["y"], on) else []
    if re.fullmatch(r"\d{8}", text):
        shapes = [(text[:4], text[4:6], text[6:]), (text[4:], text[2:4], text[:2])]
        days = [_day(int(y), int(m), int(d), on) for y, m, d in shapes if _is_year(y, on)]
        return [day for day in days if day]
    return [text] if re.fullmatch(r"\d{4}", text) and _is_year(text, on) else []


def _month(text: str) -> int:
    return _MONTHS.get(text) or int(text)


def _is_year(text: str, on: date) -> bool:
    return 1850 <= int(text) <= on.year


def _day(year: int, month: int, day: int, on: date) -> str:
    try:
        found = date(year, month, day)
    except ValueError:
        return ""
    return found.isoformat() if date(1850, 1, 1) <= found <= on else ""


def _days(found: re.Match[str], on: date) -> list[str]:
    """Both orders of day and month where both can be."""
    day, year = int(found["d"]), int(found["y"])
    if len(found["y"]) == 2:
        year += 2000 if 2000 + year <= on.year else 1900
    named = found["m"] in _MONTHS
    month = _month(found["m"])
    days = [_day(year, month, day, on)]
    if not named and len(found["y"]) == 4 and not found.string.startswith(found["y"], found.start()):
        days.append(_day(year, day, month, on))
    return list(dict.fromkeys(one for one in days if one))


def parse(text: str, on: date | None = None) -> Query:
    on = on or today()
    # Without the title, which the pages show in brackets.
    typed = " ".join(re.sub(r"[\x00-\x1f]|\([^)]*\)", " ", text[:200]).split())
    rest = re.sub(r"^(mrn|pid|id|tel|phone|mobile|acc|accession)\b[\s:#.]*(?=.*\d)", "", typed.lower())
    if not re.search(r"\d", rest):
        return Query(names=_words(rest))
    collapsed = re.sub(r"[\W_]", "", rest).upper()
    numbers = (collapsed, *{rest, rest.upper(), typed} - {collapsed})
    if not re.search(r"[^\W\d_]", rest):  # digits alone: one number, whatever it is
        ending = (collapsed,) if len(collapsed) >= 4 else ()
        return Query(born=tuple(birth_dates(rest, on)), tails=ending, numbers=numbers)
    born = birth_dates(rest, on)
    if born:
        return Query(born=tuple(born))
    for pattern in _DATES:
        if found := pattern.search(rest):
            born = _days(found, on)
            if not born:  # A day that cannot be is nobody's birthday.
                return Query()
            rest = f"{rest[: found.start()]} {rest[found.end() :]}"
            break
    names: list[str] = []
    tails: list[str] = []
    for token in re.findall(r"\w+", rest):
        if not re.search(r"\d", token):
            names += _words(token)
        elif not token.isdecimal():
            continue  # Letters and digits are a number of somebody's, asked for as a whole.
        elif len(token) == 2:
            born += [year for year in (f"19{token}", f"20{token}") if _is_year(year, on)]
        elif len(token) > 2:
            born += birth_dates(token, on)
            tails.append(token)
    return Query(tuple(names[:_MOST_WORDS]), tuple(born), tuple(tails), numbers)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word[:60] for word in fold(text).split())[:_MOST_WORDS]


# ---- asking


def _born(born: Iterable[str]) -> Iterable[str]:
    for day in born:
        # As typed, and what is known in part only: the month alone, the year alone.
        yield from (f" {day}-" if len(day) < 10 else f" {day} ", f" {day[:7]} ", f" {day[:4]} ")


def _ends(tails: Iterable[str]) -> Iterable[str]:
    for tail in tails:
        number = tail.lstrip("0") if len(tail) >= 9 else tail  # 0 of the trunk, 00 of the country
        yield number if len(number) >= 5 else f"{number} "


def matching(query: Query, *, path: str = "") -> Q:
    """The condition on a patient, or with `path` ("patient__") on what belongs to one."""
    condition = Q()
    for text in dict.fromkeys([*_born(query.born), *_ends(query.tails)]):
        condition |= Q((f"{path}search__contains", text))
    for word in query.names:
        # The trigram index answers even two letters, because the blank before them is one of its trigrams.
        condition &= Q((f"{path}search__contains", f" {word}"))
    return condition


def _likeliest_first(patients: QuerySet[Patient], names: Sequence[str]) -> QuerySet[Patient]:
    """Whole words before beginnings, the family name before the others."""
    if not names:
        return patients.order_by("family", "given", "birth_date", "id")
    score: Combinable = Value(0)
    for word in names:
        score = score + Case(
            When(search__startswith=f" {word} ", then=Value(3)),
            When(search__contains=f" {word} ", then=Value(2)),
            default=Value(0),
            output_field=IntegerField(),
        )
    return patients.annotate(score=score).order_by("-score", "family", "given", "birth_date", "id")


def _patients() -> QuerySet[Patient]:
    return Patient.objects.select_related("merged_into")


def find_patients(text: str, *, limit: int = 20) -> list[Found]:
    """The likeliest first: who has the number, then who is called so, then who is called alike."""
    query = parse(text)
    found: dict[int, Found] = {}

    def take(patients: Iterable[Patient], *, by_number: bool = False, similar: bool = False) -> None:
        for patient in patients:
            living = survivor(patient)
            if living.pk not in found and len(found) < limit:
                formerly = patient.name.display if patient.pk != living.pk else ""
                found[living.pk] = Found(living, by_number, similar, formerly)

    if query.numbers:
        known = PatientIdentifier.objects.filter(value__in=query.numbers).values("patient")
        take(_patients().filter(pk__in=known)[:limit], by_number=True)
    if query.names:
        take(_likeliest_first(_patients().filter(matching(query)), query.names)[:limit])
        # With a date or a number beside the name a hit is no chance one.
        few = 1 if query.born or query.tails else _FEW
        if len(found) < few and any(len(word) > 2 for word in query.names):
            take(_alike(query, limit), similar=True)
    else:
        # A number before a year of birth that reads the same: fewer have it.
        for one in (Query(tails=query.tails), Query(born=query.born)):
            if one:
                take(_likeliest_first(_patients().filter(matching(one)), ())[:limit])
    rows = list(found.values())
    prefetch_related_objects([row.patient for row in rows], "identifiers")
    _mark_alike(rows)
    return rows


def search_patients(text: str, *, limit: int = 20) -> list[Patient]:
    """`find_patients` for those who need no more than the patients."""
    return [one.patient for one in find_patients(text, limit=limit)]


# ---- other spellings


# A word is like what was typed when it, or its beginning, is few letters away, or when both sound the same.
_LIKE = """
SELECT word, levenshtein(word, %(typed)s) AS whole, levenshtein(left(word, length(%(typed)s)), %(typed)s) AS part,
       dmetaphone(word) = dmetaphone(%(typed)s) AS sounds
FROM patients_nameword
WHERE levenshtein_less_equal(word, %(typed)s, %(edits)s) <= %(edits)s
   OR (length(%(typed)s) > 4 AND levenshtein_less_equal(left(word, length(%(typed)s)), %(typed)s, 2) <= 2)
   OR (%(typed)s ~ '^[A-Z]{4,}$' AND dmetaphone(word) = dmetaphone(%(typed)s) AND word ~ '^[A-Z]+$')
"""


def close_words(typed: str, most: int = 12) -> dict[str, float]:
    """Words of our patients' names that `typed` may be meant for, and how far each is off; the nearest `most`."""
    edits = 1 if len(typed) < 4 else 2
    with connection.cursor() as cursor:
        cursor.execute(_LIKE, {"typed": typed, "edits": edits})
        rows = cursor.fetchall()
    distances: dict[str, float] = {}
    for word, whole, part, sounds in rows:
        # Two letters in each other's place are one slip.
        off = min(
            float(whole) if whole != 2 or sorted(word) != sorted(typed) else 1,
            part + 0.5 if part != 2 or sorted(word[: len(typed)]) != sorted(typed) else 1.5,
        )
        if sounds:
            off = min(off, 1 + off / 4)
        if off <= (1.5 if len(typed) < 6 else 2.5):
            distances[word] = off
    return dict(sorted(distances.items(), key=lambda item: (item[1], item[0]))[:most])


def _alike(query: Query, limit: int) -> list[Patient]:
    """Patients whose names are spelled a little differently; O BRIEN finds OBRIEN too."""
    names = query.names
    joined = [(*names[:i], names[i] + names[i + 1], *names[i + 2 :]) for i in range(len(names) - 1)]
    rest = matching(Query(born=query.born, tails=query.tails))
    for words in [names, *joined]:
        others = {word: close_words(word) for word in words if len(word) > 2}
        right = [Q(search__contains=f" {word}") for word in words]
        near = [
            reduce(or_, (Q(search__contains=f" {other} ") for other in others.get(word, ())), one)
            for word, one in zip(words, right, strict=True)
        ]
        # One slip is likelier than two, and has fewer answers.
        one_slip = reduce(
            or_, (reduce(and_, [*right[:i], near[i], *right[i + 1 :]]) for i in range(len(words)))
        )
        for condition in (one_slip, reduce(and_, near))[: len(words)]:
            rows = list(_patients().filter(rest & condition)[:200])
            if rows:
                return sorted(rows, key=lambda row: (_distance(row, others), row.family, row.given))[:limit]
    return []


def _distance(patient: Patient, others: dict[str, dict[str, float]]) -> float:
    own = patient.search.split()
    return sum(
        0 if any(word.startswith(typed) for word in own)
        else min((off for word, off in close.items() if word in own), default=3)
        for typed, close in others.items()
    )  # fmt: skip


# ---- who can be taken for whom


def _mark_alike(rows: list[Found]) -> None:
    """Two of one list with the same family name who share the given name, or its beginning and the birth year."""
    for one in rows:
        for other in rows:
            if one is other or fold(one.patient.family) != fold(other.patient.family):
                continue
            given, others = fold(one.patient.given), fold(other.patient.given)
            same_year = one.patient.birth_date[:4] == other.patient.birth_date[:4] != ""
            if given == others and same_year:
                one.alike = "Same name and year"
            elif (given[:2] == others[:2] and same_year) or given == others:
                one.alike = one.alike or ("Similar name and year" if same_year else "Same name")


def likely_same(name: PersonName, birth_date: str = "", *, limit: int = 6) -> list[Patient]:
    """Registered patients whom a new one of this name and birth date may be."""
    family, given = _words(name.family), _words(name.given)[:1]
    if not family:
        return []
    year = birth_date[:4]
    called_so = Query(names=family + given)
    candidates = list(_patients().filter(matching(called_so))[:50]) + _alike(called_so, 50)
    if len(birth_date) == 10:
        # The same day of birth and family name: a second given name, a nickname, a slip.
        candidates += _patients().filter(matching(Query(names=family, born=(birth_date,))))[:50]
    unique = {patient.pk: patient for patient in candidates if patient.merged_into_id is None}
    fitting = [
        patient
        for patient in unique.values()
        if not year or not patient.birth_date or abs(int(patient.birth_date[:4]) - int(year)) <= 1
        or patient.birth_date[4:] == birth_date[4:] != ""
    ]  # fmt: skip
    likeliest = sorted(fitting, key=lambda patient: (patient.birth_date != birth_date, patient.family))[
        :limit
    ]
    prefetch_related_objects(likeliest, "identifiers")
    return likeliest
