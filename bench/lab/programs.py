"""Where the servers' programs are, and one clear sentence where they are not."""

import os
import shutil

PACKAGES = {
    "mosquitto": "mosquitto",
    "rabbitmqctl": "rabbitmq-server",
    "rabbitmq-server": "rabbitmq-server",
    "epmd": "rabbitmq-server",
}
"""The Debian package that each program comes from."""

SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/sbin"
"""Debian puts servers where a normal user's PATH does not look."""

RABBITMQ_PATH = "/usr/lib/rabbitmq/bin"
"""Debian's /usr/sbin wrappers of RabbitMQ change the user; what they wrap is wanted."""


class LabError(RuntimeError):
    """A laboratory cannot be set up; the message is for the user."""


def search_path() -> str:
    """Where programs are looked for."""
    return os.pathsep.join((RABBITMQ_PATH, os.environ.get("PATH", os.defpath), SYSTEM_PATH))


def program(name: str) -> str:
    """The program's path. Raises LabError that says what to install."""
    found = shutil.which(name, path=search_path())
    if found is None:
        package = PACKAGES.get(name, name)
        raise LabError(f"{name} is not installed: please install {package} (Debian: sudo apt-get install {package})")
    return found


def missing() -> list[str]:
    """The packages whose programs are not here."""
    return sorted({package for name, package in PACKAGES.items() if shutil.which(name, path=search_path()) is None})
