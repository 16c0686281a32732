"""From the bytes of an image file to red, green and blue of 8 bits: what every reader decodes with. No torch."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "PPM": (".ppm", ".pgm"),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""What is decoded, by its content, and the suffixes by which a folder's images are known: torchvision's."""
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
OTHER_SUFFIXES = {
    **dict.fromkeys((".jfif", ".jpe", ".pjpeg"), "rename to .jpg"),
    **dict.fromkeys((".gif", ".avif", ".heic", ".heif", ".jp2"), "convert to PNG or JPEG"),
}
"""Suffixes of images that are not read, and what to do: left out without a word they would be missing."""
EIGHT_BITS = frozenset(("1", "L", "P", "LA", "La", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"))
"""Pillow's modes that it converts to RGB without loss of range. It clips all others at 255."""


def decode_rgb(encoded: bytes, name: str, size: tuple[int, int] | None = None) -> Image:
    """An image in mode RGB.

    Grey of 16 bits keeps its high byte, as Pillow does with colours of 16 bits. Transparency is dropped.

    Args:
        encoded: Content of a file in one of `FORMATS`.
        name: What an error calls it.
        size: Width and height that it must have; they are known before the pixels are decoded.

    Raises:
        DataError: It is damaged, of another format or size, or has pixels without a known range.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded), formats=tuple(FORMATS)) as image:
            if size not in (None, image.size):
                found, wanted = ("{}x{}".format(*pair) for pair in (image.size, size))
                raise _unusable(name, f"{found} pixels, expected {wanted}", "is it another data set?")
            return _eight_bits(image, name).convert("RGB")
    except DataError:
        raise
    except Image.UnidentifiedImageError as error:  # its text is an address in memory
        what = f"none of {', '.join(FORMATS)}" if encoded else "an empty file"
        raise _unusable(name, what, "get the file again, or convert it to PNG") from error
    except Image.DecompressionBombError as error:
        raise _unusable(name, first_line(error), "scale it down") from error
    except Exception as error:  # a damaged file may raise nearly anything
        raise _unusable(name, first_line(error), "get the file again") from error


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _eight_bits(image: Image, name: str) -> Image:
    """The image in one of the modes of `EIGHT_BITS`."""
    from PIL import Image

    if image.mode in EIGHT_BITS:
        return image
    if image.mode.startswith("I") and image.format in ("PNG", "PPM"):  # 0 .. 65535; elsewhere the range is not known
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    what = f"pixels of mode {image.mode}, whose range is not known"
    raise _unusable(name, what, "scale them to 8 bits and save it again")


def _unusable(name: str, why: str, advice: str) -> DataError:
    return DataError(f"{name}: unusable image ({why}); {advice}")
