"""An ASGI application as the end of a chain; `asgi` is the face."""
