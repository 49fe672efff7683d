"""How tyro reads fields that take an object or its name: as the name."""

from types import UnionType
from typing import Any, Union, get_args, get_origin

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

object_fields = ConstructorRegistry()
"""Within this context `str | Parser` is `--parser NAME`, and what NAME means the field decides."""


@object_fields.primitive_rule
def _name_of_an_object(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if get_origin(info.type) not in (Union, UnionType):
        return None
    kinds = set(get_args(info.type)) - {type(None)}
    if str not in kinds or kinds == {str}:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )
