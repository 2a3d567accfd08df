"""What OpenAPI says beyond what the routes say: how errors look, everywhere."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gateway.api.problems import FLOW_ID, MEDIA_TYPE
from gateway.api.schemas import ProblemDocument, VehicleRequest

ERRORS = {
    "400": "The request is not understood",
    "401": "No valid token",
    "403": "The token lacks the scope",
    "404": "No such thing in this fleet",
    "409": "The state of things does not allow it",
    "412": "Changed since the ETag of `If-Match`",
    "413": "More than 1 MiB",
    "422": "Understood, and not possible; `reason` says why",
    "429": "Too many commands for this unit",
    "500": "Our fault",
    "503": "A part of ours is down, or the unit is offline; nothing was done",
    "504": "Sent, no answer in time: unknown whether done",
}
ONLY_COMMANDS = {"429", "504"}
OPEN = {"/healthz", "/readyz", "/metrics"}
DESCRIPTION = """\
Telematics units of many brands behind one API: vehicles, their states, commands to them, and events of all that happens.

Every answer has the header `X-INVERS-Flow-ID`; errors are RFC 9457 problem documents with that `flow_id` and a `reason`.
"""


def specify(app: FastAPI) -> None:
    """Make `app` describe its errors as they are."""

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = _specification(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _specification(app: FastAPI) -> dict[str, Any]:
    said = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    schemas = said["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for model in (ProblemDocument, VehicleRequest):
        schemas[model.__name__] = _schema(model, schemas)
    said["components"]["headers"] = {
        "FlowId": {"description": "Names this request in logs and events", "schema": {"type": "string"}}
    }
    for path, operations in said["paths"].items():
        for operation in operations.values():
            _describe(path, operation)
    return said


def _schema(model: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    return schema


def _describe(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for status, description in ERRORS.items():
        if status == "412" and "If-Match" not in {each["name"].title() for each in operation.get("parameters", ())}:
            continue
        if status in ONLY_COMMANDS and "/commands/" not in path:
            continue
        if path in OPEN and status not in ("500", "503"):
            continue
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
        responses.setdefault(status, {"description": description, "content": content})
    for response in responses.values():
        for media in response.get("content", {}).values():
            if media.pop("itemSchema", None) is not None:  # of OpenAPI 3.2
                media["schema"] = {"type": "string"}
        response.setdefault("headers", {})[FLOW_ID] = {"$ref": "#/components/headers/FlowId"}
