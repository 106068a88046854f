"""Data parallel training from nothing: collectives, replicas, compression, local steps, servers, restarts.

The modules, in the order of the lesson:

- messages: `collectives` (from send and receive), `links` (threads or processes), `schedules`, `counting`;
- replicas: `replicas` (`DataParallel`), `buckets`, `accumulation`, `sampling`, `agreement`, `practice`;
- fewer messages: `compression`, `local_sgd`, `parameter_server`, `elastic`, `trials`.
"""
