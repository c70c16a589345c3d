"""The examination of this machine."""
