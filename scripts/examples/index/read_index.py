#!/usr/bin/env python3
"""Looks keys up in the file of a learned index; kyro/index/rmi_file.h has its layout.

read_index.py FILE KEY...   FILE: a run-N.rmi, or what build_rmi() wrote; for - keys come from stdin
"""
import mmap
import struct
import sys
from collections import namedtuple

INNER, ZOOM, SEARCH = 1, 2, 3  # types of a model word, in its lowest two bits; 0 is a leaf
BASE_MASK = 2**38 - 1
Trailer = namedtuple(
    "Trailer", "entries low high _ slots _ _ words _ zooms _ _ _ root_scale root_fanout _ _ "
    "displacement _ _ _ root_low root_span _", rename=True)


def open_index(path):
    with open(path, "rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if data[-32:-24] == b"KYRO-IDX":  # that of a run: a filter and a seal come after the index
        data = data[:-32]
        if data[-8:] != b"KYRORMIT":
            pages = struct.unpack("<Q", data[16:24])[0]
            block_bytes = struct.unpack("<I", data[-8:-4])[0]
            data = data[:len(data) - 8 - pages * block_bytes]
    if data[:8] != b"KYRORMI1" or data[-8:] != b"KYRORMIT" or data[8] != 2:
        sys.exit(f"{path}: not an index of version 2")
    return data, Trailer(*struct.unpack("<17Q4I3Q", data[-192:-16]))


def lower_bound(data, t, key):
    """(key, position) of the first entry that is not below the key; None after the last one."""
    word = lambda i: struct.unpack_from("<Q", data, t.words + 8 * i)[0]
    slot = lambda i: struct.unpack_from("<QQ", data, t.slots + 16 * i)
    if t.entries == 0 or key > t.high:
        return None
    key = max(key, t.low)
    if t.root_low <= key <= t.root_low + t.root_span:
        product = (key - t.root_low) * t.root_scale  # high word: which child; low word: where in it
        at, fraction = word(product >> 64), product % 2**64
    else:
        at, fraction = word(t.root_fanout + (key > t.root_low)), 0  # outliers have their own models
    while at & 3 in (INNER, ZOOM):
        inner, product = at, fraction * (at >> 40)
        if at & 3 == ZOOM:
            low, span, scale, inner = struct.unpack_from("<4Q", data, t.zooms + 32 * (at >> 2))
            product = min(max(key - low, 0), span) * scale
        at, fraction = word((inner >> 2 & BASE_MASK) + (product >> 64)), product % 2**64
    first, width = at >> 2 & BASE_MASK, at >> 40
    if at & 3 == SEARCH:
        last = first + width
        while first < last:
            middle = (first + last) // 2
            first, last = (middle + 1, last) if slot(middle)[0] < key else (first, middle)
        return slot(first)
    first = first + (fraction * width >> 64) & ~3  # the predicted line, of four slots
    return next(slot(i) for i in range(first, first + t.displacement + 8) if slot(i)[0] >= key)


if __name__ == "__main__":
    index = open_index(sys.argv[1])
    for text in sys.stdin if sys.argv[2:] == ["-"] else sys.argv[2:]:
        found = lower_bound(*index, int(text))
        says = f"{found[0]} is at {found[1]}" if found else "none"
        print(f"{int(text)}: {says}")
