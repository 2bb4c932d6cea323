"""Learned gates: one trainer, one file a law of how gates open and close."""

from recprune.importance.gates import autofield, hard_concrete, lpfs, shuffle_gate
from recprune.importance.gates.course import Course
from recprune.importance.gates.law import Law
from recprune.importance.gates.learning import learn_gates

__all__ = [
    "Course",
    "Law",
    "autofield",
    "hard_concrete",
    "learn_gates",
    "lpfs",
    "shuffle_gate",
]
