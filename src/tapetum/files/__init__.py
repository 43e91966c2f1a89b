"""Files from others are data. All that is read passes here: what is opened, how its bytes become JSON or arrays, which names
inside it may be followed.

Only regular files are opened, so nothing waits. What is unpacked is bounded by the file's own size. Nothing in a file is run.
Whatever is wrong with its bytes is a `DamagedError`, one line; what is read again later may catch it and be made again.
"""

from tapetum.files.arrays import Layout as Layout
from tapetum.files.arrays import array_in as array_in
from tapetum.files.arrays import arrays_in as arrays_in
from tapetum.files.arrays import layout_of as layout_of
from tapetum.files.arrays import mapped_in as mapped_in
from tapetum.files.arrays import may_unpack as may_unpack
from tapetum.files.arrays import some_of as some_of
from tapetum.files.fields import fits as fits
from tapetum.files.fields import misfit as misfit
from tapetum.files.opening import checksum as checksum
from tapetum.files.opening import contents as contents
from tapetum.files.opening import opened as opened
from tapetum.files.paths import inside as inside
from tapetum.files.paths import is_plain as is_plain
from tapetum.files.tables import parsed as parsed
from tapetum.files.tables import table_in as table_in
from tapetum.files.words import plain as plain
from tapetum.files.words import shown as shown
