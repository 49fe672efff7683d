"""Episodes over a network in OpenEnv's form: a server here, a client that could be anywhere."""

from torl_env import ToRLMathEnv
from torl_env.adapters.openenv import OpenEnvServer, ServerOptions
from torl_env.adapters.openenv_client import OpenEnvClient
from torl_env.problems import Listed, Problem
from torl_env.sandbox import open_sandbox


def main() -> None:
    """Serve, connect, play an episode."""
    problems = Listed("one", [Problem("p0", "What is 6*7?", "42")])
    with (
        open_sandbox("local") as sandbox,
        OpenEnvServer(
            lambda: ToRLMathEnv(problems, sandbox=sandbox), ServerOptions(port=0)
        ) as server,
    ):
        print("listening on", server.url)
        with OpenEnvClient(server.url) as client:
            print(client.reset(seed=0).text)
            print(client.step("```python\nprint(6*7)\n```").text.strip())
            seen = client.step("It is \\boxed{42}.")
            print("reward", seen.reward, seen.info["verdict"], client.state())
            assert seen.done
            assert seen.reward == 1.0


if __name__ == "__main__":
    main()
