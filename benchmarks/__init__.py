"""How tapetum compares with its peers on this machine: ratios of medians, in one process, with equal outputs asserted."""
