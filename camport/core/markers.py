"""The two markers of the plugin system. This module imports pluggy alone,
so a plugin's import stays cheap."""

import pluggy

PROJECT = "camport"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
