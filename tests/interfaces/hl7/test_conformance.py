"""The published HL7 conformance statement is the one the engine's tables and the tests give."""

from django.conf import settings

from interfaces.hl7.conformance import conformance_statement, shown_by


def test_the_published_statement_is_what_the_code_and_the_tests_say() -> None:
    published = settings.BASE_DIR / "docs" / "hl7-conformance.md"
    rows = settings.BASE_DIR / "docs" / "hl7-rows.csv"
    assert published.read_text() == conformance_statement(rows, shown_by(settings.BASE_DIR / "tests")), (
        "run: manage.py hl7_conformance > docs/hl7-conformance.md"
    )


def test_every_row_shown_is_one_that_is_listed() -> None:
    shown = shown_by(settings.BASE_DIR / "tests")
    assert {"MLLP-01", "ADT-17", "ORD-02", "RES-09", "CHG-13"} <= set(shown)
