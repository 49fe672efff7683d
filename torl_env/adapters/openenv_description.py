"""What the OpenEnv server says about itself: schemas, OpenAPI, and an MCP endpoint without tools.

OpenEnv's own check of a running server (`openenv validate --url`) reads `/openapi.json`, `/health`,
`/metadata`, `/schema` and `/mcp`, and wants `/reset`, `/step` and `/state` together.
"""

import json
from typing import Any, Final

JSON = dict[str, Any]

_TEXT: Final[JSON] = {"type": "string"}
SCHEMA: Final[JSON] = {
    "action": {
        "type": "object",
        "properties": {"text": _TEXT, "cut": {"type": "boolean", "default": False}},
        "required": ["text"],
    },
    "observation": {
        "type": "object",
        "properties": {
            "text": _TEXT,
            "terminated": {"type": "boolean"},
            "truncated": {"type": "boolean"},
            "episode_id": _TEXT,
            "info": {"type": "object"},
        },
    },
    "state": {
        "type": "object",
        "properties": {"episode_id": _TEXT, "step_count": {"type": "integer"}},
    },
}
METADATA: Final[JSON] = {
    "name": "ToRLMath-v0",
    "description": "A problem, a Python interpreter and a model that writes text",
    "version": "0",
}
API_VERSION: Final = "1.0.0"
"""Of OpenEnv's HTTP form, not of the environment."""

_RESULT: Final[JSON] = {
    "type": "object",
    "properties": {
        "observation": SCHEMA["observation"],
        "reward": {"type": ["number", "null"]},
        "done": {"type": "boolean"},
    },
}
_RESET: Final[JSON] = {
    "type": "object",
    "properties": {
        "seed": {"type": "integer", "minimum": 0},
        "episode_id": _TEXT,
        "problem_id": _TEXT,
    },
}
_NAMED: Final[JSON] = {"type": "object", "properties": {"episode_id": _TEXT}}
_STEP: Final[JSON] = {
    "type": "object",
    "properties": {"action": SCHEMA["action"], "episode_id": _TEXT},
    "required": ["action", "episode_id"],
}
_ANY: Final[JSON] = {"type": "object"}
_OPERATIONS: Final = (
    ("post", "/reset", "Begin an episode", _RESET, _RESULT),
    ("post", "/step", "Take the model's next text", _STEP, _RESULT),
    ("get", "/state", "Where an episode stands", None, SCHEMA["state"]),
    ("post", "/close", "End an episode", _NAMED, _ANY),
    ("get", "/health", "Whether the server lives", None, _ANY),
    ("get", "/metadata", "Name and description", None, _ANY),
    ("get", "/schema", "Schemas of action, observation and state", None, _ANY),
    ("post", "/mcp", "Model Context Protocol, which has no tools here", _ANY, _ANY),
)


def openapi() -> JSON:
    """The OpenAPI document of the HTTP routes."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": METADATA["name"],
            "description": METADATA["description"],
            "version": API_VERSION,
        },
        "paths": {path: {method: _operation(path, *rest)} for method, path, *rest in _OPERATIONS},
    }


def _operation(path: str, summary: str, body: JSON | None, result: JSON) -> JSON:
    said: JSON = {
        "summary": summary,
        "responses": {"200": {"description": "OK", "content": _content(result)}},
    }
    if body is not None:
        said["requestBody"] = {"content": _content(body)}
    if path == "/state":
        name = {"name": "episode_id", "in": "query", "required": True, "schema": _TEXT}
        said["parameters"] = [name]
    return said


def _content(schema: JSON) -> JSON:
    return {"application/json": {"schema": schema}}


def mcp_reply(body: bytes) -> JSON:
    r"""The answer to a JSON-RPC request: a list of no tools, or an error.

    A model calls tools in the text of a step, so that what it calls is part of the episode and of
    its reward; none can be called around the episode.

    >>> mcp_reply(b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}')["result"]
    {'tools': []}
    >>> mcp_reply(b'{}')["error"]["code"], mcp_reply(b'{')["error"]["code"]
    (-32600, -32700)
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return _error(None, -32700, "Parse error")
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _error(None, -32600, "a request is an object with a method")
    key = request.get("id")
    if not isinstance(key, (str, int, float)):
        key = None
    match request["method"]:
        case "tools/list":
            return {"jsonrpc": "2.0", "id": key, "result": {"tools": []}}
        case "tools/call":
            return _error(key, -32602, "no tools are served here: call them in a step's text")
        case _:
            return _error(key, -32601, "Method not found")


def _error(key: object, code: int, message: str) -> JSON:
    return {"jsonrpc": "2.0", "id": key, "error": {"code": code, "message": message}}
