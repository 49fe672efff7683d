"""lm-evaluation-harness: our grader as a task's `process_results`, through its evaluator."""

from importlib.metadata import version
from typing import Any

from benchmarks.stacks.result import Result, report
from rewards.adapters import lm_eval_results

DOCS = [
    {"question": "1/2?", "answer": "0.5"},
    {"question": "6*7?", "answer": "42"},
    {"question": "?", "answer": "\\frac{"},
]
SAID = ["So \\boxed{\\frac{1}{2}}.", "So \\boxed{41}.", "So \\boxed{1}."]


def problems(**_: Any) -> dict[str, Any]:
    """The data set of the task."""
    from datasets import Dataset

    return {"test": Dataset.from_list(DOCS)}


def main() -> None:
    """Right by value, wrong, and undecided, which counts in no mean."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask

    class Scripted(LM):  # type: ignore[misc]
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            return [SAID[one.doc_id] for one in requests]

        def loglikelihood(self, requests: Any) -> list[Any]:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: Any) -> list[Any]:
            raise NotImplementedError

    task = ConfigurableTask(
        config={
            "task": "torl_math",
            "custom_dataset": problems,
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{answer}}",
            "process_results": lm_eval_results,
            "generation_kwargs": {"until": ["\n\n\n"]},
            "metric_list": [
                {"metric": name, "aggregation": "mean", "higher_is_better": name == "acc"}
                for name in ("acc", "ungradable")
            ],
        }
    )
    found = simple_evaluate(model=Scripted(), tasks=[task], bootstrap_iters=0)
    means = found["results"]["torl_math"]
    assert means["acc,none"] == 0.5, means
    assert abs(means["ungradable,none"] - 1 / 3) < 1e-9, means
    report(
        Result(
            version=version("lm-eval"),
            ran="the grader as process_results of a task, through simple_evaluate",
            episodes=len(DOCS),
            fault="it runs no program; an undecided grade is in no mean, and counted",
            not_run="tools: the harness asks for one text a problem",
        )
    )


if __name__ == "__main__":
    main()
