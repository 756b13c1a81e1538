"""Tags the wheel: any Python 3, but one platform. What is in `scripts/` becomes its programs."""

import os
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Tag(BuildHookInterface):
    def initialize(self, version, build_data):
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{os.environ['WHEEL_PLATFORM']}"
        build_data["shared_scripts"] = {str(file): file.name for file in Path(self.root, "scripts").iterdir()}
