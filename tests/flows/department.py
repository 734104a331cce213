"""The people, machines and systems of a flow, each from outside: sockets, HTTP and DICOM, no code of the product."""

import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]

from tests.peers.emr import Ack, Line
from tests.stack import Stack

ZONE = ZoneInfo("America/New_York")
REFERRER = "0456^LINDGREN^MAJA^^^DR"


class Refused(AssertionError):
    """An HTTP answer of 400 or more."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


@dataclass
class Person:
    """A user with a token, at the REST door."""

    stack: Stack
    username: str
    token: str = field(default="", repr=False)

    def call(self, method: str, path: str, body: Any = None, timeout: float = 30) -> Any:
        if not self.token:
            self.token = self.stack.manage("create_token", self.username).strip()
        request = urllib.request.Request(
            f"{self.stack.http}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Token {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as problem:
            raise Refused(problem.code, problem.read().decode(errors="replace")) from None

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        return self.call("POST", path, {} if body is None else body)


def new_id() -> str:
    """A control id no other message has."""
    return str(generate_uid())[-18:]


def adt(mrn: str, name: str = "OKAFOR^ADAEZE^^^MRS", event: str = "A04", control_id: str = "") -> str:
    now = datetime.now(ZONE)
    return "\r".join([
        f"MSH|^~\\&|EPIC|HARBOUR|LIGHTBOX|HARBOUR|{now:%Y%m%d%H%M%S}||ADT^{event}|{control_id or new_id()}|P|2.3.1",
        f"EVN|{event}|{now:%Y%m%d%H%M%S}",
        f"PID|||{mrn}^^^HARBOUR^MR||{name}||19680714|F|||12 QUAY RD^^NEW YORK^NY^10001||5550107719|||||ACC{mrn}",
        f"PV1||O|CLINIC^1^1^HARBOUR||||0123^MENSAH^AMA^^^DR|0456^LINDGREN^MAJA^^^DR|||||||||||V{mrn}",
        "",
    ])  # fmt: skip


def orm(
    mrn: str,
    placer: str,
    *,
    control: str = "NW",
    code: str = "CT-HEAD",
    name: str = "OKAFOR^ADAEZE^^^MRS",
    control_id: str = "",
    priority: str = "R",
) -> str:
    now = datetime.now(ZONE)
    stamp = f"{now:%Y%m%d%H%M%S}"
    return "\r".join([
        f"MSH|^~\\&|EPIC|HARBOUR|LIGHTBOX|HARBOUR|{stamp}||ORM^O01|{control_id or new_id()}|P|2.3.1",
        f"PID|||{mrn}^^^HARBOUR^MR||{name}||19680714|F|||||||||||ACC{mrn}",
        f"PV1||O|CLINIC^1^1^HARBOUR||||0123^MENSAH^AMA^^^DR|0456^LINDGREN^MAJA^^^DR|||||||||||V{mrn}",
        f"ORC|{control}|{placer}^EPIC|||||^^^{stamp}^^{priority}||{stamp}|CLERK||0456^LINDGREN^MAJA^^^DR||5550100|||SURG",
        f"OBR|1|{placer}^EPIC||{code}^CT head^L|||||||||Fall from a ladder|||{REFERRER}|||||||||||^^^{stamp}^^{priority}"
        "|||WALK|HEADACHE^Headache after a fall",
        "",
    ])  # fmt: skip


def cancel(placer: str, control_id: str = "") -> str:
    stamp = f"{datetime.now(ZONE):%Y%m%d%H%M%S}"
    return "\r".join([
        f"MSH|^~\\&|EPIC|HARBOUR|LIGHTBOX|HARBOUR|{stamp}||ORM^O01|{control_id or new_id()}|P|2.3.1",
        f"ORC|CA|{placer}^EPIC|||||||{stamp}",
        "",
    ])  # fmt: skip


def send(stack: Stack, message: str) -> Ack:
    with Line(stack.mllp) as line:
        return line.send(message)


def slot(hours: int = 2) -> datetime:
    """A full hour to come, in the department's zone."""
    return datetime.now(ZONE).replace(minute=0, second=0, microsecond=0) + timedelta(hours=hours)


