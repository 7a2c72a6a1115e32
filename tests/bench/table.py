"""A table of measurements as Markdown."""

from dataclasses import dataclass, field


@dataclass
class Table:
    """Title, column names, rows of text, and a note on the comparison."""

    title: str
    columns: list[str]
    note: str = ""
    rows: list[list[str]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """One row."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{self.title}: {len(self.columns)} columns but {len(cells)} cells")
        self.rows.append([f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells])

    def markdown(self) -> str:
        """The table as text."""
        lines = [f"\n## {self.title}\n"]
        if self.note:
            lines.append(self.note + "\n")
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("|" + "---|" * len(self.columns))
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"
