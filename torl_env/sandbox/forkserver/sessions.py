"""The server's side of sessions: who may fork, whose end is a turn's result, what is left.

Whatever a session does is its own: it can spoil the turn that it runs and the session, never the
server, another session, or the truth of a result. So a turn's result is the exit status of the
process that ran it, everything is timed by the turn's limits from the first word to the head on,
and a session that misbehaves is answered with a status. `turns` has the other side.
"""

import errno
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from torl_env.sandbox.forkserver.clones import CloneGate
from torl_env.sandbox.forkserver.process_tree import (
    Session,
    Turn,
    freeze,
    kill_undeclared,
    new_channel,
    read_word,
    wake,
)
from torl_env.sandbox.forkserver.program import Child
from torl_env.sandbox.forkserver.reactor import Reactor
from torl_env.sandbox.forkserver.runs import fork_child, judge
from torl_env.sandbox.forkserver.spares import Spares
from torl_env.sandbox.forkserver.turns import (
    CANNOT_FORK,
    COMPILED,
    FORK,
    HELLO,
    NOT_COMPILED,
    TURN,
    TURN_IN_PLACE,
    TURN_OF_SPARE,
    Interpreter,
)
from torl_env.sandbox.forkserver.watch import WaitMeter, Watch
from torl_env.sandbox.forkserver.wire import Ending, Job, Mark, Op, Reply, Request

_UID_SPAN: Final = 4096
_BRANCH: Final = Job(5000, 20_000, 0, 0, 1, 0)
"""Limits of what a head does to branch."""
_LAST_WORD_SECONDS: Final = 10.0
"""A runner has ended well: its continuation has this long to say hello."""
_SWEEP_SECONDS: Final = 0.2
_KILLED: Final = -int(signal.SIGKILL)