def findscu(stack: Stack, *keys: str, caller: str = "CT1") -> list[Dataset]:
    """The answers DCMTK's findscu gets; a key is `Tag=value` or `(0040,0100)[0].Tag=value`."""
    title, host, port = stack.dicom
    returned = [
        "PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID", "RequestedProcedureID", "PatientBirthDate",
        "(0040,0100)[0].ScheduledProcedureStepID", "(0040,0100)[0].ScheduledProcedureStepStartDate",
        "(0040,0100)[0].ScheduledProcedureStepStartTime", "(0040,0100)[0].Modality",
        "(0040,0100)[0].ScheduledStationAETitle",
    ]  # fmt: skip
    asked = {key.partition("=")[0] for key in keys}
    arguments = [
        part for key in [*(one for one in returned if one not in asked), *keys] for part in ("-k", key)
    ]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["/usr/bin/findscu", "-W", "-to", "10", "-aet", caller, "-aec", title, "-X", "-od", folder, *arguments, host,
             str(port)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [pydicom.dcmread(path, force=True) for path in sorted(Path(folder).glob("rsp*.dcm"))]


STEP = "(0040,0100)[0]"


class Scanner:
    """A modality that reports what it does (MPPS)."""

    def __init__(self, stack: Stack, title: str = "CT1") -> None:
        self.stack = stack
        self.title = title
        #: Error ID (0000,0903) of the last answer; 0 when it had none.
        self.error_id = 0

    def _request(self, send: Any) -> int:
        title, host, port = self.stack.dicom
        ae = AE(self.title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 15
        ae.add_requested_context(ModalityPerformedProcedureStep)
        association = ae.associate(host, port, ae_title=title)
        if not association.is_established:
            raise ConnectionError("no association")
        try:
            status, _ = send(association)
        finally:
            association.release()
        if not status:
            raise ConnectionError("no answer")
        self.error_id = int(status.get("ErrorID", 0))
        return int(status.Status)

    def start(self, entry: Dataset, uid: str = "") -> tuple[str, int]:
        """N-CREATE from a worklist entry; the UID and the status."""
        uid = uid or generate_uid()
        step = entry.ScheduledProcedureStepSequence[0]
        now = datetime.now(ZONE)
        item = Dataset()
        item.StudyInstanceUID = entry.StudyInstanceUID
        item.ReferencedStudySequence = []
        item.AccessionNumber = entry.AccessionNumber
        item.RequestedProcedureID = entry.RequestedProcedureID
        item.RequestedProcedureDescription = ""
        item.ScheduledProcedureStepID = step.ScheduledProcedureStepID
        item.ScheduledProcedureStepDescription = ""
        item.ScheduledProtocolCodeSequence = []
        ds = Dataset()
        ds.ScheduledStepAttributesSequence = [item]
        ds.PatientName = entry.PatientName
        ds.PatientID = entry.PatientID
        ds.PatientBirthDate = entry.PatientBirthDate
        ds.PatientSex = ""
        ds.ReferencedPatientSequence = []
        ds.PerformedProcedureStepID = "P1"
        ds.PerformedStationAETitle = self.title
        ds.PerformedStationName = ""
        ds.PerformedLocation = ""
        ds.PerformedProcedureStepStartDate = f"{now:%Y%m%d}"
        ds.PerformedProcedureStepStartTime = f"{now:%H%M%S}"
        ds.PerformedProcedureStepStatus = "IN PROGRESS"
        ds.PerformedProcedureStepDescription = ""
        ds.PerformedProcedureTypeDescription = ""
        ds.ProcedureCodeSequence = []
        ds.PerformedProcedureStepEndDate = ""
        ds.PerformedProcedureStepEndTime = ""
        ds.Modality = step.Modality
        ds.StudyID = ""
        ds.PerformedProtocolCodeSequence = []
        ds.PerformedSeriesSequence = []
        return uid, self._request(lambda line: line.send_n_create(ds, ModalityPerformedProcedureStep, uid))

    def finish(self, uid: str, status: str = "COMPLETED", reason: str = "") -> int:
        """N-SET to a final state."""
        now = datetime.now(ZONE)
        series = Dataset()
        series.PerformingPhysicianName = ""
        series.ProtocolName = "HEAD"
        series.OperatorsName = ""
        series.SeriesInstanceUID = generate_uid()
        series.SeriesDescription = "AXIAL"
        series.RetrieveAETitle = ""
        image = Dataset()
        image.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        image.ReferencedSOPInstanceUID = generate_uid()
        series.ReferencedImageSequence = [image]
        series.ReferencedNonImageCompositeSOPInstanceSequence = []
        ds = Dataset()
        ds.PerformedProcedureStepStatus = status
        ds.PerformedProcedureStepEndDate = f"{now:%Y%m%d}"
        ds.PerformedProcedureStepEndTime = f"{now:%H%M%S}"
        ds.PerformedSeriesSequence = [series]
        if reason:
            code = Dataset()
            code.CodeValue = reason
            code.CodingSchemeDesignator = "DCM"
            code.CodeMeaning = "reason"
            ds.PerformedProcedureStepDiscontinuationReasonCodeSequence = [code]
        return self._request(lambda line: line.send_n_set(ds, ModalityPerformedProcedureStep, uid))
