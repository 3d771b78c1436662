"""The images of a problem: read where it is allowed, checked and bounded, and put into OpenAI's message parts.

A path in a data set is untrusted input. It is opened in a folder that the user names, and nowhere else; without one it
stays a path that nobody opens. Nothing here fetches a URL, and no chat with a URL in it gets through.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewardkit.errors import DataError
from rewardkit.types import Message, Problem

MOST_BYTES = 20 * 2**20
"""Of one image; OpenAI's limit of a request is of this size."""

MOST_IMAGES = 16
"""Of one problem."""

_KINDS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


def media_type(data: bytes) -> str:
    """What kind of image bytes are, by how they begin; they are not decoded.

    Raises:
        DataError: they are no PNG, JPEG, GIF or WebP, or more than `MOST_BYTES`.

    >>> media_type(b"GIF89a...")
    'image/gif'
    """
    if len(data) > MOST_BYTES:
        raise DataError(f"an image of {len(data):,} bytes; {MOST_BYTES:,} are the most")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    kind = next((kind for begin, kind in _KINDS.items() if data.startswith(begin)), None)
    if kind is None:
        raise DataError("an image is neither PNG, JPEG, GIF nor WebP")
    return kind


def read_images(values: Any, folder: str | Path | None = None) -> tuple[bytes, ...]:
    """The images of a row: bytes, ``{"bytes", "path"}`` as datasets has it, a ``data:`` URL, or a path in a folder.

    Args:
        values: one image, a list of them, or None.
        folder: in which paths are looked for; None opens no path.

    Raises:
        DataError: one is no image, too large, or a path that may not be opened.

    >>> read_images(["data:image/gif;base64,R0lGODlh"]), read_images(None)
    ((b'GIF89a',), ())
    """
    listed = values if isinstance(values, list | tuple) else [] if values is None else [values]
    if len(listed) > MOST_IMAGES:
        raise DataError(f"{len(listed)} images; {MOST_IMAGES} are the most")
    found = tuple(_read(value, None if folder is None else Path(folder)) for value in listed)
    for data in found:
        media_type(data)
    return found


def with_images(problem: Problem, folder: str | Path) -> Problem:
    """A problem whose paths are read from a folder; its id stays.

    Raises:
        DataError: see `read_images`.
    """
    return replace(problem, images=read_images(problem.images, folder))


def image_fault(problem: Problem) -> str:
    """Why a problem's images cannot be shown to a model, in one line; "" where they can."""
    try:
        image_parts(problem)
        check_chat(problem.prompt)
    except DataError as error:
        return str(error)
    return ""


def image_parts(problem: Problem) -> list[dict[str, Any]]:
    """A problem's images as parts of a message of OpenAI's API, with the bytes in ``data:`` URLs.

    Raises:
        DataError: an image is a path, or no image.

    >>> image_parts(Problem.create("?", images=[b"GIF89a"]))
    [{'type': 'image_url', 'image_url': {'url': 'data:image/gif;base64,R0lGODlh'}}]
    """
    parts = []
    for image in problem.images:
        if isinstance(image, str):
            raise DataError(f"the image {image[:80]!r} is a path, which is only opened with images=FOLDER")
        url = f"data:{media_type(image)};base64,{base64.b64encode(image).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def with_text(problem: Problem, text: str) -> str | list[dict[str, Any]]:
    """The content of a message: the text, behind the problem's images where it has some.

    >>> with_text(Problem.create("?"), "What is it?")
    'What is it?'
    """
    parts = image_parts(problem)
    return [*parts, {"type": "text", "text": text}] if parts else text


def images_of(message: Message) -> list[bytes]:
    """The images in a message's parts.

    Raises:
        DataError: one is a URL that would have to be fetched, or no image.
    """
    content = message.get("content")
    if not isinstance(content, list | tuple):
        return []
    urls = [part["image_url"]["url"] for part in content if part.get("type") == "image_url"]
    return [*read_images(urls)]


def check_chat(prompt: str | Sequence[Message]) -> None:
    """See that a chat holds text and ``data:`` images alone: no file and no address that somebody would open for it.

    Raises:
        DataError: it does not.

    >>> check_chat([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}])
    Traceback (most recent call last):
    ...
    rewardkit.errors.DataError: an image of a chat must be a data: URL, not 'file:///etc/passwd'
    """
    for message in () if isinstance(prompt, str) else prompt:
        content = message.get("content")
        for part in content if isinstance(content, list | tuple) else ():
            _check_part(part)


def _check_part(part: Any) -> None:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text":
        return
    if not isinstance(part, Mapping) or kind != "image_url":
        raise DataError(f"a chat's message has a part of type {str(kind)[:40]!r}; text and image_url are known")
    value = part.get("image_url")
    url = value.get("url") if isinstance(value, Mapping) else None
    if not isinstance(url, str) or not url.startswith("data:"):
        raise DataError(f"an image of a chat must be a data: URL, not {str(url)[:80]!r}")
    read_images([url])


def _read(value: Any, folder: Path | None) -> bytes:
    if isinstance(value, Mapping):
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise DataError(f"an image is a {type(value).__name__}, neither bytes nor a path")
    if value.startswith("data:"):
        return _decoded(value)
    if folder is None:
        raise DataError(f"the image {value[:80]!r} is a path, which is only opened with images=FOLDER")
    return _opened(value, folder)


def _decoded(url: str) -> bytes:
    head, comma, text = url.partition(",")
    if not comma or not head.endswith(";base64") or len(text) > MOST_BYTES * 4 // 3 + 4:
        raise DataError("an image's data: URL is not base64, or too long")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DataError("an image's data: URL is not base64") from None


def _opened(name: str, folder: Path) -> bytes:
    """The file of that name in a folder, through no link that leads out of it."""
    try:
        root = folder.resolve(strict=True)
        path = (root / name).resolve(strict=True)
        if not path.is_relative_to(root) or not path.is_file():
            raise DataError(f"the image {name[:80]!r} lies outside of {folder}, or is no file")
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"the image {name[:80]!r} cannot be read in {folder}: {reason}") from None
