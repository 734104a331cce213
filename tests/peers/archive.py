"""An archive: a real Orthanc with DICOMweb on free ports of loopback, one for the whole run."""

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "lightbox", "archive-of-the-tests"


@dataclass(frozen=True)
class Archive:
    """Where it listens; `AE_TITLE` takes any caller's associations."""

    dicom_port: int
    http_port: int
    ae_title: str = "ARCHIVE"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.dicom_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    @property
    def secret(self) -> str:
        return f"{USER}:{PASSWORD}"

    def ask(self, path: str, body: Any = None, method: str = "") -> Any:
        """Orthanc's own REST interface."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}{path}",
            data=None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode()),
            headers={"Authorization": f"Basic {base64.b64encode(self.secret.encode()).decode()}"},
            method=method or ("GET" if body is None else "POST"),
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            content = response.read()
        return json.loads(content) if response.headers.get_content_type() == "application/json" else content

    def instances(self, study: str) -> list[dict[str, Any]]:
        """What it has of a study: tags by name."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": study}, "Expand": True}
        found = self.ask("/tools/find", query)
        return [self.ask(f"/instances/{one['ID']}/simplified-tags") | {"ID": one["ID"]} for one in found]

    def file(self, instance: str) -> bytes:
        content = self.ask(f"/instances/{instance}/file")
        assert isinstance(content, bytes)
        return content

    def store(self, file: bytes) -> None:
        self.ask("/instances", file)

    def call_back(self, ae_title: str, port: int) -> None:
        """Where it finds a partner that it has something to report to."""
        self.ask("/modalities/ris", [ae_title, "127.0.0.1", port], method="PUT")


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@contextmanager
def running() -> Iterator[Archive]:
    where = Path(tempfile.mkdtemp(prefix="orthanc-"))
    dicom_port, http_port = _free_ports(2)
    archive = Archive(dicom_port, http_port)
    (where / "orthanc.json").write_text(json.dumps({
        "Name": "ARCHIVE", "StorageDirectory": str(where), "IndexDirectory": str(where), "Plugins": [str(DICOMWEB)],
        "DicomAet": archive.ae_title, "DicomPort": dicom_port, "HttpPort": http_port, "HttpBindAddresses": ["127.0.0.1"],
        "DicomCheckCalledAet": False, "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True, "DicomCheckModalityHost": False, "RemoteAccessAllowed": True,
        "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD}, "DicomModalitiesInDatabase": True,
        "UnknownSopClassAccepted": True, "ConcurrentJobs": 1, "SaveJobs": False, "OverwriteInstances": True,
    }))  # fmt: skip
    log = (where / "orthanc.log").open("w")
    process = subprocess.Popen(["Orthanc", str(where / "orthanc.json")], stdout=log, stderr=log)
    try:
        _wait_for(archive, process, where / "orthanc.log")
        yield archive
    finally:
        # It takes seconds to end in order, and nothing of it is kept.
        process.kill()
        process.wait(15)
        log.close()
        shutil.rmtree(where, ignore_errors=True)


def _wait_for(archive: Archive, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 30
    while True:
        assert process.poll() is None, log.read_text()
        try:
            archive.ask("/system")
            return
        except OSError:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
