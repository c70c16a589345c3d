"""The processes of one program: makes the parent, and says what each child is."""

from collections.abc import Awaitable, Callable, Mapping

import structlog

from ...edge import Edge
from ...errors import ConfigurationError, ListenError
from ...upstreams import name_servers  # noqa: F401 - each worker needs it, and has it at once if its parent had it
from ..child.control import be_control
from ..child.worker import be_worker
from ..exit_code import ExitCode
from ..parent.direct_log import parent_logger
from ..parent.inheritance import Inheritance
from ..parent.parent import Parent


def run_workers(
    edges: Mapping[str, Edge],
    reload: Callable[[], object],
    beside: Callable[[], Awaitable[None]] | None,
    *,
    workers: int,
    stall_seconds: float,
) -> ExitCode:
    """Serve edges by several workers; see :func:`~trioedge.process.run.run_edges`.

    Raises:
        ConfigurationError: nothing was started.
    """
    edges, settings = dict(edges), structlog.get_config()

    def work(found: Inheritance) -> int:
        structlog.configure(**settings)
        return be_worker(edges, found)

    def control(found: Inheritance) -> int:
        structlog.configure(**settings)
        return be_control(edges, found, reload, beside)

    log = parent_logger()
    parent = Parent(edges, workers, stall_seconds=stall_seconds, be_worker=work, be_control=control, log=log)
    code = parent.run()
    if code is ExitCode.CONFIGURATION:
        raise ConfigurationError("the edge cannot start: the line of the log before says why")
    if code is ExitCode.LISTEN:
        raise ListenError("the edge cannot listen: the line of the log before says why")
    return code
