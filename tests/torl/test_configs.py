"""The configurations under runs/configs, read by accelerate's own loader."""

import sys
from pathlib import Path

import pytest

RUNS = Path(__file__).parents[2] / "runs"
sys.path.append(str(RUNS))


def load(name):
    from accelerate.commands.config.config_args import load_config_from_file

    return load_config_from_file(str(RUNS / "configs" / name))


@pytest.mark.parametrize("file", sorted(f.name for f in (RUNS / "configs").glob("*.yaml")))
def test_accelerate_reads_each(file):
    config = load(file)
    assert config.num_processes > 1
    assert config.compute_environment == "LOCAL_MACHINE"


def test_sharded_checkpoints_are_ordinary_models():
    """`torl eval` and vLLM load a checkpoint as it is."""
    assert load("fsdp.yaml").fsdp_config["fsdp_state_dict_type"] == "FULL_STATE_DICT"
    assert load("fsdp.yaml").fsdp_config["fsdp_version"] == 2
    assert load("deepspeed.yaml").deepspeed_config["zero3_save_16bit_model"] is True


def test_activations_are_recomputed_by_one_party_alone():
    """The recipes ask for it by torl's option; transformers refuses both at once."""
    from torl_7b import LARGER, OPTIONS

    assert {**OPTIONS, **LARGER}["activation-checkpointing"] is True
    assert load("fsdp.yaml").fsdp_config["fsdp_activation_checkpointing"] is False


def test_deepspeed_clips_as_the_trainer_does():
    from agents.core.trainer.options import Training

    clipping = load("deepspeed.yaml").deepspeed_config["gradient_clipping"]
    assert clipping == Training().max_grad_norm


def test_the_launcher_starts_the_processes_of_the_cpu_configuration():
    """With MULTI_CPU accelerate would start one process and say nothing."""
    config = load("cpu.yaml")
    assert (config.distributed_type.value, config.use_cpu) == ("MULTI_GPU", True)


@pytest.mark.parametrize(
    ("config", "sharded"),
    [("multi_gpu.yaml", False), ("fsdp.yaml", True), ("deepspeed.yaml", True)],
)
def test_a_plan_sees_what_a_launched_process_sees(config, sharded, monkeypatch):
    from recipe import as_launched

    from agents.core.trainer import distributed

    for name, value in as_launched(RUNS / "configs" / config).items():
        monkeypatch.setenv(name, value)
    assert (distributed.world_size(), distributed.is_main()) == (8, True)
    assert distributed.sharded() is sharded
