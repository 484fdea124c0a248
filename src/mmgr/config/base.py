"""What all sections of the configuration share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


def _code(value: Any) -> Any:
    """Return the whole number of an EPSG code as the name of its CRS."""
    is_code = (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and value.isdecimal())
    return f"EPSG:{value}" if is_code else value


Crs = Annotated[str, BeforeValidator(_code)]
"""A CRS as pyproj reads it; a whole number is an EPSG code."""


class Section(BaseModel):
    """A part of the configuration; a key that it does not know is an error, one without a value is not there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, value: Any) -> Any:
        # of a list whose items are all commented out only the key is left
        known = cls.model_fields
        return {k: v for k, v in value.items() if v is not None or k not in known} if isinstance(value, dict) else value
