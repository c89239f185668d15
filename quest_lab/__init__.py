"""quest-lab: hardware-in-the-loop control of multi-state memory cells (after QUEST, arXiv 2504.00679)."""

__version__ = "0.1.0"
