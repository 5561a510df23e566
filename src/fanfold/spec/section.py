"""What every section of the spec has: known keys that agree with each other, and values that never change."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator


def _only_where_of_use(schema: dict[str, Any], section: "type[Section]") -> None:
    """Have the JSON Schema refuse what is of no use where it stands. Of a list, all values are like that."""
    for key, (other, pattern) in section.OF_NO_USE.items():
        is_idle = {"properties": {other: {"pattern": pattern, "items": {"pattern": pattern}}}, "required": [other]}
        schema.setdefault("dependentSchemas", {})[key] = {"not": is_idle}


class Section(BaseModel):
    """Keys of the spec that belong together."""

    # What follows a key is its description: in the JSON Schema, and on the page of the spec.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        json_schema_extra=_only_where_of_use,
    )
    # Keys that do nothing where all values of another key, which stands before them, match a pattern.
    OF_NO_USE: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def disagreements(self) -> Iterable[str]:
        """Yield what was expected of several keys together, if they do not agree; only the first is reported."""
        return ()

    @field_validator("*")
    @classmethod
    def _is_of_use(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a key that does nothing: in a spec that is written now (`context`), not in one that was kept."""
        other, pattern = cls.OF_NO_USE.get(info.field_name or "", ("", ""))
        found = info.data.get(other) if info.context else None
        texts = found if isinstance(found, list) else [found or ""]
        if found and all(re.search(pattern, text) for text in texts):
            msg = f"no such key: it does nothing beside {other} {found!r}"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        for words in self.disagreements():
            raise ValueError(words)
        return self
