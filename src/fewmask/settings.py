"""What every block of settings is."""

from pathlib import PurePath
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Settings(BaseModel):
    """A block of settings: frozen; a key that it does not know is a mistake, and infinity and `true` are no numbers.

    Where a text names a file, a `Path` does too. The text below a field is what `fewmask settings` says of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_it_was_meant(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool):  # which pydantic would take for 0 or 1
            types = _types(cls.model_fields[str(info.field_name)].annotation)
            if bool not in types and types & {int, float}:
                raise ValueError("it should be a number")
        return str(value) if isinstance(value, PurePath) else value


def _types(annotation: Any) -> set[Any]:
    """What a value may be, not what it may hold: `int | tuple[int, int]` has int and the tuple."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _types(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return {found for part in get_args(annotation) for found in _types(part)}
    return {annotation}
