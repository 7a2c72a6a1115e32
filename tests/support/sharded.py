"""Run by two processes: one batch through an objective whose parameters are sharded as configs/training/fsdp.yaml says.

    RANK=0|1 WORLD_SIZE=2 MASTER_ADDR=... MASTER_PORT=... python -m tests.support.sharded STAGE.json

accelerate shards only on GPUs, so torch's own `fully_shard` is used here. Process 0 prints as JSON the loss and the
gradient norm of every part, over the batches of both processes.
"""

import json
import os
import sys
from pathlib import Path

import torch
import yaml
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from afterview.configs import load
from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.core.parts import parameter_groups, parts_of
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import StageConfig, StageObjective

FSDP = Path(__file__).parents[2] / "configs" / "training" / "fsdp.yaml"


def main() -> None:
    torch.set_num_threads(1)
    config = load(Path(sys.argv[1]), StageConfig)
    distributed.init_process_group("gloo")
    rank, processes = distributed.get_rank(), distributed.get_world_size()
    model = load_pretrained(config.model, device="cpu", dtype="float32", changes=config.ablations)
    parts = parts_of(model.video_language, model.vision.tower)
    names = {id(value): part for part, values in parts.items() for value in values}
    parameter_groups(parts, config.trainer.learning_rates)
    objective = StageObjective(model, config).train()
    part_of = {name: names.get(id(value), "unused") for name, value in objective.named_parameters()}
    mesh = init_device_mesh("cpu", (processes,))
    wrapped = str(yaml.safe_load(FSDP.read_text())["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"]).split(",")
    layers = [module for module in objective.modules() if type(module).__name__ in wrapped]
    assert layers
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(objective, mesh=mesh)
    assert all(isinstance(value, DTensor) for value in objective.parameters())
    output = objective(StageData(config, model, processes=processes)(rank))
    output.loss.backward()
    squares = dict.fromkeys(parts, 0.0)
    for name, value in objective.named_parameters():
        if value.grad is not None:
            whole = value.grad.full_tensor() if isinstance(value.grad, DTensor) else value.grad
            squares[part_of[name]] += float(whole.double().square().sum())
    loss = output.loss.detach()
    distributed.all_reduce(loss)
    if rank == 0:
        norms = {part: square**0.5 for part, square in squares.items()}
        print(json.dumps({"loss": float(loss) / processes, "norms": norms, "layers": len(layers)}), flush=True)
    distributed.barrier()  # otherwise a process whose peer has exited aborts in gloo's threads
    distributed.destroy_process_group()
    os._exit(0)  # the destructors at interpreter exit may abort too


if __name__ == "__main__":
    main()
