"""A page of sampled questions with frames, kept and rejected, for a person's eye. One HTML file; it loads nothing from elsewhere."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from afterview.memory.base.durable import write_file
from afterview.model.language.moments import clock
from afterview.training.base.seeds import seeded
from afterview.training.marathon.config import MarathonConfig
from afterview.training.marathon.rows import Checked
from afterview.training.marathon.stages.checks import LETTERS
from afterview.training.marathon.stages.files import DataSet

_EACH: Final = 12  # kept and rejected questions
_FRAMES: Final = 3  # of a question
_SIDE: Final = 144  # pixels, the short side
_HEAD: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Samples</title><style>
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}
article{border-top:1px solid #ccc;padding:.9rem 0}.frames{display:flex;gap:.5rem;flex-wrap:wrap;margin:.4rem 0}
figure{margin:0;font-size:12px;color:#555}img{display:block;border-radius:3px}h2{margin-top:2rem}
.small{color:#555;font-size:13px}.right{font-weight:600}.no{color:#a11}ol{margin:.3rem 0;padding-left:1.6rem;list-style:upper-alpha}
</style></head><body>
"""


def write_sheet(data: DataSet, config: MarathonConfig, videos: Path, path: Path) -> None:
    """Write the page. Frames that cannot be read are left out of it, with a note."""
    rng = seeded(f"marathon sheet 1, seed {config.seed}")
    kept, rejected = _sample(data, rng)
    parts = [_HEAD, f"<h1>{html.escape(config.name)}: a sample of its questions</h1>"]
    for title, rows in (("Kept", kept), ("Rejected", rejected)):
        parts.append(f"<h2>{title}</h2>" + ("" if rows else "<p>None.</p>"))
        parts += [_article(row, videos) for row in rows]
    parts.append("</body></html>\n")
    write_file(path, "\n".join(parts).encode())


def _sample(data: DataSet, rng: Random) -> tuple[list[Checked], list[Checked]]:
    """Kept and rejected questions, all equally likely; holds no more than are shown."""
    shown: tuple[list[Checked], list[Checked]] = [], []
    seen = [0, 0]
    for row in data.rows("checks"):
        if not isinstance(row, Checked):
            continue
        which = 0 if row.kept else 1
        seen[which] += 1
        if len(shown[which]) < _EACH:
            shown[which].append(row)
        elif (place := rng.randrange(seen[which])) < _EACH:
            shown[which][place] = row
    return shown


def _article(row: Checked, videos: Path) -> str:
    lines = [f"<article><p>{html.escape(row.question)}</p>"]
    if row.options:
        items = (
            f"<li{' class=right' if letter == row.letter else ''}>{html.escape(option)}</li>"
            for letter, option in zip(LETTERS, row.options, strict=False)
        )
        lines.append(f"<ol>{''.join(items)}</ol>")
    else:
        lines.append(f'<p class="right">{html.escape(row.answer)}</p>')
    lines.append(_frames(row, videos))
    said = [row.video, row.task, row.reach, *row.flags]
    lines.append(f'<p class="small">{html.escape(" · ".join(said))}</p>')
    if row.reasons:
        answers = {"from the captions": row.supported, "from what the captioners agree on": row.agreed}
        checked = "; ".join(f"{name}: {answer}" for name, answer in answers.items() if answer)
        lines.append(f'<p class="small no">{html.escape(", ".join(row.reasons))}</p>')
        lines.append(f'<p class="small">{html.escape(checked)}</p>' if row.supported else "")
    return "\n".join([*lines, "</article>"])


def _frames(row: Checked, videos: Path) -> str:
    """Frames from the parts of the video that prove the answer, or from its beginning."""
    from afterview.stream.errors import SourceError  # late: they load PyAV
    from afterview.stream.source.recordings.pictures_at import pictures_at

    times = _times([(span.start_s, span.end_s) for span in row.spans])
    try:
        figures = [
            f'<figure><img alt="" src="data:image/jpeg;base64,{base64.b64encode(one.jpeg).decode()}">{clock(one.at_s)}</figure>'
            for at_s in times
            for one in pictures_at(videos / row.video, [at_s], short_side=_SIDE)
        ]
    except (SourceError, OSError) as error:
        return f'<p class="small no">frames cannot be read: {html.escape(str(error))}</p>'
    return f'<div class="frames">{"".join(figures)}</div>'


def _times(spans: Sequence[tuple[float, float]]) -> list[float]:
    middles = sorted((start + end) / 2 for start, end in spans)
    step = max(1, -(-len(middles) // _FRAMES))
    return middles[::step] or [0.0]
