"""The catalogue comes and goes as CSV; what would change is shown before it does."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from ris.department.actions import catalogue_diff, import_catalogue
from ris.department.models import ProcedureType
from ris.department.worklists import catalogue_csv
from ris.events.models import Event
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db
HEADER = "code,name,modality,duration_minutes,synonyms,contrast\n"


@pytest.fixture
def ada(client: Client) -> Client:
    client.force_login(person("ada"))
    return client


def test_what_is_exported_changes_nothing_when_it_comes_back() -> None:
    makers.make_procedure_type(prep="-Nothing to eat.\nDrink water.", synonyms=["brain scan", "=cat"])
    text = catalogue_csv()
    assert "'-Nothing" in text
    diff = catalogue_diff(text)
    assert (diff.changes, diff.problems, diff.unchanged) == ([], [], 1)


def test_a_difference_names_line_column_before_and_after() -> None:
    makers.make_procedure_type("CTHEAD")
    diff = catalogue_diff(f"{HEADER}CTHEAD,CT head plain,CT,20,,no\nMRKNEE,MR knee,MR,30,knee scan,no\n")
    changed, new = diff.changes
    assert (changed.line, changed.before["duration_minutes"], changed.after["duration_minutes"]) == (
        2,
        "30",
        "20",
    )
    assert (new.line, new.code, new.before, new.after["synonyms"]) == (3, "MRKNEE", {}, "knee scan")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",Nameless,CT,20,,no", "the code is empty"),
        ("A,,CT,20,,no", "A has no name"),
        ("A,Exam,XX,20,,no", "modality 'XX' is not one of"),
        ("A,Exam,CT,4,,no", "5 to 480 minutes"),
        ("A,Exam,CT,²,,no", "5 to 480 minutes"),
        ("A,Exam,CT,20,,maybe", "take yes or no"),
        (f"A,{'x' * 65},CT,20,,no", "name is longer than 64"),
        (f"A,Exam,CT,20,{'s' * 65},no", "a synonym is longer than 64"),
        ("A,Exam,CT,20,,no\nA,Exam,CT,20,,no", "the code A stands twice"),
    ],
)
def test_a_line_that_cannot_be_read_says_why_and_nothing_is_imported(
    row: str, problem: str, ada: Client
) -> None:
    diff = catalogue_diff(HEADER + row)
    assert problem in diff.problems[0]
    page = ada.post("/admin/catalogue/import", {"text": HEADER + row})
    assert "Put these lines right" in page.content.decode()
    assert not ProcedureType.objects.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("code,name\nA,B\n", "the column modality is missing"),
        ("code,name,modality,price\n", "the column price is not known"),
        ('code,name,modality\n"' + "x" * 140_000, "this is not CSV"),
    ],
)
def test_a_table_of_another_kind_is_refused_in_words(text: str, problem: str) -> None:
    assert problem in catalogue_diff(text).problems[0]


def test_an_administrator_sees_the_difference_and_then_applies_just_that(ada: Client) -> None:
    makers.make_procedure_type("CTHEAD")
    sent = SimpleUploadedFile("c.csv", f"\ufeff{HEADER}CTHEAD,CT head,CT,20,,no\n".encode())
    shown = ada.post("/admin/catalogue/import", {"file": sent})
    page = shown.content.decode()
    assert "<del>30</del>" in page
    assert "<ins>20</ins>" in page
    assert ProcedureType.objects.get().duration_minutes == 30
    agreed = {"text": shown.context["text"], "seen": shown.context["seen"], "apply": "1"}
    assert ada.post("/admin/catalogue/import", agreed).status_code == 303
    assert ProcedureType.objects.get().duration_minutes == 20


def test_a_catalogue_changed_meanwhile_is_shown_again(ada: Client) -> None:
    makers.make_procedure_type("CTHEAD")
    text = f"{HEADER}CTHEAD,CT head,CT,20,,no\n"
    shown = ada.post("/admin/catalogue/import", {"text": text})
    import_catalogue(f"{HEADER}CTHEAD,CT head,CT,45,,no\n", by=person("ada"))
    answer = ada.post("/admin/catalogue/import", {"text": text, "seen": shown.context["seen"], "apply": "1"})
    assert "Somebody changed the catalogue meanwhile" in answer.content.decode()
    assert ProcedureType.objects.get().duration_minutes == 45


def test_a_file_that_is_not_utf8_is_refused(ada: Client) -> None:
    sent = SimpleUploadedFile("c.csv", "code,name,modality\nA,Röntgen,DX\n".encode("latin-1"))
    answer = ada.post("/admin/catalogue/import", {"file": sent})
    assert answer.status_code == 422
    assert "not UTF-8" in answer.content.decode()


def test_only_administrators_import(client: Client) -> None:
    client.force_login(person("mona"))
    assert client.post("/admin/catalogue/import", {"text": HEADER}).status_code == 403
    assert client.get("/admin/catalogue").status_code == 200
    assert not Event.objects.filter(kind__startswith="department.").exists()
