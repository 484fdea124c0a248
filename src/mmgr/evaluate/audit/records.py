"""What an audit found: one finding a path by which test places may leak into training."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, Literal

SCHEMA_VERSION = 1
"""Version of the JSON below."""

Status = Literal["pass", "note", "named"]
"""`pass`: looked for and not found; `note`: allowed, or not to be seen from here, and said; `named`: found."""

_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Finding:
    """One path, and what was seen on it."""

    path: str
    """Its name, such as `adjacent places`."""
    status: Status
    text: str
    """What was seen, with its numbers, and what to do about it."""
    scope: str = ""
    """Task and split that it is about; empty for all."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """The same as plain values."""


@dataclass(frozen=True, slots=True)
class Audit:
    """All findings of a run or of a file of splits."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def named(self) -> tuple[Finding, ...]:
        """The findings that are neither passes nor notes."""
        return tuple(finding for finding in self.findings if finding.status == "named")

    def extended(self, findings: Iterable[Finding]) -> Audit:
        """Return the audit with more findings."""
        return replace(self, findings=(*self.findings, *findings))

    def to_text(self) -> str:
        """Return one line a path, under the task and split that it is about."""
        wide = max((len(finding.path) for finding in self.findings), default=0)
        lines = [f"Leakage audit of {self.title}"]
        for scope in dict.fromkeys(finding.scope for finding in self.findings):
            lines += ["", scope or "everywhere"]
            for finding in self.findings:
                if finding.scope == scope:
                    start = f"  {finding.status.upper():<6}{finding.path:<{wide}}  "
                    lines += textwrap.wrap(
                        finding.text, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start),
                        break_long_words=False, break_on_hyphens=False,
                    )  # fmt: skip
        count = len(self.named)
        verdict = "nothing named" if not count else f"{count} path{'s' if count > 1 else ''} named"
        return "\n".join([*lines, "", f"{verdict}; {len(self.findings)} looked at"])

    def to_json(self) -> dict[str, Any]:
        """Return the findings as plain values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "software": version("mmgr"),
            "title": self.title,
            "named": len(self.named),
            "findings": [
                {
                    "scope": finding.scope,
                    "path": finding.path,
                    "status": finding.status,
                    "text": finding.text,
                    "numbers": dict(finding.numbers),
                }
                for finding in self.findings
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Audit:
        """Read what :meth:`to_json` wrote."""
        return cls(str(value["title"]), tuple(Finding(**finding) for finding in value["findings"]))
