"""The HTML report of a fit."""

from smallarea.report.document import render_report, write_report

__all__ = ["render_report", "write_report"]
