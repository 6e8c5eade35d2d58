"""Draws the pictures of glossary.md: `python docs/pictures/draw.py` writes them anew beside itself."""

from __future__ import annotations

from html import escape
from pathlib import Path

WIDTH = 660
CELL = 18
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1d2129 }
  .soft { fill: #5a6372 } .middle { text-anchor: middle }
  rect { stroke: #7b8494; stroke-width: 1; fill: none }
  .blue { fill: #9cc3ea } .amber { fill: #f0c978 } .red { fill: #eba18d } .green { fill: #a5d3b4 }
  path { stroke: #5a6372; stroke-width: 1.5; fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e9ee } .soft { fill: #a9b2c0 }
    .blue { fill: #2b5a8c } .amber { fill: #7d5d14 } .red { fill: #8c3d29 } .green { fill: #2f6b47 }
    path { stroke: #a9b2c0 }
  }
"""


class Picture:
    """A drawing, from the top down.

    Parameters
    ----------
    says : str
        What it shows, for who does not see it.
    """

    def __init__(self, says: str) -> None:
        self.says, self.parts, self.height = says, list[str](), 0

    def _reach(self, y: float) -> None:
        self.height = max(self.height, round(y) + 8)

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        self.parts.append(f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>')
        self._reach(y)

    def box(self, x: float, y: float, width: float, kind: str = "", text: str = "", high: float = 24) -> None:
        """Draw a box, with a text in the middle."""
        shape = f'width="{width:g}" height="{high:g}" rx="2"'
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" {shape} class="{kind}"/>')
        self._reach(y + high)
        if text:
            self.text(x + width / 2, y + high / 2 + 4.5, text, "middle")

    def arrow(self, x: float, y: float, to_x: float, to_y: float) -> None:
        """Draw an arrow, to the right or down."""
        head = "m-5 -4 5 4 -5 4" if y == to_y else "m-4 -5 4 5 4 -5"
        self.parts.append(f'<path d="M{x:g} {y:g}L{to_x:g} {to_y:g}{head}"/>')
        self._reach(to_y)

    def svg(self) -> str:
        """Return the file."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" role="img">'
        lines = [
            head,
            f"<title>{escape(self.says)}</title>",
            f"<style>{STYLE}</style>",
            *self.parts,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def beat() -> Picture:
    """A neuron of 20 inputs on a PE of width 8."""
    picture = Picture(
        "A neuron of 20 one-bit inputs at width 8 takes three beats; the last has 4 bits in use."
    )
    inputs, weights = "11010010 01101100 1011", "10011010 11100101 0111"
    for row, (name, bits) in enumerate((("inputs", inputs), ("weights", weights))):
        picture.text(0, 45 + 26 * row, name)
        for number, word in enumerate(bits.split()):
            for place, bit in enumerate(word):
                x = 92 + 195 * number + CELL * place
                picture.box(x, 31 + 26 * row, CELL, "blue" if bit == "1" else "", high=CELL)
    picture.text(0, 97, "equal")
    picture.text(0, 133, "accumulator")
    total = 0
    for number, (one, other) in enumerate(zip(inputs.split(), weights.split(), strict=True)):
        x = 92 + 195 * number
        picture.text(x + 4 * CELL, 18, f"beat {number + 1}", "middle soft")
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            picture.box(x + CELL * place, 83, CELL, "green" if a == b else "", high=CELL)
        same = sum(a == b for a, b in zip(one, other, strict=True))
        total += same
        picture.box(x, 117, 8 * CELL, "", f"+ {same} = {total}")
        if number < 2:
            picture.arrow(x + 8 * CELL + 6, 129, x + 189, 129)
    return picture


def tile() -> Picture:
    """70 outputs on 32 columns."""
    picture = Picture("A layer of 70 outputs on 32 columns has three tiles; the last uses 6 of the columns.")
    outputs, columns, size = 70, 32, 14
    picture.text(70, 18, f"{columns} columns of the array", "soft")
    for number in range(-(-outputs // columns)):
        y, used = 28 + 28 * number, min(columns, outputs - number * columns)
        picture.text(0, y + 15, f"tile {number}")
        for column in range(columns):
            picture.box(70 + size * column, y, size, "blue" if column < used else "", high=20)
        first = number * columns
        picture.text(82 + size * columns, y + 15, f"outputs {first} to {first + used - 1}", "soft")
    picture.arrow(24, 54 + 28 * 2, 24, 76 + 28 * 2)
    picture.text(36, 74 + 28 * 2, "time", "soft")
    return picture


def plane() -> Picture:
    """Values of three bits, a plane after the other."""
    picture = Picture("Four values of 3 bits in three planes; the accumulator doubles between them.")
    values = (5, 3, 6, 1)
    picture.text(0, 45, "inputs")
    for number, value in enumerate(values):
        picture.text(78 + CELL * number, 45, str(value), "middle")
    for turn, bit in enumerate((2, 1, 0)):
        x = 210 + 160 * turn
        picture.text(x + 2 * CELL, 18, f"plane {bit}", "middle soft")
        for number, value in enumerate(values):
            one = value >> bit & 1
            picture.box(x + CELL * number, 31, CELL, "blue" if one else "", str(one), high=CELL)
        picture.box(x - 12, 71, 4 * CELL + 24, "", ("a", "2a + b", "4a + 2b + c")[turn])
        picture.arrow(x + 2 * CELL, 52, x + 2 * CELL, 67)
        if turn < 2:
            picture.arrow(x + 4 * CELL + 18, 83, x + 142, 83)
    picture.text(0, 87, "accumulator")
    return picture


def lane(picture: Picture, y: float, name: str, first: int, boxes: list[tuple[str, str]]) -> None:
    """Draw what happens in consecutive cycles."""
    picture.text(0, y + 16, name)
    for number, (kind, text) in enumerate(boxes):
        picture.box(110 + 42 * (first + number), y, 42, kind, text)


def drain() -> Picture:
    """Scores of six bits leave."""
    picture = Picture("While scores leave the array bit by bit, all columns at once, no beat multiplies.")
    beats = [("blue", "beat")] * 3
    lane(picture, 8, "array", 0, [*beats, *[("amber", "drain")] * 6, *beats])
    bits = [("", f"bit {bit}") for bit in range(5, -1, -1)]
    for column in range(3):
        lane(picture, 44 + 28 * column, f"column {column}", 3, bits)
    picture.arrow(110, 140, 110 + 42 * 12, 140)
    picture.text(0, 144, "cycles", "soft")
    return picture


def hazard() -> Picture:
    """A layer waits for the words of the one before."""
    picture = Picture("The first beat of layer 2 waits until the last word of layer 1 is written.")
    lane(picture, 8, "layer 1", 0, [("blue", "beat")] * 4)
    lane(picture, 40, "writer", 4, [("green", "word")] * 3)
    picture.box(110 + 42 * 4, 72, 42 * 3, "red", "hazard")
    lane(picture, 72, "layer 2", 7, [("blue", "beat")] * 4)
    picture.arrow(110, 112, 110 + 42 * 12, 112)
    picture.text(0, 116, "cycles", "soft")
    return picture


PICTURES = {each.__name__: each for each in (beat, tile, plane, drain, hazard)}
"""What draws each picture, by its name."""


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (Path(__file__).parent / f"{name}.svg").write_text(draw().svg())
