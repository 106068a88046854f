"""Models made smaller and faster, with what it costs: quantization, pruning, distillation, low rank, and all of them.

The modules, in the order of the lessons:

- numbers in few bits: `grid`, `rounding`, `calibration`, `packing`;
- arithmetic in whole numbers: `integer`, `requantization`, `smoothing`, `cache`;
- layers and models of such weights, and their files: `layers`, `linear8`, `linear4`, `embeddings`, `whole`, `files`,
  `restoring`, `headers`, `kinds`, `sparse`, `places`, `codebook_linear`, `skeletons`;
- weights chosen with their inputs in view: `gptq`, `awq`, `codebooks`;
- training with rounding: `training_aware`; beside it: `references`;
- weights left out: `pruning`;
- students and factors: `distillation`, `library_task`, `students`, `unseen`, `low_rank`;
- all of it on one chart: `measuring`, `combined`; drafts: `speculative`, `speculative_exact`.
"""
