"""Who comes in: by title, address and certificate, in clear text and over TLS (MWL-28, MWL-32)."""

import socket
import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pydicom.dataset import Dataset
from pytest_django import Settings

from interfaces import alarms, tls
from interfaces.dicom.listener import VERIFICATION as Verification
from interfaces.models import Alarm
from ris.audit.models import AuditEvent
from ris.core import certificates
from ris.department.actions import save_record
from ris.department.forms import StationForm
from ris.department.models import Station
from tests.cast import person
from tests.certificates import Authority
from tests.interfaces.dicom.conftest import serving
from tests.interfaces.dicom.scu import WORKLIST, Raw, Ris, associate_rq, found, query
from tests.makers import make_appointment, make_room
from tests.stack import until

REFUSED = (1, 1, 3)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("tls") / "ca")
    for name in ("ris", "ct1", "ct2"):
        made.sign(name)
    return made


@pytest.fixture
def identity(authority: Authority, settings: Settings) -> Authority:
    settings.RIS_TLS_CERTIFICATE = str(authority.folder / "ris.pem")
    settings.RIS_TLS_KEY = str(authority.folder / "ris.key")
    settings.RIS_TLS_CA = str(authority.certificate)
    return authority


@pytest.fixture
def doors(transactional_db: None, identity: Authority) -> Iterator[tuple[Ris, Ris]]:
    """In clear text, and over TLS."""
    make_room("CT1")
    make_room("CT2")
    with serving(tls.server_context()) as (plain, secure):
        yield plain, secure


def answer_to(ris: Ris, request: bytes, context: ssl.SSLContext | None = None) -> tuple[int, ...]:
    """(2,) when accepted, else result, source and reason."""
    with Raw(ris) as peer:
        if context is not None:
            peer.socket = context.wrap_socket(peer.socket, server_hostname="localhost")
        peer.send(request)
        kind, body = peer.answer()
        return (kind,) if kind == 2 else tuple(body[1:])


def bind(title: str, **settings: object) -> Station:
    station = Station.objects.get(ae_title=title)
    for name, value in settings.items():
        setattr(station, name, value)
    save_record(station, by=person("ada"))
    return station


def fingerprint(authority: Authority, name: str) -> str:
    return tls.fingerprint_of(str(authority.folder / f"{name}.pem"))


