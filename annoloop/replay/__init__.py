"""Replay: the real loop on labelled data, many ways of selecting and many seeds.

`replay(plan)` of `annoloop.replay.engine` is the whole of it; like `project` it only composes.
"""
