"""Write a traceback as text and take it off its exception, because local variables may hold secrets.

A program may render its log as it likes, and structlog's own default shows the local variables of every function.
"""

import traceback


def detached(fault: BaseException) -> str:
    """Give the traceback of an exception as text, with its causes and its parts, and remove it from all of them.

    The frames are freed, and all that their local variables held.

    Args:
        fault: an exception; what its own `str` and `repr` do cannot make this raise.
    """
    text = "".join(traceback.format_exception(fault)).rstrip()
    seen: set[int] = set()
    left: list[BaseException | None] = [fault]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = None
        left += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
    return text
