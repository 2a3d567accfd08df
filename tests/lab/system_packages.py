"""The servers that the tests start come from the system's packages: install them, or say what to install."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGES = {"mosquitto": "mosquitto", "rabbitmqctl": "rabbitmq-server", "initdb": "postgresql"}
"""Debian's packages by a program that each brings."""

SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Debian puts servers where a normal user's PATH does not look."""


def missing(wanted: Mapping[str, str] = PACKAGES) -> list[str]:
    """The packages whose programs are not here."""
    postgresql = map(str, Path("/usr/lib/postgresql").glob("*/bin"))
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), SYSTEM_PATH, *postgresql))
    return sorted({package for program, package in wanted.items() if shutil.which(program, path=path) is None})


def may_install() -> bool:
    """Whether packages can be installed from here."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(wanted: Mapping[str, str] = PACKAGES) -> int:
    """Exit code: 0 all there, 2 something is missing and cannot be installed from here."""
    packages = missing(wanted)
    if not packages:
        return 0
    said = " ".join(packages)
    if not may_install():
        print(f"The tests start real servers: please install {said} (Debian: sudo apt-get install {said}).", file=sys.stderr)
        return 2
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", "-q", *command], env=environment, stdout=sys.stderr)
        if done.returncode != 0:
            print(f"apt-get could not install {said}: please install it by hand.", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(install())
