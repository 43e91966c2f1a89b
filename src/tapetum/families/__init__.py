"""Methods: one family a file, each a few lines on an engine. Importing this package fills the registry with all of them."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
