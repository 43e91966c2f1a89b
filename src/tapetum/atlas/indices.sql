-- Made when the rows are there.
CREATE INDEX units_by_channel ON units (layer, channel);
CREATE INDEX units_by_mean ON units (layer, mean);
CREATE INDEX units_by_sd ON units (layer, sd);
CREATE INDEX units_by_sparsity ON units (layer, sparsity);
CREATE INDEX units_by_maximum ON units (layer, maximum);
CREATE INDEX units_by_minimum ON units (layer, minimum);
CREATE INDEX units_by_label ON units (label);
CREATE INDEX pictures_by_name ON pictures (name);
CREATE INDEX pictures_by_label ON pictures (label);
CREATE INDEX fires_by_unit ON fires (unit);