class Sessions:
    """Opens, runs, branches and ends sessions."""

    def __init__(
        self,
        reactor: Reactor,
        child: Child,
        send: Callable[[Reply], None],
        meter: WaitMeter,
        gate: CloneGate,
        interpreter: Interpreter,
    ) -> None:
        self._interpreter = interpreter
        self._kept = interpreter.keep()
        self._reactor = reactor
        self._child = child
        self._send = send
        self._meter = meter
        self._gate = gate
        self._sessions: dict[int, Session] = {}
        self._next_offset = 0
        self.spares = Spares(reactor, gate, self._proceed)

    def handle(self, request: Request, files: list[int]) -> None:
        """Do what the client asks."""
        session = self._sessions.get(request.session)
        if request.op is Op.OPEN:
            self._open(request)
        elif session is None:
            if request.op is not Op.CLOSE:
                self._send(Reply(request.call, Ending.FAILED, code=errno.ESRCH))
        elif request.op is Op.CLOSE:
            self._end(session)
        elif session.turn is not None:
            self._send(Reply(request.call, Ending.FAILED, code=errno.EBUSY))
        elif not session.head:
            # It ended itself after its last turn, by a thread or so.
            self._lose(session, request)
        else:
            self._start(session, request, files)
            return
        for file in files:
            os.close(file)

    def kill(self, call: int) -> None:
        """End the turn with this number."""
        for session in list(self._sessions.values()):
            turn = session.turn
            if turn is not None and turn.request.call == call:
                turn.watch.kill(Ending.KILLED)

    def _open(self, request: Request, tries: int = 3) -> None:
        """Fork the first head, which has run nothing yet and can be trusted.

        One that dies before its hello dies of what runs beside it, which shall void no episode.
        """
        self._next_offset = (self._next_offset + 1) % _UID_SPAN
        offset = len(self._child.phases) + self._next_offset
        session = Session(request.session, offset)
        isolation = self._child.isolation
        area = None if isolation.areas is None else isolation.areas.make()
        pid, channel = fork_child(
            lambda end: self._interpreter.serve(end, self._kept, offset, area), isolation
        )
        if area is not None:
            # It lasts as long as a process is in it: all heads, turns and branches of the session.
            area.close()
        self._sessions[session.number] = session

        def opened() -> None:
            self._reactor.forget(channel.fileno())
            if read_word(channel)[0] == HELLO:
                self._set_head(session, pid, channel)
                self._send(Reply(request.call, Ending.DONE))
                return
            channel.close()
            self._sessions.pop(session.number, None)
            self._kill(pid)
            if tries > 1:
                self._open(request, tries - 1)
            else:
                self._send(Reply(request.call, Ending.FAILED, code=errno.ECHILD))

        self._reactor.adopt(pid, lambda *_: None)
        self._reactor.watch(channel.fileno(), opened)

    def _set_head(self, session: Session, pid: int, channel: socket.socket) -> None:
        """Process `pid` has the state of the session now; it sleeps until the next turn."""
        session.head, session.channel = pid, channel
        self._reactor.adopt(
            pid, lambda status, usage: self._head_ended(session, pid, status, usage)
        )
        self._reactor.watch(channel.fileno(), lambda: self._head_speaks(session, pid))
        freeze(pid)

    def _start(self, session: Session, request: Request, files: list[int]) -> None:
        job = _BRANCH if request.op is Op.BRANCH else request.job
        watch = Watch(self._reactor, self._meter, session.head, job)
        ours, theirs = new_channel()
        turn = session.turn = Turn(request, ours, theirs, watch, files)
        if session.spare is not None and not session.spare.pid:
            # The head is forking one just now: on the turn's own time, if it does not end.
            wake(session.head)
            return
        self._proceed(session, turn)

    def _proceed(self, session: Session, turn: Turn) -> None:
        """Give it to the spare, or else to the head."""
        job, op, head = turn.request.job, turn.request.op, session.head
        self._reactor.watch(turn.channel.fileno(), lambda: self._listen(session, turn))
        spare = self.spares.take(session) if op is Op.TURN else None
        if spare is not None:
            alive = turn.send(spare.channel, TURN_OF_SPARE + job.pack())
            spare.channel.close()
            if alive:
                self._has_runner(session, turn, spare.pid)
                wake(spare.pid)
                return
        word = FORK if op is Op.BRANCH else TURN + job.pack()
        self._gate.allow_fork(head)
        if turn.in_place:
            self.spares.drop(session)
            word = TURN_IN_PLACE + job.pack()
            turn.runner = head
            self._gate.limit(head, job.processes)
        wake(head)
        if session.channel is not None:
            # One who does not listen any more is found out by its silence.
            turn.send(session.channel, word)

    def _listen(self, session: Session, turn: Turn) -> bool:
        """A process that the turn has made says something, or all have closed their end.

        Returns:
            Whether there may be more to hear.
        """
        if turn.over or turn.closed:
            return False
        data, pid = read_word(turn.channel)
        if data is None:
            return False
        if not data:
            turn.closed = True
            self._reactor.forget(turn.channel.fileno())
            if turn.ended is not None:
                self._conclude(session, turn)
            elif not turn.runner:
                self._misbehaves(session, turn)
        elif data == HELLO and self._is_new(turn, pid):
            self._greet(session, turn, pid)
        elif data in (COMPILED, NOT_COMPILED) and pid == turn.runner and turn.compiled is None:
            turn.compiled = data == COMPILED
        elif data == CANNOT_FORK and not turn.runner:
            freeze(session.head)
            self._finish(session, turn, Ending.EXITED, 1, turn.watch.cpu)
        else:
            self._misbehaves(session, turn)
        return True

    def _is_new(self, turn: Turn, pid: int) -> bool:
        """Whether it has not said hello yet; a runner that has ended is no child any more."""
        return pid > 1 and pid != turn.runner and pid not in self._reactor.pids()

    def _greet(self, session: Session, turn: Turn, pid: int) -> None:
        if turn.request.op is Op.BRANCH:
            self._branched(session, turn, pid)
        elif not turn.runner:
            self._has_runner(session, turn, pid)
        elif not turn.continuation:
            freeze(pid)
            turn.continuation = pid
            self._reactor.adopt(pid, lambda *_: self._continuation_ended(session, turn))
            if turn.ended is not None:
                self._conclude(session, turn)
        else:
            # A third process; the sweep finds it.
            self._misbehaves(session, turn)

    def _has_runner(self, session: Session, turn: Turn, pid: int) -> None:
        freeze(session.head)
        self._gate.forget(session.head)
        turn.watch.over, turn.runner = True, pid
        turn.watch = Watch(self._reactor, self._meter, pid, turn.request.job)
        self._gate.limit(pid, turn.request.job.processes)
        self._gate.allow_fork(pid)
        self._reactor.adopt(pid, lambda *end: self._runner_ended(session, turn, end))

    def _branched(self, session: Session, turn: Turn, pid: int) -> None:
        freeze(session.head)
        self._gate.forget(session.head)
        self._reactor.forget(turn.channel.fileno())
        session.turn, turn.over, turn.watch.over = None, True, True
        branch = Session(turn.request.branch, session.offset)
        self._sessions[branch.number] = branch
        self._set_head(branch, pid, turn.channel)
        self._send(Reply(turn.request.call, Ending.DONE))

    def _runner_ended(
        self, session: Session, turn: Turn, end: tuple[int, resource.struct_rusage]
    ) -> None:
        """The kernel says how the turn went."""
        self._gate.forget(turn.runner)
        # What it has said before comes first, whichever the server hears of first.
        while self._listen(session, turn):
            pass
        if turn.over:
            return
        turn.ended = end
        turn.watch.over = True
        ending, code, _ = self._verdict(turn)
        goes_on = ending is Ending.EXITED and (code == 0 or turn.in_place)
        if not goes_on or turn.continuation or turn.closed:
            self._conclude(session, turn)
            return
        # A process that it forked holds the channel and has not said so yet.
        moment = time.monotonic() + _LAST_WORD_SECONDS
        self._reactor.at(moment, lambda: None if turn.over else self._conclude(session, turn))

    @staticmethod
    def _verdict(turn: Turn) -> tuple[Ending, int, int]:
        assert turn.ended is not None
        status, usage = turn.ended
        return judge(turn.watch, status, usage.ru_utime + usage.ru_stime)

    def _conclude(self, session: Session, turn: Turn) -> None:
        """The runner has ended: go on from its continuation, or from the head as it was."""
        assert turn.ended is not None
        ending, code, number = self._verdict(turn)
        mark = Mark.NONE
        if ending is Ending.EXITED and (code == 0 or turn.in_place):
            if turn.continuation:
                self._replace_head(session, turn)
            else:
                mark = Mark.INTERPRETER_ENDED
        usage = turn.ended[1]
        cpu = turn.watch.cpu_of(usage.ru_utime + usage.ru_stime)
        if turn.in_place and session.head in (0, turn.runner):
            self._lose_head(session)
        self._finish(session, turn, ending, code, cpu, number, mark, usage.ru_maxrss)

    def _replace_head(self, session: Session, turn: Turn) -> None:
        self._lose_head(session)
        self._reactor.forget(turn.channel.fileno())
        self._set_head(session, turn.continuation, turn.channel)
        turn.continuation = 0

    def _lose_head(self, session: Session) -> None:
        self.spares.drop(session)
        if session.head:
            self._kill(session.head)
        if session.channel is not None:
            self._reactor.forget(session.channel.fileno())
            session.channel.close()
        session.head, session.channel = 0, None

    def _finish(
        self,
        session: Session,
        turn: Turn,
        ending: Ending,
        code: int,
        cpu: float,
        number: int = 0,
        mark: Mark = Mark.NONE,
        rss_kb: int = 0,
    ) -> None:
        """Answer, and end what the turn has left."""
        turn.over = turn.watch.over = True
        session.turn = None
        self._gate.forget(session.head)
        if turn.continuation:
            self._kill(turn.continuation)
        if turn.runner and turn.ended is None:
            self._kill(turn.runner)
        if turn.channel is not session.channel:
            self._reactor.forget(turn.channel.fileno())
            turn.channel.close()
        turn.close_files()
        if turn.request.op is Op.TURN:
            self.spares.want(session)
        if not session.head:
            mark |= Mark.SESSION_LOST
            self._sessions.pop(session.number, None)
        self._send(turn.reply(ending, code, number, mark, rss_kb, cpu))

    def _misbehaves(self, session: Session, turn: Turn) -> None:
        """It has said what no interpreter says, or nothing at all: the turn's process is killed."""
        if not turn.runner or turn.in_place:
            self._lose_head(session)
        number, mark = int(signal.SIGKILL), Mark.ENDED_BY_SERVER
        self._finish(session, turn, Ending.SIGNALED, _KILLED, turn.watch.cpu, number, mark)
        self.sweep()

    def _continuation_ended(self, session: Session, turn: Turn) -> None:
        turn.continuation = 0
        if not turn.over and turn.ended is not None:
            self._conclude(session, turn)

    def _head_ended(
        self, session: Session, pid: int, status: int, usage: resource.struct_rusage
    ) -> None:
        """The head has died: in a turn in place, before a turn could begin, or by itself."""
        if session.head != pid:
            return
        if (turn := session.turn) is not None and turn.runner == pid:
            self._runner_ended(session, turn, (status, usage))
            return
        self._lose_head(session)
        if turn is None or turn.runner:
            return
        ending, code, number = judge(turn.watch, status, usage.ru_utime + usage.ru_stime)
        mark = Mark.NONE
        if ending is Ending.EXITED:
            ending, code, number = Ending.SIGNALED, _KILLED, int(signal.SIGKILL)
            mark = Mark.ENDED_BY_SERVER
        cpu = turn.watch.cpu_of(usage.ru_utime + usage.ru_stime)
        self._finish(session, turn, ending, code, cpu, number, mark)

    def _head_speaks(self, session: Session, pid: int) -> None:
        """A head only listens, so what it says is the word of a program in it."""
        if session.head != pid or session.channel is None:
            return
        if read_word(session.channel)[0] is None:
            return
        turn = session.turn
        if turn is not None and not turn.runner:
            self._lose_head(session)
            self._misbehaves(session, turn)
        elif turn is None:
            self._lose_head(session)
        else:
            self._reactor.forget(session.channel.fileno())

    def _lose(self, session: Session, request: Request) -> None:
        """Answer a request to a session that has ended itself."""
        self._sessions.pop(session.number, None)
        mark = Mark.SESSION_LOST | Mark.COMPILED | Mark.INTERPRETER_ENDED | Mark.ENDED_BY_SERVER
        number = int(signal.SIGKILL)
        ending = Ending.DONE if request.op is Op.BRANCH else Ending.SIGNALED
        self._send(Reply(request.call, ending, _KILLED, number, mark))

    def _end(self, session: Session) -> None:
        """The client has no use for it any more."""
        if session.turn is not None:
            self._lose_head(session)
            self._finish(session, session.turn, Ending.KILLED, 0, 0.0)
        self._lose_head(session)
        self._sessions.pop(session.number, None)

    def _kill(self, pid: int) -> None:
        self._gate.forget(pid)
        # The number of one that is gone may be another process's by now.
        if self._reactor.disown(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def sweep(self) -> None:
        """Kill children that a program has made and not declared."""
        if (proc := self._child.isolation.proc) < 0:
            return
        if any(session.expects_process for session in self._sessions.values()):
            # One that has not said hello yet would be taken for an undeclared one.
            self._reactor.at(time.monotonic() + _SWEEP_SECONDS, self.sweep)
            return
        kill_undeclared(proc, self._reactor.pids())
