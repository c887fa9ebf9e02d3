"""What runs on a machine: durable stdio pipes and short commands.

The controller sends these modules over the link and they run from memory (see ``bootstrap``). They need only the
standard library of Python 3.9, open no port and contain no policy. ``serve`` speaks length-prefixed frames
with the controller on its standard input and output; ``supervise`` is the detached process behind each pipe.

A pipe is a directory ``<root>/pipes/<id>``::

    spec.json   what was started; without environment and nonce
    state.json  the supervisor: pid, start time, boot
    status      256 bytes rewritten in place: input accepted, whether it is stalled, the main process
    ctl         FIFO that wakes the supervisor: "i" (input came) or "s<microseconds>" (stop)
    out, err    the process's raw output
    in, eof     its input, and the input's total size once closed
    exit        the exit record: a line of JSON and a line with its HMAC-SHA-256 keyed by the nonce

The nonce is never written to disk, so whoever can write in that directory can destroy a record but not forge one.
Every process of a pipe has ``AIRBOSS_PIPE=<id>`` in its environment. It is found by that when its supervisor
was killed and it has left its group and session.
"""
