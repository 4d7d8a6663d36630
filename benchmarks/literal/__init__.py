"""The loops as papers publish them, plainly: one class after another, eagerly, in float32. What Attar's are compared with.

They draw the same random numbers as Attar's, so results must agree up to rounding (tests/test_literal.py).
"""
