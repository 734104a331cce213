import pytest

from ris.supervisor.errors import CannotStart
from ris.supervisor.listeners import Address, read_address, refuse_clear_text


def test_addresses_are_host_and_port() -> None:
    assert read_address("127.0.0.1:8000") == Address("127.0.0.1", 8000)
    assert read_address("[::1]:0") == Address("::1", 0)
    assert str(read_address("[::1]:8000")) == "[::1]:8000"


@pytest.mark.parametrize(
    "text", ["8000", ":8000", "localhost", "localhost:", "host:http", "host:70000", "host:-1"]
)
def test_anything_else_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(CannotStart, match="write HOST:PORT"):
        read_address(text)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "ris.example.org"])
def test_production_does_not_speak_clear_text_on_a_network(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIS_ENV", "production")
    with pytest.raises(CannotStart, match=r"RIS_ALLOW_PLAIN=mllp"):
        refuse_clear_text("mllp", Address(host, 2575))


@pytest.mark.parametrize(
    ("name", "host", "environment"),
    [
        ("mllp", "127.0.0.1", {}),
        ("mllp", "::1", {}),
        ("mllp", "localhost", {}),
        ("mllp", "10.1.2.3", {"RIS_ALLOW_PLAIN": "dicom, mllp"}),
        ("http", "10.1.2.3", {"RIS_TLS": "1"}),
        ("mllp", "10.1.2.3", {"RIS_ENV": "demo"}),
    ],
)
def test_loopback_and_named_exceptions_may(
    name: str, host: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {"RIS_ENV": "production", **environment}.items():
        monkeypatch.setenv(variable, value)
    refuse_clear_text(name, Address(host, 2575))


def test_a_tls_proxy_stands_before_the_web_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIS_ENV", "production")
    monkeypatch.setenv("RIS_TLS", "1")
    with pytest.raises(CannotStart):
        refuse_clear_text("mllp", Address("10.1.2.3", 2575))
