"""Audit of a data set; `breastus.audit(data)` calls it as a function."""

import importlib
import sys
import types


class _Audit(types.ModuleType):
    """This module, which can be called: package and public function have the same name."""

    def __call__(self, *args, **options):
        """Run `breastus.workflows.audit.audit`."""
        return importlib.import_module("breastus.workflows.audit").audit(*args, **options)


sys.modules[__name__].__class__ = _Audit
