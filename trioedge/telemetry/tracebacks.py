"""Write a traceback as text and take it off its exception, because local variables may hold secrets.

A program may render its log as it likes, and structlog's own default shows the local variables of every function.
"""

import traceback
from typing import Any, Final

from ..errors import ENDS, quote_fault

# The fields of an exception as Python has them: a class of a stage may have others of these names, which raise.
_TRACEBACK: Final[Any] = BaseException.__dict__["__traceback__"]
_CAUSES: Final[tuple[Any, ...]] = (BaseException.__dict__["__cause__"], BaseException.__dict__["__context__"])
_PARTS: Final[Any] = BaseExceptionGroup.__dict__["exceptions"]


def detached(fault: BaseException) -> str:
    """Give the traceback of an exception as text, with its causes and its parts, and remove it from all of them.

    The frames are freed, and all that their local variables held.

    Args:
        fault: an exception; no method and no field of its own can make this raise.
    """
    text = _text_of(fault).rstrip()
    seen: set[int] = set()
    left: list[BaseException | None] = [fault]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        _TRACEBACK.__set__(each, None)
        left += [cause.__get__(each) for cause in _CAUSES]
        left += parts_of(each)
    return text


def parts_of(fault: BaseException) -> tuple[BaseException, ...]:
    """Give the exceptions of a group; none of any other exception."""
    if not issubclass(type(fault), BaseExceptionGroup):  # `isinstance` reads `__class__`, which may raise
        return ()
    parts: tuple[BaseException, ...] = _PARTS.__get__(fault)
    return parts


def _text_of(fault: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(fault))
    except ENDS:
        raise
    except BaseException:  # it has notes that raise, or a SyntaxError with a number for its line, for example
        return "".join([*traceback.format_tb(_TRACEBACK.__get__(fault)), quote_fault(fault)])
