"""The OpenAPI document of the REST API, as a file: `python -m gateway.specification` writes docs/openapi.json."""

import json

from gateway.api import bare_app
from gateway.pages import DOCS

FILE = DOCS / "openapi.json"


def openapi() -> str:
    """OpenAPI 3.1, as JSON for people to read and compare."""
    return json.dumps(bare_app().openapi(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    FILE.write_text(openapi(), encoding="utf-8")


if __name__ == "__main__":
    main()
