from tests.interfaces.hl7.conftest import anybody, listen, server  # noqa: F401 - fixtures
