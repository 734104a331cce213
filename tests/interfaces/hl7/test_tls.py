"""MLLP-19, ITI-19: certificates on both sides, a partner bound to its own, and what comes on the wrong port."""

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from interfaces import tls
from interfaces.actions import configure_endpoint
from interfaces.models import Endpoint, InboundMessage, OutboundMessage
from ris.accounts.models import system_user
from ris.audit.models import AuditEvent
from tests.certificates import Authority
from tests.interfaces.hl7.samples import adt
from tests.interfaces.hl7.test_sending import drain, due_now, make_partner, queue
from tests.peers.emr import Emr, Line

Server = tuple[str, int]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("tls")
    made = Authority(folder / "ca")
    for name in ("ris", "emr", "other"):
        made.sign(name)
    return made


@pytest.fixture
def identity(authority: Authority, settings: Settings) -> Authority:
    """We are `ris`, and take whom the CA has signed."""
    settings.RIS_TLS_CERTIFICATE = str(authority.folder / "ris.pem")
    settings.RIS_TLS_KEY = str(authority.folder / "ris.key")
    settings.RIS_TLS_CA = str(authority.certificate)
    return authority


class SecureLine(Line):
    def __init__(self, address: Server, context: ssl.SSLContext) -> None:
        super().__init__(address)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")


def turned_away(server: Server, context: ssl.SSLContext) -> bool:
    try:
        with SecureLine(server, context) as line:
            line.send(adt())
    except OSError:
        return True
    return False


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_only_who_shows_a_certificate_of_our_ca_comes_in(
    anybody: Endpoint, listen: Callable[..., Server], identity: Authority, tmp_path: Path
) -> None:
    server = listen(tls.server_context())
    stranger = Authority(tmp_path / "stranger")
    stranger.sign("emr")
    foreign = stranger.context("emr")
    foreign.load_verify_locations(identity.certificate)
    old = identity.context("emr")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert turned_away(server, identity.context())
    assert turned_away(server, foreign)
    assert turned_away(server, old)
    with socket.create_connection(server, 10) as plain:
        plain.sendall(b"\x0b" + adt().encode() + b"\x1c\r")
        assert not plain.makefile("rb").read().startswith(b"\x0bMSH")
    assert not InboundMessage.objects.exists()
    with SecureLine(server, identity.context("emr")) as line:
        assert line.send(adt()).code == "AA"


def test_tls_on_the_port_without_it_is_closed_and_the_next_message_works(
    server: Server, identity: Authority
) -> None:
    assert turned_away(server, identity.context("emr"))
    with Line(server) as line:
        assert line.send(adt()).code == "AA"


def test_a_partner_bound_to_a_certificate_is_nobody_elses(
    anybody: Endpoint, listen: Callable[..., Server], identity: Authority
) -> None:
    """Not even of somebody whom our CA has signed, nor in clear text; and `anybody` does not take it instead."""
    emr, other = identity.context("emr"), identity.context("other")
    call_command(
        "endpoint", "emr", "--protocol", "mllp", "--direction", "in", "--match", "EMR|HOSP", "--tls",
        "--certificate", str(identity.folder / "emr.pem"), stdout=StringIO(),
    )  # fmt: skip
    secure, plain = listen(tls.server_context()), listen()
    message = adt(control_id="M1")
    with SecureLine(secure, emr) as line:
        assert line.send(message).code == "AA"
    for impostor in (SecureLine(secure, other), Line(plain)):
        with impostor:
            refusal = impostor.send(message)
            assert (refusal.code, refusal.location) == ("AR", "MSH-3")
            assert impostor.hung_up(5)
    assert InboundMessage.objects.filter(endpoint=None, status="rejected").count() == 2
    assert AuditEvent.objects.filter(action="node.refused").count() == 2
    with SecureLine(secure, other) as line:
        assert line.send(adt(app="ELSE")).code == "AA"  # of `anybody`
    call_command("endpoint", "emr", "--certificate", "", stdout=StringIO())
    with SecureLine(secure, other) as line:
        assert line.send(adt()).code == "AA"
    with Line(plain) as line:
        assert line.send(adt()).code == "AR"  # it uses TLS
    call_command("endpoint", "emr", "--no-tls", stdout=StringIO())
    with Line(plain) as line:
        assert line.send(adt()).code == "AA"


