"""Changes to what the department is and offers."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Model

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, MissingData
from ris.core.names import PersonName, fold
from ris.core.tables import unguarded
from ris.department.models import CodeMapping, Laterality, Modality, Practitioner, ProcedureType
from ris.events.outbox import record


@transaction.atomic
def save_record(instance: Model, *, by: User) -> Model:
    """Save a facility, room, station, practitioner or exam type that a validated form holds."""
    require(by, "department.change")
    if isinstance(instance, ProcedureType):
        instance.search = search_text(instance)
    created = instance.pk is None
    instance.full_clean()
    instance.save()
    noun = instance._meta.model_name
    record(
        f"department.{'added' if created else 'changed'}",
        f"department:{noun}:{instance.pk}",
        by=by,
        record=instance.pk,
    )
    return instance


def search_text(procedure_type: ProcedureType) -> str:
    words = [procedure_type.code, procedure_type.name, procedure_type.body_part, *procedure_type.synonyms]
    return fold(" ".join(words))


@transaction.atomic
def know_practitioner(name: PersonName, *, identifier: str, authority: str, by: User) -> Practitioner:
    """The practitioner a message names; added when new. An empty identifier is made of the name."""
    key = identifier or fold(f"{name.family} {name.given}").replace(" ", ".")
    if not key:
        raise MissingData("The practitioner has neither an identifier nor a name.")
    person, _ = Practitioner.objects.get_or_create(
        authority=authority,
        identifier=key,
        defaults={
            "family": name.family or key,
            "given": name.given,
            "middle": name.middle,
            "prefix": name.prefix,
            "suffix": name.suffix,
        },
    )
    return person


def find_procedure_type(code: str, *, sender: str = "") -> ProcedureType | None:
    """The exam that `code` of `sender` means: a mapping made by a person first, then our own code."""
    mapping = CodeMapping.objects.select_related("procedure_type").filter(sender=sender, code=code).first()
    if mapping:
        return mapping.procedure_type
    return ProcedureType.objects.filter(code=code, active=True).first()


COLUMNS = [
    "code", "name", "synonyms", "modality", "body_part", "laterality", "duration_minutes", "prep", "contrast",
    "technical_code", "professional_code", "active",
]  # fmt: skip


@dataclass
class CatalogueChange:
    """What importing a row would do: `before` is empty for a new exam."""

    line: int
    code: str
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)


@dataclass
class CatalogueDiff:
    changes: list[CatalogueChange] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unchanged: int = 0


def catalogue_diff(text: str) -> CatalogueDiff:
    """Compare a catalogue in CSV (header: COLUMNS, synonyms separated by "|") with what is there; changes nothing."""
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff").replace("\r\n", "\n")))
    diff = CatalogueDiff()
    try:
        lines = [(reader.line_num, row) for row in reader]
    except csv.Error as refusal:
        diff.problems.append(f"Line {reader.line_num}: this is not CSV ({refusal}).")
        return diff
    missing = {"code", "name", "modality"} - set(reader.fieldnames or [])
    unknown = set(reader.fieldnames or []) - set(COLUMNS)
    if missing or unknown:
        for name in sorted(missing):
            diff.problems.append(f"Line 1: the column {name} is missing.")
        for name in sorted(filter(None, unknown)):
            diff.problems.append(f"Line 1: the column {name} is not known.")
        return diff
    existing = {exam.code: exam for exam in ProcedureType.objects.all()}
    seen: set[str] = set()
    for line, row in lines:
        values = {key: unguarded((value or "").strip()) for key, value in row.items() if key in COLUMNS}
        code = values["code"]
        problem = _row_problem(values, seen)
        if problem:
            diff.problems.append(f"Line {line}: {problem}")
            continue
        seen.add(code)
        known = existing.get(code)
        before = {name: as_text(known, name) for name in values} if known else {}
        changed = {name: value for name, value in values.items() if before.get(name) != value}
        if changed:
            diff.changes.append(
                CatalogueChange(
                    line, code, {name: before[name] for name in changed} if known else {}, changed
                )
            )
        else:
            diff.unchanged += 1
    return diff


def _row_problem(values: Mapping[str, str], seen: set[str]) -> str:
    code = values["code"]
    if not code or len(code) > 16:
        return "the code is empty or longer than 16 characters."
    if code in seen:
        return f"the code {code} stands twice."
    if not values["name"]:
        return f"{code} has no name."
    if values["modality"] not in Modality.values:
        return f"{code}: modality {values['modality']!r} is not one of {', '.join(Modality.values)}."
    if values.get("laterality", "none") not in Laterality.values:
        return f"{code}: laterality takes none, optional or required."
    minutes = values.get("duration_minutes", "30")
    if not (minutes.isascii() and minutes.isdecimal()) or not 5 <= int(minutes) <= 480:
        return f"{code}: the duration is 5 to 480 minutes."
    if any(values.get(name, "no") not in {"yes", "no"} for name in ("contrast", "active")):
        return f"{code}: contrast and active take yes or no."
    for name in ("name", "body_part", "technical_code", "professional_code"):
        limit = ProcedureType._meta.get_field(name).max_length  # type: ignore[union-attr]  # all are CharFields
        if limit and len(values.get(name, "")) > limit:
            return f"{code}: {name} is longer than {limit} characters."
    if any(len(word.strip()) > 64 for word in values.get("synonyms", "").split("|")):
        return f"{code}: a synonym is longer than 64 characters."
    return ""


def as_text(exam: ProcedureType, name: str) -> str:
    """A column of the catalogue as the CSV writes it."""
    value = getattr(exam, name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "|".join(value) if isinstance(value, list) else str(value)


@transaction.atomic
def import_catalogue(text: str, *, by: User) -> CatalogueDiff:
    """Apply a catalogue in CSV, all of it or nothing. Raises BadValue with the first problem."""
    require(by, "department.change")
    diff = catalogue_diff(text)
    if diff.problems:
        raise BadValue(diff.problems[0])
    for change in diff.changes:
        exam = ProcedureType.objects.filter(code=change.code).first() or ProcedureType(code=change.code)
        for name, value in change.after.items():
            setattr(exam, name, _from_text(name, value))
        save_record(exam, by=by)
    return diff


def _from_text(name: str, value: str) -> Any:
    if name == "synonyms":
        return [word.strip() for word in value.split("|") if word.strip()]
    if name in {"contrast", "active"}:
        return value == "yes"
    return int(value) if name == "duration_minutes" else value
