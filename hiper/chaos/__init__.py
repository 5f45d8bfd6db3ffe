"""Chaos: a seeded nemesis against real processes, and a checker that says whether the promise held.

`experiment` runs a run twice, once in peace and once under the nemesis; `attach` troubles a run of `hiper up` that goes
on. The oracles are the conservation law and, for an experiment, the learned parameters, which must be equal bit by bit.
"""
