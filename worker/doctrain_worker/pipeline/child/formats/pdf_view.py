"""Places on a page of a PDF, which are counted from its lower left corner before it is turned, as a reader sees them."""

from __future__ import annotations

from dataclasses import dataclass

import pypdfium2

from doctrain_worker.text.blocks import Box


@dataclass(frozen=True, slots=True)
class View:
    """How a page is shown: the part of its plane that is, and by how many degrees it is turned clockwise."""

    left: float
    bottom: float
    right: float
    top: float
    turned: int

    def box(self, edges: Box) -> Box:
        """Left, top, right and bottom from the upper left corner, of left, bottom, right and top in the page's plane."""
        left, bottom, right, top = edges
        if self.turned == 90:
            return bottom - self.bottom, left - self.left, top - self.bottom, right - self.left
        if self.turned == 180:
            return self.right - right, bottom - self.bottom, self.right - left, top - self.bottom
        if self.turned == 270:
            return self.top - top, self.right - right, self.top - bottom, self.right - left
        return left - self.left, self.top - top, right - self.left, self.top - bottom

    def plane(self, box: Box) -> Box:
        """The opposite of ``box``."""
        left, top, right, bottom = box
        if self.turned == 90:
            return top + self.left, left + self.bottom, bottom + self.left, right + self.bottom
        if self.turned == 180:
            return self.right - right, top + self.bottom, self.right - left, bottom + self.bottom
        if self.turned == 270:
            return self.right - bottom, self.top - right, self.right - top, self.top - left
        return left + self.left, self.top - bottom, right + self.left, self.top - top


def view_of(page: pypdfium2.PdfPage) -> View:
    """The page's view."""
    left, bottom, right, top = page.get_cropbox()
    return View(left, bottom, right, top, page.get_rotation())
