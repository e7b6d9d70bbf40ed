"""The environment tests run in: no setting of the developer's own Legato reaches them.

Variables called LEGATO_TEST_… speak to the tests, not to Legato; they are read here, before they are taken away.
"""

import os
from collections.abc import Mapping

TEST_SETTINGS: Mapping[str, str] = {name: value for name, value in os.environ.items() if name.startswith("LEGATO_TEST_")}


def without_legato_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The same environment without a single LEGATO_… variable."""
    return {name: value for name, value in environment.items() if not name.startswith("LEGATO_")}
