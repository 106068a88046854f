"""A parameter server: one rank holds the weights, the others pull them, compute a gradient, and push it.

    serve(model, optimizer, updates=200) if rank() == 0 else work(model, my_loss)      # on every rank

Synchronous: the server waits for all and takes one step with the mean, the step of the big batch. Asynchronous: it
steps with each gradient as it comes, which was computed with weights that are several updates old: its staleness.

Messages are tensors on the CPU over gloo (nccl cannot receive from whoever comes first): start the group with "gloo"
or "cpu:gloo,cuda:nccl", as `labkit.ranks` does; the model itself may be on a GPU.
"""

from labkit.data_parallel.parameter_server.clock import by_the_clock, stable_step
from labkit.data_parallel.parameter_server.messages import Push, Served
from labkit.data_parallel.parameter_server.server import serve
from labkit.data_parallel.parameter_server.worker import work

__all__ = ["Push", "Served", "by_the_clock", "serve", "stable_step", "work"]
