"""What every section of the spec is: keys that are known and agree with each other, values that never change."""

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """Keys of the spec that belong together."""

    # What follows a key is its description: in the JSON Schema, and on the page of the spec.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, serialize_by_alias=True, use_attribute_docstrings=True
    )

    def disagreements(self) -> Iterable[str]:
        """Yield what was expected of several keys together, where they do not agree; the first is told."""
        return ()

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        for words in self.disagreements():
            raise ValueError(words)
        return self
