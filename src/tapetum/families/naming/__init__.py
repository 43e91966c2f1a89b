"""Names of units: by labels and their groups, by texts, by masks."""
