"""A department that asks what the bare one asks."""

import pytest

from ris.safety.catalogue import add_default_questionnaires
from tests.cast import person


@pytest.fixture
def questionnaires(db: None) -> None:
    add_default_questionnaires(by=person("ada"))
