"""The log lines of an exporter, kept back where the edge's own log says the same in one line."""

import logging
import threading


class Words(logging.Filter):
    """Keeps back what a logger is told while a block runs in this thread: ``with words: …``.

    Other threads may use the logger meanwhile, and their lines pass.

    Attributes:
        said: the first line of the present block, or of the last one, which says more than those of later tries.
    """

    def __init__(self, logger: logging.Logger) -> None:
        """Begin to filter.

        Args:
            logger: of the exporter.
        """
        super().__init__()
        self._logger = logger
        self._threads: set[int] = set()
        self._closed = False
        self.said = ""
        logger.addFilter(self)

    def __enter__(self) -> None:
        self.said = ""
        self._threads.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        self._threads.discard(threading.get_ident())
        if self._closed:
            self.close()

    def close(self) -> None:
        """End filtering, as soon as no thread is in a block."""
        self._closed = True
        if not self._threads:
            self._logger.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep back a line of a thread that is in a block."""
        if record.thread not in self._threads:
            return True
        self.said = self.said or record.getMessage()
        return False
