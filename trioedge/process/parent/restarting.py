"""A restart as the parent sees it: a trial, a new image, and then the old children drain.

| state | event | action | then |
| --- | --- | --- | --- |
| at rest | SIGUSR2 | start a trial of the new version | trying |
| trying | it ends well | replace the image, which begins as *succeeding* | (the next image) |
| trying | it fails, or takes 60 s | | at rest |
| succeeding | the children of this version are ready | the old ones drain, or hand over | at rest |
| succeeding | they are not ready after 30 s | say so, and wait on | succeeding |
| succeeding | SIGUSR2 | start a trial of the next version, which ends the children that were never ready | trying |
| trying | SIGUSR2 | | the same |
| trying | the parent is told to end | end the trial | at rest |
"""

import signal
from collections.abc import Callable
from math import inf
from typing import Any, Final

from ..exit_code import ExitCode, how_ended
from .children import SIGNALS, Children
from .ending import Ending
from .listening import ParentListening
from .restart import Passed, kill_trial, replace_image, start_folder, start_trial

TRIAL_SECONDS: Final = 60.0
"""For a trial, which makes the edges and serves nothing."""

PATIENCE_SECONDS: Final = 30.0
"""After which the log says that a new version is not ready yet."""


class Restarting:
    """Restarts of one parent."""

    def __init__(
        self, children: Children, ending: Ending, listening: ParentListening, pass_on: Callable[[], Passed], log: Any,
        *, succeeds: bool,
    ) -> None:  # fmt: skip
        """Be at rest, or succeed a former image.

        Args:
            children: of the parent.
            ending: has the old ones end.
            listening: the sockets of the parent, which a trial does not try.
            pass_on: gives all that the next image needs.
            log: a logger.
            succeeds: whether there are children of a former image.
        """
        self._children, self._ending, self._pass_on, self._log = children, ending, pass_on, log
        self._listening = listening
        self._folder = start_folder()
        self._trial: tuple[int, float] | None = None
        self._succeeds = succeeds
        self._late_at: float | None = None

    def begin(self, now: float) -> None:
        """Start a trial."""
        if self._trial is not None:
            self._log.warning("a restart is under way already")
            return
        try:
            self._trial = start_trial(self._folder, self._listening.given()), now + TRIAL_SECONDS
        except OSError as error:
            self._refuse(error.strerror or str(error))

    def _refuse(self, why: str) -> None:
        """Go on with the old version, and tell the control process why."""
        self._log.error("restart refused: the old version goes on", why=why)
        for child in self._children.controls(old=False):
            child.orders.send({"do": "refused", "why": why})

    def end(self) -> None:
        """End a trial that is under way."""
        if self._trial is not None:
            kill_trial(self._trial[0], signal.SIGKILL)

    def is_trial(self, pid: int) -> bool:
        """Whether a process is the trial."""
        return self._trial is not None and self._trial[0] == pid

    def tried(self, code: int) -> None:
        """Replace the image, if the trial has ended well."""
        self._trial = None
        if self._ending.stops:
            return
        if code != ExitCode.DRAINED:
            self._refuse(f"a trial of the new version ended with {how_ended(code)}; its own lines on stderr say why")
            return
        self._log.info("restarting")
        try:
            replace_image(self._pass_on, self._folder, SIGNALS)
        except OSError as error:
            self._refuse(error.strerror or str(error))

    def proceed(self, workers: int, now: float) -> bool:
        """Have the old children end once the new ones are ready, and return whether that was now."""
        if self._trial is not None and now > self._trial[1]:
            self._log.error("the trial takes too long, and is ended", seconds=TRIAL_SECONDS)
            self._trial = self._trial[0], now + TRIAL_SECONDS
            kill_trial(self._trial[0], signal.SIGKILL)
        children = self._children
        new = children.workers(old=False) + children.controls(old=False)
        if not self._succeeds:
            return False
        if len(new) <= workers or not all(map(children.is_ready, new)):
            self._say_if_late(now)
            return False
        self._succeeds = False
        old = children.workers(old=True)
        self._log.info("restarted", generation=children.generation, draining=len(old))
        self._ending.retire(children.controls(old=True), now)
        self._ending.drain(old, now)
        return True

    def _say_if_late(self, now: float) -> None:
        """Say once that the new version takes long."""
        if self._late_at is None:
            self._late_at = now + PATIENCE_SECONDS
        if now > self._late_at:
            self._late_at = inf
            self._log.warning("the new version is not ready yet, and the old one goes on", seconds=PATIENCE_SECONDS)
