"""Files from others are data. All that is read passes here: how files are opened, how bytes become JSON or arrays, and which
names inside files may be followed.

Only regular files are opened, so nothing waits. What is unpacked is bounded by the file's own size. Nothing in a file is run.
Whatever is wrong with the bytes is a `DamagedError` of one line; files that can be made again are made again.
"""

from tapetum.files.arrays import Layout, array_in, arrays_in, layout_of, mapped_in, may_unpack, some_of
from tapetum.files.fields import fits, misfit
from tapetum.files.opening import checksum, contents, opened
from tapetum.files.paths import inside, is_plain
from tapetum.files.tables import parsed, table_in
from tapetum.files.words import plain, shown
