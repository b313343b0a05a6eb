"""Deployments: named services that live on, here or on a cluster.

The package bears the name of its main function, and can be called as if it were that function: otherwise
``tellapart.deploy`` would be one before this package is first imported, and the other after.
"""

import sys
from types import ModuleType
from typing import Any


class _Deploy(ModuleType):
    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        from tellapart.deploy.creation import deploy

        return deploy(*arguments, **keywords)


sys.modules[__name__].__class__ = _Deploy
