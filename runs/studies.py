"""The studies on CPU: three seeds of SmolLM2-135M on procedural problems.

    python runs/studies.py {a,b,c,d,e,f,g,all} OUT [--seeds 0 1 2] [--records DIR] [--no-make]

(a) ToRL against CoT-RL, TIR-SFT and TIR-RL; (b) the tool budget C; (c) the penalty for failing
code; (d) THOR's ablation T1 to T6 and its selectors; (e) GRPO against PPO against leave-one-out;
(f) THOR's ablation and the budget on problems where programs fail; (g) there, what a step of THOR
is paid for and weighs.

Runs that several studies need are made once, all of one seed before the next, each in a process of
its own; finished ones are not made again, and one that was cut off is made anew. In the end tables
and plots are written to DIR (default: OUT/records); `--no-make` writes them from what is there and
makes nothing.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from study_plan import SPECS, STUDIES, Spec
from study_run import finished, settings
from study_tables import write_records


def main() -> int:
    """Make what is missing; write tables and plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=[*(study.letter for study in STUDIES), "all"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--records", type=Path)
    parser.add_argument("--no-make", action="store_true")
    asked = parser.parse_args()
    studies = [study for study in STUDIES if asked.study in (study.letter, "all")]
    wanted = {name for study in studies for name in study.runs}
    records = asked.records or asked.out / "records"
    failed = []
    for seed in () if asked.no_make else asked.seeds:
        for spec in SPECS:
            if spec.name in wanted and _missing(spec, seed, asked.out):
                needed = [name for name in (spec.start, spec.tokens_of) if name]
                ready = all(finished(asked.out, name, seed) for name in needed)
                if not (ready and make(spec, seed, asked.out)):
                    failed.append(f"{spec.name}-{seed}")
    print(write_records(studies, asked.out, asked.seeds, records))
    if failed:
        print(f"failed, or without what they start from: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _missing(spec: Spec, seed: int, out: Path) -> bool:
    """Whether a run is still to be made.

    Raises:
        SystemExit: There is one of this name with other settings.
    """
    record = finished(out, spec.name, seed)
    if record is None:
        return True
    expected = settings(spec)
    differing = [key for key in expected if record[key] != expected[key]]
    if differing:
        sys.exit(
            f"{out}: the run {spec.name}-{seed} was made with another {' and '.join(differing)}: "
            "choose a new OUT, or delete that run"
        )
    return False


def make(spec: Spec, seed: int, out: Path) -> bool:
    """Make a run; False when it failed, which does not keep the others from being made."""
    print(f"{spec.name}, seed {seed}", flush=True)
    # Threads that spin while they wait would be counted as CPU seconds of the step.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    script = Path(__file__).with_name("study_run.py")
    command = [sys.executable, str(script), spec.name, str(seed), str(out)]
    return subprocess.run(command, check=False, env=environment).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
