"""The DICOM services of this RIS, put together: one AE title, one port."""

import asyncio
import ssl
from collections.abc import Mapping

from django.conf import settings

from interfaces.dicom import dimse, ian, mpps, scu, store, worklist
from interfaces.dicom.ae import ApplicationEntity, Service
from interfaces.dicom.association import Request
from interfaces.dicom.database import Database, Reach
from interfaces.dicom.downtime import Downtime
from interfaces.dicom.ian import Notices
from interfaces.dicom.mpps import PerformedSteps
from interfaces.dicom.standin import Copy
from interfaces.dicom.stations import Stations
from interfaces.dicom.status import OUT_OF_RESOURCES, SUCCESS, UNABLE_TO_PROCESS
from interfaces.dicom.store import ReceivedObjects
from interfaces.dicom.trail import Trail
from interfaces.dicom.worklist import Worklist

VERIFICATION = "1.2.840.10008.1.1"

#: Fuzzy matching of names (byte 3) and the client's time zone (byte 4) are declined (PS3.4 K.5.1).
_NO_FUZZY_NO_TIMEZONE = b"\1\1\0\0"


async def _echo(request: Request) -> None:
    await request.send(request.head(SUCCESS))


def services(reading: Database, writing: Database, trail: Trail, copy: Copy) -> Mapping[str, Service]:
    """All that we do, by SOP class. The conformance statement is written from this table."""
    find = Worklist(reading, trail, copy).find
    steps = PerformedSteps(writing)
    received = ReceivedObjects(writing)
    objects = Service(
        {dimse.C_STORE_RQ: received.store}, data_set_cap=store.DATA_SET_CAP, too_large=OUT_OF_RESOURCES
    )
    return {
        VERIFICATION: Service({dimse.C_ECHO_RQ: _echo}),
        worklist.SOP_CLASS: Service(
            {dimse.C_FIND_RQ: find},
            data_set_cap=worklist.IDENTIFIER_CAP,
            too_large=OUT_OF_RESOURCES,
            failure=UNABLE_TO_PROCESS,
            extended=_NO_FUZZY_NO_TIMEZONE,
        ),
        mpps.SOP_CLASS: Service(
            {dimse.N_CREATE_RQ: steps.create, dimse.N_SET_RQ: steps.set},
            data_set_cap=mpps.DATA_SET_CAP,
            kept={dimse.N_CREATE_RQ: mpps.check_creation, dimse.N_SET_RQ: mpps.check_change},
        ),
        mpps.RETRIEVE_SOP_CLASS: Service({dimse.N_GET_RQ: steps.get}),
        ian.SOP_CLASS: Service({dimse.N_CREATE_RQ: Notices(writing).create}, data_set_cap=ian.DATA_SET_CAP),
        **dict.fromkeys(store.SOP_CLASSES, objects),
        scu.COMMITMENT: Service(
            {dimse.N_EVENT_REPORT_RQ: received.report}, data_set_cap=store.DATA_SET_CAP, as_scu=True
        ),
    }


def services_described() -> Mapping[str, Service]:
    """The table, for whoever writes of it; nothing is connected."""
    nowhere = Database("nowhere", 1, statement_seconds=1)
    return services(nowhere, nowhere, Trail(nowhere), Copy(settings.RIS_DATA / "nowhere"))


class Listener:
    """Answers from `start` to `stop`."""

    def __init__(self, secure: tuple[str, int, ssl.SSLContext] | None = None) -> None:
        """`secure`: where to answer over TLS as well."""
        self._secure = secure
        #: The port it answers on over TLS.
        self.secure_port: int | None = None
        # Writing waits on locks that a person's page may hold; reading must not wait behind it.
        reach = Reach()
        self._reading = Database("dicom-read", 4, statement_seconds=5, reach=reach)
        self._writing = Database("dicom-write", 4, statement_seconds=20, reach=reach)
        self._trail = Trail(self._writing)
        self._ae: ApplicationEntity | None = None
        self._downtime: Downtime | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the address, for port 0 the one that was free."""
        self._downtime = Downtime(settings.RIS_DATA / "dicom", self._reading, self._writing)
        table = services(self._reading, self._writing, self._trail, self._downtime.copy)
        self._ae = ApplicationEntity(
            settings.RIS_AE_TITLE,
            table,
            Stations(self._reading, self._downtime.copy),
            self._trail,
            self._downtime.spool,
        )
        self._downtime.start(table)
        self._trail.start()
        bound = await self._ae.listen(host, port)
        self._trail.twins.answering(settings.RIS_AE_TITLE, host, bound)
        if self._secure is not None:
            self.secure_port = await self._ae.listen(*self._secure)
        return host, bound

    async def stop(self, grace: float = 1.5) -> bool:
        """Take no more, answer what runs. False when something was still at work after `grace` seconds."""
        if self._ae is not None:
            await self._ae.close(grace)
        if self._downtime is not None:
            await self._downtime.close()
        try:
            await asyncio.wait_for(self._trail.close(), 4.0)
        except Exception:  # the end of the process: without a database there is nowhere to write
            return False
        return self._reading.close() and self._writing.close()
