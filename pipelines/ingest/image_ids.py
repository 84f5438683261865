"""Compare image ids in one Unicode form.

An accented letter is one character or a letter and a mark: ``é`` in most logs (NFC), ``e`` and an accent (NFD) in the
names of files that come from a Mac. Both are the same id to Unicode and to everybody who reads them. So every id is
composed (NFC) where it enters: from a log, a list of labels or images, a file's name, an archive, or ``--images``. Case
and everything else stay.

Reference: UAX 15, Unicode Normalization Forms; canonically equivalent texts have the same NFC.
"""

import unicodedata

import pyarrow as pa
import pyarrow.compute as pc


def composed(name: str) -> str:
    r"""Return an image id or a file's name in NFC.

    >>> composed("cafe\u0301") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def composed_ids(image_ids: pa.Array) -> pa.Array:
    """Return image ids in NFC; ids that are all ASCII cost next to nothing.

    Shape:
        image_ids: strings (n,); result: the same
    """
    if pc.all(pc.string_is_ascii(image_ids)).as_py():
        return image_ids
    distinct = image_ids.dictionary_encode()
    names = pa.array([composed(name) for name in distinct.dictionary.to_pylist()], pa.string())
    return names.take(distinct.indices)
