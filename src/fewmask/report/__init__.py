"""The report: run folders become one HTML page that needs nothing beside itself."""

from fewmask.report.report import write_report, write_report_of

__all__ = ["write_report", "write_report_of"]
