"""``/openapi.json``, generated from the route table and the models (OpenAPI 3.1)."""

import re
from typing import TypeAlias, cast

from pydantic import BaseModel, TypeAdapter

from wings.api.routing import Route

Document: TypeAlias = dict[str, object]

_PREFIX = "#/components/schemas/{model}"
_ERROR: Document = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string", "description": "What happened and what to do, for people."},
        "code": {"type": "string", "description": "Stable name of the error, for programs."},
    },
}


def document(routes: list[Route], version: str) -> Document:
    """The whole document."""
    schemas: Document = {"Error": _ERROR}
    paths: dict[str, Document] = {}
    for route in routes:
        paths.setdefault(_plain(route.path), {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "wings node API", "version": version},
        "paths": dict(paths),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _plain(path: str) -> str:
    """aiohttp's ``{name:regexp}`` without the expression."""
    return re.sub(r"{(\w+):[^}]*}", r"{\1}", path)


def _operation(route: Route, schemas: Document) -> Document:
    content: Document = {route.media: {"schema": _schema(route.answer, schemas) if route.answer is not None else {}}}
    operation: Document = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"{(\w+)", route.path)
            ),
            *(
                {
                    "name": one.name,
                    "in": "query",
                    "required": one.required,
                    "description": one.description,
                    "schema": {"type": "string"},
                }
                for one in route.query
            ),
        ],
        "responses": {
            str(route.status): {"description": "Done.", "content": content},
            "default": {
                "description": "It failed.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": _schema(route.body, schemas)}}}
    if route.public:
        operation["security"] = []
    return operation


def _schema(answer: object, schemas: Document) -> Document:
    schema = TypeAdapter(cast("type[object]", answer)).json_schema(ref_template=_PREFIX, mode="serialization")
    schemas.update(schema.pop("$defs", {}))
    if isinstance(answer, type) and issubclass(answer, BaseModel):
        schemas[answer.__name__] = schema
        return {"$ref": f"#/components/schemas/{answer.__name__}"}
    return schema
