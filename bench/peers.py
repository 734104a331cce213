"""MLLP servers of two libraries, beside which ours is measured. They answer and store nothing.

python -m bench.peers hl7|hl7apy PORT
"""

import asyncio
import sys


def python_hl7(port: int) -> None:
    from hl7.mllp import start_hl7_server

    async def answer(reader, writer) -> None:  # type: ignore[no-untyped-def]
        try:
            while True:
                message = await reader.readmessage()
                writer.writemessage(message.create_ack())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve() -> None:
        server = await start_hl7_server(answer, host="127.0.0.1", port=port, encoding="utf-8")
        await server.serve_forever()

    asyncio.run(serve())


def hl7apy(port: int) -> None:
    from hl7apy.mllp import AbstractHandler, MLLPServer
    from hl7apy.parser import parse_message

    class Parsing(AbstractHandler):  # type: ignore[misc]
        def reply(self) -> str:
            header = parse_message(self.incoming_message, find_groups=False).msh
            number = header.msh_10.to_er7()
            return (
                f"\x0bMSH|^~\\&|RIS|RAD|HIS|HOSP|20300115083016||ACK|A{number}|P|2.5\rMSA|AA|{number}\r\x1c\r"
            )

    kinds = ("ADT^A08", "ADT^A08^ADT_A01")
    server = MLLPServer("127.0.0.1", port, dict.fromkeys(kinds, (Parsing,)))
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    {"hl7": python_hl7, "hl7apy": hl7apy}[sys.argv[1]](int(sys.argv[2]))
