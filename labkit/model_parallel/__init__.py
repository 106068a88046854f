"""One model on several ranks, equal to serial: matrices, layers, vocabularies, stacks of blocks, sequences, experts.

The modules, in the order of the lesson:

- products: `matmul`, `counting`, `measuring`;
- tensor parallel: `tensor`, `sequence`, `vocabulary`, `decoder`, `shards`, `activations`, `mesh`;
- pipelines: `schedules`, `stages`, `pipeline`, `sleeping`, `torch_pipelining`;
- long sequences and many experts: `context`, `experts`.
"""
