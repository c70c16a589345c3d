"""Floor 0: what trioedge knows, without any way to wait.

Nothing here imports trio, sockets, files or a clock. Time is an argument, in seconds of whatever clock the
caller lives by, so every module is tested with tables.
"""
