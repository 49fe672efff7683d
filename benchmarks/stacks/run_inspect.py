"""inspect_ai: our task through its evaluation, with its own mock model; read back from its log."""

import tempfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.stacks.dying import DYING
from benchmarks.stacks.result import Result, report

PROBLEM = '{"id": "p%d", "question": "What is 6*7?", "answer": "%s"}\n'


def main() -> None:
    """Right with a call, wrong after one past the budget, undecided, and one whose machine dies."""
    from inspect_ai import eval as evaluate
    from inspect_ai.log import read_eval_log
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from torl_env.adapters.inspect import torl

    def call(code: str) -> ModelOutput:
        return ModelOutput.for_tool_call("mockllm/model", "python", {"code": code})

    def says(text: str) -> ModelOutput:
        return ModelOutput.from_content("mockllm/model", text)

    outputs: list[ModelOutput] = [
        *(call("print(6*7)"), says("It is \\boxed{42}.")),
        *(call("print(1)"), call("print(2)"), says("It is \\boxed{41}.")),
        says("It is \\boxed{42}."),
        *(call("print(6*7)"), says("It is \\boxed{42}.")),
    ]
    for output in outputs:
        # Else the mock counts tokens with an encoding that it would have to download.
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "three.jsonl"
        rows = (PROBLEM % (0, "42"), PROBLEM % (1, "42"), PROBLEM % (2, "\\\\frac{"))
        file.write_text("".join(rows))
        model = get_model("mockllm/model", custom_outputs=outputs)
        kept = []
        for task in (torl(str(file), count=3), torl(str(file), count=1, sandbox=DYING)):
            (log,) = evaluate(
                task,
                model=model,
                log_dir=str(folder / "logs"),
                max_samples=1,
                fail_on_error=False,
                display="none",
            )
            assert log.status == "success", log.error
            kept += sorted(read_eval_log(log.location).samples, key=lambda one: one.id)
    first, second, third, died = kept
    assert first.scores["answer"].value == "C"
    assert [m.text for m in first.messages if m.role == "tool"] == ["42"]
    assert second.scores["answer"].value == "I"
    said = [m.text for m in second.messages if m.role == "tool"]
    assert said[0] == "1"
    assert "used up" in said[1]
    assert third.error is not None
    assert "could not decide" in third.error.message
    assert died.error is not None
    assert "died" in died.error.message
    assert not third.scores
    assert not died.scores
    report(
        Result(
            version=version("inspect-ai"),
            ran="task, tool, scorer and log through its eval, with its mock model",
            episodes=4,
            fault="the sample ends with an error and has no score",
            not_run="its viewer in a browser",
        )
    )


if __name__ == "__main__":
    main()
