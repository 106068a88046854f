"""ZeRO from nothing, FSDP2 and DeepSpeed beside it: state, gradients and parameters divided over the ranks.

The modules, in the order of the lesson:

- where the memory goes: `memory`, `reports`;
- stages 1 to 3: `stages`, `partitioning`, `exchanging`, `gathering`, `probing`, `signatures`, `whole`, `offload`;
- files: `shards`, `checkpoints`, `reading`, `consolidated`;
- beside it: `fully_sharded`, `deepspeed_runs`, `side_by_side`;
- real work: `token_classification`, `link_spans`, `fine_tuning`.
"""
