# SPDX-License-Identifier: Apache-2.0
"""The fast spatial memory: a feed-forward 4D reconstruction model whose fast weights are the memory.

PyTorch only. Axis letters in the docstrings: ``B`` scenes, ``V`` views, ``N`` tokens per view, ``T`` tokens,
``H`` heads of the fast weights, ``D`` model width, ``d`` head width, ``h`` hidden width of a head.
"""
