"""The design system, looked at in a browser in both themes."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser import OpenAs, accessibility_faults, photograph
from tests.cast import person
from tests.makers import make_facility
from tests.ris.desk import gallery

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]
TEMPLATES = Path(__file__).parent / "templates"


@pytest.fixture(autouse=True)
def the_gallery(settings: Any, db: None) -> None:
    settings.ROOT_URLCONF = "tests.ris.desk.gallery"
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [*settings.TEMPLATES[0]["DIRS"], TEMPLATES]}]
    make_facility()
    gallery.state.clear()
    gallery.state.update(version=1, posts=0, order="abc", drafts=[])


@pytest.mark.parametrize("theme", ["light", "reading"])
@pytest.mark.parametrize("name", ["arrivals", "schedule", "reading", "components"])
def test_every_component_can_be_read_by_everybody(open_as: OpenAs, name: str, theme: str) -> None:
    page = open_as(person("mona"), f"/gallery/{name}", theme=theme)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.wait_for_timeout(300)
    photograph(page, f"gallery-{name}-{theme}")
    assert [*accessibility_faults(page), *faults] == []
