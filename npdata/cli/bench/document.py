"""The report for machines: plain values for JSON, in base units.

Idea: the frozen values as they are, with what is derived from them beside. Invariant: rates are
in rows a second, times in seconds, sizes in bytes; nothing is rounded or made for reading.
"""

from dataclasses import asdict
from typing import Any

from npdata.cli.bench.advice import Advice
from npdata.cli.bench.report import Report


def as_json(report: Report, advice: Advice) -> dict[str, Any]:
    """Give a report and its advice as dicts, lists, strings and numbers."""
    facts = report.facts
    return {
        "paths": list(facts.paths),
        "rows": facts.rows,
        "rows_measured": report.rows,
        "row_bytes": facts.row_bytes,
        "batch_size": facts.batch_size,
        "block_rows": facts.block_rows,
        "fields": [
            {
                "where": field.where,
                "shape": list(field.shape),
                "dtype": str(field.dtype),
                "access": field.access,
                "reason": field.access_reason,
            }
            for field in facts.fields
        ],
        "storage": asdict(facts.storage) | {"fits_memory": facts.fits_memory},
        "machine": asdict(facts.machine),
        "auto_threads": report.auto_threads,
        "seconds": report.seconds,
        "figures": [
            {
                "order": figure.order,
                "way": figure.way.name,
                "kind": figure.way.kind,
                "helpers": figure.way.helpers,
                "rows_per_second": figure.rate,
                "bytes_per_second": figure.rate * facts.row_bytes,
                "spread": figure.spread,
                "passes": list(figure.rates),
                "seconds_to_first_row": figure.first,
                "of_ceiling": figure.rate / ceiling if ceiling else None,
                "trial": figure.trial,
            }
            for figure in report.figures
            for ceiling in [report.ceiling(figure.order).rate]
        ],
        "not_measured": [
            {"order": each.order, "way": each.way.name, "reason": each.reason}
            for each in report.left_out
        ],
        "advice": {"code": advice.code, "sentences": list(advice.sentences)},
    }
