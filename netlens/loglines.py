"""The former name of :mod:`netlens.logs`, until the analysis uses that."""

from netlens.logs import *  # noqa: F403
