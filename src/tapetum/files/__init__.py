"""Reads files that other people may have written; they are treated as data.

All reading of files passes through this package: it opens files, parses JSON, arrays and tensors, and decides which names
inside files may be followed. Only regular files are opened, so that no pipe or device can make the program wait. Unpacking is
bounded by the size of the file. Nothing in a file is run. A damaged file raises a `DamagedError` of one line; caches that are
damaged are built again.
"""

from tapetum.files.arrays import Layout, array_in, arrays_in, layout_of, mapped_in, may_unpack, some_of
from tapetum.files.fields import fits, misfit
from tapetum.files.opening import are_closed, checksum, closed, contents, opened
from tapetum.files.paths import inside, is_plain
from tapetum.files.tensors import tensors_in
from tapetum.files.untrusted import parsed, table_in
from tapetum.files.words import printable, shown
