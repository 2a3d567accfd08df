"""The OpenAPI document in docs/ says what the code says, with everything that a client needs to know."""

import json
from typing import Any

import pytest
from schemathesis.specs.openapi import definitions

from gateway.api.access import SCOPES
from gateway.specification import FILE, openapi

DOCUMENT: dict[str, Any] = json.loads(openapi())
OPERATIONS = [
    pytest.param(path, operation, id=f"{method.upper()} {path}")
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
OPEN = {"/healthz", "/readyz", "/metrics", "/oauth2/token"}


def test_the_document_is_what_the_code_says() -> None:
    assert FILE.read_text(encoding="utf-8") == openapi(), "run `python -m gateway.specification`"


def test_the_document_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    document = json.loads(openapi())
    flow = document["components"]["securitySchemes"]["OAuth2"]["flows"]["clientCredentials"]
    flow["tokenUrl"] = "https://gateway.example" + flow["tokenUrl"]  # the validator knows no relative addresses
    assert [error.message for error in definitions.OPENAPI_31_VALIDATOR.iter_errors(document)] == []


def test_the_flow_of_oauth_lists_every_scope() -> None:
    flow = DOCUMENT["components"]["securitySchemes"]["OAuth2"]["flows"]["clientCredentials"]
    assert (flow["tokenUrl"], flow["scopes"]) == ("/oauth2/token", SCOPES)


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_says_who_may_do_it_and_how_it_fails(path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert "X-INVERS-Flow-ID" in operation["responses"]["500"]["headers"]
    if path in OPEN or path.startswith("/broker/auth"):
        return
    [scopes] = [each["OAuth2"] for each in operation["security"] if "OAuth2" in each]
    assert len(scopes) == 1
    assert set(scopes) <= SCOPES.keys()
    assert {"401", "403"} <= operation["responses"].keys()


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_body_has_an_example(path: str, operation: dict[str, Any]) -> None:
    if path.startswith("/broker/auth"):  # asked by brokers, in words of theirs
        return
    for media in operation.get("requestBody", {}).get("content", {}).values():
        assert _has_example(media) or _has_example(media["schema"]), path


def _has_example(schema: dict[str, Any]) -> bool:
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    nested = [*schema.get("anyOf", ()), *schema.get("properties", {}).values()]
    return bool({"example", "examples", "const", "enum"} & schema.keys()) or any(_has_example(each) for each in nested)
