"""The library from Python, with nothing but ctypes: kyrodb_test.py LIBRARY DIRECTORY."""
import ctypes
import sys
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p


class Record(ctypes.Structure):
    _fields_ = [("key", c_uint64), ("offset", c_uint64), ("expiry_secs", c_uint64),
                ("value", c_void_p), ("value_bytes", c_size_t)]

    def bytes(self):
        return ctypes.string_at(self.value, self.value_bytes)


lib = ctypes.CDLL(sys.argv[1])
lib.kyrodb_error.restype = c_char_p
lib.kyrodb_open.argtypes = [c_char_p, c_void_p, POINTER(c_void_p)]
lib.kyrodb_close.argtypes = [c_void_p]
lib.kyrodb_put.argtypes = [c_void_p, c_uint64, c_char_p, c_size_t, c_uint64, POINTER(c_uint64)]
lib.kyrodb_get.argtypes = [c_void_p, c_uint64, c_void_p, c_size_t, POINTER(Record)]
lib.kyrodb_iterate.argtypes = [c_void_p, c_uint64, c_uint64, c_int]
lib.kyrodb_iterate.restype = c_void_p
lib.kyrodb_iterator_next.argtypes = [c_void_p, POINTER(Record)]
lib.kyrodb_iterator_close.argtypes = [c_void_p]

db = c_void_p()
assert lib.kyrodb_open(sys.argv[2].encode(), None, byref(db)) == 0, lib.kyrodb_error()
offset = c_uint64()


def write(first):
    for key in range(first, first + 10):
        value = f"value {key}".encode()
        assert lib.kyrodb_put(db, key, value, len(value), 0, byref(offset)) == 0


writers = [threading.Thread(target=write, args=(first,)) for first in (0, 10, 20)]
for writer in writers:
    writer.start()
for writer in writers:
    writer.join()

record = Record()
buffer = ctypes.create_string_buffer(64)
assert lib.kyrodb_get(db, 15, buffer, 64, byref(record)) == 0
assert record.bytes() == b"value 15"

# The reason belongs to the thread that asked.
assert lib.kyrodb_get(db, 99, buffer, 64, byref(record)) == 1
assert lib.kyrodb_error() == b"not_found"
others = []
other = threading.Thread(target=lambda: others.append(lib.kyrodb_error()))
other.start()
other.join()
assert others == [b""]

iterator = lib.kyrodb_iterate(db, 0, 2**64 - 1, 0)
keys = []
while lib.kyrodb_iterator_next(iterator, byref(record)) == 0:
    assert record.bytes() == f"value {record.key}".encode()
    keys.append(record.key)
assert keys == list(range(30))
lib.kyrodb_iterator_close(iterator)
lib.kyrodb_close(db)
print("30 records written and read by ctypes")
