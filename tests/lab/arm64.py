"""Another processor: Debian's Python for arm64 in an emulator, and the kernel compiled for it."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from lab.system_packages import install

ROOT = Path(__file__).parents[2]
PROGRAMS = {"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "qemu-aarch64-static": "qemu-user-static"}
DEBIAN = ("python3.11", "libpython3.11-dev", "libstdc++6")
WHEELS = (
    *("cffi", "construct", "cryptography", "fastcrc", "msgspec", "numpy", "pycparser", "structlog", "typing_extensions"),
    *("hypothesis", "iniconfig", "packaging", "pluggy", "pygments", "pytest", "sortedcontainers"),
)
PURE = ("crcmod",)
"""Published as sources only; works without what it would compile."""

SOURCES = ("protocols", "modeldb", "devices", "tests/lab", "tests/protocols/hotpath", "tests/vectors")
FLAGS = ("-shared", "-fPIC", "-O3", "-g0", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror=incompatible-pointer-types")


class Arm64:
    """The emulated processor. Raises RuntimeError where it cannot be had, CalledProcessError where something fails."""

    def __init__(self, folder: Path) -> None:
        self._root, self._site, self._tree = folder / "root", folder / "site", folder / "tree"
        if install(PROGRAMS) != 0:
            raise RuntimeError("there is no compiler for arm64, or no emulator")
        self._unpack(folder / "apt")
        self._take_wheels()
        for name in SOURCES:
            shutil.copytree(ROOT / name, self._tree / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        headers = (f"-I{self._root}/usr/include/python3.11", f"-I{self._root}/usr/include")
        kernel = self._tree / "protocols" / "hotpath" / "kernel.c"
        made = kernel.with_name("_kernel.cpython-311-aarch64-linux-gnu.so")
        subprocess.run(["aarch64-linux-gnu-gcc", *FLAGS, *headers, str(kernel), "-o", str(made)], check=True)

    def _unpack(self, apt: Path) -> None:
        """Packages with all that they need, fetched by an apt that knows of nothing that is installed here."""
        for name in ("state/lists/partial", "cache/archives/partial"):
            (apt / name).mkdir(parents=True)
        (apt / "status").touch()
        said = {
            "Dir::State": apt / "state", "Dir::State::status": apt / "status", "Dir::Cache": apt / "cache",
            "APT::Architecture": "arm64", "APT::Architectures": "arm64", "APT::Sandbox::User": "root",
        }  # fmt: skip
        options = [f"-o{name}={value}" for name, value in said.items()]
        for command in (["update"], ["--download-only", "--no-install-recommends", "-y", "install", *DEBIAN]):
            subprocess.run(["apt-get", "-qq", *options, *command], check=True)
        for package in (apt / "cache" / "archives").glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(self._root)], check=True)

    def _take_wheels(self) -> None:
        """The libraries, as old as here."""
        platforms = [f"--platform={each}" for each in ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "any")]
        wanted = [f"{name}=={version(name)}" for name in WHEELS]
        command = ["-q", "--target", str(self._site), *platforms, "--only-binary=:all:", "--python-version=3.11", "--no-deps"]
        subprocess.run([sys.executable, "-m", "pip", "install", *command, *wanted], check=True)
        for name in PURE:
            found = importlib.util.find_spec(name)
            assert found is not None
            assert found.submodule_search_locations is not None
            ignored = shutil.ignore_patterns("*.so", "__pycache__")
            shutil.copytree(found.submodule_search_locations[0], self._site / name, ignore=ignored)

    def python(self, arguments: Sequence[str], more: Mapping[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Run Python there, in a copy of the sources."""
        path = os.pathsep.join(map(str, (self._site, self._tree, self._tree / "tests")))
        return subprocess.run(
            ["qemu-aarch64-static", "-L", str(self._root), str(self._root / "usr/bin/python3.11"), *arguments],
            env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | more,
            cwd=self._tree,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
