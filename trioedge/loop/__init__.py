"""One thread's time: the reactor, slices of long work, wake-ups, the garbage collector and socket calls."""
