"""The server's side of sessions: who may fork, which turn counts, what is left of a broken session.

Whatever a session process says is taken as a claim of untrusted code: it can end or spoil that
session and nothing else.
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

from torl_env.sandbox.forkserver import kernel
from torl_env.sandbox.forkserver.process_tree import (
    Family,
    Session,
    Turn,
    answer_fork,
    close_received,
    kill_undeclared,
    receive,
)
from torl_env.sandbox.forkserver.program import Child
from torl_env.sandbox.forkserver.reactor import Reactor
from torl_env.sandbox.forkserver.runs import fork_child, judge
from torl_env.sandbox.forkserver.turns import (
    FORK,
    HELLO,
    LISTENER,
    TURN,
    TURN_IN_PLACE,
    Done,
    Interpreter,
    vouched_pid,
)
from torl_env.sandbox.forkserver.watch import WaitMeter, Watch
from torl_env.sandbox.forkserver.wire import Ending, Mark, Op, Reply, Request

_HELLO_SECONDS: Final = 60.0
"""A session that has not forked by then is hung or hostile."""
_UID_SPAN: Final = 4096


class Sessions:
    """Opens, runs, branches and ends sessions."""

    def __init__(
        self, reactor: Reactor, child: Child, send: Callable[[Reply], None], meter: WaitMeter
    ) -> None:
        self._reactor = reactor
        self._child = child
        self._send = send
        self._meter = meter
        self._sessions: dict[int, Session] = {}
        self._fork = kernel.SiblingFork()
        self._next_offset = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def handle(self, request: Request, files: list[int]) -> None:
        """Do what the client asks."""
        if request.op is Op.OPEN:
            self._open(request)
            return
        session = self._sessions.get(request.session)
        if session is None or session.channel is None:
            if request.op is not Op.CLOSE:
                self._refuse(request, errno.ESRCH, files)
        elif request.op is Op.CLOSE:
            self._end(session)
        elif session.turn is not None:
            self._refuse(request, errno.EBUSY, files)
        elif request.op is Op.TURN_IN_PLACE:
            self._turn_in_place(session, request, files)
        else:
            self._fork_off(session, request, files)

    def kill(self, call: int) -> None:
        """End the turn with this number."""
        for session in self._sessions.values():
            turn = session.turn
            if turn is not None and turn.request.call == call and turn.watch is not None:
                turn.watch.kill(Ending.KILLED)

    def _refuse(self, request: Request, code: int, files: list[int]) -> None:
        for file in files:
            os.close(file)
        self._send(Reply(request.call, Ending.FAILED, code=code))

    # Opening

    def _open(self, request: Request) -> None:
        self._next_offset = (self._next_offset + 1) % _UID_SPAN
        offset = len(self._child.phases) + self._next_offset
        interpreter = Interpreter(self._child, self._fork)
        session = Session(request.session, Family(offset))
        session.family.members.append(session)
        session.pid, session.channel = fork_child(
            lambda end: interpreter.serve(end, offset), self._child.isolation
        )
        self._sessions[session.number] = session
        self._adopt_head(session)
        channel = session.channel

        def opened() -> None:
            self._reactor.forget(channel.fileno())
            data, files = receive(channel)
            if data != LISTENER:
                self._send(Reply(request.call, Ending.FAILED, code=errno.ECHILD))
                self._end(session)
                return
            if files:
                session.family.listener = files[0]
                self._reactor.watch(files[0], lambda: answer_fork(session.family))
            self._watch_head(session)
            self._send(Reply(request.call, Ending.DONE))

        self._reactor.watch(channel.fileno(), opened)

    def _guarded(self, session: Session, handle: Callable[[], None]) -> None:
        """Whatever a session says, only that session can suffer from it."""
        try:
            handle()
        except Exception:  # noqa: BLE001 - the server serves everybody else
            self._break(session)

    def _watch_head(self, session: Session) -> None:
        """From now on a word from the session, outside a turn, is its end."""
        if session.channel is None:
            return
        self._reactor.forget(session.channel.fileno())
        self._reactor.watch(
            session.channel.fileno(),
            lambda: self._guarded(session, lambda: self._on_head(session)),
        )
        self._freeze(session)

    def _adopt_head(self, session: Session) -> None:
        def ended(status: int, usage: resource.struct_rusage) -> None:
            self._head_ended(session, status, usage)

        self._reactor.adopt(session.pid, ended)

    @staticmethod
    def _freeze(session: Session) -> None:
        """Between turns nothing of a session runs, whatever threads it has started."""
        with suppress(ProcessLookupError):
            os.kill(session.pid, signal.SIGSTOP)

    @staticmethod
    def _thaw(session: Session) -> None:
        with suppress(ProcessLookupError):
            os.kill(session.pid, signal.SIGCONT)

    # Forking: turns that can be rolled back, and branches

    def _fork_off(self, session: Session, request: Request, files: list[int]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        ours.setblocking(False)
        turn = session.turn = Turn(request, time.monotonic(), ours)
        session.may_fork = True
        self._reactor.watch(
            ours.fileno(), lambda: self._guarded(session, lambda: self._on_fork(session, turn))
        )
        # Threads are counted for the user id that the whole family shares.
        job = request.job
        job = job._replace(processes=job.processes + 2 * len(session.family.members))
        word = FORK if request.op is Op.BRANCH else TURN + job.pack()
        self._tell(session, word, [theirs.fileno(), *files])
        theirs.close()
        for file in files:
            os.close(file)
        self._reactor.at(turn.began + _HELLO_SECONDS, lambda: self._check_hello(session, turn))

    def _tell(self, session: Session, word: bytes, files: list[int]) -> None:
        self._thaw(session)
        if session.channel is not None:
            with suppress(OSError):
                socket.send_fds(session.channel, [word], files)

    def _check_hello(self, session: Session, turn: Turn) -> None:
        if not turn.over and turn.watch is None:
            self._break(session)

    def _on_fork(self, session: Session, turn: Turn) -> None:
        channel = turn.channel
        if channel is None or turn.over:
            return
        try:
            data, ancillary, _, _ = channel.recvmsg(256, socket.CMSG_SPACE(64))
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        close_received(ancillary)
        if turn.watch is None:
            self._on_hello(session, turn, data, vouched_pid(ancillary))
        elif (done := Done.unpack(data)) is not None:
            self._turn_done(session, turn, done)
        elif data:
            self._break(session)
        else:
            # The process is gone; its end is reported when it is reaped.
            self._reactor.forget(channel.fileno())

    def _on_hello(self, session: Session, turn: Turn, data: bytes, pid: int) -> None:
        if data != HELLO or pid <= 1 or pid in self._reactor.pids():
            self._break(session)
            return
        self._freeze(session)
        if turn.request.op is Op.BRANCH:
            self._branched(session, turn, pid)
            return
        watch = turn.watch = Watch(self._reactor, self._meter, pid, turn.request.job)

        def ended(status: int, usage: resource.struct_rusage) -> None:
            self._turn_ended(session, turn, watch, status, usage)

        self._reactor.adopt(pid, ended)

    def _branched(self, session: Session, turn: Turn, pid: int) -> None:
        turn.over = True
        session.turn = None
        branch = Session(turn.request.branch, session.family, pid, turn.channel)
        session.family.members.append(branch)
        self._sessions[branch.number] = branch
        self._adopt_head(branch)
        self._watch_head(branch)
        self._answer(turn, Reply(turn.request.call, Ending.DONE))

    # Ends of turns

    def _turn_in_place(self, session: Session, request: Request, files: list[int]) -> None:
        turn = session.turn = Turn(request, time.monotonic())
        turn.watch = Watch(self._reactor, self._meter, session.pid, request.job)
        self._tell(session, TURN_IN_PLACE + request.job.pack(), files)
        for file in files:
            os.close(file)

    def _on_head(self, session: Session) -> None:
        if session.channel is None:
            return
        try:
            data, files = receive(session.channel)
        except BlockingIOError:
            return
        for file in files:
            os.close(file)
        turn, done = session.turn, Done.unpack(data)
        if turn is None or turn.channel is not None or done is None:
            if data:
                self._break(session)
            else:
                self._reactor.forget(session.channel.fileno())
            return
        self._turn_done(session, turn, done)

    def _turn_done(self, session: Session, turn: Turn, done: Done) -> None:
        watch = turn.watch
        if watch is None or watch.verdict is not None:
            # It was killed in the same moment: the kill counts.
            return
        reply = Reply(
            turn.request.call,
            Ending.EXITED,
            code=done.code,
            mark=Mark.COMPILED if done.compiled else Mark.NONE,
            wall_us=int(watch.wall * 1e6),
            cpu_us=int(watch.cpu * 1e6),
        )
        watch.over = True
        session.turn = None
        if turn.channel is None:
            self._freeze(session)
        elif done.code == 0:
            self._replace_head(session, turn)
        else:
            self._drop(turn)
        self._answer(turn, reply)

    def _replace_head(self, session: Session, turn: Turn) -> None:
        self._kill_unseen(session.pid)
        if session.channel is not None:
            self._reactor.forget(session.channel.fileno())
            session.channel.close()
        session.pid, session.channel = turn.pid, turn.channel
        self._adopt_head(session)
        self._watch_head(session)

    def _drop(self, turn: Turn) -> None:
        if turn.pid:
            self._kill_unseen(turn.pid)
        if turn.channel is not None:
            self._reactor.forget(turn.channel.fileno())
            turn.channel.close()

    def _kill_unseen(self, pid: int) -> None:
        self._reactor.disown(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _turn_ended(
        self,
        session: Session,
        turn: Turn,
        watch: Watch,
        status: int,
        usage: resource.struct_rusage,
    ) -> None:
        """A turn's process has died: the session is as it was before."""
        if turn.over:
            return
        watch.over = True
        session.turn = None
        ending, code, number = judge(watch, status, usage.ru_utime + usage.ru_stime)
        self._drop(turn)
        self._answer(
            turn,
            Reply(
                turn.request.call,
                ending,
                code=code,
                signal=number,
                mark=Mark.COMPILED,
                rss_kb=usage.ru_maxrss,
                wall_us=int(watch.wall * 1e6),
                cpu_us=int(watch.cpu_of(usage.ru_utime + usage.ru_stime) * 1e6),
            ),
        )

    def _head_ended(self, session: Session, status: int, usage: resource.struct_rusage) -> None:
        """The session's own process has died, in a turn in place or by itself."""
        turn = session.turn
        if turn is not None and turn.channel is None and turn.watch is not None:
            session.turn = None
            turn.watch.over = True
            ending, code, number = judge(turn.watch, status, usage.ru_utime + usage.ru_stime)
            cpu = turn.watch.cpu_of(usage.ru_utime + usage.ru_stime)
            mark = Mark.COMPILED | Mark.SESSION_LOST
            wall = int(turn.watch.wall * 1e6)
            self._answer(
                turn,
                Reply(
                    turn.request.call,
                    ending,
                    code,
                    number,
                    mark,
                    usage.ru_maxrss,
                    wall,
                    int(cpu * 1e6),
                ),
            )
        self._break(session)

    def _answer(self, turn: Turn, reply: Reply) -> None:
        turn.over = True
        self._send(reply)

    # Ends of sessions

    def _break(self, session: Session) -> None:
        """A session that is dead, hung or lies costs itself, and its turn has no result."""
        self._end(session, Ending.FAILED, errno.ECHILD)
        self._sweep()

    def _sweep(self) -> None:
        if any(item.turn is not None and not item.turn.pid for item in self._sessions.values()):
            # A fork that has not said hello yet would be taken for an undeclared one.
            self._reactor.at(time.monotonic() + 1.0, self._sweep)
            return
        kill_undeclared(self._child.isolation.proc, set(self._reactor.pids()))

    def _end(self, session: Session, ending: Ending = Ending.KILLED, code: int = 0) -> None:
        if self._sessions.pop(session.number, None) is None:
            return
        turn, session.turn = session.turn, None
        if turn is not None:
            lost = Reply(turn.request.call, ending, code, mark=Mark.SESSION_LOST)
            if not turn.over:
                self._answer(turn, lost)
            if turn.watch is not None:
                turn.watch.over = True
            self._drop(turn)
        self._kill_unseen(session.pid)
        if session.channel is not None:
            self._reactor.forget(session.channel.fileno())
            session.channel.close()
            session.channel = None
        family = session.family
        family.members.remove(session)
        if not family.members and family.listener >= 0:
            self._reactor.forget(family.listener)
            os.close(family.listener)
