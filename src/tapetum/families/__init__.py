"""Methods, one family per file or folder, each a few lines on an engine. Importing this package fills the registry."""

import importlib
import pkgutil

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
