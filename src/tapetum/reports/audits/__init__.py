"""The report of an audit: report.html and audit.json."""

from tapetum.reports.audits.numbers import content_of
from tapetum.reports.audits.page import write_audit
