"""Shapes of the learning rate over a run, one a file: ``factor(step, steps, warmup, **shape)``.

``step`` is the number of finished steps, from 0; beyond ``steps`` the factor stays at its last
value. ``warmup`` is a number of steps on which the factor rises in a straight line from 0 to 1. The
factor multiplies the peak learning rate.
"""
