"""Runners of sessions forked ahead: while the model thinks, the next turn's first fork is made.

A spare has the state after the last turn, as its head has, and is frozen like that. It has run
nothing of a turn, so limits, clock and thread count begin with the turn that it is given. Its
session owns it: a turn that ends, a head that is lost and a turn in place all end it.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from torl_env.sandbox.forkserver.clones import CloneGate
from torl_env.sandbox.forkserver.process_tree import (
    Session,
    Spare,
    Turn,
    freeze,
    new_channel,
    read_word,
    send_word,
    wake,
)
from torl_env.sandbox.forkserver.reactor import Reactor
from torl_env.sandbox.forkserver.turns import FORK, HELLO

_MOST: Final = 64
"""Of a server: each holds a fork's page tables, about a megabyte."""
_AWAKE_SECONDS: Final = 1.0
"""A head that has not forked by then is frozen again until its next turn."""


class Spares:
    """Makes and gives them.

    Args:
        reactor: Of the server.
        gate: Lets heads fork.
        settled: Called when a turn that waits for its session's spare has one, or will have none.
    """

    def __init__(
        self, reactor: Reactor, gate: CloneGate, settled: Callable[[Session, Turn], None]
    ) -> None:
        self._reactor = reactor
        self._gate = gate
        self._settled = settled
        self._wanting: dict[Session, None] = {}
        self._ready: dict[Session, None] = {}
        """The one that was made first comes first."""

    def want(self, session: Session) -> None:
        """Make one for the next turn when nothing else is to do."""
        self._wanting[session] = None

    def prepare(self) -> bool:
        """Make one that is wanted; whether there are more."""
        while self._wanting:
            session = next(iter(self._wanting))
            del self._wanting[session]
            if session.head and session.turn is None and session.spare is None:
                self._fork(session)
                break
        return bool(self._wanting)

    def take(self, session: Session) -> Spare | None:
        """Give the one that is ready to its session's turn."""
        spare = session.spare
        if spare is None or not spare.pid:
            return None
        self._forget(session, spare)
        return spare

    def drop(self, session: Session) -> None:
        """End it: the state that it has is not, or will not be, that of its session."""
        self._wanting.pop(session, None)
        spare = session.spare
        if spare is None:
            return
        self._forget(session, spare)
        spare.channel.close()
        # The number of one that is gone may be another process's by now.
        if spare.pid and self._reactor.disown(spare.pid):
            with suppress(ProcessLookupError):
                os.kill(spare.pid, signal.SIGKILL)

    def _forget(self, session: Session, spare: Spare) -> None:
        session.spare = None
        self._ready.pop(session, None)
        self._reactor.forget(spare.channel.fileno())

    def _fork(self, session: Session) -> None:
        ours, theirs = new_channel()
        spare = session.spare = Spare(ours)
        self._reactor.watch(ours.fileno(), lambda: self._hear(session, spare))
        self._gate.allow_fork(session.head)
        wake(session.head)
        if session.channel is not None:
            send_word(session.channel, FORK, [theirs.fileno()])
        theirs.close()

        def overdue() -> None:
            if session.spare is spare and not spare.pid and session.turn is None:
                freeze(session.head)

        self._reactor.at(time.monotonic() + _AWAKE_SECONDS, overdue)

    def _hear(self, session: Session, spare: Spare) -> None:
        word, pid = read_word(spare.channel)
        if word is None or session.spare is not spare:
            return
        self._gate.forget(session.head)
        waits = not spare.pid
        if word == HELLO and waits and pid > 1 and pid not in self._reactor.pids():
            spare.pid = pid
            freeze(pid)
            self._reactor.adopt(pid, lambda *_: self._ended(session, spare))
            self._ready[session] = None
            if len(self._ready) > _MOST:
                self.drop(next(iter(self._ready)))
        else:
            # It is gone, could not be made, or speaks without being asked.
            self.drop(session)
        if not waits:
            return
        if session.turn is None:
            freeze(session.head)
        elif session.turn.waits:
            self._settled(session, session.turn)

    def _ended(self, session: Session, spare: Spare) -> None:
        if session.spare is spare:
            self.drop(session)
