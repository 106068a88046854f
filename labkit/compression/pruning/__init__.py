"""Weights left out: which to leave out, in what pattern, how to repair the rest, and when it makes anything faster.

The modules, in the order of the lesson:

- `magnitude`: the smallest weights, one by one, in whole rows or columns, or over all layers at once;
- `patterns`: n of every m kept, packed so that the bytes really fall, and what every other format costs;
- `schedule`: a little more every few steps of training;
- `wanda`: weights times what comes in; `surgeon`: the others repaired, and SparseGPT; `blocks`: a model's turn;
- `structure`: heads, hidden units and layers taken out, so that all tensors get smaller;
- `lottery`: winning tickets among digits; `sparse_speed`: what a sparse product costs on this machine.
"""
