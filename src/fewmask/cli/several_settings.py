"""Several settings after one --set: `--set training.steps=2000 data.crop=256`."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

_FLAG = "--set"
_SETTING = re.compile(r"[a-z_]+(\.[a-z_0-9]+)*=")


class SettingsCommand(TyperCommand):
    """A command whose `--set` takes every setting that follows it, as if each had a `--set` of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_each_with_its_flag(args)))


def _each_with_its_flag(words: Iterable[str]) -> Iterator[str]:
    follows_a_setting, before = False, ""
    for word in words:
        is_setting = _SETTING.match(word) is not None
        if follows_a_setting and is_setting and not Path(word).exists():
            yield _FLAG
        else:
            follows_a_setting = (is_setting and before == _FLAG) or word.startswith(f"{_FLAG}=")
        yield word
        before = word
