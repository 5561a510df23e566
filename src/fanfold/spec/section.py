"""What every section of the spec is: keys that are known, values that never change."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Keys of the spec that belong together."""

    # What follows a key is its description: in the JSON Schema, and on the page of the spec.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, serialize_by_alias=True, use_attribute_docstrings=True
    )
