"""A certificate authority of the tests' own, which signs with OpenSSL."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Authority:
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self._openssl(
            "req", "-x509", *self._key("ca"), "-subj", "/CN=Test CA", "-days", "30",
            "-addext", "basicConstraints=critical,CA:TRUE",
        )  # fmt: skip

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def sign(self, name: str, days: int = 30) -> Path:
        """The certificate of `localhost` called `name`; its key lies beside it as .key."""
        extensions = self.folder / f"{name}.ext"
        extensions.write_text("subjectAltName=DNS:localhost\n")
        self._openssl("req", "-new", *self._key(name, ".csr"), "-subj", f"/CN={name}")
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", str(days), "-extfile", extensions.name, "-out", f"{name}.pem",
        )  # fmt: skip
        return self.folder / f"{name}.pem"

    def context(self, name: str = "", *, server: bool = False) -> ssl.SSLContext:
        """Of somebody who trusts this authority and shows the certificate called `name`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certificate)
        if server:
            context.verify_mode = ssl.CERT_REQUIRED
        if name:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def _key(self, name: str, out: str = ".pem") -> list[str]:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        return [*curve, "-keyout", f"{name}.key", "-out", f"{name}{out}"]

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)
