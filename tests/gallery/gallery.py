"""Draws the gallery: ``python3 -m tests.gallery.gallery DIRECTORY`` writes one picture for each wall and look."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.gallery.browser import Page, browser
from tests.gallery.looks import LOOKS, page
from tests.gallery.scenes import Shown, groups, scenes

LIMIT_BYTES = 80_000


@dataclass(frozen=True, slots=True)
class Measured:
    """What the browser says of a drawn card: what did not fit, its lines of text, its box in CSS pixels."""

    look: str
    group: str
    name: str
    short: bool
    cut: list[str]
    lines: int
    box: tuple[float, float, float, float]


async def measure(tab: Page, look: str, some: list[Shown]) -> list[Measured]:
    """Draws these cards in one look and measures each."""
    await tab.show(page(look, some))
    return await again(tab, look)


async def again(tab: Page, look: str) -> list[Measured]:
    """Measures what the tab shows now."""
    found: list[dict[str, Any]] = await tab.evaluate(Path(__file__).with_name("measure.js").read_text())
    return [Measured(look, **{**box, "box": tuple(box["box"])}) for box in found]


async def draw(directory: Path) -> None:
    """Writes ``LOOK-GROUP.png`` for every look and group."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ab-gallery-") as ground:
        async with browser() as tab:
            for look in LOOKS:
                (Path(ground) / look).mkdir()
                some = await scenes(Path(ground) / look, look)
                for group in groups(look):
                    wall = [scene for scene in some if scene.group == group]
                    boxes = [measured.box for measured in await measure(tab, look, wall)]
                    height = max(top + tall for _, top, _, tall in boxes)
                    (directory / f"{look}-{group}.png").write_bytes(await _small(tab, height))


async def _small(tab: Page, height: float) -> bytes:
    """The page's picture, as sharp and colourful as a small file allows."""
    for scale in (0.75, 0.6, 0.5):
        shot = Image.open(io.BytesIO(await tab.picture(height, scale))).convert("RGB")
        for colours in (128, 64):
            out = io.BytesIO()
            shot.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
                out, "PNG", optimize=True
            )
            if out.tell() <= LIMIT_BYTES:
                return out.getvalue()
    raise ValueError(f"{out.tell()} bytes: put fewer cards on one wall")


def main() -> int:
    """Draws into the directory that is named."""
    asyncio.run(draw(Path(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
