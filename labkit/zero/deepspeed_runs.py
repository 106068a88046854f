"""DeepSpeed itself, on processes without a GPU: what it needs to start quietly, its configuration, and one engine.

settings = config(stage=2, batch=32, ranks=2)
engine = start(model, settings)              # on every rank, inside of run_ranks
loss = engine(ids, targets)
engine.backward(loss)
engine.step()
"""

import importlib.util
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labkit.corpora.extras import need
from labkit.ranks import device
from labkit.zero.reports import bytes_of

STORED = Path(__file__).with_name("deepspeed_result.json")
MISSING = (
    "DeepSpeed is not installed here: pip install deepspeed (it comes with the extra llm-labkit[deepspeed]). "
    "Until then this notebook shows what was measured where its outputs were stored."
)
WINDOWS = "DeepSpeed trains on many processes under Linux only: run this notebook there, or in WSL, or on Colab."


def config(
    stage: Any,
    batch: int,
    ranks: int,
    *,
    lr: float = 1e-2,
    accumulate: int = 1,
    clip: float | int = 1.0,
    bf16: bool = False,
) -> dict[str, Any]:
    """DeepSpeed's configuration, which it reads from a dictionary as well as from a JSON file.

    Raises:
        ValueError: for another stage than 0 to 3, or a batch that cannot be cut evenly.
    """
    if stage not in (0, 1, 2, 3) or batch % (ranks * accumulate):
        raise ValueError(f"stage {stage!r} must be 0 to 3, and {ranks} × {accumulate} must divide a batch of {batch}")
    return {
        # Sequences in one step of the optimizer, over all ranks and all accumulated backward passes.
        "train_batch_size": batch,
        # Sequences that one rank sees in one forward pass, on a GPU or not.
        "train_micro_batch_size_per_gpu": batch // (ranks * accumulate),
        # Backward passes until the optimizer steps. The product of the three is checked: batch = micro × this × ranks.
        "gradient_accumulation_steps": accumulate,
        # torch_adam: the AdamW of torch. Its own is compiled first, for minutes, where CUDA is not.
        "optimizer": {"type": "AdamW", "params": {"lr": lr, "weight_decay": 0.01, "torch_adam": True}},
        # The norm of the whole gradient is cut to this; 0 leaves it alone.
        "gradient_clipping": clip,
        "zero_optimization": {
            # 0 splits nothing, 1 the optimizer, 2 also gradients, 3 also parameters.
            "stage": stage,
            # Numbers (not bytes) reduced, and gathered, at once. Left out it is 500 million: a buffer of 2 GB.
            "reduce_bucket_size": 1_000_000,
            "allgather_bucket_size": 1_000_000,
            # Stage 3 leaves parameters with fewer numbers whole on every rank. 0: it splits all, as the formula says.
            "stage3_param_persistence_threshold": 0,
        },
        # Weights and gradients in 16 bits, a precise copy in 32. fp16 is refused on a CPU; bf16 works.
        "bf16": {"enabled": bf16},
    }


def why_not() -> str:
    """Empty if DeepSpeed can run here, else a sentence that says what is missing and what to do."""
    if sys.platform == "win32":
        return WINDOWS
    if importlib.util.find_spec("deepspeed") is None:
        return MISSING
    return _locked()


def stale_locks(folder: Path | str | None = None) -> list[Path]:
    """The locks of builds of C++ code, finished ones have none; a build that was killed leaves it, and all later wait.

    Args:
        folder: where torch builds; where the environment says if left out.
    """
    places = [Path(folder)] if folder is not None else _build_folders()
    return sorted(lock for place in places for lock in place.glob("**/lock") if lock.is_file())


def load_deepspeed() -> Any:
    """The package deepspeed, imported so that it neither compiles nor talks; to be called before it is used.

    Raises:
        RuntimeError: with the sentence of `why_not`.
        ModuleNotFoundError: if it is there and does not load.
    """
    if reason := why_not():
        raise RuntimeError(reason)
    if device().type == "cpu":  # also where two ranks would share one GPU: it would put its own tensors there
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # an optimizer we do not use would load the compiler
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.distributed")  # its calls, not ours
    deepspeed = need("deepspeed", "deepspeed", "to train with it")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # else it compiles for minutes, without a word
    return deepspeed


class Loss(nn.Module):
    """A model whose forward pass is its loss: DeepSpeed, like DDP, only knows of a model that it is called."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, *batch: Any) -> Tensor:
        """What `model.loss` gives."""
        return self.model.loss(*batch)


def start(model: nn.Module, settings: Mapping[str, Any]) -> Any:
    """DeepSpeed's engine around a model with a `loss`; to be called on every rank, with the group there already."""
    deepspeed = load_deepspeed()
    backend = torch.distributed.get_backend()
    deepspeed.init_distributed(backend, dist_init_required=False if deepspeed.comm.is_initialized() else None)
    whole = Loss(model.to(device()))
    trained = [parameter for parameter in whole.parameters() if parameter.requires_grad]
    engine, *_ = deepspeed.initialize(model=whole, model_parameters=trained, config=dict(settings))
    return engine


def held(engine: Any) -> dict[str, int]:
    """Bytes on this rank after a backward pass: parameters, gradients, and what the optimizer keeps in two parts.

    "master" is the copy of the weights that the optimizer changes: stages 1 to 3 keep one even when the model is in
    float32 already, where it tells nothing new.
    """
    optimizer, parameters = engine.optimizer, list(engine.module.parameters())
    split = [parameter.ds_tensor for parameter in parameters if hasattr(parameter, "ds_tensor")]
    base = getattr(optimizer, "optimizer", optimizer)
    states = [
        each for state in base.state.values() for each in state.values() if isinstance(each, Tensor) and each.ndim
    ]
    masters = getattr(
        optimizer, "fp32_partitioned_groups_flat", getattr(optimizer, "single_partition_of_fp32_groups", [])
    )
    reduced = getattr(optimizer, "averaged_gradients", None) or {}
    gradients = [parameter.grad for parameter in parameters] + [g for each in reduced.values() for g in each or ()]
    return {
        "parameters": bytes_of([*(split or parameters)]),
        "gradients": bytes_of(gradients),
        "moments": bytes_of(states),
        "master": bytes_of(masters),
    }


def stored() -> dict[str, Any]:
    """What this notebook measured where its outputs were stored, to be shown where DeepSpeed cannot run."""
    return json.loads(STORED.read_text(encoding="utf-8"))


def _build_folders() -> list[Path]:
    if named := os.environ.get("TORCH_EXTENSIONS_DIR"):
        return [Path(named)]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return [cache / "torch_extensions", Path(tempfile.gettempdir()) / "torch_extensions"]


def _locked() -> str:
    locks = stale_locks()
    if not locks:
        return ""
    return (
        f"a build of C++ code left its lock behind, and DeepSpeed would wait for it for ever: {locks[0]}. "
        "If no other program is compiling now, delete that file and run the cell again."
    )
