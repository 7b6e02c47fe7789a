"""PNG, JPEG, TIFF with any number of pages, WebP and their neighbours: each frame is a page that is read by OCR."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps

from doctrain_worker.pipeline.child.formats import ocr, zipped
from doctrain_worker.pipeline.child.formats.content import Content, PageContent
from doctrain_worker.pipeline.child.source import Source
from doctrain_worker.sandbox.child.refusal import Refusal

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP")
_SMALL_SIDE = 2000
"""A picture whose longer side has fewer pixels is made larger: a page at 72 dpi is read far better at three times its size."""

_LARGEST_FACTOR = 3.0


class ImagePages:
    """The frames of a picture."""

    def __init__(self, source: Source) -> None:
        self._source = source
        with zipped.damage_told():
            self._image = Image.open(io.BytesIO(source.content), formats=_FORMATS)
            self.count: int = getattr(self._image, "n_frames", 1)

    def page(self, number: int) -> PageContent:
        """See ``Pages``. Raises Refusal CORRUPT or TOO_LARGE."""
        with zipped.damage_told():
            self._image.seek(number - 1)
            width, height = self._image.size
            if width * height > ocr.MOST_PIXELS:
                sentence = (
                    f"The picture has {width:,} times {height:,} pixels, more than {ocr.MOST_PIXELS:,}, the limit here; save it smaller."
                )
                raise Refusal("TOO_LARGE", sentence, resource=True)
            picture = _on_white(ImageOps.exif_transpose(self._image))
        with self._source.timeline.stage("ocr"):
            return PageContent(ocr.blocks(_enlarged(picture), number, self._source.limits.languages), recognised=True)


def read(source: Source) -> Content:
    """The picture. Raises Refusal CORRUPT."""
    # The limit on pixels is ours, and its words for the document's owner.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = None
    return Content(pages=ImagePages(source))


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    shown = Image.new("RGBA", image.size, "white")
    shown.alpha_composite(image.convert("RGBA"))
    return shown.convert("RGB")


def _enlarged(picture: Image.Image) -> Image.Image:
    factor = min(_SMALL_SIDE / max(*picture.size, 1), _LARGEST_FACTOR)
    if factor <= 1:
        return picture
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.LANCZOS)