def test_a_station_calls_from_its_addresses_only(
    doors: tuple[Ris, Ris], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MWL-28: also of somebody who knows its title; what was refused is in the audit, once."""
    plain, _ = doors
    monkeypatch.setattr("interfaces.dicom.stations._is_loopback", lambda address: False)
    monkeypatch.setattr("interfaces.dicom.stations.FRESH_SECONDS", 0.0)
    for allowed, answer in (
        (["10.4.0.0/24", "192.0.2.7"], REFUSED),
        (["10.4.0.0/24", "127.0.0.0/8"], (2,)),
        (["127.0.0.1"], (2,)),
        (["::1"], REFUSED),
        ([], (2,)),
    ):
        bind("CT1", allowed_addresses=allowed)
        assert answer_to(plain, associate_rq(calling=b"CT1")) == answer, allowed
    assert answer_to(plain, associate_rq(calling=b"STRANGER")) == REFUSED
    until(lambda: AuditEvent.objects.filter(action="node.refused").count() == 2, 5)


def test_over_tls_a_title_belongs_to_whoever_bears_its_certificate(
    doors: tuple[Ris, Ris], identity: Authority
) -> None:
    """MWL-32"""
    plain, secure = doors
    ct1, ct2 = identity.context("ct1"), identity.context("ct2")
    bind("CT1", certificate_fingerprint=fingerprint(identity, "ct1"))
    asked = {title: associate_rq(calling=title.encode()) for title in ("CT1", "CT2", "OTHER")}
    assert answer_to(secure, asked["CT1"], ct1) == (2,)
    assert answer_to(secure, asked["CT1"], ct2) == REFUSED  # signed by our CA, but not CT1's
    assert answer_to(plain, asked["CT1"]) == REFUSED
    assert answer_to(secure, asked["CT2"], ct1) == REFUSED  # CT1's certificate, another's title
    assert answer_to(secure, asked["OTHER"], ct1) == REFUSED
    assert answer_to(secure, asked["CT2"], ct2) == (2,)  # bound to none: any that our CA has signed
    assert answer_to(plain, asked["CT2"]) == (2,)


@pytest.mark.peer("dcmtk")
def test_dcmtk_finds_the_worklist_over_tls_and_nobody_without_a_certificate_does(
    doors: tuple[Ris, Ris], identity: Authority, tmp_path: Path
) -> None:
    """MWL-32: BCP 195; a silent handshake holds nobody up."""
    _, secure = doors
    order = make_appointment().order
    folder = identity.folder
    ours = ["+tls", str(folder / "ct1.key"), str(folder / "ct1.pem"), "+cf", str(identity.certificate)]
    silent = [socket.create_connection((secure.host, secure.port)) for _ in range(40)]
    half = [socket.create_connection((secure.host, secure.port)) for _ in range(10)]
    for one in half:
        one.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    started = time.monotonic()
    assert secure.echoscu(*ours).returncode == 0
    (match,) = secure.findscu(tmp_path, "AccessionNumber", "PatientName=*", options=ours)
    assert match.AccessionNumber == order.accession_number
    assert time.monotonic() - started < 5
    for options in ([], ["+tla", "-ic"]):
        assert secure.echoscu(*options).returncode != 0, options
    stranger = Authority(tmp_path / "stranger")
    stranger.sign("ct1")
    foreign = ["+tls", str(stranger.folder / "ct1.key"), str(stranger.folder / "ct1.pem"), "-ic"]
    assert secure.echoscu(*foreign).returncode != 0
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    weak.load_cert_chain(folder / "ct1.pem", folder / "ct1.key")
    weak.load_verify_locations(identity.certificate)
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    with pytest.raises(OSError), Raw(secure) as peer:
        weak.wrap_socket(peer.socket, server_hostname="localhost")
    for one in (*silent, *half):
        one.close()


def test_a_long_answer_goes_out_whole_over_tls(doors: tuple[Ris, Ris], identity: Authority) -> None:
    _, secure = doors
    make_appointment()
    with secure.associate(WORKLIST, Verification, tls_args=(identity.context("ct1"), "localhost")) as assoc:
        for _ in range(20):
            assert (
                len(
                    found(
                        assoc, query({}, PatientName="", RequestedProcedureCodeSequence=[Dataset()])
                    ).matches
                )
                == 1
            )
        assert assoc.send_c_echo().Status == 0x0000
        assert found(assoc, query(PatientName="A" * 3_000_000)).status == 0xA700


def test_without_its_files_or_with_wrong_ones_it_does_not_start(
    settings: Settings, identity: Authority
) -> None:
    words = ["run_dicom", "--listen", "127.0.0.1:0", "--tls", "127.0.0.1:0"]
    with pytest.raises(CommandError, match="do not belong together"):
        call_command(*words, "--key", str(identity.folder / "ct1.key"), skip_checks=True)
    settings.RIS_TLS_CERTIFICATE = settings.RIS_TLS_KEY = settings.RIS_TLS_CA = ""
    with pytest.raises(CommandError, match="RIS_TLS_CERTIFICATE is not set"):
        call_command(*words, skip_checks=True)


def test_the_form_takes_addresses_and_a_certificate_in_plain_words(authority: Authority, db: None) -> None:
    station = Station.objects.get(pk=make_room("CT1").stations.get().pk)
    plain = {
        name: value for name, value in StationForm(instance=station).initial.items() if value is not None
    }

    def form(**changes: str) -> StationForm:
        return StationForm(
            {**plain, "certificate": "", **changes}, instance=Station.objects.get(pk=station.pk)
        )

    pem = (authority.folder / "ct1.pem").read_text()
    bound = form(allowed_addresses="10.4.0.17\n10.5.0.0/16", certificate=pem)
    assert bound.is_valid(), bound.errors
    save_record(bound.instance, by=person("ada"))
    station.refresh_from_db()
    assert station.allowed_addresses == ["10.4.0.17", "10.5.0.0/16"]
    assert station.certificate_fingerprint == fingerprint(authority, "ct1")
    assert station.certificate_ends_at == certificates.ends_at(certificates.first_certificate(pem))
    kept = form(certificate=station.certificate_fingerprint)
    assert kept.is_valid()
    assert kept.instance.certificate_ends_at == station.certificate_ends_at
    colons = ":".join("ab" for _ in range(32)).upper()
    assert form(certificate=colons).is_valid()
    assert "no address or network" in str(form(allowed_addresses="ct1.example.org").errors)
    assert "neither a PEM certificate nor" in str(form(certificate="abc").errors)


def test_a_certificate_that_ends_soon_raises_an_alarm(authority: Authority, db: None) -> None:
    """Of a station and of a partner; it clears when they are bound to another."""
    make_room("CT1")
    bind(
        "CT1",
        certificate_fingerprint="a" * 64,
        certificate_ends_at=timezone.now() + timedelta(days=12, hours=1),
    )
    partner = ["endpoint", "pacs", "--protocol", "mllp", "--direction", "in"]
    call_command(*partner, "--certificate", str(authority.sign("pacs", days=9)), stdout=StringIO())
    alarms.watch()
    told = {alarms.words_for(one) for one in Alarm.objects.filter(rule="certificate", cleared_at=None)}
    assert told == {"The certificate of CT1 ends in 12 days", "The certificate of pacs ends in 8 days"}
    bind("CT1", certificate_fingerprint="b" * 64, certificate_ends_at=None)
    call_command(*partner, "--certificate", str(authority.sign("next", days=400)), stdout=StringIO())
    alarms.watch()
    assert not Alarm.objects.filter(rule="certificate", cleared_at=None).exists()
