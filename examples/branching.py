"""Try several continuations of one half-finished episode, its interpreter included."""

import gymnasium as gym


def main() -> None:
    """Compute something once, branch three times, go on differently in each."""
    env = gym.make("torl_env:ToRLMath-v0", stateful=True, tool_budget=3).unwrapped
    env.reset(seed=0)
    env.step("First the table.\n```python\nsquares = [n * n for n in range(10)]\n```")

    for branch, change in zip(env.branch(3), ("append(100)", "pop()", "reverse()"), strict=True):
        shown, *_ = branch.step(f"```python\nsquares.{change}; print(squares)\n```")
        print(change, "->", shown.split("\n")[2])
        branch.close()

    shown, *_ = env.step("```python\nprint(squares)\n```")
    print("untouched ->", shown.split("\n")[2])
    assert shown.split("\n")[2] == str([n * n for n in range(10)])
    stored = env.get_state().to_json()
    print(len(stored), "characters of JSON bring it back in any process")
    env.close()


if __name__ == "__main__":
    main()
