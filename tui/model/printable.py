"""Text from jobs as it may be shown in one line or several."""

from __future__ import annotations

from pymr.base.printable import printable, printable_lines

__all__ = ["printable", "printable_lines"]
