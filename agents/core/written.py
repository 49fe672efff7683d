"""Objects written as a name with arguments, as on a command line: `overlong(cache=512)`."""

import ast
from collections.abc import Callable, Mapping
from typing import Any


def made(node: ast.expr, known: Mapping[str, Callable[..., Any]]) -> Any:
    """What a name, or a call of it with literal keyword arguments, stands for.

    Args:
        node: Of a parsed expression.
        known: What there is by name.

    Raises:
        ValueError: It is neither, or the name is unknown.

    Example:
        >>> made(ast.parse("complex(real=1, imag=2)", mode="eval").body, {"complex": complex})
        (1+2j)
    """
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name) or call.func.id not in known or call.args:
        raise ValueError(f"{ast.unparse(node)} is none of them")
    arguments: dict[str, Any] = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    return known[call.func.id](**arguments)
