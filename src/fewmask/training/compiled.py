"""Networks compiled in place by torch.compile, and its failures in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from warnings import catch_warnings, filterwarnings

from fewmask.errors import UserError, one_line
from fewmask.methods import Method
from fewmask.models.segnet import SegNet


def compile_networks(method: Method, **options: Any) -> None:
    """Compiles every network of the method in place, at the first batch of every size.

    Args:
        method: the method; its weights keep their names.
        options: those of `torch.compile`.
    """
    for module in method.modules():
        if isinstance(module, SegNet):
            module.compile(**{"dynamic": False} | options)  # views, crops and pools differ in size, each all the time


@contextmanager
def compiler_is_there() -> Iterator[None]:
    """Turns a failure of the compiler into an error that says what to do."""
    from torch._dynamo.exc import TorchDynamoException  # here, because it takes a second to import

    try:
        with catch_warnings():
            filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")  # the compiler's own look
            yield
    except TorchDynamoException as error:
        what = f"the networks cannot be compiled here ({one_line(error).split('. ')[0]})"
        raise UserError(what, "training.compile", "Set it to false.") from None
