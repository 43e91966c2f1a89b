"""`doctor`: checks a model for faults that spoil explanations. A check is a function under `@check` in a file here."""
