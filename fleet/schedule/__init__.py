"""Schedules: when something is due (``spec``, ``times``), and the clock (``timer``)."""
