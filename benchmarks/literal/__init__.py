"""The loops as papers publish them, plainly: one class after another, eagerly, in float32.

Attar's are compared with them. They draw the same random numbers as Attar's, so results must agree up to rounding
(tests/reference/test_literal.py).
"""
