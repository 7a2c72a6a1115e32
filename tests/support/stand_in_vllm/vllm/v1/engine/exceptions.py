"""Errors after which an engine is of no use."""


class EngineDeadError(Exception):
    pass
