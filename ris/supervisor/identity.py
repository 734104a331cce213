"""As whom PostgreSQL and Valkey run: never as root, whoever started us."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ris.supervisor.errors import CannotStart


@dataclass(frozen=True)
class Identity:
    owner: int
    prefix: tuple[str, ...] = ()
    popen: dict[str, Any] = field(default_factory=dict)

    def run(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *map(str, argv)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **self.popen,
        )

    def own(self, directory: Path) -> None:
        """Make `directory` and all in it this identity's, closed to everybody else."""
        directory.mkdir(parents=True, exist_ok=True)
        if directory.is_symlink():
            raise CannotStart(f"{directory} is a symbolic link; name the real directory.")
        if directory.stat().st_uid != self.owner:
            if os.geteuid() != 0:
                raise CannotStart(
                    f"{directory} belongs to another user; start as that user or choose another --data."
                )
            for folder, _, files in os.walk(directory):
                for path in (folder, *(os.path.join(folder, name) for name in files)):
                    os.chown(path, self.owner, -1, follow_symlinks=False)
        directory.chmod(0o700)


def choose_identity(program: Path, directory: Path) -> Identity:
    """Find a way to run `program` on `directory` without being root; an ordinary user needs none.

    Root becomes `nobody`. Where a closed directory (a virtualenv below /root) stands in the way, a user
    namespace calls root's files nobody's or, where namespaces are forbidden, nobody keeps the right to pass
    closed directories.
    """
    if os.geteuid() != 0:
        return Identity(os.geteuid())
    nobody = pwd.getpwnam("nobody")
    uid, gid = nobody.pw_uid, nobody.pw_gid
    ways = [Identity(uid, popen={"user": uid, "group": gid, "extra_groups": []})]
    if shutil.which("unshare"):
        ways.append(Identity(0, ("unshare", "--user", f"--map-user={uid}", f"--map-group={gid}")))
    if shutil.which("setpriv"):
        capability = "+dac_override"
        ways.append(
            Identity(
                uid,
                (
                    "setpriv",
                    f"--reuid={uid}",
                    f"--regid={gid}",
                    "--clear-groups",
                    f"--inh-caps={capability}",
                    f"--ambient-caps={capability}",
                    "--pdeathsig=INT",  # changing the user forgets the one set before
                ),
            )
        )
    for way in ways:
        try:
            # Looked at, not asked for by access(2): that does not count a capability.
            if not way.run("ls", f"{directory}/").returncode and not way.run(program, "--version").returncode:
                return way
        except OSError:
            continue
    raise CannotStart(
        f"PostgreSQL does not run as root, and user nobody cannot reach {program} or {directory}; "
        "start as an ordinary user or put the program and its data below a directory others may enter."
    )
