"""A page about the API, made from its schema; it loads nothing from anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

__all__ = ["reference_page"]

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
h2 { border-top: 1px solid #8886; padding-top: 1rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0 }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
"""


def reference_page(schema: Mapping[str, Any]) -> str:
    """Returns the operations of an OpenAPI schema as one HTML page."""
    parts = []
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(schema, f"{method.upper()} {path}", operation))
    info = schema["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(info["title"])} API</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(info['title'])}"
        f" {escape(info['version'])}</h1><p>{escape(info.get('summary', ''))} Machines read"
        ' <a href="openapi.json">openapi.json</a>.</p>' + "".join(parts) + "</main></body></html>"
    )


def _operation(schema: Mapping[str, Any], title: str, operation: Mapping[str, Any]) -> str:
    text = f"<h2><code>{escape(title)}</code></h2><p>{escape(operation.get('description', ''))}</p>"
    rows = [
        (place["name"], place["schema"], place.get("required", False))
        for place in operation.get("parameters", ())
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    text += _table("Asks for", rows + _properties(schema, body.get("schema", {})))
    for status, response in operation.get("responses", {}).items():
        if status.startswith("2"):
            content = response.get("content", {}).get("application/json", {})
            text += _table(f"Answers {status}", _properties(schema, content.get("schema", {})))
    return text


def _properties(
    schema: Mapping[str, Any], of: Mapping[str, Any]
) -> list[tuple[str, Mapping[str, Any], bool]]:
    while "$ref" in of:
        of = schema["components"]["schemas"][of["$ref"].rpartition("/")[2]]
    required = of.get("required", ())
    return [(name, field, name in required) for name, field in of.get("properties", {}).items()]


def _table(title: str, rows: list[tuple[str, Mapping[str, Any], bool]]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td><code>{escape(_kind(field))}</code></td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for name, field, _ in rows
    )
    return (
        f"<table><thead><tr><th>{escape(title)}</th><th>type</th><th></th></tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _kind(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2]
    if "enum" in field:
        return " | ".join(json.dumps(value) for value in field["enum"])
    if "anyOf" in field:
        return " | ".join(_kind(option) for option in field["anyOf"])
    if field.get("type") == "array":
        return f"[{_kind(field.get('items', {}))}]"
    kind = field.get("type", "any")
    return " | ".join(kind) if isinstance(kind, list) else str(kind)
