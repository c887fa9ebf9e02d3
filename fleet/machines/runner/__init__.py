"""What runs on a machine: a durable stdio pipe and short commands, and nothing more.

These modules are shipped as one file under a name that is its content's hash (see ``bootstrap``). They need the
standard library of Python 3.9 or later, open no port and know no policy. ``serve`` speaks length-prefixed frames
with the controller on its standard input and output; ``supervise`` is the detached process behind each pipe.

A pipe is a directory ``<root>/pipes/<id>``::

    spec.json   what was started; neither environment nor nonce
    state.json  the supervisor: pid, start time, boot
    status      256 bytes rewritten in place: input accepted, stalled or not, the main process
    ctl         FIFO that wakes the supervisor: "i" (input came) or "s<microseconds>" (stop)
    out, err    what the process said, raw
    in, eof     what it is to be told, and how many bytes that is in all
    exit        the record: one line of JSON, one line HMAC-SHA-256 of it keyed by the nonce

The nonce never touches the disk, so whoever can write in that directory can destroy a record, not make one.
Every process of a pipe carries ``AIRBOSS_PIPE=<id>`` in its environment, by which it is found when its supervisor
was killed and it has left group and session.
"""
