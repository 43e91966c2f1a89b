-- An atlas in one file. Units are numbered through all layers: unit = layers.first + channel.
-- Pictures are numbered as their tiles: tile i is number i % 256 of sheet i / 256.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE layers (
    id INTEGER PRIMARY KEY,         -- the place in the network's order
    name TEXT NOT NULL UNIQUE,
    file TEXT NOT NULL UNIQUE,      -- the name as part of file names
    kind TEXT NOT NULL,
    channels INTEGER NOT NULL,
    first INTEGER NOT NULL,         -- the unit that is channel 0
    grid_rows INTEGER NOT NULL,
    grid_columns INTEGER NOT NULL,
    receptive_field INTEGER,        -- px; NULL: not defined
    stride INTEGER,
    signed INTEGER NOT NULL,        -- is any unit ever negative?
    tap TEXT NOT NULL               -- 'output' or 'pre-activation'
);

CREATE TABLE units (
    id INTEGER PRIMARY KEY,
    layer INTEGER NOT NULL REFERENCES layers(id),
    channel INTEGER NOT NULL,
    mean REAL, sd REAL,             -- of its scores over all pictures
    sparsity REAL,                  -- the share of places of all pictures that are <= 0
    minimum REAL, maximum REAL,     -- of its scores
    threshold REAL,                 -- of its spectrum
    around TEXT NOT NULL,           -- what the threshold is: 'zero' or 'median'
    top TEXT NOT NULL,              -- its strongest pictures, as a JSON list
    label TEXT, label_count INTEGER, label_of INTEGER -- "tabby", 4, of 9 strongest pictures
);

-- part: 0 minimum, 1 slightly negative, 2 slightly positive, 3 maximum; place 0 is the best
CREATE TABLE examples (
    unit INTEGER NOT NULL, part INTEGER NOT NULL, place INTEGER NOT NULL,
    picture INTEGER NOT NULL, score REAL NOT NULL, grid_row INTEGER NOT NULL, grid_column INTEGER NOT NULL,
    PRIMARY KEY (unit, part, place)
) WITHOUT ROWID;

CREATE TABLE neighbors (
    unit INTEGER NOT NULL, opposite INTEGER NOT NULL, place INTEGER NOT NULL,
    other INTEGER NOT NULL, correlation REAL NOT NULL,
    PRIMARY KEY (unit, opposite, place)
) WITHOUT ROWID;

-- edges: m + 1 float32, counts: m int32, little-endian
CREATE TABLE histograms (unit INTEGER PRIMARY KEY, edges BLOB NOT NULL, counts BLOB NOT NULL);

CREATE TABLE pictures (
    id INTEGER PRIMARY KEY,
    sample INTEGER NOT NULL,        -- its number in the data set
    name TEXT NOT NULL,             -- its path in the data set
    label TEXT,
    sheet INTEGER NOT NULL, tile INTEGER NOT NULL
);

-- the units that answer to a picture most unusually; place 0 has the highest z = (score - mean) / sd
CREATE TABLE fires (
    picture INTEGER NOT NULL, place INTEGER NOT NULL,
    unit INTEGER NOT NULL, score REAL NOT NULL, z REAL NOT NULL, percentile REAL NOT NULL,
    PRIMARY KEY (picture, place)
) WITHOUT ROWID;
