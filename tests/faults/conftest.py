"""One department for the short forms of all faults: it has crashed in its first migration and got over it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import scenarios
from tests.faults.load import Department
from tests.interfaces.hl7.conftest import anybody  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def department(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    folder: Path = tmp_path_factory.mktemp("faults")
    armed = scenarios.armed_file(folder)
    armed.write_text("mid_migration:12")
    stack = scenarios.stack_for(folder)
    with pytest.raises(AssertionError, match="ended with 1"):
        stack.start()
    assert not armed.exists()
    with stack:
        running = Department(stack, folder)
        yield running
        running.close()
