"""Reports of runs: one HTML page and its pictures. The only part that imports matplotlib."""

from quest_lab.report.make import make_report

__all__ = ["make_report"]
