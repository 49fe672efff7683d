"""`torl serve`: the environment as an OpenEnv server."""

import contextlib
import signal
from dataclasses import dataclass

from torl_env import ToRLMathEnv
from torl_env.problem_sampling import open_problems
from torl_env.sandbox import open_sandbox


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Serve episodes over WebSocket and HTTP in OpenEnv's form."""

    problems: str = "procedural:easy"
    """A name or path of problems, as in `torl data list`."""
    split: str | None = None
    tool_budget: int = 1
    """Tool calls an episode."""
    reward: str = "torl"
    """A preset: torl, torl_penalty, thor, limr."""
    stateful: bool = False
    """Whether variables live from one call to the next."""
    sandbox: str = "local"
    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    token: str | None = None
    """Clients send it as `Authorization: Bearer`; required off loopback."""
    sessions: int = 64
    """Episodes at once; more are answered 503."""
    idle_seconds: float = 600.0
    """A session that nobody uses is closed after this long."""
    path_prefix: str = ""
    """Before every path."""
    hosts: tuple[str, ...] = ()
    """Further names by which clients without a token may address this server."""


def main(options: ServeOptions) -> int:
    """Serve until interrupted."""
    from torl_env.adapters.openenv import OpenEnvServer, ServerOptions

    # A stop by `kill` or a service manager is as orderly as one from the keyboard.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serving = ServerOptions(
        host=options.host,
        port=options.port,
        token=options.token,
        sessions=options.sessions,
        idle_seconds=options.idle_seconds,
        path_prefix=options.path_prefix,
        hosts=options.hosts,
    )
    source = open_problems(options.problems, options.split)
    with open_sandbox(options.sandbox) as sandbox:

        def make() -> ToRLMathEnv:
            return ToRLMathEnv(
                source,
                sandbox=sandbox,
                tool_budget=options.tool_budget,
                max_turns=options.tool_budget + 16,
                reward=options.reward,
                stateful=options.stateful,
            )

        make().close()
        server = OpenEnvServer(make, serving)

        def announce() -> None:
            print(
                f"serving {source.name} on {server.url}{options.path_prefix} "
                "(OpenEnv: /ws, /reset, /step, /state)",
                flush=True,
            )

        try:
            with contextlib.suppress(KeyboardInterrupt):
                server.run(announce)
        finally:
            server.stop()
    return 0
