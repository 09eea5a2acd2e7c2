"""The page that is made of the records."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]
STATES = {
    "done": "done",
    "failed": "failed",
    "skipped": "not run here",
    "left": "time was up; the same command goes on",
}


def page(title: str, machine: str, records: list[Record], dry: bool) -> str:
    """Markdown: the machine, a table for each kind of part, and what was not measured."""
    lines = [f"# {title}", "", machine]
    if dry:
        lines += ["", "**A dry run on toy sizes: nothing here is a measurement.**"]
    lines += _tests([r for r in records if "tests" in r.get("result", {})])
    lines += _speeds([r for r in records if "rows" in r.get("result", {})])
    lines += _runs([r for r in records if "top1" in r.get("result", {})])
    missing = [r for r in records if r["status"] != "done"]
    if missing:
        lines += ["", "## Not measured", "", "| part | state | why |", "| --- | --- | --- |"]
        for record in missing:
            why = record.get("why", "").replace("|", "/")
            lines.append(f"| {record['name']} | {STATES[record['status']]} | {why} |")
    return "\n".join(lines) + "\n"


def _tests(records: list[Record]) -> list[str]:
    if not records:
        return []
    lines = ["", "## Tests", "", "| | tests | failed | skipped |", "| --- | --: | --: | --: |"]
    for record in records:
        found = record["result"]
        failed = found["failures"] + found["errors"]
        lines.append(f"| {record['name']} | {found['tests']} | {failed} | {found['skipped']} |")
    return lines


def _speeds(records: list[Record]) -> list[str]:
    if not records:
        return []
    head = ("run", "method", "batch", "images/s", "to SAM", "to base", "peak MiB")
    lines = ["", "## Speed", "", "Whole batches; median (quartiles) over rounds.", ""]
    lines += ["| " + " | ".join(head) + " |", "| --- | --- |" + " --: |" * 5]
    for record in records:
        for row in record["result"]["rows"]:
            cells = [record["name"].removeprefix("speed-"), row["name"], str(row["batch_size"])]
            cells.append("{:.0f} ({:.0f}–{:.0f})".format(*row["images"]))
            cells += ["{:.2f} ({:.2f}–{:.2f})".format(*row[key]) for key in ("to_sam", "to_base")]
            cells.append(f"{row['peak_mib']:.0f}" if row["peak_mib"] else "–")
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _runs(records: list[Record]) -> list[str]:
    if not records:
        return []
    lines = ["", "## Whole runs", "", "Seconds are of the last call, start included.", ""]
    lines += ["| | epochs | top-1 | best | seconds |", "| --- | --: | --: | --: | --: |"]
    for record in records:
        found = record["result"]
        lines.append(
            f"| {record['name'].removeprefix('run-')} | {found['epochs']} | {found['top1']:.2f} | "
            f"{found['best_top1']:.2f} | {record['seconds']:.0f} |"
        )
    return lines
