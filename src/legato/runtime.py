"""`import legato.runtime`: where the code is. The same module as `from legato import runtime`; see `legato.sdk.runtime`."""

import sys

from legato.sdk import runtime

sys.modules[__name__] = runtime