class SecureEmr(Emr):
    """Takes its connections over TLS."""

    context: ssl.SSLContext

    def _serve(self, line: socket.socket, number: int) -> None:
        try:
            secured = self.context.wrap_socket(line, server_side=True)
        except OSError:
            line.close()
            return
        super()._serve(secured, number)


@pytest.fixture
def secure_emr(tmp_path: Path, identity: Authority, transactional_db: None) -> Any:
    peer = SecureEmr(tmp_path / "secure.jsonl")
    peer.context = identity.context("emr", server=True)
    with peer:
        yield peer


def test_we_send_over_tls_and_know_whom_we_send_to(secure_emr: SecureEmr, identity: Authority) -> None:
    port = secure_emr.address.rpartition(":")[2]
    partner = make_partner(secure_emr, address=f"localhost:{port}", tls=True)
    queue(partner), queue(partner)
    assert drain(partner) == 2
    assert secure_emr.connections == 1
    third = queue(partner)
    # Our CA has signed it, but not for this name; bound by its fingerprint it needs none.
    shell = system_user("shell")
    configure_endpoint("emr", {"address": secure_emr.address}, by=shell)
    assert drain(partner) == 0
    pinned = tls.fingerprint_of(str(identity.folder / "emr.pem"))
    other = tls.fingerprint_of(str(identity.folder / "other.pem"))
    for fingerprint, answered in ((other, 0), (pinned, 1)):
        due_now()
        configure_endpoint("emr", {"certificate_fingerprint": fingerprint}, by=shell)
        assert drain(partner) == answered
    third.refresh_from_db()
    assert (third.status, third.attempts) == ("accepted", 1)  # nothing left before the partner was known
    partner.refresh_from_db()
    assert partner.failures == 0


def test_without_files_of_our_own_the_line_says_so(emr: Emr, transactional_db: None) -> None:
    partner = make_partner(emr, tls=True)
    queue(partner)
    assert drain(partner) == 0
    partner.refresh_from_db()
    assert "RIS_TLS_CERTIFICATE is not set" in partner.last_error
    assert OutboundMessage.objects.get().status == "queued"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("RIS_TLS_CA", "", "RIS_TLS_CA is not set"),
        ("RIS_TLS_KEY", "/nowhere.key", "RIS_TLS_KEY is /nowhere.key, which is no file"),
        ("RIS_TLS_KEY", "other.key", "do not belong together"),
        ("RIS_TLS_CERTIFICATE", "ris.key", "are no PEM certificate and key"),
        ("RIS_TLS_CA", "ris.key", "RIS_TLS_CA holds no PEM certificate"),
    ],
)
def test_a_wrong_file_stops_the_start_with_a_sentence(
    identity: Authority, settings: Settings, name: str, value: str, sentence: str
) -> None:
    assert tls.settings_check() == []
    setattr(settings, name, value if value.startswith("/") or not value else str(identity.folder / value))
    (problem,) = tls.settings_check()
    assert sentence in problem.msg


def test_a_listener_without_its_files_does_not_start(settings: Settings) -> None:
    with pytest.raises(CommandError, match="RIS_TLS_CERTIFICATE is not set"):
        call_command("run_mllp", "--tls", "--listen", "127.0.0.1:0", skip_checks=True)


def test_the_days_a_certificate_has_left_are_known(authority: Authority, settings: Settings) -> None:
    assert tls.days_left() is None
    settings.RIS_TLS_CERTIFICATE = str(authority.folder / "ris.pem")
    assert tls.days_left() in (29, 30)
    assert tls.days_left(now=datetime.now(UTC) + timedelta(days=40)) in (-11, -10)
    long = authority.sign("long", days=365 * 40)  # after 2049 its end is written with four digits
    assert tls.days_left(str(long)) in (14599, 14600)
    assert tls.days_left(str(authority.folder / "ris.key")) is None
