from django.conf import settings

from interfaces.dicom.conformance import conformance_statement


def test_the_published_conformance_statement_is_that_of_the_code() -> None:
    published = settings.BASE_DIR / "docs" / "dicom-conformance.md"
    assert published.read_text(encoding="utf-8") == conformance_statement(), (
        "run: manage.py dicom_conformance > docs/dicom-conformance.md"
    )
