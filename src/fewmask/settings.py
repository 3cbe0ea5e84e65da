"""The base of every block of settings."""

from pathlib import PurePath
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Settings(BaseModel):
    """A frozen block of settings. Unknown keys, infinity, and `true` for a number are mistakes.

    A `Path` may be given for a text that names a file. `fewmask settings` prints the text below each field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_it_was_meant(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool):  # pydantic would take it for 0 or 1
            types = _types(cls.model_fields[str(info.field_name)].annotation)
            if bool not in types and types & {int, float}:
                raise ValueError("it should be a number")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError("it should be a number of at most 18 digits")
        text = str(value) if isinstance(value, PurePath) else value
        if isinstance(text, str) and ("\0" in text or (not text.isascii() and _has_halves(text))):
            raise ValueError("it holds a character that no file and no text may hold")
        return text


def _has_halves(text: str) -> bool:
    """Whether the text holds halves of characters, which stand for bytes of a path that is not Unicode."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _types(annotation: Any) -> set[Any]:
    """The types that a value may have, without the types inside it: `int | tuple[int, int]` gives int and the tuple."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _types(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return {found for part in get_args(annotation) for found in _types(part)}
    return {annotation}
