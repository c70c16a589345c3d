"""One thread's time: the reactor, slices of long work, the garbage collector and socket calls."""
