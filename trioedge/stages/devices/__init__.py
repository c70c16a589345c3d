"""DeviceLimit: `device_limit` is the face; everything else is private to this folder."""
