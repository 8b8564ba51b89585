"""What the field at the cursor means: beside the text where there is room, else in two lines below it."""

from __future__ import annotations

from textual.app import RenderResult
from textual.content import Content
from textual.widget import Widget

from tui.model.job_text.problems import FieldFacts
from tui.render.styled_line import MUTED

_NO_FIELD = "A line is a name, = and a value; # begins a comment. Tab offers what can stand here."


class FieldHelp(Widget):
    """is_wide: a column, else two lines."""

    DEFAULT_CSS = """
    FieldHelp { width: 100%; height: 2; padding: 0 1; }
    FieldHelp.-wide { width: 40; height: 100%; padding: 1 2; }
    """

    def __init__(self, *, is_wide: bool) -> None:
        super().__init__(classes="-wide" if is_wide else None)
        self.is_wide = is_wide
        self._facts: FieldFacts | None = None

    def show(self, facts: FieldFacts | None) -> None:
        if facts != self._facts:
            self._facts = facts
            self.refresh()

    def render(self) -> RenderResult:
        facts = self._facts
        if facts is None:
            return Content.styled(_NO_FIELD, MUTED)
        name = (facts.name, "bold $primary")
        if not self.is_wide:
            default = "required" if facts.is_required else f"default {facts.default}"
            head = Content.assemble(name, (f"  {facts.takes}; {default}", MUTED))
            width = self.content_size.width
            return Content("\n").join(
                [line.truncate(width, ellipsis=True) for line in (head, Content(facts.doc))]
            )
        default_line = Content("required")
        if not facts.is_required:
            default_line = Content.assemble(("default  ", MUTED), facts.default)
        takes = Content.assemble(("takes    ", MUTED), facts.takes)
        section = Content.styled(facts.section, MUTED)
        blank = Content("")
        return Content("\n").join(
            [Content.assemble(name), section, blank, Content(facts.doc), blank, takes, default_line]
        )
