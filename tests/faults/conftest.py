"""One department for the short forms of all faults."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import scenarios
from tests.faults.load import Department
from tests.interfaces.hl7.conftest import anybody  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def department(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    folder: Path = tmp_path_factory.mktemp("faults")
    with scenarios.stack_for(folder) as stack:
        running = Department(stack, folder)
        yield running
        running.close()
