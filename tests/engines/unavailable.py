"""Why an engine cannot be run here: tests skip on it and print it."""

from __future__ import annotations


class EngineUnavailable(Exception):
    """This machine cannot run the engine asked for; the message is the reason, in one line."""
