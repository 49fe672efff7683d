"""Sixteen episodes at once, none of which waits for the slowest program."""

import time

import gymnasium as gym


def main() -> None:
    """Start a call in every env, take the results as they come, answer each at once."""
    envs = gym.make_vec(
        "torl_env:ToRLMath-v0", num_envs=16, problems="procedural:easy", autoreset_mode="Disabled"
    )
    envs.reset(seed=0, options={"group_size": 4})

    slow = "```python\nimport time; time.sleep(1); print('slow')\n```"
    quick = "```python\nprint('quick')\n```"
    envs.send([slow] + [quick] * 15, ids=range(16))

    started, running = time.perf_counter(), 16
    while running:
        for result in envs.recv(min_ready=1):
            if result.terminated or result.truncated:
                running -= 1
            else:
                shown = result.observation.split("\n")[2]
                print(f"{time.perf_counter() - started:5.2f} s  env {result.env_id:2}: {shown}")
                envs.send(["So it is \\boxed{0}."], ids=[result.env_id])
    envs.close()


if __name__ == "__main__":
    main()
